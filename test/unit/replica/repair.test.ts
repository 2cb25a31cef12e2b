import { describe, expect, test } from 'vitest'
import { SelfsameError } from '../../../src/core/index.ts'
import type { FeedId, Stamp } from '../../../src/core/index.ts'
import { decodeHeader, sealEnvelope } from '../../../src/feed/index.ts'
import type { LocalOperation, Replica } from '../../../src/replica/index.ts'
import type { Damage, MemoryStore } from '../../../src/storage/index.ts'
import { openGroup } from './group.ts'
import type { Group } from './group.ts'

/** Virtual milliseconds in which damage is noticed. */
const withinMs = 30_000

const entry = (text: string): LocalOperation => ({ type: 'append', name: 'memory', entry: { text }, operationId: undefined })
const soul = (text: string): LocalOperation => ({
  type: 'edit',
  kind: 'text',
  name: 'SOUL.md',
  edit: { type: 'text.put', text, base: null },
})
const city = (key: string, value: string): LocalOperation => ({
  type: 'edit',
  kind: 'register',
  name: 'profile',
  edit: { type: 'register.set', key, value },
})

/** Members on a network with some memory, all in sync: eight envelopes of the first, two of each other. */
async function openGrown(roles: Parameters<typeof openGroup>[0] = ['admin', 'writer', 'writer']): Promise<Group> {
  const group = await openGroup(roles)
  for (const replica of group.replicas) await group.settle(replica.startNetwork())
  await group.pass(2_000)
  const [first, ...others] = group.replicas as [Replica, ...Replica[]]
  for (let index = 0; index < 6; index += 1) await group.settle(first.write({ operations: [entry(`entry ${index}`)] }))
  await group.settle(first.write({ operations: [soul('a soul\n')] }))
  await group.settle(first.write({ operations: [city('city', 'Lisbon')] }))
  for (const [index, replica] of others.entries())
    for (const value of ['one', 'two']) await group.settle(replica.write({ operations: [city(`key ${index}`, value), entry(value)] }))
  await group.pass(2_000)
  return group
}

/** The feed of the one run of an instance, as `replica` has it. */
function feedOf(replica: Replica, of: Replica = replica): FeedId {
  return replica.store.feeds().find(({ instance }) => instance === of.identity.instance)!.feed
}

async function digestsOf(replica: Replica): Promise<readonly string[]> {
  return Promise.all(replica.reader.documents().map(async ({ kind, name }) => (await replica.reader.digest(kind, name)).digest))
}

const evidenceOf = (replica: Replica): readonly string[] => replica.evidence.cases().map(({ kind, reason }) => `${kind}: ${reason}`)

const memoryOf = (replica: Replica): readonly (string | undefined)[] =>
  replica.reader.log('memory', { newestFirst: false, limit: 100 }).entries.map(({ content }) => content.text)

