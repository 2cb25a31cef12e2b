/**
 * The store in memory, for simulation: plain maps, no I/O. When a commit settles, and whether it does, is decided from
 * outside (`commitVia`), so that a simulator can crash an instance between the two.
 */
import { assert, SelfsameError } from '../core/index.ts'
import type { DocumentId, EnvelopeHash, FeedId, InstanceId } from '../core/index.ts'
import type { OperationId, SegmentName } from '../feed/index.ts'
import { applyBatch, cloneTables, createTables, faultOf } from './memory-tables.ts'
import type { Tables } from './memory-tables.ts'
import { byAge, byDocumentAndFeed, byKindAndName, byText } from './row-order.ts'
import { CommitFailure, damagesMax, damageToKey, DamagedEnvelope, storedSize } from './store.ts'
import type {
  Damage,
  DocumentHead,
  DocumentRow,
  EntryQuery,
  EntryRow,
  EnvelopePlace,
  EnvelopeRow,
  EvidenceRow,
  FeedRow,
  OperationRow,
  PositionRow,
  QuarantineRow,
  SegmentRow,
  SnapshotRow,
  Store,
  StoredEnvelope,
  WriteBatch,
} from './store.ts'

export interface MemoryStoreOptions {
  /**
   * Calls `apply` when the batch reaches the disk: from then on a `clone` has it. Settles when the writer hears of it: from
   * then on reads see it. A rejection is passed on and leaves the store failed, unless it is a `CommitFailure` that rolled
   * back, for which `apply` was not called. By default both happen at once.
   */
  readonly commitVia?: (apply: () => void) => Promise<void>
}

export interface MemoryStore extends Store {
  /** An independent copy of what is on disk, whatever became of this store: a backup, a copied home, a store opened again. */
  clone(options?: MemoryStoreOptions): MemoryStore
  /** Damages something that is stored, as a failing disk does: from then on reads and `scrub` find it so, until it is written anew. */
  damage(place: Damage): void
}

export function createMemoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  return new TableStore(options, createTables())
}

const applyAtOnce = async (apply: () => void): Promise<void> => apply()

class TableStore implements MemoryStore {
  readonly #options: MemoryStoreOptions
  readonly #tables: Tables
  /** On disk, not yet to be seen. */
  #written: WriteBatch | undefined
  #state: 'open' | 'committing' | 'failed' | 'closed' = 'open'
  #damageFound: (damage: Damage) => void = () => {}

  constructor(options: MemoryStoreOptions, tables: Tables) {
    this.#options = options
    this.#tables = tables
  }

