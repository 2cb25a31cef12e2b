/**
 * The store port: what the engine needs of a disk, as rows. Two implementations: SQLite (`sqlite-store.ts`) and an
 * in-memory one for simulation (`memory-store.ts`); `test/contract/store.test.ts` holds both to what is said here.
 *
 * Reads are synchronous and see exactly the commits that have resolved, nothing of a commit under way. `commit` is
 * atomic and durable: when its promise resolves the batch is on disk (fsync), when it rejects see `CommitFailure`. One
 * commit is under way at a time; the engine never starts a second. Who opened the store closes it, after the last commit settled.
 *
 * Every envelope is the source of truth. Everything under "derived" can be rebuilt from envelopes and records.
 */
import { SelfsameError } from '../core/index.ts'
import type { DocumentId, EnvelopeHash, FeedId, InstanceId, PublicKey, RecordHash, Stamp } from '../core/index.ts'
import type { Body, OperationId, SegmentName } from '../feed/index.ts'

/** A feed as far as it is stored. */
export interface FeedRow {
  readonly feed: FeedId
  readonly instance: InstanceId
  readonly key: PublicKey
  /** `previous` of the opening envelope. */
  readonly parent: EnvelopeHash | null
  readonly have: number
  readonly head: EnvelopeHash
  readonly headStamp: Stamp
  readonly applied: number
}

/** An envelope as stored: the received bytes, never a re-encoding. */
export interface EnvelopeRow {
  readonly feed: FeedId
  readonly sequence: number
  readonly hash: EnvelopeHash
  readonly headerBytes: Uint8Array
  /** Null where a later envelope of the chain vouches for it. */
  readonly signature: Uint8Array | null
  readonly bodies: readonly Body[]
}

export interface StoredEnvelope extends EnvelopeRow {
  /** Its place in this store's order of applying, from 1; null while it waits. */
  readonly position: number | null
  /** As in `PositionRow`. */
  readonly changed: Uint8Array | null
}

/** What an envelope counts against `bytesMax` of a read: bytes of its header and bodies. */
export function storedSize(envelope: EnvelopeRow): number {
  return envelope.bodies.reduce((sum, body) => sum + body.bytes.length, envelope.headerBytes.length)
}

/**
 * That an envelope (new or stored) is materialised by this commit. Each envelope gets one position once, each position is
 * given once, until `derivedCleared` takes all of them back.
 */
export interface PositionRow {
  readonly feed: FeedId
  readonly sequence: number
  readonly position: number
  /** Derived: what it changed, in the engine's encoding, where its bodies alone do not tell. */
  readonly changed: Uint8Array | null
  /**
   * Derived: 48 bits that stand for all that has a position up to this one, in its order. Two stores have the same where they applied the same, in the
   * same order; that they have the same envelope at one position says nothing of what came before it.
   */
  readonly history: number
}

export interface EnvelopePlace {
  readonly feed: FeedId
  readonly sequence: number
  readonly position: number | null
}

/** A document that something was materialised in. */
export interface DocumentRow {
  readonly document: DocumentId
  readonly kind: string
  readonly name: string
}

/** Derived: that the envelope at `position` changed the document. */
export interface TouchRow {
  readonly document: DocumentId
  readonly feed: FeedId
  readonly sequence: number
  readonly hash: EnvelopeHash
  readonly position: number
}

/** The last envelope of each feed that touched a document: what its version key is made of. */
export interface DocumentHead {
  readonly feed: FeedId
  readonly sequence: number
  readonly hash: EnvelopeHash
}

/** Derived: up to which clock the structs of `feed` in `document` reach once `sequence` is materialised. Not for logs. */
export interface ClockRow {
  readonly document: DocumentId
  readonly feed: FeedId
  readonly sequence: number
  /** The next clock: structs 0..clock-1 exist. */
  readonly clock: number
}

/** Derived: that from `sequence` of `feed` on, the declared past reaches to `otherSequence` of `other`. Written where it grows. */
export interface PastRow {
  readonly feed: FeedId
  readonly sequence: number
  readonly other: FeedId
  readonly otherSequence: number
}