describe('damage at one of three is noticed, named and repaired', () => {
  const parts: readonly (readonly [string, (feed: FeedId, replica: Replica) => Damage, string, string])[] = [
    [
      'a body',
      (feed) => ({ kind: 'envelope', feed, sequence: 3, part: 'body' }),
      'the body of envelope 3 of feed',
      'was written again as i',
    ],
    ['a header', (feed) => ({ kind: 'envelope', feed, sequence: 7, part: 'header' }), 'by i0 (in text/SOUL.md)', 'was written again as i'],
    [
      'a signature',
      (feed) => ({ kind: 'envelope', feed, sequence: 8, part: 'signature' }),
      'by i0 (in register/profile)',
      'was written again as i',
    ],
    ['an opening', (feed) => ({ kind: 'envelope', feed, sequence: 1, part: 'header' }), 'by i0 (in log/memory)', 'was written again as i'],
    [
      'a record',
      (_, replica) => ({ kind: 'record', hash: replica.store.records()[1]!.hash }),
      'the membership record',
      'was written again from memory',
    ],
  ]

  test.each(parts)('%s', async (_, placeOf, named, how) => {
    const group = await openGrown()
    const [first, second] = group.replicas as [Replica, Replica]
    const store = group.stores[1] as MemoryStore
    const before = await group.settle(digestsOf(second))
    store.damage(placeOf(feedOf(second, first), second))
    expect(second.repair.open).toEqual([])
    await group.pass(withinMs)
    expect(await store.scrub()).toEqual([])
    expect(second.repair.counts).toEqual({ noticed: 1, repaired: 1 })
    expect(second.repair.open).toEqual([])
    expect(evidenceOf(second)).toEqual([
      expect.stringMatching(/^repaired: the .* was damaged on this disk, as was noticed at 20.*Z: it was/),
    ])
    expect(evidenceOf(second)[0]).toContain(named)
    expect(evidenceOf(second)[0]).toContain(how)
    expect(second.evidence.repairedLately()).toHaveLength(1)
    for (const replica of group.replicas) expect(await group.settle(digestsOf(replica))).toEqual(before)
    // All go on, and hear of each other.
    for (const [index, replica] of group.replicas.entries()) await group.settle(replica.write({ operations: [entry(`later ${index}`)] }))
    await group.pass(3_000)
    for (const replica of group.replicas) expect(memoryOf(replica)).toHaveLength(13)
  })

  test('a record, where the disk cannot be read right after it was written again: the next look finds it whole', async () => {
    const group = await openGrown()
    const second = group.replicas[1] as Replica
    const store = group.stores[1] as MemoryStore
    const [records, commit] = [store.records.bind(store), store.commit.bind(store)]
    let [failsNext, failed] = [false, 0]
    store.commit = async (batch) => {
      await commit(batch)
      failsNext = (batch.records ?? []).length > 0
    }
    store.records = () => {
      if (!failsNext) return records()
      failsNext = false
      failed += 1
      throw new SelfsameError('storage-failed', 'the disk cannot be read')
    }
    store.damage({ kind: 'record', hash: records()[1]!.hash })
    await group.pass(2 * withinMs)
    expect(failed).toBe(1)
    expect(second.repair.counts).toEqual({ noticed: 1, repaired: 1 })
    expect(second.repair.open).toEqual([])
  })

  test('a snapshot, and an earlier text', async () => {
    const group = await openGrown(['admin'])
    const [replica] = group.replicas as [Replica]
    const store = group.stores[0] as MemoryStore
    // Enough of a text that it gets a snapshot in an idle moment.
    for (let index = 0; index < 3; index += 1) {
      const { version } = await group.settle(replica.reader.value('text', 'SOUL.md'))
      const longer = String(index).repeat(200_000)
      await group.settle(
        replica.write({
          operations: [{ type: 'edit', kind: 'text', name: 'SOUL.md', edit: { type: 'text.put', text: longer, base: version } }],
        }),
      )
    }
    await group.pass(12_000)
    const { document } = replica.reader.documents().find(({ kind }) => kind === 'text')!
    const { version } = await group.settle(replica.reader.value('text', 'SOUL.md'))
    expect(store.snapshot(document)).toBeDefined()
    store.damage({ kind: 'snapshot', document })
    store.damage({ kind: 'text-version', document, version })
    await group.pass(withinMs)
    expect(replica.repair.counts).toEqual({ noticed: 2, repaired: 2 })
    expect(evidenceOf(replica)).toEqual([
      expect.stringContaining('the snapshot of text/SOUL.md was damaged on this disk'),
      expect.stringContaining('an earlier version of text/SOUL.md was damaged on this disk'),
    ])
    expect(store.snapshot(document)).toBeDefined()
    // It is the present text: who read it before can write against it.
    expect(store.textVersion(document, version)).toBeDefined()
  })
})

