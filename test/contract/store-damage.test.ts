import { afterEach, describe, expect, test } from 'vitest'
import { damageToKey } from '../../src/storage/index.ts'
import type { Damage, Store, WriteBatch } from '../../src/storage/index.ts'
import { closeStores, openMemory, openOnDisk } from './store-openers.ts'
import { appendedBy, documentOf, envelopeRow, feedOf, feedRow, readAll, recordRow, versionOf } from './store-rows.ts'

afterEach(closeStores)

const [feed, other] = [feedOf(0), feedOf(1)]
const document = documentOf(0)
const content = 'a text of some length'
const text = { document, version: versionOf(content), position: 1, content }
const snapshot = { document, position: 5, state: new Uint8Array(4_000).fill(7) }

/** Five envelopes of a feed that changed a document, one of another that waits, a record, a snapshot, an earlier text. */
async function fill(store: Store): Promise<void> {
  await store.commit({ ...appendedBy(1, 5), documents: [{ document, kind: 'text', name: 'a' }] })
  const waiting = envelopeRow(other, 1, [200, 0, 3_000])
  await store.commit({ feeds: [feedRow(waiting, 0)], envelopes: [waiting], records: [recordRow(1), recordRow(2)] })
  await store.commit({ snapshots: [snapshot], textVersions: [text] })
}

const envelopeAt = (sequence: number, part: 'header' | 'body' | 'signature', of = feed): Damage => ({
  kind: 'envelope',
  feed: of,
  sequence,
  part,
})

const cases: readonly (readonly [string, Damage, WriteBatch])[] = [
  ['the header of an envelope', envelopeAt(3, 'header'), { envelopesReplaced: [envelopeRow(feed, 3)] }],
  ['a body', envelopeAt(3, 'body'), { envelopesReplaced: [envelopeRow(feed, 3)] }],
  ['a signature', envelopeAt(3, 'signature'), { envelopesReplaced: [envelopeRow(feed, 3)] }],
  ['a body of an envelope that waits', envelopeAt(1, 'body', other), { envelopesReplaced: [envelopeRow(other, 1, [200, 0, 3_000])] }],
  ['a record', { kind: 'record', hash: recordRow(2).hash }, { records: [recordRow(2)] }],
  ['a snapshot', { kind: 'snapshot', document }, { snapshots: [snapshot] }],
  ['an earlier text', { kind: 'text-version', document, version: text.version }, { textVersions: [text] }],
]

describe.each([
  { name: 'the store in memory', open: openMemory },
  { name: 'the store on disk', open: openOnDisk },
])('$name', ({ open }) => {
  test('finds nothing damaged where nothing is', async () => {
    const { store } = await open()
    expect(await store.scrub()).toEqual([])
    await fill(store)
    expect(await store.scrub()).toEqual([])
  })

  test('names what does not match its hash, while it is open, until that is written again', async () => {
    const { damage, store } = await open()
    await fill(store)
    const before = readAll(store)
    for (const [what, place, mend] of cases) {
      damage(place)
      expect([what, await store.scrub()]).toEqual([what, [place]])
      await store.commit({ meta: new Map([['other', Uint8Array.of(1)]]) })
      expect([what, await store.scrub()]).toEqual([what, [place]])
      await store.commit(mend)
      expect([what, await store.scrub()]).toEqual([what, []])
      expect([what, readAll(store)]).toEqual([what, before])
    }
  })

  test('gives the envelopes before a damaged one and those behind it, and refuses the damaged one itself', async () => {
    const { again, damage, store } = await open()
    await fill(store)
    await store.close()
    for (const part of ['header', 'body', 'signature'] as const) {
      damage(envelopeAt(3, part))
      const damaged = await again()
      const noticed: string[] = []
      damaged.onDamage((found) => noticed.push(damageToKey(found)))
      const sequences = (from: number): number[] => damaged.envelopes(feed, from, 9, Infinity).map(({ sequence }) => sequence)
      expect([sequences(1), sequences(4)]).toEqual([
        [1, 2],
        [4, 5],
      ])
      const refused: unknown = expect.objectContaining({ code: 'unavailable', damage: envelopeAt(3, part) })
      expect(() => damaged.envelopes(feed, 3, 9, Infinity)).toThrow(refused)
      expect(() => damaged.appliedAfter(0, 9)).toThrow(refused)
      expect(() => damaged.touchesAfter(document, 0, 9)).toThrow(refused)
      expect(() => damaged.touchesAfter(document, 0, 9)).toThrow(
        "it is fetched again from whichever instance has it: see 'selfsame status'",
      )
      expect(new Set(noticed)).toEqual(new Set([`envelope:${feed}:3`]))
      // Where it is and what rests on it is known all the same.
      expect(damaged.locate(envelopeRow(feed, 3).hash)).toEqual({ feed, sequence: 3, position: 3 })
      expect(damaged.documentsTouchedBy(feed, 3)).toEqual([document])
      await damaged.commit({ envelopesReplaced: [envelopeRow(feed, 3)] })
      expect(sequences(1)).toEqual([1, 2, 3, 4, 5])
      await damaged.close()
      await (await again()).commit({ envelopesReplaced: [envelopeRow(feed, 3)] })
    }
  })

  test('does without a damaged snapshot and a damaged text, and says so', async () => {
    const { again, damage, store } = await open()
    await fill(store)
    await store.close()
    const places = cases.map(([, place]) => place).filter(({ kind }) => kind === 'snapshot' || kind === 'text-version')
    for (const place of places) damage(place)
    const damaged = await again()
    const noticed: Damage[] = []
    damaged.onDamage((found) => noticed.push(found))
    expect([damaged.snapshot(document), damaged.textVersion(document, text.version)]).toEqual([undefined, undefined])
    expect(noticed).toEqual(places)
    await damaged.commit({ textVersionsRemoved: [text], snapshots: [snapshot] })
    expect(await damaged.scrub()).toEqual([])
    expect([damaged.snapshot(document), damaged.textVersion(document, text.version)]).toEqual([snapshot, undefined])
  })

  test('gives a damaged record as it is, and another under the same hash in its place', async () => {
    const { again, damage, store } = await open()
    await fill(store)
    await store.close()
    damage({ kind: 'record', hash: recordRow(1).hash })
    const damaged = await again()
    expect(damaged.records().map(({ hash }) => hash)).toEqual([recordRow(1).hash, recordRow(2).hash])
    expect(damaged.records()[0]?.bytes).not.toEqual(recordRow(1).bytes)
    await damaged.commit({ records: [recordRow(1)] })
    expect(damaged.records()).toEqual([recordRow(1), recordRow(2)])
    await damaged.commit({ recordsRemoved: [recordRow(1).hash] })
    expect(damaged.records()).toEqual([recordRow(2)])
  })

  test('looks no further once it is closed', async () => {
    const { store } = await open()
    await fill(store)
    await store.scrub()
    await store.close()
    await expect(store.scrub()).rejects.toThrow(expect.objectContaining({ code: 'storage-failed' }))
  })

  test('takes a whole envelope in the place of one that is lost, with its bodies', async () => {
    const { store } = await open()
    await fill(store)
    const whole = envelopeRow(other, 1, [10, 20], false)
    await store.commit({ envelopesReplaced: [whole] })
    expect(store.envelopes(other, 1, 1, 1)).toEqual([{ ...whole, position: null, changed: null }])
    expect(store.documentsTouchedBy(other, 1)).toEqual([])
    await store.commit({ signatures: [{ feed: other, sequence: 1, signature: new Uint8Array(64) }] })
    expect(await store.scrub()).toEqual([])
  })
})