/** Derived: a segment of a log, upserted as it grows. */
export interface SegmentRow {
  readonly document: DocumentId
  readonly feed: FeedId
  readonly segment: SegmentName
  /** Entries materialised in it. */
  readonly entries: number
  /** The last sequence that touched it. */
  readonly sequence: number
}

/** Derived: the readers' index of log entries, in (time, id) order. `id` is 60 hexadecimal digits (`entryIdOf`). */
export interface EntryRow {
  readonly document: DocumentId
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly id: string
}

/** Derived: where an operation id of a lineage was first materialised. Ids repeat only across copies of a home. */
export interface OperationRow {
  /** The instance at the root of the lineage. */
  readonly lineage: InstanceId
  readonly id: OperationId
  readonly fingerprint: string
  readonly feed: FeedId
  readonly sequence: number
  /** Id of the first log entry the operation made, null for other kinds. */
  readonly entry: string | null
}

/** Derived: a document's state (a Yjs update) once every envelope up to `position` was materialised. One per document, the newest. */
export interface SnapshotRow {
  readonly document: DocumentId
  readonly position: number
  readonly state: Uint8Array
}

/** Derived: an update that was kept and not materialised. From `sequence` on nothing of the feed enters the document. */
export interface QuarantineRow {
  readonly document: DocumentId
  readonly feed: FeedId
  readonly sequence: number
  readonly reason: string
}

/** Local: an earlier content of a text, for merging stale writes. The newest `textVersionsMax` of a document are kept. */
export interface TextVersionRow {
  readonly document: DocumentId
  /** SHA-256 of the content, hexadecimal. */
  readonly version: string
  readonly position: number
  readonly content: string
}

/** Damaged things that one look through the store tells of: the next one finds the others. */
export const damagesMax = 1_000

/** Kept text versions per document: a writer may be this many changes behind and still merge. Costs the text's size each. */
export const textVersionsMax = 64

/** Local: something to show a person: a fork, a second running copy, a quarantined update, a refused peer. */
export interface EvidenceRow {
  /** Names the case, so that it is kept once: kind, colon, subject. */
  readonly id: string
  readonly kind: string
  readonly at: number
  readonly detail: string
  /** The bytes that prove it, where there are any. */
  readonly proof: Uint8Array | null
}

/** Something stored that does not match its hash, or its place, any more. */
export type Damage =
  | {
      readonly kind: 'envelope'
      readonly feed: FeedId
      readonly sequence: number
      /** What of it: the header also where the whole envelope is gone, a body also where one is missing. */
      readonly part: 'header' | 'body' | 'signature'
    }
  | { readonly kind: 'record'; readonly hash: RecordHash }
  | { readonly kind: 'snapshot'; readonly document: DocumentId }
  | { readonly kind: 'text-version'; readonly document: DocumentId; readonly version: string }

/** Names what is damaged, without its part: equal for equal places. */
export function damageToKey(damage: Damage): string {
  switch (damage.kind) {
    case 'envelope':
      return `envelope:${damage.feed}:${damage.sequence}`
    case 'record':
      return `record:${damage.hash}`
    case 'snapshot':
      return `snapshot:${damage.document}`
    case 'text-version':
      return `text-version:${damage.document}:${damage.version}`
  }
}

/** An envelope cannot be read because it is damaged: it has to be stored again (`WriteBatch.envelopesReplaced`). */
export class DamagedEnvelope extends SelfsameError {
  readonly damage: Damage & { readonly kind: 'envelope' }

  constructor(damage: Damage & { readonly kind: 'envelope' }) {
    const { feed, part, sequence } = damage
    super(
      'unavailable',
      `the ${part} of envelope ${sequence} of feed ${feed} is damaged on this disk; it is fetched again from whichever instance has it: see 'selfsame status'`,
    )
    this.damage = damage
  }
}

