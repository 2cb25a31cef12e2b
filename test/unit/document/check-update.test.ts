import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { encode, idToBytes, stampOf } from '../../../src/core/index.ts'
import type { Encodable } from '../../../src/core/index.ts'
import { openLiveDocument } from '../../../src/document/index.ts'
import type { Edit, LiveDocument, LiveKind, UpdateContext } from '../../../src/document/index.ts'
import { createDice, seeds } from './group.ts'
import { any, binary, container, handMade, raw, string } from './hand-made.ts'
import type { HandMade, HandMadeUpdate, Id } from './hand-made.ts'

/** The feed under test, and one that is in its past with clocks 0..9. */
const own = 1_000
const other = 2_000
const stamp = stampOf(5, 0)

const context: UpdateContext = { client: own, stamp, pastClock: (client) => (client === other ? 10 : 0) }

/** Edits that take so many clocks. */
const editsOf: Record<LiveKind, (clocks: number) => readonly Edit[]> = {
  counter: (clocks) => Array.from({ length: clocks }, (_, index) => ({ type: 'counter.add', key: `${index}`, amount: 1n })),
  set: (clocks) => Array.from({ length: clocks }, (_, index) => ({ type: 'set.add', member: `${index}` })),
  register: (clocks) => Array.from({ length: clocks }, (_, index) => ({ type: 'register.set', key: `${index}`, value: 1 })),
  text: (clocks) => [{ type: 'text.put', text: 'x'.repeat(clocks), base: null }],
  /** An array, and its elements. */
  json: (clocks) => (clocks === 0 ? [] : [{ type: 'json.merge', patch: { list: Array.from({ length: clocks - 1 }, () => 0) } }]),
}

/** What is here when the update under test comes: ten clocks of the other feed, and so many of its own. */
function documentAt(kind: LiveKind, ownClock: number): LiveDocument {
  const document = openLiveDocument(kind, null)
  const write = (client: number, clocks: number): void => {
    document.edit({ client, stamp, textVersion: () => undefined }, (apply) => editsOf[kind](clocks).forEach(apply))
    expect(document.clock(client)).toBe(clocks)
  }
  write(other, 10)
  write(own, ownClock)
  return document
}

const cell = (...fields: readonly Encodable[]) => binary(encode(fields))
const first = { parent: 'cells' }

