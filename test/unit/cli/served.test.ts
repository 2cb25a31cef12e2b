/** The command line, the client and the server together, over a real socket. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connect, socketPathOf } from '../../../src/api/client.ts'
import { openServer } from '../../../src/api/index.ts'
import type { Server } from '../../../src/api/index.ts'
import { silentLogger, systemClock } from '../../../src/core/index.ts'
import { createMemoryAgent, createMemoryTokens } from '../api/memory-agent.ts'
import type { MemoryAgent } from '../api/memory-agent.ts'
import { run } from './console.ts'
import type { RunOptions, Said } from './console.ts'

let home: string
let agent: MemoryAgent
let server: Server

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'selfsame-served-'))
  mkdirSync(join(home, 'run'), { mode: 0o700 })
  agent = createMemoryAgent()
  server = await openServer({
    port: agent,
    tokens: createMemoryTokens(),
    socketPath: socketPathOf(home),
    logger: silentLogger,
    clock: systemClock,
    version: '1.2.3',
  })
})

afterEach(async () => {
  await server.close()
  rmSync(home, { recursive: true })
})

function call(words: readonly string[], options: RunOptions = {}): Promise<Said> {
  return run([...words, '--home', home], connect, options)
}

describe('over the socket', () => {
  test.each<[string[], string[], string]>([
    [['log', 'append', 'notes/ä b', 'Met Ada', '--tag', 'people'], ['log', 'read', 'notes/ä b', '--tag', 'people'], 'Met Ada #people'],
    [['counter', 'add', 'karma', 'post-17', '-5'], ['counter', 'get', 'karma', 'post-17'], '-5'],
    [['counter', 'add', 'karma', 'a', '9223372036854775807'], ['counter', 'get', 'karma'], 'a  9223372036854775807'],
    [['set', 'add', 'follows', 'ada'], ['set', 'list', 'follows'], 'ada'],
    [['register', 'set', 'profile', 'city', 'Lisbon'], ['register', 'get', 'profile', 'city'], 'Lisbon'],
    [['json', 'patch', 'tasks', '{"t1":{"status":"done"}}'], ['json', 'get', 'tasks', '--json'], '{"t1":{"status":"done"}}'],
    [['presence', 'set', 'writing the report'], ['presence'], 'writing the report'],
  ])('%j is there for %j', async (write, read, shown) => {
    expect(await call(write)).toMatchObject({ code: 0 })
    const { code, out } = await call(read)
    expect([code, out]).toEqual([0, expect.stringContaining(shown)])
  })

  test('a text of any characters comes back as it was', async () => {
    const text = '\ufeff# Kevin ☕\r\n\u0000 no newline at the end'
    expect((await call(['text', 'put', 'SOUL.md'], { input: text })).code).toBe(0)
    expect((await call(['text', 'get', 'SOUL.md'])).out).toBe(text)
  })

  test('a file is imported once, however often it is', async () => {
    const file = join(home, 'notes.jsonl')
    writeFileSync(file, Array.from({ length: 3_000 }, (_, index) => `${JSON.stringify({ text: `note ${index % 1_000}` })}\n`).join(''))
    expect((await call(['log', 'import', 'memory', file])).out).toMatch(/^imported 3,000 entries into memory \(/)
    expect((await call(['log', 'import', 'memory', file])).out).toMatch(/^imported 0 entries into memory, 3,000 were there \(/)
    expect(agent.entriesOf('memory')).toHaveLength(3_000)
  })

  test('a line that the daemon refuses is named, and what stands before it is there', async () => {
    const input = '{"text":"a"}\n\n{"text":"b","tags":["x"]}\n\n{"text":"c","tags":"x"}\n{"text":"d"}\n'
    const { code, err } = await call(['log', 'import', 'memory', '-'], { input })
    expect([code, err]).toEqual([64, expect.stringMatching(/^selfsame: line 5: /)])
    expect(agent.entriesOf('memory').map((entry) => entry.text)).toEqual(['a', 'b'])
  })

  test('a line that is no JSON is named, and what stands before it is there', async () => {
    const { code, err } = await call(['log', 'import', 'memory', '-'], { input: '{"text":"a"}\n{"text":"b"}\nnonsense\n' })
    expect([code, err]).toEqual([64, expect.stringMatching(/^selfsame: line 3: this is not a JSON object/)])
    expect(agent.entriesOf('memory').map((entry) => entry.text)).toEqual(['a', 'b'])
  })

  test('a token is printed alone and once, listed without its secret, and revoked', async () => {
    const made = await call(['token', 'create', 'scout', '--allow', 'log/memory:append', '--allow', 'text/*:read', '--expires', '2d'])
    expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^selfsame-token-[\w-]{43}\n$/) as string })
    const { out } = await call(['token', 'list'])
    expect(out).toMatch(/^scout +log\/memory:append text\/\*:read +since .+ until .+\n$/)
    expect(JSON.parse((await call(['token', 'list', '--json'])).out)).toMatchObject([
      { name: 'scout', allow: ['log/memory:append', 'text/*:read'] },
    ])
    expect(await call(['token', 'revoke', 'scout'])).toMatchObject({ code: 0, out: 'scout is revoked\n' })
    expect(await call(['token', 'revoke', 'scout'])).toMatchObject({ code: 66, out: '' })
    expect((await call(['token', 'list'])).out).toBe('no tokens\n')
  })

  test.each<[string[], number, string]>([
    [['token', 'create', 'x', '--allow', 'memory:read'], 64, 'kind/glob:rights'],
    [['log', 'append', '../etc', 'x'], 64, 'segment'],
    [['log', 'append', 'memory', 'x', '--tag', ''], 64, 'tags'],
    [['text', 'put', 'SOUL.md', '--base', 'no-such-version'], 65, 'version'],
  ])('%j is refused with what is wrong', async (words, exit, shown) => {
    const { code, err } = await call(words, { input: 'x' })
    expect([code, err]).toEqual([exit, expect.stringContaining(shown)])
  })

  test('a home without a daemon says how to start one', async () => {
    await server.close()
    expect(await call(['status'])).toMatchObject({ code: 2, out: expect.stringMatching(/^down: .*selfsame up/) })
  })
})
