import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseJson, utf8ToText } from '../../../src/api/json-text.ts'

describe('parsing JSON from outside', () => {
  test('gives what JSON.parse gives, for any value without a forbidden key', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (text) => {
        fc.pre(!text.includes('__proto__'))
        expect(parseJson(text)).toEqual(JSON.parse(text))
      }),
    )
  })

  test.each([
    ['nothing', '', 'this is not JSON'],
    ['half an object', '{"a":', 'this is not JSON'],
    ['two values', '1 2', 'this is not JSON'],
    ['not a number', 'NaN', 'this is not JSON'],
    ['a key __proto__', '{"__proto__":{"admin":true}}', '__proto__'],
    ['an escaped key __proto__', '{"\\u005f_proto__":1}', '__proto__'],
    ['half of a surrogate pair', '{"text":"\\ud83d"}', 'surrogate'],
    ['half of a surrogate pair in a key', '{"\\udc00":1}', 'surrogate'],
    ['nesting beyond any limit', '['.repeat(100_000), 'nested'],
    ['nesting of objects', '{"a":'.repeat(80) + '1' + '}'.repeat(80), 'nested'],
  ])('refuses %s', (_, text, reason) => {
    expect(() => parseJson(text)).toThrow(
      expect.objectContaining({ code: 'invalid-request', message: expect.stringContaining(reason) as string }),
    )
  })

  test('takes a whole surrogate pair, escaped or not, and an escaped backslash before u', () => {
    expect(parseJson('["\\ud83d\\ude00","😀","\\\\ud83d"]')).toEqual(['😀', '😀', '\\ud83d'])
  })

  test('does not count brackets inside of texts as nesting', () => {
    const text = `["${'[{'.repeat(500)}\\"${'['.repeat(500)}"]`
    expect(parseJson(text)).toHaveLength(1)
  })

  test('does not replace bytes that are not UTF-8', () => {
    expect(() => utf8ToText(Buffer.from([0x22, 0xff, 0x22]))).toThrow('not UTF-8')
    expect(utf8ToText(Buffer.from('žluťoučký'))).toBe('žluťoučký')
  })
})
