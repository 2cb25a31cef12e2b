/** Watching alerts through the server and the client. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Alert, AlertEvent } from '../../src/api/index.ts'
import { openFixture } from './api-fixture.ts'
import type { Fixture } from './api-fixture.ts'

let api: Fixture

beforeEach(async () => {
  api = await openFixture()
})

afterEach(() => api.close())

const time = '2026-11-21T10:00:00.000Z'
const alert = (id: string, raised = time): Alert => ({ id, kind: 'lag', detail: `${id} lacks something`, since: time, raised })

async function next(events: AsyncIterator<AlertEvent>): Promise<string> {
  const { value } = (await events.next()) as IteratorYieldResult<AlertEvent>
  return `${value.type} ${value.alert.id}`
}

test('a watch of alerts begins with those that are raised, and goes on with what changes', async () => {
  api.agent.raise([alert('a'), alert('b')])
  const events = api.client.alerts()
  expect(await next(events)).toBe('raised a')
  expect(await next(events)).toBe('raised b')
  api.agent.raise([alert('b'), alert('c')])
  expect([await next(events), await next(events)]).toEqual(['cleared a', 'raised c'])
  // The same case again, after it was cleared between two looks of this watcher.
  api.agent.raise([alert('b', '2026-11-21T11:00:00.000Z'), alert('c')])
  expect([await next(events), await next(events)]).toEqual(['cleared b', 'raised b'])
})

test('a watch of alerts ends with its signal, and leaves no listener', async () => {
  const stop = new AbortController()
  api.agent.raise([alert('a')])
  const events = api.client.alerts({ signal: stop.signal })
  expect(await next(events)).toBe('raised a')
  expect(api.agent.alertListeners).toBe(1)
  stop.abort()
  expect(await events.next()).toMatchObject({ done: true })
  while (api.agent.alertListeners > 0) await new Promise((resolve) => setImmediate(resolve))
})

test('metrics are text that Prometheus reads', async () => {
  const { headers, text } = await api.ask('GET', '/v1/metrics')
  expect([headers['content-type'], text]).toEqual(['text/plain; version=0.0.4; charset=utf-8', 'selfsame_documents 0\n'])
  expect(await api.client.metrics()).toBe(text)
})

test('whoever is not ready says why, with a status that a supervisor understands', async () => {
  expect(await api.client.ready()).toMatchObject({ ready: true })
  api.agent.unready = 'a commit has been under way for 40 s'
  expect(await api.ask('GET', '/v1/ready')).toMatchObject({ status: 503, text: expect.stringContaining('for 40 s') as string })
  expect((await api.ask('GET', '/v1/health')).status).toBe(200)
})
