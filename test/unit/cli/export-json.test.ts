/** JSON of exports: one text for a value, and patches of bounded size that make it. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Json } from '../../../src/api/client.ts'
import { jsonToPatches, jsonToText } from '../../../src/cli/export-json.ts'
import { jsonPatch } from '../../../src/document/json-patch.ts'

type JsonObject = { readonly [key: string]: Json }
const value = fc.jsonValue({ stringUnit: 'binary', maxDepth: 4 }) as fc.Arbitrary<Json>
const object = fc.dictionary(fc.string(), value) as fc.Arbitrary<JsonObject>

function shuffled(from: Json): Json {
  if (typeof from !== 'object' || from === null) return from
  if (Array.isArray(from)) return (from as readonly Json[]).map(shuffled)
  return Object.fromEntries(
    Object.entries(from)
      .toReversed()
      .map(([key, member]) => [key, shuffled(member)]),
  )
}

test('a value has one text, which says the same value, whatever the order of its keys', () => {
  fc.assert(
    fc.property(value, fc.constantFrom(undefined, '  '), (given, indent) => {
      const text = jsonToText(given, indent)
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(given)))
      expect(jsonToText(shuffled(given), indent)).toBe(text)
    }),
  )
})

test('with an indent it is what JSON.stringify writes of sorted keys', () => {
  const given = { a: [1, { b: [], c: {} }], d: 'x' }
  expect(jsonToText(given, '  ')).toBe(JSON.stringify(given, null, 2))
})

test('the patches of a document make it, whatever was there', () => {
  fc.assert(
    fc.property(object, object, (before, after) => {
      let made: Json = before
      for (const patch of jsonToPatches(after)) made = jsonPatch(made, patch)
      expect(made).toEqual(after)
    }),
  )
})

test('a document of any size goes in patches that a daemon takes', () => {
  const large = {
    'list': Array.from({ length: 3_000 }, (_, index) => ({ index, text: 'x'.repeat(300) })),
    'a/b~c': Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`key ${index}`, 'y'.repeat(200)])),
  }
  let made: Json = {}
  let count = 0
  for (const patch of jsonToPatches(large)) {
    expect(JSON.stringify(patch).length).toBeLessThan(600 << 10)
    expect(patch.length).toBeLessThanOrEqual(1_000)
    made = jsonPatch(made, patch)
    count += 1
  }
  expect(made).toEqual(large)
  expect(count).toBeGreaterThan(4)
})
