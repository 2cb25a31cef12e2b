/** File names of exported documents: safe everywhere, apart from each other, and readable back. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fileNamesOf, nameOfFile } from '../../../src/cli/export-names.ts'

const segment = fc.oneof(
  fc.stringMatching(/^[A-Za-z .%~-]{1,6}$/),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }),
  fc.constantFrom('con', 'CON.txt', 'nul', '2026-11-21.md', '...', ' a ', 'SOUL.md', 'soul.md', 'é', 'e\u0301', '%2F', 'x'.repeat(220)),
)
const documentName = fc
  .array(segment, { minLength: 1, maxLength: 4 })
  .map((segments) => segments.join('/'))
  .filter((name) => name.isWellFormed())
const names = fc.uniqueArray(documentName, { minLength: 1, maxLength: 12 })
const extension = fc.constantFrom('', '.json', '.jsonl')

test('a name is read back from its file name, whatever it is', () => {
  fc.assert(
    fc.property(names, extension, (given, suffix) => {
      for (const [name, path] of fileNamesOf(given, suffix)) expect(nameOfFile(path, suffix)).toBe(name)
    }),
  )
})

test('no two names share a file, also where case does not count', () => {
  fc.assert(
    fc.property(names, extension, (given, suffix) => {
      const paths = Array.from(fileNamesOf(given, suffix).values(), (path) => path.toLowerCase())
      expect(new Set(paths).size).toBe(given.length)
    }),
  )
})

test('every part of a path is a name that every file system takes as it is', () => {
  fc.assert(
    fc.property(names, extension, (given, suffix) => {
      for (const path of fileNamesOf(given, suffix).values()) {
        const parts = path.split('/')
        expect(parts[0]).not.toMatch(/^(\.|-| |(con|prn|aux|nul|com\d|lpt\d)(\.|$))/i)
        for (const part of parts) {
          expect(part).toMatch(/^[A-Za-z0-9._ %-]{1,201}$/)
          expect(part).not.toMatch(/^\.{1,2}$/)
        }
        expect(parts.at(-1)).not.toMatch(/[. ]$/)
      }
    }),
  )
})

describe('names in use', () => {
  test.each([
    ['SOUL.md', 'SOUL.md'],
    ['notes/2026/Lisbon', 'notes%2F2026%2FLisbon'],
    ['../etc', '%2E.%2Fetc'],
    ['Con.log', '%43on.log'],
    ['tägliches', 't%C3%A4gliches'],
    ['2026-11-21.md', '%32026-11-21.md'],
  ])('%s becomes %s', (name, path) => {
    expect(fileNamesOf([name], '').get(name)).toBe(path)
  })

  test('that differ in case alone have their capitals encoded', () => {
    expect([...fileNamesOf(['SOUL.md', 'soul.md', 'Soul.txt'], '').values()]).toEqual(['%53%4F%55%4C.md', 'soul.md', 'Soul.txt'])
  })

  test.each(['.DS_Store', 'a%2fb', '%61', 'A%42', 'a/b', '%', 'ä', '%FF', ''])('%j is no file name of an export', (path) => {
    expect(nameOfFile(path, '')).toBeUndefined()
  })
})
