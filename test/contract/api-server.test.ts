import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { routes } from '../../src/api/contract.ts'
import type { Route } from '../../src/api/contract.ts'
import { openServer } from '../../src/api/index.ts'
import type { LogPage, Receipt, TextValue } from '../../src/api/index.ts'
import { SelfsameError, silentLogger, systemClock } from '../../src/core/index.ts'
import { createMemoryAgent, createMemoryTokens } from '../unit/api/memory-agent.ts'
import { openFixture, problemIn, turns } from './api-fixture.ts'
import type { Fixture } from './api-fixture.ts'

let api: Fixture

beforeAll(async () => {
  api = await openFixture()
})

afterAll(async () => {
  await api.close()
})

const json = { 'content-type': 'application/json' }

describe('writing', () => {
  test('answers a receipt once the write is durable', async () => {
    const answer = await api.askJson('POST', '/v1/log/memory/entries', { text: 'Met Ada', tags: ['people'], data: { mood: 'warm' } })
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.text)).toMatchObject({ appended: 1, alreadyThere: 0, repeated: false })
    const page = JSON.parse((await api.ask('GET', '/v1/log/memory/entries')).text) as LogPage
    expect(page.entries).toMatchObject([{ text: 'Met Ada', tags: ['people'], data: { mood: 'warm' }, author: { name: 'laptop' } }])
  })

  test('passes on how many instances shall hold it and how long to wait, and answers 202 when fewer do', async () => {
    const answer = await api.askJson('POST', '/v1/set/follows/add?replicas=3&timeout=250ms', { member: 'ada' })
    expect(answer.status).toBe(202)
    expect(api.agent.requests.at(-1)).toMatchObject({ replicas: 3, timeoutMs: 250 })
    await api.askJson('POST', '/v1/set/follows/add?timeout=2s', { member: 'ada' })
    expect(api.agent.requests.at(-1)).toMatchObject({ replicas: 1, timeoutMs: 2_000 })
    await api.askJson('POST', '/v1/set/follows/add', { member: 'ada' })
    expect(api.agent.requests.at(-1)).toMatchObject({ replicas: 1, timeoutMs: 5_000 })
    expect(problemIn(await api.askJson('POST', '/v1/set/follows/add?timeout=61s', { member: 'ada' })).code).toBe('invalid-request')
  })

  test('applies a request once, however often it comes with one Idempotency-Key', async () => {
    const add = () => api.askJson('POST', '/v1/counter/karma/add', { key: 'once', amount: 5 }, { 'idempotency-key': 'request-1' })
    const [first, second] = [JSON.parse((await add()).text) as Receipt, JSON.parse((await add()).text) as Receipt]
    expect(second).toEqual({ ...first, repeated: true })
    expect(JSON.parse((await api.ask('GET', '/v1/counter/karma')).text)).toMatchObject({ totals: { once: 5 } })
    const other = await api.askJson('POST', '/v1/counter/karma/add', { key: 'once', amount: 6 }, { 'idempotency-key': 'request-1' })
    expect(problemIn(other).code).toBe('operation-mismatch')
  })

  test('applies a batch whole or not at all', async () => {
    const operations = [
      { type: 'counter.add', name: 'batch', key: 'k', amount: 1 },
      { type: 'register.set', name: 'profile', key: 'city', value: 'Lisbon' },
      { type: 'json.patch', name: 'tasks', patch: [{ op: 'add', path: '/t1', value: {} }] },
    ]
    expect((await api.askJson('POST', '/v1/operations', { operations })).status).toBe(200)
    const refused = [...operations, { type: 'json.patch', name: 'tasks', patch: [{ op: 'test', path: '/t1', value: 1 }] }]
    expect(problemIn(await api.askJson('POST', '/v1/operations', { operations: refused })).code).toBe('patch-failed')
    expect(JSON.parse((await api.ask('GET', '/v1/counter/batch')).text)).toEqual({ totals: { k: 1 } })
  })

  test('reads and writes integers beyond 2^53 as text', async () => {
    await api.askJson('POST', '/v1/counter/big/add', { key: 'n', amount: '9223372036854775807' })
    expect(JSON.parse((await api.ask('GET', '/v1/counter/big')).text)).toEqual({ totals: { n: '9223372036854775807' } })
    expect(problemIn(await api.askJson('POST', '/v1/counter/big/add', { key: 'n', amount: 1 })).code).toBe('overflow')
  })

  test('a name may hold slashes, percent-encoded, and any script', async () => {
    const name = 'notes/2026/žluťoučký 🐎.md'
    await api.askJson('PUT', `/v1/text/${encodeURIComponent(name)}`, { text: 'x' })
    expect(api.agent.requests.at(-1)?.operations[0]?.name).toBe(name)
    const longest = 'é'.repeat(128)
    expect((await api.askJson('PUT', `/v1/text/${encodeURIComponent(longest)}`, { text: 'x' })).status).toBe(200)
  })
})

