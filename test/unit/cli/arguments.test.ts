import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { amountOf, countOf, durationToMilliseconds, jsonOf, textOf, timeOf } from '../../../src/cli/arguments.ts'
import { columnsOf, localTime, printable, spanOf } from '../../../src/cli/output.ts'

describe('what is typed is read', () => {
  test.each([
    ['250ms', 250],
    ['5s', 5_000],
    ['90m', 5_400_000],
    ['1h', 3_600_000],
    ['2d', 172_800_000],
    ['1w', 604_800_000],
  ])('as a duration: %s', (text, milliseconds) => {
    expect(durationToMilliseconds(text)).toBe(milliseconds)
  })

  test.each([
    ['2026-11-01', '2026-11-01T00:00:00.000Z'],
    ['2026-11-01T09:30:00Z', '2026-11-01T09:30:00.000Z'],
    ['2026-11-01T09:30:00+02:00', '2026-11-01T07:30:00.000Z'],
    ['2h', '2026-11-20T22:00:00.000Z'],
  ])('as a time: %s', (text, iso) => {
    expect(timeOf(text, Date.parse('2026-11-21T00:00:00Z')).toISOString()).toBe(iso)
  })

  test('as an amount of any size that fits', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }), (amount) => {
        expect(amountOf(String(amount))).toBe(amount)
      }),
    )
    expect(amountOf('+3')).toBe(3n)
  })

  test('from standard input, whole', async () => {
    async function* chunks(): AsyncGenerator<Uint8Array> {
      const bytes = Buffer.from('\ufeffça va\n')
      yield bytes.subarray(0, 4)
      yield bytes.subarray(4)
    }
    expect(await textOf('-', chunks())).toBe('\ufeffça va\n')
  })
})

test.each([
  () => durationToMilliseconds('5'),
  () => durationToMilliseconds('-5s'),
  () => durationToMilliseconds('1.5h'),
  () => timeOf('soon', 0),
  () => timeOf('12', 0),
  () => timeOf('2026-13-01', 0),
  () => countOf('x', 0),
  () => countOf('1', 2),
  () => amountOf(''),
  () => amountOf('1e3'),
  () => jsonOf('{'),
])('what cannot be read is refused: %s', (read) => {
  expect(read).toThrow(expect.objectContaining({ code: 'invalid-request' }))
})

describe('what is shown', () => {
  test('holds no control character but newlines and tabs', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const shown = printable(text)
        expect(shown).toHaveLength(text.length)
        expect(shown.replaceAll(/[\n\t]/g, '')).not.toMatch(/\p{Cc}/u)
      }),
    )
  })

  test('is set in columns', () => {
    expect(
      columnsOf([
        ['a', 'bb', 'c'],
        ['aaa', 'b', ''],
      ]),
    ).toBe('a    bb  c\naaa  b')
  })

  test('is in local time and in one unit', () => {
    expect(localTime('2026-11-21T10:33:05Z')).toMatch(/^2026-11-2[012] \d\d:33:05$/)
    expect([5.9, 300, 7_200, 200_000].map(spanOf)).toEqual(['5 s', '5 min', '2 h', '2 d'])
  })
})
