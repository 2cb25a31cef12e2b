import { describe, expect, test } from 'vitest'
import { SelfsameError } from '../../../src/core/index.ts'
import { checkDocumentName, documentIdOf, isDocumentName } from '../../../src/document/index.ts'

describe('document names', () => {
  test.each(['memory', 'SOUL.md', 'memory/2026-11-21.md', '日記', 'a b', '...', '.hidden', 'x'.repeat(256), 'é'.repeat(128)])(
    "'%s' is a name",
    (name) => {
      expect(isDocumentName('log', name)).toBe(true)
      expect(() => checkDocumentName('log', name)).not.toThrow()
    },
  )

  test.each([
    ['', 'is empty'],
    ['/a', 'empty part'],
    ['a/', 'empty part'],
    ['a//b', 'empty part'],
    ['.', "the part '.'"],
    ['a/../b', "the part '..'"],
    ['a\nb', 'control character'],
    ['a\u0085b', 'control character'],
    ['a\0', 'control character'],
    ['\ud800', 'surrogate'],
    ['x'.repeat(257), 'longer than 256 bytes'],
    ['é'.repeat(129), 'longer than 256 bytes'],
  ])('%j is refused, and the message says why', (name, reason) => {
    expect(isDocumentName('log', name)).toBe(false)
    expect(() => checkDocumentName('log', name)).toThrow(SelfsameError)
    expect(() => checkDocumentName('log', name)).toThrow(reason)
  })

  test('an unknown kind is refused with the known ones', () => {
    expect(() => checkDocumentName('map', 'a')).toThrow('log, counter, set, register, text, json')
    expect(isDocumentName('map', 'a')).toBe(false)
  })

  test('space, kind and name each change the id, and cannot run into one another', () => {
    const ids = [
      documentIdOf('main', 'log', 'a'),
      documentIdOf('main', 'set', 'a'),
      documentIdOf('main', 'log', 'b'),
      documentIdOf('mainl', 'log', 'a'),
      documentIdOf('main', 'log', 'ga'),
    ]
    expect(new Set(ids).size).toBe(ids.length)
    expect(documentIdOf('main', 'log', 'a')).toMatch(/^[0-9a-f]{64}$/)
  })
})
