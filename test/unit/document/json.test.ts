import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { stampOf } from '../../../src/core/index.ts'
import { canonicalJson, openLiveDocument } from '../../../src/document/index.ts'
import type { Edit, EditContext, Json, JsonPatchOperation, LiveDocument } from '../../../src/document/index.ts'
import { jsonPatch, mergePatch } from '../../../src/document/json-patch.ts'
import { jsonEquals } from '../../../src/document/json-value.ts'
import { expectConvergence, runGroup, seeds } from './group.ts'
import type { Dice, Replica } from './group.ts'

const context = (client: number): EditContext => ({ client, stamp: stampOf(1, 0), textVersion: () => undefined })

function jsonOf(document: LiveDocument): Json {
  const value = document.value()
  return value.kind === 'json' ? value.value : null
}

const keys = ['a', 'b', 'ü', '1', 'a/b', 'm~n', '', 'constructor']

function drawJson(dice: Dice, depth: number): Json {
  const luck = dice.below(depth > 0 ? 10 : 6)
  if (luck < 6) return dice.pick<Json>([null, true, false, 0, 1.5, -7, 2 ** 40, '', 'x', '😀'])
  if (luck < 8) return Array.from({ length: dice.below(4) }, () => drawJson(dice, depth - 1))
  return Object.fromEntries(Array.from({ length: dice.below(4) }, () => [dice.pick(keys), drawJson(dice, depth - 1)]))
}

function drawMerge(dice: Dice): Edit {
  return {
    type: 'json.merge',
    patch: Object.fromEntries(Array.from({ length: 1 + dice.below(3) }, () => [dice.pick(keys), drawJson(dice, 3)])),
  }
}

