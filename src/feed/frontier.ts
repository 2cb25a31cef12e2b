/**
 * The frontier: how far each feed is stored (have) and materialised (applied) at one instance. Every feed is named:
 * naming only the leaves of the tree of runs would be shorter, but a peer that does not know a leaf yet could not tell
 * what it implies and would send again what is already here.
 */
import { asTuple, bytesToId, hashToId, idBytes, idToBytes, encode, isBytes, isUint, ok, refuse } from '../core/index.ts'
import type { Encodable, EnvelopeHash, FeedId, Result } from '../core/index.ts'

/** One feed of a frontier. */
export interface FrontierEntry {
  readonly feed: FeedId
  /** The last sequence stored. */
  readonly have: number
  /** Hash of the header at `have`: a peer with another one there holds the other branch of a fork. */
  readonly head: EnvelopeHash
  /** The last sequence materialised; never above `have`. */
  readonly applied: number
}

/** Feeds in one frontier message: 50 ms to read and to take in, on a busy machine. More go in several. */
const frontierEntriesMax = 10_000

export function frontierToWire(entries: Iterable<FrontierEntry>): Encodable {
  return Array.from(entries, (entry) => [idToBytes(entry.feed), entry.have, idToBytes(entry.head), entry.applied])
}

export function frontierFromWire(value: unknown): Result<readonly FrontierEntry[]> {
  if (!Array.isArray(value) || value.length > frontierEntriesMax) return refuse('bad frontier')
  const entries: FrontierEntry[] = []
  for (const item of value as readonly unknown[]) {
    const fields = asTuple(item, 4)
    if (fields === undefined) return refuse('bad frontier entry')
    const [feed, have, head, applied] = fields
    if (!isBytes(feed, idBytes.feed) || !isUint(have, 0xffff_ffff) || !isBytes(head, idBytes.hash) || !isUint(applied, have))
      return refuse('bad frontier entry')
    entries.push({ feed: bytesToId(feed), have, head: bytesToId(head), applied })
  }
  return ok(entries)
}

/** One hash of a whole frontier; equal at two instances exactly when they store and materialise the same. */
export function frontierDigest(entries: Iterable<FrontierEntry>): string {
  const sorted = [...entries].toSorted((a, b) => (a.feed < b.feed ? -1 : 1))
  return hashToId('selfsame/frontier/1', encode(frontierToWire(sorted)))
}
