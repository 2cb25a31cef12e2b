import type { IncomingMessage } from 'node:http'
import { createParser } from 'eventsource-parser'
import type { EventSourceMessage } from 'eventsource-parser'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Change } from '../../src/api/index.ts'
import type { Clock } from '../../src/core/index.ts'
import { systemClock } from '../../src/core/index.ts'
import { openFixture, problemIn, turns } from './api-fixture.ts'
import type { Fixture } from './api-fixture.ts'

let api: Fixture

beforeEach(async () => {
  api = await openFixture({ watchersMax: 4 })
})

afterEach(async () => {
  await api.close()
})

interface Reader {
  /** What came since the last call, once it is `enough` or the stream ended. Nothing is read before the first call. */
  until(enough: (events: readonly EventSourceMessage[]) => boolean): Promise<EventSourceMessage[]>
  readonly response: IncomingMessage
  /** Heartbeats so far. */
  readonly comments: readonly string[]
}

async function watch(path: string, headers: Readonly<Record<string, string>> = {}, fixture: Fixture = api): Promise<Reader> {
  const response = await fixture.open(path, headers)
  expect(response.headers['content-type']).toBe('text/event-stream')
  const events: EventSourceMessage[] = []
  const comments: string[] = []
  const parser = createParser({ onEvent: (event) => void events.push(event), onComment: (comment) => void comments.push(comment) })
  response.setEncoding('utf8')
  let begun = false
  return {
    response,
    comments,
    async until(enough) {
      if (!begun) response.on('data', (text: string) => parser.feed(text))
      begun = true
      while (!enough(events) && !response.readableEnded && !response.destroyed) await moreOf(response)
      return events.splice(0)
    },
  }
}

function moreOf(response: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('data', done).off('close', done)
      resolve()
    }
    response.on('data', done).on('close', done)
  })
}

const changes = (events: readonly EventSourceMessage[]): Change[] =>
  events.filter(({ event }) => event === 'change').map(({ data }) => JSON.parse(data) as Change)
const seen = (count: number) => (events: readonly EventSourceMessage[]) => events.filter(({ event }) => event === 'change').length >= count
const positionOf = ({ cursor }: { readonly cursor: string }): number => Number(cursor.split(':')[1])

async function add(count: number, name = 'karma'): Promise<void> {
  for (let index = 0; index < count; index++)
    await api.agent.write({ operations: [{ type: 'counter.add', name, key: 'k', amount: 1 }], replicas: 1, timeoutMs: 0 })
}

