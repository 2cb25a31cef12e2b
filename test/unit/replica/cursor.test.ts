import { expect, it } from 'vitest'
import { createSigningKey, silentLogger } from '../../../src/core/index.ts'
import type { Envelope } from '../../../src/feed/index.ts'
import { foundAgent, instanceIdOf, memberTableOf } from '../../../src/membership/index.ts'
import { Engine } from '../../../src/replica/engine.ts'
import { Reader } from '../../../src/replica/reader.ts'
import { createMemoryStore } from '../../../src/storage/index.ts'
import { forgeEntry, forgeFeed } from '../../adversary/forge.ts'
import { VirtualTime, seededRandom } from '../../sim/virtual-time.ts'

const random = seededRandom('cursor')
const [rootKey, deviceKey] = [createSigningKey(random), createSigningKey(random)]
const { agent, records } = foundAgent({ agentName: 'kevin', instanceName: 'laptop', rootKey, deviceKey }, 0, random)
const instance = instanceIdOf(deviceKey.publicKey)

/** A home that applies these envelopes, in this order, one commit each. */
async function homeWith(envelopes: readonly Envelope[]): Promise<Reader> {
  const time = new VirtualTime()
  const store = createMemoryStore()
  const committed = store.commit({ records: records.map(({ hash, bytes }) => ({ hash, bytes })) })
  await time.run(100)
  await committed
  const engine = await Engine.open({
    openStore: async () => store,
    clock: time.clock(),
    random,
    logger: silentLogger,
    identity: { agent, instance, key: deviceKey },
    cacheBytes: 1 << 20,
    fatal(error) {
      throw error
    },
  })
  for (const envelope of envelopes) {
    engine.offer([envelope])
    await time.run(time.elapsed + 100)
  }
  return new Reader(engine, time.clock())
}

it('a cursor is good where the same was applied before it, and expired where something else was, whatever stands at its own place', async () => {
  const cited = memberTableOf(agent, records).citedBy(instance)
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((text) => {
    const feed = forgeFeed({ agent, instance, key: deviceKey, records: cited })
    return feed.next([forgeEntry(feed, 'memory', 0, text)])
  }) as [Envelope, Envelope, Envelope, Envelope]
  const cursor = (await homeWith([a, b, c])).cursorNow()
  const textsAfter = async (envelopes: readonly Envelope[]): Promise<(string | undefined)[]> =>
    (await homeWith(envelopes)).changes(cursor, 10).changes.flatMap(({ entries }) => entries.map(({ content }) => content.text))
  expect(await textsAfter([a, b, c])).toEqual([])
  expect(await textsAfter([a, b, c, d])).toEqual(['d'])
  // A backup was put back, and what others had came in another order: the watcher would never hear of what it had not seen.
  for (const others of [[a, d, c], [a, d, c, b], [b, a, c], [a, b], [c]])
    await expect(textsAfter(others)).rejects.toMatchObject({ code: 'cursor-expired' })
})
