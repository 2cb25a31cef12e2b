/** Every command of the command line on real daemons: what a program reads with --json, and what a person reads. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createGroup, freePort, until } from './group.ts'
import type { Environment, Group } from './group.ts'

let group: Group
let home: string
let secondHome: string
/** The home is found as most people's is, without `--home`. */
let environment: Environment

beforeAll(async () => {
  group = await createGroup()
  home = join(group.directory, 'laptop')
  secondHome = join(group.directory, 'server')
  environment = { SELFSAME_HOME: home }
})

afterAll(() => group.close())

/** The output of a command, which must succeed and say nothing wrong. */
async function plain(args: readonly string[], input = ''): Promise<string> {
  const { code, out, err } = await group.selfsame(args, { environment, input })
  expect([code, code === 0 ? '' : err]).toEqual([0, ''])
  return out
}

/** The answer of a command to a program: one line of JSON, and nothing on standard error. */
async function json<Value>(args: readonly string[], input = ''): Promise<Value> {
  const { code, out, err } = await group.selfsame([...args, '--json'], { environment, input })
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out) as Value
}

interface Ready {
  readonly processId: number
}

test('init, up --detach, invite, join: two commands to start, two more for another machine', async () => {
  const place = ['--listen', 'loopback', '--port']
  const begun = await group.selfsame(['init', '--agent', 'kevin', '--name', 'laptop', ...place, String(await freePort())], { environment })
  expect(begun).toEqual({
    code: 0,
    out: `kevin begins here, as laptop, in ${home}\n`,
    err: expect.stringMatching(/^whoever gets into this machine .* selfsame key export --root FILE.*\nstart it: selfsame up\n$/) as string,
  })
  const up = await json<Ready>(['up', '--detach'])
  expect(up).toMatchObject({ agent: { name: 'kevin' }, instance: { name: 'laptop' } })
  group.adopt(up.processId)

  const invited = await group.selfsame(['invite', '--expires', '10m'], { environment })
  expect(invited.out).toMatch(/^selfsame1-[a-z2-7]+\n$/)
  expect(invited.err).toContain('It is a secret: whoever holds it can join.')
  const ticket = invited.out.trim()
  const joined = await plain(['join', ticket, '--name', 'server', ...place, String(await freePort()), '--home', secondHome])
  expect(joined).toBe(`joined kevin, as server (writer), in ${secondHome}\n`)
  const second = await plain(['up', '--detach', '--home', secondHome])
  expect(second).toMatch(/^kevin is up, as server \(process \d+\), from .*\n {2}\/ip4\/127\.0\.0\.1\/tcp\/\d+\n/)
  group.adopt(Number(/process (\d+)/.exec(second)?.[1]))

  const invitation = await json<{ expires: string; addresses: readonly string[]; reach: string }>([
    'invite',
    '--role',
    'reader',
    '--uses',
    '2',
  ])
  expect(Date.parse(invitation.expires)).toBeGreaterThan(Date.now())
  expect(invitation.addresses).toHaveLength(2)
  expect(invitation.reach).toBe('loopback')
  await until('they are connected', async () => (await plain(['status'])).match(/server {2}connected {2}in sync/) !== null)
})

