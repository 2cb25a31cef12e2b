/**
 * Messages gone wrong: a decoded message as a tree of which single items are replaced, repeated, lied about or written in
 * another form, and bytes of which some are changed. The writer here has none of the scruples of the real one.
 */
import { decode, encode } from '../../../src/core/index.ts'
import type { Encodable } from '../../../src/core/index.ts'
import type { Dice } from './dice.ts'

/** Bytes to be decoded, and whether they were made by the rules. */
export interface Draft {
  readonly bytes: Uint8Array
  readonly valid: boolean
}

type Item = Exclude<Encodable, readonly Encodable[]>
/** `raw`: bytes that stand there as they are. */
type Node = { readonly raw: Uint8Array } | { readonly item: Item } | { readonly list: Node[] }

function toNode(value: Encodable): Node {
  return isList(value) ? { list: value.map(toNode) } : { item: value }
}

function isList(value: Encodable): value is readonly Encodable[] {
  return Array.isArray(value)
}

function writeNode(node: Node): Uint8Array {
  if ('raw' in node) return node.raw
  if ('item' in node)
    return node.item instanceof Uint8Array ? Buffer.concat([head(2, BigInt(node.item.length)), node.item]) : encode(node.item)
  return Buffer.concat([head(4, BigInt(node.list.length)), ...node.list.map(writeNode)])
}

/** The head of an item: in the shortest form, or in `width` (0 to 4: none, 1, 2, 4 or 8 bytes), fit or not. */
export function head(major: number, argument: bigint, width?: number): Uint8Array {
  const shortest = argument < 24n ? 0 : argument < 1n << 8n ? 1 : argument < 1n << 16n ? 2 : argument < 1n << 32n ? 3 : 4
  const wide = width ?? shortest
  if (wide === 0) return Uint8Array.of((major << 5) | Number(argument % 24n))
  const length = 2 ** (wide - 1)
  const bytes = Buffer.alloc(9)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, argument), 1)
  return Buffer.concat([Uint8Array.of((major << 5) | (23 + wide)), bytes.subarray(9 - length)])
}

/** Whole numbers at the edges of their widths. */
export const edges: readonly (number | bigint)[] = [
  0,
  1,
  23,
  24,
  255,
  256,
  65_535,
  65_536,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  -1,
  -24,
  -25,
  -256,
  -(2 ** 31),
  -(2 ** 53) + 1,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
  -(2n ** 53n),
  -(2n ** 63n),
  -(2n ** 64n),
]

/** Texts that trip up what handles them. */
export const trickyTexts: readonly string[] = [
  '',
  ' ',
  '\u0000',
  '\u001b[31m',
  '\ufeff',
  '\ufeffbom',
  '\u202egnp.exe',
  'e\u0301',
  '👩‍👩‍👧',
  '\u{10ffff}',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'then',
  'length',
  '..',
  '../../etc/passwd',
  '/',
  'a//b',
  'NaN',
  '-0',
  '1e999',
  'null',
  'x'.repeat(65),
  'é'.repeat(1_025),
]

/** Items that the format has no place for, or that lie. Each stands for one item where the reader believes it. */
const foreign: readonly Uint8Array[] = [
  'a0', // an empty map
  'a168746f537472696e6701', // a map that cannot be made text
  'a1695f5f70726f746f5f5ff6', // a map with the key __proto__
  'bf616101ff', // a map of indefinite length
  'f93c00', // one, as a float
  'f98000', // minus nothing
  'fb3ff199999999999a',
  'f97c00', // infinity
  'f97e00', // not a number
  'f7', // undefined
  'f8ff',
  'c000', // a tag
  'c249010000000000000000', // 2^64, as a tagged number
  '9f01ff', // an array of indefinite length
  '5f4101ff',
  '7f6161ff',
  'ff',
  '1c', // a reserved length
  '61ff', // text that is not UTF-8
  '62c080', // nothing, in two bytes
  '63eda080', // half a surrogate pair
  '64f4908080', // beyond Unicode
  '9affffffff', // many items, all missing
  '9bffffffffffffffff',
  'bb7fffffffffffffff',
  '5affffffff',
  '7bffffffffffffffff',
  '1800', // nothing, in two bytes
  '190001',
  '1b0000000000000001',
].map((hex) => Buffer.from(hex, 'hex'))