describe('every rule refuses what breaks it', () => {
  test.each<[string, LiveKind, HandMadeUpdate]>([
    [
      'cells begin the chain',
      'set',
      {
        structs: [
          { ...first, ...cell('a') },
          { origin: [own, 0], ...cell('b') },
        ],
      },
    ],
    ['cells go on with the chain', 'set', { clock: 4, structs: [{ origin: [own, 3], ...cell('a') }] }],
    [
      'a set deletes what others wrote',
      'set',
      {
        deleted: [
          [
            other,
            [
              [0, 3],
              [5, 5],
            ],
          ],
        ],
      },
    ],
    [
      'a counter deletes its own',
      'counter',
      { clock: 1, structs: [{ origin: [own, 0], ...cell('a', 2n ** 63n - 1n) }], deleted: [[own, [[0, 1]]]] },
    ],
    ['a register carries the stamp', 'register', { structs: [{ ...first, ...cell('a', '{"a":1}', idToBytes(stamp)) }] }],
    ['a text between what others wrote', 'text', { structs: [{ origin: [other, 3], right: [other, 4], ...string('x') }] }],
    ['an empty update', 'json', {}],
    [
      'a nested map',
      'json',
      {
        structs: [
          { parent: 'json', key: 'a', ...container(1) },
          { parent: [own, 0], key: 'b', ...any(1) },
        ],
      },
    ],
    ['an array element of another feed', 'json', { structs: [{ origin: [other, 9], ...any(1, 'x', null) }] }],
  ])('accepted: %s', (_, kind, update) => {
    expect(documentAt(kind, update.clock ?? 0).check(handMade(update), context)).toMatchObject({ ok: true })
  })

  const nested = (depth: number): readonly HandMade[] => [
    { parent: 'json', key: 'a', ...container(1) },
    ...Array.from({ length: depth }, (_, index) => ({ parent: [own, index] as Id, key: 'a', ...container(1) })),
  ]

  test.each<[string, LiveKind, HandMadeUpdate, string]>([
    ['structs of another client', 'set', { client: other, structs: [{ ...first, ...cell('a') }] }, 'another client'],
    ['a gap before the structs', 'set', { clock: 1, structs: [{ origin: [own, 0], ...cell('a') }] }, 'next clock'],
    ['bytes left over', 'set', { tail: [0] }, 'left over'],
    ['a tombstone', 'text', { structs: [{ parent: 'text', ...raw(1, 5) }] }, 'type 1'],
    ['the old JSON content', 'json', { structs: [{ parent: 'json', key: 'a', ...raw(2, 1, 1, 49) }] }, 'type 2'],
    ['an embed', 'text', { structs: [{ parent: 'text', ...raw(5, 2, 123, 125) }] }, 'type 5'],
    ['formatting', 'text', { structs: [{ parent: 'text', ...raw(6, 1, 98, 1, 49) }] }, 'type 6'],
    ['a subdocument', 'json', { structs: [{ parent: 'json', key: 'a', ...raw(9, 1, 97, 118, 0) }] }, 'type 9'],
    ['a gap inside', 'text', { structs: [{ bare: true, ...raw(10, 5) }] }, 'type 10'],
    ['a collected struct', 'text', { structs: [{ bare: true, ...raw(0, 5) }] }, 'type 0'],
    ['nested text', 'json', { structs: [{ parent: 'json', key: 'a', ...container(2) }] }, 'neither an array nor a map'],
    ['an empty string', 'text', { structs: [{ parent: 'text', ...string('') }] }, 'without content'],
    ['no values', 'json', { structs: [{ parent: 'json', key: 'a', ...any() }] }, 'without content'],
    [
      'deletes that are not sorted',
      'set',
      {
        deleted: [
          [
            other,
            [
              [5, 1],
              [3, 1],
            ],
          ],
        ],
      },
      'sorted by clock',
    ],
    [
      'deletes that touch',
      'set',
      {
        deleted: [
          [
            other,
            [
              [3, 1],
              [4, 1],
            ],
          ],
        ],
      },
      'sorted by clock',
    ],
    ['a delete of nothing', 'set', { deleted: [[other, [[3, 0]]]] }, 'sorted by clock'],
    [
      'deletes of one client twice',
      'set',
      {
        deleted: [
          [other, [[3, 1]]],
          [other, [[5, 1]]],
        ],
      },
      'sorted by client',
    ],
    ['deletes of a client without ranges', 'set', { deleted: [[other, []]] }, 'empty client'],

    ['an origin beyond the past', 'text', { structs: [{ origin: [other, 10], ...string('x') }] }, 'an origin beyond'],
    ['an origin in an unknown client', 'text', { structs: [{ origin: [3_000, 0], ...string('x') }] }, 'an origin beyond'],
    ['an origin in itself', 'text', { structs: [{ origin: [own, 0], ...string('x') }] }, 'an origin beyond'],
    ['a right origin beyond the past', 'text', { structs: [{ right: [other, 10], ...string('x') }] }, 'a right origin beyond'],
    ['a parent beyond the past', 'json', { structs: [{ parent: [other, 10], key: 'a', ...any(1) }] }, 'a parent beyond'],
    ['a delete beyond the past', 'set', { deleted: [[other, [[9, 2]]]] }, 'a deletion beyond'],
    ['a delete of what does not exist', 'counter', { deleted: [[own, [[0, 1]]]] }, 'a deletion beyond'],

    ['a cell in another root', 'set', { structs: [{ parent: 'other', ...cell('a') }] }, 'does not follow'],
    ['a cell with a key', 'set', { structs: [{ ...first, key: 'k', ...cell('a') }] }, 'does not follow'],
    ['a cell with a key by origin', 'set', { clock: 1, structs: [{ origin: [own, 0], keyed: true, ...cell('a') }] }, 'does not follow'],
    [
      'a cell with a right origin',
      'set',
      { clock: 1, structs: [{ origin: [own, 0], right: [other, 0], ...cell('a') }] },
      'does not follow',
    ],
    ['a first cell with a right origin', 'set', { structs: [{ right: [other, 0], ...cell('a') }] }, 'does not follow'],
    ['a cell behind another feed', 'set', { structs: [{ origin: [other, 9], ...cell('a') }] }, 'does not follow'],
    ['a cell behind an older one', 'set', { clock: 2, structs: [{ origin: [own, 0], ...cell('a') }] }, 'does not follow'],
    ['a cell that begins again', 'set', { clock: 1, structs: [{ ...first, ...cell('a') }] }, 'does not follow'],
    ['a cell that is not binary', 'set', { structs: [{ ...first, ...any('a') }] }, 'not binary'],
    ['a cell that is not CBOR', 'set', { structs: [{ ...first, ...binary(Uint8Array.of(255)) }] }, 'malformed'],
    ['a cell with a field too many', 'set', { structs: [{ ...first, ...cell('a', 1) }] }, 'malformed'],
    ['a cell without a key', 'set', { structs: [{ ...first, ...cell('') }] }, 'malformed'],
    ['a cell with a key that is too long', 'set', { structs: [{ ...first, ...cell('x'.repeat(1_025)) }] }, 'malformed'],
    ['a cell whose key is not UTF-8', 'set', { structs: [{ ...first, ...binary(Uint8Array.of(0x81, 0x61, 0xff)) }] }, 'malformed'],
    [
      'two cells for one key',
      'set',
      {
        structs: [
          { ...first, ...cell('a') },
          { origin: [own, 0], ...cell('a') },
        ],
      },
      'two cells',
    ],
    ['a total beyond 64 bits', 'counter', { structs: [{ ...first, ...cell('a', 2n ** 63n) }] }, 'malformed'],
    ['a total that is not whole', 'counter', { structs: [{ ...first, ...cell('a', 0.5) }] }, 'malformed'],
    [
      'a total written as a float',
      'counter',
      { structs: [{ ...first, ...binary(Uint8Array.of(0x82, 0x61, 0x61, 0xf9, 0x3c, 0)) }] },
      'malformed',
    ],
    ['a counter that deletes what another feed counted', 'counter', { deleted: [[other, [[0, 1]]]] }, 'another feed counted'],
    [
      'a register with another stamp',
      'register',
      { structs: [{ ...first, ...cell('a', '1', idToBytes(stampOf(6, 0))) }] },
      'another stamp',
    ],
    [
      'a register value that is not JSON',
      'register',
      { structs: [{ ...first, ...cell('a', '{', idToBytes(stamp)) }] },
      'not canonical JSON',
    ],
    [
      'a register value with unsorted keys',
      'register',
      { structs: [{ ...first, ...cell('a', '{"b":1,"a":2}', idToBytes(stamp)) }] },
      'not canonical JSON',
    ],
    [
      'a register value with __proto__',
      'register',
      { structs: [{ ...first, ...cell('a', '{"__proto__":1}', idToBytes(stamp)) }] },
      'not canonical JSON',
    ],
    [
      'a register value nested too deeply',
      'register',
      { structs: [{ ...first, ...cell('a', '['.repeat(65) + ']'.repeat(65), idToBytes(stamp)) }] },
      'not canonical JSON',
    ],

    ['a text in another root', 'text', { structs: [{ parent: 'other', ...string('x') }] }, 'outside the text'],
    ['a text inside an item', 'text', { structs: [{ parent: [other, 0], ...string('x') }] }, 'outside the text'],
    ['a text with a key', 'text', { structs: [{ parent: 'text', key: 'k', ...string('x') }] }, 'with a key'],
    ['a text with a key by origin', 'text', { structs: [{ origin: [other, 0], keyed: true, ...string('x') }] }, 'with a key'],
    ['a text that holds JSON', 'text', { structs: [{ parent: 'text', ...any('x') }] }, 'else than characters'],

    ['json in another root', 'json', { structs: [{ parent: 'other', key: 'a', ...any(1) }] }, 'outside the document'],
    ['json in the root without a key', 'json', { structs: [{ parent: 'json', ...any(1) }] }, 'outside the document'],
    ['json under __proto__', 'json', { structs: [{ parent: 'json', key: '__proto__', ...any(1) }] }, '__proto__'],
    ['a plain object instead of a map', 'json', { structs: [{ parent: 'json', key: 'a', ...any({}) }] }, 'neither a primitive'],
    ['a plain array instead of an array', 'json', { structs: [{ parent: 'json', key: 'a', ...any([]) }] }, 'neither a primitive'],
    ['several values under one key', 'json', { structs: [{ parent: 'json', key: 'a', ...any(1, 2) }] }, 'several values'],
    ['characters in json', 'json', { structs: [{ parent: 'json', key: 'a', ...string('x') }] }, 'neither a primitive'],
    ['binary in json', 'json', { structs: [{ parent: 'json', key: 'a', ...binary(Uint8Array.of(1)) }] }, 'neither a primitive'],
    ['undefined', 'json', { structs: [{ parent: 'json', key: 'a', ...any(undefined) }] }, 'not JSON'],
    ['a big integer', 'json', { structs: [{ parent: 'json', key: 'a', ...any(5n) }] }, 'not JSON'],
    ['bytes as a value', 'json', { structs: [{ parent: 'json', key: 'a', ...any(Uint8Array.of(1)) }] }, 'not JSON'],
    ['an infinite number', 'json', { structs: [{ parent: 'json', key: 'a', ...any(Infinity) }] }, 'JSON cannot hold'],
    ['containers nested too deeply', 'json', { structs: nested(64) }, 'nested too deeply'],
    [
      'values nested too deeply',
      'json',
      { structs: [{ parent: 'json', key: 'a', ...any(JSON.parse('['.repeat(65) + ']'.repeat(65))) }] },
      'nested too deeply',
    ],
  ])('refused: %s', (_, kind, update, reason) => {
    const result = documentAt(kind, reason === 'next clock' ? 0 : (update.clock ?? 0)).check(handMade(update), context)
    expect(result).toEqual({ ok: false, reason: expect.stringContaining(reason) as unknown })
  })

  test('an update of two clients is refused', () => {
    const doc = new Y.Doc()
    doc.clientID = own
    doc.getText('text').insert(0, 'a')
    doc.clientID = other
    doc.getText('text').insert(0, 'b')
    expect(documentAt('text', 0).check(Y.encodeStateAsUpdate(doc), context)).toMatchObject({ reason: 'structs of more than one client' })
  })

  test('an update with too many structs, or too many bytes, is refused', () => {
    const structs = Array.from({ length: 65_537 }, (_, clock): HandMade =>
      clock === 0 ? { ...first, ...cell('0') } : { origin: [own, clock - 1], ...cell(`${clock}`) },
    )
    expect(documentAt('set', 0).check(handMade({ structs }), context)).toMatchObject({ reason: 'too many structs' })
    expect(documentAt('set', 0).check(handMade({ structs: structs.slice(0, 65_536) }), context)).toMatchObject({ ok: true })
    expect(documentAt('set', 0).check(new Uint8Array(3 << 20), context)).toMatchObject({ reason: 'the update is too large' })
  })

  test('the second encoding of Yjs is refused', () => {
    const doc = new Y.Doc()
    doc.clientID = own
    doc.getText('text').insert(0, 'a')
    expect(documentAt('text', 0).check(Y.encodeStateAsUpdateV2(doc), context).ok).toBe(false)
  })
})

