/** What the commands that keep and move say, against a program that does what the test wants; and what an import refuses before it writes. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SelfsameError } from '../../../src/api/client.ts'
import type { Connect, Peer } from '../../../src/api/client.ts'
import { noDaemon, run } from './console.ts'
import type { Said } from './console.ts'

let directory: string
let daemonProgram: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-keep-'))
  daemonProgram = join(directory, 'main.mjs')
})

afterEach(() => rmSync(directory, { recursive: true }))

const facts = { file: '/b', bytes: 3 << 20, sha256: 'ab', made: '2026-11-21T10:00:00.000Z', holdsIdentity: true, holdsRootKey: true }

/** A program that keeps its arguments in `given.json` and then does `then`. */
function program(then: string): void {
  writeFileSync(
    daemonProgram,
    `import { writeFileSync } from 'node:fs'
const args = process.argv.slice(2)
writeFileSync(${JSON.stringify(join(directory, 'given.json'))}, JSON.stringify(args))
const facts = ${JSON.stringify(facts)}
const say = (extra) => console.log(JSON.stringify({ ready: true, home: '/h', agent: { id: 'a1', name: 'kevin' }, instance: { id: 'b2', name: 'laptop' }, ...extra }))
const fail = (code, detail) => { process.stderr.write(JSON.stringify({ code, detail }) + '\\n'); process.exitCode = 1 }
${then}`,
  )
}

function call(words: string, connect: Connect = noDaemon): Promise<Said> {
  return run([...words.split(' '), '--home', '/h'], connect, { daemonProgram })
}

function given(): readonly string[] {
  return JSON.parse(readFileSync(join(directory, 'given.json'), 'utf8')) as readonly string[]
}

describe('backup', () => {
  test('says where it is, and that it is a secret', async () => {
    program('say(facts)')
    const { code, err, out } = await call('backup kevin.backup')
    expect([code, out]).toEqual([0, 'laptop of kevin is in /b (3.0 MiB, SHA-256 ab)\n'])
    expect(err).toMatch(/^a secret: .* take the agent over\n$/)
    expect(given()).toEqual(['backup', '--home', '/h', '--file', 'kevin.backup'])
  })

  test('passes on what it is told, and says what a file without keys is', async () => {
    program('say({ ...facts, holdsIdentity: false, holdsRootKey: false })')
    expect((await call('backup x --force --without-identity')).err).toContain('it holds no key')
    expect(given()).toEqual(['backup', '--home', '/h', '--file', 'x', '--force', '--without-identity'])
  })
})

describe('restore', () => {
  const restored = (moved: boolean, keysKept: boolean, kept: string | null): void =>
    program(`say(${JSON.stringify({ backup: { made: facts.made, moved }, keysKept, kept })})`)

  test('warns of a second copy where the original may run', async () => {
    restored(false, false, null)
    const { err, out } = await call('restore x')
    expect(out).toMatch(/^laptop of kevin is in \/h, as it was at 2026-11-21/)
    expect(err).toContain('key rotate --new-instance')
    expect(err).toContain('start it: selfsame up --home /h')
  })

  test.each([
    [true, false],
    [false, true],
  ])('does not warn where there is none (moved: %s, the same home: %s)', async (moved, keysKept) => {
    restored(moved, keysKept, 'before-restore-1')
    const { err, out } = await call('restore x --force')
    expect(out).toContain('before-restore-1')
    expect(err).not.toContain('second copy')
  })
})