  clone(options: MemoryStoreOptions = this.#options): MemoryStore {
    const tables = cloneTables(this.#tables)
    if (this.#written !== undefined) applyBatch(this.#written, tables)
    return new TableStore(options, tables)
  }

  damage(place: Damage): void {
    const { damaged, records } = this.#tables
    assert(this.#isStored(place), `${damageToKey(place)} is not stored`)
    damaged.set(damageToKey(place), place)
    // Records are given as they are: whoever reads them checks them.
    const record = place.kind === 'record' ? records.get(place.hash) : undefined
    if (record !== undefined)
      records.set(record.hash, { ...record, bytes: record.bytes.map((byte, index) => (index === 0 ? byte ^ 1 : byte)) })
  }

  async scrub(): Promise<readonly Damage[]> {
    return [...this.#open.damaged.values()].filter((damage) => this.#isStored(damage)).slice(0, damagesMax)
  }

  onDamage(listener: (damage: Damage) => void): void {
    this.#damageFound = listener
  }

  #isStored(place: Damage): boolean {
    const { chains, derived, records } = this.#tables
    switch (place.kind) {
      case 'envelope':
        return chains.get(place.feed)?.get(place) !== undefined
      case 'record':
        return records.has(place.hash)
      case 'snapshot':
        return derived.snapshots.has(place.document)
      case 'text-version':
        return derived.textVersions.get(place.document)?.has(place.version) === true
    }
  }

  /** What is damaged of a place, told to whoever listens. */
  #damageAt(place: Damage): Damage | undefined {
    const { damaged } = this.#open
    const damage = damaged.size === 0 ? undefined : damaged.get(damageToKey(place))
    if (damage !== undefined) this.#damageFound(damage)
    return damage
  }

  async commit(batch: WriteBatch): Promise<void> {
    if (this.#state === 'failed' || this.#state === 'closed') throw new CommitFailure('unknown', refusals[this.#state])
    assert(this.#state === 'open', 'a store takes one commit at a time')
    this.#state = 'committing'
    try {
      await (this.#options.commitVia ?? applyAtOnce)(() => this.#write(batch))
      if (this.#written !== undefined) applyBatch(this.#written, this.#tables)
      this.#written = undefined
      this.#state = 'open'
    } catch (error) {
      this.#state = error instanceof CommitFailure && error.outcome === 'rolled-back' ? 'open' : 'failed'
      throw error
    }
  }

  #write(batch: WriteBatch): void {
    const fault = faultOf(batch, this.#tables)
    if (fault !== undefined) throw new CommitFailure('unknown', `the commit broke an invariant: ${fault}`)
    this.#written = batch
  }

  async close(): Promise<void> {
    assert(this.#state !== 'committing', 'a store is closed after its last commit settled')
    this.#state = 'closed'
  }

  /** The tables, to read. */
  get #open(): Tables {
    if (this.#state === 'failed' || this.#state === 'closed') throw new SelfsameError('storage-failed', refusals[this.#state])
    return this.#tables
  }

  get #derived(): Tables['derived'] {
    return this.#open.derived
  }

  meta(name: string): Uint8Array | undefined {
    return this.#open.meta.get(name)
  }

  records(): NonNullable<WriteBatch['records']> {
    return [...this.#open.records.values()]
  }

  feeds(): readonly FeedRow[] {
    return [...this.#open.feeds.values()].sort((a, b) => byText(a.feed, b.feed))
  }

  locate(hash: EnvelopeHash): EnvelopePlace | undefined {
    const row = this.#open.places.get(hash)
    if (row === undefined) return undefined
    const { feed, sequence } = row
    return { feed, sequence, position: this.#derived.positions.get(feed)?.get(sequence)?.position ?? null }
  }

  envelopes(feed: FeedId, from: number, to: number, bytesMax: number): readonly StoredEnvelope[] {
    const chain = this.#open.chains.get(feed)
    if (chain === undefined) return []
    const found: StoredEnvelope[] = []
    let bytes = 0
    for (let index = chain.countBelow({ sequence: from }); bytes < bytesMax || found.length === 0; index += 1) {
      const envelope = chain.items[index]
      if (envelope === undefined || envelope.sequence > to) break
      if (found.length > 0 && this.#damageAt(placeOf(envelope)) !== undefined) break
      found.push(this.#toStored(envelope))
      bytes += storedSize(envelope)
    }
    return found
  }

  appliedAfter(position: number, limit: number): readonly StoredEnvelope[] {
    const { applied } = this.#derived
    const start = applied.countUpTo({ position })
    return applied.items.slice(start, start + limit).map((row) => this.#stored(row))
  }

  lastPosition(): number {
    return this.#derived.applied.last?.position ?? 0
  }

  history(position: number): number | undefined {
    return this.#derived.applied.get({ position })?.history
  }

  past(feed: FeedId, sequence: number): ReadonlyMap<FeedId, number> {
    const past = new Map<FeedId, number>()
    for (const [other, rows] of this.#derived.past.get(feed) ?? []) {
      const row = rows.floor({ sequence })
      if (row !== undefined) past.set(other, row.otherSequence)
    }
    return past
  }

  document(document: DocumentId): DocumentRow | undefined {
    return this.#derived.documents.get(document)
  }

  documents(): readonly DocumentRow[] {
    return [...this.#derived.documents.values()].sort(byKindAndName)
  }

  documentHeads(document: DocumentId): readonly DocumentHead[] {
    return [...(this.#derived.heads.get(document)?.values() ?? [])].sort((a, b) => byText(a.feed, b.feed))
  }

  touchesAfter(document: DocumentId, position: number, limit: number): readonly StoredEnvelope[] {
    const { applied, touches } = this.#derived
    const list = touches.get(document)
    if (list === undefined) return []
    const start = list.countUpTo({ position })
    return list.items.slice(start, start + limit).flatMap((touch) => {
      const row = applied.get(touch)
      return row === undefined ? [] : [this.#stored(row)]
    })
  }

  clock(document: DocumentId, feed: FeedId, sequence: number): number {
    return this.#derived.clocks.get(document)?.get(feed)?.floor({ sequence })?.clock ?? 0
  }

  documentsTouchedBy(feed: FeedId, sequence: number): readonly DocumentId[] {
    const { positions, touches } = this.#derived
    const place = positions.get(feed)?.get(sequence)
    return place === undefined ? [] : [...touches].flatMap(([document, list]) => (list.get(place) === undefined ? [] : [document]))
  }

  segment(document: DocumentId, feed: FeedId, segment: SegmentName): SegmentRow | undefined {
    return this.#derived.segments.get(document)?.get({ feed, segment })
  }

  segments(document: DocumentId): readonly SegmentRow[] {
    return [...(this.#derived.segments.get(document)?.items ?? [])]
  }

  entries(query: EntryQuery): readonly EntryRow[] {
    const list = this.#derived.entries.get(query.document)
    if (list === undefined) return []
    const { timeMin = -Infinity, timeMax = Infinity, after, newestFirst = false, limit } = query
    let start = list.countBelow({ time: timeMin, id: '' })
    let end = list.countBelow({ time: timeMax, id: '' })
    if (after !== undefined && newestFirst) end = Math.min(end, list.countBelow(after))
    if (after !== undefined && !newestFirst) start = Math.max(start, list.countUpTo(after))
    return newestFirst
      ? list.items.slice(Math.max(start, end - limit), end).reverse()
      : list.items.slice(start, Math.min(end, start + limit))
  }

  entryCount(document: DocumentId): number {
    return this.#derived.entries.get(document)?.items.length ?? 0
  }

  operation(lineage: InstanceId, id: OperationId): OperationRow | undefined {
    return this.#derived.operations.get(lineage)?.get(id)
  }

  snapshot(document: DocumentId): SnapshotRow | undefined {
    const snapshot = this.#derived.snapshots.get(document)
    return this.#damageAt({ kind: 'snapshot', document }) === undefined ? snapshot : undefined
  }

  quarantined(document: DocumentId, feed: FeedId): QuarantineRow | undefined {
    return this.#derived.quarantine.get(document)?.get(feed)
  }

  quarantine(): readonly QuarantineRow[] {
    return [...this.#derived.quarantine.values()].flatMap((rows) => [...rows.values()]).sort(byDocumentAndFeed)
  }

  textVersion(document: DocumentId, version: string): string | undefined {
    const row = this.#derived.textVersions.get(document)?.get(version)
    return this.#damageAt({ kind: 'text-version', document, version }) === undefined ? row?.content : undefined
  }

  evidence(): readonly EvidenceRow[] {
    return [...this.#open.evidence.values()].sort(byAge)
  }

  #stored(place: Pick<PositionRow, 'feed' | 'sequence'>): StoredEnvelope {
    const envelope = this.#open.chains.get(place.feed)?.get(place)
    assert(envelope !== undefined, 'an index names an envelope that is not stored')
    return this.#toStored(envelope)
  }

  #toStored(envelope: EnvelopeRow): StoredEnvelope {
    const damage = this.#damageAt(placeOf(envelope))
    if (damage?.kind === 'envelope') throw new DamagedEnvelope(damage)
    const place = this.#derived.positions.get(envelope.feed)?.get(envelope.sequence)
    return { ...envelope, position: place?.position ?? null, changed: place?.changed ?? null }
  }
}

function placeOf({ feed, sequence }: EnvelopeRow): Damage {
  return { kind: 'envelope', feed, sequence, part: 'header' }
}

const refusals = {
  failed: 'the outcome of a commit is unknown: open the store again before anything else',
  closed: 'the store is closed',
} as const
