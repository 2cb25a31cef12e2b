/** What is wrong is refused with a clear word and the documented exit code or status; nothing is lost and the daemon goes on. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, chownSync, copyFileSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect as connectSocket, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { socketPathOf } from '../../src/api/client.ts'
import { agreed, connected, createGroup, textsOf } from './group.ts'
import type { Group, Instance } from './group.ts'

let group: Group
/** Runs all the time. */
let laptop: Instance
/** Starts and stops. */
let server: Instance

beforeAll(async () => {
  group = await createGroup()
  laptop = await group.found('laptop')
  server = await group.join('server', laptop)
  await laptop.agent.log('memory').append({ text: 'Met Ada' })
  await laptop.agent.text('SOUL.md').put('one\n')
  await agreed(laptop, server)
})

afterAll(() => group.close())

/** After whatever it was given: the same daemon, with what it had, that takes more. */
afterEach(async () => {
  assert.equal((await laptop.agent.status()).processId, laptop.processId)
  assert.deepEqual(await textsOf(laptop, 'memory'), ['Met Ada'])
  await laptop.agent.set('alive').add('still')
})

describe('a command that cannot be carried out says why, and ends with the code for it', () => {
  test.each([
    [64, "unknown command 'remember'", 'remember this'],
    [64, "unknown option '--louder'", 'status --louder'],
    [64, 'missing required argument', 'log append'],
    [64, 'an entry has text or --data', 'log append memory'],
    [64, "'many' is not a whole number", 'counter add karma post-17 many'],
    [64, 'that is not JSON', 'json patch tasks {'],
    [64, 'a patch is an object', 'json patch tasks 7'],
    [64, '..', 'log append ../memory hello'],
    [64, '..', 'text get notes/../SOUL.md'],
    [64, 'is not a time', 'log read memory --since yesterday'],
    [64, 'is not a duration', 'invite --expires soon'],
    [64, '--role is one of', 'invite --role owner'],
    [64, 'pattern', 'watch everything'],
    [65, 'a ticket begins with selfsame1-', 'join please --home HOME/new'],
    [65, 'mistyped', 'join selfsame1-abcdefgh --home HOME/new'],
    [65, "there is nothing at 't1'", 'json patch tasks [{"op":"remove","path":"/t1"}]'],
    [65, 'version', 'text put SOUL.md FILE --base 0123456789abcdef'],
    [65, 'larger than', 'text put SOUL.md LARGE'],
    [66, 'there is no such file', 'log import memory HOME/nowhere.jsonl'],
    [66, "'selfsame init --agent NAME'", 'up --home HOME/nowhere'],
    [69, 'the daemon is not running: selfsame up', 'documents --home HOME/nowhere'],
    [73, "start it with 'selfsame up'", 'init --agent kevin'],
    [75, 'a daemon is running', 'up'],
    [75, 'a daemon is running', 'up --detach'],
  ])('%i, %s: selfsame %s', async (code, words, line) => {
    writeFileSync(join(group.directory, 'small.md'), 'two\n')
    writeFileSync(join(group.directory, 'large.md'), 'x'.repeat(3 << 20))
    const places: Readonly<Record<string, string>> = { FILE: 'small.md', LARGE: 'large.md' }
    const args = line
      .split(' ')
      .map((word) => (places[word] === undefined ? word.replace('HOME', group.directory) : join(group.directory, places[word])))
    const said = args.includes('--home') ? await group.selfsame(args) : await laptop.selfsame(...args)
    expect({ code: said.code, out: said.out }).toEqual({ code, out: '' })
    expect(said.err).toContain(words)
    expect(said.err).not.toMatch(/\n {4}at /)
  })

  test('with --json as problem details', async () => {
    const { code, err } = await laptop.selfsame('log', 'append', '..', 'hello', '--json')
    expect(code).toBe(64)
    expect(JSON.parse(err)).toMatchObject({ code: 'invalid-name', retry: false, exit: 64 })
  })

  test('an import stops at the line that is wrong, names it, and goes on from there when it is mended', async () => {
    const file = join(group.directory, 'notes.jsonl')
    writeFileSync(file, '{"text":"a","id":1}\n\n{"text":"b","id":2}\n{"text":7}\n{"text":"d","id":4}\n')
    const failed = await laptop.selfsame('log', 'import', 'imported', file)
    expect(failed.code).toBe(64)
    expect(failed.err).toContain('line 4: ')
    const texts = async (): Promise<unknown[]> => (await laptop.agent.log('imported').page()).entries.map((entry) => entry.text)
    expect(await texts()).toEqual(['a', 'b'])
    writeFileSync(file, '{"text":"a","id":1}\n\n{"text":"b","id":2}\n{"text":"c","id":3}\n{"text":"d","id":4}\n')
    expect((await laptop.selfsame('log', 'import', 'imported', file)).out).toMatch(/^imported 2 entries into imported, 2 were there/)
    expect(await texts()).toEqual(['a', 'b', 'c', 'd'])
  })
})