describe('a text', () => {
  test('is also read and written raw, its version being the ETag and If-Match the base', async () => {
    const put = await api.ask('PUT', '/v1/text/SOUL.md', { body: 'Be kind.\n', headers: { 'content-type': 'text/plain' } })
    expect(put.status).toBe(200)
    const raw = await api.ask('GET', '/v1/text/SOUL.md', { headers: { accept: 'text/plain' } })
    const value = JSON.parse((await api.ask('GET', '/v1/text/SOUL.md')).text) as TextValue
    expect(raw.text).toBe('Be kind.\n')
    expect(raw.headers.etag).toBe(`"${value.version}"`)
    const headers = { 'content-type': 'text/plain; charset=utf-8', 'if-match': raw.headers.etag as string }
    expect((await api.ask('PUT', '/v1/text/SOUL.md', { body: 'Be kind. Always.\n', headers })).status).toBe(200)
    expect(api.agent.requests.at(-1)?.operations).toEqual([
      { type: 'text.put', name: 'SOUL.md', text: 'Be kind. Always.\n', base: value.version },
    ])
  })

  test('is never overwritten from an unknown base', async () => {
    const headers = { 'content-type': 'text/plain', 'if-match': '"0000"' }
    expect(problemIn(await api.ask('PUT', '/v1/text/SOUL.md', { body: 'mine', headers })).code).toBe('base-unknown')
  })
})

describe('a json document', () => {
  test('is edited by the patch that its media type names', async () => {
    const merge = { body: '{"t2":{"status":"open","rank":1}}', headers: { 'content-type': 'application/merge-patch+json' } }
    await api.ask('PATCH', '/v1/json/plans', merge)
    await api.ask('PATCH', '/v1/json/plans', { body: '{"t2":{"rank":null}}', headers: merge.headers })
    const patch = { body: '[{"op":"add","path":"/t3","value":null}]', headers: { 'content-type': 'application/json-patch+json' } }
    await api.ask('PATCH', '/v1/json/plans', patch)
    expect(JSON.parse((await api.ask('GET', '/v1/json/plans')).text)).toEqual({ value: { t2: { status: 'open' }, t3: null } })
    expect(problemIn(await api.ask('PATCH', '/v1/json/plans', { body: '{}', headers: patch.headers })).detail).toContain('must be array')
    const bare = problemIn(await api.ask('PATCH', '/v1/json/plans', { body: '{}', headers: json }))
    expect(bare).toMatchObject({
      code: 'unsupported-media-type',
      detail: expect.stringContaining('application/merge-patch+json') as string,
    })
  })
})

