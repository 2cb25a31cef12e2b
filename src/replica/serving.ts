/**
 * Answers one want: reads the asked ranges from the store in this instance's order of applying and cuts them into
 * compressed chunks. Holds one page a feed in memory, whatever is asked.
 */
import type { Encodable, FeedId } from '../core/index.ts'
import { envelopeToWire } from '../feed/index.ts'
import type { Store, StoredEnvelope } from '../storage/index.ts'
import { chunkBytesTarget, encodeChunk } from './messages.ts'
import type { FeedRange } from './messages.ts'

/** Bytes of stored envelopes held for one want, over all its feeds. */
const pageBytesTotal = 1 << 20

/** Reads one feed forward from `from`. Past `to` it goes on only to the next signed envelope, which vouches for those before. */
class FeedReader {
  readonly #store: Store
  readonly #feed: FeedId
  readonly #to: number
  readonly #pageBytes: number
  #page: readonly StoredEnvelope[] = []
  #index = 0
  #next: number

  constructor(store: Store, range: FeedRange, pageBytes: number) {
    this.#store = store
    this.#feed = range.feed
    this.#next = range.from
    this.#to = range.to
    this.#pageBytes = pageBytes
    this.#fill()
  }

  /** The next envelope, undefined at the end of what is stored. */
  get head(): StoredEnvelope | undefined {
    return this.#page[this.#index]
  }

  get isPastRange(): boolean {
    const { head } = this
    return head === undefined || head.sequence > this.#to
  }

  /** Its place in the order of sending: as it was applied here, what waits comes last. */
  get order(): number {
    return this.head?.position ?? Number.POSITIVE_INFINITY
  }

  take(): StoredEnvelope {
    const taken = this.#page[this.#index] as StoredEnvelope
    this.#index += 1
    this.#next = taken.sequence + 1
    if (this.#index === this.#page.length) this.#fill()
    return taken
  }

  #fill(): void {
    this.#page = this.#store.envelopes(this.#feed, this.#next, Number.MAX_SAFE_INTEGER, this.#pageBytes)
    this.#index = 0
  }
}

export class Serving {
  readonly request: number
  readonly #bytesMax: number
  /** Sorted by order, the next one last. */
  readonly #readers: FeedReader[]
  #bytes = 0

  constructor(store: Store, request: number, ranges: readonly FeedRange[], bytesMax: number) {
    this.request = request
    this.#bytesMax = bytesMax
    const pageBytes = Math.max(1, Math.floor(pageBytesTotal / ranges.length))
    this.#readers = ranges
      .map((range) => new FeedReader(store, range, pageBytes))
      .filter((reader) => !reader.isPastRange)
      .toSorted((a, b) => b.order - a.order)
  }

  /** The next chunk as a frame, and whether it is the last. */
  next(): { readonly frame: Uint8Array; readonly last: boolean } {
    const chunk: StoredEnvelope[] = []
    const lastOfFeed = new Map<FeedId, number>()
    const readersByFeed = new Map<FeedId, FeedReader>()
    let bytes = 0
    const add = (reader: FeedReader): void => {
      const stored = reader.take()
      lastOfFeed.set(stored.feed, chunk.length)
      readersByFeed.set(stored.feed, reader)
      bytes += stored.headerBytes.length + stored.bodies.reduce((sum, body) => sum + body.bytes.length + body.salt.length, 0)
      chunk.push(stored)
    }
    while (bytes < chunkBytesTarget && this.#bytes + bytes < this.#bytesMax) {
      const reader = this.#readers.pop()
      if (reader === undefined) break
      add(reader)
      this.#insert(reader)
    }
    // What the chunk holds of a feed must end in a signature, or nobody could check it.
    for (const [feed, reader] of readersByFeed) {
      while ((chunk[lastOfFeed.get(feed) as number] as StoredEnvelope).signature === null && reader.head !== undefined) add(reader)
    }
    this.#bytes += bytes
    const last = this.#readers.every((reader) => reader.isPastRange) || this.#bytes >= this.#bytesMax
    const lasts = new Set(lastOfFeed.values())
    const wire: Encodable[] = chunk.map((stored, index) => envelopeToWire(stored, lasts.has(index)))
    return { frame: encodeChunk(this.request, last, wire), last }
  }

  #insert(reader: FeedReader): void {
    if (reader.isPastRange) return
    let low = 0
    let high = this.#readers.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#readers[middle] as FeedReader).order > reader.order) low = middle + 1
      else high = middle
    }
    this.#readers.splice(low, 0, reader)
  }
}