test('log: append, read, import, tail', async () => {
  expect(await plain(['log', 'append', 'memory', 'Met Ada; she prefers mornings', '--tag', 'people'])).toMatch(
    /^appended to memory( \(held by 2\))?\n$/,
  )
  const receipt = await json<{ entries: string[]; replicas: object }>(
    [
      'log',
      'append',
      'memory',
      '-',
      '--kind',
      'note',
      '--data',
      '{"mood":"warm"}',
      '--time',
      '2026-10-30T09:00:00Z',
      '--replicas',
      '2',
      '--operation-id',
      'once',
    ],
    'said\non two lines\n',
  )
  expect(receipt).toMatchObject({ replicas: { asked: 2, held: 2 }, repeated: false, appended: 1 })

  const recent = await json<object>(['log', 'read', 'memory', '--since', '2026-11-01'])
  expect(recent).toMatchObject({ text: 'Met Ada; she prefers mornings', tags: ['people'], author: { name: 'laptop' } })
  const whole = await plain(['log', 'read', 'memory', '--home', secondHome])
  expect(whole).toMatch(
    /^2026-10-30 .* {2}laptop {2}\[note\] said\n {4}on two lines \{"mood":"warm"\}\n.* {2}laptop {2}Met Ada; she prefers mornings #people\n$/,
  )

  const file = join(group.directory, 'chat.jsonl')
  writeFileSync(file, '{"content":"Hello","role":"user","model":"m1"}\n{"content":"Hi!","role":"assistant","model":"m1"}\n')
  const importing = ['log', 'import', 'chat', file, '--rename', 'content=text', '--rename', 'role=kind', '--others', 'data']
  expect(await json(importing)).toEqual({ lines: 2, written: 2, alreadyThere: 0, done: true })
  expect(await plain(importing)).toMatch(/^imported 0 entries into chat, 2 were there \(\d s\)\n$/)
  expect(await json(['log', 'read', 'chat', '--kind', 'assistant'])).toMatchObject({ text: 'Hi!', data: { model: 'm1' } })

  const tail = group.start(['log', 'tail', 'memory', '-n', '1', '--json'], { environment })
  const lines = createInterface({ input: tail.stdout! })[Symbol.asyncIterator]()
  expect(JSON.parse((await lines.next()).value as string)).toMatchObject({ text: 'Met Ada; she prefers mornings' })
  await plain(['log', 'append', 'memory', 'from the other side', '--home', secondHome])
  expect(JSON.parse((await lines.next()).value as string)).toMatchObject({ text: 'from the other side', author: { name: 'server' } })
  tail.kill('SIGINT')
  await once(tail, 'exit')
})

test('counter, set and register', async () => {
  expect(await plain(['counter', 'add', 'karma', 'post-17', '1'])).toMatch(/^added 1 to post-17 of karma/)
  await plain(['counter', 'add', 'karma', 'post-18', '-3'])
  expect(await json(['counter', 'get', 'karma'])).toEqual({ 'post-17': 1, 'post-18': -3 })
  expect(await plain(['counter', 'get', 'karma'])).toBe('post-17  1\npost-18  -3\n')
  expect(await plain(['counter', 'get', 'karma', 'post-17'])).toBe('1\n')

  await plain(['set', 'add', 'follows', 'ada'])
  await plain(['set', 'add', 'follows', 'grace'])
  await plain(['set', 'remove', 'follows', 'grace'])
  expect(await json(['set', 'list', 'follows'])).toEqual(['ada'])
  expect(await plain(['set', 'list', 'follows'])).toBe('ada\n')
  expect(await plain(['set', 'has', 'follows', 'grace'])).toBe('false\n')

  // Written on both sides while they are apart: both values are shown.
  await plain(['network', 'pause'])
  await plain(['register', 'set', 'profile', 'city', 'Lisbon'])
  await plain(['register', 'set', 'profile', 'city', 'Porto', '--home', secondHome])
  await plain(['network', 'resume'])
  const cell = await until('the values have met', async () => {
    const found = await json<{ value: string; siblings: { value: string }[] }>(['register', 'get', 'profile', 'city'])
    return found.siblings.length > 0 && found
  })
  expect([cell.value, cell.siblings[0]?.value]).toEqual(['Porto', 'Lisbon'])
  expect(await plain(['register', 'get', 'profile'])).toMatch(/^city = Porto\n {2}also written, by laptop at .*: Lisbon\n$/)
  await plain(['register', 'set', 'profile', 'languages', '["pt","en"]', '--as', 'json'])
  expect(await plain(['register', 'get', 'profile', 'languages'])).toBe('["pt","en"]\n')
  await plain(['register', 'delete', 'profile', 'languages'])
  expect(await json(['register', 'get', 'profile', 'languages'])).toBeNull()
})

test('text and json', async () => {
  const soul = '# Soul\n\nI am kevin. — «kind»\n'
  await plain(['text', 'put', 'SOUL.md'], soul)
  expect(await plain(['text', 'get', 'SOUL.md'])).toBe(soul)
  const { text, version } = await json<{ text: string; version: string }>(['text', 'get', 'SOUL.md'])
  expect(text).toBe(soul)
  await plain(['text', 'put', 'SOUL.md'], `${soul}One more line.\n`)
  await plain(['text', 'put', 'SOUL.md', '--base', version], `First.\n${soul}`)
  expect(await plain(['text', 'get', 'SOUL.md'])).toBe(`First.\n${soul}One more line.\n`)

  await plain(['json', 'patch', 'tasks', '{"t1":{"status":"done"},"a":[1]}'])
  await plain(['json', 'patch', 'tasks', '-'], '[{"op":"add","path":"/a/0","value":0}]')
  expect(await json(['json', 'get', 'tasks'])).toEqual({ a: [0, 1], t1: { status: 'done' } })
  expect(await plain(['json', 'get', 'tasks'])).toBe('{\n  "a": [\n    0,\n    1\n  ],\n  "t1": {\n    "status": "done"\n  }\n}\n')
})

