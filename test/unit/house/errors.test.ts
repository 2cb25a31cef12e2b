/** `docs/OPERATIONS.md` lists every error, and each as it is. */
import { expect, test } from 'vitest'
import { errorTable } from '../../../src/core/index.ts'
import { readProjectFile } from './project-files.ts'

const operations = readProjectFile('docs/OPERATIONS.md')

function rowsOf(heading: string): readonly (readonly string[])[] {
  const section = operations.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('| '))
  return rows.slice(1).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

test('the errors that are documented are the errors that there are, with their status, exit code and retry', () => {
  const documented = rowsOf('Errors').map(([code, status, exit, retry]) => [code, status, exit, retry])
  const existing = Object.entries(errorTable).map(([code, row]) => [
    `\`${code}\``,
    `${row.status}`,
    `${row.exit}`,
    row.retry ? 'yes' : 'no',
  ])
  expect(documented).toEqual(existing)
})

test('every error says what to do', () => {
  expect(rowsOf('Errors').filter((row) => (row[4] ?? '').length < 10)).toEqual([])
})

test('every exit code of an error is explained, and no other but success and interruption', () => {
  const explained = rowsOf('Exit codes').map(([code]) => Number(code))
  const used = new Set(Object.values(errorTable).map(({ exit }) => exit))
  expect(explained).toEqual([0, ...[...used].toSorted((a, b) => a - b), 130])
})
