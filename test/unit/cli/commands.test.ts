/** What each command asks of the agent, and what it makes of the answer. */
import { describe, expect, test } from 'vitest'
import type { Change, Connect, LogEntry, Receipt, Status } from '../../../src/api/client.ts'
import { run } from './console.ts'
import type { RunOptions, Said } from './console.ts'

const author = { id: 'b2', name: 'laptop' }
const time = '2026-11-21T10:33:05.000Z'
const receipt: Receipt = { feed: 'f1', sequence: 3, time, replicas: { asked: 1, held: 1 }, repeated: false }

function entryOf(extra: Partial<LogEntry>): LogEntry {
  return { id: 'e1', time, author, envelope: { feed: 'f1', sequence: 3 }, ...extra }
}

interface Asked {
  readonly method: string
  readonly args: readonly unknown[]
}

/**
 * An agent that gives `answer` (a list as an iterator of its items where the method streams) to whatever it is asked, and keeps what
 * that was: `log(memory).append` with its arguments.
 */
function createListener(answer: unknown): { readonly connect: Connect; readonly asked: Asked[] } {
  const asked: Asked[] = []
  const streams = new Set(['read', 'tail', 'watch'])
  const told = (path: string): unknown =>
    new Proxy(() => undefined, {
      get: (_, name) => (name === 'then' ? undefined : told(path === '' ? String(name) : `${path}.${String(name)}`)),
      apply: (_, __, args: unknown[]) => {
        const method = path.split('.').at(-1) ?? ''
        if (['log', 'counter', 'set', 'register', 'text', 'json'].includes(path)) return told(`${path}(${String(args[0])})`)
        if (method === 'close') return Promise.resolve()
        asked.push({ method: path, args: args.filter((arg) => arg !== undefined) })
        return streams.has(method) ? iterate(answer as readonly unknown[]) : Promise.resolve(answer)
      },
    })
  return { connect: () => Promise.resolve(told('') as never), asked }
}

async function* iterate(items: readonly unknown[]): AsyncGenerator {
  yield* items
}

async function call(
  words: readonly string[],
  answer: unknown,
  options: RunOptions = {},
): Promise<Said & { readonly asked: readonly Asked[] }> {
  const { connect, asked } = createListener(answer)
  return { ...(await run(words, connect, options)), asked }
}

