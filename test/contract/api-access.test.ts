/** Who may do what over the local API: tokens over the socket, and TCP with its names. */
import { connect as connectTcp } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { routes } from '../../src/api/contract.ts'
import type { Route } from '../../src/api/contract.ts'
import { connect, openServer } from '../../src/api/index.ts'
import type { ChangePage, DocumentDigest, DocumentSummary, Operation, TokenInput } from '../../src/api/index.ts'
import { createScope } from '../../src/api/scope.ts'
import { silentLogger, systemClock } from '../../src/core/index.ts'
import type { Clock } from '../../src/core/index.ts'
import { createMemoryTokens } from '../unit/api/memory-agent.ts'
import { openFixture, problemIn, turns } from './api-fixture.ts'
import type { Answer, Ask, Fixture } from './api-fixture.ts'

const page = 'http://localhost:3000'

let api: Fixture
let made = 0

beforeAll(async () => {
  api = await openFixture({ tcp: { listen: '127.0.0.1:0', hosts: ['memory.example'], origins: [page] } })
  await api.client.batch([
    { type: 'log.append', name: 'memory', entries: [{ text: 'Met Ada' }] },
    { type: 'log.append', name: 'private/diary', entries: [{ text: 'secret' }] },
    { type: 'text.put', name: 'SOUL.md', text: 'I am kevin.' },
    { type: 'counter.add', name: 'karma', key: 'a', amount: 1 },
  ])
})

afterAll(() => api.close())

/** The header of a new token. */
function bearer(allow: TokenInput['allow'], from = api): { readonly authorization: string } {
  return { authorization: `Bearer ${from.tokens.create({ name: `t${++made}`, allow }).token}` }
}

/** A request to a route that is right but for who makes it. */
function askRoute(route: Route, headers: Record<string, string>, more: Ask = {}): Promise<Answer> {
  const path = route.path.replace(':kind', 'text').replace(':name', 'x').replace(':id', '0'.repeat(60))
  return api.ask(route.method, path, { headers, ...more })
}

const allRoutes = (Object.entries(routes) as [string, Route][]).filter(([id]) => id !== 'daemon.shutdown' && !id.endsWith('.watch'))

