import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { stampOf } from '../../../src/core/index.ts'
import type { FeedId } from '../../../src/core/index.ts'
import {
  checkEntryContent,
  entryIdOf,
  openSegmentWriter,
  parseEntryId,
  readAcceptedSegmentUpdate,
  readSegmentUpdate,
  segmentDigest,
} from '../../../src/document/index.ts'
import type { EntryContent, Json } from '../../../src/document/index.ts'
import { createDice, seeds } from './group.ts'
import type { Dice } from './group.ts'
import { segmentDigestOfYjs } from './yjs-digest.ts'

const client = 2 ** 52 + 5

function drawEntry(dice: Dice): EntryContent {
  return {
    text: dice.pick(['', 'Met Ada', 'ü\n😀', 'x'.repeat(300)]),
    ...(dice.chance(0.5) && { data: dice.pick<Json>([null, 0.5, -1, 2 ** 40, [], { b: [1, { c: 'd' }], a: null }]) }),
    ...(dice.chance(0.5) && { kind: dice.pick(['note', 'tool']) }),
    ...(dice.chance(0.5) && { tags: ['people', 'ü'].slice(dice.below(2)) }),
    ...(dice.chance(0.5) && { time: dice.below(2 ** 31) * 1_000 }),
  }
}

function drawBatches(seed: number): readonly (readonly EntryContent[])[] {
  const dice = createDice(seed)
  return Array.from({ length: 1 + dice.below(6) }, () => Array.from({ length: 1 + dice.below(5) }, () => drawEntry(dice)))
}