describe('a watch', () => {
  test('begins with a cursor, and tells of changes as they happen', async () => {
    await add(3)
    const reader = await watch('/v1/watch')
    const [first] = await reader.until((events) => events.length === 1)
    expect(first).toMatchObject({ event: 'cursor', id: 'e1:3' })
    await api.client.log('memory').append({ text: 'Met Ada' })
    const [change] = await reader.until(seen(1))
    expect(change).toMatchObject({ event: 'change', id: 'e1:4' })
    expect(JSON.parse(change?.data ?? '')).toMatchObject({ kind: 'log', name: 'memory', local: true, entries: [{ text: 'Met Ada' }] })
    reader.response.destroy()
  })

  test('resumes by Last-Event-ID or cursor with every change once, wherever it broke off', async () => {
    await add(200)
    const received: number[] = []
    let last = ''
    for (const [round, count] of [7, 1, 64, 31, 90].entries()) {
      const byHeader = round % 2 === 1
      const reader = await watch(
        byHeader ? '/v1/watch' : `/v1/watch?cursor=${round === 0 ? 'start' : last}`,
        byHeader ? { 'last-event-id': last } : {},
      )
      const events = (await reader.until(seen(count))).slice(0, count)
      reader.response.destroy()
      received.push(...changes(events).map(positionOf))
      last = events.at(-1)?.id ?? last
      await add(5)
    }
    expect(received).toEqual(Array.from({ length: 193 }, (_, index) => index + 1))
  })

  test('shows only what its patterns mean, and still moves on past the rest', async () => {
    await add(100, 'noise')
    await add(1, 'karma')
    const reader = await watch(`/v1/watch?cursor=start&pattern=${encodeURIComponent('counter/k*')}&pattern=log/*`)
    expect(changes(await reader.until(seen(1)))).toMatchObject([{ name: 'karma', cursor: 'e1:101' }])
    reader.response.destroy()
  })

  test('gives no id between changes that share a cursor, so that a cut between them loses none', async () => {
    const single = api.agent.changes.bind(api.agent)
    api.agent.changes = async (query) => {
      const page = await single(query)
      return { ...page, changes: page.changes.map((change) => ({ ...change, cursor: `e1:${Math.ceil(positionOf(change) / 2) * 2}` })) }
    }
    await add(4)
    const reader = await watch('/v1/watch?cursor=start')
    expect((await reader.until(seen(4))).map(({ id }) => id)).toEqual([undefined, 'e1:2', undefined, 'e1:4'])
    reader.response.destroy()
  })

  test('of a slow reader reads the store no faster than the reader, and loses nothing', async () => {
    let reads = 0
    const read = api.agent.changes.bind(api.agent)
    api.agent.changes = (query) => {
      reads += 1
      return read(query)
    }
    const reader = await watch('/v1/watch')
    const text = 'x'.repeat(20_000)
    for (let index = 0; index < 1_000; index++)
      await api.agent.write({ operations: [{ type: 'log.append', name: 'memory', entries: [{ text }] }], replicas: 1, timeoutMs: 0 })
    await turns()
    // 20 MB wait in the store; a few reads of 32 changes fill the buffers of the socket.
    expect(reads).toBeLessThan(10)
    const received = changes(await reader.until(seen(1_000)))
    expect(received.map(positionOf)).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1))
    reader.response.destroy()
  }, 20_000)

  test('of a reader that left is forgotten at once', async () => {
    const responses = await Promise.all(Array.from({ length: 4 }, () => api.open('/v1/watch')))
    expect(api.agent.listeners).toBe(4)
    expect(problemIn(await api.ask('GET', '/v1/watch')).code).toBe('too-many-requests')
    for (const response of responses) response.destroy()
    while (api.agent.listeners > 0) await turns(1)
    const again = await api.open('/v1/watch')
    expect(again.statusCode).toBe(200)
    again.destroy()
  })

  test('that can no longer be resumed says so', async () => {
    expect(problemIn(await api.ask('GET', '/v1/watch', { headers: { 'last-event-id': 'e0:5' } })).code).toBe('cursor-expired')
  })

  test('that fails later ends with a problem as its last event', async () => {
    const reader = await watch('/v1/watch')
    await reader.until((events) => events.length === 1)
    api.agent.changes = async () => {
      throw new TypeError('broken')
    }
    await add(1)
    const events = await reader.until((events) => events.some(({ event }) => event === 'problem'))
    expect(JSON.parse(events.at(-1)?.data ?? '')).toMatchObject({ code: 'internal', status: 500 })
  })
})

describe('the heartbeat of a watch', () => {
  test('carries the cursor where it moved without a change, and a comment where it did not', async () => {
    const waits = new Set<() => void>()
    const clock: Clock = {
      ...systemClock,
      after(milliseconds, callback) {
        if (milliseconds !== 15_000) return systemClock.after(milliseconds, callback)
        waits.add(callback)
        return () => void waits.delete(callback)
      },
    }
    const own = await openFixture({ clock })
    const reader = await watch('/v1/watch?pattern=log/*', {}, own)
    expect(await reader.until((events) => events.length === 1)).toMatchObject([{ event: 'cursor', id: 'e1:0' }])
    const beat = async (): Promise<void> => {
      while (waits.size === 0) await turns(1)
      const [wait] = waits
      waits.clear()
      wait?.()
    }
    await own.agent.write({ operations: [{ type: 'counter.add', name: 'k', key: 'k', amount: 1 }], replicas: 1, timeoutMs: 0 })
    await turns()
    await beat()
    expect(await reader.until((events) => events.length === 1)).toMatchObject([{ event: 'cursor', id: 'e1:1' }])
    await beat()
    while (reader.comments.length === 0) await moreOf(reader.response)
    expect(await reader.until(() => true)).toEqual([])
    reader.response.destroy()
    await own.close()
  })
})
