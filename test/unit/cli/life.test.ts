/** The commands that start the daemon's program, against a program that says what the test wants. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Connect } from '../../../src/api/client.ts'
import { noDaemon, run } from './console.ts'
import type { RunOptions, Said } from './console.ts'

let directory: string
let home: string
let daemonProgram: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-life-'))
  home = join(directory, 'home')
  daemonProgram = join(directory, 'main.mjs')
})

afterEach(() => rmSync(directory, { recursive: true }))

/** A program that keeps what it was given in `given.json` and then does `then`. */
function program(then: string): void {
  writeFileSync(
    daemonProgram,
    `import { readFileSync, writeFileSync } from 'node:fs'
const args = process.argv.slice(2)
const input = args[0] === 'run' ? '' : readFileSync(0, 'utf8')
writeFileSync(${JSON.stringify(join(directory, 'given.json'))}, JSON.stringify({ args, input, pid: process.pid }))
const say = (extra) => console.log(JSON.stringify({ ready: true, home: ${JSON.stringify(home)}, agent: { id: 'a1', name: 'kevin' }, instance: { id: 'b2', name: 'laptop' }, ...extra }))
const fail = (code, detail, exit) => { process.stderr.write(JSON.stringify({ code, detail }) + '\\n'); process.exitCode = exit }
${then}`,
  )
}

function given(): { args: readonly string[]; input: string; pid: number } {
  return JSON.parse(readFileSync(join(directory, 'given.json'), 'utf8')) as ReturnType<typeof given>
}

