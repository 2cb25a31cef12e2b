/** Computing anew what is derived, beside a store: what is right is right, and each thing that is wrong is named. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../src/core/index.ts'
import { operationIdOf } from '../../../src/feed/index.ts'
import { replay } from '../../../src/replica/index.ts'
import type { ReplayFacts, Replica } from '../../../src/replica/index.ts'
import { createMemoryStore } from '../../../src/storage/index.ts'
import type { MemoryStore, StoreReads, WriteBatch } from '../../../src/storage/index.ts'
import { seededRandom } from '../../sim/virtual-time.ts'
import { openGroup } from './group.ts'

/** A store with a document of some kinds, written by two instances. */
async function openWritten() {
  const { pass, replicas, settle, stores, time } = await openGroup(['admin', 'writer'])
  const [first, second] = replicas as [Replica, Replica]
  for (const replica of replicas) await replica.startNetwork()
  for (const [index, replica] of [first, second, first].entries()) {
    await settle(
      replica.write({
        operations: [
          { type: 'append', name: 'memory', entry: { text: `entry ${index}` } },
          { type: 'edit', kind: 'counter', name: 'karma', edit: { type: 'counter.add', key: 'a', amount: 1n } },
          { type: 'edit', kind: 'text', name: 'notes', edit: { type: 'text.put', text: `note ${index}`, base: null } },
        ],
        operationId: `write ${index}`,
      }),
    )
    await pass(5_000)
  }
  const store = stores[0] as MemoryStore
  const documentOf = (kind: string): DocumentId => first.reader.documents().find((row) => row.kind === kind)?.document as DocumentId
  const compare = (stored: StoreReads = store): Promise<ReplayFacts | null> =>
    settle(replay(stored, { identity: first.identity, clock: time.clock(), random: seededRandom('replay'), scratch: createMemoryStore() }))
  return { compare, documentOf, first, settle, store }
}

describe('a replay', () => {
  it('of a store that nobody touched finds it right', async () => {
    const { compare } = await openWritten()
    expect(await compare()).toEqual({ envelopes: 3, documents: 3, entries: 3, differences: [], omitted: 0 })
  })

  it('of a store that is being rebuilt compares nothing', async () => {
    const { compare, store } = await openWritten()
    await store.commit({ meta: new Map([['rebuild', new Uint8Array()]]) })
    expect(await compare()).toBeNull()
  })

  it('names envelopes that have no place in the order of applying: nothing would find what they brought', async () => {
    const { compare, store } = await openWritten()
    const holed = store.clone()
    const envelopes = holed.envelopes.bind(holed)
    holed.envelopes = (...range) => envelopes(...range).map((row) => (row.sequence === 1 ? { ...row, position: null } : row))
    expect((await compare(holed))?.differences).toEqual(
      Array.from({ length: 2 }, () => expect.stringMatching(/^1 envelopes of feed .* have no place in the order of applying$/) as string),
    )
  })

  type Written = Awaited<ReturnType<typeof openWritten>>
  const empty = Y.encodeStateAsUpdate(new Y.Doc())
  it.each<[string, (written: Written) => WriteBatch, RegExp[]]>([
    [
      'an entry that is not shown',
      ({ documentOf, store }) => ({ entriesRemoved: store.entries({ document: documentOf('log'), limit: 1 }) }),
      [/^log\/memory does not show 1 of its entries$/],
    ],
    [
      'an entry that nobody appended',
      ({ documentOf }) => ({ entries: [{ document: documentOf('log'), time: 1, id: '00'.repeat(30) }] }),
      [/^log\/memory shows 1 entries that it does not have$/],
    ],
    [
      'a segment of another length',
      ({ documentOf, store }) => ({ segments: store.segments(documentOf('log')).map((row) => ({ ...row, entries: row.entries + 1 })) }),
      [/^log\/memory has other segments than its envelopes give it$/],
    ],
    [
      'a snapshot of something else',
      ({ documentOf, store }) => ({ snapshots: [{ document: documentOf('counter'), position: store.lastPosition(), state: empty }] }),
      [/^counter\/karma holds something else than its envelopes say$/],
    ],
    [
      'a document that no envelope made',
      () => ({ documents: [{ document: 'ab'.repeat(32) as DocumentId, kind: 'set', name: 'ghost' }] }),
      [/^set\/ghost is listed, and no envelope made it$/],
    ],
    [
      'an operation that is remembered otherwise',
      ({ first, store }) => {
        const lineage = first.members.lineageOf(first.identity.instance)
        const operation = store.operation(lineage, operationIdOf('write 0/1'))
        return { operations: operation === undefined ? [] : [{ ...operation, fingerprint: '00'.repeat(8) }] }
      },
      [/^1 operations of feed [0-9a-f]+ are forgotten, or remembered otherwise/],
    ],
    [
      'an update in quarantine without a reason',
      ({ documentOf, store }) => {
        const [head] = store.documentHeads(documentOf('text'))
        if (head === undefined) throw new Error('the text has no head')
        return { quarantine: [{ document: documentOf('text'), feed: head.feed, sequence: head.sequence + 1, reason: 'none' }] }
      },
      [/^what feed [0-9a-f]+ wrote to document [0-9a-f]+ from envelope \d+ on is in quarantine without a reason$/],
    ],
  ])('names %s, and nothing else', async (_, change, lines) => {
    const written = await openWritten()
    await written.settle(written.store.commit(change(written)))
    const facts = await written.compare()
    expect(facts?.differences).toEqual(lines.map((line) => expect.stringMatching(line) as string))
  })
})
