/** The reads of the SQLite store: rows of the database as rows of the port, with every blob held against its hash. */
import type { DatabaseSync } from 'node:sqlite'
import { bytesToId, idToBytes } from '../core/index.ts'
import type { DocumentId, EnvelopeHash, FeedId, InstanceId, Logger, PublicKey, RecordHash, Stamp } from '../core/index.ts'
import { headerHash } from '../feed/index.ts'
import type { OperationId, SegmentName } from '../feed/index.ts'
import { hash48Of } from './hash48.ts'
import { byAge, byDocumentAndFeed, byKindAndName } from './row-order.ts'
import { prepareQueries } from './sqlite-queries.ts'
import type { EnvelopeColumns, Queries } from './sqlite-queries.ts'
import { DamagedEnvelope, storedSize } from './store.ts'
import type {
  Damage,
  DocumentHead,
  DocumentRow,
  EntryQuery,
  EntryRow,
  EnvelopePlace,
  EvidenceRow,
  FeedRow,
  OperationRow,
  QuarantineRow,
  SegmentRow,
  SnapshotRow,
  StoredEnvelope,
  StoreReads,
  WriteBatch,
} from './store.ts'
import { damagedPart, isStateSound, isTextSound } from './stored-checks.ts'

/** Envelopes fetched at a time where a read is cut off by bytes, not by number: bounds what is fetched in vain. */
const envelopesAtOnce = 64

/** The greatest sequence that a header can have: an envelope's id has 32 bits for it. */
const sequenceMax = 0xffff_ffff

/** Comes before every entry id. */
const idFloor = new Uint8Array(0)

export class SqliteReads implements StoreReads {
  readonly #logger: Logger
  #damageFound: (damage: Damage) => void = () => {}
  protected readonly queries: Queries

  /** The database stays the caller's; once it is closed every read is refused. */
  constructor(database: DatabaseSync, logger: Logger) {
    this.#logger = logger
    this.queries = prepareQueries(database)
  }

  onDamage(listener: (damage: Damage) => void): void {
    this.#damageFound = listener
  }

  meta(name: string): Uint8Array | undefined {
    return this.queries.meta.first(name)?.[0]
  }

  records(): NonNullable<WriteBatch['records']> {
    return this.queries.records.all().map(([hash, bytes]) => ({ hash: bytesToId<RecordHash>(hash), bytes }))
  }

  feeds(): readonly FeedRow[] {
    return this.queries.feeds.all().map(([feed, instance, key, parent, have, head, headStamp, applied]) => ({
      feed: bytesToId<FeedId>(feed),
      instance: bytesToId<InstanceId>(instance),
      key: bytesToId<PublicKey>(key),
      parent: parent === null ? null : bytesToId<EnvelopeHash>(parent),
      have,
      head: bytesToId<EnvelopeHash>(head),
      headStamp: bytesToId<Stamp>(headStamp),
      applied,
    }))
  }

  locate(hash: EnvelopeHash): EnvelopePlace | undefined {
    const hash48 = hash48Of(hash)
    const found = this.queries.located.all(hash48).find(([, , , header]) => {
      const own = headerHash(header)
      return own === hash || hash48Of(own) !== hash48
    })
    if (found === undefined) return undefined
    const [feed, sequence, position] = found
    return { feed: bytesToId<FeedId>(feed), sequence, position }
  }

  envelopes(feed: FeedId, from: number, to: number, bytesMax: number): readonly StoredEnvelope[] {
    const feedBytes = idToBytes(feed)
    const found: StoredEnvelope[] = []
    const last = Math.min(to, sequenceMax)
    let next = from
    let bytes = 0
    while (next <= last) {
      const rows = this.queries.envelopes.all(feedBytes, next, last, envelopesAtOnce)
      for (const row of rows) {
        const envelope = this.#read(row)
        if ('kind' in envelope) {
          if (found.length > 0) return found
          throw new DamagedEnvelope(envelope)
        }
        found.push(envelope)
        bytes += storedSize(envelope)
        if (bytes >= bytesMax) return found
        next = envelope.sequence + 1
      }
      if (rows.length < envelopesAtOnce) break
    }
    return found
  }

