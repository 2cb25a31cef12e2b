import { connect as connectSocket, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connect, openServer } from '../../src/api/index.ts'
import type { Agent, Change, EntryInput, ImportProgress, LogEntry } from '../../src/api/index.ts'
import { SelfsameError, silentLogger, systemClock } from '../../src/core/index.ts'
import { openFixture, turns } from './api-fixture.ts'
import type { Fixture } from './api-fixture.ts'

let api: Fixture
let agent: Agent

beforeEach(async () => {
  api = await openFixture()
  agent = api.client
})

afterEach(async () => {
  await api.close()
})

/** The server goes away and comes back over the same agent. */
async function restart(): Promise<void> {
  const { socketPath } = api.server
  await api.server.close()
  const { agent: port, tokens } = api
  const server = await openServer({ port, tokens, socketPath, logger: silentLogger, clock: systemClock, version: '0.0.0' })
  Object.assign(api, { server })
}

async function take<T>(source: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = []
  for await (const item of source) {
    taken.push(item)
    if (taken.length === count) break
  }
  return taken
}

describe('the client', () => {
  test('writes to and reads from documents of every kind', async () => {
    const receipt = await agent.log('memory').append({ text: 'Met Ada', tags: ['people'] }, { replicas: 2, timeoutMs: 10 })
    expect(receipt.replicas).toEqual({ asked: 2, held: 1 })
    expect(await take(agent.log('memory').read(), 1)).toMatchObject([{ id: receipt.entries?.[0], text: 'Met Ada' }])

    await agent.counter('karma').add('post-17')
    await agent.counter('karma').add('post-17', 2n ** 60n)
    expect(await agent.counter('karma').get('post-17')).toBe(2n ** 60n + 1n)
    expect(await agent.counter('karma').get('nothing')).toBe(0n)
    expect(await agent.counter('karma').all()).toEqual(new Map([['post-17', 2n ** 60n + 1n]]))

    await agent.set('follows').add('ada')
    await agent.set('follows').add('bob')
    await agent.set('follows').remove('bob')
    expect(await agent.set('follows').list()).toEqual(['ada'])
    expect(await agent.set('follows').has('bob')).toBe(false)

    await agent.register('profile').set('city', { name: 'Lisbon' })
    await agent.register('profile').set('gone', null)
    await agent.register('profile').delete('gone')
    expect(await agent.register('profile').get('city')).toMatchObject({ value: { name: 'Lisbon' }, siblings: [] })
    expect(await agent.register('profile').get('constructor')).toBeUndefined()
    expect([...(await agent.register('profile').all()).keys()]).toEqual(['city'])

    await agent.text('SOUL.md').put('Be kind.')
    const { text, version } = await agent.text('SOUL.md').get()
    await agent.text('SOUL.md').put(`${text} Always.`, { base: version })
    expect(api.agent.requests.at(-1)?.operations[0]).toMatchObject({ base: version })

    await agent.json('tasks').merge({ t1: { status: 'done' } })
    await agent.json('tasks').patch([{ op: 'add', path: '/t2', value: [1, null] }])
    expect(await agent.json('tasks').get()).toEqual({ t1: { status: 'done' }, t2: [1, null] })
  })

  test('asks about the agent and its daemon', async () => {
    await agent.log('memory').append({ data: 1 })
    expect(await agent.documents({ kind: 'log', prefix: 'mem' })).toMatchObject([{ kind: 'log', name: 'memory' }])
    expect(await agent.digests()).toHaveLength(1)
    expect(await agent.digest('log', 'memory')).toMatchObject({ digest: expect.stringMatching(/^1:/) as string })
    expect(await agent.invite({ role: 'reader', uses: 2 })).toMatchObject({ ticket: 'selfsame-reader' })
    const [invite] = await agent.invites.list()
    await agent.invites.revoke(invite?.id.slice(0, 8) ?? '')
    await expect(agent.invites.revoke('0'.repeat(8))).rejects.toMatchObject({ code: 'not-found' })
    await agent.presence.set({ doing: 'report' })
    expect(await agent.presence.get()).toMatchObject([{ state: { doing: 'report' } }])
    await agent.presence.clear()
    expect(await agent.presence.get()).toEqual([])
    expect(await agent.network.pause()).toEqual({ paused: true })
    expect(await agent.health()).toMatchObject({ state: 'attention' })
    expect(await agent.network.resume()).toEqual({ paused: false })
    expect(await agent.status()).toMatchObject({ agent: { name: 'kevin' }, entries: 1 })
    await agent.shutdown()
    expect(api.agent.stopped).toBe(true)
  })

  test('asks about the members and changes them', async () => {
    expect(await agent.members.list()).toMatchObject({ members: [{ name: 'laptop', role: 'admin' }], former: [] })
    const { id } = await agent.members.find('laptop')
    await expect(agent.members.find('lap/top#1?')).rejects.toMatchObject({ code: 'not-found' })
    expect(await agent.members.giveRole(id, 'reader')).toMatchObject({ told: [{ name: 'laptop' }], untold: [] })
    await agent.members.giveRole(id, 'writer', 'it may')
    await agent.members.rename(id, 'desk')
    await agent.members.remove(id)
    await agent.members.remove(id, 'lost & gone')
    await expect(agent.members.remove('laptop')).rejects.toMatchObject({ code: 'not-found' })
    expect(api.agent.membershipRequests).toEqual([
      ['role', id, 'reader', ''],
      ['role', id, 'writer', 'it may'],
      ['rename', id, 'desk'],
      ['remove', id, ''],
      ['remove', id, 'lost & gone'],
      ['remove', 'laptop', ''],
    ])
  })

  test('reads a log over many pages, in either order, from any sort of time', async () => {
    const log = agent.log('long')
    for (let from = 0; from < 1_200; from += 400)
      await log.appendAll(Array.from({ length: 400 }, (_, index) => ({ text: `${from + index}`, time: from + index })))
    const texts = (entries: readonly LogEntry[]): number[] => entries.map((entry) => Number(entry.text))
    expect(texts(await take(log.read(), Infinity))).toEqual(Array.from({ length: 1_200 }, (_, index) => index))
    expect(texts(await take(log.read({ order: 'newest' }), 3))).toEqual([1_199, 1_198, 1_197])
    expect(texts(await take(log.read({ since: new Date(5), until: 8 }), Infinity))).toEqual([5, 6, 7])
    expect((await log.page({ limit: 2, provenance: true })).entries[0]?.provenance).toBeDefined()
  })

  test('applies a batch whole or not at all', async () => {
    await agent.batch([
      { type: 'counter.add', name: 'karma', key: 'k', amount: 2 },
      { type: 'set.add', name: 'follows', member: 'ada' },
    ])
    const refused = agent.batch([
      { type: 'counter.add', name: 'karma', key: 'k', amount: 2 },
      { type: 'text.put', name: 'SOUL.md', text: '', base: 'unknown' },
    ])
    await expect(refused).rejects.toMatchObject({ code: 'base-unknown' })
    expect(await agent.counter('karma').get('k')).toBe(2n)
  })

  test('turns every refusal into the error of its code', async () => {
    await expect(agent.log('../x').append({ text: 'x' })).rejects.toBeInstanceOf(SelfsameError)
    await expect(agent.log('../x').append({ text: 'x' })).rejects.toMatchObject({ code: 'invalid-name' })
    await expect(agent.counter('k').add('k', 0.5)).rejects.toMatchObject({ code: 'invalid-request' })
    await expect(agent.log('x').append({ text: 'x'.repeat(3 << 20) })).rejects.toMatchObject({ code: 'too-large' })
    await expect(agent.digest('log', 'nowhere')).rejects.toMatchObject({ code: 'not-found' })
  })

  test('gives up a request when told', async () => {
    api.agent.slow = () => new Promise(() => {})
    const given = new AbortController()
    const request = agent.set('s').add('x', { signal: given.signal })
    while (api.agent.requests.length === 0) await turns(1)
    given.abort()
    await expect(request).rejects.toMatchObject({ name: 'AbortError' })
  })
})