/** Any value that is encoded by the rules. */
export function drawValue(dice: Dice, depth: number = 2): Encodable {
  switch (dice.below(depth > 0 ? 8 : 6)) {
    case 0:
      return dice.pick([null, true, false])
    case 1:
      return dice.pick(edges)
    case 2:
      return dice.below(1_000)
    case 3:
      return dice.bytes(dice.pick([0, 1, 8, 15, 16, 17, 31, 32, 33, 64, 65, 200]))
    case 4:
      return dice.pick(trickyTexts)
    case 5:
      return String.fromCharCode(...dice.times(dice.below(12), () => 32 + dice.below(90)))
    default:
      return dice.times(dice.below(4), () => drawValue(dice, depth - 1))
  }
}

/**
 * A message as it might come from outside: one time in six valid as it is, else changed in its items, in its bytes, or both; and
 * sometimes anything at all. `other` is what halves are taken from.
 */
export function mutated(dice: Dice, draft: Draft, other: () => Uint8Array): Draft {
  const luck = dice.below(60)
  if (luck < 10) return draft
  if (luck < 40) return changed(draft, mutateItems(dice, draft.bytes, other))
  if (luck < 55) return changed(draft, mutateBytes(dice, draft.bytes, other))
  if (luck < 58) return changed(draft, mutateBytes(dice, mutateItems(dice, draft.bytes, other), other))
  return changed(draft, dice.pick([bomb, garbage])(dice))
}

function changed(draft: Draft, bytes: Uint8Array): Draft {
  return Buffer.compare(draft.bytes, bytes) === 0 ? draft : { bytes, valid: false }
}

/** Changes one to three items of a message. */
export function mutateItems(dice: Dice, message: Uint8Array, other: () => Uint8Array): Uint8Array {
  const decoded = decode(message)
  if (!decoded.ok) return mutateBytes(dice, message, other)
  const root = { list: [toNode(decoded.value as Encodable)] }
  for (let left = 1 + dice.below(3); left > 0; left--) {
    const lists = listsOf(root)
    const list = dice.chance(0.3) ? lists.at(-1)! : dice.pick(lists)
    mutateList(dice, list, root, other)
  }
  return Buffer.concat(root.list.map(writeNode))
}

/** All lists in a tree, the outer ones first. A list that was blown up has more alike items than are worth a visit. */
function listsOf(node: Node): Node[][] {
  return 'list' in node ? [node.list, ...node.list.slice(0, 200).flatMap(listsOf)] : []
}

function mutateList(dice: Dice, list: Node[], root: Node, other: () => Uint8Array): void {
  const at = dice.below(list.length)
  const node = list[at] ?? { item: null }
  switch (dice.below(13)) {
    case 0:
      list[at] = toNode(drawValue(dice))
      return
    case 1:
      list[at] = { item: dice.pick(edges) }
      return
    case 2:
      list[at] = { item: dice.pick(trickyTexts) }
      return
    case 3:
      list[at] = { raw: dice.pick(foreign) }
      return
    case 4:
      list[at] = lie(dice, node)
      return
    case 5:
      list[at] = { raw: bomb(dice) }
      return
    case 6:
      list.splice(at, 1)
      return
    case 7:
      list.splice(at, 0, node)
      return
    case 8: {
      const copy = { raw: writeNode(node) }
      list.push(...Array.from({ length: dice.chance(0.1) ? dice.pick([65, 257, 1_025]) : 2 }, () => copy))
      return
    }
    case 9:
      list.reverse()
      return
    case 10: {
      const donor = dice.pick(listsOf(dice.chance(0.5) ? root : { list: [asNode(other())] }))
      list[at] = { raw: writeNode(dice.pick(donor) ?? node) }
      return
    }
    case 11:
      list.splice(at, 0, toNode(drawValue(dice)))
      return
    default:
      list[at] = nudged(dice, node)
  }
}

function asNode(message: Uint8Array): Node {
  const decoded = decode(message)
  return decoded.ok ? toNode(decoded.value as Encodable) : { raw: message }
}

