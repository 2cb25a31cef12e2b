/**
 * Reading: log pages, values, version keys, digests and the stream of changes. Everything shown is durable: logs are
 * read from the store's index, live documents wait for the commit that changes them.
 */
import { SelfsameError, assert } from '../core/index.ts'
import type { Clock, DocumentId, FeedId, InstanceId, VersionKey } from '../core/index.ts'
import { checkDocumentName, documentIdOf, parseEntryId } from '../document/index.ts'
import type { DocumentKind, DocumentValue, EntryContent, LiveKind } from '../document/index.ts'
import { bodyTypeUpdate, decodeUpdateBody, mainSpace } from '../feed/index.ts'
import type { Envelope, Header } from '../feed/index.ts'
import type { EntryCursor, StoredEnvelope } from '../storage/index.ts'
import { Digests, versionKeyOf } from './digests.ts'
import type { DocumentDigest } from './digests.ts'
import type { Engine } from './engine.ts'
import { storedToEnvelope } from './ledger.ts'
import { changedKeys, entriesOf } from './materialiser.ts'
import type { PlacedEntry } from './materialiser.ts'
import { Provenance } from './provenance.ts'
import type { Origin } from './provenance.ts'

/** Envelopes whose entries are kept decoded: a page of a log often reads one envelope many times. */
const decodedEnvelopesMax = 128
/** Bytes of envelopes read ahead along a feed, since neighbours in a log are often neighbours in a feed. */
const readAheadBytes = 64 << 10
const readAheadEnvelopes = 64
/** Rows of the index looked at together where many entries have one time. */
const indexPageMax = 1_000
/** Index rows looked at for one page when a filter passes few: bounds the time of one read. */
const scannedRowsMax = 2_000

/** A log entry, and the envelope that brought it. */
export interface LogEntry extends Origin {
  readonly id: string
  /** When it happened: milliseconds since the Unix epoch. */
  readonly time: number
  readonly content: EntryContent
}

export interface LogQuery {
  /** Inclusive, milliseconds. */
  readonly timeMin?: number | undefined
  /** Exclusive, milliseconds. */
  readonly timeMax?: number | undefined
  readonly tag?: string | undefined
  readonly kind?: string | undefined
  readonly after?: EntryCursor | undefined
  readonly newestFirst: boolean
  readonly limit: number
}

export interface LogPage {
  readonly entries: readonly LogEntry[]
  /** Where the next page begins; null at the end. */
  readonly next: EntryCursor | null
}

/** One document changed by one envelope. */
export interface Change extends Origin {
  /** Resumes after this change. */
  readonly cursor: string
  readonly kind: DocumentKind
  readonly name: string
  /** Of a log: what was appended and is shown. */
  readonly entries: readonly LogEntry[]
  /** Of cells: the keys that changed. */
  readonly keys: readonly string[]
}

export class Reader {
  readonly provenance: Provenance
  readonly digests: Digests
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #decoded = new Map<string, readonly PlacedEntry[]>()

  constructor(engine: Engine, clock: Clock) {
    this.provenance = new Provenance(engine, clock)
    this.digests = new Digests(() => engine.store)
    this.#engine = engine
    this.#clock = clock
  }

