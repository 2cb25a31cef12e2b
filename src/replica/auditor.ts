/**
 * The auditor: digests what this instance shows, and goes round all of it to see whether what is stored still gives what it gave. Works in idle
 * slices, within a hundredth of the time, and reports what it finds; what is to be done about that is for others.
 */
import { SelfsameError } from '../core/index.ts'
import type { Clock, DocumentId, Logger } from '../core/index.ts'
import type { DocumentKind } from '../document/index.ts'
import type { EntryCursor } from '../storage/index.ts'
import { DigestBook } from './digest-book.ts'
import { openStored, versionKeyOf } from './digests.ts'
import type { DocumentDigest } from './digests.ts'
import type { Engine } from './engine.ts'
import type { Reader } from './reader.ts'

/** Milliseconds of work, and steps, after which a slice ends: nothing is held up longer, but by one step that takes longer itself. */
const sliceMs = 2
const sliceSteps = 32
/** A slice is followed by a rest so many times as long: a hundredth of the time. While somebody waits, a third. */
const restFactor = 99
const hurryRestFactor = 2
/** The shortest rest, and that while there is nothing to look at, milliseconds. */
const restMsMin = 50
const idleRestMs = 1_000
/** Milliseconds for which a document has to rest before it is digested: one that changes all the time would be digested in vain. */
const settleMs = 2_000
/**
 * A document that cannot be looked at in steps is passed over by rounds for so many times as long as looking took: what holds everything up for
 * 60 ms does so once a minute.
 */
const passedOverFactor = 1_000
/** Milliseconds from the begin of one round to that of the next, at least. */
const roundMs = 10_000
/** Rows of the index of a log that are counted in one step. */
const indexPageMax = 1_000
/** Envelopes held against the index of the logs in one step. */
const walkEnvelopes = 32

/** Something that is stored here, or in memory, and gives another content than it gave: this instance shows what is not so. */
export interface Finding {
  readonly document: DocumentId
  /** `index`: a log shows other entries than its envelopes hold. `content`: what is stored of a document gives something else than before, or than what is shown. */
  readonly kind: 'index' | 'content'
  /** For a person: what of the document. */
  readonly detail: string
  /** Milliseconds since the Unix epoch. */
  readonly since: number
}

export interface AuditorOptions {
  readonly engine: Engine
  readonly reader: Reader
  readonly clock: Clock
  readonly logger: Logger
  /** What a document that was found damaged is attested with instead of its digest. */
  readonly damagedDigest: string
  readonly found: (finding: Finding) => void
  /** A document has another digest, or one of another version, than before. */
  readonly digested: (document: DocumentId) => void
}

/** What is gone on with step by step. */
interface Job {
  /** What is looked at; null: all logs. */
  readonly document: DocumentId | null
  readonly steps: Iterator<undefined, void>
}

/** Somebody who waits until what had changed is looked at. */
interface Hurry {
  /** Documents that had changed when looking began, and were not looked at since; null: it has not begun. */
  left: Set<DocumentId> | null
  readonly done: () => void
}

interface Listed {
  readonly document: DocumentId
  readonly kind: DocumentKind
}

export class Auditor {
  readonly #options: AuditorOptions
  readonly book = new DigestBook()
  readonly #findings = new Map<DocumentId, Finding>()
  /** Documents that changed, or were never looked at, and since when (monotonic milliseconds). */
  readonly #due = new Map<DocumentId, number>()
  /** Those of them that are not in the book, and whatever could not be read when it was looked at last. */
  readonly #unseen = new Set<DocumentId>()
  /** Entries that each log should show, as far as that is known. */
  readonly #entries = new Map<DocumentId, number>()
  /** Of the round under way: documents to look at. */
  #round: Listed[] = []
  /** Until when rounds pass over documents, monotonic milliseconds. */
  readonly #passedOverUntil = new Map<DocumentId, number>()
  /** The position up to which the index was looked at, which may take many rounds; null: all of it was. */
  #walked: number | null = null
  #isWalkNext = false
  #roundBeganAt = Number.NEGATIVE_INFINITY
  #job: Job | null = null
  #cancel: (() => void) | null = null
  #hurried: Hurry[] = []
  #isRunning = false

  constructor(options: AuditorOptions) {
    this.#options = options
    options.engine.onCommitted(({ documents, isLoadedAnew }) => {
      if (isLoadedAnew) this.#beginAnew()
      const now = options.clock.monotonic()
      for (const [document, more] of documents) {
        this.#due.set(document, now)
        if (this.book.get(document) === undefined) this.#unseen.add(document)
        const entries = this.#entries.get(document)
        if (entries !== undefined) this.#entries.set(document, entries + more)
      }
    })
    this.#dueAll()
  }

