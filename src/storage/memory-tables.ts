/** What an in-memory store holds, how a batch goes in, and how it is copied. Rows are shared between copies: nobody changes one. */
import type { DocumentId, EnvelopeHash, FeedId, InstanceId, RecordHash } from '../core/index.ts'
import type { OperationId, SegmentName } from '../feed/index.ts'
import { newMap, obtain } from './nested-map.ts'
import { byText, byTimeAndId } from './row-order.ts'
import { SortedList } from './sorted-list.ts'
import { damageToKey, textVersionsMax } from './store.ts'
import type {
  ClockRow,
  Damage,
  DocumentHead,
  DocumentRow,
  EntryCursor,
  EntryRow,
  EnvelopeRow,
  EvidenceRow,
  FeedRow,
  OperationRow,
  PastRow,
  PositionRow,
  QuarantineRow,
  SegmentRow,
  SnapshotRow,
  TextVersionRow,
  WriteBatch,
} from './store.ts'

type RecordRow = NonNullable<WriteBatch['records']>[number]
type SequenceKey = { readonly sequence: number }
type PositionKey = { readonly position: number }
type SegmentKey = { readonly feed: FeedId; readonly segment: SegmentName }

const bySequence = (a: SequenceKey, b: SequenceKey): number => a.sequence - b.sequence
const byPosition = (a: PositionKey, b: PositionKey): number => a.position - b.position
const bySegment = (a: SegmentKey, b: SegmentKey): number =>
  byText(a.feed, b.feed) || a.segment.day - b.segment.day || a.segment.number - b.segment.number

export interface Tables {
  readonly meta: Map<string, Uint8Array>
  readonly records: Map<RecordHash, RecordRow>
  readonly feeds: Map<FeedId, FeedRow>
  readonly chains: Map<FeedId, SortedList<SequenceKey, EnvelopeRow>>
  readonly places: Map<EnvelopeHash, EnvelopeRow>
  readonly evidence: Map<string, EvidenceRow>
  /** What the disk has damaged, by key. */
  readonly damaged: Map<string, Damage>
  /** All that `derivedCleared` forgets, `applied` of the feeds apart. */
  derived: DerivedTables
}

interface DerivedTables {
  readonly positions: Map<FeedId, Map<number, PositionRow>>
  readonly applied: SortedList<PositionKey, PositionRow>
  readonly past: Map<FeedId, Map<FeedId, SortedList<SequenceKey, PastRow>>>
  readonly documents: Map<DocumentId, DocumentRow>
  readonly touches: Map<DocumentId, SortedList<PositionKey, PositionKey>>
  readonly heads: Map<DocumentId, Map<FeedId, DocumentHead>>
  readonly clocks: Map<DocumentId, Map<FeedId, SortedList<SequenceKey, ClockRow>>>
  readonly segments: Map<DocumentId, SortedList<SegmentKey, SegmentRow>>
  readonly entries: Map<DocumentId, SortedList<EntryCursor, EntryRow>>
  readonly operations: Map<InstanceId, Map<OperationId, OperationRow>>
  readonly snapshots: Map<DocumentId, SnapshotRow>
  readonly quarantine: Map<DocumentId, Map<FeedId, QuarantineRow>>
  readonly textVersions: Map<DocumentId, Map<string, TextVersionRow>>
}

export function createTables(): Tables {
  return {
    meta: new Map(),
    records: new Map(),
    feeds: new Map(),
    chains: new Map(),
    places: new Map(),
    evidence: new Map(),
    damaged: new Map(),
    derived: createDerivedTables(),
  }
}

function createDerivedTables(): DerivedTables {
  return {
    positions: new Map(),
    applied: new SortedList<PositionKey, PositionRow>(byPosition),
    past: new Map(),
    documents: new Map(),
    touches: new Map(),
    heads: new Map(),
    clocks: new Map(),
    segments: new Map(),
    entries: new Map(),
    operations: new Map(),
    snapshots: new Map(),
    quarantine: new Map(),
    textVersions: new Map(),
  }
}

