/**
 * The checks of Yjs updates, kind by kind: what they accept is applied to a live document, which must then be whole, the same
 * after a reload, and the same in any order of concurrent updates. Log segments and presence, which are Yjs's formats too.
 */
import * as encoding from 'lib0/encoding'
import { encode, idToBytes, stampOf } from '../../../src/core/index.ts'
import type { Encodable } from '../../../src/core/index.ts'
import {
  checkEntryContent,
  openLiveDocument,
  openPresence,
  openSegmentWriter,
  readAcceptedSegmentUpdate,
  readSegmentUpdate,
  segmentDigest,
} from '../../../src/document/index.ts'
import type { Edit, EntryContent, Json, LiveKind } from '../../../src/document/index.ts'
import { segmentDigestOfYjs } from '../document/yjs-digest.ts'
import { drawValue, edges, mutateBytes, mutateItems, trickyTexts } from './cbor-mutations.ts'
import type { Dice } from './dice.ts'
import { promise } from './fuzz.ts'
import type { Case, Decoder } from './fuzz.ts'
import { pooled } from './message-decoders.ts'

const stamp = stampOf(1_800_000_000_000, 3)
/** Client ids as feeds have them: of up to 53 bits. `own` is the feed that writes, `rival` one that writes at the same time. */
const own = 2 ** 52 + 77
const rival = 2 ** 51 + 5
const others = [3, 2 ** 40 + 1] as const

/** What an instance has when an update comes in: the declared past of that update. */
interface World {
  readonly kind: LiveKind
  readonly state: Uint8Array
  readonly clocks: ReadonlyMap<number, number>
  /** Honest updates that `own` could write next. */
  readonly updates: readonly Uint8Array[]
  /** An honest update that `rival` wrote without having seen them. */
  readonly concurrent: Uint8Array
}

const keys = ['a', 'b', 'c', 'key/é']

function drawJson(dice: Dice, depth: number = 2): Json {
  switch (dice.below(depth > 0 ? 7 : 5)) {
    case 0:
      return dice.pick([null, true, false])
    case 1:
      return dice.pick([0, -1, 1.5, 2 ** 31, 1e-7, -(2 ** 53) + 1, 0.1])
    case 2:
    case 3:
      return dice.pick(['', 'x', '😀 emoji', 'constructor', '\ufeffb', 'long '.repeat(20)])
    case 4:
      return dice.below(100)
    case 5:
      return dice.times(dice.below(4), () => drawJson(dice, depth - 1))
    default:
      return Object.fromEntries(
        dice.times(dice.below(4), () => [dice.pick([...keys, 'constructor', 'toString']), drawJson(dice, depth - 1)]),
      )
  }
}

function drawEdit(dice: Dice, kind: LiveKind): Edit {
  const key = dice.pick(keys)
  switch (kind) {
    case 'counter':
      return { type: 'counter.add', key, amount: dice.pick([1n, -1n, 500n, 2n ** 40n, -(2n ** 53n)]) }
    case 'set':
      return dice.chance(0.7) ? { type: 'set.add', member: key } : { type: 'set.remove', member: key }
    case 'register':
      return dice.chance(0.8) ? { type: 'register.set', key, value: drawJson(dice) } : { type: 'register.delete', key }
    case 'text':
      return {
        type: 'text.put',
        text: dice.times(dice.below(8), () => dice.pick(['one ', 'two\n', '😀', '😁', 'é', 'x'])).join(''),
        base: null,
      }
    case 'json':
      return { type: 'json.merge', patch: { [key]: drawJson(dice), [dice.pick(keys)]: drawJson(dice) } }
  }
}

/** An update of `client` on top of `state`; undefined where its edits changed nothing. */
function writtenOn(kind: LiveKind, state: Uint8Array, client: number, dice: Dice): Uint8Array | undefined {
  const document = openLiveDocument(kind, state)
  const edits = dice.times(1 + dice.below(3), () => drawEdit(dice, kind))
  return document.edit({ client, stamp, textVersion: () => undefined }, (apply) => edits.forEach(apply)) ?? undefined
}

function surelyWrittenOn(kind: LiveKind, state: Uint8Array, client: number, dice: Dice): Uint8Array {
  for (;;) {
    const update = writtenOn(kind, state, client, dice)
    if (update !== undefined) return update
  }
}