describe('over the socket', () => {
  test('a request without a token may do everything', async () => {
    expect((await api.ask('GET', '/v1/members')).status).toBe(200)
    expect((await api.ask('GET', '/v1/text/SOUL.md')).status).toBe(200)
  })

  test.each([
    'Bearer',
    'Bearer ',
    'Bearer x',
    `Bearer selfsame-token-${'A'.repeat(43)}`,
    `Basic ${Buffer.from('a:b').toString('base64')}`,
    `selfsame-token-${'A'.repeat(43)}`,
    '',
  ])('what is no valid token is refused, although none would do: %j', async (authorization) => {
    const answer = await api.ask('GET', '/v1/health', { headers: { authorization } })
    expect(problemIn(answer).code).toBe('unauthorized')
    expect(answer.headers['www-authenticate']).toBe('Bearer')
  })

  test('a token is held to what it allows, and told what it does not', async () => {
    const headers = bearer(['log/memory:append,read', 'text/*:read'])
    expect((await api.ask('GET', '/v1/log/memory/entries', { headers })).status).toBe(200)
    expect((await api.askJson('POST', '/v1/log/memory/entries', { text: 'more' }, headers)).status).toBe(200)
    expect((await api.ask('GET', '/v1/digests/text/SOUL.md', { headers })).status).toBe(200)
    const refused = await api.ask('PUT', '/v1/text/SOUL.md', { headers: { 'content-type': 'text/plain', ...headers }, body: 'I am not.' })
    expect(problemIn(refused)).toMatchObject({ code: 'forbidden', detail: expect.stringContaining('write text/SOUL.md') as string })
    expect(problemIn(await api.ask('GET', '/v1/log/private%2Fdiary/entries', { headers })).code).toBe('forbidden')
    expect(problemIn(await api.ask('GET', '/v1/members', { headers })).code).toBe('forbidden')
    expect((await api.client.text('SOUL.md').get()).text).toBe('I am kevin.')
  })

  test('a document that may not be read is refused alike, whether it exists or not', async () => {
    const headers = bearer(['text/none:read'])
    for (const name of ['SOUL.md', 'no-such'])
      expect(problemIn(await api.ask('GET', `/v1/text/${name}`, { headers })).code).toBe('forbidden')
    for (const name of ['karma', 'no-such'])
      expect(problemIn(await api.ask('GET', `/v1/digests/counter/${name}`, { headers })).code).toBe('forbidden')
  })

  test.each(allRoutes.filter(([, { needs }]) => needs !== 'nothing'))(
    'a token for another document gets nothing of %s',
    async (_, route) => {
      const body = route.method === 'GET' ? undefined : bodyFor(route)
      const answer = await askRoute(
        route,
        { ...bearer(['log/another:read,append,write']), ...body?.headers },
        body === undefined ? {} : { body: body.text },
      )
      expect(problemIn(answer).code).toBe('forbidden')
    },
  )

  test('appending alone neither reads nor edits', async () => {
    const headers = bearer(['*/*:append'])
    expect((await api.askJson('POST', '/v1/log/any/entries', { text: 'x' }, headers)).status).toBe(200)
    const lines = { headers: { 'content-type': 'application/x-ndjson', ...headers }, body: '{"text":"y"}\n' }
    expect((await api.ask('POST', '/v1/log/any/entries', lines)).status).toBe(200)
    expect(problemIn(await api.ask('GET', '/v1/log/any/entries', { headers })).code).toBe('forbidden')
    expect(problemIn(await api.askJson('POST', '/v1/set/any/add', { member: 'x' }, headers)).code).toBe('forbidden')
  })

  test('a batch is written when each of its operations is allowed, and else not at all', async () => {
    const operations: readonly Operation[] = [
      { type: 'log.append', name: 'a', entries: [{ text: 'x' }] },
      { type: 'set.add', name: 'a', member: 'x' },
      { type: 'register.set', name: 'b', key: 'k', value: 1 },
      { type: 'json.merge', name: 'a/b', patch: {} },
    ]
    const allowance = fc.constantFrom(
      'log/a:append',
      'log/*:write',
      'set/a:write',
      'set/a:append',
      'register/*:write',
      '*/a*:write',
      'json/a/b:write',
      '*/b:write',
    )
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(allowance, { minLength: 1 }),
        fc.subarray([...operations], { minLength: 1 }),
        async (allow, batch) => {
          const scope = createScope(allow)
          const allowed = batch.every(({ type, name }) =>
            scope.allows(type === 'log.append' ? 'append' : 'write', type.split('.')[0] ?? '', name),
          )
          const before = api.agent.requests.length
          const headers = bearer(allow)
          const answer = await api.askJson('POST', '/v1/operations', { operations: batch }, headers)
          api.tokens.revoke(`t${made}`)
          expect([answer.status, api.agent.requests.length - before]).toEqual(allowed ? [200, 1] : [403, 0])
        },
      ),
      { numRuns: 100 },
    )
  })

  test('lists, digests and changes hold what may be read and nothing else', async () => {
    const headers = bearer(['log/*:append', 'log/memory:read', 'text/*:read', 'counter/*:write'])
    const get = async <T>(path: string): Promise<T> => JSON.parse((await api.ask('GET', path, { headers })).text) as T
    const { documents } = await get<{ documents: DocumentSummary[] }>('/v1/documents')
    const { digests } = await get<{ digests: DocumentDigest[] }>('/v1/digests')
    const { changes } = await get<ChangePage>('/v1/changes?cursor=start&limit=1000')
    const pathsOf = (found: readonly { kind: string; name: string }[]) => new Set(found.map(({ kind, name }) => `${kind}/${name}`))
    for (const found of [documents, digests, changes]) expect(pathsOf(found)).toEqual(new Set(['log/memory', 'text/SOUL.md']))
    expect(JSON.stringify([documents, digests, changes])).not.toContain('secret')
  })

  test('health is told without its reasons, which may name documents and instances', async () => {
    await api.client.network.pause()
    const ask = async (headers: Record<string, string>) => JSON.parse((await api.ask('GET', '/v1/health', { headers })).text) as object
    expect(await ask({})).toMatchObject({ state: 'attention', attention: [{ kind: 'paused' }] })
    expect(await ask(bearer(['all']))).toMatchObject({ attention: [{ kind: 'paused' }] })
    expect(await ask(bearer(['text/*:read']))).toMatchObject({ state: 'attention', attention: [] })
    await api.client.network.resume()
  })

  test('a watch shows what may be read, also of what comes later, and ends when the token is revoked', async () => {
    const { name, token } = api.tokens.create({ name: `t${++made}`, allow: ['set/seen:read'] })
    const watch = await api.open('/v1/watch', { authorization: `Bearer ${token}` })
    let text = ''
    const ended = new Promise((resolve) => watch.on('data', (chunk: Buffer) => (text += chunk.toString())).on('end', resolve))
    await api.client.set('hidden').add('a')
    await api.client.set('seen').add('b')
    while (!text.includes('"b"')) await turns(1)
    expect(text).not.toContain('hidden')
    api.tokens.revoke(name)
    await api.client.set('seen').add('c')
    await ended
    expect(text).toContain('"code":"unauthorized"')
    expect(text).not.toContain('"c"')
  })

  test('a stream of entries ends where the token does, and what it wrote before stays', async () => {
    const { name, token } = api.tokens.create({ name: `t${++made}`, allow: ['log/stream:append'] })
    const client = await connect({ socketPath: api.server.socketPath, token })
    async function* entries() {
      yield { text: 'before' }
      while (api.agent.entriesOf('stream').length === 0) await turns(1)
      api.tokens.revoke(name)
      yield { text: 'after' }
    }
    await expect(client.log('stream').import(entries())).rejects.toMatchObject({ code: 'unauthorized' })
    await client.close()
    expect(api.agent.entriesOf('stream').map(({ text }) => text)).toEqual(['before'])
  })

  test('a long answer ends where the token does', async () => {
    await api.client.log('long').import(Array.from({ length: 1_500 }, (_, index) => ({ text: `entry ${index}` })))
    const { name, token } = api.tokens.create({ name: `t${++made}`, allow: ['log/long:read'] })
    const readLog = api.agent.readLog.bind(api.agent)
    api.agent.readLog = async (log, query) => {
      const page = await readLog(log, query)
      if (api.tokens.list().some((token) => token.name === name)) api.tokens.revoke(name)
      return page
    }
    const { text } = await api.ask('GET', '/v1/log/long/entries', {
      headers: { accept: 'application/x-ndjson', authorization: `Bearer ${token}` },
    })
    api.agent.readLog = readLog
    const lines = text.trimEnd().split('\n')
    expect([lines.length, JSON.parse(lines.at(-1) ?? '')]).toEqual([1_001, expect.objectContaining({ code: 'unauthorized' })])
  })

  test('an expired token is refused', async () => {
    const clock: Clock & { ahead: number } = { ...systemClock, ahead: 0, now: () => systemClock.now() + clock.ahead }
    const tokens = createMemoryTokens(clock)
    const own = await openFixture({ tokens })
    const { token } = tokens.create({ name: 'brief', allow: ['all'], expiresSeconds: 60 })
    const headers = { authorization: `Bearer ${token}` }
    expect((await own.ask('GET', '/v1/status', { headers })).status).toBe(200)
    clock.ahead = 60_000
    expect(problemIn(await own.ask('GET', '/v1/status', { headers })).code).toBe('unauthorized')
    await own.close()
  })

  test('a token can be required, also of the owner', async () => {
    const tokens = createMemoryTokens()
    const { token } = tokens.create({ name: 'me', allow: ['all'] })
    const own = await openFixture({ tokens, socketTokenRequired: true, token })
    expect(problemIn(await own.ask('GET', '/v1/health')).code).toBe('unauthorized')
    expect((await own.client.status()).processId).toBe(1)
    await own.close()
  })
})