describe('move out', () => {
  const peerOf = (name: string, state: Peer['state'], behind: number | null): Peer =>
    ({ instance: { id: name, name }, state, behind, told: behind === null ? null : '2026-11-21T10:00:00.000Z' }) as Peer
  /** A daemon whose process is gone as soon as it is asked to stop. */
  const daemonWith = (peers: readonly Peer[], stopped: () => void = () => {}): Connect =>
    (() =>
      Promise.resolve({
        status: () => Promise.resolve({ processId: 2 ** 30, peers }),
        shutdown: () => Promise.resolve(stopped()),
        close: () => Promise.resolve(),
      })) as unknown as Connect

  test('waits until another has all, and says who lacks what', async () => {
    program("say({ file: '/b', facts })")
    const peers = [peerOf('server', 'connected', 0), peerOf('desk', 'offline', 12), peerOf('phone', 'offline', null)]
    const { code, err, out } = await call('move out x', daemonWith(peers))
    expect([code, out]).toEqual([0, 'laptop of kevin has left this home, and is in /b (3.0 MiB)\n'])
    expect(err).toMatch(/^server has all; desk lacked 12 at 2026-11-21 .*; phone: not known\n/)
    expect(err).toContain('selfsame move undo --home /h')
  })

  test('goes on when it waited in vain: the file has it all', async () => {
    program("say({ file: '/b', facts })")
    const { code, err } = await call('move out x --timeout 1ms', daemonWith([peerOf('server', 'connected', 3)]))
    expect([code, err]).toEqual([0, expect.stringMatching(/^server lacked 3\n/)])
  })

  test('stops nothing for a file that is there', async () => {
    let stopped = false
    writeFileSync(join(directory, 'there'), '')
    const { code, err } = await call(
      `move out ${join(directory, 'there')}`,
      daemonWith([], () => (stopped = true)),
    )
    expect([code, err, stopped]).toEqual([64, expect.stringContaining('The daemon goes on'), false])
  })

  test('says that the instance is still here where the file could not be made', async () => {
    program("fail('storage-failed', 'the disk is full')")
    const { code, err } = await call('move out x', daemonWith([]))
    expect([code, err]).toEqual([74, expect.stringMatching(/the disk is full\nThe daemon is stopped and nothing has moved: selfsame up/)])
  })

  test('needs no daemon', async () => {
    program("say({ file: '/b', facts: null })")
    const none: Connect = () => Promise.reject(new SelfsameError('daemon-not-running', 'none'))
    const { code, err } = await call('move out x', none)
    expect([code, err]).toEqual([0, expect.stringContaining('no daemon runs here')])
  })
})

describe('import', () => {
  /** An agent of which nothing may be asked but to read an empty log. */
  const untouched: Connect = (() =>
    Promise.resolve({
      log: () => ({
        async *read() {},
        import: async (entries: AsyncIterable<unknown>) => {
          for await (const _ of entries) throw new Error('an entry was written')
          return { written: 0, alreadyThere: 0 }
        },
      }),
      close: () => Promise.resolve(),
    })) as unknown as Connect
  const mark = '{"format":"selfsame-export-1"}'

  test.each<[string, Readonly<Record<string, string>>, number, string]>([
    ['without its mark', {}, 64, 'no complete export'],
    ['of another format', { 'export.json': '{"format":"selfsame-export-9"}' }, 64, 'selfsame-export-9'],
    ['that is no JSON', { 'export.json': mark, 'counters.json': '{' }, 64, 'counters.json is not JSON'],
    [
      'with a broken counter',
      { 'export.json': mark, 'counters.json': '{"a":{"b":1.5}}' },
      64,
      "counters.json: 'a', 'b': a counter is a whole number",
    ],
    ['with a broken set', { 'export.json': mark, 'sets.json': '{"a":{}}' }, 64, "sets.json: 'a' has to be a list"],
    ['with a broken register', { 'export.json': mark, 'registers.json': '{"a":[]}' }, 64, "registers.json: 'a' has to be a JSON object"],
    ['with a list for a document', { 'export.json': mark, 'json/a.json': '[]' }, 64, 'a.json has to be a JSON object'],
    ['with a name that it never gives', { 'export.json': mark, 'texts/ä': 'x' }, 64, 'ä has no name that an export gives'],
    ['with a line that is none', { 'export.json': mark, 'logs/a.jsonl': '\nnothing\n' }, 64, 'a.jsonl, line 2 is not JSON'],
    ['with a foreign field', { 'export.json': mark, 'logs/a.jsonl': '{"text":"x","mood":1}' }, 64, "an entry has no field 'mood'"],
    [
      'with half an author',
      { 'export.json': mark, 'logs/a.jsonl': '{"text":"x","author":{"id":"a"}}' },
      64,
      "'author' has to have an id and a name",
    ],
  ])('of a directory %s is refused, and writes nothing', async (_, files, exit, words) => {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(join(directory, name, '..'), { recursive: true })
      writeFileSync(join(directory, name), content)
    }
    const { code, err } = await call(`import ${directory}`, untouched)
    expect([code, err]).toEqual([exit, expect.stringContaining(words)])
  })
})