interface Answer {
  readonly status: number
  readonly body: { readonly code: string; readonly detail: string }
}

function call(method: string, path: string, body: string | Buffer, type = 'application/json'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: socketPathOf(laptop.home), method, path, headers: { 'content-type': type } }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Answer['body'] }))
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

describe('a request that cannot be carried out is answered with problem details', () => {
  const entries = '/v1/log/memory/entries'

  test.each<[number, string, string, string, string | Buffer, string?]>([
    [400, 'invalid-request', 'POST', entries, '{"text":'],
    [400, 'invalid-request', 'POST', entries, ''],
    [400, 'invalid-request', 'POST', entries, '{"text":7}'],
    [400, 'invalid-request', 'POST', entries, '{"text":"a","colour":"red"}'],
    [400, 'invalid-request', 'POST', entries, '{}'],
    [400, 'invalid-request', 'POST', entries, '[]'],
    [400, 'invalid-request', 'POST', entries, Buffer.from([0x7b, 0xff, 0xfe])],
    [400, 'invalid-request', 'POST', '/v1/counter/karma/add', '{"key":"post-17","amount":1.5}'],
    [400, 'invalid-request', 'POST', '/v1/operations', '{"operations":[{"type":"log.forget","name":"memory"}]}'],
    [400, 'invalid-name', 'POST', '/v1/log/%2e%2e%2fetc/entries', '{"text":"a"}'],
    [400, 'invalid-name', 'POST', '/v1/log/a%2F%2Fb/entries', '{"text":"a"}'],
    [400, 'invalid-name', 'POST', '/v1/log/a%00b/entries', '{"text":"a"}'],
    [404, 'not-found', 'POST', '/v1/thoughts', '{}'],
    [405, 'method-not-allowed', 'PUT', entries, '{}'],
    [415, 'unsupported-media-type', 'POST', entries, 'text=a', 'application/x-www-form-urlencoded'],
  ])('%i %s: %s %s', async (status, code, method, path, body, type) => {
    const answer = await call(method, path, body, type)
    expect(answer).toMatchObject({ status, body: { code, detail: expect.stringMatching(/\w/) as string } })
  })

  test('a body over the limit, also while it is still being sent', async () => {
    const body = Buffer.alloc(8 << 20, 'x')
    for (let turn = 0; turn < 20; turn += 1)
      expect(await call('POST', entries, body)).toMatchObject({ status: 413, body: { code: 'too-large' } })
  })

  test('bytes that are no request at all', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      let text = ''
      const socket = connectSocket(socketPathOf(laptop.home), () => socket.write(Buffer.alloc(4_096, 'selfsame\u0000\u00ff\r\n', 'latin1')))
      socket
        .on('data', (chunk) => (text += String(chunk)))
        .on('close', () => resolve(text))
        .on('error', reject)
    })
    expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*"code":"invalid-request"/)
  })
})

