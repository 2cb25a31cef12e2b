import { expect, it } from 'vitest'
import { stampOf } from '../../../src/core/index.ts'
import type { EnvelopeHash } from '../../../src/core/index.ts'
import { documentIdOf, openSegmentWriter } from '../../../src/document/index.ts'
import type { SegmentWriter } from '../../../src/document/index.ts'
import { bodyTypeUpdate, clientIdOf, encodeUpdateBody, feedIdOf, mainSpace, referenceTo, sealEnvelope } from '../../../src/feed/index.ts'
import { instanceIdOf } from '../../../src/membership/index.ts'
import type { Replica } from '../../../src/replica/index.ts'
import { Digests } from '../../../src/replica/digests.ts'
import type { StoreReads } from '../../../src/storage/index.ts'
import { openGroup } from './group.ts'
import { createLoneEngine } from './lone-engine.ts'

/** All steps at once. */
function whole<Value>(steps: Generator<undefined, Value>): Value {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

it('a log is digested from what touched it, however much else its feeds hold; and again from what came since', async () => {
  const { replicas, settle, stores } = await openGroup(['writer'])
  const [writer] = replicas as [Replica]
  const [logs, entriesEach] = [12, 25]
  const append = (log: number, text: string): Promise<unknown> =>
    settle(writer.write({ operations: [{ type: 'append', name: `log ${log}`, entry: { text } }] }))
  for (let index = 0; index < entriesEach; index += 1) for (let log = 0; log < logs; log += 1) await append(log, `entry ${index}`)

  let read = 0
  const counted = new Proxy(stores[0] as StoreReads, {
    get(store, name) {
      const value: unknown = Reflect.get(store, name)
      if (typeof value !== 'function') return value
      return (...parameters: unknown[]): unknown => {
        const answer: unknown = Reflect.apply(value, store, parameters)
        if (name === 'envelopes' || name === 'touchesAfter') read += (answer as readonly unknown[]).length
        return answer
      }
    },
  })
  const digests = new Digests(() => counted)
  const document = writer.reader.documents()[0]!.document
  const first = whole(digests.ofLog(document))
  expect(read).toBeLessThanOrEqual(entriesEach + 1)
  expect(first).toEqual(whole(new Digests(() => counted).ofLog(document)))
  read = 0
  expect(whole(digests.ofLog(document))).toEqual(first)
  expect(read).toBe(0)
  await append(0, 'one more')
  const second = whole(digests.ofLog(document))
  expect(second).not.toEqual(first)
  expect(second).toEqual(whole(new Digests(() => counted).ofLog(document)))
})

/** A log of the hostile member of a lone engine, in which it writes to whatever segment it likes. */
async function openHostileLog() {
  const lone = await createLoneEngine('days')
  const { admission, agent, hostileKey } = lone
  const engine = await lone.open()
  const opening = { instance: instanceIdOf(hostileKey.publicKey), key: hostileKey.publicKey, nonce: new Uint8Array(16) }
  const feed = feedIdOf(agent, opening)
  const document = documentIdOf(mainSpace, 'log', 'memory')
  const writersByDay = new Map<number, SegmentWriter>()
  let previous: EnvelopeHash | null = null
  let sequence = 0

  async function append(day: number, text: string): Promise<void> {
    const writer = writersByDay.get(day) ?? openSegmentWriter(clientIdOf(feed))
    writersByDay.set(day, writer)
    const update = writer.append([{ text }])
    const bytes = encodeUpdateBody({ kind: 'log', name: 'memory', segment: { day, number: 0 }, update, operations: [] })
    const body = { salt: new Uint8Array(16), bytes }
    sequence += 1
    const stamp = stampOf(1_800_000_000_000 + sequence, 0)
    const bodies = [referenceTo(body, { type: bodyTypeUpdate, schema: 1, critical: true, document })]
    const own = {
      format: 1,
      rules: 1,
      agent,
      space: mainSpace,
      feed,
      sequence,
      previous,
      stamp,
      deps: [],
      records: [admission.hash],
      bodies,
    } as const
    const envelope = sealEnvelope({ ...own, opening: sequence === 1 ? opening : null }, [body], hostileKey)
    previous = envelope.hash
    engine.offer([envelope])
    await lone.pass(1_000)
  }

  return { append, document, store: lone.store }
}

it('a log whose author goes back to an earlier segment is digested with all its entries', async () => {
  const { append, document, store } = await openHostileLog()
  const digests = new Digests(() => store)
  for (const day of [5, 3, 5]) {
    await append(day, `on day ${day}`)
    expect(whole(digests.ofLog(document))).toEqual(whole(new Digests(() => store).ofLog(document)))
  }
  expect(store.segments(document).map(({ entries, segment }) => [segment.day, entries])).toEqual([
    [3, 1],
    [5, 2],
  ])
})

it('a log of which the store lost an entry has another digest', async () => {
  const { append, document, store } = await openHostileLog()
  for (const text of ['one', 'two', 'three']) await append(5, text)
  const [, lost] = store.touchesAfter(document, 0, 3)
  const holed = new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== 'touchesAfter') return value.bind(target) as unknown
      return (...parameters: Parameters<StoreReads['touchesAfter']>) =>
        target.touchesAfter(...parameters).filter(({ position }) => position !== lost?.position)
    },
  })
  const digestBy = (reads: StoreReads): string => whole(new Digests(() => reads).ofLog(document)).digest
  expect(digestBy(holed)).not.toBe(digestBy(store))
})
