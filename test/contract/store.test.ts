import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { CommitFailure, createMemoryStore, textVersionsMax } from '../../src/storage/index.ts'
import type { MemoryStore, Store, WriteBatch } from '../../src/storage/index.ts'
import { closeStores, openMemory, openOnDisk } from './store-openers.ts'
import {
  appendedBy,
  batchesArbitrary,
  derivedOf,
  documentOf,
  entryId,
  envelopeRow,
  feedOf,
  feedRow,
  idOf,
  lineages,
  operationId,
  pairsSorted,
  readAll,
  truthOf,
  versionOf,
} from './store-rows.ts'
import type { RecordHash } from '../../src/core/index.ts'

afterEach(closeStores)

const [feed, other] = [feedOf(0), feedOf(1)]
const [document, another] = [documentOf(0), documentOf(1)]

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe.each([
  { name: 'the store in memory', open: openMemory },
  { name: 'the store on disk', open: openOnDisk },
])('$name', ({ open: openBoth }) => {
  const open = async (): Promise<Store> => (await openBoth()).store

  test('is empty at first', async () => {
    const store = await open()
    expect(store.lastPosition()).toBe(0)
    expect(readAll(store)).toMatchObject({ records: [], feeds: [], chains: [[], [], []], evidence: [], counts: [0, 0, 0], lastPosition: 0 })
  })

  test('gives back envelopes as they came, with and without signature, with no body or many', async () => {
    const store = await open()
    const rows = [envelopeRow(feed, 1, []), envelopeRow(feed, 2, [0, 1, 70_000], false), envelopeRow(feed, 3, Array(256).fill(3))]
    await store.commit({ feeds: [feedRow(rows[2]!, 0)], envelopes: rows })
    expect(store.envelopes(feed, 1, 3, Infinity)).toEqual(rows.map((row) => ({ ...row, position: null, changed: null })))
    expect(store.feeds()).toEqual([feedRow(rows[2]!, 0)])
  })

  test('cuts a read of envelopes off at the byte limit, and never before the first', async () => {
    const store = await open()
    const rows = [1, 2, 3, 4].map((sequence) => envelopeRow(feed, sequence, [880]))
    await store.commit({ envelopes: rows })
    const sequencesOf = (from: number, to: number, bytesMax: number): number[] =>
      store.envelopes(feed, from, to, bytesMax).map((row) => row.sequence)
    expect(sequencesOf(1, 4, 1)).toEqual([1])
    expect(sequencesOf(2, 4, 1_001)).toEqual([2, 3])
    expect(sequencesOf(2, 3, 1e9)).toEqual([2, 3])
    expect(sequencesOf(5, 9, 1e9)).toEqual([])
    expect(store.envelopes(other, 1, 9, 1e9)).toEqual([])
  })

  test('reads a feed to its end, and nothing of another, where no end is told', async () => {
    const store = await open()
    await store.commit({ envelopes: [1, 2, 3].flatMap((sequence) => [envelopeRow(feed, sequence), envelopeRow(other, sequence)]) })
    for (const id of [feed, other]) {
      const read = store.envelopes(id, 2, Number.MAX_SAFE_INTEGER, Infinity)
      expect(read.map((row) => row.hash)).toEqual([2, 3].map((sequence) => envelopeRow(id, sequence).hash))
    }
  })

  test('reads long chains whole', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 200))
    expect(store.envelopes(feed, 1, 200, Infinity).map((row) => row.sequence)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
  })

  test('places envelopes in the commit that stores them or in a later one', async () => {
    const store = await open()
    const rows = [envelopeRow(feed, 1), envelopeRow(other, 1), envelopeRow(other, 2)]
    await store.commit({ envelopes: rows, positions: [{ feed: other, sequence: 1, position: 1, changed: Uint8Array.of(7), history: 1 }] })
    expect(store.locate(rows[0]!.hash)).toEqual({ feed, sequence: 1, position: null })
    await store.commit({ positions: [{ feed, sequence: 1, position: 2, changed: null, history: 1 }] })
    expect(store.locate(rows[0]!.hash)).toEqual({ feed, sequence: 1, position: 2 })
    expect(store.appliedAfter(0, 9).map(({ feed: of, position, changed }) => [of, position, changed])).toEqual([
      [other, 1, Uint8Array.of(7)],
      [feed, 2, null],
    ])
    expect(store.appliedAfter(1, 9)).toHaveLength(1)
    expect(store.appliedAfter(0, 1)).toHaveLength(1)
    expect(store.lastPosition()).toBe(2)
    expect(store.locate(envelopeRow(feed, 9).hash)).toBeUndefined()
  })

  test('adds a signature that came later', async () => {
    const store = await open()
    await store.commit({ envelopes: [envelopeRow(feed, 1, [], false)] })
    const signature = new Uint8Array(64).fill(5)
    await store.commit({ signatures: [{ feed, sequence: 1, signature }] })
    expect(store.envelopes(feed, 1, 1, 1)[0]?.signature).toEqual(signature)
  })

  test('lists what touched a document, and the last of each feed', async () => {
    const store = await open()
    const rows = [envelopeRow(feed, 1), envelopeRow(other, 1), envelopeRow(feed, 2)]
    await store.commit({
      envelopes: rows,
      positions: rows.map((row, index) => ({ feed: row.feed, sequence: row.sequence, position: index + 1, changed: null, history: 1 })),
      touches: rows.map((row, index) => ({ document, feed: row.feed, sequence: row.sequence, hash: row.hash, position: index + 1 })),
    })
    expect(store.touchesAfter(document, 1, 9).map((row) => row.hash)).toEqual([rows[1]!.hash, rows[2]!.hash])
    expect(store.touchesAfter(document, 0, 1).map((row) => row.hash)).toEqual([rows[0]!.hash])
    expect(store.touchesAfter(another, 0, 9)).toEqual([])
    const heads = [rows[1]!, rows[2]!].map(({ feed: of, sequence, hash }) => ({ feed: of, sequence, hash }))
    expect(store.documentHeads(document)).toEqual(heads.sort((a, b) => (a.feed < b.feed ? -1 : 1)))
  })

  test('knows the declared past and the clocks between the rows that say them', async () => {
    const store = await open()
    await store.commit({
      past: [
        { feed, sequence: 2, other, otherSequence: 5 },
        { feed, sequence: 6, other, otherSequence: 9 },
        { feed, sequence: 4, other: feedOf(2), otherSequence: 1 },
      ],
      clocks: [
        { document, feed, sequence: 2, clock: 10 },
        { document, feed, sequence: 6, clock: 2 ** 40 },
      ],
    })
    const past = (sequence: number): unknown => pairsSorted(store.past(feed, sequence))
    expect(past(1)).toEqual([])
    expect(past(3)).toEqual([[other, 5]])
    expect(past(1_000)).toEqual(
      pairsSorted(
        new Map([
          [other, 9],
          [feedOf(2), 1],
        ]),
      ),
    )
    expect(store.past(other, 9).size).toBe(0)
    expect([1, 2, 5, 6, 7].map((sequence) => store.clock(document, feed, sequence))).toEqual([0, 10, 10, 2 ** 40, 2 ** 40])
    expect(store.clock(another, feed, 9)).toBe(0)
  })

  test('pages through entries in both directions', async () => {
    const store = await open()
    const rows = Array.from({ length: 20 }, (_, index) => ({ document, time: Math.floor(index / 4), id: entryId(index) }))
    await store.commit({ entries: [...rows, { document: another, time: 2, id: entryId(3) }] })
    const sorted = rows.toSorted((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1))
    for (const newestFirst of [false, true]) {
      const expected = newestFirst ? sorted.toReversed() : sorted
      const read = []
      for (let page = store.entries({ document, newestFirst, limit: 3 }); page.length > 0;) {
        read.push(...page)
        page = store.entries({ document, newestFirst, limit: 3, after: page.at(-1)! })
      }
      expect(read).toEqual(expected)
      const inside = expected.filter((row) => row.time >= 1 && row.time < 3)
      expect(store.entries({ document, newestFirst, timeMin: 1, timeMax: 3, limit: 99 })).toEqual(inside)
    }
    expect(store.entryCount(document)).toBe(20)
  })

  test('takes in many entries at once, also where some are there already, and counts them', async () => {
    const store = await open()
    const rows = Array.from({ length: 100 }, (_, index) => ({
      document: index % 3 === 0 ? another : document,
      time: index,
      id: entryId(index),
    }))
    await store.commit({ entries: rows.slice(10, 20) })
    await store.commit({ entries: [...rows, ...rows.slice(50)] })
    for (const each of [document, another]) {
      const wanted = rows.filter((row) => row.document === each)
      expect(store.entries({ document: each, limit: 200 })).toEqual(wanted)
      expect(store.entryCount(each)).toBe(wanted.length)
    }
  })

  test('counts entries exactly, whatever is written twice or removed', async () => {
    const store = await open()
    const rows = [1, 2, 3].map((seed) => ({ document, time: seed, id: entryId(seed) }))
    await store.commit({ entries: rows })
    await store.commit({ entries: rows, entriesRemoved: [rows[0]!, { document, time: 9, id: entryId(9) }] })
    expect(store.entryCount(document)).toBe(2)
    expect(store.entries({ document, limit: 9 })).toEqual(rows.slice(1))
  })

  test('keeps a document unnamed until a row names it', async () => {
    const store = await open()
    await store.commit({ quarantine: [{ document, feed, sequence: 1, reason: 'of a kind that is not known' }] })
    expect([store.document(document), store.documents()]).toEqual([undefined, []])
    await store.commit({
      documents: [
        { document, kind: 'log', name: 'memory' },
        { document: another, kind: 'counter', name: 'karma' },
      ],
    })
    expect(store.document(document)).toEqual({ document, kind: 'log', name: 'memory' })
    expect(store.documents().map((row) => row.name)).toEqual(['karma', 'memory'])
  })

  test('holds an operation id apart from the same one of another lineage', async () => {
    const store = await open()
    const id = operationId(1)
    const row = { lineage: lineages[0]!, id, fingerprint: idOf('print', 8), feed, sequence: 7, entry: entryId(1) }
    await store.commit({ operations: [row] })
    expect(store.operation(lineages[0]!, id)).toEqual(row)
    expect(store.operation(lineages[1]!, id)).toBeUndefined()
  })

  test('keeps the first account of a case and the earliest sequence of a quarantine', async () => {
    const store = await open()
    const evidence = { id: 'fork:1', kind: 'fork', at: 5, detail: 'seen', proof: Uint8Array.of(1) }
    await store.commit({ evidence: [evidence], quarantine: [{ document, feed, sequence: 4, reason: 'late' }] })
    await store.commit({
      evidence: [
        { ...evidence, detail: 'seen again', at: 6 },
        { ...evidence, id: 'fork:0', at: 1 },
      ],
      quarantine: [{ document, feed, sequence: 9, reason: 'later' }],
    })
    expect(store.evidence().map((row) => [row.id, row.detail])).toEqual([
      ['fork:0', 'seen'],
      ['fork:1', 'seen'],
    ])
    expect(store.quarantined(document, feed)).toEqual({ document, feed, sequence: 4, reason: 'late' })
    await store.commit({ quarantine: [{ document, feed, sequence: 2, reason: 'early' }] })
    expect(store.quarantine()).toEqual([{ document, feed, sequence: 2, reason: 'early' }])
  })

  test('keeps the newest versions of a text, and only so many', async () => {
    const store = await open()
    const versions = Array.from({ length: textVersionsMax + 6 }, (_, index) => ({
      document,
      version: versionOf(`text ${index}`),
      position: index + 1,
      content: `text ${index}`,
    }))
    await store.commit({ textVersions: versions.slice(0, 30) })
    await store.commit({ textVersions: [{ ...versions[0]!, position: 31.0 + 1_000 }, ...versions.slice(30)] })
    const kept = versions.filter((row) => store.textVersion(document, row.version) === row.content)
    expect(kept).toEqual([versions[0]!, ...versions.slice(7)])
  })

  test('replaces and deletes values, and keeps records in the order they came', async () => {
    const store = await open()
    const records = [3, 1, 2].map((seed) => ({ hash: idOf<RecordHash>(`record ${seed}`, 32), bytes: Uint8Array.of(seed) }))
    await store.commit({
      meta: new Map([
        ['a', Uint8Array.of(1)],
        ['b', Uint8Array.of(2)],
      ]),
      records: records.slice(0, 2),
    })
    await store.commit({
      meta: new Map([
        ['a', null],
        ['b', new Uint8Array()],
      ]),
      records,
    })
    expect([store.meta('a'), store.meta('b'), store.meta('c')]).toEqual([undefined, new Uint8Array(), undefined])
    expect(store.records()).toEqual(records)
  })

  test('forgets a case that is settled, and takes it up again where it is told again', async () => {
    const store = await open()
    const settled = { id: 'fork:1', kind: 'fork', at: 5, detail: 'seen', proof: Uint8Array.of(1) }
    const other = { ...settled, id: 'fork:2' }
    await store.commit({ evidence: [settled, other] })
    await store.commit({ evidenceRemoved: [settled.id, 'fork:9'] })
    expect(store.evidence()).toEqual([other])
    await store.commit({ evidenceRemoved: [other.id], evidence: [settled, { ...other, detail: 'seen again' }] })
    expect(store.evidence()).toEqual([settled, { ...other, detail: 'seen again' }])
  })

  test('forgets all that is derived, once or twice, and nothing else', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(batchesArbitrary, async (batches) => {
        const [store, fresh] = [await open(), await open()]
        for (const batch of batches) await store.commit(batch)
        for (const batch of batches) await fresh.commit(truthOf(batch))
        for (let times = 1; times <= 2; times += 1) {
          await store.commit({ derivedCleared: true })
          expect(readAll(store)).toEqual(readAll(fresh))
        }
        expect(store.lastPosition()).toBe(0)
        await store.close()
        await fresh.close()
      }),
      { numRuns: 10 },
    )
  })

  test('holds after a rebuild what it held before, the first part written by the commit that forgot it', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(batchesArbitrary, async (batches) => {
        const store = await open()
        for (const batch of batches) await store.commit(batch)
        const before = readAll(store)
        const [first, ...rest] = batches.map((batch) => derivedOf(batch, store.feeds()))
        await store.commit({ ...first, derivedCleared: true })
        for (const batch of rest) await store.commit(batch)
        expect(readAll(store)).toEqual(before)
        await store.close()
      }),
      { numRuns: 10 },
    )
  })

  test('takes stored and new envelopes at positions from 1 again, in another order', async () => {
    const store = await open()
    const rows = [envelopeRow(feed, 1), envelopeRow(other, 1), envelopeRow(feed, 2)]
    const placed = (order: readonly (typeof rows)[number][]): WriteBatch => ({
      positions: order.map((row, index) => ({
        feed: row.feed,
        sequence: row.sequence,
        position: index + 1,
        changed: Uint8Array.of(index),
        history: index + 7,
      })),
      touches: order.map((row, index) => ({ document, feed: row.feed, sequence: row.sequence, hash: row.hash, position: index + 1 })),
    })
    await store.commit({ envelopes: rows, ...placed(rows) })
    const added = envelopeRow(other, 2)
    const order = [rows[1]!, added, rows[0]!]
    await store.commit({ derivedCleared: true, envelopes: [added], ...placed(order) })
    expect(store.appliedAfter(0, 9).map((row) => [row.hash, row.position])).toEqual(order.map((row, index) => [row.hash, index + 1]))
    expect(store.touchesAfter(document, 0, 9)).toEqual(store.appliedAfter(0, 9))
    expect(order.map((row) => store.locate(row.hash)?.position)).toEqual([1, 2, 3])
    expect([store.locate(rows[2]!.hash)?.position, store.envelopes(feed, 2, 2, 1)[0]?.changed, store.lastPosition()]).toEqual([
      null,
      null,
      3,
    ])
  })

  test('shows all that was derived until the commit that forgets it resolves', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 3))
    const before = readAll(store)
    const commit = store.commit({ derivedCleared: true })
    expect(readAll(store)).toEqual(before)
    await commit
    expect([store.lastPosition(), store.touchesAfter(document, 0, 9), store.feeds()[0]?.applied]).toEqual([0, [], 0])
  })

  test('has all that was derived where the commit that forgets it fails', async () => {
    const { store, again } = await openBoth()
    await store.commit({ ...appendedBy(1, 3), entries: [{ document, time: 1, id: entryId(1) }] })
    const before = readAll(store)
    const position = { feed, sequence: 1, position: 1, changed: null, history: 1 }
    const failure = await failureOf(store.commit({ derivedCleared: true, positions: [position, { ...position, sequence: 2 }] }))
    expect(failure).toMatchObject({ outcome: 'unknown' })
    expect(readAll(await again())).toEqual(before)
  })

  test('shows nothing of a commit before its promise resolves, and all of it afterwards', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 3))
    const commit = store.commit(appendedBy(4, 1))
    expect(store.lastPosition()).toBe(3)
    await commit
    expect(store.lastPosition()).toBe(4)
  })

  const broken: Record<string, WriteBatch> = {
    'an envelope that is stored already': {
      meta: new Map([['x', Uint8Array.of(1)]]),
      envelopes: [envelopeRow(feed, 3), envelopeRow(feed, 2)],
    },
    'an envelope twice': { meta: new Map([['x', Uint8Array.of(1)]]), envelopes: [envelopeRow(feed, 3), envelopeRow(feed, 3)] },
    'a position that is taken': {
      envelopes: [envelopeRow(feed, 3)],
      positions: [{ feed, sequence: 3, position: 1, changed: null, history: 1 }],
    },
    'a second position for an envelope': {
      envelopes: [envelopeRow(feed, 3)],
      positions: [{ feed, sequence: 1, position: 9, changed: null, history: 1 }],
    },
    'two positions for a new envelope': {
      envelopes: [envelopeRow(feed, 3)],
      positions: [3, 4].map((position) => ({ feed, sequence: 3, position, changed: null, history: 1 })),
    },
    'a position for an envelope that is not stored': {
      envelopes: [envelopeRow(feed, 3)],
      positions: [{ feed, sequence: 8, position: 9, changed: null, history: 1 }],
    },
    'a signature for an envelope that is not stored': {
      envelopes: [envelopeRow(feed, 3)],
      signatures: [{ feed, sequence: 8, signature: new Uint8Array(64) }],
    },
  }

  test.each(Object.keys(broken))('refuses %s, and everything after it until it is opened again', async (name) => {
    const store = await open()
    await store.commit(appendedBy(1, 2))
    const failure = await failureOf(store.commit(broken[name]!))
    expect(failure).toBeInstanceOf(CommitFailure)
    expect(failure).toMatchObject({ outcome: 'unknown' })
    expect(() => store.feeds()).toThrow(expect.objectContaining({ code: 'storage-failed' }))
    expect(await failureOf(store.commit({}))).toMatchObject({ outcome: 'unknown' })
    await store.close()
  })

  test('refuses reads and commits once it is closed, and closes twice', async () => {
    const store = await open()
    await Promise.all([store.close(), store.close()])
    expect(() => store.lastPosition()).toThrow(expect.objectContaining({ code: 'storage-failed' }))
    expect(await failureOf(store.commit({}))).toBeInstanceOf(CommitFailure)
  })
})