describe('log segments', () => {
  test('what is appended is read back, batch by batch', () => {
    for (const seed of seeds(200)) {
      const writer = openSegmentWriter(client)
      for (const batch of drawBatches(seed)) {
        const clock = writer.entries
        const update = writer.append(batch)
        expect(readSegmentUpdate(update, client, clock), `seed ${seed}`).toEqual({ ok: true, value: batch })
        expect(readAcceptedSegmentUpdate(update, client), `seed ${seed}`).toEqual({ ok: true, value: batch })
        expect(writer.entries).toBe(clock + batch.length)
      }
    }
  })

  test('the updates are byte for byte those of Yjs', () => {
    for (const seed of seeds(100)) {
      const doc = new Y.Doc()
      doc.clientID = client
      const made: Uint8Array[] = []
      doc.on('update', (update: Uint8Array) => made.push(update))
      const writer = openSegmentWriter(client)
      for (const batch of drawBatches(seed)) {
        const update = writer.append(batch)
        const reader = new Y.Doc()
        Y.applyUpdate(reader, Y.encodeStateAsUpdate(doc))
        Y.applyUpdate(reader, update)
        doc.getArray('entries').push(reader.getArray('entries').toArray().slice(-batch.length))
        expect(update, `seed ${seed}`).toEqual(made.at(-1))
      }
    }
  })

  test('a writer goes on where a segment ended', () => {
    const writer = openSegmentWriter(client)
    const before = writer.append([{ text: 'a' }, { text: 'b' }])
    const after = openSegmentWriter(client, 2).append([{ text: 'c' }])
    expect(after).toEqual(writer.append([{ text: 'c' }]))
    expect(segmentDigest([before, after])).not.toEqual(segmentDigest([before]))
    expect(segmentDigest([before, after]).entries).toBe(3)
  })

  test('the digest is that of the state that Yjs has', () => {
    for (const seed of seeds(100)) {
      const writer = openSegmentWriter(client)
      const updates = drawBatches(seed).map((batch) => writer.append(batch))
      expect(segmentDigest(updates).digest, `seed ${seed}`).toBe(segmentDigestOfYjs(updates))
    }
    expect(segmentDigest([]).digest).toBe(segmentDigestOfYjs([]))
  })

  test('what is repeated does not change the digest, and what does not follow is no part of it', () => {
    const writer = openSegmentWriter(client)
    const [first, second, third] = ['a', 'b', 'c'].map((text) => writer.append([{ text }])) as [Uint8Array, Uint8Array, Uint8Array]
    expect(segmentDigest([first, second, first, second])).toEqual(segmentDigest([first, second]))
    expect(segmentDigest([first, third])).toEqual(segmentDigest([first]))
  })

  test('the digest does not depend on how entries were batched', () => {
    const entries = Array.from({ length: 50 }, (_, index) => ({ text: `entry ${index}`, data: { index } }))
    const single = openSegmentWriter(client)
    const atOnce = openSegmentWriter(client)
    expect(segmentDigest(entries.map((entry) => single.append([entry])))).toEqual(segmentDigest([atOnce.append(entries)]))
    expect(segmentDigest([]).digest).toMatch(/^1:[0-9a-f]{64}$/)
  })

  test.each<[string, EntryContent, string]>([
    ['nothing', {}, 'neither text nor data'],
    ['half a surrogate pair', { text: '\ud800' }, 'text'],
    ['a text that is too long', { text: 'x'.repeat(600_000) }, 'text'],
    ['an empty kind', { text: '', kind: '' }, 'kind'],
    ['too many tags', { text: '', tags: Array.from({ length: 65 }, () => 'x') }, 'tags'],
    ['an empty tag', { text: '', tags: [''] }, 'tags'],
    ['a negative time', { text: '', time: -1 }, 'time'],
    ['a time that is not whole', { text: '', time: 0.5 }, 'time'],
    ['data with __proto__', { data: JSON.parse('{"__proto__":1}') as Json }, '__proto__'],
    ['data that is nested too deeply', { data: JSON.parse('['.repeat(64) + ']'.repeat(64)) as Json }, 'too deeply'],
    ['tags that are no list', { text: '', tags: 'x' as unknown as string[] }, 'tags'],
  ])('an entry with %s is refused, and the segment stays as it was', (_, entry, reason) => {
    expect(() => checkEntryContent(entry)).toThrow(reason)
    const writer = openSegmentWriter(client)
    expect(() => writer.append([{ text: 'good' }, entry])).toThrow(reason)
    expect(writer.entries).toBe(0)
  })

  test('the deepest data that is accepted can be read', () => {
    const data = JSON.parse('['.repeat(63) + ']'.repeat(63)) as Json
    expect(readSegmentUpdate(openSegmentWriter(client).append([{ data }]), client, 0)).toEqual({ ok: true, value: [{ data }] })
  })

  test('an append that one update cannot carry is refused', () => {
    const writer = openSegmentWriter(client)
    expect(() => writer.append(Array.from({ length: 5 }, () => ({ text: 'x'.repeat(500_000) })))).toThrow('split them')
    expect(() => writer.append(Array.from({ length: 16_385 }, () => ({ text: 'x' })))).toThrow('split them')
    expect(() => writer.append([])).toThrow('no entry')
    expect(writer.entries).toBe(0)
  })
})