describe('while an envelope is damaged', () => {
  test('reads that need it say so, everything else goes on, and it is repaired when somebody who has it connects', async () => {
    const group = await openGrown()
    const [first, second, third] = group.replicas as [Replica, Replica, Replica]
    const store = group.stores[1] as MemoryStore
    const before = await group.settle(digestsOf(second))
    for (const replica of [first, third]) await group.settle(replica.stopNetwork())
    const feed = feedOf(second, first)
    store.damage({ kind: 'envelope', feed, sequence: 3, part: 'body' })
    const unavailable = expect.objectContaining({
      code: 'unavailable',
      message: expect.stringContaining('fetched again from whichever instance has it'),
    })
    expect(() => memoryOf(second)).toThrow(unavailable)
    await group.pass(withinMs)
    expect(second.repair.counts).toEqual({ noticed: 1, repaired: 0 })
    expect(second.repair.open).toEqual([
      { id: `damage:envelope:${feed}:3`, at: expect.any(Number), detail: expect.stringContaining("restore a backup ('selfsame restore')") },
    ])
    expect(second.evidence.cases()).toMatchObject([{ kind: 'damage', feed, sequence: 3, author: first.identity.instance }])
    // What does not need it is read and written; what is behind it is known to others, who cannot get it here.
    expect((await group.settle(second.reader.value('text', 'SOUL.md'))).text).toBe('a soul\n')
    expect((await group.settle(second.coverage(second.standing()))).members).toHaveLength(2)
    await group.settle(second.write({ operations: [entry('written meanwhile')] }))
    await group.pass(60_000)
    expect(second.repair.counts).toEqual({ noticed: 1, repaired: 0 })
    await group.settle(first.startNetwork())
    await group.pass(withinMs)
    expect(second.repair.counts).toEqual({ noticed: 1, repaired: 1 })
    expect(memoryOf(second)).toContain('written meanwhile')
    await group.settle(third.startNetwork())
    await group.pass(10_000)
    expect(before).toHaveLength(3)
    for (const replica of [first, third]) expect(await group.settle(digestsOf(replica))).toEqual(await group.settle(digestsOf(second)))
  })

  test('whoever lacks what comes after it gets what is before it, and the rest from somebody else', async () => {
    const group = await openGroup(['admin', 'writer', 'writer'])
    const [first, second, third] = group.replicas as [Replica, Replica, Replica]
    for (const replica of [first, second]) await group.settle(replica.startNetwork())
    await group.pass(2_000)
    for (let index = 0; index < 6; index += 1) await group.settle(first.write({ operations: [entry(`entry ${index}`)] }))
    await group.pass(2_000)
    await group.settle(first.stopNetwork())
    ;(group.stores[1] as MemoryStore).damage({ kind: 'envelope', feed: feedOf(second, first), sequence: 4, part: 'body' })
    await group.settle(third.startNetwork())
    await group.pass(withinMs)
    expect(memoryOf(third)).toEqual(['entry 0', 'entry 1', 'entry 2'])
    await group.settle(first.startNetwork())
    await group.pass(withinMs)
    expect(memoryOf(third)).toEqual(['entry 0', 'entry 1', 'entry 2', 'entry 3', 'entry 4', 'entry 5'])
    expect(second.repair.counts).toEqual({ noticed: 1, repaired: 1 })
  })

  test('a feed that needs it waits and the others go on, over a restart too; with it whole all is applied', async () => {
    const group = await openGrown(['admin', 'writer'])
    const [first, second] = group.replicas as [Replica, Replica]
    const store = group.stores[0] as MemoryStore
    await group.settle(second.stopNetwork())
    // Loaded from its envelopes when it is needed next.
    const feed = feedOf(first)
    await group.settle(first.close())
    const copy = store.clone()
    copy.damage({ kind: 'envelope', feed, sequence: 8, part: 'body' })
    const again = await group.settle(group.reopen(copy))
    const damaged = expect.objectContaining({ code: 'unavailable' })
    await expect(group.settle(again.write({ operations: [city('city', 'Porto')] }))).rejects.toThrow(damaged)
    const both = await group.settle(
      Promise.allSettled([[city('city', 'Porto')], [entry('beside')]].map((operations) => again.write({ operations }))),
    )
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
    // An envelope of the other that touches the same document cannot be applied yet; it is stored.
    await group.settle(second.write({ operations: [city('key 0', 'three')] }))
    await group.settle(second.write({ operations: [entry('behind it')] }))
    await group.settle(again.startNetwork())
    await group.settle(second.startNetwork())
    await group.pass(2 * withinMs)
    expect(again.repair.counts).toEqual({ noticed: 1, repaired: 1 })
    await group.settle(again.write({ operations: [city('city', 'Porto')] }))
    await group.pass(5_000)
    expect((await group.settle(again.reader.value('register', 'profile'))).cells.size).toBe(2)
    expect(memoryOf(again)).toEqual(expect.arrayContaining(['beside', 'behind it']))
    expect(await group.settle(digestsOf(again))).toEqual(await group.settle(digestsOf(second)))
  })

  test('that writing itself rests on, requests are refused, and go on by themselves once it is whole', async () => {
    const group = await openGroup(['admin', 'writer', 'writer'])
    const [first, second, third] = group.replicas as [Replica, Replica, Replica]
    const [, here, there] = group.stores as [MemoryStore, MemoryStore, MemoryStore]
    const on = (...replicas: Replica[]) => Promise.all(replicas.map((replica) => replica.startNetwork()))
    // The second has applied the first envelope of the third; the next ones rest on what nobody can give it.
    await group.settle(on(second, third))
    await group.pass(2_000)
    await group.settle(third.write({ operations: [entry('t1')] }))
    await group.pass(2_000)
    await group.settle(second.stopNetwork())
    await group.settle(first.write({ operations: [entry('f1')] }))
    await group.settle(first.startNetwork())
    await group.pass(3_000)
    for (const text of ['t2', 't3']) await group.settle(third.write({ operations: [entry(text)] }))
    await group.settle(first.stopNetwork())
    there.damage({ kind: 'envelope', feed: feedOf(third, first), sequence: 1, part: 'body' })
    await group.settle(second.startNetwork())
    await group.pass(5_000)
    const feed = feedOf(second, third)
    expect(here.feeds().find((row) => row.feed === feed)).toMatchObject({ have: 3, applied: 1 })
    await group.settle(third.stopNetwork())
    for (const sequence of [1, 2]) here.damage({ kind: 'envelope', feed, sequence, part: 'header' })
    const writes = await group.settle(
      Promise.allSettled([entry('a'), entry('b')].map((operation) => second.write({ operations: [operation] }))),
    )
    expect(writes.map((write) => (write.status === 'rejected' ? (write.reason as SelfsameError).code : write.status))).toEqual([
      'unavailable',
      'unavailable',
    ])
    await expect(group.settle(second.write({ operations: [entry('c')] }))).rejects.toThrow('needed to write is damaged on this disk')
    await group.pass(withinMs)
    expect(second.repair.counts).toEqual({ noticed: 2, repaired: 0 })
    await group.settle(third.startNetwork())
    await group.pass(withinMs)
    expect(second.repair.counts).toEqual({ noticed: 2, repaired: 2 })
    await group.settle(second.write({ operations: [entry('d')] }))
    await group.settle(first.startNetwork())
    await group.pass(withinMs)
    for (const replica of group.replicas) expect(new Set(memoryOf(replica))).toEqual(new Set(['d', 'f1', 't1', 't2', 't3']))
    expect(third.repair.counts).toEqual({ noticed: 1, repaired: 1 })
  })

  test('nothing is built anew from envelopes that are not all there; once they are, it is', async () => {
    const group = await openGrown()
    const [first, second] = group.replicas as [Replica, Replica]
    const before = await group.settle(digestsOf(second))
    for (const replica of group.replicas) if (replica !== second) await group.settle(replica.stopNetwork())
    group.stores[1]!.damage({ kind: 'envelope', feed: feedOf(second, first), sequence: 3, part: 'body' })
    await expect(group.settle(second.coherence.rebuild())).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }))
    await group.settle(first.startNetwork())
    await group.pass(withinMs)
    expect(second.repair.counts).toEqual({ noticed: 1, repaired: 1 })
    await group.settle(second.coherence.rebuild())
    expect(await group.settle(digestsOf(second))).toEqual(before)
  })

  test('a rebuild that comes upon it refuses requests instead of letting them wait, and goes on by itself once it is whole', async () => {
    const group = await openGrown()
    const [first, second] = group.replicas as [Replica, Replica]
    const store = group.stores[1] as MemoryStore
    const before = await group.settle(digestsOf(second))
    for (const replica of group.replicas) if (replica !== second) await group.settle(replica.stopNetwork())
    store.damage({ kind: 'envelope', feed: feedOf(second, first), sequence: 3, part: 'body' })
    // It is damaged right after the look that is to find it.
    const scrub = store.scrub.bind(store)
    store.scrub = async () => {
      store.scrub = scrub
      return []
    }
    const unavailable = expect.objectContaining({ code: 'unavailable' })
    const late = { operations: [entry('late')], operationId: 'late' }
    await expect(group.settle(second.coherence.rebuild())).rejects.toThrow(unavailable)
    expect(second.rebuildShare).not.toBeNull()
    await expect(group.settle(second.write(late))).rejects.toThrow(unavailable)
    await group.settle(first.startNetwork())
    await group.pass(withinMs)
    expect(second.rebuildShare).toBeNull()
    expect(second.repair.counts).toEqual({ noticed: 1, repaired: 1 })
    expect(await group.settle(digestsOf(second))).toEqual(before)
    await group.settle(second.write(late))
    expect((await group.settle(second.write(late))).repeated).toBe(true)
    expect(memoryOf(second).filter((text) => text === 'late')).toHaveLength(1)
  })

  test('with many of a feed damaged in a row, each is proven by the one after it', async () => {
    const group = await openGrown()
    const [first, second] = group.replicas as [Replica, Replica]
    const store = group.stores[1] as MemoryStore
    const before = await group.settle(digestsOf(second))
    for (let sequence = 1; sequence <= 8; sequence += 1)
      store.damage({ kind: 'envelope', feed: feedOf(second, first), sequence, part: sequence % 2 === 0 ? 'header' : 'body' })
    await group.pass(2 * withinMs)
    expect(second.repair.counts).toEqual({ noticed: 8, repaired: 8 })
    expect(await group.settle(digestsOf(second))).toEqual(before)
  })
})