  appliedAfter(position: number, limit: number): readonly StoredEnvelope[] {
    return this.queries.envelopesApplied.all(position, limit).map((row) => this.#toEnvelope(row))
  }

  lastPosition(): number {
    return this.queries.lastPosition.first()?.[0] ?? 0
  }

  history(position: number): number | undefined {
    return this.queries.history.first(position)?.[0]
  }

  past(feed: FeedId, sequence: number): ReadonlyMap<FeedId, number> {
    return new Map(this.queries.past.all(idToBytes(feed), sequence).map(([other, reach]) => [bytesToId<FeedId>(other), reach]))
  }

  document(document: DocumentId): DocumentRow | undefined {
    const row = this.queries.document.first(idToBytes(document))
    return row === undefined ? undefined : { document, kind: row[0], name: row[1] }
  }

  documents(): readonly DocumentRow[] {
    const rows = this.queries.documents.all()
    return rows.map(([document, kind, name]) => ({ document: bytesToId<DocumentId>(document), kind, name })).sort(byKindAndName)
  }

  documentHeads(document: DocumentId): readonly DocumentHead[] {
    const rows = this.queries.heads.all(idToBytes(document))
    return rows.map(([feed, sequence, hash]) => ({ feed: bytesToId<FeedId>(feed), sequence, hash: bytesToId<EnvelopeHash>(hash) }))
  }

  touchesAfter(document: DocumentId, position: number, limit: number): readonly StoredEnvelope[] {
    return this.queries.envelopesTouching.all(idToBytes(document), position, limit).map((row) => this.#toEnvelope(row))
  }

  clock(document: DocumentId, feed: FeedId, sequence: number): number {
    return this.queries.clock.first(idToBytes(document), idToBytes(feed), sequence)?.[0] ?? 0
  }

  documentsTouchedBy(feed: FeedId, sequence: number): readonly DocumentId[] {
    return this.queries.touchedBy.all(idToBytes(feed), sequence).map(([document]) => bytesToId<DocumentId>(document))
  }

  segment(document: DocumentId, feed: FeedId, segment: SegmentName): SegmentRow | undefined {
    const row = this.queries.segment.first(idToBytes(document), idToBytes(feed), segment.day, segment.number)
    return row === undefined ? undefined : { document, feed, segment, entries: row[0], sequence: row[1] }
  }

  segments(document: DocumentId): readonly SegmentRow[] {
    return this.queries.segments.all(idToBytes(document)).map(([feed, day, number, entries, sequence]) => ({
      document,
      feed: bytesToId<FeedId>(feed),
      segment: { day, number },
      entries,
      sequence,
    }))
  }

  entries(query: EntryQuery): readonly EntryRow[] {
    const { document, timeMin = Number.MIN_SAFE_INTEGER, timeMax = Number.MAX_SAFE_INTEGER, after, newestFirst = false, limit } = query
    const cursor: Bound | undefined = after === undefined ? undefined : [after.time, idToBytes(after.id)]
    let low: Bound = [timeMin, idFloor]
    let high: Bound = [timeMax, idFloor]
    if (cursor !== undefined && newestFirst && isBefore(cursor, high)) high = cursor
    if (cursor !== undefined && !newestFirst && isBefore(low, cursor)) low = cursor
    const between = newestFirst ? this.queries.entriesBackward : this.queries.entriesForward
    return between.all(idToBytes(document), ...low, ...high, limit).map(([time, id]) => ({ document, time, id: bytesToId<string>(id) }))
  }

  entryCount(document: DocumentId): number {
    return this.queries.entryCount.first(idToBytes(document))?.[0] ?? 0
  }

  operation(lineage: InstanceId, id: OperationId): OperationRow | undefined {
    const row = this.queries.operation.first(idToBytes(lineage), idToBytes(id))
    if (row === undefined) return undefined
    const [fingerprint, feed, sequence, entry] = row
    return {
      lineage,
      id,
      fingerprint: bytesToId<string>(fingerprint),
      feed: bytesToId<FeedId>(feed),
      sequence,
      entry: entry === null ? null : bytesToId<string>(entry),
    }
  }

  snapshot(document: DocumentId): SnapshotRow | undefined {
    const row = this.queries.snapshot.first(idToBytes(document))
    if (row === undefined) return undefined
    const [position, hash48, state] = row
    if (isStateSound(hash48, state)) return { document, position, state }
    this.#logger.warn({ document, position }, 'a stored snapshot is damaged: the document is rebuilt from its envelopes')
    this.#damageFound({ kind: 'snapshot', document })
    return undefined
  }

  quarantined(document: DocumentId, feed: FeedId): QuarantineRow | undefined {
    const row = this.queries.quarantined.first(idToBytes(document), idToBytes(feed))
    return row === undefined ? undefined : { document, feed, sequence: row[0], reason: row[1] }
  }

  quarantine(): readonly QuarantineRow[] {
    return this.queries.quarantine
      .all()
      .map(([document, feed, sequence, reason]) => ({
        document: bytesToId<DocumentId>(document),
        feed: bytesToId<FeedId>(feed),
        sequence,
        reason,
      }))
      .sort(byDocumentAndFeed)
  }

  textVersion(document: DocumentId, version: string): string | undefined {
    const content = this.queries.textVersion.first(idToBytes(document), idToBytes(version))?.[0]
    if (content === undefined || isTextSound(version, content)) return content
    this.#logger.warn({ document, version }, 'an earlier version of a text is damaged: writes based on it are refused')
    this.#damageFound({ kind: 'text-version', document, version })
    return undefined
  }

  evidence(): readonly EvidenceRow[] {
    const rows = this.queries.evidence.all()
    return rows.map(([id, kind, at, detail, proof]) => ({ id, kind, at, detail, proof })).sort(byAge)
  }

  #toEnvelope(row: EnvelopeColumns): StoredEnvelope {
    const envelope = this.#read(row)
    if ('kind' in envelope) throw new DamagedEnvelope(envelope)
    return envelope
  }

  #read(row: EnvelopeColumns): StoredEnvelope | DamagedEnvelope['damage'] {
    const [feedBytes, id, sequence, hash48, position, changed, signature, signatureCrc, bodyCount, header] = row
    const feed = bytesToId<FeedId>(feedBytes)
    const rows = this.queries.bodies.all(id)
    const hash = headerHash(header)
    const part = damagedPart({ hash48, hash, signature, signatureCrc, bodyCount }, rows)
    if (part !== undefined) {
      const damage = { kind: 'envelope' as const, feed, sequence, part }
      this.#damageFound(damage)
      return damage
    }
    const bodies = rows.map(([, , salt, bytes]) => ({ salt, bytes }))
    return { feed, sequence, hash, headerBytes: header, signature, position, changed, bodies }
  }
}

type Bound = readonly [time: number, id: Uint8Array]

function isBefore(a: Bound, b: Bound): boolean {
  return a[0] - b[0] < 0 || (a[0] === b[0] && Buffer.compare(a[1], b[1]) < 0)
}