const drawWorld = (kind: LiveKind): ((dice: Dice) => World) =>
  pooled(`world of ${kind}`, (dice) => {
    const document = openLiveDocument(kind, null)
    for (let left = dice.below(10); left > 0; left--) {
      const edit = drawEdit(dice, kind)
      const client = dice.pick([own, own, rival, ...others])
      document.edit({ client, stamp: stampOf(1_000 + dice.below(500), 0), textVersion: () => undefined }, (apply) => apply(edit))
    }
    const state = document.state()
    return {
      kind,
      state,
      clocks: new Map([own, rival, ...others].map((client) => [client, document.clock(client)])),
      updates: dice.times(3, () => surelyWrittenOn(kind, state, own, dice)),
      concurrent: surelyWrittenOn(kind, state, rival, dice),
    }
  })

/** A number of an update: most often the right one. */
function near(dice: Dice, right: number): number {
  if (dice.chance(0.93)) return right
  return dice.chance(0.5)
    ? Math.max(0, right + dice.pick([-1, 1]))
    : Number(dice.pick(edges.filter((edge) => typeof edge === 'number' && edge >= 0)))
}

const rootOf: Record<LiveKind | 'log', string> = {
  counter: 'cells',
  set: 'cells',
  register: 'cells',
  text: 'text',
  json: 'json',
  log: 'entries',
}

/** An update written bit by bit: mostly by the rules of its kind, and against any of them at times. */
function handMade(dice: Dice, kind: LiveKind | 'log', clocks: ReadonlyMap<number, number>): Uint8Array {
  const anyClient = (): number => (dice.chance(0.6) ? own : dice.pick([rival, ...others, 0, 1, 2 ** 53 - 1]))
  return encoding.encode((encoder) => {
    const uint = (value: number): void => encoding.writeVarUint(encoder, value)
    const clocked = (): void => {
      const client = anyClient()
      uint(client)
      uint(dice.below(Math.max(1, (clocks.get(client) ?? 0) + (dice.chance(0.1) ? 2 : 0))))
    }
    const count = dice.pick([0, 1, 1, 2, 3, 5])
    uint(near(dice, count === 0 ? 0 : 1))
    if (count > 0) {
      uint(near(dice, count))
      uint(near(dice, own))
      let clock = near(dice, clocks.get(own) ?? 0)
      uint(clock)
      for (let left = count; left > 0; left--) clock += writeStruct(clock)
    }
    const clients = dice.pick([0, 0, 1, 2])
    uint(near(dice, clients))
    for (const client of [own, rival].slice(0, clients)) {
      uint(near(dice, client))
      const ranges = dice.pick([1, 1, 2])
      uint(near(dice, ranges))
      for (let at = 0, left = ranges; left > 0; left--) {
        const clock = at + dice.below(2)
        const length = 1 + dice.below(3)
        uint(near(dice, clock))
        uint(near(dice, length))
        at = clock + length + 1
      }
    }
    if (dice.chance(0.02)) encoding.writeUint8Array(encoder, dice.bytes(3))

    /** Returns the clocks that it takes. */
    function writeStruct(clock: number): number {
      const isCells = rootOf[kind] === 'cells'
      const type = near(dice, kind === 'text' ? 4 : kind === 'log' ? 8 : isCells ? 3 : dice.pick([7, 8])) & 31
      const chained = isCells || kind === 'log'
      const hasOrigin = chained && dice.chance(0.95) ? clock > 0 : dice.chance(0.5)
      const hasRight = dice.chance(chained ? 0.02 : 0.3)
      const isKeyed = kind === 'json' ? dice.chance(0.7) : dice.chance(0.02)
      encoding.writeUint8(encoder, type | (hasOrigin ? 128 : 0) | (hasRight ? 64 : 0) | (isKeyed ? 32 : 0))
      if (hasOrigin && chained && dice.chance(0.95)) {
        uint(own)
        uint(near(dice, clock - 1))
      } else if (hasOrigin) clocked()
      if (hasRight) clocked()
      if (!hasOrigin && !hasRight) {
        const inRoot = kind !== 'json' || dice.chance(0.5)
        uint(near(dice, inRoot ? 1 : 0))
        if (inRoot) encoding.writeVarString(encoder, dice.chance(0.96) ? rootOf[kind] : dice.pick(trickyTexts))
        else clocked()
        if (isKeyed) encoding.writeVarString(encoder, dice.chance(0.9) ? dice.pick(keys) : dice.pick(trickyTexts))
      }
      return writeContent(type)
    }

    function writeContent(type: number): number {
      if (type === 3) {
        encoding.writeVarUint8Array(encoder, drawCell())
        return 1
      }
      if (type === 4) {
        const text = dice.pick(['x', 'some words', '😀😀', 'e\u0301', '\ufeff', ...trickyTexts])
        encoding.writeVarString(encoder, text)
        return text.length
      }
      if (type === 7) {
        uint(near(dice, dice.below(2)))
        return 1
      }
      const values = dice.pick([1, 1, 1, 2, 4])
      uint(near(dice, values))
      for (let left = values; left > 0; left--) writeAny()
      return values
    }

    function writeAny(): void {
      if (dice.chance(0.03)) encoding.writeUint8Array(encoder, drawRawAny(dice))
      else
        encoding.writeAny(
          encoder,
          (kind === 'log'
            ? drawEntryJson(dice)
            : dice.chance(0.9)
              ? dice.pick([1, 'x', null, true, 0.5])
              : drawJson(dice)) as encoding.AnyEncodable,
        )
    }

    function drawCell(): Uint8Array {
      const key = dice.chance(0.9) ? dice.pick(keys) : dice.pick(trickyTexts)
      const fields: Encodable[] = [key]
      if (kind === 'counter') fields.push(dice.chance(0.8) ? dice.below(1_000) : dice.pick(edges))
      if (kind === 'register')
        fields.push(
          dice.chance(0.9) ? '{"a":[1,2]}' : dice.pick(['{"b":1,"a":2}', '1.0', '"\\ud800"', '{"__proto__":1}', ...trickyTexts]),
          idToBytes(stamp),
        )
      const bytes = encode(dice.chance(0.97) ? fields : drawValue(dice))
      return dice.chance(0.95) ? bytes : mutateItems(dice, bytes, () => bytes)
    }
  })
}

