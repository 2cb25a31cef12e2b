import type { Command } from 'commander'
import { describe, expect, test, vi } from 'vitest'
import type { Connect } from '../../../src/api/client.ts'
import { errorTable, SelfsameError } from '../../../src/core/index.ts'
import type { ErrorCode } from '../../../src/core/index.ts'
import { createProgram } from '../../../src/cli/program.ts'
import { createConsole, noDaemon, run } from './console.ts'

/** A daemon of which nothing is asked: what is wrong has to be found before. */
const anyDaemon: Connect = () => {
  const document = (): object => ({})
  return Promise.resolve({ log: document, counter: document, register: document, json: document, close: () => Promise.resolve() } as never)
}

function allCommands(command: Command): readonly (readonly [string, Command])[] {
  return command.commands.flatMap((each) => [[pathOf(each), each] as const, ...allCommands(each)])
}

function pathOf(command: Command): string {
  return command.parent === null || command.parent.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}

const commands = allCommands(createProgram({ ...createConsole(), connect: noDaemon, version: '1', daemonProgram: '' }))

describe('the command line', () => {
  test('has the commands that are promised', () => {
    const promised = `init, join, up, down, status, members, invite, watch, presence, presence set, network pause, network resume,
      log append, log read, log tail, log import, counter add, counter get, set add, set list, register set, register get,
      text put, text get, json patch, json get, documents, digests`.split(/,\s+/)
    expect(commands.map(([path]) => path)).toEqual(expect.arrayContaining(promised))
  })

  test.each(commands.map(([path]) => path))('helps with %s: what it does, an example, --home and --json', async (path) => {
    const { code, out } = await run([...path.split(' '), '--help'], noDaemon)
    expect(code).toBe(0)
    expect(out).toMatch(/Example:\n {2}\$ selfsame \w/)
    expect(out).toContain('--home <directory>')
    expect(out).toContain('--json')
  })

  test.each(commands.map(([path, command]) => [path, /\$ selfsame ([^\n|<>]+)/.exec(helpOf(command))?.[1] ?? ''] as const))(
    'gives an example for %s that is understood: %s',
    async (path, example) => {
      expect(example.startsWith(path)).toBe(true)
      const words = [...example.trim().matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? '')
      const program = createProgram({ ...createConsole(), connect: noDaemon, version: '1', daemonProgram: '' })
      for (const [, each] of allCommands(program)) each.action(() => {})
      await program.parseAsync(words, { from: 'user' })
      expect(program.args.slice(0, path.split(' ').length)).toEqual(path.split(' '))
    },
  )

  test('prints its version', async () => {
    expect(await run(['--version'], noDaemon)).toEqual({ code: 0, out: '1.2.3\n', err: '' })
  })
})

function helpOf(command: Command): string {
  const { streams, out } = createConsole()
  command.configureOutput({ writeOut: (text) => streams.stdout.write(text) })
  command.outputHelp()
  return out()
}

describe('a call that cannot be understood ends with 64 and a hint', () => {
  test.each([
    ['statu', "unknown command 'statu'\n(Did you mean status?)"],
    ['log reed memory', "unknown command 'reed'\n(Did you mean read?)"],
    ['status --jsn', "unknown option '--jsn'\n(Did you mean --json?)"],
    ['counter add karma', "missing required argument 'key'"],
    ['set list a b', 'too many arguments'],
    ['init', "required option '--agent <name>' not specified"],
    ['log read memory --since yesterday', "'yesterday' is not a time"],
    ['log read memory --limit 0', "'0' is not a whole number of at least 1"],
    ['counter add karma a 1.5', "'1.5' is not a whole number"],
    ['counter add karma a 1 --timeout 5', "'5' is not a duration"],
    ['counter add karma a 1 --replicas none', "'none' is not a whole number"],
    ['json patch tasks {', 'that is not JSON'],
    ['json patch tasks 3', 'a patch is an object'],
    ['register set a b c --as xml', "--as is 'text' or 'json'"],
    ['invite --role king', '--role is one of admin, writer, reader'],
    ['log append memory', 'an entry has text or --data'],
    ['log import memory - --others keep', '--others is one of'],
    ['log import memory - --rename content=words', 'NAME is one of text, time, kind, tags, data, id'],
    ['up --port 1', "unknown option '--port'"],
    ['init --agent a --port many', '--port is a number'],
  ])('%s', async (line, words) => {
    const { code, out, err } = await run(line.split(' '), anyDaemon)
    expect(err).toContain(words)
    expect([code, out]).toEqual([64, ''])
  })

  test('nothing at all shows the help', async () => {
    const { code, err } = await run([], noDaemon)
    expect(code).toBe(64)
    expect(err).toContain('Usage: selfsame')
  })
})

describe('an error of the daemon', () => {
  test.each(Object.keys(errorTable) as ErrorCode[])('%s ends with its exit code and its message', async (code) => {
    const said = await run(['documents'], () => Promise.reject(new SelfsameError(code, 'what is wrong: what to do')))
    expect(said).toEqual({ code: errorTable[code].exit, out: '', err: 'selfsame: what is wrong: what to do\n' })
  })

  test('is one line of JSON for programs', async () => {
    const { code, err } = await run(['documents', '--json'], () => Promise.reject(new SelfsameError('read-only', 'make room')))
    expect(code).toBe(75)
    expect(JSON.parse(err)).toEqual({ code: 'read-only', title: errorTable['read-only'].title, detail: 'make room', retry: true, exit: 75 })
  })

  test('that is a bug ends with 70 and where it happened', async () => {
    const { code, err } = await run(['documents'], () => Promise.reject(new TypeError('x is not a function')))
    expect(code).toBe(70)
    expect(err).toMatch(/please report it\nTypeError: x is not a function\n +at /)
  })

  test('that says nothing at all ends with what to do', async () => {
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(AbortSignal.abort(new Error('over')))
    try {
      const { code, err } = await run(['documents'], ({ signal } = {}) => Promise.reject(signal?.reason as Error))
      expect([code, err]).toEqual([75, expect.stringMatching(/^selfsame: the daemon did not answer within \d+ s: selfsame doctor /)])
    } finally {
      timeout.mockRestore()
    }
  })

  test('cannot steer the terminal', async () => {
    const { err } = await run(['documents'], () => Promise.reject(new SelfsameError('not-found', 'no \u001b[2Jscreen')))
    expect(err).toBe('selfsame: no \ufffd[2Jscreen\n')
  })
})