test('both stores answer alike after any sequence of batches', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(batchesArbitrary, async (batches) => {
      const memory = createMemoryStore()
      const { store: disk } = await openOnDisk()
      for (const batch of batches) {
        await memory.commit(batch)
        await disk.commit(batch)
      }
      expect(readAll(disk)).toEqual(readAll(memory))
      await disk.close()
    }),
    { numRuns: 15 },
  )
})

describe('a copy of the store in memory', () => {
  test('has all that was settled, and goes its own way', async () => {
    await fc.assert(
      fc.asyncProperty(batchesArbitrary, batchesArbitrary, async (before, after) => {
        const original = createMemoryStore()
        for (const batch of before) await original.commit(batch)
        const was = readAll(original)
        const copy = original.clone()
        expect(readAll(copy)).toEqual(was)
        const failed = await commitUntilRefused(original, after)
        expect(readAll(copy)).toEqual(was)
        const again = failed ? original.clone() : original
        const is = readAll(again)
        await commitUntilRefused(copy, after)
        expect(readAll(again)).toEqual(is)
      }),
      { numRuns: 50 },
    )
  })

  test('has nothing of a commit that did not settle', async () => {
    const held: (() => void)[] = []
    const store = createMemoryStore({
      commitVia: (apply) =>
        new Promise((resolve) => {
          held.push(() => {
            apply()
            resolve()
          })
        }),
    })
    const commit = store.commit(appendedBy(1, 2))
    expect(store.lastPosition()).toBe(0)
    const copy = store.clone()
    held[0]!()
    expect([store.lastPosition(), store.clone().lastPosition()]).toEqual([0, 2])
    await commit
    expect([store.lastPosition(), copy.lastPosition()]).toEqual([2, 0])
  })

  test('opens again what a commit of unknown outcome closed', async () => {
    const store = createMemoryStore({
      commitVia: async (apply) => {
        apply()
        throw new CommitFailure('unknown', 'the power went')
      },
    })
    expect(await failureOf(store.commit(appendedBy(1, 1)))).toBeInstanceOf(CommitFailure)
    expect(() => store.lastPosition()).toThrow('open the store again')
    expect(store.clone().lastPosition()).toBe(1)
  })

  test('goes on after a commit that was rolled back', async () => {
    let full = true
    const store = createMemoryStore({
      commitVia: async (apply) => {
        if (full) throw new CommitFailure('rolled-back', 'no space left')
        apply()
      },
    })
    expect(await failureOf(store.commit(appendedBy(1, 1)))).toMatchObject({ outcome: 'rolled-back' })
    full = false
    await store.commit(appendedBy(1, 1))
    expect(store.lastPosition()).toBe(1)
  })
})

/** Whether a batch was refused. */
async function commitUntilRefused(store: MemoryStore, batches: readonly WriteBatch[]): Promise<boolean> {
  for (const batch of batches) if ((await failureOf(store.commit(batch))) !== undefined) return true
  return false
}
