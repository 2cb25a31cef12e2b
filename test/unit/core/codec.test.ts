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
    fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n - 1n }).map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value)),
    fc.string({ unit: 'binary' }),
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
    ['a fraction', 'f93e00'],
    ['a whole number as a float', 'f93c00'],
    ['a simple value that is not used', 'e0'],
    ['a tag', 'c000'],
    ['a map', 'a0'],
    ['a map that would pass for text', 'a168746f537472696e6701'],
    ['text that is not UTF-8', '61ff'],
    ['half a surrogate pair', '63eda080'],
    ['an array that promises more than there is', '9affffffff00'],
    ['bytes that promise more than there is', '5bffffffffffffffff00'],
    ['arrays without end', '81'.repeat(100_000)],
  ])('refuses %s without throwing', (_what, hex) => {
    expect(decode(Buffer.from(hex, 'hex')).ok).toBe(false)
  })

  it('keeps a byte order mark, which is a character like any other', () => {
    const text = '\ufeffa text that is longer than any short way to read it'
    expect(decode(encode(text))).toEqual({ ok: true, value: text })
  })

  it('reads arrays that are nested sixteen deep and no deeper', () => {
    expect(decode(Buffer.from(`${'81'.repeat(16)}00`, 'hex')).ok).toBe(true)
    expect(decode(Buffer.from(`${'81'.repeat(17)}00`, 'hex')).ok).toBe(false)
  })

  it('refuses more items than its caller allows for', () => {
    const bytes = encode([1, [2, 3]])
    expect(decode(bytes, 5)).toEqual({ ok: true, value: [1, [2, 3]] })
    expect(decode(bytes, 4).ok).toBe(false)
  })

  it('has one encoding for whatever it reads', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (raw) => {
        const decoded = decode(raw)
        if (decoded.ok) expect(encode(decoded.value as Encodable)).toEqual(raw)
      }),
      { numRuns: 20_000 },
    )
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
