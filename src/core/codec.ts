/**
 * Deterministic CBOR (RFC 8949, section 4.2): the one encoding of everything that is hashed, signed, stored or sent.
 * Decoding is strict: shortest integers only, no indefinite lengths, no tags, no NaN or infinity, nothing left over.
 */
import { decode as decodeCbor, encode as encodeCbor } from 'cborg'
import { ok, refuse } from './errors.ts'
import type { Result } from './errors.ts'

/** What the formats of this project are built from. Structures are arrays; there are no maps on the wire. */
export type Encodable = null | boolean | number | bigint | string | Uint8Array | readonly Encodable[]

export function encode(value: Encodable): Uint8Array {
  // cborg gives a Buffer or a plain array as it comes; a Buffer is neither equal to the other nor taken by Yjs.
  const bytes = encodeCbor(value)
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Decodes untrusted bytes; the caller then checks the shape with the functions below. */
export function decode(bytes: Uint8Array): Result<unknown> {
  try {
    return ok(
      decodeCbor(bytes, { strict: true, allowIndefinite: false, allowUndefined: false, allowInfinity: false, allowNaN: false }) as unknown,
    )
  } catch (error) {
    return refuse(`not deterministic CBOR: ${error instanceof Error ? error.message : String(error)}`)
  }
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
