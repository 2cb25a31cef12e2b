/** Rows for the tests of stores: a small world of feeds and documents, batches made in it, and everything a store can be asked about it. */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import type { DocumentId, FeedId, InstanceId, PublicKey, RecordHash, Stamp } from '../../src/core/index.ts'
import { headerHash } from '../../src/feed/index.ts'
import { recordHash } from '../../src/membership/index.ts'
import type { OperationId } from '../../src/feed/index.ts'
import type { EnvelopeRow, FeedRow, Store, WriteBatch } from '../../src/storage/index.ts'

/** A hexadecimal identifier of `bytes` bytes, the same for the same seed. */
export function idOf<Id extends string>(seed: string, bytes: number): Id {
  return createHash('shake256', { outputLength: bytes }).update(seed).digest('hex') as Id
}

function bytesOf(seed: string, length: number): Uint8Array {
  return new Uint8Array(createHash('shake256', { outputLength: length }).update(seed).digest())
}

const feeds = ['a', 'b', 'c'].map((name) => idOf<FeedId>(`feed ${name}`, 16))
const documents = ['x', 'y', 'z'].map((name) => idOf<DocumentId>(`document ${name}`, 32))
export const lineages = ['l', 'm'].map((name) => idOf<InstanceId>(`lineage ${name}`, 16))

export const feedOf = (index: number): FeedId => feeds[index % feeds.length] as FeedId
export const documentOf = (index: number): DocumentId => documents[index % documents.length] as DocumentId
const lineageOf = (index: number): InstanceId => lineages[index % lineages.length] as InstanceId

export function envelopeRow(feed: FeedId, sequence: number, bodySizes: readonly number[] = [20], signed = true): EnvelopeRow {
  const seed = `${feed} ${sequence}`
  const headerBytes = bytesOf(`header ${seed}`, 120)
  return {
    feed,
    sequence,
    hash: headerHash(headerBytes),
    headerBytes,
    signature: signed ? bytesOf(`signature ${seed}`, 64) : null,
    bodies: bodySizes.map((size, index) => ({ salt: bytesOf(`salt ${seed} ${index}`, 16), bytes: bytesOf(`body ${seed} ${index}`, size) })),
  }
}

export function feedRow(head: EnvelopeRow, applied: number): FeedRow {
  return {
    feed: head.feed,
    instance: idOf<InstanceId>(`instance of ${head.feed}`, 16),
    key: idOf<PublicKey>(`key of ${head.feed}`, 32),
    parent: head.feed === feeds[0] ? null : envelopeRow(feedOf(0), 1).hash,
    have: head.sequence,
    head: head.hash,
    headStamp: idOf<Stamp>(`stamp of ${head.feed} ${head.sequence}`, 8),
    applied,
  }
}

/** Commits `count` applied envelopes of the first feed from sequence `from` on, each at the position of its sequence, in the first document. */
export function appendedBy(from: number, count: number): WriteBatch {
  const [feed, document] = [feedOf(0), documentOf(0)]
  const envelopes = Array.from({ length: count }, (_, index) => envelopeRow(feed, from + index))
  return {
    feeds: [feedRow(envelopes.at(-1) as EnvelopeRow, from + count - 1)],
    envelopes,
    positions: envelopes.map(({ sequence }) => ({ feed, sequence, position: sequence, changed: null, history: 1 })),
    touches: envelopes.map(({ sequence, hash }) => ({ document, feed, sequence, hash, position: sequence })),
  }
}

export function recordRow(seed: number): { readonly hash: RecordHash; readonly bytes: Uint8Array } {
  const bytes = bytesOf(`record ${seed}`, 50)
  return { hash: recordHash(bytes), bytes }
}

export const entryId = (seed: number): string => idOf(`entry ${seed}`, 30)
export const operationId = (seed: number): OperationId => idOf<OperationId>(`operation ${seed}`, 16)
const textOf = (seed: number): string => `text ${'é𝄞'.repeat(seed % 5)} ${seed}`
export const versionOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/** One thing that a batch does; numbers choose among the ids of the world. */
type Step =
  | {
      readonly do: 'append'
      readonly feed: number
      readonly document: number
      readonly bodies: readonly number[]
      readonly placed: boolean
      readonly signed: boolean
    }
  | { readonly do: 'place'; readonly feed: number; readonly document: number }
  | { readonly do: 'sign'; readonly feed: number }
  | { readonly do: 'replace'; readonly feed: number; readonly value: number }
  | { readonly do: 'derive'; readonly feed: number; readonly document: number; readonly value: number }
  | { readonly do: 'entry'; readonly document: number; readonly value: number; readonly time: number; readonly removed: boolean }
  | { readonly do: 'local'; readonly document: number; readonly value: number; readonly removed: boolean }

const small = fc.nat({ max: 5 })
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      feed: small,
      document: small,
      bodies: fc.array(fc.nat({ max: 6_000 }), { maxLength: 3 }),
      placed: fc.boolean(),
      signed: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('place' as const), feed: small, document: small }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sign' as const), feed: small }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('replace' as const), feed: small, value: small }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('derive' as const), feed: small, document: small, value: fc.nat({ max: 2 ** 40 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('entry' as const),
      document: small,
      value: fc.nat({ max: 12 }),
      time: fc.nat({ max: 4 }),
      removed: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('local' as const), document: small, value: fc.nat({ max: 100 }), removed: fc.boolean() }),
  },
)