/** Values that lib0 can write and JSON cannot hold, and some that lie. */
function drawRawAny(dice: Dice): Uint8Array {
  return Buffer.from(
    dice.pick([
      '7f', // undefined
      '7a8000000000000000', // a bigint
      '7403010203', // bytes
      '7b7ff0000000000000', // infinity
      '7b7ff8000000000001', // not a number
      '7c7fc00000',
      '7d40', // minus nothing
      '7b8000000000000000',
      '7dffffffffffffffffff01', // beyond every integer
      '7601095f5f70726f746f5f5f7d01', // a key __proto__
      '7602016101016101'.padEnd(18, '7'),
      '75ffffffff0f', // an array of many
      '76ffffffff0f',
      '77ffffffff0f',
      '7702ff61', // text that is not UTF-8
      '7703eda080',
      `${'7501'.repeat(70)}7e`,
      `${'7501'.repeat(20_000)}7e`,
      `${'760161'.repeat(70)}7e`,
    ]),
    'hex',
  )
}

/** An update as large as one can be, or that says it is, in the form that costs its reader most. */
function large(dice: Dice, kind: LiveKind | 'log'): Uint8Array {
  const many = dice.pick([10_000, 65_536, 65_537, 600_000])
  return encoding.encode((encoder) => {
    const uint = (value: number): void => encoding.writeVarUint(encoder, value)
    const begin = (structs: number): void => [1, structs, own, 0].forEach(uint)
    const root = (type: number): void => {
      encoding.writeUint8(encoder, type)
      uint(1)
      encoding.writeVarString(encoder, rootOf[kind])
    }
    dice.pick<() => void>([
      () => {
        begin(many)
        for (let clock = 0; clock < Math.min(many, 200_000); clock++) {
          if (clock === 0) root(kind === 'text' ? 4 : rootOf[kind] === 'cells' ? 3 : 8)
          else {
            encoding.writeUint8(encoder, (kind === 'text' ? 4 : rootOf[kind] === 'cells' ? 3 : 8) | 128)
            uint(own)
            uint(clock - 1)
          }
          if (kind === 'text') encoding.writeVarString(encoder, 'x')
          else if (rootOf[kind] === 'cells') encoding.writeVarUint8Array(encoder, encode([`k${clock}`]))
          else {
            uint(1)
            encoding.writeAny(encoder, kind === 'log' ? { t: '' } : 1)
          }
        }
        uint(0)
      },
      () => {
        uint(0)
        uint(1)
        uint(own)
        uint(many)
        for (let clock = 0; clock < many; clock++) [clock * 2, 1].forEach(uint)
      },
      () => {
        uint(0)
        uint(many)
        for (let client = many; client > 0; client--) [client, 1, 0, 1].forEach(uint)
      },
      () => {
        begin(1)
        root(8)
        uint(many)
        for (let left = many; left > 0; left--) encoding.writeUint8(encoder, 126)
        uint(0)
      },
      () => {
        begin(1)
        root(4)
        encoding.writeVarString(encoder, 'x'.repeat(many * 3))
        uint(0)
      },
      () => {
        begin(1)
        root(3)
        encoding.writeVarUint8Array(encoder, encode(['k', new Uint8Array(many)]))
        uint(0)
      },
    ])()
  })
}

