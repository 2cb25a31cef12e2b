import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { routes } from '../../../src/api/contract.ts'
import type { Route } from '../../../src/api/contract.ts'
import { allowancePattern, createScope, rights } from '../../../src/api/scope.ts'

const kinds = ['log', 'counter', 'set', 'register', 'text', 'json'] as const
const kind = fc.constantFrom(...kinds)
const right = fc.constantFrom(...rights)
const name = fc.stringMatching(/^[a-c/*:]{1,6}$/)
const allowance = fc.record({ kind: fc.constantFrom(...kinds, '*'), name, rights: fc.uniqueArray(right, { minLength: 1 }) })

/** What a glob means, by the rule itself: a star eats any number of characters. */
function fits(glob: string, text: string): boolean {
  if (glob === '') return text === ''
  if (glob.startsWith('*')) return fits(glob.slice(1), text) || (text !== '' && fits(glob, text.slice(1)))
  return text !== '' && glob[0] === text[0] && fits(glob.slice(1), text.slice(1))
}

describe('a scope', () => {
  test('allows what one of its allowances says, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(allowance, { maxLength: 4 }), right, kind, name, (allowances, asked, kind, name) => {
        const texts = allowances.map((each) => `${each.kind}/${each.name}:${each.rights.join(',')}`)
        for (const text of texts) expect(text).toMatch(new RegExp(allowancePattern))
        const expected = allowances.some(
          (each) =>
            (each.kind === '*' || each.kind === kind) &&
            fits(each.name, name) &&
            (each.rights.includes(asked) || (asked === 'append' && each.rights.includes('write'))),
        )
        expect(createScope(texts).allows(asked, kind, name)).toBe(expected)
        expect(createScope(texts).everything).toBe(false)
      }),
      { numRuns: 2_000 },
    )
  })

  test('of all is everything', () => {
    const scope = createScope(['text/a:read', 'all'])
    expect([scope.everything, scope.allows('write', 'json', 'tasks')]).toEqual([true, true])
  })

  test('for any kind does not run on into the name', () => {
    const scope = createScope(['*/diary:read'])
    expect(scope.allows('read', 'text', 'diary')).toBe(true)
    expect(scope.allows('read', 'text', 'private/diary')).toBe(false)
  })

  test.each([
    '',
    'log',
    'log/memory',
    'log/:read',
    'logs/memory:read',
    'log/memory:reed',
    'log/memory:read,',
    'log/memory:read append',
    'ALL',
  ])('is not written as %j', (text) => {
    expect(text).not.toMatch(new RegExp(allowancePattern))
  })
})

describe('a route that needs a right', () => {
  const needing = (Object.entries(routes) as [string, Route][]).filter(([, { needs }]) => (rights as readonly string[]).includes(needs))

  test.each(needing)('names the document, as %s does', (_, { path, params }) => {
    const named = Object.keys(params?.properties ?? {})
    expect(named).toContain('name')
    if (!named.includes('kind')) expect(kinds).toContain(path.split('/')[2])
  })
})

test('what any token may ask is what the gate narrows, and what holds nothing of anybody', () => {
  const open = Object.entries(routes).filter(([, { needs }]) => needs === 'nothing')
  expect(open.map(([id]) => id)).toEqual([
    'documents.list',
    'digests.list',
    'changes.read',
    'changes.watch',
    'health.read',
    'ready.read',
    'openapi.read',
  ])
})