/** All of one commit. Absent fields mean nothing of that sort. */
export interface WriteBatch {
  /**
   * First forget everything derived, and the text versions, whose age is a position; the rest of the batch then goes in as into a
   * store that never applied anything. Every envelope waits again, every feed's `applied` is 0, positions begin at 1. Kept
   * are meta, records, feeds, envelopes, signatures and evidence. Takes time in the pages that are given back, not in rows.
   */
  readonly derivedCleared?: boolean
  /** Values under a name; null deletes. */
  readonly meta?: ReadonlyMap<string, Uint8Array | null>
  /** Damaged ones, by the hash that they are stored under. Removed before `records` are put in. */
  readonly recordsRemoved?: readonly RecordHash[]
  /** Upserted by hash. */
  readonly records?: readonly { readonly hash: RecordHash; readonly bytes: Uint8Array }[]
  /** Upserted by feed, before the envelopes. */
  readonly feeds?: readonly FeedRow[]
  /** New envelopes, each (feed, sequence) once; a second one is a broken invariant and rejects the commit. */
  readonly envelopes?: readonly EnvelopeRow[]
  /**
   * Whole envelopes in the place of damaged or lost ones, signature and bodies included. Their hashes are what they were; what is derived
   * from them stays. Takes time in all envelopes: their index is made anew.
   */
  readonly envelopesReplaced?: readonly EnvelopeRow[]
  /** Signatures for envelopes stored without one; a broken invariant where there is no such envelope. */
  readonly signatures?: readonly { readonly feed: FeedId; readonly sequence: number; readonly signature: Uint8Array }[]
  readonly positions?: readonly PositionRow[]
  /** This and all that follows is upserted by its key, so that derived rows can be written again. */
  readonly past?: readonly PastRow[]
  readonly documents?: readonly DocumentRow[]
  readonly touches?: readonly TouchRow[]
  readonly clocks?: readonly ClockRow[]
  readonly segments?: readonly SegmentRow[]
  readonly entries?: readonly EntryRow[]
  readonly entriesRemoved?: readonly EntryRow[]
  /** By (lineage, id). */
  readonly operations?: readonly OperationRow[]
  readonly snapshots?: readonly SnapshotRow[]
  /** The least sequence of a feed in a document stays. */
  readonly quarantine?: readonly QuarantineRow[]
  /** Removed before `textVersions` are put in. */
  readonly textVersionsRemoved?: readonly Pick<TextVersionRow, 'document' | 'version'>[]
  readonly textVersions?: readonly TextVersionRow[]
  /** Inserted where the id is new; the first account of a case stays. */
  readonly evidence?: readonly EvidenceRow[]
  /** Ids of settled cases. Removed before `evidence` is added, so that a case that is told again stays. */
  readonly evidenceRemoved?: readonly string[]
}

/** Where a page of log entries begins or ends: exclusive. */
export interface EntryCursor {
  readonly time: number
  readonly id: string
}

export interface EntryQuery {
  readonly document: DocumentId
  /** Inclusive, milliseconds. */
  readonly timeMin?: number
  /** Exclusive, milliseconds. */
  readonly timeMax?: number
  /** Entries strictly beyond it in the direction of reading. */
  readonly after?: EntryCursor
  readonly newestFirst?: boolean
  readonly limit: number
}

/**
 * The reads of a store. Each throws `SelfsameError`: `storage-corrupt` where the database itself is damaged,
 * `storage-failed` where it cannot be read or the store is no longer open. Those that give envelopes throw `DamagedEnvelope` where
 * one does not match its hash any more.
 */
export interface StoreReads {
  meta(name: string): Uint8Array | undefined
  /** In the order in which they were stored. Whether the bytes match the hash is for the reader to check. */
  records(): readonly { readonly hash: RecordHash; readonly bytes: Uint8Array }[]
  /** Sorted by feed. */
  feeds(): readonly FeedRow[]