/** The item with a head that says something else about it, or says it in another form. */
function lie(dice: Dice, node: Node): Node {
  const bytes = writeNode(node)
  const major = bytes[0]! >> 5
  const [content, length] = contentOf(node, bytes)
  const claimed = dice.pick([
    length,
    length,
    length + 1n,
    length > 0n ? length - 1n : 0n,
    length * 2n,
    2n ** 32n - 1n,
    2n ** 53n,
    2n ** 64n - 1n,
  ])
  return {
    raw: Buffer.concat([head(dice.chance(0.9) ? major : dice.below(8), claimed, dice.chance(0.5) ? dice.below(5) : undefined), content]),
  }
}

function contentOf(node: Node, bytes: Uint8Array): readonly [Uint8Array, bigint] {
  if ('list' in node) return [Buffer.concat(node.list.map(writeNode)), BigInt(node.list.length)]
  if ('item' in node && node.item instanceof Uint8Array) return [node.item, BigInt(node.item.length)]
  if ('item' in node && typeof node.item === 'string') return [Buffer.from(node.item), BigInt(Buffer.byteLength(node.item))]
  if ('item' in node && (typeof node.item === 'number' || typeof node.item === 'bigint')) {
    return [new Uint8Array(0), BigInt(node.item) >= 0n ? BigInt(node.item) : -1n - BigInt(node.item)]
  }
  return [bytes.subarray(1), BigInt(bytes[0]! & 31)]
}

/** The item, off by a little. */
function nudged(dice: Dice, node: Node): Node {
  if (!('item' in node)) return node
  const { item } = node
  if (typeof item === 'number') return { item: item + dice.pick([-1, 1]) }
  if (typeof item === 'boolean') return { item: !item }
  if (typeof item === 'string') return { item: dice.pick([`${item}x`, item.slice(1), item.toUpperCase(), `${item}/`, `\ufeff${item}`]) }
  if (!(item instanceof Uint8Array)) return { item: 0 }
  return { item: mutateBytes(dice, item, () => dice.bytes(item.length)) }
}

/** Deep nesting, long lists of nothing, and long texts, each in few bytes or many. */
export function bomb(dice: Dice): Uint8Array {
  const count = dice.chance(0.02) ? dice.pick([20_000, 200_000]) : dice.pick([17, 65, 1_000])
  const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte)
  return dice.pick([
    () => Buffer.concat([filled(count, 0x81), Uint8Array.of(0)]),
    () => filled(count, 0x81),
    () => filled(count, 0x82),
    () => filled(count, 0x9f),
    () => filled(count, 0xc0),
    () => Buffer.concat([head(4, BigInt(count)), filled(count, dice.pick([0x80, 0, 0xf6, 0x40, 0x60]))]),
    () => Buffer.concat([head(3, BigInt(count)), filled(count, dice.pick([0x61, 0xff, 0]))]),
    () => Buffer.concat([head(2, BigInt(count)), filled(count, 0x81)]),
  ])()
}

function garbage(dice: Dice): Uint8Array {
  return dice.bytes(dice.pick([0, 1, 2, 3, 8, 40, 300]))
}

/** Changes bytes, knowing nothing of what they mean. */
export function mutateBytes(dice: Dice, input: Uint8Array, other: () => Uint8Array): Uint8Array {
  let bytes = Uint8Array.from(input)
  for (let left = 1 + dice.below(3); left > 0; left--) {
    const at = dice.below(bytes.length + 1)
    const span = dice.below(Math.min(bytes.length - at, 40) + 1)
    switch (dice.below(8)) {
      case 0:
      case 1:
        if (at < bytes.length) bytes[at]! ^= 1 << dice.below(8)
        break
      case 2:
        if (at < bytes.length) bytes[at] = dice.pick([0, 1, 0x7f, 0x80, 0xff, 0x1b, 0x5b, 0x9b, 0xbf, 0xf6, dice.below(256)])
        break
      case 3:
        bytes = bytes.slice(0, at)
        break
      case 4:
        bytes = joined(bytes, dice.chance(0.5) ? dice.bytes(1 + dice.below(20)) : input)
        break
      case 5: {
        const donor = other()
        bytes = joined(bytes.subarray(0, at), donor.subarray(dice.chance(0.5) ? Math.min(at, donor.length) : dice.below(donor.length + 1)))
        break
      }
      case 6:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(at + span))
        break
      default:
        bytes = joined(bytes.subarray(0, at + span), bytes.subarray(at))
    }
  }
  return bytes
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(first.length + second.length)
  bytes.set(first)
  bytes.set(second, first.length)
  return bytes
}