test('watch: live, and resumed where it ended', async () => {
  const firstOf = async (args: readonly string[]): Promise<Record<string, unknown>> => {
    const command = group.start(['watch', 'log/*', '--json', ...args], { environment })
    const lines = createInterface({ input: command.stdout! })[Symbol.asyncIterator]()
    const line = (await lines.next()).value as string
    command.kill('SIGINT')
    await once(command, 'exit')
    return JSON.parse(line) as Record<string, unknown>
  }
  const first = await firstOf(['--cursor', 'start'])
  expect(first).toMatchObject({ kind: 'log', name: 'memory', local: true, entries: [{ text: 'Met Ada; she prefers mornings' }] })
  const second = await firstOf(['--cursor', String(first.cursor)])
  expect(second).toMatchObject({ kind: 'log', name: 'memory', entries: [{ text: 'said\non two lines\n' }] })
})

test('presence, members, documents, digests, status', async () => {
  await plain(['presence', 'set', 'writing the report'])
  await until('the other sees it', async () => (await plain(['presence', '--home', secondHome])).includes('laptop  writing the report'))
  expect(await json(['presence'])).toEqual([
    { instance: expect.objectContaining({ name: 'laptop' }) as object, state: 'writing the report', self: true },
  ])
  await plain(['presence', 'clear'])
  expect(await plain(['presence'])).toBe('nobody says what it is doing\n')

  const { members } = await json<{ members: { name: string; role: string; connected: boolean }[] }>(['members'])
  expect(members.map(({ name, role, connected }) => [name, role, connected])).toEqual([
    ['laptop', 'admin', true],
    ['server', 'writer', true],
  ])
  expect(await plain(['members'])).toMatch(/^laptop +admin +this one +since .*\nserver +writer +connected +since .*\n$/)

  const documents = ['counter karma', 'json tasks', 'log chat', 'log memory', 'register profile', 'set follows', 'text SOUL.md']
  expect((await plain(['documents'])).trimEnd().replaceAll(/ +/g, ' ').split('\n')).toEqual(documents)
  expect(await json(['documents', '--kind', 'log', '--prefix', 'ch'])).toMatchObject([{ kind: 'log', name: 'chat' }])
  const digests = await until('both hold the same', async () => {
    const [here, there] = [await plain(['digests']), await plain(['digests', '--home', secondHome])]
    return here === there && here
  })
  expect(digests.trimEnd().split('\n')).toHaveLength(documents.length)

  const status = await plain(['status'])
  expect(status).toMatch(/^agent {6}kevin {2}[0-9a-f]{16}\ninstance {3}laptop {2}admin\nhome /)
  expect(status).toMatch(/\nnetwork {4}\/ip4\/127\.0\.0\.1\/tcp\/\d+\n {11}\/ip6\/::1\/tcp\/\d+\nmemory {5}7 documents, 5 log entries\n/)
  expect(await json(['status'])).toMatchObject({
    agent: { name: 'kevin' },
    documents: 7,
    entries: 5,
    attention: [],
    network: { paused: false },
  })
})

test('network and down', async () => {
  expect(await plain(['network', 'pause'])).toBe("offline: 'selfsame network resume' goes on\n")
  expect(await plain(['status'])).toContain("network    paused: 'selfsame network resume' goes on\n")
  expect(await json(['network', 'resume'])).toEqual({ paused: false })
  expect(await plain(['down'])).toBe('stopped\n')
  expect(await json(['down', '--home', secondHome])).toMatchObject({ stopped: true })
  const again = await group.selfsame(['down'], { environment })
  expect(again).toEqual({ code: 69, out: '', err: 'selfsame: the daemon is not running: selfsame up\n' })
})

test('every command has a help that shows how to call it', async () => {
  const overview = await plain(['--help'])
  const commands = [
    'init',
    'join',
    'up',
    'down',
    'status',
    'wait',
    'log',
    'counter',
    'set',
    'register',
    'text',
    'json',
    'watch',
    'presence',
    'network',
    'invite',
    'key',
  ]
  for (const command of commands) expect(overview).toMatch(new RegExp(`^  ${command}\\b`, 'm'))
  expect(await plain(['log', 'import', '--help'])).toContain('$ selfsame log import memory notes.jsonl')
})