describe('tokens', () => {
  test('are made, listed and revoked by who may do everything', async () => {
    const created = await api.client.tokens.create({ name: 'scout', allow: ['log/memory:append,read'], expiresSeconds: 60 })
    const listed = (await api.client.tokens.list()).find(({ name }) => name === 'scout')
    expect(listed).toEqual({ name: 'scout', allow: ['log/memory:append,read'], created: created.created, expires: created.expires })
    const client = await connect({ socketPath: api.server.socketPath, token: created.token })
    await client.log('memory').append({ text: 'by scout' })
    await expect(client.tokens.list()).rejects.toMatchObject({ code: 'forbidden' })
    await expect(client.members.list()).rejects.toMatchObject({ code: 'forbidden' })
    await api.client.tokens.revoke('scout')
    await expect(client.log('memory').append({ text: 'too late' })).rejects.toMatchObject({ code: 'unauthorized' })
    await expect(api.client.tokens.revoke('scout')).rejects.toMatchObject({ code: 'not-found' })
    await client.close()
  })

  test.each<[string, object]>([
    ['without a name', { allow: ['all'] }],
    ['with a name that is none', { name: '../x', allow: ['all'] }],
    ['for nothing', { name: 'x', allow: [] }],
    ['for what is not understood', { name: 'x', allow: ['memory:read'] }],
    ['for an unknown right', { name: 'x', allow: ['log/memory:delete'] }],
    ['that has expired', { name: 'x', allow: ['all'], expiresSeconds: 0 }],
  ])('%s are refused', async (_, input) => {
    expect(problemIn(await api.askJson('POST', '/v1/tokens', input)).code).toBe('invalid-request')
  })

  test('are in no log and in no fault', async () => {
    const { token } = api.tokens.create({ name: 'quiet', allow: ['all'] })
    api.agent.fail = () => {
      throw new Error('a fault')
    }
    const answer = await api.askJson('POST', '/v1/set/s/add', { member: 'x' }, { authorization: `Bearer ${token}` })
    api.agent.fail = () => {}
    expect(problemIn(answer).code).toBe('internal')
    expect(api.faults.length).toBeGreaterThan(0)
    expect(JSON.stringify(api.faults)).not.toContain(token.slice(-43))
  })
})