test('what a peer sends in the place of a damaged envelope is not believed, though its author signed it too', async () => {
  const group = await openGrown()
  const [first, second, third] = group.replicas as [Replica, Replica, Replica]
  const before = await group.settle(digestsOf(second))
  const feed = feedOf(second, first)
  await group.settle(first.stopNetwork())
  const [stored] = group.stores[2]!.envelopes(feed, 3, 3, 1)
  const header = decodeHeader(stored!.headerBytes)
  if (!header.ok) throw new Error(header.reason)
  const stamp = `${header.value.stamp.slice(0, -1)}${header.value.stamp.endsWith('0') ? 1 : 0}` as Stamp
  const { bodies, hash, headerBytes, signature } = sealEnvelope({ ...header.value, stamp }, stored!.bodies, first.identity.key)
  await group.stores[2]!.commit({ envelopesReplaced: [{ feed, sequence: 3, hash, headerBytes, signature, bodies }] })
  group.stores[1]!.damage({ kind: 'envelope', feed, sequence: 3, part: 'body' })
  await group.pass(2 * withinMs)
  expect(second.repair.counts).toEqual({ noticed: 1, repaired: 0 })
  expect(evidenceOf(second)).toContainEqual(expect.stringContaining('has two envelopes in one place'))
  await group.settle(first.startNetwork())
  await group.pass(2 * withinMs)
  expect(second.repair.counts).toEqual({ noticed: 1, repaired: 1 })
  expect(evidenceOf(second)).toContainEqual(expect.stringContaining('written again as i0 sent it'))
  expect(await group.settle(digestsOf(second))).toEqual(before)
  expect(third.repair.counts.noticed).toBe(0)
})

test('what an earlier process noticed stays a case until it is looked at again', async () => {
  const group = await openGrown(['admin'])
  const [replica] = group.replicas as [Replica]
  const store = group.stores[0]!
  const [envelope] = store.envelopes(feedOf(replica), 2, 2, 1)
  store.damage({ kind: 'envelope', feed: feedOf(replica), sequence: 2, part: 'body' })
  await group.pass(withinMs)
  const [open] = replica.repair.open
  await group.settle(replica.close())
  const sound = store.clone()
  await sound.commit({ envelopesReplaced: [envelope!] })
  for (const [copy, repaired] of [
    [store.clone(), 0],
    [sound, 1],
  ] as const) {
    const again = await group.settle(group.reopen(copy))
    expect(again.repair.open).toEqual([open])
    await group.pass(withinMs)
    expect(again.repair.counts).toEqual({ noticed: 0, repaired })
    expect(again.repair.open).toEqual(repaired === 0 ? [open] : [])
    expect(again.evidence.repairedLately()).toHaveLength(repaired)
    await group.pass(24 * 3_600_000)
    expect([again.evidence.repairedLately(), again.evidence.cases().length]).toEqual([[], 1])
    await group.settle(again.close())
  }
})
