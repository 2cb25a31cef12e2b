/**
 * Version keys and digests, from what a store holds and from nothing else: what replicas compare to prove that they show the same. A log is
 * digested from its envelopes, segment by segment; any other document from its snapshot and the envelopes after it.
 */
import { SelfsameError, encode, hashAlgorithm, hashToId, idToBytes } from '../core/index.ts'
import type { DocumentId, VersionKey } from '../core/index.ts'
import { openLiveDocument, segmentDigest } from '../document/index.ts'
import type { LiveDocument, LiveKind } from '../document/index.ts'
import type { SegmentRow, StoreReads } from '../storage/index.ts'
import { storedToEnvelope } from './ledger.ts'
import { storedUpdates, updateBodiesOf } from './materialiser.ts'

/** Digests of segments kept: a segment's digest never changes once another follows it. 200 bytes each. */
const segmentDigestsMax = 10_000
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
    for (let tries = 0; tries < digestTriesMax; tries += 1) {
      const versionKey = versionKeyOf(this.#storeNow(), document)
      const segments = this.#storeNow().segments(document)
      const digests: string[] = []
      for (const [index, segment] of segments.entries()) {
        const before = segments[index - 1]
        const from = before?.feed === segment.feed ? before.sequence : 1
        const key = `${document}:${segment.feed}:${segment.segment.day}:${segment.segment.number}:${segment.sequence}`
        const known = this.#segments.get(key)
        if (known === undefined) yield
        digests.push(known ?? this.#keep(key, this.#ofSegment(segment, from)))
      }
      if (versionKeyOf(this.#storeNow(), document) !== versionKey) continue
      const named = segments.map(({ feed, segment }, index) => [idToBytes(feed), segment.day, segment.number, digests[index] as string])
      return { versionKey, digest: `${hashAlgorithm}:${hashToId('selfsame/log-digest/1', encode(named))}` }
    }
    throw new SelfsameError('unavailable', 'the log is being written to too fast to be digested: try again in a quieter moment')
  }

  /** All that is derived may be other than it was. */
  forget(): void {
    this.#segments.clear()
  }

  #keep(key: string, digest: string): string {
    this.#segments.set(key, digest)
    if (this.#segments.size > segmentDigestsMax) this.#segments.delete(this.#segments.keys().next().value as string)
    return digest
  }

  /** `from`: the first sequence of the feed that can have touched the segment. */
  #ofSegment({ document, feed, segment, sequence }: SegmentRow, from: number): string {
    const store = this.#storeNow()
    const updates: Uint8Array[] = []
    for (let next = from; next <= sequence;) {
      const page = store.envelopes(feed, next, sequence, 1 << 20)
      for (const stored of page) {
        for (const body of updateBodiesOf(storedToEnvelope(stored), document)) {
          if (body.segment?.day === segment.day && body.segment.number === segment.number && body.update.length > 0)
            updates.push(body.update)
        }
        next = stored.sequence + 1
      }
      if (page.length === 0) break
    }
    return segmentDigest(updates)
  }
}