describe('a write asks for what was typed, and says what became of it', () => {
  test.each<[string, string[], string, unknown[], string]>([
    [
      'an entry',
      ['log', 'append', 'memory', 'Met Ada', '--tag', 'people', '--tag', 'work'],
      'log(memory).append',
      [{ text: 'Met Ada', tags: ['people', 'work'] }, {}],
      'appended to memory',
    ],
    [
      'an entry of data',
      ['log', 'append', 'memory', '--data', '{"a":[1]}', '--kind', 'note'],
      'log(memory).append',
      [{ data: { a: [1] }, kind: 'note' }, {}],
      'appended to memory',
    ],
    [
      'an entry of another time',
      ['log', 'append', 'memory', 'x', '--time', '2026-01-02'],
      'log(memory).append',
      [{ text: 'x', time: '2026-01-02T00:00:00.000Z' }, {}],
      'appended to memory',
    ],
    ['a count', ['counter', 'add', 'karma', 'post-17'], 'counter(karma).add', ['post-17', 1n, {}], 'added 1 to post-17 of karma'],
    [
      'a negative count',
      ['counter', 'add', 'karma', 'post-17', '-9223372036854775807'],
      'counter(karma).add',
      ['post-17', -9223372036854775807n, {}],
      'added -9223372036854775807 to post-17 of karma',
    ],
    ['a member', ['set', 'add', 'follows', 'ada'], 'set(follows).add', ['ada', {}], 'added ada to follows'],
    ['no member', ['set', 'remove', 'follows', 'ada'], 'set(follows).remove', ['ada', {}], 'removed ada from follows'],
    ['a value', ['register', 'set', 'profile', 'age', '42'], 'register(profile).set', ['age', '42', {}], 'set age of profile'],
    [
      'a value of JSON',
      ['register', 'set', 'profile', 'age', '42', '--as', 'json'],
      'register(profile).set',
      ['age', 42, {}],
      'set age of profile',
    ],
    ['no value', ['register', 'delete', 'profile', 'age'], 'register(profile).delete', ['age', {}], 'deleted age of profile'],
    ['a merge patch', ['json', 'patch', 'tasks', '{"t1":null}'], 'json(tasks).merge', [{ t1: null }, {}], 'patched tasks'],
    [
      'a JSON patch',
      ['json', 'patch', 'tasks', '[{"op":"remove","path":"/t1"}]'],
      'json(tasks).patch',
      [[{ op: 'remove', path: '/t1' }], {}],
      'patched tasks',
    ],
  ])('%s', async (_, words, method, args, said) => {
    expect(await call(words, receipt)).toEqual({ code: 0, out: `${said}\n`, err: '', asked: [{ method, args }] })
  })

  test('with the options of a write', async () => {
    const words = ['set', 'add', 'follows', 'ada', '--replicas', '2', '--timeout', '250ms', '--operation-id', 'o1']
    const held = { ...receipt, replicas: { asked: 2, held: 2 } }
    const { out, asked } = await call(words, held)
    expect(out).toBe('added ada to follows (held by 2)\n')
    expect(asked[0]?.args).toEqual(['ada', { replicas: 2, timeoutMs: 250, operationId: 'o1' }])
  })

  test('that fewer instances hold than were asked, or that had been done before', async () => {
    const { code, err } = await call(['set', 'add', 'follows', 'ada', '--replicas', '3'], { ...receipt, replicas: { asked: 3, held: 1 } })
    expect([code, err]).toEqual([0, expect.stringContaining('held by 1 instance of 3 so far')])
    const { out } = await call(['set', 'add', 'follows', 'ada'], { ...receipt, repeated: true })
    expect(out).toBe('added ada to follows (that had been done before)\n')
  })

  test('as JSON, or not at all', async () => {
    expect(JSON.parse((await call(['set', 'add', 'follows', 'ada', '--json'], receipt)).out)).toEqual(receipt)
    expect(await call(['set', 'add', 'follows', 'ada', '--quiet'], receipt)).toMatchObject({ code: 0, out: '', err: '' })
  })

  test.each([
    ['text', 'put', 'SOUL.md'],
    ['text', 'put', 'SOUL.md', '-', '--base', 'v1'],
  ])('a text from standard input: %s %s %s %s', async (...words) => {
    const { out, asked } = await call(words, receipt, { input: 'I am.\n' })
    expect(out).toBe('wrote SOUL.md\n')
    expect(asked).toEqual([{ method: 'text(SOUL.md).put', args: ['I am.\n', words.includes('v1') ? { base: 'v1' } : {}] }])
  })

  test('an entry and a patch from standard input', async () => {
    expect((await call(['log', 'append', 'memory', '-'], receipt, { input: 'two\nlines' })).asked[0]?.args[0]).toEqual({
      text: 'two\nlines',
    })
    expect((await call(['json', 'patch', 'tasks', '-'], receipt, { input: '{"a":1}' })).asked[0]?.args[0]).toEqual({ a: 1 })
  })
})

