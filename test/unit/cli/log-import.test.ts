import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Connect, EntryInput, ImportOptions } from '../../../src/api/client.ts'
import { SelfsameError } from '../../../src/core/index.ts'
import { createLineIdentifier, createTally, lineReader, linesOf } from '../../../src/cli/log-import.ts'
import { run } from './console.ts'

let directory: string
let file: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-import-'))
  file = join(directory, 'notes.jsonl')
})

afterEach(() => rmSync(directory, { recursive: true }))

/** A log that keeps each operation id once, as the daemon does. */
function createLog() {
  const entryById = new Map<string, EntryInput>()
  const connect: Connect = () =>
    Promise.resolve({
      log: () => ({
        async import(entries: AsyncIterable<EntryInput>, { onProgress }: ImportOptions) {
          const progress = { lines: 0, written: 0, alreadyThere: 0, done: false }
          for await (const entry of entries) {
            progress.lines += 1
            if (entryById.has(entry.operationId ?? '')) progress.alreadyThere += 1
            else progress.written += 1
            entryById.set(entry.operationId ?? '', entry)
            onProgress?.(progress)
          }
          return { ...progress, done: true }
        },
      }),
      close: () => Promise.resolve(),
    } as never)
  const texts = (): readonly unknown[] => [...entryById.values()].map((entry) => entry.text)
  return { connect, texts, entryById }
}

const lines = (...values: readonly unknown[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('')

describe('log import', () => {
  test('appends each line as an entry, and says how many', async () => {
    const log = createLog()
    writeFileSync(file, lines({ text: 'a', tags: ['x'], time: '2026-01-01', kind: 'note', data: { b: 1 } }, { data: [2] }))
    const { code, out } = await run(['log', 'import', 'memory', file], log.connect)
    expect(code).toBe(0)
    expect(out).toMatch(/^imported 2 entries into memory \(\d+ s\)\n$/)
    expect([...log.entryById.values()]).toMatchObject([
      { text: 'a', tags: ['x'], time: '2026-01-01', kind: 'note', data: { b: 1 } },
      { data: [2] },
    ])
  })

  test('of the same file, a longer one, or one cut off half-way and run again adds nothing twice', async () => {
    const log = createLog()
    const values = [{ text: 'a' }, { text: 'a' }, { text: 'b' }, { text: 'a' }, { id: 7, text: 'a' }]
    for (const count of [2, 5, 5, 4]) {
      writeFileSync(file, lines(...values.slice(0, count)))
      expect((await run(['log', 'import', 'memory', file], log.connect)).code).toBe(0)
    }
    expect(log.texts()).toEqual(['a', 'a', 'b', 'a', 'a'])
    const { out } = await run(['log', 'import', 'memory', file], log.connect)
    expect(out).toContain('imported 0 entries into memory, 4 were there')
  })

  test('reads standard input, Windows line ends, a byte order mark, blank lines and a last line without an end', async () => {
    const log = createLog()
    const input = '\ufeff{"text":"a"}\r\n\r\n\n{"text":"b"}'
    expect((await run(['log', 'import', 'memory', '-'], log.connect, { input })).code).toBe(0)
    expect(log.texts()).toEqual(['a', 'b'])
  })

  test('takes the files of other programs', async () => {
    const log = createLog()
    const input = lines({ content: 'hi', role: 'user', model: 'm', created_at: '2026-01-01' })
    const renames = ['--rename', 'content=text', '--rename', 'role=kind', '--rename', 'created_at=time']
    expect((await run(['log', 'import', 'memory', '-', ...renames, '--others', 'data'], log.connect, { input })).code).toBe(0)
    expect([...log.entryById.values()]).toMatchObject([{ text: 'hi', kind: 'user', time: '2026-01-01', data: { model: 'm' } }])
  })

  test.each([
    ['not json', 'line 2: this is not a JSON object'],
    ['[1]', 'line 2: this is not a JSON object'],
    ['{"text":"x","mood":"warm"}', "line 2: an entry has no field 'mood'"],
    ['{"text":"x","id":{}}', "line 2: 'id' has to be text or a number"],
  ])('stops at a line that is wrong, names it and keeps what stands before: %s', async (bad, words) => {
    const log = createLog()
    const { code, err } = await run(['log', 'import', 'memory', '-'], log.connect, { input: `{"text":"a"}\n${bad}\n{"text":"c"}\n` })
    expect(code).toBe(64)
    expect(err).toContain(words)
    expect(err).toContain('nothing is added twice')
    expect(log.texts()).toEqual(['a'])
  })

  test('names the line of the file where the daemon refuses an entry', async () => {
    const connect: Connect = () =>
      Promise.resolve({
        log: () => ({
          async import(entries: AsyncIterable<EntryInput>) {
            for await (const entry of entries)
              if (entry.text === 'b') throw new SelfsameError('too-large', 'line 2: the entry is too large')
          },
        }),
        close: () => Promise.resolve(),
      } as never)
    const { code, err } = await run(['log', 'import', 'memory', '-'], connect, { input: '\n{"text":"a"}\n\n\n{"text":"b"}\n' })
    expect([code, err.split('\n')[0]]).toEqual([65, 'selfsame: line 5: the entry is too large'])
  })

  test('refuses bytes that are no text', async () => {
    const { code, err } = await run(['log', 'import', 'memory', '-'], createLog().connect, { input: Uint8Array.of(0xff, 0xfe, 0x0a) })
    expect([code, err]).toEqual([64, expect.stringContaining('line 1 is not UTF-8 text')])
  })

  test('refuses a file that has no lines', async () => {
    const { code, err } = await run(['log', 'import', 'memory', '-'], createLog().connect, { input: 'x'.repeat(5 << 20) })
    expect([code, err]).toEqual([65, expect.stringContaining('line 1 is longer than')])
  })

  test.each([
    ['none.jsonl', 'there is no such file'],
    ['', 'it is a directory'],
  ])('says why it cannot read %j', async (name, words) => {
    const { code, err } = await run(['log', 'import', 'memory', join(directory, name)], createLog().connect)
    expect([code, err]).toEqual([66, expect.stringContaining(words)])
  })

  test('shows progress on a terminal only', async () => {
    writeFileSync(file, lines({ text: 'a' }, { text: 'b' }))
    expect((await run(['log', 'import', 'memory', file], createLog().connect)).err).toBe('')
    expect((await run(['log', 'import', 'memory', file], createLog().connect, { isTTY: true })).err).toContain('2 entries written (100%')
    expect((await run(['log', 'import', 'memory', file, '--quiet'], createLog().connect, { isTTY: true })).err).toBe('')
  })
})

describe('the lines of a stream', () => {
  test('are the same however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'grapheme' })), fc.array(fc.integer({ min: 1, max: 9 })), async (texts, cuts) => {
        const bytes = Buffer.from(texts.map((text) => `${text.replaceAll(/\s/g, '_')}\n`).join(''))
        const chunks: Buffer[] = []
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const next = at + (cuts[turn % Math.max(cuts.length, 1)] ?? 7)
          chunks.push(bytes.subarray(at, next))
          at = next
        }
        const found: string[] = []
        let size = 0
        for await (const line of linesOf(Readable.from(chunks))) {
          found.push(line.text)
          size += line.bytes
        }
        expect(found).toEqual(
          texts.map((text) =>
            text
              .replaceAll(/\s/g, '_')
              .replace(/^\ufeff/, '')
              .trim(),
          ),
        )
        expect(size).toBe(bytes.length)
      }),
    )
  })
})