function updateDecoder(kind: LiveKind, weight: number): Decoder {
  const world = drawWorld(kind)
  return {
    name: `update-${kind}`,
    weight,
    draw(dice): Case {
      const { state, clocks, updates, concurrent } = world(dice)
      const honest = dice.pick(updates)
      const isLarge = dice.chance(0.0015)
      const luck = isLarge ? 9 : dice.below(10)
      const small = (): Uint8Array => (luck < 4 ? mutateBytes(dice, honest, () => dice.pick(updates)) : handMade(dice, kind, clocks))
      const input = luck < 1 ? honest : isLarge ? large(dice, kind) : small()
      const pastClock = (client: number): number => clocks.get(client) ?? 0
      const context = { client: own, stamp, pastClock }
      const judge = openLiveDocument(kind, state)
      return {
        input,
        valid: luck < 1,
        decode() {
          const checked = judge.check(input, context)
          if (!checked.ok) return null
          return () => {
            if (isLarge) return
            const document = openLiveDocument(kind, state)
            const changed = new Set(document.apply(input))
            promise(!document.hasPending(), 'nothing is pending')
            promise(document.clock(own) === checked.value.clock, 'the clock is where the check said')
            for (const key of checked.value.keys) promise(changed.has(key) || kind === 'json', `the key ${key} changed`)
            const digest = document.digest()
            const reloaded = openLiveDocument(kind, document.state())
            document.apply(input)
            promise(document.digest() === digest, 'a repetition changes nothing')
            document.apply(concurrent)
            promise(!document.hasPending(), 'nothing is pending after a concurrent update')
            promise(reloaded.digest() === digest, 'a reload has the same digest')
            const reversed = openLiveDocument(kind, state)
            reversed.apply(concurrent)
            reversed.apply(input)
            promise(reversed.digest() === document.digest(), 'two orders have one digest')
          }
        },
      }
    },
  }
}

function drawEntryJson(dice: Dice): Json {
  if (dice.chance(0.05)) return drawJson(dice)
  const text = dice.chance(0.8) ? { t: dice.chance(0.9) ? dice.pick(['noted', '', 'x'.repeat(300)]) : dice.pick(trickyTexts) } : {}
  const data = dice.chance(0.5) ? { d: drawJson(dice) } : {}
  const kind = dice.chance(0.3) ? { k: dice.pick(['note', 'note', ...trickyTexts]) } : {}
  const tags = dice.chance(0.3) ? { g: dice.times(dice.pick([0, 1, 3, 65]), () => dice.pick(['tag', ...trickyTexts])) } : {}
  const time = dice.chance(0.3) ? { m: dice.pick([0, 1_800_000_000_000, 2 ** 48 - 1, 2 ** 48, -1, 1.5]) } : {}
  return {
    ...text,
    ...data,
    ...kind,
    ...tags,
    ...time,
    ...(dice.chance(0.02) ? { [dice.pick(trickyTexts.filter((key) => key !== '__proto__'))]: 1 } : {}),
  }
}