/** An independent copy; takes time in the number of rows. */
export function cloneTables({ derived, ...others }: Tables): Tables {
  return { ...cloneEach(others), derived: cloneEach(derived) }
}

function cloneEach<T extends object>(tables: T): T {
  return Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, cloneTable<unknown>(table)])) as T
}

function cloneTable<T>(table: T): T {
  if (table instanceof SortedList) return table.clone() as T
  if (!(table instanceof Map)) return table
  const copy = new Map<unknown, unknown>()
  for (const [key, value] of table) copy.set(key, cloneTable<unknown>(value))
  return copy as T
}

/** The invariant that the batch breaks, if any. Nothing is changed. */
export function faultOf(batch: WriteBatch, tables: Tables): string | undefined {
  const added = new Set<string>()
  for (const { feed, sequence } of batch.envelopes ?? []) {
    const name = `envelope ${sequence} of feed ${feed}`
    if (added.has(name) || tables.chains.get(feed)?.get({ sequence }) !== undefined) return `${name} is stored already`
    added.add(name)
  }
  for (const { feed, sequence } of batch.signatures ?? []) {
    const name = `envelope ${sequence} of feed ${feed}`
    if (!added.has(name) && tables.chains.get(feed)?.get({ sequence }) === undefined) return `${name} gets a signature and is not stored`
  }
  const derived = batch.derivedCleared === true ? createDerivedTables() : tables.derived
  const positions = new Set<number>()
  const placed = new Set<string>()
  for (const { feed, sequence, position } of batch.positions ?? []) {
    const name = `envelope ${sequence} of feed ${feed}`
    if (!added.has(name) && tables.chains.get(feed)?.get({ sequence }) === undefined) return `${name} gets a position and is not stored`
    if (placed.has(name) || derived.positions.get(feed)?.has(sequence) === true) return `${name} has a position already`
    if (positions.has(position) || derived.applied.get({ position }) !== undefined) return `position ${position} is taken`
    placed.add(name)
    positions.add(position)
  }
  return undefined
}

/** Puts a batch without faults in. */
export function applyBatch(batch: WriteBatch, tables: Tables): void {
  if (batch.derivedCleared === true) {
    tables.derived = createDerivedTables()
    for (const row of tables.feeds.values()) tables.feeds.set(row.feed, { ...row, applied: 0 })
    for (const [key, { kind }] of tables.damaged) if (kind === 'snapshot' || kind === 'text-version') tables.damaged.delete(key)
  }
  for (const [name, value] of batch.meta ?? []) {
    if (value === null) tables.meta.delete(name)
    else tables.meta.set(name, value)
  }
  for (const hash of batch.recordsRemoved ?? []) tables.records.delete(hash)
  for (const row of batch.records ?? []) tables.records.set(row.hash, row)
  for (const row of batch.feeds ?? []) tables.feeds.set(row.feed, row)
  for (const row of [...(batch.envelopes ?? []), ...(batch.envelopesReplaced ?? [])]) {
    const chain = obtain(tables.chains, row.feed, () => new SortedList<SequenceKey, EnvelopeRow>(bySequence))
    chain.set(row)
    tables.places.set(row.hash, row)
  }
  for (const { feed, sequence, signature } of batch.signatures ?? []) {
    const chain = tables.chains.get(feed)
    const stored = chain?.get({ sequence })
    if (chain !== undefined && stored !== undefined) chain.set({ ...stored, signature })
  }
  for (const id of batch.evidenceRemoved ?? []) tables.evidence.delete(id)
  for (const row of batch.evidence ?? []) if (!tables.evidence.has(row.id)) tables.evidence.set(row.id, row)
  applyDerived(batch, tables.derived)
  for (const mended of mendedBy(batch)) tables.damaged.delete(damageToKey(mended))
}

