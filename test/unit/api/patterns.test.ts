import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createMatcher } from '../../../src/api/patterns.ts'

describe('patterns', () => {
  test.each([
    ['log/*', 'log', 'memory', true],
    ['log/*', 'log', 'notes/2026/11', true],
    ['log/*', 'text', 'memory', false],
    ['text/SOUL.md', 'text', 'SOUL.md', true],
    ['text/SOUL.md', 'text', 'SOUL.md2', false],
    ['text/SOUL.md', 'text', 'SOULxmd', false],
    ['*/SOUL.md', 'text', 'SOUL.md', true],
    ['log/a*a', 'log', 'a', false],
    ['log/a*a', 'log', 'aa', true],
    ['log/*.md', 'log', 'notes/x.md', true],
    ['log/*b*b', 'log', 'b', false],
  ])('%s against %s/%s', (pattern, kind, name, matches) => {
    expect(createMatcher([pattern])(kind, name)).toBe(matches)
  })

  test('none mean every document, several mean any', () => {
    expect(createMatcher([])('log', 'x')).toBe(true)
    expect(createMatcher(['text/*', 'log/*'])('log', 'x')).toBe(true)
  })

  test('agree with the same pattern written as a regular expression', () => {
    const piece = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', '*'), maxLength: 8 })
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.'), maxLength: 12 })
    fc.assert(
      fc.property(piece, text, (glob, name) => {
        const expression = new RegExp(`^log/${glob.replaceAll('.', '\\.').replaceAll('*', '.*')}$`)
        expect(createMatcher([`log/${glob}`])('log', name)).toBe(expression.test(`log/${name}`))
      }),
      { numRuns: 2_000 },
    )
  })

  test('cost no more for a pattern made to be slow', () => {
    const matches = createMatcher([`log/${'*a'.repeat(140)}*b`])
    expect(matches('log', 'a'.repeat(256))).toBe(false)
  })
})