describe('reading', () => {
  test('goes through a log by the page, either way, and as one stream', async () => {
    await api.client.log('pages').appendAll(
      Array.from({ length: 25 }, (_, index) => ({
        text: `entry ${index}`,
        time: 1_000 + index,
        ...(index % 5 === 0 ? { tags: ['fifth'] } : {}),
      })),
    )
    const texts = async (query: string): Promise<string[]> => {
      const found: string[] = []
      for (let cursor: string | null = ''; cursor !== null;) {
        const page = JSON.parse(
          (await api.ask('GET', `/v1/log/pages/entries?limit=10${query}${cursor === '' ? '' : `&cursor=${cursor}`}`)).text,
        ) as LogPage
        found.push(...page.entries.map((entry) => entry.text ?? ''))
        cursor = page.next
      }
      return found
    }
    const all = Array.from({ length: 25 }, (_, index) => `entry ${index}`)
    expect(await texts('')).toEqual(all)
    expect(await texts('&order=newest')).toEqual(all.toReversed())
    expect(await texts('&tag=fifth')).toEqual(all.filter((_, index) => index % 5 === 0))
    expect(await texts('&since=1005&until=1970-01-01T00:00:01.008Z')).toEqual(all.slice(5, 8))
    const stream = await api.ask('GET', '/v1/log/pages/entries?tag=fifth', { headers: { accept: 'application/x-ndjson' } })
    expect(stream.headers['content-type']).toContain('application/x-ndjson')
    expect(
      stream.text
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { text: string }).text),
    ).toEqual(all.filter((_, index) => index % 5 === 0))
  })

  test('shows what proves an author when asked', async () => {
    const page = JSON.parse((await api.ask('GET', '/v1/log/pages/entries?limit=1&provenance=true')).text) as LogPage
    expect(page.entries[0]?.provenance?.hash).toHaveLength(64)
  })

  test('answers every route that reads, in the shape of the contract', async () => {
    const reads = (Object.values(routes) as Route[]).filter(({ method, path }) => method === 'GET' && !path.endsWith('/watch'))
    const [entry] = (JSON.parse((await api.ask('GET', '/v1/log/memory/entries')).text) as LogPage).entries
    for (const { path } of reads) {
      const kind = path.startsWith('/v1/blame/') ? 'text' : 'log'
      const id = path.startsWith('/v1/members/') ? entry?.author.id : entry?.id
      const fields: Record<string, string> = { kind, name: 'memory', id: id ?? '' }
      const answer = await api.ask(
        'GET',
        path.replaceAll(/:(\w+)/g, (_, field: string) => fields[field] ?? ''),
      )
      expect({ path, status: answer.status }).toEqual({ path, status: 200 })
    }
  })

  test('gives one entry with its proof, and blames only what is read as a whole', async () => {
    const receipt = JSON.parse((await api.askJson('POST', '/v1/log/memory/entries', { text: 'proven' })).text) as Receipt
    const answer = await api.ask('GET', `/v1/log/memory/entries/${receipt.entries?.[0]}`)
    expect(JSON.parse(answer.text)).toMatchObject({ text: 'proven', provenance: { signedAt: 1, verified: true } })
    expect(problemIn(await api.ask('GET', `/v1/log/other/entries/${receipt.entries?.[0]}`)).code).toBe('not-found')
    expect(problemIn(await api.ask('GET', '/v1/log/memory/entries/first')).code).toBe('invalid-request')
    expect(problemIn(await api.ask('GET', '/v1/blame/log/memory')).code).toBe('invalid-request')
  })

  test('says what needs attention, and works offline on purpose', async () => {
    expect(JSON.parse((await api.ask('POST', '/v1/network/pause')).text)).toEqual({ paused: true })
    expect(JSON.parse((await api.ask('GET', '/v1/health')).text)).toMatchObject({ state: 'attention', attention: [{ kind: 'paused' }] })
    await api.ask('POST', '/v1/network/resume', { headers: json })
    expect(JSON.parse((await api.ask('GET', '/v1/health')).text)).toMatchObject({ state: 'ok' })
  })

  test('presence is set, read and cleared', async () => {
    expect((await api.askJson('PUT', '/v1/presence', { state: 'writing the report' })).status).toBe(204)
    expect(JSON.parse((await api.ask('GET', '/v1/presence')).text)).toMatchObject({
      presence: [{ state: 'writing the report', self: true }],
    })
    expect((await api.ask('DELETE', '/v1/presence')).status).toBe(204)
    expect(JSON.parse((await api.ask('GET', '/v1/presence')).text)).toEqual({ presence: [] })
  })

  test('an invitation has defaults that end soon', async () => {
    const answer = await api.askJson('POST', '/v1/invites', {})
    expect(answer.status).toBe(201)
    expect(JSON.parse(answer.text)).toMatchObject({
      ticket: 'selfsame-writer',
      expires: new Date(1_800_000_000_000 + 3_600_000).toISOString(),
      reach: 'loopback',
    })
  })
})

