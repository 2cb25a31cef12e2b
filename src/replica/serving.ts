/**
 * Answers one want: reads the asked ranges from the store in this instance's order of applying and cuts them into
 * compressed chunks. Holds one page a feed in memory, whatever is asked.
 */
import type { Clock, Encodable, FeedId } from '../core/index.ts'
import { envelopeToWire } from '../feed/index.ts'
import { storedSize } from '../storage/index.ts'
import type { Store, StoredEnvelope } from '../storage/index.ts'
import type { Engine } from './engine.ts'
import { soundOr } from './ledger.ts'
import { chunkBytesTarget, encodeChunk } from './messages.ts'
import type { FeedRange, WantMessage } from './messages.ts'
import { joinedRunBytes } from './proof.ts'
import type { Session } from './session.ts'

/** Bytes of stored envelopes held for one want, over all its feeds. */
const pageBytesTotal = 1 << 20

/** Reads one feed forward from `from`, by runs: envelopes without a signature, and the signed one after them. */
class FeedReader {
  readonly #store: () => Store
  readonly #feed: FeedId
  readonly #to: number
  readonly #pageBytes: number
  #page: readonly StoredEnvelope[] = []
  #index = 0
  #next: number

  constructor(store: () => Store, range: FeedRange, pageBytes: number) {
    this.#store = store
    this.#feed = range.feed
    this.#next = range.from
    this.#to = range.to
    this.#pageBytes = pageBytes
    this.#fill()
  }

  /** The next envelope, undefined at the end of what is stored, or sound. */
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

  /** Up to the next signature; nothing where damage cuts it off before that. */
  takeRun(): StoredEnvelope[] {
    const run: StoredEnvelope[] = []
    while (this.head !== undefined) {
      run.push(this.#take())
      if (run.at(-1)?.signature !== null) return run
    }
    return []
  }

  #take(): StoredEnvelope {
    const taken = this.#page[this.#index] as StoredEnvelope
    this.#index += 1
    this.#next = taken.sequence + 1
    if (this.#index === this.#page.length) this.#fill()
    return taken
  }

  #fill(): void {
    // Before one that is damaged the answer ends: whoever asked asks somebody else for the rest.
    this.#page = soundOr([], () => this.#store().envelopes(this.#feed, this.#next, Number.MAX_SAFE_INTEGER, this.#pageBytes))
    this.#index = 0
  }
}

export class Serving {
  readonly request: number
  readonly #bytesMax: number
  /** Sorted by order, the next one last. */
  readonly #readers: FeedReader[]
  #bytes = 0

  constructor(store: () => Store, request: number, ranges: readonly FeedRange[], bytesMax: number) {
    this.request = request
    this.#bytesMax = bytesMax
    const pageBytes = Math.max(1, Math.floor(pageBytesTotal / ranges.length))
    this.#readers = ranges
      .map((range) => new FeedReader(store, range, pageBytes))
      .filter((reader) => !reader.isPastRange)
      .toSorted((a, b) => b.order - a.order)
  }

  /** The next chunk as a frame, and whether it is the last. It holds whole runs, so that each of its feeds ends in a signature. */
  next(): { readonly frame: Uint8Array; readonly last: boolean } {
    const chunk: StoredEnvelope[] = []
    /** By feed: where its last run ends in the chunk, and what that run holds once those before are joined to it. */
    const endsByFeed = new Map<FeedId, { readonly index: number; readonly bytes: number }>()
    const joined = new Set<number>()
    let bytes = 0
    while (bytes < chunkBytesTarget && this.#bytes + bytes < this.#bytesMax) {
      const reader = this.#readers.pop()
      if (reader === undefined) break
      const run = reader.takeRun()
      if (run.length === 0) continue
      chunk.push(...run)
      const runBytes = run.reduce((sum, stored) => sum + storedSize(stored), 0)
      const { feed } = run[0] as StoredEnvelope
      const before = endsByFeed.get(feed)
      const joins = before !== undefined && before.bytes + runBytes <= joinedRunBytes
      if (joins) joined.add(before.index)
      endsByFeed.set(feed, { index: chunk.length - 1, bytes: joins ? before.bytes + runBytes : runBytes })
      bytes += runBytes
      this.#insert(reader)
    }
    this.#bytes += bytes
    const last = this.#readers.length === 0 || this.#bytes >= this.#bytesMax
    const wire: Encodable[] = chunk.map((stored, index) => envelopeToWire(stored, !joined.has(index)))
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

/** Milliseconds until something is tried again for which the store is not there right now. */
const storeRetryMs = 200

export interface AnswersOptions {
  readonly engine: Engine
  readonly clock: Clock
  /** Bytes of one answer. */
  readonly bytesMax: number
  readonly isOpen: (session: Session) => boolean
  /** Sends a frame; false: no more before `goOn`. */
  readonly send: (session: Session, frame: Uint8Array) => boolean
}

/**
 * The answers under way: one on each link, chunk by chunk. Each rests for as long as its last chunk took, so that a peer that wants
 * everything for ever leaves half of the time to all else.
 */
export class Answers {
  readonly #options: AnswersOptions

  constructor(options: AnswersOptions) {
    this.#options = options
  }

  /** Begins to answer; nothing else is wanted on that link. */
  begin(session: Session, wanted: WantMessage): void {
    session.wanted = wanted
    this.#send(session)
  }

  /** The link takes more again. */
  goOn(session: Session): void {
    if (!session.servingPaused) return
    session.servingPaused = false
    this.#send(session)
  }

  #send(session: Session): void {
    const { clock, engine, isOpen, send } = this.#options
    const { wanted } = session
    if (wanted === null || !isOpen(session)) return
    const began = clock.monotonic()
    const waitMs = engine.isReadable ? session.restsUntil - began : storeRetryMs
    if (waitMs > 0) {
      clock.after(waitMs, () => this.#send(session))
      return
    }
    session.serving ??= this.#open(wanted)
    const { frame, last } = session.serving.next()
    const isWritable = send(session, frame)
    session.restsUntil = 2 * clock.monotonic() - began
    if (last) {
      session.serving = null
      session.wanted = null
    } else if (isWritable) clock.after(0, () => this.#send(session))
    else session.servingPaused = true
  }

  #open({ bytesMax, ranges, request }: WantMessage): Serving {
    const { engine } = this.#options
    const durable = engine.frontier()
    const known = ranges.filter((range) => durable.has(range.feed))
    return new Serving(() => engine.store, request, known, Math.min(bytesMax, this.#options.bytesMax))
  }
}
