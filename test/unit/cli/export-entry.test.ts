/** Entries that are exported, imported and exported again: the same, whoever imports them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Json, LogEntry } from '../../../src/api/client.ts'
import { entryToExported, exportedToInput } from '../../../src/cli/export-entry.ts'

const author = fc.record({ id: fc.stringMatching(/^[0-9a-f]{32}$/), name: fc.string({ minLength: 1 }) })
const data = fc.oneof(
  fc.jsonValue(),
  fc.constant({}),
  fc.dictionary(fc.string(), fc.jsonValue()),
  fc.record({ 'selfsame/origin': fc.oneof(fc.jsonValue(), fc.record({ id: fc.string(), author })) }),
) as fc.Arbitrary<Json>
const entry: fc.Arbitrary<LogEntry> = fc.record(
  {
    id: fc.stringMatching(/^[0-9a-f]{60}$/),
    time: fc.date({ min: new Date(0), max: new Date('9999-01-01'), noInvalidDate: true }).map((date) => date.toISOString()),
    author,
    kind: fc.string(),
    text: fc.string(),
    data,
    tags: fc.array(fc.string()),
    envelope: fc.constant({ feed: 'f', sequence: 1 }),
  },
  { requiredKeys: ['id', 'time', 'author', 'envelope'] },
)

/** The entry as the log of another agent shows it. */
function imported(read: LogEntry, by: { id: string; name: string }): LogEntry {
  const { importedBy: _, ...exported } = entryToExported(read)
  const { operationId: __, time, ...content } = exportedToInput(exported)
  return { id: 'ee'.repeat(30), author: by, envelope: read.envelope, time: String(time), ...content }
}

test('an import keeps all that an export says, also through several agents', () => {
  fc.assert(
    fc.property(entry, author, author, (read, one, other) => {
      const { importedBy: _, ...first } = entryToExported(read)
      const { importedBy: last, ...again } = entryToExported(imported(imported(read, one), other))
      expect(again).toEqual(first)
      expect(last).toEqual(other)
    }),
  )
})

test('members of its data stay where programs look for them', () => {
  const exported = { id: 'a', time: '2026-11-21T10:00:00.000Z', author: { id: 'b', name: 'laptop' }, data: { mood: 'warm' } }
  expect(exportedToInput(exported).data).toEqual({ 'mood': 'warm', 'selfsame/origin': { id: 'a', author: { id: 'b', name: 'laptop' } } })
})

test('an entry without an author, as a person would write it, is like any other', () => {
  expect(exportedToInput({ text: 'by hand', time: '2026-11-21' })).toEqual({ text: 'by hand', time: '2026-11-21' })
})
