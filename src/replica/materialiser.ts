/**
 * The materialiser: applies envelopes to documents and records what follows from them (readers' index, clocks,
 * operation ids, quarantine). Keeps a bounded cache of live documents, loaded lazily from snapshot and envelopes. While
 * a batch is built its documents are ahead of the store: `isDirty` tells readers to wait.
 */
import { assert, decode, encode, stampToMilliseconds } from '../core/index.ts'
import type { DocumentId, FeedId, InstanceId } from '../core/index.ts'
import {
  documentIdOf,
  entryIdOf,
  isDocumentKind,
  isDocumentName,
  openLiveDocument,
  readAcceptedSegmentUpdate,
  readSegmentUpdate,
} from '../document/index.ts'
import type { EntryContent, LiveDocument, LiveKind } from '../document/index.ts'
import { bodyTypeUpdate, clientIdOf, decodeUpdateBody } from '../feed/index.ts'
import type { Envelope, OperationId, OperationMark, SegmentName, UpdateBody } from '../feed/index.ts'
import type { ClockRow, OperationRow, SegmentRow, Store, StoreReads } from '../storage/index.ts'
import { storedToEnvelope } from './ledger.ts'
import type { DeclaredPast, Ledger } from './ledger.ts'

/**
 * Updates since the last snapshot after which a document gets a new one: bounds what a load replays. Between these two it is one for each so many bytes of
 * the last snapshot, so that a small document, whose snapshots cost little, is loaded at once.
 */
const [snapshotUpdatesMin, snapshotUpdatesMax, bytesPerSnapshotUpdate] = [32, 256, 64]
/** The same of a document that rests: its next snapshot may be long in coming. */
const bytesPerRestedUpdate = 4 << 10
/** Bytes of updates since the last snapshot after which a document gets a new one, however few they are. */
const snapshotBytes = 512 << 10
/** Documents that get a snapshot in one commit: keeps idle work short. */
const snapshotsPerBatchMax = 4
/** Bytes of memory that even an empty live document takes. */
const entryOverheadBytes = 4 << 10
/** Envelopes read at a time when a document is loaded. */
const loadPage = 256

interface LiveEntry {
  readonly document: LiveDocument
  /** Its size by estimate, bytes, when it was loaded or last committed. */
  bytes: number
  /** Bytes of the last snapshot, 0 where there is none. */
  snapshotLength: number
  updatesSinceSnapshot: number
  bytesSinceSnapshot: number
  /** What `updatesSinceSnapshot` was at the last look at which documents rest. */
  updatesAtLook: number
}

export interface MaterialiserOptions {
  readonly store: Store
  readonly ledger: Ledger
  /** Bytes that live documents may take in memory, by their own estimate. */
  readonly cacheBytes: number
  /** The instance at the root of an instance's lineage. */
  readonly lineageOf: (instance: InstanceId) => InstanceId
  /** Where merges of writes that had not seen each other are counted, by document, once they are durable. */
  readonly conflicts: Map<DocumentId, number>
}

export class Materialiser {
  readonly #store: Store
  readonly #ledger: Ledger
  readonly #cacheBytes: number
  readonly #lineageOf: (instance: InstanceId) => InstanceId
  readonly #conflicts: Map<DocumentId, number>
  /** In order of last use. */
  readonly #live = new Map<DocumentId, LiveEntry>()
  /** Sum of what the live documents take. */
  #bytes = 0
  /** Of the batch under way. */
  readonly #dirty = new Map<DocumentId, LiveKind | 'log'>()
  readonly #pendingUpdates = new Map<DocumentId, Uint8Array[]>()
  readonly #pendingClocks = new Map<string, ClockRow[]>()
  readonly #pendingSegments = new Map<string, SegmentRow>()
  readonly #pendingOperations = new Map<string, OperationRow>()
  readonly #pendingQuarantine = new Map<string, number>()
  /** By document, what names each case: a request that is tried twice is one. */
  readonly #pendingConflicts = new Map<DocumentId, Set<string>>()

  constructor(options: MaterialiserOptions) {
    this.#store = options.store
    this.#ledger = options.ledger
    this.#cacheBytes = options.cacheBytes
    this.#lineageOf = options.lineageOf
    this.#conflicts = options.conflicts
  }

  /** Whether the batch under way changes the document: what is in memory is not durable yet. */
  isDirty(document: DocumentId): boolean {
    return this.#dirty.has(document)
  }

