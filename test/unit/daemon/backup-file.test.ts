/** The file of a backup: what went in comes out, and nothing comes out of a file that is damaged, foreign or newer. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SelfsameError } from '../../../src/core/index.ts'
import { readBackup, writeBackup } from '../../../src/daemon/backup-file.ts'

const about = {
  agent: { id: 'ab'.repeat(32), name: 'kevin' },
  instance: { id: 'cd'.repeat(16), name: 'laptop' },
  made: '2026-11-21T10:00:00.000Z',
  program: 'selfsame 1.2.3',
  moved: false,
}

let directory: string
let file: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-backup-'))
  file = join(directory, 'kevin.backup')
})

afterEach(() => rmSync(directory, { recursive: true }))

function make(database: Uint8Array): void {
  rmSync(file, { force: true })
  const path = join(directory, 'database')
  writeFileSync(path, database)
  writeBackup(file, about, [
    { name: 'identity.json', content: Buffer.from('{"a":"ü"}') },
    { name: 'memory.sqlite', content: { path } },
  ])
}

function refusalOf(bytes: Uint8Array): string {
  const damaged = join(directory, 'damaged')
  writeFileSync(damaged, bytes)
  try {
    readBackup(damaged)
  } catch (error) {
    if (error instanceof SelfsameError) return error.code
    throw error
  }
  return 'taken'
}

test('what went in comes out, for its owner alone', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5_000 }), (database) => {
      make(database)
      const backup = readBackup(file)
      expect(backup.head).toMatchObject({ ...about, files: [{ name: 'identity.json' }, { name: 'memory.sqlite', bytes: database.length }] })
      const to = join(directory, 'to')
      rmSync(to, { recursive: true, force: true })
      mkdirSync(to)
      backup.unpack(to)
      expect(readFileSync(join(to, 'identity.json'), 'utf8')).toBe('{"a":"ü"}')
      expect(new Uint8Array(readFileSync(join(to, 'memory.sqlite')))).toEqual(database)
      for (const made of [file, join(to, 'identity.json'), join(to, 'memory.sqlite')]) expect(statSync(made).mode & 0o777).toBe(0o600)
    }),
    { numRuns: 20 },
  )
})

test('a file larger than what is read at once comes out whole', () => {
  const database = Buffer.alloc((2 << 20) + 4_097, 'selfsame')
  make(database)
  readBackup(file).unpack(directory)
  expect(readFileSync(join(directory, 'memory.sqlite')).equals(database)).toBe(true)
})

test('no bit can be turned over, nothing cut off and nothing added', () => {
  make(Buffer.from('the database'))
  const whole = readFileSync(file)
  expect(refusalOf(whole)).toBe('taken')
  for (let index = 0; index < whole.length; index += 1) {
    const flipped = Buffer.from(whole)
    flipped[index] = (flipped[index] ?? 0) ^ (1 << (index % 8))
    expect(['backup-refused', 'storage-version']).toContain(refusalOf(flipped))
    expect(refusalOf(whole.subarray(0, index))).toBe('backup-refused')
  }
  expect(refusalOf(Buffer.concat([whole, Buffer.from('\n')]))).toBe('backup-refused')
})

test('a file of a newer format is told apart from a damaged one', () => {
  expect(refusalOf(Buffer.from('selfsame-backup-2\nwhatever'))).toBe('storage-version')
})

test.each([
  [['memory.sqlite', '../escape']],
  [['memory.sqlite', 'lock.sqlite']],
  [['memory.sqlite', 'identity.json', 'identity.json']],
  [['identity.json']],
])('a backup of %j is refused, though its hash fits', (names) => {
  writeBackup(
    file,
    about,
    names.map((name) => ({ name, content: Buffer.from('x') })),
  )
  expect(() => readBackup(file)).toThrow('it does not hold the files of a home')
})

test('a file that is not there is not found', () => {
  expect(() => readBackup(join(directory, 'nothing'))).toThrow('there is no such file')
})
