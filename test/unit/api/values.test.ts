import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bigintToInteger, integerToBigint, timeToMilliseconds } from '../../../src/api/values.ts'

describe('64-bit integers', () => {
  test('survive the trip through JSON', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        expect(integerToBigint(JSON.parse(JSON.stringify(bigintToInteger(value))) as number | string)).toBe(value)
      }),
    )
  })

  test('are numbers up to 2^53-1 and text beyond', () => {
    expect(bigintToInteger(2n ** 53n - 1n)).toBe(9_007_199_254_740_991)
    expect(bigintToInteger(2n ** 53n)).toBe('9007199254740992')
    expect(bigintToInteger(-(2n ** 53n))).toBe('-9007199254740992')
  })

  test.each([1.5, NaN, Infinity, 2 ** 53, '1.5', '', 'ten', '0x10', ' 1'])('refuse %s', (value) => {
    expect(() => integerToBigint(value)).toThrow(expect.objectContaining({ code: 'invalid-request' }))
  })
})

describe('points in time', () => {
  test.each([
    ['2026-11-01', Date.UTC(2026, 10, 1)],
    ['2026-11-01T09:30Z', Date.UTC(2026, 10, 1, 9, 30)],
    ['2026-11-01T09:30:15.250+02:00', Date.UTC(2026, 10, 1, 7, 30, 15, 250)],
    ['2024-02-29', Date.UTC(2024, 1, 29)],
    [5, 5],
  ])('%s', (value, milliseconds) => {
    expect(timeToMilliseconds(value)).toBe(milliseconds)
  })

  test.each([
    '',
    'yesterday',
    '2026',
    '2026-13-01',
    '2026-02-31',
    '2026-02-31T00:00:00Z',
    '2026-11-01T25:00:00Z',
    '2026-11-01T09:30:00',
    'Nov 1 2026',
  ])('refuse %j', (value) => {
    expect(() => timeToMilliseconds(value)).toThrow(expect.objectContaining({ code: 'invalid-request' }))
  })
})