describe('updates of a log from a peer', () => {
  /** An update that Yjs makes of a document by `body`. */
  function made(body: (doc: Y.Doc) => void, before?: (doc: Y.Doc) => void): Uint8Array {
    const doc = new Y.Doc()
    doc.clientID = client
    if (before) doc.transact(() => before(doc))
    const vector = Y.encodeStateVector(doc)
    doc.transact(() => body(doc))
    return Y.encodeStateAsUpdate(doc, vector)
  }
  const entries = (doc: Y.Doc) => doc.getArray('entries')
  const two = (doc: Y.Doc) => entries(doc).push([{ t: 'a' }, { t: 'b' }])

  test.each<[string, Uint8Array, number, string]>([
    ['that deletes', made((doc) => entries(doc).delete(0, 1), two), 2, 'appends nothing'],
    [
      'that appends and deletes',
      made((doc) => {
        two(doc)
        entries(doc).delete(0, 1)
      }, two),
      2,
      'deletes',
    ],
    ['that inserts in the middle', made((doc) => entries(doc).insert(1, [{ t: 'x' }]), two), 2, 'does not follow'],
    ['that inserts at the front', made((doc) => entries(doc).insert(0, [{ t: 'x' }]), two), 2, 'does not follow'],
    ['in another root', made((doc) => doc.getArray('other').push([{ t: 'x' }])), 0, 'does not follow'],
    ['under a key', made((doc) => doc.getMap('entries').set('k', { t: 'x' })), 0, 'does not follow'],
    ['of text', made((doc) => doc.getText('entries').insert(0, 'x')), 0, 'not JSON'],
    ['of a nested type', made((doc) => entries(doc).push([new Y.Map()])), 0, 'not JSON'],
    ['of bytes', made((doc) => entries(doc).push([Uint8Array.of(1)])), 0, 'not JSON'],
    ['of an entry that is a string', made((doc) => entries(doc).push(['x'])), 0, 'not an object'],
    ['of an entry with an unknown field', made((doc) => entries(doc).push([{ t: 'x', z: 1 }])), 0, 'unknown field'],
    ['of an entry without content', made((doc) => entries(doc).push([{ k: 'note' }])), 0, 'neither text nor data'],
    ['of an entry with a text that is none', made((doc) => entries(doc).push([{ t: 5 }])), 0, 'its text'],
    ['of an entry with tags that are none', made((doc) => entries(doc).push([{ t: '', g: { length: 1 } }])), 0, 'its tags'],
    ['with a gap', made(two), 1, 'next clock'],
    ['of nothing', made(() => {}), 0, 'appends nothing'],
    ['of a full segment', openSegmentWriter(client, 2_048).append([{ text: 'x' }]), 2_048, 'full'],
  ])('an update %s is refused', (_, update, clock, reason) => {
    expect(readSegmentUpdate(update, client, clock)).toEqual({ ok: false, reason: expect.stringContaining(reason) as unknown })
  })

  test('an update of another client is refused', () => {
    expect(readSegmentUpdate(made(two), client + 1, 0)).toMatchObject({ reason: 'structs of another client than the feed' })
  })

  test('more entries than one envelope may carry are refused', () => {
    expect(
      readSegmentUpdate(
        made((doc) => entries(doc).push(Array.from({ length: 16_385 }, () => ({ t: '' })))),
        client,
        0,
      ).ok,
    ).toBe(false)
    expect(
      readSegmentUpdate(
        made((doc) => entries(doc).push(Array.from({ length: 16_384 }, () => ({ t: '' })))),
        client,
        0,
      ).ok,
    ).toBe(true)
  })

  test('a damaged update is refused or still means the same number of clocks to Yjs', () => {
    const update = openSegmentWriter(client).append([
      { text: 'Met Ada', data: { mood: 'warm' }, tags: ['people'] },
      { text: 'b', time: 5 },
    ])
    for (const seed of seeds(3_000)) {
      const dice = createDice(seed)
      const damaged = Uint8Array.from(update)
      for (let flips = 1 + dice.below(3); flips > 0; flips--) damaged[dice.below(damaged.length)] = dice.below(256)
      const result = readSegmentUpdate(damaged, client, 0)
      if (!result.ok) continue
      const doc = new Y.Doc()
      Y.applyUpdate(doc, damaged)
      expect(doc.getArray('entries').length).toBe(result.value.length)
    }
  })
})

describe('entry ids', () => {
  const feed = '00112233445566778899aabbccddeeff' as FeedId

  test('an id tells its parts, and ids sort by stamp', () => {
    const id = entryIdOf(stampOf(1_700_000_000_000, 3), feed, 4_000_000_000, 65_535)
    expect(id).toMatch(/^[0-9a-f]{60}$/)
    expect(parseEntryId(id)).toEqual({ stamp: stampOf(1_700_000_000_000, 3), feed, sequence: 4_000_000_000, index: 65_535 })
    expect(entryIdOf(stampOf(1_700_000_000_001, 0), feed, 1, 0) > id).toBe(true)
  })

  test.each(['', 'x', 'A'.repeat(60), 'g'.repeat(60), 'a'.repeat(59), 'a'.repeat(61), `${'a'.repeat(60)}\n`])('%j is no id', (text) => {
    expect(parseEntryId(text)).toBeUndefined()
  })
})