describe('what is refused says what is wrong', () => {
  const entries = '/v1/log/refused/entries'
  const add = '/v1/counter/refused/add'

  test.each<[string, string, string, string | undefined, Record<string, string>, string, string]>([
    ['malformed JSON', 'POST', entries, '{"text":', json, 'invalid-request', 'this is not JSON'],
    ['an empty body', 'POST', entries, '', json, 'invalid-request', 'the body is empty'],
    [
      'an empty patch',
      'PATCH',
      '/v1/json/refused',
      '',
      { 'content-type': 'application/merge-patch+json' },
      'invalid-request',
      'the body is empty',
    ],
    ['bytes that are not UTF-8', 'POST', entries, '\xff', json, 'invalid-request', 'not UTF-8'],
    ['a body that is no object', 'POST', entries, '[]', json, 'invalid-request', 'body must be'],
    ['an entry without text and data', 'POST', entries, '{"tags":[]}', json, 'invalid-request', 'text or data'],
    ['an unknown field', 'POST', entries, '{"text":"x","texxt":"y"}', json, 'invalid-request', 'unknown field "texxt"'],
    ['a field of a wrong type', 'POST', entries, '{"text":5}', json, 'invalid-request', 'body.text must be string'],
    ['a number as text', 'POST', add, '{"key":"k","amount":"1.5"}', json, 'invalid-request', 'body.amount must be a whole number'],
    ['a fraction', 'POST', add, '{"key":"k","amount":1.5}', json, 'invalid-request', 'body.amount must be a whole number'],
    ['a missing field', 'POST', add, '{"amount":1}', json, 'invalid-request', 'lacks "key"'],
    ['an empty batch', 'POST', '/v1/operations', '{"operations":[]}', json, 'invalid-request', 'body.operations must'],
    [
      'an unknown operation',
      'POST',
      '/v1/operations',
      '{"operations":[{"type":"log.drop","name":"x"}]}',
      json,
      'invalid-request',
      '"log.drop"',
    ],
    [
      'an operation without a type',
      'POST',
      '/v1/operations',
      '{"operations":[{"name":"x"}]}',
      json,
      'invalid-request',
      'body.operations.0',
    ],
    [
      'a time without a zone',
      'POST',
      entries,
      '{"text":"x","time":"2026-11-01T10:00:00"}',
      json,
      'invalid-request',
      'body.time must be ISO 8601',
    ],
    ['a name with ..', 'POST', '/v1/log/..%2Fetc/entries', '{"text":"x"}', json, 'invalid-name', '".."'],
    ['a bare ..', 'PUT', '/v1/text/..', '{"text":"x"}', json, 'invalid-name', '".."'],
    ['a name that is too long', 'PUT', `/v1/text/${'x'.repeat(300)}`, '{"text":"x"}', json, 'invalid-request', 'params.name'],
    ['a name far too long', 'PUT', `/v1/text/${'x'.repeat(3_000)}`, '{"text":"x"}', json, 'invalid-request', ''],
    ['a broken percent code', 'GET', '/v1/text/%zz', undefined, {}, 'invalid-request', '%zz'],
    ['a slash in a name', 'GET', '/v1/text/notes/today.md', undefined, {}, 'not-found', '%2F'],
    ['an unknown path', 'GET', '/v2/status', undefined, {}, 'not-found', '/v1/openapi.json'],
    ['another method', 'DELETE', '/v1/status', undefined, {}, 'method-not-allowed', 'use GET'],
    ['HEAD', 'OPTIONS', '/v1/text/x', undefined, {}, 'method-not-allowed', 'use GET or PUT'],
    [
      'a form',
      'POST',
      add,
      'key=k&amount=1',
      { 'content-type': 'application/x-www-form-urlencoded' },
      'unsupported-media-type',
      'application/json',
    ],
    ['a body without a type', 'POST', add, '{"key":"k","amount":1}', {}, 'unsupported-media-type', 'application/json'],
    ['a type for another route', 'POST', add, 'text', { 'content-type': 'text/plain' }, 'unsupported-media-type', 'application/json'],
    ['a type that is no type', 'POST', add, '{}', { 'content-type': 'nonsense' }, 'unsupported-media-type', ''],
    ['an unknown query parameter', 'GET', `${entries}?colour=red`, undefined, {}, 'invalid-request', 'unknown field "colour"'],
    ['a query where there is none', 'GET', '/v1/status?verbose=1', undefined, {}, 'invalid-request', 'unknown field "verbose"'],
    ['a limit that is no number', 'GET', `${entries}?limit=ten`, undefined, {}, 'invalid-request', 'query.limit must be integer'],
    ['a limit of nothing', 'GET', `${entries}?limit=`, undefined, {}, 'invalid-request', 'query.limit'],
    ['a limit too large', 'GET', `${entries}?limit=100000`, undefined, {}, 'invalid-request', 'query.limit must be <= 1000'],
    ['a limit given twice', 'GET', `${entries}?limit=1&limit=2`, undefined, {}, 'invalid-request', 'query.limit'],
    ['an order that is none', 'GET', `${entries}?order=random`, undefined, {}, 'invalid-request', 'oldest, newest'],
    ['a day that does not exist', 'GET', `${entries}?since=2026-02-31`, undefined, {}, 'invalid-request', '2026-02-31'],
    [
      'a wait without a unit that is known',
      'POST',
      `${add}?timeout=5h`,
      '{"key":"k","amount":1}',
      json,
      'invalid-request',
      'query.timeout',
    ],
    ['no replica', 'POST', `${add}?replicas=0`, '{"key":"k","amount":1}', json, 'invalid-request', 'query.replicas'],
    ['a pattern of no kind', 'GET', '/v1/watch?pattern=logs/*', undefined, {}, 'invalid-request', 'query.pattern.0'],
    ['a cursor of another state', 'GET', '/v1/watch?cursor=other:1', undefined, {}, 'cursor-expired', 'read again'],
    ['a digest of nothing', 'GET', '/v1/digests/log/nowhere', undefined, {}, 'not-found', 'nowhere'],
    [
      'an operation id too long',
      'POST',
      add,
      '{"key":"k","amount":1}',
      { ...json, 'idempotency-key': 'x'.repeat(257) },
      'invalid-request',
      'idempotency-key',
    ],
  ])('%s', async (_, method, path, body, headers, code, detail) => {
    const bytes = body === undefined ? undefined : Buffer.from(body, 'latin1')
    const problem = problemIn(await api.ask(method, path, { headers, ...(bytes === undefined ? {} : { body: bytes }) }))
    expect(problem.code).toBe(code)
    expect(problem.detail).toContain(detail)
  })

  test('an oversized body, before it was read', async () => {
    const body = Buffer.alloc(3 << 20, 'x')
    expect(problemIn(await api.ask('POST', entries, { body, headers: json })).code).toBe('too-large')
    const chunked = await api.ask('POST', entries, { body, headers: { ...json, 'transfer-encoding': 'chunked' } })
    expect(problemIn(chunked).code).toBe('too-large')
  })

  test('headers over the limit', async () => {
    expect(problemIn(await api.ask('GET', '/v1/status', { headers: { 'x-large': 'x'.repeat(100_000) } })).code).toBe('too-large')
  })

  test('a fault shows nothing of itself to the client, and all of it to the log', async () => {
    api.agent.fail = () => {
      throw new TypeError('secret is undefined')
    }
    const problem = problemIn(await api.askJson('POST', add, { key: 'k', amount: 1 }))
    api.agent.fail = () => {}
    expect(problem).toMatchObject({ code: 'internal' })
    expect(problem.detail).not.toContain('secret')
    expect(JSON.stringify(api.faults)).toContain('TypeError: secret is undefined')
  })

  test('an error of the agent keeps its code', async () => {
    api.agent.fail = () => {
      throw new SelfsameError('read-only', 'no space is left')
    }
    const problem = problemIn(await api.askJson('POST', add, { key: 'k', amount: 1 }))
    api.agent.fail = () => {}
    expect(problem).toMatchObject({ code: 'read-only', retry: true, detail: 'no space is left', status: 507 })
  })
})

