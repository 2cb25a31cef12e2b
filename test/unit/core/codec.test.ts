import { describe, expect, it } from 'vitest'
import { asTuple, bytesToId, decode, encode, idToBytes, isUint } from '../../../src/core/index.ts'
import type { Encodable } from '../../../src/core/index.ts'
import { bytes, fc } from './arbitraries.ts'

const encodable: fc.Arbitrary<Encodable> = fc.letrec<{ value: Encodable }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.string(),
    fc.uint8Array({ maxLength: 20 }),
    fc.array(tie('value'), { maxLength: 5 }),
  ),
})).value

describe('deterministic CBOR', () => {
  it('gives back what went in, and the same bytes again', () => {
    fc.assert(
      fc.property(encodable, (value) => {
        const encoded = encode(value)
        const decoded = decode(encoded)
        expect(decoded).toEqual({ ok: true, value })
        expect(encode((decoded as { value: Encodable }).value)).toEqual(encoded)
      }),
    )
  })

  it.each([
    ['an integer longer than it need be', '1800'],
    ['an array of indefinite length', '9f01ff'],
    ['undefined', 'f7'],
    ['something left over', '0102'],
    ['a cut off text', '6361'],
    ['nothing', ''],
    ['not a number', 'f97e00'],
    ['a tag', 'c000'],
    ['arrays without end', '81'.repeat(100_000)],
  ])('refuses %s without throwing', (_what, hex) => {
    expect(decode(Buffer.from(hex, 'hex')).ok).toBe(false)
  })

  it('refuses or reads any bytes at all without throwing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
        expect(typeof decode(raw).ok).toBe('boolean')
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('shapes of decoded values', () => {
  it('tell whole numbers within a bound from everything else', () => {
    expect([0, 5, 10].map((value) => isUint(value, 10))).toEqual([true, true, true])
    expect([-1, 11, 1.5, Number.NaN, '1', null, 1n].map((value) => isUint(value, 10))).toEqual([
      false,
      false,
      false,
      false,
      false,
      false,
      false,
    ])
  })

  it('are arrays of the length that was asked for', () => {
    expect(asTuple([1, 2], 2)).toEqual([1, 2])
    expect(asTuple([1, 2], 3)).toBeUndefined()
    expect(asTuple({ length: 2 }, 2)).toBeUndefined()
  })
})

describe('identifiers', () => {
  it('are their bytes as hexadecimal, and back', () => {
    fc.assert(
      fc.property(bytes(32), (raw) => {
        expect(Buffer.from(idToBytes(bytesToId(raw))).equals(raw)).toBe(true)
      }),
    )
  })
})