describe('damaged updates', () => {
  const kinds: readonly LiveKind[] = ['counter', 'set', 'register', 'text', 'json']
  const edits: Record<LiveKind, readonly Edit[]> = {
    counter: [{ type: 'counter.add', key: 'karma', amount: 300n }],
    set: [
      { type: 'set.add', member: 'ada' },
      { type: 'set.remove', member: 'bob' },
    ],
    register: [
      { type: 'register.set', key: 'city', value: { name: 'Lisbon' } },
      { type: 'register.delete', key: 'x' },
    ],
    text: [{ type: 'text.put', text: 'some words and 😀\n', base: null }],
    json: [{ type: 'json.merge', patch: { a: { b: [1, 'x', { c: null }] }, d: 1.5 } }],
  }

  test.each(kinds)('a damaged %s update is refused, or is one that Yjs reads and applies as it stands', (kind) => {
    const writer = { client: own, stamp, textVersion: () => undefined }
    const document = openLiveDocument(kind, null)
    const seed: Record<LiveKind, Edit> = {
      counter: { type: 'counter.add', key: 'x', amount: 1n },
      set: { type: 'set.add', member: 'bob' },
      register: { type: 'register.set', key: 'x', value: 1 },
      text: { type: 'text.put', text: 'other words\n', base: null },
      json: { type: 'json.merge', patch: { d: 1, e: [0, 0] } },
    }
    document.edit({ ...writer, client: other }, (apply) => apply(seed[kind]))
    const state = document.state()
    const update = document.edit(writer, (apply) => edits[kind].forEach(apply))!
    const past: UpdateContext = { client: own, stamp, pastClock: (client) => (client === other ? document.clock(other) : 0) }
    const judge = openLiveDocument(kind, state)
    expect(judge.check(update, past)).toMatchObject({ ok: true })
    let accepted = 0
    for (const seed of seeds(1_500)) {
      const dice = createDice(seed)
      const damaged = Buffer.from(update)
      for (let flips = 1 + dice.below(3); flips > 0; flips--) damaged[dice.below(damaged.length)] = dice.below(256)
      const bytes = Uint8Array.from(dice.chance(0.2) ? damaged.subarray(0, dice.below(damaged.length)) : damaged)
      const result = judge.check(bytes, past)
      if (!result.ok) continue
      accepted++
      expect(() => Y.decodeUpdate(bytes)).not.toThrow()
      const target = openLiveDocument(kind, state)
      target.apply(bytes)
      expect(target.hasPending()).toBe(false)
      expect(target.clock(own)).toBe(result.value.clock)
      expect(openLiveDocument(kind, target.state()).value()).toEqual(target.value())
    }
    expect(accepted).toBeGreaterThan(0)
  })

  test('noise never makes the check throw', () => {
    const documents = kinds.map((kind) => documentAt(kind, 0))
    for (const seed of seeds(500)) {
      const dice = createDice(seed)
      const noise = Uint8Array.from({ length: dice.below(60) }, () => dice.below(dice.chance(0.5) ? 256 : 12))
      for (const document of documents) expect(() => document.check(noise, context)).not.toThrow()
    }
  })
})