describe('bytes that are not HTTP', () => {
  /** Sends bytes, ends the sending side, and reads until the server hangs up. */
  async function exchange(bytes: Buffer): Promise<string> {
    const socket = await api.raw()
    return new Promise((resolve) => {
      const chunks: Buffer[] = []
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.on('error', () => {})
      socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
      socket.end(bytes)
    })
  }

  test('are answered with a problem', async () => {
    const answer = await exchange(Buffer.from('hello there\r\n\r\n'))
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    expect(answer).toContain('content-type: application/problem+json')
    expect(answer).toContain('"code":"invalid-request"')
  })

  test.each([
    ['a request without a host', 'GET /v1/health HTTP/1.1\r\nconnection: close\r\n\r\n', '400 Bad Request', 'headers.host is missing'],
    [
      'an expectation that nobody knows',
      'GET /v1/health HTTP/1.1\r\nhost: x\r\nexpect: a miracle\r\nconnection: close\r\n\r\n',
      '200 OK',
      '"state"',
    ],
  ])('and %s gets an answer of the contract', async (_, request, status, shown) => {
    const socket = await api.raw()
    const chunks: Buffer[] = []
    const closed = new Promise((resolve) => socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('close', resolve))
    socket.write(request)
    await closed
    const answer = Buffer.concat(chunks).toString()
    expect(answer.startsWith(`HTTP/1.1 ${status}\r\n`)).toBe(true)
    expect(answer).toContain(shown)
  })

  test('never stop the server, whatever they are', async () => {
    const body = '{"key":"k","amount":1}'
    const valid = Buffer.from(
      `POST /v1/counter/fuzz/add?replicas=1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nidempotency-key: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    const chunked = Buffer.from(
      'POST /v1/log/fuzz/entries HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{"text":"hello"}\r\n1\r\n\n\r\n0\r\n\r\n',
    )
    const mutation = fc.record({ at: fc.nat(), bytes: fc.uint8Array({ maxLength: 8 }), cut: fc.nat({ max: 12 }) })
    const mutated = fc
      .tuple(fc.constantFrom(valid, chunked), fc.array(mutation, { minLength: 1, maxLength: 4 }))
      .map(([request, mutations]) =>
        mutations.reduce((bytes, { at, bytes: inserted, cut }) => {
          const place = at % (bytes.length + 1)
          return Buffer.concat([bytes.subarray(0, place), inserted, bytes.subarray(place + cut)])
        }, request),
      )
    const anything = fc.oneof(
      mutated,
      fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
    )
    await fc.assert(
      fc.asyncProperty(anything, async (bytes) => {
        const answer = await exchange(bytes)
        if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.1 \d{3} /)
      }),
      { numRuns: 300 },
    )
    expect((await api.ask('GET', '/v1/health')).status).toBe(200)
  }, 60_000)
})

describe('the socket', () => {
  test('is for this user only', () => {
    expect(statSync(api.server.socketPath).mode & 0o777).toBe(0o600)
    expect(statSync(dirname(api.server.socketPath)).mode & 0o777).toBe(0o700)
  })

  const options = (socketPath: string) => ({
    port: createMemoryAgent(),
    tokens: createMemoryTokens(),
    socketPath,
    logger: silentLogger,
    clock: systemClock,
    version: '0.0.0',
  })

  test('of a living daemon is refused, and stays', async () => {
    await expect(openServer(options(api.server.socketPath))).rejects.toMatchObject({ code: 'daemon-running' })
    expect((await api.ask('GET', '/v1/health')).status).toBe(200)
  })

  test('of a dead daemon is replaced', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'selfsame-stale-'))
    const socketPath = join(directory, 'run', 'api.sock')
    mkdirSync(dirname(socketPath), { mode: 0o700 })
    const dead = createServer().listen(socketPath)
    await new Promise((resolve) => dead.once('listening', resolve))
    // Node removes the file of a socket it closes; a killed process does not.
    renameSync(socketPath, `${socketPath}.kept`)
    await new Promise((resolve) => dead.close(resolve))
    renameSync(`${socketPath}.kept`, socketPath)
    const server = await openServer(options(socketPath))
    await server.close()
    expect(() => statSync(socketPath)).toThrow('ENOENT')
    rmSync(directory, { recursive: true })
  })

  const isRoot = process.getuid?.() === 0
  /** Somebody else: `nobody` on most systems. */
  const otherUser = 65_534

  test.each<[string, (directory: string) => void]>([
    ['over a file', (directory) => writeFileSync(join(directory, 'api.sock'), 'precious')],
    ['over a directory', (directory) => mkdirSync(join(directory, 'api.sock'))],
    ['over a symbolic link, also one to nothing', (directory) => symlinkSync('/nowhere', join(directory, 'api.sock'))],
    ['where others may read', (directory) => chmodSync(directory, 0o740)],
    ['where others may enter', (directory) => chmodSync(directory, 0o701)],
    [
      'where the directory is a symbolic link',
      (directory) => {
        renameSync(directory, `${directory}-elsewhere`)
        symlinkSync(`${directory}-elsewhere`, directory)
      },
    ],
    [
      'where the directory is a symbolic link to nothing',
      (directory) => {
        rmSync(directory, { recursive: true })
        symlinkSync('/nowhere', directory)
      },
    ],
    [
      'where the directory is a file',
      (directory) => {
        rmSync(directory, { recursive: true })
        writeFileSync(directory, 'precious')
      },
    ],
  ])('is not made %s', async (_, prepare) => {
    const parent = mkdtempSync(join(tmpdir(), 'selfsame-unsafe-'))
    const directory = join(parent, 'run')
    mkdirSync(directory, { mode: 0o700 })
    prepare(directory)
    const before = listing(parent)
    await expect(openServer(options(join(directory, 'api.sock')))).rejects.toMatchObject({ code: 'home-unsafe' })
    expect(listing(parent)).toEqual(before)
    rmSync(parent, { recursive: true })
  })

  test.runIf(isRoot)('is not made in the directory of another user', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'selfsame-foreign-'))
    chownSync(directory, otherUser, otherUser)
    await expect(openServer(options(join(directory, 'api.sock')))).rejects.toMatchObject({ code: 'home-unsafe' })
    expect(listing(directory)).toEqual([])
    rmSync(directory, { recursive: true })
  })

  test.runIf(isRoot)('is not made in place of one that another user made', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'selfsame-foreign-'))
    const socketPath = join(directory, 'api.sock')
    const foreign = createServer().listen(socketPath)
    await new Promise((resolve) => foreign.once('listening', resolve))
    chownSync(socketPath, otherUser, otherUser)
    await expect(openServer(options(socketPath))).rejects.toMatchObject({ code: 'home-unsafe' })
    await new Promise((resolve) => foreign.close(resolve))
    rmSync(directory, { recursive: true })
  })
})

/** What lies below a directory: names, kinds, modes. */
function listing(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true }).map((entry) => {
    const { mode, uid } = lstatSync(join(entry.parentPath, entry.name))
    return `${entry.name} ${mode.toString(8)} ${uid}`
  })
}

describe('closing', () => {
  test('lets a request finish, ends watches, and takes nothing new', async () => {
    const own = await openFixture()
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    own.agent.slow = () => held
    const write = own.askJson('POST', '/v1/set/s/add', { member: 'last' })
    const watch = await own.open('/v1/watch')
    const ended = new Promise((resolve) => watch.on('end', resolve).resume())
    while (own.agent.requests.length === 0) await turns(1)
    const closed = own.server.close()
    await ended
    await expect(own.ask('GET', '/v1/health')).rejects.toMatchObject({ code: expect.stringMatching(/ECONNREFUSED|ENOENT/) as string })
    release()
    expect((await write).status).toBe(200)
    await closed
    expect(own.agent.listeners).toBe(0)
    await own.close()
  })
})