function drawEntry(dice: Dice): EntryContent {
  return {
    text: dice.pick(['', 'noted', '😀', '\ufeffb', 'x'.repeat(200)]),
    ...(dice.chance(0.5) && { data: drawJson(dice) }),
    ...(dice.chance(0.3) && { kind: 'note' }),
    ...(dice.chance(0.3) && { tags: ['a', 'é'] }),
    ...(dice.chance(0.3) && { time: 1_800_000_000_000 }),
  }
}

const drawSegment = pooled('segment', (dice) => {
  const writer = openSegmentWriter(own)
  const before = dice.times(dice.below(4), () => writer.append(dice.times(1 + dice.below(3), () => drawEntry(dice))))
  const entries = dice.times(1 + dice.below(3), () => drawEntry(dice))
  return { before, nextClock: writer.entries, update: writer.append(entries) }
})

const segmentUpdate: Decoder = {
  name: 'update-log',
  weight: 3,
  draw(dice): Case {
    const { before, nextClock, update } = drawSegment(dice)
    const isLarge = dice.chance(0.0015)
    const luck = isLarge ? 9 : dice.below(10)
    const small = (): Uint8Array =>
      luck < 4 ? mutateBytes(dice, update, () => drawSegment(dice).update) : handMade(dice, 'log', new Map([[own, nextClock]]))
    const input = luck < 1 ? update : isLarge ? large(dice, 'log') : small()
    return {
      input,
      valid: luck < 1,
      decode() {
        const entries = readSegmentUpdate(input, own, nextClock)
        if (!entries.ok) return null
        return () => {
          if (isLarge) return
          for (const entry of entries.value) checkEntryContent(entry)
          const again = readAcceptedSegmentUpdate(input, own)
          promise(again.ok && JSON.stringify(again.value) === JSON.stringify(entries.value), 'what was accepted reads the same again')
          const { digest } = segmentDigest([...before, input])
          promise(segmentDigest([...before, input, input]).digest === digest, 'a repetition changes nothing')
          promise(segmentDigestOfYjs([...before, input]) === digest, 'the digest is that of the state that Yjs has')
        }
      },
    }
  },
}

const presence: Decoder = {
  name: 'presence',
  weight: 3,
  draw(dice): Case {
    const json = dice.chance(0.7)
      ? JSON.stringify({ status: dice.pick(trickyTexts.filter((text) => text.isWellFormed())), at: drawJson(dice) })
      : dice.pick([
          'null',
          '[]',
          '1',
          '{"__proto__":{}}',
          '{"a":1e999}',
          '"\\ud800"',
          '{"a":"\\ud800"}',
          '{',
          '['.repeat(2_000),
          `{"a":${'['.repeat(80)}${']'.repeat(80)}}`,
        ])
    const clock = near(dice, 5)
    const made = encoding.encode((encoder) => {
      encoding.writeVarUint(encoder, near(dice, 1))
      encoding.writeVarUint(encoder, near(dice, own))
      encoding.writeVarUint(encoder, clock)
      encoding.writeVarString(encoder, json)
    })
    const input = dice.chance(0.5) ? made : mutateBytes(dice, made, () => dice.bytes(20))
    const known = dice.chance(0.5)
    return {
      input,
      valid: false,
      decode() {
        const board = openPresence({ begin: 0, client: rival, now: () => 1_000 })
        if (known) board.apply(greeting, own)
        const applied = board.apply(input, own)
        if (!applied.ok) return null
        return () => {
          for (const client of board.states().keys()) promise(client === own || client === rival, 'it speaks of one client alone')
          const copy = openPresence({ begin: 0, client: others[0], now: () => 1_000 })
          copy.apply(board.encode([own]), own)
          promise(
            JSON.stringify(copy.states().get(own)?.state ?? null) === JSON.stringify(board.states().get(own)?.state ?? null),
            'what was accepted is told on as it is',
          )
          board.expire(100_000, 1_000)
          promise(!board.states().has(own), 'what was accepted expires')
        }
      },
    }
  },
}

const greeting = ((): Uint8Array => {
  const board = openPresence({ begin: 0, client: own, now: () => 0 })
  board.setLocal({ status: 'here' })
  return board.encode([own])
})()

export const updateDecoders: readonly Decoder[] = [
  updateDecoder('counter', 8),
  updateDecoder('set', 8),
  updateDecoder('register', 8),
  updateDecoder('text', 8),
  updateDecoder('json', 8),
  segmentUpdate,
  presence,
]