/** What is no longer damaged after a batch: it was removed, or written anew. */
function* mendedBy(batch: WriteBatch): Generator<Damage> {
  for (const hash of batch.recordsRemoved ?? []) yield { kind: 'record', hash }
  for (const { hash } of batch.records ?? []) yield { kind: 'record', hash }
  for (const { feed, sequence } of batch.envelopesReplaced ?? []) yield { kind: 'envelope', feed, sequence, part: 'header' }
  for (const { document } of batch.snapshots ?? []) yield { kind: 'snapshot', document }
  for (const { document, version } of batch.textVersionsRemoved ?? []) yield { kind: 'text-version', document, version }
  for (const { document, version } of batch.textVersions ?? []) yield { kind: 'text-version', document, version }
}

function applyDerived(batch: WriteBatch, tables: DerivedTables): void {
  for (const row of batch.positions ?? []) {
    obtain(tables.positions, row.feed, newMap<number, PositionRow>).set(row.sequence, row)
    tables.applied.set(row)
  }
  for (const row of batch.past ?? []) {
    const pastOfFeed = obtain(tables.past, row.feed, newMap<FeedId, SortedList<SequenceKey, PastRow>>)
    obtain(pastOfFeed, row.other, () => new SortedList<SequenceKey, PastRow>(bySequence)).set(row)
  }
  for (const row of batch.documents ?? []) tables.documents.set(row.document, row)
  for (const { document, feed, sequence, hash, position } of batch.touches ?? []) {
    obtain(tables.touches, document, () => new SortedList<PositionKey, PositionKey>(byPosition)).set({ position })
    const heads = obtain(tables.heads, document, newMap<FeedId, DocumentHead>)
    if (sequence >= (heads.get(feed)?.sequence ?? 0)) heads.set(feed, { feed, sequence, hash })
  }
  for (const row of batch.clocks ?? []) {
    const clocksOfDocument = obtain(tables.clocks, row.document, newMap<FeedId, SortedList<SequenceKey, ClockRow>>)
    obtain(clocksOfDocument, row.feed, () => new SortedList<SequenceKey, ClockRow>(bySequence)).set(row)
  }
  for (const row of batch.segments ?? []) {
    obtain(tables.segments, row.document, () => new SortedList<SegmentKey, SegmentRow>(bySegment)).set(row)
  }
  for (const row of batch.entries ?? []) {
    obtain(tables.entries, row.document, () => new SortedList<EntryCursor, EntryRow>(byTimeAndId)).set(row)
  }
  for (const row of batch.entriesRemoved ?? []) tables.entries.get(row.document)?.delete(row)
  for (const row of batch.operations ?? []) obtain(tables.operations, row.lineage, newMap<OperationId, OperationRow>).set(row.id, row)
  for (const row of batch.snapshots ?? []) tables.snapshots.set(row.document, row)
  for (const row of batch.quarantine ?? []) {
    const quarantineOfDocument = obtain(tables.quarantine, row.document, newMap<FeedId, QuarantineRow>)
    if (row.sequence < (quarantineOfDocument.get(row.feed)?.sequence ?? Infinity)) quarantineOfDocument.set(row.feed, row)
  }
  for (const { document, version } of batch.textVersionsRemoved ?? []) tables.textVersions.get(document)?.delete(version)
  for (const row of batch.textVersions ?? [])
    keepTextVersion(obtain(tables.textVersions, row.document, newMap<string, TextVersionRow>), row)
}

function keepTextVersion(versions: Map<string, TextVersionRow>, row: TextVersionRow): void {
  versions.set(row.version, row)
  if (versions.size <= textVersionsMax) return
  const oldest = [...versions.values()].reduce((least, other) => (byVersionAge(other, least) < 0 ? other : least))
  versions.delete(oldest.version)
}

function byVersionAge(a: TextVersionRow, b: TextVersionRow): number {
  return a.position - b.position || byText(a.version, b.version)
}
