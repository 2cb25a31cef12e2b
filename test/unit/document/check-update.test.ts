import * as encoding from 'lib0/encoding'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { encode, idToBytes, stampOf } from '../../../src/core/index.ts'
import type { Encodable } from '../../../src/core/index.ts'
import { checkUpdate, openLiveDocument } from '../../../src/document/index.ts'
import type { Edit, LiveKind, UpdateContext } from '../../../src/document/index.ts'
import { createDice, seeds } from './group.ts'

/** The feed under test, and one that is in its past with clocks 0..9. */
const own = 1_000
const other = 2_000
const stamp = stampOf(5, 0)

function contextAt(clock: number): UpdateContext {
  return { client: own, clock, stamp, pastClock: (client) => (client === other ? 10 : 0) }
}

type Id = readonly [client: number, clock: number]

interface HandMade {
  readonly origin?: Id
  readonly right?: Id
  /** Name of a root, or an item. */
  readonly parent?: string | Id
  readonly key?: string
  /** Whether it is not an item, and has neither origins nor parent. */
  readonly bare?: boolean
  /** Sets the bit that says 'keyed' without writing a key. */
  readonly keyed?: boolean
  readonly type: number
  readonly content: (encoder: encoding.Encoder) => void
}

interface HandMadeUpdate {
  readonly client?: number
  readonly clock?: number
  readonly structs?: readonly HandMade[]
  readonly deleted?: readonly (readonly [client: number, ranges: readonly (readonly [clock: number, length: number])[]])[]
  readonly tail?: readonly number[]
}

/** Writes an update bit by bit, valid or not. */
function handMade({ client = own, clock = 0, structs = [], deleted = [], tail = [] }: HandMadeUpdate): Uint8Array {
  return encoding.encode((encoder) => {
    const uint = (value: number) => encoding.writeVarUint(encoder, value)
    const id = ([client, clock]: Id) => {
      uint(client)
      uint(clock)
    }
    uint(structs.length > 0 ? 1 : 0)
    if (structs.length > 0) {
      uint(structs.length)
      id([client, clock])
    }
    for (const { origin, right, parent, key, keyed, bare, type, content } of structs) {
      encoding.writeUint8(encoder, type | (origin ? 128 : 0) | (right ? 64 : 0) | (key !== undefined || keyed ? 32 : 0))
      if (origin) id(origin)
      if (right) id(right)
      if (!origin && !right && !bare) {
        uint(typeof parent === 'string' ? 1 : 0)
        if (typeof parent === 'string') encoding.writeVarString(encoder, parent)
        else id(parent!)
        if (key !== undefined) encoding.writeVarString(encoder, key)
      }
      content(encoder)
    }
    uint(deleted.length)
    for (const [client, ranges] of deleted) {
      id([client, ranges.length])
      for (const range of ranges) id(range)
    }
    encoding.writeUint8Array(encoder, Uint8Array.from(tail))
  })
}

const binary = (bytes: Uint8Array) => ({ type: 3, content: (encoder: encoding.Encoder) => encoding.writeVarUint8Array(encoder, bytes) })
const string = (text: string) => ({ type: 4, content: (encoder: encoding.Encoder) => encoding.writeVarString(encoder, text) })
const container = (type: number) => ({ type: 7, content: (encoder: encoding.Encoder) => encoding.writeVarUint(encoder, type) })
const any = (...values: readonly unknown[]) => ({
  type: 8,
  content: (encoder: encoding.Encoder) => {
    encoding.writeVarUint(encoder, values.length)
    for (const value of values) encoding.writeAny(encoder, value as encoding.AnyEncodable)
  },
})
const raw = (type: number, ...bytes: readonly number[]) => ({
  type,
  content: (encoder: encoding.Encoder) => encoding.writeUint8Array(encoder, Uint8Array.from(bytes)),
})
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
    expect(checkUpdate(kind, handMade(update), contextAt(update.clock ?? 0))).toMatchObject({ ok: true })
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
    ['a cell whose key is not UTF-8', 'set', { structs: [{ ...first, ...binary(Uint8Array.of(0x81, 0x61, 0xff)) }] }, 'canonical'],
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
      'canonical',
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
    const result = checkUpdate(kind, handMade(update), contextAt(reason === 'next clock' ? 0 : (update.clock ?? 0)))
    expect(result).toEqual({ ok: false, reason: expect.stringContaining(reason) as unknown })
  })

  test('an update of two clients is refused', () => {
    const doc = new Y.Doc()
    doc.clientID = own
    doc.getText('text').insert(0, 'a')
    doc.clientID = other
    doc.getText('text').insert(0, 'b')
    expect(checkUpdate('text', Y.encodeStateAsUpdate(doc), contextAt(0))).toMatchObject({ reason: 'structs of more than one client' })
  })

  test('an update with too many structs, or too many bytes, is refused', () => {
    const structs = Array.from({ length: 65_537 }, (_, clock): HandMade =>
      clock === 0 ? { ...first, ...cell('0') } : { origin: [own, clock - 1], ...cell(`${clock}`) },
    )
    expect(checkUpdate('set', handMade({ structs }), contextAt(0))).toMatchObject({ reason: 'too many structs' })
    expect(checkUpdate('set', handMade({ structs: structs.slice(0, 65_536) }), contextAt(0))).toMatchObject({ ok: true })
    expect(checkUpdate('set', new Uint8Array(3 << 20), contextAt(0))).toMatchObject({ reason: 'the update is too large' })
  })

  test('the second encoding of Yjs is refused', () => {
    const doc = new Y.Doc()
    doc.clientID = own
    doc.getText('text').insert(0, 'a')
    expect(checkUpdate('text', Y.encodeStateAsUpdateV2(doc), contextAt(0)).ok).toBe(false)
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
    const context = { client: own, stamp, textVersion: () => undefined }
    const document = openLiveDocument(kind, null)
    const seed: Record<LiveKind, Edit> = {
      counter: { type: 'counter.add', key: 'x', amount: 1n },
      set: { type: 'set.add', member: 'bob' },
      register: { type: 'register.set', key: 'x', value: 1 },
      text: { type: 'text.put', text: 'other words\n', base: null },
      json: { type: 'json.merge', patch: { d: 1, e: [0, 0] } },
    }
    document.edit({ ...context, client: other }, (apply) => apply(seed[kind]))
    const state = document.state()
    const update = document.edit(context, (apply) => edits[kind].forEach(apply))!
    const past: UpdateContext = { client: own, clock: 0, stamp, pastClock: (client) => (client === other ? document.clock(other) : 0) }
    expect(checkUpdate(kind, update, past)).toMatchObject({ ok: true })
    let accepted = 0
    for (const seed of seeds(1_500)) {
      const dice = createDice(seed)
      const damaged = Buffer.from(update)
      for (let flips = 1 + dice.below(3); flips > 0; flips--) damaged[dice.below(damaged.length)] = dice.below(256)
      const bytes = Uint8Array.from(dice.chance(0.2) ? damaged.subarray(0, dice.below(damaged.length)) : damaged)
      const result = checkUpdate(kind, bytes, past)
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
    for (const seed of seeds(500)) {
      const dice = createDice(seed)
      const noise = Uint8Array.from({ length: dice.below(60) }, () => dice.below(dice.chance(0.5) ? 256 : 12))
      for (const kind of kinds) expect(() => checkUpdate(kind, noise, contextAt(0))).not.toThrow()
    }
  })
})
