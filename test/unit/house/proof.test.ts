/** What docs/PROOF.md says of the planted faults, held against their list; and their list against the sources. */
import { expect, it } from 'vitest'
import { faults } from '../../../scripts/mutants/faults.ts'
import { readProjectFile } from './project-files.ts'

it('each planted fault has one place in its file where it can be planted', () => {
  const lost = faults.filter(({ file, find }) => readProjectFile(file).split(find).length !== 2)
  expect(lost.map(({ file, name }) => `${name}: find its place in ${file} again, in scripts/mutants/faults.ts`)).toEqual([])
})

it('the table of planted faults has each of them, and no other', () => {
  const rows = readProjectFile('docs/PROOF.md').matchAll(/^\| ([^|]+) \| `(src\/[^`]+)` \|/gm)
  expect(Array.from(rows, ([, name, file]) => `${name} in ${file}`)).toEqual(faults.map(({ file, name }) => `${name} in ${file}`))
})
