import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { routes } from '../../../src/api/contract.ts'
import type { Route } from '../../../src/api/contract.ts'

test('the documentation of the API lists the routes of the contract, all and in order', () => {
  const rows = [...readFileSync('docs/API.md', 'utf8').matchAll(/^\| ([A-Z]+) \| `([^`]+)` \| ([a-z]+) \| (.+) \|$/gm)].map((row) =>
    row.slice(1),
  )
  expect(rows).toEqual((Object.values(routes) as Route[]).map(({ method, path, needs, summary }) => [method, path, needs, summary]))
})