describe('over TCP', () => {
  const tcp = true

  test.each(allRoutes)('%s needs a token', async (_, route) => {
    const answer = await askRoute(route, {}, { tcp })
    expect(problemIn(answer).code).toBe('unauthorized')
  })

  test('nothing is told without a token: not what exists, not which methods', async () => {
    expect((await api.ask('GET', '/v1/no-such', { tcp })).status).toBe(401)
    expect((await api.ask('DELETE', '/v1/health', { tcp })).status).toBe(401)
    expect((await api.ask('OPTIONS', '/v1/health', { tcp })).status).toBe(401)
  })

  test('the client works with a token and the URL', async () => {
    const { token } = api.tokens.create({ name: 'tcp', allow: ['log/over-tcp:append,read'] })
    const url = `http://127.0.0.1:${api.server.tcpAddress?.port}`
    const client = await connect({ url, token })
    await client.log('over-tcp').append({ text: 'hello' })
    expect((await client.log('over-tcp').page()).entries).toHaveLength(1)
    await expect(client.status()).rejects.toMatchObject({ code: 'forbidden' })
    await client.close()
    await expect(connect({ url, token: '' })).rejects.toMatchObject({ code: 'unauthorized' })
    await expect(connect({ url: 'http://127.0.0.1:1' })).rejects.toMatchObject({ code: 'daemon-not-running' })
    for (const wrong of [
      'http://192.0.2.1:80',
      'https://127.0.0.1:7777',
      'http://127.0.0.1',
      'http://127.0.0.1:7777/x',
      'http://a@127.0.0.1:7777',
      '',
    ])
      await expect(connect({ url: wrong, token })).rejects.toMatchObject({ code: 'invalid-request' })
  })

  test('a foreign Host is refused, also with a valid token', async () => {
    const headers = bearer(['all'])
    const port = api.server.tcpAddress?.port
    for (const host of [`localhost:${port}`, `[::1]:${port}`, 'memory.example'])
      expect((await api.ask('GET', '/v1/status', { tcp, headers: { ...headers, host } })).status).toBe(200)
    for (const host of [`evil.example:${port}`, 'localhost', `localhost:1`])
      expect(problemIn(await api.ask('GET', '/v1/status', { tcp, headers: { ...headers, host } })).code).toBe('forbidden')
  })

  test('a request without a Host, as HTTP/1.0 allows, is refused', async () => {
    const text = await rawTcp(`GET /v1/health HTTP/1.0\r\nauthorization: ${bearer(['all']).authorization}\r\n\r\n`)
    expect(text).toMatch(/^HTTP\/1\.1 403 /)
  })

  test('a page is refused unless its origin is listed, and gets no header that would let it read', async () => {
    const headers = bearer(['all'])
    const refused = await api.ask('GET', '/v1/status', { tcp, headers: { ...headers, origin: 'https://evil.example' } })
    expect(problemIn(refused).code).toBe('forbidden')
    expect(Object.keys(refused.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
    const allowed = await api.ask('GET', '/v1/status', { tcp, headers: { ...headers, origin: page } })
    expect([allowed.status, allowed.headers['access-control-allow-origin']]).toEqual([200, page])
    const plain = await api.ask('GET', '/v1/status', { tcp, headers })
    expect(Object.keys(plain.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  test('a browser may ask for a listed page what it may send, and that is all it learns without a token', async () => {
    const preflight = { 'origin': page, 'access-control-request-method': 'POST' }
    const answer = await api.ask('OPTIONS', '/v1/operations', { tcp, headers: preflight })
    expect([answer.status, answer.text, answer.headers['access-control-allow-origin']]).toEqual([204, '', page])
    expect(answer.headers['access-control-allow-headers']).toContain('authorization')
    expect((await api.ask('OPTIONS', '/v1/operations', { tcp, headers: { ...preflight, origin: 'https://evil.example' } })).status).toBe(
      403,
    )
    expect(problemIn(await api.ask('GET', '/v1/status', { tcp, headers: { origin: page } })).code).toBe('unauthorized')
  })

  test('many connections leave the socket as it is', async () => {
    const sockets = Array.from({ length: 300 }, () => connectTcp(api.server.tcpAddress?.port ?? 0, '127.0.0.1').on('error', () => {}))
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))))
    expect((await api.ask('GET', '/v1/health')).status).toBe(200)
    for (const socket of sockets) socket.destroy()
  })

  const options = () => ({ port: api.agent, tokens: api.tokens, logger: silentLogger, clock: systemClock, version: '0.0.0' })

  test('an address of other machines is not served, nor one that is taken, and no socket is left behind', async () => {
    const socketPath = `${api.directory}/run/second.sock`
    const names = { hosts: [], origins: [] }
    const listen = `127.0.0.1:${api.server.tcpAddress?.port}`
    await expect(openServer({ ...options(), socketPath, tcp: { listen, ...names } })).rejects.toMatchObject({ code: 'address-in-use' })
    await expect(openServer({ ...options(), socketPath, tcp: { listen: '0.0.0.0:0', ...names } })).rejects.toMatchObject({
      code: 'invalid-configuration',
    })
    await expect(connect({ socketPath })).rejects.toMatchObject({ code: 'daemon-not-running' })
  })
})

/** A body that the route takes. */
function bodyFor(route: Route): { readonly headers: Record<string, string>; readonly text: string } | undefined {
  if (route.body === undefined) return undefined
  const [mediaType = ''] = Object.keys(route.body)
  return { headers: { 'content-type': mediaType }, text: JSON.stringify(bodies[`${route.method} ${route.path}`] ?? {}) }
}

/** Bodies of the routes that do not take an empty object. */
const bodies: Readonly<Record<string, object>> = {
  'POST /v1/operations': { operations: [{ type: 'set.add', name: 'x', member: 'a' }] },
  'POST /v1/log/:name/entries': { text: 'x' },
  'POST /v1/counter/:name/add': { key: 'a', amount: 1 },
  'POST /v1/set/:name/add': { member: 'a' },
  'POST /v1/set/:name/remove': { member: 'a' },
  'POST /v1/register/:name/set': { key: 'a', value: 1 },
  'POST /v1/register/:name/delete': { key: 'a' },
  'PUT /v1/text/:name': { text: 'x' },
  'PUT /v1/presence': { state: 'x' },
  'PUT /v1/members/:id/role': { role: 'writer' },
  'PUT /v1/members/:id/name': { name: 'x' },
  'POST /v1/tokens': { name: 'x', allow: ['all'] },
}

function rawTcp(request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connectTcp(api.server.tcpAddress?.port ?? 0, '127.0.0.1')
    socket
      .on('error', reject)
      .on('data', (chunk) => (text += chunk.toString()))
      .on('close', () => resolve(text))
    socket.write(request)
  })
}