describe('a daemon that is not there', () => {
  test('is said so, with what to do', async () => {
    const message = 'the daemon is not running: selfsame up'
    await expect(connect({ home: join(api.directory, 'nowhere') })).rejects.toMatchObject({ code: 'daemon-not-running', message })
    await api.server.close()
    await expect(connect({ socketPath: api.server.socketPath })).rejects.toMatchObject({ code: 'daemon-not-running', message })
    await turns()
    await expect(agent.status()).rejects.toMatchObject({ code: 'daemon-not-running', message })
  })

  test('that hangs up leaves the outcome of a write unknown, and a read to be repeated', async () => {
    const socketPath = join(api.directory, 'run', 'rude.sock')
    let connections = 0
    const rude = createServer((socket) => {
      connections += 1
      if (connections === 1) socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'))
      socket.on('error', () => {})
      socket.on('data', () => (connections === 1 ? undefined : socket.destroy()))
    }).listen(socketPath)
    const unsure = await connect({ socketPath })
    const first = connections
    await unsure.close()
    const other = await connect({ socketPath }).catch((error: unknown) => error)
    expect(other).toMatchObject({ code: 'unavailable' })
    // The read was repeated once.
    expect(connections).toBe(first + 2)
    await new Promise((resolve) => rude.close(resolve))
  })

  test('loses an answer: a write with an operation id is repeated by itself and applied once, one without is not repeated', async () => {
    const socketPath = join(api.directory, 'run', 'lossy.sock')
    let lose = false
    const lossy = createServer((front) => {
      const back = connectSocket(api.server.socketPath)
      front.on('error', () => {}).pipe(back)
      back.on('data', (bytes: Buffer) => {
        if (lose) front.destroy()
        else front.write(bytes)
        lose = false
      })
      front.on('close', () => back.destroy())
    }).listen(socketPath)
    const far = await connect({ socketPath })
    lose = true
    expect(await far.counter('k').add('k', 1, { operationId: 'only once' })).toMatchObject({ repeated: true })
    expect(await far.counter('k').get('k')).toBe(1n)
    lose = true
    await expect(far.counter('k').add('k', 1)).rejects.toMatchObject({ code: 'outcome-unknown' })
    expect(await far.counter('k').get('k')).toBe(2n)
    await far.close()
    await new Promise((resolve) => lossy.close(resolve))
  })
})