  /** Also where the envelope is damaged: then by the part of its hash that stands beside it. */
  locate(hash: EnvelopeHash): EnvelopePlace | undefined
  /** Stored envelopes of a feed in `from..to`, in order, cut off once `bytesMax` (`storedSize`) is reached (always at least one where there is one),
   * and before one that is damaged: only where that is the first does it throw. */
  envelopes(feed: FeedId, from: number, to: number, bytesMax: number): readonly StoredEnvelope[]
  /** Materialised envelopes with position above `position`, in order, at most `limit`. */
  appliedAfter(position: number, limit: number): readonly StoredEnvelope[]
  /** The greatest position, 0 where nothing is materialised. */
  lastPosition(): number
  /** As in `PositionRow`; undefined where the position is not given. */
  history(position: number): number | undefined

  /** The declared past of an envelope as far as rows say: for each other feed the greatest sequence. */
  past(feed: FeedId, sequence: number): ReadonlyMap<FeedId, number>

  document(document: DocumentId): DocumentRow | undefined
  /** Sorted by kind, then name. */
  documents(): readonly DocumentRow[]
  /** Sorted by feed. */
  documentHeads(document: DocumentId): readonly DocumentHead[]
  /** Envelopes that touched the document with position above `position`, in order, at most `limit`. */
  touchesAfter(document: DocumentId, position: number, limit: number): readonly StoredEnvelope[]
  /** The next clock of `feed` in `document` once `sequence` is materialised; 0 where nothing is. */
  clock(document: DocumentId, feed: FeedId, sequence: number): number
  /** Documents that an envelope changed, as far as it is materialised: in no particular order, and also where it is damaged. */
  documentsTouchedBy(feed: FeedId, sequence: number): readonly DocumentId[]
  segment(document: DocumentId, feed: FeedId, segment: SegmentName): SegmentRow | undefined
  /** Sorted by feed, day, number. */
  segments(document: DocumentId): readonly SegmentRow[]
  entries(query: EntryQuery): readonly EntryRow[]
  entryCount(document: DocumentId): number
  operation(lineage: InstanceId, id: OperationId): OperationRow | undefined
  /** Undefined also where the stored state is damaged: it can be rebuilt. */
  snapshot(document: DocumentId): SnapshotRow | undefined
  /** The first quarantined sequence of a feed in a document. */
  quarantined(document: DocumentId, feed: FeedId): QuarantineRow | undefined
  /** Sorted by document, then feed. */
  quarantine(): readonly QuarantineRow[]
  /** Undefined also where the stored content is damaged: its writer then has to read the text again. */
  textVersion(document: DocumentId, version: string): string | undefined
  /** Sorted by time, then id. */
  evidence(): readonly EvidenceRow[]
}

export interface Store extends StoreReads {
  /**
   * Holds everything that is stored against its hash, and looks for envelopes that are gone, beside all else and at a pace that leaves the
   * machine to others, but where `isAwaited`; resolves with what is damaged, at most `damagesMax`. Asked again meanwhile it gives the same answer.
   * Rejects with `SelfsameError`: `storage-corrupt` where the database itself is damaged, `storage-failed` where it cannot be read or is closed
   * meanwhile.
   */
  scrub(isAwaited?: boolean): Promise<readonly Damage[]>
  /** Calls `listener`, the last one given, where a read comes upon something damaged, before it throws or does without. */
  onDamage(listener: (damage: Damage) => void): void
  /** Durable when it resolves. Rejects with `CommitFailure`; after an `unknown` one every further call is refused, `close` apart. */
  commit(batch: WriteBatch): Promise<void>
  /** Frees what the store holds. Calling it again changes nothing. */
  close(): Promise<void>
}

/** Why a commit failed, so far as it can be known. */
export class CommitFailure extends Error {
  override readonly name = 'CommitFailure'
  /**
   * `rolled-back`: nothing of the batch is there, and the store can be used on (no space left).
   * `unknown`: the batch may or may not be there, now or after a restart: reopen before anything else.
   */
  readonly outcome: 'rolled-back' | 'unknown'

  constructor(outcome: 'rolled-back' | 'unknown', message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.outcome = outcome
  }
}