/** One operation of JSON Patch that fits the value. */
function drawOperation(dice: Dice, target: Json): JsonPatchOperation {
  let path = ''
  let value = target
  for (;;) {
    const isArray = Array.isArray(value)
    const children = typeof value === 'object' && value !== null ? Object.keys(value) : []
    if (children.length > 0 && (path === '' ? dice.chance(0.7) : dice.chance(0.5))) {
      const key = dice.pick(children)
      path += `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
      value = (value as { [key: string]: Json })[key]!
      continue
    }
    if (typeof value === 'object' && value !== null && (path === '' || dice.chance(0.5))) {
      const key = isArray ? `${dice.below(children.length + 1)}` : dice.pick(keys).replaceAll('~', '~0').replaceAll('/', '~1')
      return { op: 'add', path: `${path}/${key}`, value: drawJson(dice, 2) }
    }
    return dice.chance(0.5) ? { op: 'replace', path, value: drawJson(dice, 2) } : { op: 'remove', path }
  }
}

describe('json documents', () => {
  test.each(seeds(30))('replicas converge on random patches, and a patch does at its writer exactly what it says (seed %i)', (seed) => {
    const draw = (dice: Dice, replica: Replica): readonly Edit[] => {
      const before = jsonOf(replica.document)
      const edits: Edit[] = []
      let expected = before
      for (let count = 1 + dice.below(3); count > 0; count--) {
        const edit: Edit = dice.chance(0.5) ? drawMerge(dice) : { type: 'json.patch', patch: [drawOperation(dice, expected)] }
        edits.push(edit)
        expected =
          edit.type === 'json.merge' ? mergePatch(expected, edit.patch) : jsonPatch(expected, edit.type === 'json.patch' ? edit.patch : [])
      }
      const copy = openLiveDocument('json', replica.document.state())
      copy.edit(context(999_999), (apply) => edits.forEach(apply))
      expect(copy.value()).toEqual({ kind: 'json', value: expected })
      expect(openLiveDocument('json', copy.state()).value()).toEqual({ kind: 'json', value: expected })
      return edits
    }
    expectConvergence(runGroup('json', seed, 60, draw), seed)
  })

  test('concurrent patches of one nested object both hold', () => {
    const a = openLiveDocument('json', null)
    const b = openLiveDocument('json', null)
    b.apply(a.edit(context(1), (apply) => apply({ type: 'json.merge', patch: { t1: { title: 'write', tags: ['x'] } } }))!)
    const fromA = a.edit(context(1), (apply) => apply({ type: 'json.merge', patch: { t1: { status: 'done' } } }))!
    const fromB = b.edit(context(2), (apply) => apply({ type: 'json.patch', patch: [{ op: 'add', path: '/t1/tags/-', value: 'y' }] }))!
    a.apply(fromB)
    b.apply(fromA)
    expect(jsonOf(a)).toEqual({ t1: { title: 'write', tags: ['x', 'y'], status: 'done' } })
    expect(b.digest()).toBe(a.digest())
  })

  test('what a patch leaves as it was is not written again', () => {
    const document = openLiveDocument('json', null)
    const value = { a: 1, b: { c: [1, { d: 2 }], e: 'x' } }
    document.edit(context(1), (apply) => apply({ type: 'json.merge', patch: value }))
    expect(document.edit(context(1), (apply) => apply({ type: 'json.merge', patch: value }))).toBeNull()
    expect(
      document.edit(context(1), (apply) => apply({ type: 'json.patch', patch: [{ op: 'replace', path: '/b', value: value.b }] })),
    ).toBeNull()
    const clock = document.clock(1)
    document.edit(context(1), (apply) => apply({ type: 'json.merge', patch: { ...value, a: 2 } }))
    expect(document.clock(1)).toBe(clock + 1)
  })

  test('an element in the middle of a long array costs one element', () => {
    const document = openLiveDocument('json', null)
    document.edit(context(1), (apply) =>
      apply({ type: 'json.merge', patch: { list: Array.from({ length: 1_000 }, (_, index) => ({ index })) } }),
    )
    const clock = document.clock(1)
    document.edit(context(1), (apply) => {
      apply({
        type: 'json.patch',
        patch: [
          { op: 'replace', path: '/list/10/index', value: 'ten' },
          { op: 'remove', path: '/list/500' },
          { op: 'add', path: '/list/900', value: 9 },
        ],
      })
    })
    expect(document.clock(1)).toBe(clock + 2)
  })

  test('a patch that does not fit changes nothing at all', () => {
    const document = openLiveDocument('json', null)
    document.edit(context(1), (apply) => apply({ type: 'json.merge', patch: { a: { b: 1 } } }))
    const digest = document.digest()
    const patch: JsonPatchOperation[] = [
      { op: 'add', path: '/a/c', value: 2 },
      { op: 'test', path: '/a/b', value: 2 },
    ]
    expect(() => document.edit(context(1), (apply) => apply({ type: 'json.patch', patch }))).toThrow(
      'operation 1 (test /a/b): the value there is another one',
    )
    expect(document.digest()).toBe(digest)
  })

  test.each<[string, Edit, string]>([
    ['the root becomes an array', { type: 'json.merge', patch: [] }, 'stay an object'],
    ['the root is removed', { type: 'json.patch', patch: [{ op: 'remove', path: '' }] }, 'cannot be removed'],
    ['a key is __proto__', { type: 'json.merge', patch: JSON.parse('{"__proto__":{"x":1}}') as Json }, '__proto__'],
    ['a path leads to __proto__', { type: 'json.patch', patch: [{ op: 'add', path: '/__proto__', value: 1 }] }, '__proto__'],
    ['it is nested too deeply', { type: 'json.merge', patch: JSON.parse(`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`) as Json }, 'too deeply'],
    ['a number is infinite', { type: 'json.merge', patch: { a: Infinity } }, 'not a JSON number'],
    ['it is an edit of a text', { type: 'text.put', text: '', base: null }, 'not an edit of a json document'],
  ])('a patch is refused where %s', (_, edit, reason) => {
    const document = openLiveDocument('json', null)
    expect(() => document.edit(context(1), (apply) => apply(edit))).toThrow(reason)
    expect(document.clock(1)).toBe(0)
  })

  test('a patch cannot nest a document too deeply step by step', () => {
    const document = openLiveDocument('json', null)
    const deepen = () => document.edit(context(1), (apply) => apply({ type: 'json.patch', patch: [{ op: 'copy', from: '', path: '/a' }] }))
    for (let depth = 1; depth < 64; depth++) deepen()
    expect(deepen).toThrow('too deeply')
  })
})

describe('merge patch (RFC 7396, appendix A)', () => {
  test.each<[Json, Json, Json]>([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j with %j is %j', (target, patch, result) => {
    expect(mergePatch(target, patch)).toEqual(result)
  })
})

describe('JSON Patch (RFC 6902, appendix A)', () => {
  test.each<[string, Json, readonly JsonPatchOperation[], Json]>([
    ['A.1', { foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { baz: 'qux', foo: 'bar' }],
    ['A.2', { foo: ['bar', 'baz'] }, [{ op: 'add', path: '/foo/1', value: 'qux' }], { foo: ['bar', 'qux', 'baz'] }],
    ['A.3', { baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
    ['A.4', { foo: ['bar', 'qux', 'baz'] }, [{ op: 'remove', path: '/foo/1' }], { foo: ['bar', 'baz'] }],
    ['A.5', { baz: 'qux', foo: 'bar' }, [{ op: 'replace', path: '/baz', value: 'boo' }], { baz: 'boo', foo: 'bar' }],
    [
      'A.6',
      { foo: { bar: 'baz', waldo: 'fred' }, qux: { corge: 'grault' } },
      [{ op: 'move', from: '/foo/waldo', path: '/qux/thud' }],
      { foo: { bar: 'baz' }, qux: { corge: 'grault', thud: 'fred' } },
    ],
    [
      'A.7',
      { foo: ['all', 'grass', 'cows', 'eat'] },
      [{ op: 'move', from: '/foo/1', path: '/foo/3' }],
      { foo: ['all', 'cows', 'eat', 'grass'] },
    ],
    ['A.8', { baz: 'qux', foo: ['a', 2, 'c'] }, [{ op: 'test', path: '/foo/1', value: 2 }], { baz: 'qux', foo: ['a', 2, 'c'] }],
    ['A.10', { foo: 'bar' }, [{ op: 'add', path: '/child', value: { grandchild: {} } }], { foo: 'bar', child: { grandchild: {} } }],
    ['A.14', { '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: 10 }], { '/': 9, '~1': 10 }],
    ['A.16', { foo: ['bar'] }, [{ op: 'add', path: '/foo/-', value: ['abc', 'def'] }], { foo: ['bar', ['abc', 'def']] }],
    ['copying', { a: { b: 1 } }, [{ op: 'copy', from: '/a', path: '/a/c' }], { a: { b: 1, c: { b: 1 } } }],
    ['replacing all', { a: 1 }, [{ op: 'replace', path: '', value: { b: 2 } }], { b: 2 }],
    ['moving to its own place', { a: 1 }, [{ op: 'move', from: '/a', path: '/a' }], { a: 1 }],
  ])('%s holds', (_, target, patch, result) => {
    expect(jsonPatch(target, patch)).toEqual(result)
  })

  test.each<[string, Json, JsonPatchOperation]>([
    ['A.9', { baz: 'qux' }, { op: 'test', path: '/baz', value: 'bar' }],
    ['A.12', { foo: 'bar' }, { op: 'add', path: '/baz/bat', value: 'qux' }],
    ['A.15', { '/': 9, '~1': 10 }, { op: 'test', path: '/~01', value: '10' }],
    ['an index beyond the end', { a: [1] }, { op: 'add', path: '/a/2', value: 0 }],
    ['the place behind the end, where nothing is', { a: [1] }, { op: 'remove', path: '/a/-' }],
    ['an index with a leading zero', { a: [1] }, { op: 'replace', path: '/a/00', value: 0 }],
    ['a key that objects inherit', {}, { op: 'test', path: '/constructor', value: 0 }],
    ['a replacement of nothing', {}, { op: 'replace', path: '/a', value: 0 }],
    ['a move into itself', { a: { b: 1 } }, { op: 'move', from: '/a', path: '/a/b' }],
    ['a path without a slash', { a: 1 }, { op: 'remove', path: 'a' }],
    ['a bad escape', { a: 1 }, { op: 'remove', path: '/~2' }],
    ['an unknown operation', { a: 1 }, { op: 'spam', path: '/a' } as unknown as JsonPatchOperation],
  ])('%s does not fit', (_, target, operation) => {
    expect(() => jsonPatch(target, [operation])).toThrow('operation 0')
  })
})

describe('canonical JSON', () => {
  test('equal values have one text, whatever the order of their keys', () => {
    expect(canonicalJson({ 'b': [1, { d: null, c: 'ü\n' }], 'a': -0, '10': 1e21, '9': 0.1 })).toBe(
      '{"10":1e+21,"9":0.1,"a":0,"b":[1,{"c":"ü\\n","d":null}]}',
    )
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'grapheme' }), (value) => {
        const json = value as Json
        expect(jsonEquals(JSON.parse(canonicalJson(json)) as Json, json)).toBe(true)
        expect(canonicalJson(JSON.parse(canonicalJson(json)) as Json)).toBe(canonicalJson(json))
      }),
    )
  })
})
