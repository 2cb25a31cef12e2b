import { expect, it } from 'vitest'
import type { Replica } from '../../../src/replica/index.ts'
import { Digests } from '../../../src/replica/digests.ts'
import type { StoreReads } from '../../../src/storage/index.ts'
import { openGroup } from './group.ts'

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
