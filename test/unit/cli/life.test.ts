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
const plan = (extra) => console.log(JSON.stringify({ plan: { agent: { id: 'a1'.repeat(32), name: 'kevin' }, issuer: { key: 'c3'.repeat(32), addresses: ['/ip4/192.0.2.1/tcp/1'] }, expires: '2026-11-21T10:33:00.000Z', home: ${JSON.stringify(home)}, holds: 'nothing', former: null, name: 'laptop', ...extra } }))
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
    expect([code, out]).toEqual([0, `kevin begins here, as laptop, in ${home}\n`])
    expect(err).toMatch(
      /^whoever gets into this machine can take kevin over.*selfsame key export --root FILE.*\nstart it: selfsame up --home .*\n$/,
    )
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

describe('init --root-key', () => {
  test('hands the passphrase over by standard input, and says where the key is', async () => {
    program('say()')
    const { code, err } = await call('init --agent kevin --root-key kevin.key --passphrase-stdin', { input: 'some good words\nmore\n' })
    expect([code, err]).toEqual([0, expect.stringContaining('the root key is in kevin.key and nowhere else')])
    expect(given()).toMatchObject({
      args: ['init', '--home', home, '--agent', 'kevin', '--file', 'kevin.key'],
      input: 'some good words\n',
    })
  })

  test('asks twice at a terminal, and shows nothing of it', async () => {
    program('say()')
    const { code, out, err } = await call('init --agent kevin --root-key kevin.key', {
      input: 'some good words\nsome good words\n',
      isTTY: true,
    })
    expect(code).toBe(0)
    expect(given().input).toBe('some good words\n')
    expect(err).toMatch(/^passphrase for kevin\.key: \nthe same again: \n/)
    expect(out + err).not.toContain('words')
  })

  test.each([
    ['some good words\nother words\n', true, 'not the same passphrase twice'],
    ['some good words\n', true, 'no passphrase was given'],
    ['\n', true, 'no passphrase was given'],
    ['some good words\n', false, '--passphrase-stdin'],
  ])('begins nothing for %j (terminal: %s)', async (input, isTTY, words) => {
    program('say()')
    const { code, err } = await call('init --agent kevin --root-key kevin.key', { input, isTTY })
    expect([code, err]).toEqual([64, expect.stringContaining(words)])
    expect(existsSync(join(directory, 'given.json'))).toBe(false)
  })
})

describe('join', () => {
  const joined = "say({ joined: true, role: 'writer', kept: [] })"

  test.each([
    ['join selfsame1-abc', ''],
    ['join', 'selfsame1-abc\n'],
    ['join -', '  selfsame1-abc\n\n'],
  ])('%s hands the ticket over by standard input, never as an argument', async (words, input) => {
    program(joined)
    const { code, out } = await call(`${words} --name server`, { input })
    expect([code, out]).toEqual([0, `joined kevin, as laptop (writer), in ${home}\n`])
    expect(given()).toMatchObject({ args: ['join', '--home', home, '--name', 'server'], input: 'selfsame1-abc\n' })
  })

  test('says first what it is about to do', async () => {
    program(`plan(); ${joined}`)
    const { err } = await call('join selfsame1-abc')
    expect(err).toContain('joining kevin (agent a1a1a1a1a1a1a1a1), as laptop')
    expect(err).toContain('the instance with the key c3c3c3c3c3c3c3c3')
    expect(err).toContain('\n  /ip4/192.0.2.1/tcp/1\n')
    expect(err).toContain(`${home} holds no memory yet`)
    expect(err).toContain(`start it: selfsame up --home ${home}\n`)
  })

  test.each([
    ['member', 'its memory is kept and added to'],
    ['removed', 'no member any more: its memory is kept and added to'],
    ['lost', 'its database is lost'],
    ['damaged', 'its database is damaged: it is moved aside'],
  ])('says what happens to a home that holds an instance that is %s', async (holds, words) => {
    program(
      `plan({ holds: '${holds}', former: { id: 'd4'.repeat(16), name: 'old' } }); say({ joined: true, role: 'reader', kept: ['identity.json.old-d4d4d4d4'] })`,
    )
    const { err, out } = await call('join selfsame1-abc --new-instance')
    expect(err).toContain(`${home} is the home of old (instance d4d4d4d4)`)
    expect(err).toContain(words)
    expect(out).toContain('\n  kept: identity.json.old-d4d4d4d4\n')
    expect(given().args).toEqual(['join', '--home', home, '--new-instance'])
  })

  test('says plainly that there was nothing to do', async () => {
    program("plan({ holds: 'member', former: { id: 'b2', name: 'laptop' }, name: null }); say({ joined: false, role: null, kept: [] })")
    const { code, err, out } = await call('join selfsame1-abc')
    expect([code, out]).toEqual([0, expect.stringMatching(/^this home is already an instance of kevin, as laptop: nothing was done/)])
    expect(err).not.toContain('joining')
    expect(err).not.toContain('selfsame up')
  })

  test('gives the same facts in JSON, and no remarks', async () => {
    program(`plan(); ${joined}`)
    const { err, out } = await call('join selfsame1-abc --json')
    expect(err).toBe('')
    expect(JSON.parse(out)).toMatchObject({
      joined: true,
      role: 'writer',
      agent: { name: 'kevin' },
      plan: { holds: 'nothing', name: 'laptop', issuer: { addresses: ['/ip4/192.0.2.1/tcp/1'] } },
    })
  })

  test('starts the daemon too, with --up', async () => {
    program(`if (args[0] === 'join') { ${joined} } else { say({ processId: process.pid, addresses: [] }); setTimeout(() => {}, 60_000) }`)
    const { code, out } = await call('join selfsame1-abc --up')
    const { args, pid } = given()
    expect([code, out]).toEqual([0, expect.stringMatching(/^joined kevin.*\nkevin is up, as laptop/)])
    expect(args).toEqual(['run', '--home', home, '--detached'])
    process.kill(pid)
  })

  test('with --up is content where the daemon runs already', async () => {
    program(
      "if (args[0] === 'join') say({ joined: false, role: null, kept: [] }); else fail('daemon-running', 'a daemon is running on it', 75)",
    )
    const { code, err } = await call('join selfsame1-abc --up')
    expect([code, err]).toEqual([0, 'its daemon runs already\n'])
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
