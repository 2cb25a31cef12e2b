/** Arbitrary values that several rooms' properties are made of. */
import * as fc from 'fast-check'

export { fc }

/** `length` bytes. */
export function bytes(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length })
}

/** An identifier of `length` bytes, as lower-case hexadecimal. */
export function id<Id extends string>(length: number): fc.Arbitrary<Id> {
  return bytes(length).map((raw) => Buffer.from(raw).toString('hex') as Id)
}