  /** The live document, loaded if need be. */
  live(document: DocumentId, kind: LiveKind): LiveDocument {
    return this.#entry(document, kind).document
  }

  /** The live document where it is in memory. */
  cached(document: DocumentId): LiveDocument | undefined {
    return this.#live.get(document)?.document
  }

  /** The live document for a reader, who looks at it at once and does not keep it. Not while a batch is built. */
  read(document: DocumentId, kind: LiveKind): LiveDocument {
    const { document: live } = this.#entry(document, kind)
    this.#evict()
    return live
  }

  /** Where an operation id of a lineage was materialised, the batch under way included. */
  operation(lineage: InstanceId, id: OperationId): OperationRow | undefined {
    return this.#pendingOperations.get(`${lineage}:${id}`) ?? this.#store.operation(lineage, id)
  }

  /**
   * Applies a received envelope, next of its feed, whose deps are applied. All bodies are judged before any is applied: what
   * breaks a rule is quarantined, and with it everything else that the envelope does to that document; the rest goes on.
   */
  apply(envelope: Envelope): void {
    const past = this.#ledger.declaredPast(envelope)
    const position = this.#ledger.lastPosition + 1
    const { bodies: references } = envelope.header
    const judged = references.map((_, index) => this.#judge(envelope, index, past))
    const reasons = new Map<DocumentId, string>()
    const places = new Set<string>()
    for (const [index, verdict] of judged.entries()) {
      const { document } = references[index] as (typeof references)[number]
      if (verdict === null) continue
      if (typeof verdict === 'string') {
        reasons.set(document, verdict)
        continue
      }
      // A second update would be judged by a state that the first has not made yet.
      const { segment } = verdict.body
      const place = segment === null ? document : `${document}:${segment.day}:${segment.number}`
      if (places.has(place)) reasons.set(document, 'two updates of one document in one envelope')
      places.add(place)
    }
    for (const [document, reason] of reasons) this.#quarantine(envelope, document, reason)
    const keysOfBodies: (readonly string[])[] = []
    let firstEntry = 0
    for (const [index, verdict] of judged.entries()) {
      const { document } = references[index] as (typeof references)[number]
      const isApplied = verdict !== null && typeof verdict !== 'string' && !reasons.has(document)
      const isConcurrent = isApplied && this.#isConcurrent(envelope, document, verdict.body, past)
      const keys = isApplied ? this.#applyBody(envelope, document, verdict.body, position, verdict.entries, firstEntry) : []
      if (isConcurrent) this.#noteConflicts(envelope, document, verdict.body.kind as LiveKind, keys)
      keysOfBodies.push(keys)
      if (isApplied) firstEntry += verdict.entries.length
    }
    this.#ledger.markApplied(envelope, past.growth, encodeChanged(keysOfBodies))
  }

  #applyBody(
    envelope: Envelope,
    document: DocumentId,
    body: UpdateBody,
    position: number,
    entries: readonly EntryContent[],
    firstEntry: number,
  ): readonly string[] {
    let keys: readonly string[] = []
    if (body.segment === null && body.update.length > 0) {
      const live = this.#entry(document, body.kind as LiveKind).document
      keys = live.apply(body.update)
      assert(!live.hasPending(), `document ${document} waits for structs after an accepted update`)
    }
    this.#record(envelope, document, body, position, entries, firstEntry)
    return keys
  }