const planArbitrary = fc.record({
  cleared: fc.nat({ max: 5 }).map((value) => value === 0),
  steps: fc.array(stepArbitrary, { maxLength: 12 }),
})

/** Sequences of batches that break no invariant. */
export const batchesArbitrary: fc.Arbitrary<readonly Required<WriteBatch>[]> = fc.array(planArbitrary, { maxLength: 12 }).map((plans) => {
  const world = createWorld()
  return plans.map(({ cleared, steps }) => world.batchOf(cleared, steps))
})

/** What `derivedCleared` leaves of a batch. */
export function truthOf({
  meta,
  records,
  feeds: rows,
  envelopes,
  envelopesReplaced,
  recordsRemoved,
  signatures,
  evidence,
  evidenceRemoved,
}: Required<WriteBatch>): WriteBatch {
  const unapplied = rows.map((row) => ({ ...row, applied: 0 }))
  return { meta, recordsRemoved, records, feeds: unapplied, envelopes, envelopesReplaced, signatures, evidence, evidenceRemoved }
}

/** What it forgets of a batch, with the feeds as they are stored by now. */
export function derivedOf(batch: Required<WriteBatch>, stored: readonly FeedRow[]): WriteBatch {
  const rows = batch.feeds.map(({ feed, applied }) => ({ ...(stored.find((row) => row.feed === feed) as FeedRow), applied }))
  const truth = { recordsRemoved: [], records: [], envelopes: [], envelopesReplaced: [], signatures: [], evidence: [], evidenceRemoved: [] }
  return { ...batch, ...truth, meta: new Map(), feeds: rows }
}

type Growing<T> = { -readonly [K in keyof T]-?: NonNullable<T[K]> extends readonly (infer Row)[] ? Row[] : NonNullable<T[K]> }

function emptyBatch(derivedCleared: boolean): Growing<Omit<WriteBatch, 'meta'>> & { readonly meta: Map<string, Uint8Array | null> } {
  return {
    derivedCleared,
    meta: new Map(),
    recordsRemoved: [],
    records: [],
    feeds: [],
    envelopes: [],
    envelopesReplaced: [],
    signatures: [],
    positions: [],
    past: [],
    documents: [],
    touches: [],
    clocks: [],
    segments: [],
    entries: [],
    entriesRemoved: [],
    operations: [],
    snapshots: [],
    quarantine: [],
    textVersionsRemoved: [],
    textVersions: [],
    evidence: [],
    evidenceRemoved: [],
  }
}