describe('the identity of lines', () => {
  test('is their own, within a log: equal lines differ, and each is the same in every file that begins alike', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', 'c')), fc.array(fc.constantFrom('a', 'b', 'c')), (before, after) => {
        const whole = createLineIdentifier('memory')
        const part = createLineIdentifier('memory')
        const ids = [...before, ...after].map((text) => whole(text, undefined))
        expect(new Set(ids).size).toBe(ids.length)
        expect(before.map((text) => part(text, undefined))).toEqual(ids.slice(0, before.length))
      }),
    )
  })

  test('does not change where lines that differ are put before it', () => {
    const identify = createLineIdentifier('memory')
    const id = createLineIdentifier('memory')('a', undefined)
    identify('something else', undefined)
    expect(identify('a', undefined)).toBe(id)
  })

  test('belongs to one log, and an id of the file is not the text of a line', () => {
    const ids = [
      createLineIdentifier('a')('x', undefined),
      createLineIdentifier('b')('x', undefined),
      createLineIdentifier('a')('x', 'x'),
      createLineIdentifier('b')('x', 'x'),
    ]
    expect(new Set(ids).size).toBe(4)
  })

  test('is made from exact counts, also when the tally has to grow', () => {
    const tally = createTally()
    const counts = new Map<number, number>()
    for (let index = 0; index < 30_000; index += 1) {
      const key = Math.imul(index % 9_000, 0x2c1b_3c6d) >>> 0
      expect(tally(key)).toBe(counts.get(key) ?? 0)
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
  })
})

test('a line keeps every field that an entry has, whatever its value: the daemon checks it', () => {
  expect(lineReader({})('{"text":1,"tags":"x","time":null,"id":5}', 1)).toEqual({ text: 1, tags: 'x', time: null, id: '5' })
})