  /** Documents that are to be digested still, or could not be read. */
  get undigested(): number {
    let count = this.#due.size + (this.#job === null ? 0 : 1)
    for (const document of this.#unseen) if (!this.#due.has(document)) count += 1
    return count
  }

  /** What was found and is so still. */
  get findings(): ReadonlyMap<DocumentId, Finding> {
    return this.#findings
  }

  /** Whether every document is in the book, of whatever version, but for those that cannot be read. */
  get isComplete(): boolean {
    return !this.#options.engine.isRebuilding && (this.#unseen.size === 0 || this.#isIdle)
  }

  /** Nothing has changed since it was looked at. */
  get #isIdle(): boolean {
    return this.#due.size === 0 && this.#job === null
  }

  start(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    this.#next(restMsMin)
  }

  stop(): void {
    this.#isRunning = false
    this.#cancel?.()
    this.#cancel = null
    for (const { done } of this.#hurried.splice(0)) done()
  }

  /**
   * Digests all that has changed, soon. Resolves when that is done, or when the auditor is stopped. What changes meanwhile, or is being changed, is
   * not waited for: where others write all the time there would be no end.
   */
  hurry(): Promise<void> {
    if (!this.#isRunning || (this.#isIdle && !this.#options.engine.isRebuilding)) return Promise.resolve()
    return new Promise((resolve) => {
      this.#hurried.push({ left: null, done: resolve })
      this.#next(0)
    })
  }

  #next(restMs: number): void {
    this.#cancel?.()
    this.#cancel = this.#options.clock.after(restMs, () => this.#slice())
  }

  #slice(): void {
    const { clock, engine, logger } = this.#options
    const beganAt = clock.monotonic()
    const isReadable = engine.isReadable && !engine.isRebuilding
    const { document: current = null } = this.#job ?? {}
    if (isReadable) for (const hurry of this.#hurried) hurry.left ??= new Set([...this.#due.keys(), ...(current === null ? [] : [current])])
    let restMs = restMsMin
    for (let step = 0; isReadable && step < sliceSteps && clock.monotonic() - beganAt < sliceMs; step += 1) {
      let document: DocumentId | null = null
      try {
        this.#job ??= this.#nextJob(beganAt)
        if (this.#job === null) {
          restMs = idleRestMs
          break
        }
        document = this.#job.document
        if (this.#job.steps.next().done === true) this.#job = null
      } catch (error) {
        // A log that is written to too fast, something damaged, a disk that cannot be read: whoever looks after that will tell, and the round goes on.
        if (!(error instanceof SelfsameError)) throw error
        logger.debug({ error: error.message }, 'a document could not be looked at')
        if (document !== null) this.#unseen.add(document)
        this.#job = null
      }
      if (this.#job === null) this.#lookedAt(document)
    }
    const hurried = this.#hurried.splice(0)
    this.#hurried = hurried.filter(({ left }) => left?.size !== 0)
    for (const { done, left } of hurried) if (left?.size === 0) done()
    const isHurried = this.#hurried.length > 0
    const spent = clock.monotonic() - beganAt
    if (this.#isRunning) this.#next(isHurried && isReadable ? spent * hurryRestFactor : Math.max(restMs, spent * restFactor))
  }

  #nextJob(now: number): Job | null {
    for (const [document, changedAt] of this.#due) {
      if (this.#hurried.length === 0 && now - changedAt < settleMs) continue
      this.#due.delete(document)
      const row = this.#options.engine.store.document(document)
      if (row !== undefined) return { document, steps: this.#look({ document, kind: row.kind as DocumentKind }, true) }
      this.#unseen.delete(document)
      this.#lookedAt(document)
    }
    if (this.#hurried.length > 0) return null
    if (this.#round.length === 0 && now - this.#roundBeganAt >= roundMs) this.#beginRound(now)
    // In turn: neither many documents nor a long index that grows all the time keep the other waiting.
    this.#isWalkNext = !this.#isWalkNext
    return (this.#isWalkNext ? this.#nextWalk() : null) ?? this.#nextListed(now) ?? this.#nextWalk()
  }

  #nextListed(now: number): Job | null {
    for (let listed = this.#round.pop(); listed !== undefined; listed = this.#round.pop()) {
      if ((this.#passedOverUntil.get(listed.document) ?? now) > now) continue
      return { document: listed.document, steps: this.#look(listed, this.#due.has(listed.document)) }
    }
    return null
  }

  #nextWalk(): Job | null {
    return this.#walked === null ? null : { document: null, steps: this.#walk(this.#walked) }
  }

  #lookedAt(document: DocumentId | null): void {
    if (document !== null) for (const { left } of this.#hurried) left?.delete(document)
  }

  #beginRound(now: number): void {
    const { reader } = this.#options
    this.#roundBeganAt = now
    this.#round = [...reader.documents()]
    this.#walked ??= 0
    const listed = new Set(this.#round.map(({ document }) => document))
    for (const document of this.book.documents()) {
      if (!listed.has(document)) this.#find(document, 'content', 'it is not in the list of documents any more')
    }
    for (const document of this.#findings.keys())
      if (this.book.get(document) === undefined && !listed.has(document)) this.#findings.delete(document)
  }

  /** `hasChanged`: it was written to since it was looked at last, so nothing is known of what it should give. */
  *#look({ document, kind }: Listed, hasChanged: boolean): Generator<undefined, void> {
    const { clock, damagedDigest, engine, reader } = this.#options
    if (engine.materialiser.isDirty(document)) {
      this.#due.set(document, clock.monotonic())
      return
    }
    const before = this.book.get(document)
    // What was found stays until all is built anew: what would be seen now could be what is wrong.
    if (before?.digest === damagedDigest)
      return this.#enter(document, { versionKey: versionKeyOf(engine.store, document), digest: damagedDigest })
    const stored = kind === 'log' ? yield* reader.digests.ofLog(document) : this.#ofLive(document, kind)
    const isKnown = before !== undefined && !hasChanged && !this.#due.has(document)
    if (isKnown && before.versionKey !== stored.versionKey) return this.#find(document, 'content', 'its versions changed without a write')
    if (isKnown && before.digest !== stored.digest)
      return this.#find(document, 'content', 'what is stored of it gives something else than before')
    if (kind === 'log') {
      const shown = hasChanged ? engine.store.entryCount(document) : yield* this.#indexed(document)
      // What was written meanwhile may be counted on one side only.
      if (this.#due.has(document)) return this.#enter(document, stored)
      const expected = this.#entries.get(document) ?? engine.store.entryCount(document)
      this.#entries.set(document, expected)
      if (shown !== expected) return this.#find(document, 'index', `it shows ${shown} entries and has ${expected}`)
    } else {
      const live = engine.materialiser.cached(document)
      if (live !== undefined && live.digest() !== stored.digest)
        return this.#find(document, 'content', 'what is stored of it gives something else than what is shown')
    }
    this.#findings.delete(document)
    this.#enter(document, stored)
  }

  #ofLive(document: DocumentId, kind: Exclude<DocumentKind, 'log'>): DocumentDigest {
    const { clock, engine } = this.#options
    const beganAt = clock.monotonic()
    const stored = { versionKey: versionKeyOf(engine.store, document), digest: openStored(engine.store, document, kind).digest() }
    const endedAt = clock.monotonic()
    this.#passedOverUntil.set(document, endedAt + (endedAt - beganAt) * passedOverFactor)
    return stored
  }

  /** Entries in the index of a log. */
  *#indexed(document: DocumentId): Generator<undefined, number> {
    let count = 0
    for (let after: EntryCursor | undefined; ;) {
      const query = { document, limit: indexPageMax }
      const page = this.#options.engine.store.entries(after === undefined ? query : { ...query, after })
      count += page.length
      after = page.at(-1)
      if (page.length < indexPageMax) return count
      yield
    }
  }

  /** Holds the index of the logs against some envelopes. */
  *#walk(position: number): Generator<undefined, void> {
    const { engine, reader } = this.#options
    // Positions have no gaps. A page that cannot be read is passed over.
    this.#walked = position + walkEnvelopes
    const page = engine.store.appliedAfter(position, walkEnvelopes)
    if (page.length < walkEnvelopes) this.#walked = null
    for (const stored of page) {
      for (const document of reader.logsLacking(stored)) this.#find(document, 'index', 'it does not show all entries that it has')
    }
    yield
  }

  #find(document: DocumentId, kind: Finding['kind'], detail: string): void {
    const { clock, damagedDigest, engine, found } = this.#options
    this.#enter(document, { versionKey: versionKeyOf(engine.store, document), digest: damagedDigest })
    if (this.#findings.has(document)) return
    const finding = { document, kind, detail, since: Math.floor(clock.now()) }
    this.#findings.set(document, finding)
    found(finding)
  }

  #enter(document: DocumentId, digest: DocumentDigest): void {
    this.#unseen.delete(document)
    if (this.book.set(document, digest)) this.#options.digested(document)
  }

  /** All that is derived is built anew, or read from another store: what was known of it is void. What was found is gone once it is looked at again. */
  #beginAnew(): void {
    this.#job = null
    for (const hurry of this.#hurried) hurry.left = null
    this.#round = []
    this.#walked = null
    this.#roundBeganAt = Number.NEGATIVE_INFINITY
    this.#entries.clear()
    this.#passedOverUntil.clear()
    this.book.clear()
    this.#due.clear()
    this.#unseen.clear()
    this.#options.reader.digests.forget()
    this.#dueAll()
  }

  #dueAll(): void {
    for (const { document } of this.#options.reader.documents()) {
      this.#due.set(document, Number.NEGATIVE_INFINITY)
      this.#unseen.add(document)
    }
  }
}
