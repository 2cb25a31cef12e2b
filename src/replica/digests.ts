/**
 * Version keys and digests, from what a store holds and from nothing else: what replicas compare to prove that they show the same. A log is
 * digested from its envelopes, segment by segment; any other document from its snapshot and the envelopes after it.
 */
import { SelfsameError, encode, hashAlgorithm, hashToId, idToBytes } from '../core/index.ts'
import type { DocumentId, FeedId, VersionKey } from '../core/index.ts'
import { openLiveDocument, segmentDigest } from '../document/index.ts'
import type { LiveDocument, LiveKind } from '../document/index.ts'
import type { SegmentName } from '../feed/index.ts'
import type { SegmentRow, StoreReads } from '../storage/index.ts'
import { storedToEnvelope } from './ledger.ts'
import { storedUpdates, updateBodiesOf } from './materialiser.ts'

/** Digests of segments kept: a segment's digest never changes once another follows it. 200 bytes each. */
const segmentDigestsMax = 10_000
/** Envelopes that are read at once, and in one step: as many as a segment of single entries has. */
const touchesPage = 32
const touchesPerStep = 512
/** Tries to digest a log that is being written to, before giving up. */
const digestTriesMax = 5

/** A digest, and the version that it belongs to. */
export interface DocumentDigest {
  readonly versionKey: VersionKey
  readonly digest: string
}

/** Commits to every materialised envelope of the document: equal version keys must mean equal digests. */
export function versionKeyOf(store: StoreReads, document: DocumentId): VersionKey {
  const heads = store.documentHeads(document)
  return hashToId('selfsame/version-key/1', encode(heads.map((head) => [idToBytes(head.feed), idToBytes(head.hash)])))
}

/** A live document as the store holds it, made anew. */
export function openStored(store: StoreReads, document: DocumentId, kind: LiveKind): LiveDocument {
  const snapshot = store.snapshot(document)
  const live = openLiveDocument(kind, snapshot?.state ?? null)
  for (const update of storedUpdates(store, document, snapshot?.position ?? 0)) live.apply(update)
  return live
}

export class Digests {
  readonly #storeNow: () => StoreReads
  readonly #segments = new Map<string, string>()
  /** How often all was forgotten: what is being read then is of an order of applying that is not any more. */
  #forgotten = 0

  /** `store`: the one to read from, asked for each time. */
  constructor(store: () => StoreReads) {
    this.#storeNow = store
  }

  /** Of a document that is no log. */
  ofStored(document: DocumentId, kind: LiveKind): DocumentDigest {
    const store = this.#storeNow()
    return { versionKey: versionKeyOf(store, document), digest: openStored(store, document, kind).digest() }
  }

  /** Of a log, in steps of some milliseconds, between which others may write. Throws `unavailable` where they write too fast. */
  *ofLog(document: DocumentId): Generator<undefined, DocumentDigest> {
    let isOrderly = true
    for (let tries = 0; tries < digestTriesMax; tries += 1) {
      const versionKey = versionKeyOf(this.#storeNow(), document)
      const segments = this.#storeNow().segments(document)
      const known = new Map(segments.map((segment) => [segment, this.#segments.get(keyOf(segment))]))
      const unknown = segments.filter((segment) => known.get(segment) === undefined)
      for (const [segment, digest] of yield* this.#read(document, unknown, isOrderly ? segments : null)) known.set(segment, digest)
      if (versionKeyOf(this.#storeNow(), document) !== versionKey) continue
      if (segments.some((row) => known.get(row) === undefined)) {
        isOrderly = false
        continue
      }
      const named = segments.map((row) => [idToBytes(row.feed), row.segment.day, row.segment.number, known.get(row) as string])
      return { versionKey, digest: `${hashAlgorithm}:${hashToId('selfsame/log-digest/1', encode(named))}` }
    }
    throw new SelfsameError('unavailable', 'the log is being written to too fast to be digested: try again in a quieter moment')
  }

  /** All that is derived may be other than it was. */
  forget(): void {
    this.#segments.clear()
    this.#forgotten += 1
  }

  /**
   * The digests of some segments of a log, by one walk over what touched the log. Without those that it did not come to. `all`: all segments of the
   * log, in their order, by which the walk begins where an honest author began the first that is wanted; what turns out to be short, because its author
   * went back to it, is left out. Null: the walk begins with the feeds, and takes what there is, which is short where the store lost something.
   */
  *#read(
    document: DocumentId,
    wanted: readonly SegmentRow[],
    all: readonly SegmentRow[] | null,
  ): Generator<undefined, ReadonlyMap<SegmentRow, string>> {
    const digests = new Map<SegmentRow, string>()
    const rows = new Map(wanted.map((row) => [placeOf(row.feed, row.segment), row]))
    const updates = new Map<SegmentRow, Uint8Array[]>(wanted.map((row) => [row, []]))
    const finish = (row: SegmentRow): void => {
      const { digest, entries } = segmentDigest(updates.get(row) as Uint8Array[])
      if (entries === row.entries) this.#keep(keyOf(row), digest)
      if (entries === row.entries || all === null) digests.set(row, digest)
      updates.delete(row)
    }
    const forgotten = this.#forgotten
    let left = 0
    for (let after = this.#startOf(wanted, all); updates.size > 0;) {
      if (left <= 0) {
        yield
        if (this.#forgotten !== forgotten) break
        left = touchesPerStep
      }
      const page = this.#storeNow().touchesAfter(document, after, touchesPage)
      for (const stored of page) {
        after = stored.position as number
        const touched = new Set<SegmentRow>()
        for (const { segment, update } of updateBodiesOf(storedToEnvelope(stored), document)) {
          const row = segment === null ? undefined : rows.get(placeOf(stored.feed, segment))
          if (row === undefined || update.length === 0 || stored.sequence > row.sequence) continue
          updates.get(row)?.push(update)
          touched.add(row)
        }
        for (const row of touched) {
          if (stored.sequence !== row.sequence) continue
          finish(row)
          left = 0
        }
      }
      left -= touchesPage
      if (page.length < touchesPage) break
    }
    return digests
  }

  /** The position before the first envelope that can have touched one of the segments: of each feed the first of them tells, by `all`. */
  #startOf(wanted: readonly SegmentRow[], all: readonly SegmentRow[] | null): number {
    const starts: number[] = []
    for (const [index, row] of wanted.entries()) {
      if (wanted[index - 1]?.feed === row.feed) continue
      const before = all?.[all.indexOf(row) - 1]
      const from = before?.feed === row.feed ? before.sequence : 1
      const [stored] = this.#storeNow().envelopes(row.feed, from, from, 1)
      starts.push((stored?.position ?? 1) - 1)
    }
    return Math.min(...starts)
  }

  #keep(key: string, digest: string): void {
    this.#segments.set(key, digest)
    if (this.#segments.size > segmentDigestsMax) this.#segments.delete(this.#segments.keys().next().value as string)
  }
}

function placeOf(feed: FeedId, { day, number }: SegmentName): string {
  return `${feed}:${day}:${number}`
}

/** Names a segment as it is now. */
function keyOf({ document, feed, segment, sequence }: SegmentRow): string {
  return `${document}:${placeOf(feed, segment)}:${sequence}`
}