function call(words: string, options: RunOptions = {}, connect: Connect = noDaemon): Promise<Said> {
  return run([...words.split(' '), '--home', home], connect, { daemonProgram, ...options })
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

describe('init', () => {
  test('makes a home and says how to go on', async () => {
    program('say()')
    const { code, out, err } = await call('init --agent kevin --name laptop --port 31000 --listen loopback --listen /ip4/192.0.2.1/tcp/1')
    expect([code, out, err]).toEqual([0, `kevin begins here, as laptop, in ${home}\n`, `start it: selfsame up --home ${home}\n`])
    const place = ['--name', 'laptop', '--port', '31000', '--listen', 'loopback', '--listen', '/ip4/192.0.2.1/tcp/1']
    expect(given().args).toEqual(['init', '--home', home, '--agent', 'kevin', ...place])
  })

  test('answers in JSON', async () => {
    program('say()')
    const { out, err } = await call('init --agent kevin --json')
    expect(JSON.parse(out)).toMatchObject({ ready: true, agent: { name: 'kevin' } })
    expect(err).toBe('')
  })

  test('fails as the program fails, with its words', async () => {
    program("fail('home-exists', 'this home already holds an instance: selfsame up', 73)")
    expect(await call('init --agent kevin')).toEqual({
      code: 73,
      out: '',
      err: 'selfsame: this home already holds an instance: selfsame up\n',
    })
  })
})

describe('join', () => {
  test.each([
    ['join selfsame1-abc', ''],
    ['join', 'selfsame1-abc\n'],
    ['join -', '  selfsame1-abc\n\n'],
  ])('%s hands the ticket over by standard input, never as an argument', async (words, input) => {
    program('say()')
    const { code, out } = await call(`${words} --name server`, { input })
    expect([code, out]).toEqual([0, `joined kevin, as laptop, in ${home}\n`])
    expect(given()).toMatchObject({ args: ['join', '--home', home, '--name', 'server'], input: 'selfsame1-abc\n' })
  })

  test('without a ticket says where to get one', async () => {
    const { code, err } = await call('join', { input: '\n' })
    expect([code, err]).toEqual([65, "selfsame: there is no ticket: get one with 'selfsame invite' on another instance\n"])
  })

  test('fails as the program fails, also when that did not read the ticket', async () => {
    writeFileSync(
      daemonProgram,
      `process.stderr.write(JSON.stringify({ code: 'join-refused', detail: 'the ticket was used' }) + '\\n'); process.exit(77)`,
    )
    expect(await call('join', { input: 'x'.repeat(1 << 20) })).toEqual({ code: 77, out: '', err: 'selfsame: the ticket was used\n' })
  })
})

describe('up --detach', () => {
  const ready = "say({ processId: process.pid, addresses: ['/ip4/127.0.0.1/tcp/31000'] }); setTimeout(() => {}, 60_000)"

  test('returns when the daemon is ready, and leaves it running', async () => {
    program(ready)
    const { code, out } = await call('up --detach')
    const { args, pid } = given()
    expect([code, out]).toEqual([0, `kevin is up, as laptop (process ${pid}), from ${home}\n  /ip4/127.0.0.1/tcp/31000\n`])
    expect(args).toEqual(['run', '--home', home, '--detached'])
    expect(isGone(pid)).toBe(false)
    process.kill(pid)
  })

  test('keeps the last words of the daemon in the home', async () => {
    mkdirSync(join(home, 'run'), { recursive: true })
    program(`process.stderr.write('something\\n'); ${ready}`)
    await call('up --detach')
    expect(readFileSync(join(home, 'run', 'daemon.stderr'), 'utf8')).toBe('something\n')
    process.kill(given().pid)
  })

  test.each([true, false])('says why the daemon did not start (home there: %s)', async (there) => {
    if (there) mkdirSync(join(home, 'run'), { recursive: true })
    program("process.stderr.write('{\"level\":\"info\"}\\n'); fail('address-in-use', 'port 31000 is in use: choose another', 69)")
    expect(await call('up --detach')).toEqual({ code: 69, out: '', err: 'selfsame: port 31000 is in use: choose another\n' })
    expect(existsSync(home)).toBe(there)
  })

  test('shows what a daemon said that broke', async () => {
    program("throw new Error('broken assertion')")
    const { code, err } = await call('up --detach')
    expect(code).toBe(70)
    expect(err).toContain('the daemon ended with exit code 1')
    expect(err).toContain('broken assertion')
  })

  test('does not wait for a daemon that ended without a word', async () => {
    program('')
    const { code, err } = await call('up --detach')
    expect([code, err]).toEqual([70, 'selfsame: the daemon ended before it was ready\n'])
  })

  test('does not take another line for readiness', async () => {
    program("console.log('hello'); console.log('{}')")
    const { code, err } = await call('up --detach')
    expect([code, err]).toEqual([70, 'selfsame: the daemon ended before it was ready\n'])
  })
})

describe('up', () => {
  test('stays until the daemon ends, and passes its log on', async () => {
    program('process.stderr.write(\'{"msg":"a line of the log"}\\n\'); say({ processId: process.pid })')
    const { code, out, err } = await call('up')
    expect(code).toBe(0)
    expect(out).toContain('kevin is up, as laptop')
    expect(err).toBe('{"msg":"a line of the log"}\n')
    expect(given().args).toEqual(['run', '--home', home])
  })

  test('ends as the daemon ends', async () => {
    program("say(); fail('storage-corrupt', 'the database is damaged: restore it', 74)")
    expect(await call('up')).toMatchObject({ code: 74, err: 'selfsame: the database is damaged: restore it\n' })
  })

  test('stops the daemon when it is told to stop', async () => {
    program("process.on('SIGTERM', () => process.exit(0)); say(); setTimeout(() => {}, 60_000); process.kill(process.ppid, 'SIGTERM')")
    expect((await call('up')).code).toBe(0)
    expect(isGone(given().pid)).toBe(true)
  })
})

describe('down', () => {
  test('returns when the process is gone', async () => {
    program(
      "say({ processId: process.pid }); process.on('SIGTERM', () => setTimeout(() => process.exit(0), 60)); setTimeout(() => {}, 60_000)",
    )
    await call('up --detach')
    const { pid } = given()
    const connect = (() =>
      Promise.resolve({
        status: () => Promise.resolve({ processId: pid }),
        shutdown: () => Promise.resolve(void process.kill(pid, 'SIGTERM')),
        close: () => Promise.resolve(),
      })) as unknown as Connect
    expect(await call('down', {}, connect)).toEqual({ code: 0, out: 'stopped\n', err: '' })
    expect(isGone(pid)).toBe(true)
  })

  test('says when it waited in vain', async () => {
    const connect = (() =>
      Promise.resolve({
        status: () => Promise.resolve({ processId: process.pid }),
        shutdown: () => Promise.resolve(),
        close: () => Promise.resolve(),
      })) as unknown as Connect
    const { code, err } = await call('down --timeout 1ms', {}, connect)
    expect([code, err]).toEqual([75, expect.stringContaining(`(process ${process.pid}) is still stopping`)])
  })
})