/** Remembers what was written, so that what comes next is valid. */
function createWorld(): { batchOf(cleared: boolean, steps: readonly Step[]): Required<WriteBatch> } {
  const chains = new Map<FeedId, EnvelopeRow[]>()
  const applied = new Map<FeedId, number>()
  let position = 0
  let touches = 0

  function place(batch: ReturnType<typeof emptyBatch>, row: EnvelopeRow, document: DocumentId): void {
    position += 1
    applied.set(row.feed, row.sequence)
    batch.positions.push({
      feed: row.feed,
      sequence: row.sequence,
      position,
      changed: row.sequence % 3 === 0 ? bytesOf(`changed ${position}`, 9) : null,
      history: (position * 97) % 2 ** 48,
    })
    batch.touches.push({ document, feed: row.feed, sequence: row.sequence, hash: row.hash, position })
  }

  function take(batch: ReturnType<typeof emptyBatch>, step: Step): void {
    touches += 1
    switch (step.do) {
      case 'append': {
        const feed = feedOf(step.feed)
        const chain = chains.get(feed) ?? []
        const row = envelopeRow(feed, chain.length + 1, step.bodies, step.signed)
        chains.set(feed, [...chain, row])
        batch.envelopes.push(row)
        if (step.placed && (applied.get(feed) ?? 0) === chain.length) place(batch, row, documentOf(step.document))
        batch.feeds.push(feedRow(row, applied.get(feed) ?? 0))
        batch.past.push({ feed, sequence: row.sequence, other: feedOf(step.feed + 1), otherSequence: row.sequence * 2 })
        return
      }
      case 'place': {
        const feed = feedOf(step.feed)
        const chain = chains.get(feed) ?? []
        const row = chain[applied.get(feed) ?? 0]
        if (row === undefined) return
        place(batch, row, documentOf(step.document))
        batch.feeds.push(feedRow(chain.at(-1) as EnvelopeRow, row.sequence))
        return
      }
      case 'sign': {
        const row = chains.get(feedOf(step.feed))?.at(-1)
        if (row !== undefined) batch.signatures.push({ feed: row.feed, sequence: row.sequence, signature: bytesOf(`late ${row.hash}`, 64) })
        return
      }
      case 'replace': {
        const chain = chains.get(feedOf(step.feed)) ?? []
        const row = chain[step.value % Math.max(1, chain.length)]
        if (row !== undefined) batch.envelopesReplaced.push(row)
        return
      }
      case 'derive': {
        const document = documentOf(step.document)
        const feed = feedOf(step.feed)
        const sequence = (step.value % 7) + 1
        batch.documents.push({ document, kind: step.feed % 2 === 0 ? 'log' : 'text', name: `name ${step.value % 3}` })
        batch.clocks.push({ document, feed, sequence, clock: step.value })
        batch.segments.push({ document, feed, segment: { day: step.value % 4, number: step.value % 3 }, entries: step.value, sequence })
        batch.operations.push({
          lineage: lineageOf(step.document),
          id: operationId(step.value % 9),
          fingerprint: idOf(`fingerprint ${step.value}`, 8),
          feed,
          sequence,
          entry: step.value % 2 === 0 ? null : entryId(step.value),
        })
        batch.snapshots.push({ document, position: step.value, state: bytesOf(`state ${step.value}`, step.value % 5_000) })
        batch.quarantine.push({ document, feed, sequence, reason: `because of ${step.value}` })
        return
      }
      case 'entry': {
        const row = { document: documentOf(step.document), time: 1_000 + step.time, id: entryId(step.value) }
        if (step.removed) batch.entriesRemoved.push(row)
        else batch.entries.push(row)
        return
      }
      case 'local': {
        const content = textOf(step.value)
        batch.meta.set(`name ${step.value % 5}`, step.removed ? null : bytesOf(`meta ${touches}`, step.value))
        if (step.removed) batch.recordsRemoved.push(recordRow(step.value + 1).hash)
        batch.records.push(recordRow(step.value))
        if (step.removed)
          batch.textVersionsRemoved.push({ document: documentOf(step.document), version: versionOf(textOf(step.value + 1)) })
        batch.textVersions.push({ document: documentOf(step.document), version: versionOf(content), position: touches, content })
        batch.evidence.push({
          id: `fork:${step.value % 6}`,
          kind: 'fork',
          at: touches,
          detail: `seen ${touches}`,
          proof: step.removed ? null : bytesOf('proof', 4),
        })
        if (step.removed) batch.evidenceRemoved.push(`fork:${(step.value + 1) % 6}`)
      }
    }
  }

  return {
    batchOf(cleared, steps) {
      const batch = emptyBatch(cleared)
      if (cleared) {
        applied.clear()
        position = 0
      }
      for (const step of steps) take(batch, step)
      return batch
    },
  }
}

/** The pairs of a map, in the order of their keys. */
export function pairsSorted<Value>(map: ReadonlyMap<string, Value>): readonly (readonly [string, Value])[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Everything that the store answers about the world. */
export function readAll(store: Store): Record<string, unknown> {
  const pairs = documents.flatMap((document) => feeds.map((feed) => ({ document, feed })))
  const chains = feeds.map((feed) => store.envelopes(feed, 1, 0xffff_ffff, Infinity))
  const sequences = Array.from({ length: 10 }, (_, index) => index)
  const pages = documents.flatMap((document) =>
    [false, true].map((newestFirst) => {
      const first = store.entries({ document, newestFirst, limit: 3 })
      const after = first.at(-1)
      return [first, store.entries({ document, newestFirst, limit: 100, timeMin: 1_001, timeMax: 1_004, ...(after && { after }) })]
    }),
  )
  return {
    meta: sequences.map((index) => store.meta(`name ${index}`)),
    records: store.records(),
    feeds: store.feeds(),
    chains,
    parts: feeds.map((feed) => store.envelopes(feed, 2, 4, 5_000)),
    places: chains.flat().map((envelope) => store.locate(envelope.hash)),
    applied: [store.appliedAfter(0, 1_000), store.appliedAfter(3, 2)],
    lastPosition: store.lastPosition(),
    histories: sequences.map((position) => store.history(position)),
    past: feeds.map((feed) => sequences.map((sequence) => pairsSorted(store.past(feed, sequence)))),
    documents: [store.documents(), documents.map((document) => store.document(document))],
    heads: documents.map((document) => store.documentHeads(document)),
    touches: documents.map((document) => [store.touchesAfter(document, 0, 1_000), store.touchesAfter(document, 2, 2)]),
    touched: feeds.map((feed) => sequences.map((sequence) => [...store.documentsTouchedBy(feed, sequence)].sort())),
    clocks: pairs.map(({ document, feed }) => sequences.map((sequence) => store.clock(document, feed, sequence))),
    segments: documents.map((document) => store.segments(document)),
    segment: pairs.map(({ document, feed }) => store.segment(document, feed, { day: 1, number: 1 })),
    pages,
    counts: documents.map((document) => store.entryCount(document)),
    operations: lineages.flatMap((lineage) => sequences.map((seed) => store.operation(lineage, operationId(seed)))),
    snapshots: documents.map((document) => store.snapshot(document)),
    quarantine: [store.quarantine(), pairs.map(({ document, feed }) => store.quarantined(document, feed))],
    textVersions: documents.map((document) =>
      Array.from({ length: 101 }, (_, seed) => store.textVersion(document, versionOf(textOf(seed)))),
    ),
    evidence: store.evidence(),
  }
}