describe('watching through the client', () => {
  test('goes on by itself after the daemon was restarted, with every change once', async () => {
    const received: Change[] = []
    const stop = new AbortController()
    const watching = (async () => {
      for await (const change of agent.watch(['log/*'], { cursor: 'start', signal: stop.signal })) received.push(change)
    })()
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 10; index++) {
        await agent.log('memory').append({ text: `${round}.${index}` })
        await agent.counter('noise').add('x')
      }
      await restart()
    }
    await agent.log('memory').append({ text: 'last' })
    while (received.length < 31) await turns(1)
    stop.abort()
    await watching
    expect(received.map((change) => change.entries?.[0]?.text)).toEqual([
      ...Array.from({ length: 30 }, (_, index) => `${Math.floor(index / 10)}.${index % 10}`),
      'last',
    ])
  })

  test('shows every change once, also where it was cut off in the middle of an atomic write', async () => {
    const single = api.agent.changes.bind(api.agent)
    api.agent.changes = async (query) => {
      const page = await single(query)
      return { ...page, changes: page.changes.map((change) => ({ ...change, cursor: 'e1:3' })) }
    }
    await agent.batch(['one', 'two', 'three'].map((member) => ({ type: 'set.add', name: member, member })))
    const socketPath = join(api.directory, 'run', 'cut.sock')
    let cut = true
    const cutting = createServer((front) => {
      const back = connectSocket(api.server.socketPath)
      front.on('error', () => {}).pipe(back)
      back.on('data', (bytes: Buffer) => {
        const end = bytes.indexOf('\n\nevent: change')
        if (cut && end > 0) front.end(bytes.subarray(0, end + 2))
        else front.write(bytes)
        cut &&= end < 0
      })
      back.on('end', () => front.end())
      front.on('close', () => back.destroy())
    }).listen(socketPath)
    const far = await connect({ socketPath })
    const changes = await take(far.watch([], { cursor: 'start' }), 3)
    expect(cut).toBe(false)
    expect(changes.map((change) => change.name)).toEqual(['one', 'two', 'three'])
    await far.close()
    await new Promise((resolve) => cutting.close(resolve))
  })

  test('ends where it cannot go on without a gap, and where nobody answers at first', async () => {
    await expect(take(agent.watch([], { cursor: 'other:1' }), 1)).rejects.toMatchObject({ code: 'cursor-expired' })
    await api.server.close()
    await turns()
    await expect(take(agent.watch(), 1)).rejects.toMatchObject({ code: 'daemon-not-running' })
  })

  test('ends when the client is closed or told to stop, also while it waits', async () => {
    const waiting = take(agent.watch(), 1)
    while (api.agent.listeners === 0) await turns(1)
    await agent.close()
    expect(await waiting).toEqual([])
    const stop = new AbortController()
    stop.abort()
    expect(await take(agent.watch([], { signal: stop.signal }), 1)).toEqual([])
  })

  test('tails a log: some entries from before, then what comes, each once', async () => {
    const log = agent.log('memory')
    for (let index = 0; index < 5; index++) await log.append({ text: `${index}`, tags: [index % 2 === 0 ? 'even' : 'odd'] })
    const tail = log.tail({ last: 2, tag: 'even' })
    expect((await tail.next()).value).toMatchObject({ text: '2' })
    expect((await tail.next()).value).toMatchObject({ text: '4' })
    const next = tail.next()
    await turns()
    await agent.log('memory/other').append({ text: 'not this one', tags: ['even'] })
    await log.append({ text: '5', tags: ['odd'] })
    await log.append({ text: '6', tags: ['even'] })
    expect((await next).value).toMatchObject({ text: '6' })
    await tail.return?.()
  })
})