describe('a read', () => {
  const entries = [
    entryOf({ text: 'Met Ada\nin Lisbon', tags: ['people'], kind: 'note' }),
    entryOf({ id: 'e2', data: { a: 1 } }),
    entryOf({ id: 'e3', text: 'x' }),
  ]

  test('of a log prints entries for people, or one line of JSON each', async () => {
    const plain = await call(
      ['log', 'read', 'memory', '--since', '2026-11-01', '--until', '2026-12-01', '--tag', 'a', '--kind', 'b', '--newest'],
      entries,
    )
    expect(plain.out).toMatch(/^2026-\S+ \S+ {2}laptop {2}\[note\] Met Ada\n {4}in Lisbon #people\n2026-\S+ \S+ {2}laptop {2}\{"a":1\}\n/)
    const since = new Date('2026-11-01')
    expect(plain.asked).toEqual([
      { method: 'log(memory).read', args: [{ since, until: new Date('2026-12-01'), tag: 'a', kind: 'b', order: 'newest' }] },
    ])
    const lines = (await call(['log', 'read', 'memory', '--json'], entries)).out.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(entries)
  })

  test('of a log stops at the limit', async () => {
    expect((await call(['log', 'read', 'memory', '--limit', '2', '--json'], entries)).out.trimEnd().split('\n')).toHaveLength(2)
  })

  test('of the end of a log goes on from there', async () => {
    const { out, asked } = await call(['log', 'tail', 'memory', '-n', '3'], entries)
    expect(asked).toEqual([{ method: 'log(memory).tail', args: [{ last: 3 }] }])
    expect(out).toContain('Met Ada')
  })

  test.each<[string[], unknown, string, string]>([
    [['counter', 'get', 'karma', 'a'], 2n ** 62n, '4611686018427387904', '"4611686018427387904"'],
    [['counter', 'get', 'karma', 'a'], 5n, '5', '5'],
    [
      ['counter', 'get', 'karma'],
      new Map([
        ['a', 5n],
        ['bcd', -1n],
      ]),
      'a    5\nbcd  -1',
      '{"a":5,"bcd":-1}',
    ],
    [['counter', 'get', 'karma'], new Map(), 'karma is empty', '{}'],
    [['set', 'list', 'follows'], ['ada', 'bob'], 'ada\nbob', '["ada","bob"]'],
    [['set', 'list', 'follows'], [], 'follows is empty', '[]'],
    [['set', 'has', 'follows', 'ada'], true, 'true', 'true'],
    [['register', 'get', 'profile', 'city'], undefined, 'profile has no city', 'null'],
    [['json', 'get', 'tasks'], { a: [1] }, '{\n  "a": [\n    1\n  ]\n}', '{"a":[1]}'],
    [['documents'], [{ kind: 'log', name: 'memory', versionKey: 'v' }], 'log  memory', '[{"kind":"log","name":"memory","versionKey":"v"}]'],
    [
      ['presence'],
      [{ instance: author, state: 'writing', self: true }],
      'laptop  writing  (this one)',
      '[{"instance":{"id":"b2","name":"laptop"},"state":"writing","self":true}]',
    ],
    [['network', 'pause'], { paused: true }, "offline: 'selfsame network resume' goes on", '{"paused":true}'],
  ])('is shown plainly and as JSON: %s', async (words, answer, plain, json) => {
    expect(await call(words, answer)).toMatchObject({ code: 0, out: `${plain}\n`, err: '' })
    expect(await call([...words, '--json'], answer)).toMatchObject({ code: 0, out: `${json}\n`, err: '' })
  })

  test('of a register shows what was written at the same time', async () => {
    const cell = { value: 'Lisbon', time, author, siblings: [{ value: 'Porto', time, author: { id: 'c3', name: 'server' } }] }
    expect((await call(['register', 'get', 'profile', 'city'], cell)).out).toMatch(/^Lisbon\n {2}also written, by server at .*: Porto\n$/)
    expect((await call(['register', 'get', 'profile'], new Map([['city', cell]]))).out).toMatch(/^city = Lisbon\n {2}also written/)
  })

  test('of a text gives exactly the text, and on a terminal nothing that steers it', async () => {
    const value = { text: 'a\u001b[2J\n', version: 'v1' }
    expect((await call(['text', 'get', 'SOUL.md'], value)).out).toBe('a\u001b[2J\n')
    expect((await call(['text', 'get', 'SOUL.md'], value, { isTTY: true })).out).toBe('a\ufffd[2J\n')
    expect(JSON.parse((await call(['text', 'get', 'SOUL.md', '--json'], value)).out)).toEqual(value)
  })

  test('of what others wrote cannot steer the terminal', async () => {
    expect((await call(['log', 'read', 'memory'], [entryOf({ text: '\u001b]0;owned\u0007' })])).out).not.toMatch(/(?!\n)\p{Cc}/u)
  })
})

describe('the group', () => {
  test('is watched by pattern, from a cursor', async () => {
    const changes: Change[] = [
      {
        cursor: 'c1',
        kind: 'log',
        name: 'memory',
        time,
        author,
        local: true,
        envelope: { feed: 'f', sequence: 1 },
        entries: [entryOf({ text: 'Met Ada' })],
      },
      { cursor: 'c2', kind: 'counter', name: 'karma', time, author, local: false, envelope: { feed: 'f', sequence: 2 }, keys: ['a', 'b'] },
      { cursor: 'c3', kind: 'text', name: 'SOUL.md', time, author, local: false, envelope: { feed: 'f', sequence: 3 } },
    ]
    const { out, asked } = await call(['watch', 'log/*', 'text/SOUL.md', '--cursor', 'c0'], changes)
    expect(asked).toEqual([{ method: 'watch', args: [['log/*', 'text/SOUL.md'], { cursor: 'c0' }] }])
    expect(out.split('\n').map((line) => line.replaceAll(/\d{4}-\S+ \S+/g, 'TIME'))).toEqual([
      'log/memory  TIME  laptop  Met Ada',
      'counter/karma  TIME  laptop  a, b',
      'text/SOUL.md  TIME  laptop',
      '',
    ])
  })

  test('is invited to: the ticket alone on standard output', async () => {
    const invitation = { ticket: 'selfsame1-abc', expires: time, addresses: ['/ip4/192.0.2.1/tcp/1'], reach: 'public' }
    const { out, err, asked } = await call(
      ['invite', '--role', 'reader', '--expires', '90m', '--uses', '2', '--name', 'server'],
      invitation,
    )
    expect(out).toBe('selfsame1-abc\n')
    expect(err).toContain('selfsame join, then paste the ticket')
    expect(err).toContain('\n  /ip4/192.0.2.1/tcp/1\n')
    expect(err).not.toContain('selfsame1-abc')
    expect(err).not.toContain('!')
    expect(asked).toEqual([{ method: 'invite', args: [{ role: 'reader', expiresSeconds: 5_400, uses: 2, name: 'server' }] }])
  })

  test('is invited to: at a terminal with the line to run on the other machine', async () => {
    const invitation = { ticket: 'selfsame1-abc', expires: time, addresses: ['/ip4/192.0.2.1/tcp/1'], reach: 'public' }
    const { out, err } = await call(['invite'], invitation, { isTTY: true })
    expect(out).toBe('selfsame1-abc\n')
    expect(err).toContain('\n  selfsame join selfsame1-abc\n')
    expect(err).toContain('stands in no list of processes')
    expect((await call(['invite', '--quiet'], invitation, { isTTY: true })).err).toBe('')
    expect(JSON.parse((await call(['invite', '--json'], invitation, { isTTY: true })).out)).toEqual(invitation)
  })

  test.each([
    ['nowhere', 'names no address'],
    ['loopback', 'only this machine itself can reach them'],
    ['private', 'only machines on the same network or VPN'],
  ])('is warned of a ticket that is good for %s', async (reach, words) => {
    const { out, err } = await call(['invite'], { ticket: 'selfsame1-abc', expires: time, addresses: [], reach })
    expect(out).toBe('selfsame1-abc\n')
    expect(err).toContain(words)
  })

  test('says what each is doing', async () => {
    const { asked, err } = await call(['presence', 'set', 'writing the report'], undefined)
    expect(asked).toEqual([{ method: 'presence.set', args: ['writing the report'] }])
    expect(err).toContain('while they are connected')
    expect((await call(['presence', 'clear'], undefined)).asked).toEqual([{ method: 'presence.clear', args: [] }])
    expect((await call(['presence'], [])).out).toBe('nobody says what it is doing\n')
  })

  test('has a status: who is connected, who is behind, what wants attention', async () => {
    const peer = {
      address: '/ip4/192.0.2.1/tcp/1',
      direction: 'outbound' as const,
      roundTripMilliseconds: 1.25,
      clockAheadMilliseconds: 3,
      program: 'selfsame 1.2.3',
      lastSeen: time,
      behind: 0,
      ahead: 0,
      told: time,
      lacks: { documents: 0, first: [] },
      digests: { state: 'equal' as const, documents: 0, first: [], time },
    }
    const digests = { state: 'differs' as const, documents: 1, first: [{ id: 'd', kind: 'set' as const, name: 'tags' }], time }
    const lacks = { documents: 5, first: ['a', 'b', 'c', 'd'].map((name) => ({ kind: 'log' as const, name })) }
    const status: Status = {
      state: 'degraded',
      version: '1.2.3',
      agent: { id: 'a1'.repeat(32), name: 'kevin' },
      instance: { id: 'b2', name: 'laptop', role: 'admin', key: 'k' },
      home: '/srv/kevin',
      processId: 42,
      uptimeSeconds: 300,
      network: { paused: false, addresses: ['/ip4/127.0.0.1/tcp/1', '/ip4/192.0.2.9/tcp/1'] },
      peers: [
        { ...peer, instance: { id: 'c3', name: 'server' }, state: 'connected' },
        { ...peer, instance: { id: 'd4', name: 'phone' }, state: 'connected', behind: 3, ahead: 2, lacks, digests },
        { ...peer, instance: { id: 'e5', name: 'attic' }, state: 'offline' },
        {
          ...peer,
          instance: { id: 'f6', name: 'new' },
          state: 'connecting',
          told: null,
          behind: null,
          ahead: null,
          address: null,
          lacks: null,
        },
      ],
      documents: 1,
      entries: 10_000,
      signals: {
        driftPercent: 0,
        lagSeconds: 0,
        recoverySeconds: 0.43,
        rebuildSeconds: null,
        conflicts: 3,
        conflictedDocuments: [{ kind: 'text', name: 'SOUL.md', conflicts: 3 }],
      },
      attention: [{ kind: 'second-copy', detail: 'a second daemon runs with this key', since: time }],
    }
    const { code, out } = await call(['status'], status)
    expect(out).toContain('agent      kevin  a1a1a1a1a1a1a1a1\n')
    expect(out).toContain('running    5 min, process 42, version 1.2.3, ready after 0.4 s\n')
    expect(out).toContain('memory     1 document, 10,000 log entries\n')
    expect(out).toContain('conflicts  3 concurrent writes merged since the start: text/SOUL.md 3\n')
    expect(out).toMatch(/server {2}connected .* in sync as of .*:.* digests equal at .*:.* 1\.3 ms {2}version 1\.2\.3 {2}\/ip4/)
    expect(out).toMatch(/phone {3}connected .* behind 3, ahead 2, in log\/a, log\/b, log\/c and 2 more +differs: 1 document \(set\/tags\)/)
    expect(out).toMatch(/attic {3}offline, last seen .*:.* unknown \(lacked nothing when it last told\)/)
    expect(out).toMatch(/new {5}connecting, last seen .*:.* unknown/)
    expect(out).toContain('\n\ndegraded: 1 case wants attention\n! second-copy')
    expect(code).toBe(1)
    expect(out).toContain('! second-copy: a second daemon runs with this key (since 2026')
    expect((await call(['status'], { ...status, peers: [], network: { paused: true, addresses: [] } })).out).toMatch(
      /paused.*resume.*\n[^]*selfsame invite/,
    )
    expect(JSON.parse((await call(['status', '--json'], status)).out)).toEqual(status)
  })
})