test('garbage on the port for other instances disturbs nobody', async () => {
  const send = (bytes: Buffer): Promise<void> =>
    new Promise((resolve) => {
      const socket = connectSocket(laptop.port, '127.0.0.1', () => socket.write(bytes))
      socket.on('error', () => {}).on('close', () => resolve())
      socket.resume()
    })
  const multistream = Buffer.from('\u0013/multistream/1.0.0\n')
  await Promise.all([
    send(Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')),
    send(Buffer.alloc(1 << 20, 0xff)),
    send(Buffer.concat([multistream, Buffer.from('\u0007/noise\n'), Buffer.alloc(70_000, 0xff)])),
  ])
  await connected(laptop, server)
  const { replicas } = await laptop.agent.set('alive').add('in spite of it', { replicas: 2 })
  expect(replicas).toEqual({ asked: 2, held: 2 })
})

describe('a daemon that cannot start says why, with the code for it, and starts again when that is mended', () => {
  beforeAll(async () => void (await server.stop()))

  /** Spoils something, expects `up` to fail, and mends it. */
  async function expectRefusal(code: number, words: RegExp, spoil: () => void, mend: () => void): Promise<void> {
    spoil()
    const said = await server.selfsame('up', '--detach')
    mend()
    expect({ code: said.code, out: said.out }).toEqual({ code, out: '' })
    expect(said.err).toMatch(words)
    expect(said.err).not.toMatch(/\n {4}at /)
  }

  test.each([
    [
      'an unknown key, with the nearest known one',
      (text: string) => text.replace('mdns = true', 'mdsn = true'),
      /config\.toml, line \d+: there is no field 'network\.mdsn'; did you mean 'network\.mdns'\?/,
    ],
    [
      'a value of the wrong type',
      (text: string) => text.replace('watchers_max = 64', 'watchers_max = "many"'),
      /line \d+: api\.watchers_max has to be a whole number/,
    ],
    ['what is not TOML', (text: string) => `${text}\n[[[`, /config\.toml, line \d+, column \d+: /],
    ['binary rubbish', () => '\u0000\u0001\u0002', /config\.toml, line 1/],
  ])('configuration: %s', async (_, change, words) => {
    const path = join(server.home, 'config.toml')
    const text = readFileSync(path, 'utf8')
    await expectRefusal(
      78,
      words,
      () => writeFileSync(path, change(text)),
      () => writeFileSync(path, text),
    )
  })

  test('an environment variable that names no field', async () => {
    const { code, err } = await group.selfsame(['up', '--home', server.home], { environment: { SELFSAME_NETWORK_PROT: '1' } })
    expect(code).toBe(78)
    expect(err).toContain('SELFSAME_NETWORK_PROT is not known; did you mean SELFSAME_NETWORK_PORT?')
  })

  test.skipIf(process.getuid?.() !== 0)('a home that belongs to somebody else', async () => {
    await expectRefusal(
      77,
      /belongs to another user/,
      () => chownSync(server.home, 12_345, 12_345),
      () => chownSync(server.home, 0, 0),
    )
  })

  test('a home, or an identity, that others can read', async () => {
    const identity = join(server.home, 'identity.json')
    await expectRefusal(
      77,
      /chmod 700/,
      () => chmodSync(server.home, 0o755),
      () => chmodSync(server.home, 0o700),
    )
    await expectRefusal(
      77,
      /chmod 600/,
      () => chmodSync(identity, 0o644),
      () => chmodSync(identity, 0o600),
    )
  })

  test('an identity that is damaged', async () => {
    const path = join(server.home, 'identity.json')
    const text = readFileSync(path)
    await expectRefusal(
      78,
      /identity\.json is damaged.*restore it from a backup/,
      () => writeFileSync(path, text.subarray(0, text.length / 2)),
      () => writeFileSync(path, text),
    )
  })

  test('a port that is in use', async () => {
    const other = createServer().listen(server.port, '127.0.0.1')
    await once(other, 'listening')
    const { code, err } = await server.selfsame('up')
    other.close()
    expect(code).toBe(69)
    expect(err).toContain(`port ${server.port} is in use`)
  })

  test.each([
    ['cut off', (path: string) => truncateSync(path, statSync(path).size - 10_000)],
    ['overwritten in the middle', (path: string) => writeFileSync(path, readFileSync(path).fill(0xa5, 4_096, statSync(path).size - 4_096))],
    ['of another kind', (path: string) => writeFileSync(path, 'this is a diary, not a database\n'.repeat(1_000))],
  ])('a database that is %s', async (_, damage) => {
    const path = join(server.home, 'memory.sqlite')
    const saved = join(group.directory, 'saved.sqlite')
    await expectRefusal(
      74,
      /the database is damaged.*restore the home from a backup/,
      () => {
        copyFileSync(path, saved)
        damage(path)
        // Whoever damages a database does not stop a daemon cleanly.
        rmSync(join(server.home, 'run', 'stopped'), { force: true })
      },
      () => {
        rmSync(`${path}-wal`, { force: true })
        rmSync(`${path}-shm`, { force: true })
        renameSync(saved, path)
      },
    )
  })

  test('a database that is missing', async () => {
    const path = join(server.home, 'memory.sqlite')
    const moved = join(group.directory, 'moved.sqlite')
    await expectRefusal(
      74,
      /memory\.sqlite is missing or empty.*restore the home from a backup/,
      () => renameSync(path, moved),
      () => {
        rmSync(`${path}-wal`, { force: true })
        rmSync(`${path}-shm`, { force: true })
        renameSync(moved, path)
      },
    )
  })
  test('with everything mended it has what it had', async () => {
    await server.up()
    expect(await textsOf(server, 'memory')).toEqual(['Met Ada'])
    await connected(laptop, server)
    await agreed(laptop, server)
  })
})