describe('importing through the client', () => {
  test('streams entries of any number, with progress, and a re-run adds nothing twice', async () => {
    const count = 20_000
    async function* entries(): AsyncGenerator<EntryInput> {
      for (let index = 0; index < count; index++) yield { text: `entry ${index}` }
    }
    const progress: ImportProgress[] = []
    const totals = await agent.log('memory').import(entries(), { operationId: 'file-1', onProgress: (step) => void progress.push(step) })
    expect(totals).toEqual({ lines: count, written: count, alreadyThere: 0, done: true })
    expect(progress.length).toBeGreaterThan(10)
    expect(await agent.log('memory').import(entries(), { operationId: 'file-1' })).toMatchObject({ written: 0, alreadyThere: count })
  })

  test('reads its source no faster than the daemon writes', async () => {
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    api.agent.slow = () => held
    let read = 0
    function* entries(): Generator<EntryInput> {
      for (; read < 20_000; read++) yield { text: 'x'.repeat(1_000) }
    }
    const importing = agent.log('memory').import(entries())
    while (api.agent.requests.length < 4) await turns(1)
    await turns()
    // 20 MB wait in the source; what was read lies in batches and in the buffers of the socket.
    expect(read).toBeLessThan(3_000)
    release()
    expect(await importing).toMatchObject({ written: 20_000, done: true })
  })

  test('sends what a slow source has without waiting for more', async () => {
    let more = (): void => {}
    async function* entries(): AsyncGenerator<EntryInput> {
      yield { text: 'one' }
      await new Promise<void>((resolve) => {
        more = resolve
      })
      yield { text: 'two' }
    }
    const importing = agent.log('memory').import(entries())
    while (api.agent.entriesOf('memory').length < 1) await turns(1)
    more()
    expect(await importing).toMatchObject({ written: 2 })
  })

  test('fails with the line at fault, or with the failure of its source', async () => {
    const good = Array.from({ length: 1_000 }, (_, index) => ({ text: `${index}` }))
    await expect(agent.log('memory').import([...good, { text: 5 } as never, ...good])).rejects.toMatchObject({
      code: 'invalid-request',
      line: 1_001,
    })
    expect(api.agent.entriesOf('memory')).toHaveLength(1_000)
    async function* broken(): AsyncGenerator<EntryInput> {
      yield { text: 'one' }
      throw new RangeError('the file ends here')
    }
    await expect(agent.log('other').import(broken())).rejects.toThrow('the file ends here')
    expect(await agent.health()).toMatchObject({ state: 'ok' })
  })
})