  /** A page of a log in (time, id) order. A page may be short although there is more: `next` tells. */
  log(name: string, query: LogQuery): LogPage {
    const document = this.#idOf('log', name)
    const entries: LogEntry[] = []
    let after = query.after
    let scanned = 0
    while (entries.length < query.limit && scanned < scannedRowsMax) {
      const limit = Math.min(query.limit - entries.length, 500)
      const rows = this.#engine.store.entries({
        document,
        limit,
        newestFirst: query.newestFirst,
        ...(query.timeMin === undefined ? {} : { timeMin: query.timeMin }),
        ...(query.timeMax === undefined ? {} : { timeMax: query.timeMax }),
        ...(after === undefined ? {} : { after }),
      })
      for (const row of rows) {
        after = row
        const entry = this.#entry(row.id, query.newestFirst)
        if (query.tag !== undefined && entry.content.tags?.includes(query.tag) !== true) continue
        if (query.kind !== undefined && entry.content.kind !== query.kind) continue
        entries.push(entry)
      }
      scanned += rows.length
      if (rows.length < limit) return { entries, next: null }
    }
    return { entries, next: after === undefined ? null : { time: after.time, id: after.id } }
  }

  /** One entry of a log. Throws `not-found` where the log shows none of that id. */
  entry(name: string, id: string): LogEntry {
    const document = this.#idOf('log', name)
    const place = parseEntryId(id)
    const [stored] = place === undefined ? [] : this.#engine.store.envelopes(place.feed, place.sequence, place.sequence, 1)
    if (stored !== undefined && stored.position !== null) {
      const envelope = storedToEnvelope(stored)
      const shown = this.#shownEntries(envelope).find((entry) => entry.document === document && entry.id === id)
      if (shown !== undefined) return this.#logEntry(shown, envelope.header)
    }
    throw new SelfsameError('not-found', `the log ${JSON.stringify(name)} shows no entry ${JSON.stringify(id)}`)
  }

  /** The value of a live document, once what is in memory is durable. A document that nobody wrote is empty. */
  async value<Kind extends LiveKind>(kind: Kind, name: string): Promise<Extract<DocumentValue, { kind: Kind }>> {
    const document = this.#idOf(kind, name)
    const value = await this.#readDurably(document, () => this.#engine.materialiser.read(document, kind).value())
    assert(value.kind === kind, 'a document reads as another kind')
    return value as Extract<DocumentValue, { kind: Kind }>
  }

  /** The instance that writes under a Yjs client id. */
  authorOfClient(client: number): InstanceId {
    const feed = this.#engine.ledger.feedOfClient(client)
    assert(feed !== undefined, 'a cell of an unknown feed')
    return this.#authorOf(feed)
  }

  /** Log entries shown in all logs. */
  entryTotal(): number {
    return this.documents().reduce((sum, { kind, document }) => sum + (kind === 'log' ? this.#engine.store.entryCount(document) : 0), 0)
  }

  /** Every document that something was written to, by kind and name. */
  documents(): readonly { readonly kind: DocumentKind; readonly name: string; readonly document: DocumentId }[] {
    return this.#engine.store.documents().map((row) => ({ kind: row.kind as DocumentKind, name: row.name, document: row.document }))
  }

  /** Commits to every materialised envelope of the document: equal version keys must mean equal digests. */
  versionKey(kind: DocumentKind, name: string): VersionKey {
    return versionKeyOf(this.#engine.store, this.#idOf(kind, name))
  }

  /** The version key and the digest that belongs to it. Throws `not-found` for a document that nobody wrote. */
  async digest(kind: DocumentKind, name: string): Promise<DocumentDigest> {
    const document = this.#idOf(kind, name)
    if (this.#engine.store.document(document) === undefined)
      throw new SelfsameError('not-found', `there is no ${kind} named ${JSON.stringify(name)}`)
    if (kind === 'log') {
      await this.#engine.readDurably(
        () => false,
        () => {},
      )
      const steps = this.digests.ofLog(document)
      for (;;) {
        const step = steps.next()
        if (step.done === true) return step.value
        // Let others have their turn: a full segment is milliseconds of work.
        await new Promise<void>((resolve) => void this.#clock.after(0, resolve))
      }
    }
    return this.#readDurably(document, () => ({
      versionKey: versionKeyOf(this.#engine.store, document),
      digest: this.#engine.materialiser.read(document, kind).digest(),
    }))
  }

  /** The logs whose index does not show an entry that a stored, applied envelope brought, though it should. */
  logsLacking(stored: StoredEnvelope): ReadonlySet<DocumentId> {
    const lacking = new Set<DocumentId>()
    const byPlace = Map.groupBy(this.#shownEntries(storedToEnvelope(stored)), ({ document, time }) => `${document}:${time}`)
    for (const entries of byPlace.values()) {
      const [{ document, time }] = entries as [PlacedEntry]
      const shown = new Set<string>()
      for (let after: EntryCursor | undefined; ;) {
        const query = { document, timeMin: time, timeMax: time + 1, limit: indexPageMax }
        const page = this.#engine.store.entries(after === undefined ? query : { ...query, after })
        for (const { id } of page) shown.add(id)
        after = page.at(-1)
        if (page.length < indexPageMax) break
      }
      if (entries.some(({ id }) => !shown.has(id))) lacking.add(document)
    }
    return lacking
  }

  /** The cursor after everything that is here now. */
  cursorNow(): string {
    return this.#cursorAt(this.#engine.store.lastPosition())
  }

  /** The cursor before the first change. */
  readonly cursorStart = '0'

  /**
   * What changed after `cursor`, at most `limit` envelopes' worth of changes, in this instance's order of applying.
   * Throws `cursor-expired` where the cursor was given in another state of this home (a backup was put back, a copy).
   */
  changes(cursor: string, limit: number): { readonly changes: readonly Change[]; readonly cursor: string; readonly more: boolean } {
    const { position, seen } = this.#placeOf(cursor)
    const stored = this.#engine.store.appliedAfter(position, limit)
    const changes = stored.flatMap((envelope) => this.#changesOf(envelope)).slice(seen)
    const last = stored.at(-1)
    return { changes, cursor: last === undefined ? cursor : this.#cursorAt(placeOf(last)), more: stored.length === limit }
  }

  #changesOf(stored: StoredEnvelope): Change[] {
    const envelope = storedToEnvelope(stored)
    const { feed, sequence, stamp } = envelope.header
    const cursor = this.#cursorAt(placeOf(stored))
    const author = this.#authorOf(feed)
    const placed = this.#shownEntries(envelope)
    const changes: Change[] = []
    const logs = new Set<DocumentId>()
    for (const [index, reference] of envelope.header.bodies.entries()) {
      const { document } = reference
      if (reference.type !== bodyTypeUpdate || this.#isQuarantined(document, feed, sequence)) continue
      const body = decodeUpdateBody((envelope.bodies[index] as { bytes: Uint8Array }).bytes)
      assert(body.ok, 'a materialised body does not decode')
      const kind = body.value.kind as DocumentKind
      const entries = kind === 'log' ? placed.filter((entry) => entry.document === document) : []
      // A log that went on to its next segment has two bodies and one change.
      if (kind === 'log' ? logs.has(document) || entries.length === 0 : body.value.update.length === 0) continue
      logs.add(document)
      changes.push({
        cursor: `${cursor}.${changes.length + 1}`,
        kind,
        name: body.value.name,
        feed,
        sequence,
        stamp,
        author,
        entries: entries.map((entry) => this.#logEntry(entry, envelope.header)),
        keys: changedKeys(stored.changed, index),
      })
    }
    // Whoever resumes after the last change of an envelope has seen all of it; after an earlier one, the rest is still to come.
    return changes.map((change, index) => (index === changes.length - 1 ? { ...change, cursor } : change))
  }

  /** The entries of an envelope, without those that another copy of the home made first for the same operation. */
  #shownEntries(envelope: Envelope): readonly PlacedEntry[] {
    const { feed, sequence } = envelope.header
    const lineage = this.#engine.members.lineageOf(this.#authorOf(feed))
    return entriesOf(envelope, (document) => this.#isQuarantined(document, feed, sequence)).filter(({ id, mark }) => {
      const known = mark === undefined ? undefined : this.#engine.store.operation(lineage, mark.id)
      return known === undefined || known.entry === id || known.fingerprint !== mark?.fingerprint
    })
  }

  #entry(id: string, newestFirst: boolean): LogEntry {
    const place = parseEntryId(id)
    assert(place !== undefined, 'the index holds an id that is none')
    const { feed, sequence, index } = place
    let entries = this.#decoded.get(`${feed}:${sequence}`)
    if (entries === undefined) {
      this.#readAhead(feed, sequence, newestFirst)
      entries = this.#decoded.get(`${feed}:${sequence}`)
    }
    const entry = entries?.[index]
    assert(entry !== undefined, 'the index holds an entry that its envelope does not')
    return this.#logEntry(entry, place)
  }

  #logEntry({ id, time, content }: PlacedEntry, { feed, sequence, stamp }: Pick<Header, 'feed' | 'sequence' | 'stamp'>): LogEntry {
    return { id, time, author: this.#authorOf(feed), content, feed, sequence, stamp }
  }

  #readAhead(feed: FeedId, sequence: number, newestFirst: boolean): void {
    const to = newestFirst ? sequence : sequence + readAheadEnvelopes - 1
    for (const stored of this.#engine.store.envelopes(feed, sequence, to, readAheadBytes)) {
      if (stored.position === null) break
      const envelope = storedToEnvelope(stored)
      const entries = entriesOf(envelope, (document) => this.#isQuarantined(document, feed, stored.sequence))
      this.#decoded.set(`${feed}:${stored.sequence}`, entries)
    }
    for (const key of this.#decoded.keys()) {
      if (this.#decoded.size <= decodedEnvelopesMax) break
      this.#decoded.delete(key)
    }
  }

  #isQuarantined(document: DocumentId, feed: FeedId, sequence: number): boolean {
    const row = this.#engine.store.quarantined(document, feed)
    return row !== undefined && row.sequence <= sequence
  }

  #authorOf(feed: FeedId): InstanceId {
    const state = this.#engine.ledger.feed(feed)
    assert(state !== undefined, 'a stored envelope of an unknown feed')
    return state.instance
  }

  #readDurably<Value>(document: DocumentId, read: () => Value): Promise<Value> {
    return this.#engine.readDurably(() => this.#engine.materialiser.isDirty(document), read)
  }

  #idOf(kind: DocumentKind, name: string): DocumentId {
    checkDocumentName(kind, name)
    return documentIdOf(mainSpace, kind, name)
  }

  /** Names a place in this store's order of applying, and what was applied up to there, so that another state of the home cannot take it for its own. */
  #cursorAt(position: number): string {
    if (position === 0) return this.cursorStart
    const history = this.#engine.store.history(position)
    assert(history !== undefined, 'a cursor belongs to a position')
    return `${position}-${history.toString(16).padStart(12, '0')}`
  }

  /** Where a cursor resumes: after a position, and after how many changes of the envelope that follows it. */
  #placeOf(cursor: string): { readonly position: number; readonly seen: number } {
    if (cursor === this.cursorStart) return { position: 0, seen: 0 }
    const parts = /^([1-9][0-9]{0,14})-([0-9a-f]{12})(?:\.([1-9][0-9]{0,3}))?$/.exec(cursor)
    if (parts === null)
      throw new SelfsameError('invalid-request', `${JSON.stringify(cursor)} is not a cursor: give back one that you were given`)
    const position = Number(parts[1])
    if (this.#engine.store.history(position) !== Number.parseInt(parts[2] as string, 16)) {
      throw new SelfsameError(
        'cursor-expired',
        'this home is not in the state that the cursor was given in: read the documents again, then watch from now',
      )
    }
    return parts[3] === undefined ? { position, seen: 0 } : { position: position - 1, seen: Number(parts[3]) }
  }
}

function placeOf(stored: StoredEnvelope): number {
  assert(stored.position !== null, 'a cursor belongs to an applied envelope')
  return stored.position
}
