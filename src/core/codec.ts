/**
 * Deterministic CBOR (RFC 8949, section 4.2): the one encoding of everything that is hashed, signed, stored or sent.
 * What is accepted has exactly one encoding, the one that `encode` makes: shortest lengths and integers, well-formed UTF-8;
 * no maps, tags, floats or indefinite lengths, nothing left over. The decoder is our own, since general ones accept more.
 */
import { encode as encodeCbor } from 'cborg'
import { ok, refuse } from './errors.ts'
import type { Result } from './errors.ts'

/** What the formats of this project are built from; numbers are whole. Structures are arrays; there are no maps on the wire. */
export type Encodable = null | boolean | number | bigint | string | Uint8Array | readonly Encodable[]

/** Arrays within arrays. The formats use five; more would let a recursive walk of a decoded value go deeper. */
const depthMax = 16

export function encode(value: Encodable): Uint8Array {
  // cborg gives a Buffer or a plain array as it comes; a Buffer is neither equal to the other nor taken by Yjs.
  const bytes = encodeCbor(value)
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Decodes untrusted bytes; the caller then checks the shape with the functions below. An item can take a hundred times the
 * memory of its bytes: `itemsMax` bounds their number where an input can be large.
 */
export function decode(bytes: Uint8Array, itemsMax: number = Number.POSITIVE_INFINITY): Result<unknown> {
  try {
    return ok(new Reader(bytes, itemsMax).whole())
  } catch (error) {
    if (error instanceof Malformed) return refuse(`not deterministic CBOR: ${error.message}`)
    throw error
  }
}

/** Thrown and caught in this file alone. */
class Malformed extends Error {}

/** The major types (RFC 8949, section 3.1) that the formats use, and the three simple values. */
const major = { uint: 0, negative: 1, bytes: 2, text: 3, array: 4, simple: 7 } as const
const simple = { false: 20, true: 21, null: 22 } as const
/** One for all: an array of its own would cost 200 bytes for the one that it takes in a message. */
const noBytes = new Uint8Array(0)
/** Bytes of text up to which reading character by character costs less than starting the decoder; most texts are keys and names. */
const shortTextBytes = 32
/** A byte order mark is a character like any other: dropping it would give two texts one value. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

class Reader {
  readonly #bytes: Uint8Array
  #offset = 0
  #itemsLeft: number

  constructor(bytes: Uint8Array, itemsMax: number) {
    // Of a Buffer, `slice` would be a view and keep the whole message in memory.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#itemsLeft = itemsMax
  }

  whole(): unknown {
    const value = this.#item(0)
    if (this.#offset < this.#bytes.length) throw new Malformed('something is left over')
    return value
  }

  /** The next item, which lies in `depth` arrays. */
  #item(depth: number): unknown {
    if (this.#itemsLeft-- <= 0) throw new Malformed('too many items')
    const first = this.#bytes[this.#skip(1)] as number
    const info = first & 31
    switch (first >> 5) {
      case major.uint:
        return this.#argument(info)
      case major.negative:
        return negative(this.#argument(info))
      case major.bytes: {
        const length = this.#length(info)
        return length === 0 ? noBytes : this.#bytes.slice(this.#skip(length), this.#offset)
      }
      case major.text:
        return this.#text(this.#length(info))
      case major.array:
        return this.#array(this.#length(info), depth)
      case major.simple:
        if (info === simple.null) return null
        if (info === simple.true || info === simple.false) return info === simple.true
        throw new Malformed('a float, or a simple value that is not used')
      default:
        throw new Malformed('a map or a tag')
    }
  }

  #array(count: number, depth: number): readonly unknown[] {
    if (depth === depthMax) throw new Malformed('nested too deeply')
    const items: unknown[] = []
    for (let left = count; left > 0; left--) items.push(this.#item(depth + 1))
    return items
  }

  #text(length: number): string {
    const from = this.#skip(length)
    const short = length <= shortTextBytes ? this.#ascii(from) : undefined
    if (short !== undefined) return short
    const bytes = this.#bytes.subarray(from, this.#offset)
    try {
      return utf8.decode(bytes)
    } catch {
      throw new Malformed('text that is not UTF-8')
    }
  }

  /** The text from an offset up to here, undefined where it is not all ASCII. */
  #ascii(from: number): string | undefined {
    let text = ''
    for (let at = from; at < this.#offset; at++) {
      const byte = this.#bytes[at] as number
      if (byte > 127) return undefined
      text += String.fromCharCode(byte)
    }
    return text
  }

  /** Passes over so many bytes, which have to be there; returns the offset of the first. */
  #skip(length: number): number {
    const offset = this.#offset
    if (length > this.#bytes.length - offset) throw new Malformed('cut off')
    this.#offset = offset + length
    return offset
  }

  /** Of bytes, text or an array. It never promises more than is left, each item being a byte at least. */
  #length(info: number): number {
    const length = this.#argument(info)
    if (length > this.#bytes.length - this.#offset) throw new Malformed('cut off')
    return Number(length)
  }

  /** An unsigned number of at most four bytes, the greatest first. */
  #number(length: number): number {
    let value = 0
    for (let at = this.#skip(length); at < this.#offset; at++) value = value * 256 + (this.#bytes[at] as number)
    return value
  }

  #argument(info: number): number | bigint {
    if (info < 24) return info
    switch (info) {
      case 24:
        return atLeast(24, this.#number(1))
      case 25:
        return atLeast(2 ** 8, this.#number(2))
      case 26:
        return atLeast(2 ** 16, this.#number(4))
      case 27: {
        const [high, low] = [atLeast(1, this.#number(4)), this.#number(4)]
        const value = high * 2 ** 32 + low
        return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(low)
      }
      default:
        throw new Malformed('an indefinite length')
    }
  }
}

/** `value`, which must be too great for the next shorter form. */
function atLeast(least: number, value: number): number {
  if (value < least) throw new Malformed('a number in more bytes than it needs')
  return value
}

function negative(argument: number | bigint): number | bigint {
  return typeof argument === 'number' && argument < Number.MAX_SAFE_INTEGER ? -1 - argument : -1n - BigInt(argument)
}

/** `value` as an array of exactly `length` items, else undefined. */
export function asTuple(value: unknown, length: number): readonly unknown[] | undefined {
  return Array.isArray(value) && value.length === length ? (value as readonly unknown[]) : undefined
}

/** `value` as an array of at most `lengthMax` items that all satisfy `isItem`, else undefined. */
export function asListOf<T>(value: unknown, lengthMax: number, isItem: (item: unknown) => item is T): readonly T[] | undefined {
  return Array.isArray(value) && value.length <= lengthMax && value.every((item) => isItem(item)) ? value : undefined
}

/** Whether `value` is bytes, of exactly `length` where one is given. */
export function isBytes(value: unknown, length?: number): value is Uint8Array {
  return value instanceof Uint8Array && (length === undefined || value.length === length)
}

/** Whether `value` is a whole number in 0..`max` (2^53-1 unless told). */
export function isUint(value: unknown, max: number = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max
}

/** Whether `value` is text of at most `lengthMax` UTF-16 units. */
export function isText(value: unknown, lengthMax: number): value is string {
  return typeof value === 'string' && value.length <= lengthMax
}