  /** Whether an update of a document whose readers can tell comes from an author who had not seen what others wrote there. */
  #isConcurrent({ header }: Envelope, document: DocumentId, { kind, update }: UpdateBody, { past }: DeclaredPast): boolean {
    if ((kind !== 'register' && kind !== 'text' && kind !== 'json') || update.length === 0) return false
    const isUnseen = (touch: { readonly feed: FeedId; readonly sequence: number }): boolean =>
      touch.feed !== header.feed && touch.sequence > (past.get(touch.feed) ?? 0)
    const pending = this.#ledger.rows.touches.some((touch) => touch.document === document && isUnseen(touch))
    return pending || this.#store.documentHeads(document).some(isUnseen)
  }

  /** Of a register map only keys count that now have siblings: writes to different keys have nothing to do with each other. */
  #noteConflicts({ hash }: Envelope, document: DocumentId, kind: LiveKind, keys: readonly string[]): void {
    if (kind !== 'register') return this.noteConflict(document, hash)
    const value = this.live(document, kind).value()
    assert(value.kind === 'register', 'a register document reads as registers')
    for (const key of keys) if ((value.cells.get(key)?.length ?? 0) > 1) this.noteConflict(document, `${hash}:${key}`)
  }

  /** Counts a conflict of the batch under way; the same `name` again is the same one. */
  noteConflict(document: DocumentId, name: string): void {
    const names = this.#pendingConflicts.get(document)
    if (names === undefined) this.#pendingConflicts.set(document, new Set([name]))
    else names.add(name)
  }

  /** Takes note of an envelope that this instance wrote: its documents hold its changes already. */
  recordOwn(envelope: Envelope, bodies: readonly OwnBody[]): void {
    const past = this.#ledger.declaredPast(envelope)
    const position = this.#ledger.lastPosition + 1
    let firstEntry = 0
    for (const { document, body, entries } of bodies) {
      this.#record(envelope, document, body, position, entries, firstEntry)
      firstEntry += entries.length
    }
    this.#ledger.markApplied(envelope, past.growth, encodeChanged(bodies.map(({ keys }) => keys)))
  }

  /** Adds what is due once a batch: text versions of changed texts. */
  finishBatch(): void {
    for (const [document, kind] of this.#dirty) {
      if (kind !== 'text') continue
      const value = this.live(document, 'text').value()
      assert(value.kind === 'text', 'a text document reads as text')
      this.#ledger.rows.textVersions.push({ document, version: value.version, position: this.#ledger.lastPosition, content: value.text })
    }
  }

  /**
   * Adds the snapshots that are due to the batch; call before anything else of it, while documents equal the store. `isLook`: those of documents, too,
   * that have not changed since the last look. Returns whether any was.
   */
  stageSnapshots(isLook: boolean): boolean {
    let taken = 0
    for (const [document, entry] of this.#live) {
      if (taken === snapshotsPerBatchMax) break
      const rests = isLook && entry.updatesAtLook === entry.updatesSinceSnapshot
      if (isLook) entry.updatesAtLook = entry.updatesSinceSnapshot
      if (!isSnapshotDue(entry) && !(rests && entry.updatesSinceSnapshot * bytesPerRestedUpdate > entry.snapshotLength)) continue
      const state = entry.document.state()
      this.#ledger.rows.snapshots.push({ document, position: this.#ledger.lastPosition, state })
      entry.snapshotLength = state.length
      entry.updatesSinceSnapshot = 0
      entry.bytesSinceSnapshot = 0
      taken += 1
    }
    return taken > 0
  }

  /** The batch is durable. `countsConflicts`: what it merged is merged for the first time. */
  settle(countsConflicts: boolean): void {
    for (const document of this.#dirty.keys()) {
      const entry = this.#live.get(document)
      if (entry !== undefined) this.#weigh(entry)
    }
    for (const [document, { size }] of countsConflicts ? this.#pendingConflicts : [])
      this.#conflicts.set(document, (this.#conflicts.get(document) ?? 0) + size)
    // The documents in use stay for the next batch, however large they are.
    this.#evict()
    this.#clearPending()
  }

  /** Forgets these live documents: an edit was given up half way. They are loaded again, the batch under way included. */
  discard(documents: Iterable<DocumentId>): void {
    for (const document of documents) this.#forget(document)
  }

  /** The segment as it stands, the batch under way included. */
  segment(document: DocumentId, feed: FeedId, segment: SegmentName): SegmentRow | undefined {
    return this.#pendingSegments.get(segmentKey(document, feed, segment)) ?? this.#store.segment(document, feed, segment)
  }

  /** What a body holds if it may be materialised, null if it is to be passed over, or why it is quarantined. */
  #judge(envelope: Envelope, index: number, past: DeclaredPast): { body: UpdateBody; entries: readonly EntryContent[] } | null | string {
    const { header } = envelope
    const reference = header.bodies[index] as (typeof header.bodies)[number]
    const { document } = reference
    if (this.#isQuarantined(document, header.feed, header.sequence)) return 'an earlier update of this feed to this document is quarantined'
    if (reference.type !== bodyTypeUpdate)
      return reference.critical ? `needs an upgrade: operation type ${reference.type} is not known here` : null
    const decoded = decodeUpdateBody((envelope.bodies[index] as { bytes: Uint8Array }).bytes)
    if (!decoded.ok) return decoded.reason
    const body = decoded.value
    if (!isDocumentKind(body.kind) || !isDocumentName(body.kind, body.name)) return 'not a document name'
    if (documentIdOf(header.space, body.kind, body.name) !== document) return 'the body names another document than the header'
    if ((body.kind === 'log') !== (body.segment !== null)) return 'a segment belongs to a log and only there'
    if (body.update.length === 0)
      return body.operations.every((mark) => mark.index === 0) ? { body, entries: [] } : 'an empty update has no entries to name'
    const client = clientIdOf(header.feed)
    if (this.#ledger.feedOfClient(client) !== header.feed) return 'the client id of this feed belongs to another'
    if (body.segment !== null) {
      const clock = this.segment(document, header.feed, body.segment)?.entries ?? 0
      const entries = readSegmentUpdate(body.update, client, clock)
      if (!entries.ok) return entries.reason
      if (body.operations.some((mark) => mark.index >= entries.value.length)) return 'an operation names an entry that is not there'
      return { body, entries: entries.value }
    }
    const live = this.#entry(document, body.kind as LiveKind).document
    const pastClocks = new Map<number, number>()
    const checked = live.check(body.update, {
      client,
      stamp: header.stamp,
      pastClock: (other) => {
        const known = pastClocks.get(other) ?? this.#pastClock(document, live, other, past)
        pastClocks.set(other, known)
        return known
      },
    })
    return checked.ok ? { body, entries: [] } : checked.reason
  }

  /** How far the structs of a client reach in the declared past. */
  #pastClock(document: DocumentId, live: LiveDocument, client: number, past: DeclaredPast): number {
    const feed = this.#ledger.feedOfClient(client)
    const sequence = feed === undefined ? undefined : past.past.get(feed)
    if (feed === undefined || sequence === undefined) return 0
    if (sequence >= (this.#ledger.feed(feed)?.applied ?? 0)) return live.clock(client)
    let clock = this.#store.clock(document, feed, sequence)
    for (const row of this.#pendingClocks.get(`${document}:${feed}`) ?? []) {
      if (row.sequence <= sequence && row.clock > clock) clock = row.clock
    }
    return clock
  }

  /** Whether what the envelope at `sequence` of a feed did to the document is kept and not materialised. */
  #isQuarantined(document: DocumentId, feed: FeedId, sequence: number): boolean {
    const first = this.#pendingQuarantine.get(`${document}:${feed}`) ?? this.#store.quarantined(document, feed)?.sequence
    return first !== undefined && first <= sequence
  }

  #quarantine(envelope: Envelope, document: DocumentId, reason: string): void {
    const { feed, sequence } = envelope.header
    if (this.#isQuarantined(document, feed, sequence)) return
    this.#pendingQuarantine.set(`${document}:${feed}`, sequence)
    this.#ledger.rows.quarantine.push({ document, feed, sequence, reason })
  }

  #record(
    envelope: Envelope,
    document: DocumentId,
    body: UpdateBody,
    position: number,
    entries: readonly EntryContent[],
    firstEntry: number,
  ): void {
    const rows = this.#ledger.rows
    const { feed, sequence } = envelope.header
    rows.documents.push({ document, kind: body.kind, name: body.name })
    rows.touches.push({ document, feed, sequence, hash: envelope.hash, position })
    this.#dirty.set(document, body.kind as LiveKind | 'log')
    if (body.segment === null) {
      this.#recordLive(envelope, document, body)
      for (const mark of body.operations) this.#recordOperation(envelope, mark, null)
    } else {
      this.#recordEntries(envelope, document, body.segment, body, entries, firstEntry)
    }
  }

  #recordLive(envelope: Envelope, document: DocumentId, body: UpdateBody): void {
    if (body.update.length === 0) return
    const { feed, sequence } = envelope.header
    const entry = this.#entry(document, body.kind as LiveKind)
    entry.updatesSinceSnapshot += 1
    entry.bytesSinceSnapshot += body.update.length
    const row = { document, feed, sequence, clock: entry.document.clock(clientIdOf(feed)) }
    this.#ledger.rows.clocks.push(row)
    append(this.#pendingClocks, `${document}:${feed}`, row)
    append(this.#pendingUpdates, document, body.update)
  }

  #recordEntries(
    envelope: Envelope,
    document: DocumentId,
    segment: SegmentName,
    body: UpdateBody,
    entries: readonly EntryContent[],
    firstEntry: number,
  ): void {
    const rows = this.#ledger.rows
    const { feed, sequence, stamp } = envelope.header
    const before = this.segment(document, feed, segment)?.entries ?? 0
    const row = { document, feed, segment, entries: before + entries.length, sequence }
    this.#pendingSegments.set(segmentKey(document, feed, segment), row)
    rows.segments.push(row)
    const hidden = new Set<number>()
    for (const mark of body.operations) {
      const content = entries[mark.index]
      const id = content === undefined ? null : entryIdOf(stamp, feed, sequence, firstEntry + mark.index)
      if (!this.#recordOperation(envelope, mark, id)) hidden.add(mark.index)
    }
    const defaultTime = stampToMilliseconds(stamp)
    for (const [index, content] of entries.entries()) {
      if (hidden.has(index)) continue
      rows.entries.push({ document, time: content.time ?? defaultTime, id: entryIdOf(stamp, feed, sequence, firstEntry + index) })
    }
  }

  /**
   * Takes note of an operation id. Copies of one home may each have carried out the same request: of the log entries
   * that it made the least id is shown, whatever came first. Returns whether this one is (so far) the one to show.
   */
  #recordOperation(envelope: Envelope, mark: OperationMark, entry: string | null): boolean {
    const { feed, sequence } = envelope.header
    const instance = this.#ledger.feed(feed)?.instance
    assert(instance !== undefined, 'an envelope is applied whose feed is not known')
    const lineage = this.#lineageOf(instance)
    const known = this.operation(lineage, mark.id)
    if (known !== undefined) {
      // Two copies that gave one id to different requests: both stand, and the id stays with the first.
      if (known.fingerprint !== mark.fingerprint) return true
      if (entry === null || known.entry === null || known.entry <= entry) return false
      this.#hideEntry(known)
    }
    const row = { lineage, id: mark.id, fingerprint: mark.fingerprint, feed, sequence, entry }
    this.#pendingOperations.set(`${lineage}:${mark.id}`, row)
    this.#ledger.rows.operations.push(row)
    return true
  }

  /** Takes the entry of an operation out of the readers' index: a lesser id of the same operation came. */
  #hideEntry(operation: OperationRow): void {
    const envelope = this.#ledger.envelope(operation.feed, operation.sequence)
    const shown = entriesOf(envelope, (document) => this.#isQuarantined(document, operation.feed, operation.sequence)).find(
      (item) => item.id === operation.entry,
    )
    assert(shown !== undefined, 'an operation names an entry that is not in its envelope')
    const row = { document: shown.document, time: shown.time, id: shown.id }
    const pending = this.#ledger.rows.entries.findIndex((item) => item.id === row.id)
    if (pending >= 0) this.#ledger.rows.entries.splice(pending, 1)
    else this.#ledger.rows.entriesRemoved.push(row)
  }

  #entry(document: DocumentId, kind: LiveKind): LiveEntry {
    const known = this.#live.get(document)
    if (known !== undefined) {
      this.#live.delete(document)
      this.#live.set(document, known)
      return known
    }
    const entry = this.#load(document, kind)
    this.#live.set(document, entry)
    this.#weigh(entry)
    return entry
  }

  #weigh(entry: LiveEntry): void {
    const bytes = entry.document.sizeEstimate + entryOverheadBytes
    this.#bytes += bytes - entry.bytes
    entry.bytes = bytes
  }

  #forget(document: DocumentId): void {
    this.#bytes -= this.#live.get(document)?.bytes ?? 0
    this.#live.delete(document)
  }

  /** Drops what was used longest ago, as far as the batch under way does not change it. */
  #evict(): void {
    if (this.#bytes <= this.#cacheBytes) return
    for (const document of this.#live.keys()) {
      if (this.#bytes <= this.#cacheBytes) break
      if (!this.#dirty.has(document)) this.#forget(document)
    }
  }

  #load(document: DocumentId, kind: LiveKind): LiveEntry {
    const snapshot = this.#store.snapshot(document)
    const live = openLiveDocument(kind, snapshot?.state ?? null)
    const entry: LiveEntry = {
      document: live,
      bytes: 0,
      snapshotLength: snapshot?.state.length ?? 0,
      updatesSinceSnapshot: 0,
      bytesSinceSnapshot: 0,
      updatesAtLook: 0,
    }
    const replay = (update: Uint8Array): void => {
      live.apply(update)
      entry.updatesSinceSnapshot += 1
      entry.bytesSinceSnapshot += update.length
    }
    for (const update of storedUpdates(this.#store, document, snapshot?.position ?? 0)) replay(update)
    for (const update of this.#pendingUpdates.get(document) ?? []) replay(update)
    return entry
  }

  #clearPending(): void {
    this.#dirty.clear()
    this.#pendingUpdates.clear()
    this.#pendingClocks.clear()
    this.#pendingSegments.clear()
    this.#pendingOperations.clear()
    this.#pendingQuarantine.clear()
    this.#pendingConflicts.clear()
  }
}

function isSnapshotDue({ bytesSinceSnapshot, snapshotLength, updatesSinceSnapshot }: LiveEntry): boolean {
  const updates = Math.min(snapshotUpdatesMax, Math.max(snapshotUpdatesMin, snapshotLength / bytesPerSnapshotUpdate))
  return updatesSinceSnapshot >= updates || bytesSinceSnapshot >= snapshotBytes
}

/** A body that this instance wrote, with what it holds. */
export interface OwnBody {
  readonly document: DocumentId
  readonly body: UpdateBody
  readonly entries: readonly EntryContent[]
  /** Keys of the cells that it changed. */
  readonly keys: readonly string[]
}

/** A log entry with where and when it stands. */
export interface PlacedEntry {
  readonly document: DocumentId
  readonly id: string
  readonly time: number
  readonly content: EntryContent
  readonly mark: OperationMark | undefined
}

/** The log entries of an applied envelope, in order; `isQuarantined` tells which documents it did not enter. */
export function entriesOf(envelope: Envelope, isQuarantined: (document: DocumentId) => boolean): PlacedEntry[] {
  const { header } = envelope
  const placed: PlacedEntry[] = []
  for (const [index, reference] of header.bodies.entries()) {
    if (reference.type !== bodyTypeUpdate || isQuarantined(reference.document)) continue
    const body = decodeUpdateBody((envelope.bodies[index] as { bytes: Uint8Array }).bytes)
    if (!body.ok || body.value.segment === null || body.value.update.length === 0) continue
    const entries = readAcceptedSegmentUpdate(body.value.update, clientIdOf(header.feed))
    if (!entries.ok) continue
    const first = placed.length
    const marks = new Map(body.value.operations.map((mark) => [mark.index, mark]))
    for (const [offset, content] of entries.value.entries()) {
      placed.push({
        document: reference.document,
        id: entryIdOf(header.stamp, header.feed, header.sequence, first + offset),
        time: content.time ?? stampToMilliseconds(header.stamp),
        content,
        mark: marks.get(offset),
      })
    }
  }
  return placed
}

/** The updates of a document that were materialised after `position`, in order. */
export function* storedUpdates(store: StoreReads, document: DocumentId, position: number): Generator<Uint8Array> {
  let after = position
  for (;;) {
    const page = store.touchesAfter(document, after, loadPage)
    for (const stored of page) {
      for (const { update } of updateBodiesOf(storedToEnvelope(stored), document)) if (update.length > 0) yield update
      after = stored.position as number
    }
    if (page.length < loadPage) return
  }
}

/** The bodies of an applied envelope that update the document. */
export function updateBodiesOf(envelope: Envelope, document: DocumentId): UpdateBody[] {
  const found: UpdateBody[] = []
  for (const [index, reference] of envelope.header.bodies.entries()) {
    if (reference.document !== document || reference.type !== bodyTypeUpdate) continue
    const body = decodeUpdateBody((envelope.bodies[index] as { bytes: Uint8Array }).bytes)
    assert(body.ok, 'a materialised body does not decode')
    found.push(body.value)
  }
  return found
}

/** Keys changed per body, or null where no body changed keys. */
function encodeChanged(keysOfBodies: readonly (readonly string[])[]): Uint8Array | null {
  return keysOfBodies.some((keys) => keys.length > 0) ? encode(keysOfBodies) : null
}

/** The keys that the body at `index` changed, from a stored envelope's `changed`. */
export function changedKeys(changed: Uint8Array | null, index: number): readonly string[] {
  if (changed === null) return []
  const decoded = decode(changed)
  assert(decoded.ok, 'the stored list of changed keys does not decode')
  return (decoded.value as readonly (readonly string[])[])[index] ?? []
}

function segmentKey(document: DocumentId, feed: FeedId, segment: SegmentName): string {
  return `${document}:${feed}:${segment.day}:${segment.number}`
}

function append<Key, Value>(lists: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}
