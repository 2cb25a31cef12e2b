/**
 * The engine: the one loop through which everything is stored. Local requests and envelopes from peers queue up; while
 * no commit is under way the loop builds one batch of what waits, commits it, and only then tells anyone: answers,
 * events, messages. What arrives during a commit shares the next one. It does no I/O of its own: the store is a port.
 */
import { SelfsameError, assert, HybridClock, mergeAheadMillisecondsMax } from '../core/index.ts'
import type { Clock, EnvelopeHash, FeedId, InstanceId, Logger, PublicKey, Random, RecordHash } from '../core/index.ts'
import { envelopeSize } from '../feed/index.ts'
import type { Envelope, FrontierEntry } from '../feed/index.ts'
import { createMemberSet, decodeRecord } from '../membership/index.ts'
import type { MemberSet, MembershipRecord } from '../membership/index.ts'
import { CommitFailure } from '../storage/index.ts'
import type { EvidenceRow, Store } from '../storage/index.ts'
import { Ledger } from './ledger.ts'
import { Materialiser } from './materialiser.ts'
import { Writer } from './writer.ts'
import type { Identity, LocalWrite, PendingWrite, WriteOutcome } from './writer.ts'

/** Envelopes stored or applied in one commit: about 20 ms of work, so that the loop is never held up longer. */
const batchEnvelopesMax = 500
/** Bytes of envelopes in one commit. */
const batchBytesMax = 4 << 20
/** Bytes of authentic envelopes held in memory because one before them in their chain has not come yet. They are only saved a second trip. */
const earlyBytesMax = 8 << 20
/** Local requests that may wait for a commit; more are refused with `too-many-requests`. */
const queuedWritesMax = 10_000
/** Milliseconds between tries to write while there is no space left, or the store cannot be reopened. */
const retryMilliseconds = 5_000

export interface EngineOptions {
  /** Opens the store: at the start, and again after a commit whose outcome is unknown. */
  readonly openStore: () => Promise<Store>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly identity: Identity
  /** Bytes that live documents may take in memory. */
  readonly cacheBytes: number
  /** Called once with what cannot be gone on from: a damaged store, a bug. */
  readonly fatal: (error: unknown) => void
}

/** A commit is durable. */
export interface Committed {
  /** Feeds that moved, as they now are. */
  readonly changed: readonly FrontierEntry[]
  /** Envelopes that this instance wrote. */
  readonly own: readonly Envelope[]
  /** Records that were new. */
  readonly records: readonly MembershipRecord[]
  readonly evidence: boolean
}

interface Batch {
  readonly own: readonly Envelope[]
  readonly settle: readonly (() => void)[]
  readonly writes: readonly PendingWrite[]
  readonly records: readonly MembershipRecord[]
  readonly done: readonly PendingRows[]
  readonly evidence: boolean
}

interface PendingRows {
  readonly records: readonly MembershipRecord[]
  readonly meta: ReadonlyMap<string, Uint8Array | null>
  readonly evidence: readonly EvidenceRow[]
  resolve(): void
  reject(error: unknown): void
}

/** What is loaded from a store and void when a commit fails. */
interface Loaded {
  readonly store: Store
  readonly ledger: Ledger
  readonly materialiser: Materialiser
  readonly writer: Writer
}

export class Engine {
  readonly #options: EngineOptions
  readonly #hybridClock: HybridClock
  #loaded: Loaded
  #members: MemberSet
  /** As told to others: only what is durable. */
  readonly #durable = new Map<FeedId, FrontierEntry>()
  readonly #listeners = new Set<(committed: Committed) => void>()

  #writes: PendingWrite[] = []
  #rows: PendingRows[] = []
  /** Reads that wait for the commit under way. */
  #reads: (() => void)[] = []
  #inbox: Envelope[] = []
  #inboxBytes = 0
  /** The last sequence of each feed that waits in the inbox, unbroken from what is stored. */
  readonly #offered = new Map<FeedId, number>()
  /** The keys of feeds whose opening waits in the inbox. */
  readonly #offeredKeys = new Map<FeedId, PublicKey>()
  readonly #early = new Map<string, Envelope>()
  #earlyBytes = 0
  /** Feeds refused because what their opening goes on from is not here, by its hash. */
  readonly #orphans = new Map<EnvelopeHash, Set<FeedId>>()
  /** Feeds whose next envelope may be ready to apply. */
  readonly #ready = new Set<FeedId>()
  /** Feeds whose next envelope waits for an envelope or record of that hash. */
  readonly #waiting = new Map<string, Set<FeedId>>()
  /** Feeds that are not taken any further, with the reason, until the member table changes. */
  readonly #refused = new Map<FeedId, string>()
  readonly #clockAheadMilliseconds = new Map<InstanceId, number>()

  #state: 'running' | 'committing' | 'recovering' | 'read-only' | 'closed' = 'running'
  #pumpScheduled = false
  #settled: Promise<void> = Promise.resolve()
  #cancelRetry: () => void = () => {}

  private constructor(options: EngineOptions, store: Store) {
    this.#options = options
    this.#hybridClock = new HybridClock(options.clock)
    this.#members = createMemberSet(options.identity.agent)
    this.#loaded = this.#load(store)
  }

  static async open(options: EngineOptions): Promise<Engine> {
    return new Engine(options, await options.openStore())
  }

  get store(): Store {
    return this.#loaded.store
  }

  get ledger(): Ledger {
    return this.#loaded.ledger
  }

  get materialiser(): Materialiser {
    return this.#loaded.materialiser
  }

  get members(): MemberSet {
    return this.#members
  }

  get isReadOnly(): boolean {
    return this.#state === 'read-only'
  }

  /** Whether envelopes from peers are taken in right now. */
  get takesEnvelopes(): boolean {
    return this.#state === 'running' || this.#state === 'committing'
  }

  /** Whether the store can be read right now: not while it is opened anew. */
  get isReadable(): boolean {
    return this.#state !== 'recovering' && this.#state !== 'closed'
  }

  /** Bytes of envelopes that wait to be stored: senders are asked for no more while it is high. */
  get inboxBytes(): number {
    return this.#inboxBytes
  }

  /** Milliseconds that instances' clocks were last seen ahead of ours, where that is more than a clock may be. */
  get clocksAhead(): ReadonlyMap<InstanceId, number> {
    return this.#clockAheadMilliseconds
  }

  /** Feeds that are not taken any further, with the reason. */
  get refused(): ReadonlyMap<FeedId, string> {
    return this.#refused
  }

  /** Feeds with stored envelopes that are not applied yet. */
  get waitingFeeds(): number {
    let count = 0
    for (const entry of this.#durable.values()) if (entry.applied < entry.have) count += 1
    return count
  }

  /** The durable frontier. */
  frontier(): ReadonlyMap<FeedId, FrontierEntry> {
    return this.#durable
  }

  /** How far a feed is stored or about to be. */
  reaches(feed: FeedId): number {
    return Math.max(this.ledger.feed(feed)?.have ?? 0, this.#offered.get(feed) ?? 0)
  }

  /** The key of a feed whose opening waits in the inbox. */
  openingKey(feed: FeedId): PublicKey | undefined {
    return this.#offeredKeys.get(feed)
  }

  onCommitted(listener: (committed: Committed) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Carries out a local request; resolves once it is durable. Throws `SelfsameError`. */
  write(write: LocalWrite): Promise<WriteOutcome> {
    if (this.#state === 'closed') return Promise.reject(new SelfsameError('unavailable', 'the daemon is stopping: try again once it is up'))
    if (this.#state === 'read-only') return Promise.reject(readOnlyError())
    if (this.#writes.length >= queuedWritesMax)
      return Promise.reject(new SelfsameError('too-many-requests', `${queuedWritesMax} requests are waiting already: try again shortly`))
    if (this.#members.member(this.#options.identity.instance)?.role === 'reader') {
      return Promise.reject(new SelfsameError('forbidden', 'this instance is a reader: an admin of the agent can make it a writer'))
    }
    return new Promise((resolve, reject) => {
      this.#writes.push({ write, resolve, reject })
      this.#schedulePump()
    })
  }

  /** Stores records, meta values and evidence; resolves once they are durable. The records' signatures are checked already. */
  put(rows: {
    records?: readonly MembershipRecord[]
    meta?: ReadonlyMap<string, Uint8Array | null>
    evidence?: readonly EvidenceRow[]
  }): Promise<void> {
    if (this.#state === 'closed' || this.#state === 'read-only')
      return Promise.reject(this.#state === 'closed' ? new SelfsameError('unavailable', 'the daemon is stopping') : readOnlyError())
    return new Promise((resolve, reject) => {
      this.#rows.push({ records: rows.records ?? [], meta: rows.meta ?? new Map(), evidence: rows.evidence ?? [], resolve, reject })
      this.#schedulePump()
    })
  }

  /** Takes authentic envelopes (signature checked) to store and apply. What is known, or comes too early, is passed over. */
  offer(envelopes: readonly Envelope[]): void {
    if (!this.takesEnvelopes) return
    for (const envelope of envelopes) {
      const { feed, opening, sequence } = envelope.header
      this.#inbox.push(envelope)
      this.#inboxBytes += envelopeSize(envelope)
      if (sequence === this.reaches(feed) + 1) this.#offered.set(feed, sequence)
      if (opening !== null) this.#offeredKeys.set(feed, opening.key)
    }
    this.#schedulePump()
  }

  /**
   * Reads what is in memory when it is durable: at once, or right after the commit that is changing it, before the next
   * begins, so that reading goes on however much is written. `read` is called once, and must not wait.
   */
  readDurably<Value>(isDirty: () => boolean, read: () => Value): Promise<Value> {
    return new Promise((resolve, reject) => {
      const attempt = (): void => {
        try {
          resolve(read())
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)))
        }
      }
      if (this.#state === 'recovering' || (this.#state === 'committing' && isDirty())) this.#reads.push(attempt)
      else attempt()
    })
  }

  /** Writes snapshots that are due, if nothing else is to be done. For idle moments. */
  idle(): void {
    if (this.#state !== 'running' || this.#hasWork() || !this.materialiser.stageSnapshots()) return
    this.#commit({ own: [], settle: [], writes: [], records: [], done: [], evidence: false })
  }

  /** Takes no more, waits for the commit under way, and closes the store. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    while (this.#state === 'committing' || this.#state === 'recovering') await this.#settled
    this.#state = 'closed'
    this.#cancelRetry()
    const error = new SelfsameError('unavailable', 'the daemon is stopping: try again once it is up')
    for (const pending of [...this.#writes, ...this.#rows]) pending.reject(error)
    await this.store.close()
  }

  #load(store: Store): Loaded {
    const { identity, random, cacheBytes } = this.#options
    const ledger = new Ledger(store)
    const lineageOf = (instance: InstanceId): InstanceId => this.#members.lineageOf(instance)
    const materialiser = new Materialiser({ store, ledger, cacheBytes, lineageOf })
    this.#members = createMemberSet(identity.agent)
    this.#members.add(store.records().map((row) => readStoredRecord(row.bytes)))
    this.#durable.clear()
    this.#waiting.clear()
    this.#ready.clear()
    for (const state of ledger.feeds()) {
      this.#hybridClock.merge(state.headStamp)
      if (state.applied < state.have) this.#ready.add(state.feed)
    }
    for (const entry of ledger.frontier()) this.#durable.set(entry.feed, entry)
    const writer = new Writer({
      identity,
      store,
      ledger,
      materialiser,
      hybridClock: this.#hybridClock,
      random,
      recordHeads: () => this.#members.citedBy(identity.instance),
      lineageOf,
    })
    if (this.#ready.size > 0) this.#schedulePump()
    return { store, ledger, materialiser, writer }
  }

  #schedulePump(): void {
    if (this.#pumpScheduled) return
    this.#pumpScheduled = true
    queueMicrotask(() => {
      this.#pumpScheduled = false
      if (this.#state !== 'running' || !this.#hasWork()) return
      try {
        this.#pump()
      } catch (error) {
        this.#options.fatal(error)
      }
    })
  }

  #hasWork(): boolean {
    return this.#writes.length > 0 || this.#rows.length > 0 || this.#inbox.length > 0 || this.#ready.size > 0
  }

  #pump(): void {
    const { ledger, materialiser, writer } = this.#loaded
    const done = this.#rows.splice(0)
    const records = done.flatMap((rows) => this.#addRecords(rows.records))
    for (const rows of done) {
      for (const [name, value] of rows.meta) ledger.rows.meta.set(name, value)
      ledger.rows.evidence.push(...rows.evidence)
    }
    this.#store()
    this.#apply()
    const writes = [...this.#writes]
    const built = writer.build(this.#writes)
    materialiser.finishBatch()
    const taken = writes.slice(0, writes.length - this.#writes.length)
    const batch: Batch = {
      own: built.envelope === null ? [] : [built.envelope],
      settle: built.settle,
      writes: taken,
      records,
      done,
      evidence: ledger.rows.evidence.length > 0,
    }
    if (ledger.isEmpty) {
      this.#tell(batch, [])
      // Nothing was committed, so nothing lets others have their turn.
      if (this.#hasWork()) this.#options.clock.after(0, () => this.#schedulePump())
      return
    }
    this.#commit(batch)
  }

  #addRecords(offered: readonly MembershipRecord[]): readonly MembershipRecord[] {
    const judged = this.#members.add(offered)
    if (judged.length === 0) return []
    // Whatever waited for a record, or was refused for the want of one, is looked at again.
    this.#refused.clear()
    for (const record of judged) {
      if (this.#members.standingOf(record.hash) === 'void') continue
      this.ledger.rows.records.push({ hash: record.hash, bytes: record.bytes })
    }
    for (const state of this.ledger.feeds()) if (state.applied < state.have) this.#ready.add(state.feed)
    return judged
  }

  /** Stores envelopes of the inbox, as many as one batch may hold. */
  #store(): void {
    let count = 0
    let bytes = 0
    while (count < this.#inbox.length && count < batchEnvelopesMax && bytes < batchBytesMax) {
      const envelope = this.#inbox[count] as Envelope
      bytes += envelopeSize(envelope)
      count += 1
      this.#take(envelope)
    }
    this.#inbox.splice(0, count)
    this.#inboxBytes -= bytes
    if (this.#inbox.length > 0) return
    this.#offered.clear()
    this.#offeredKeys.clear()
  }

  #take(envelope: Envelope): void {
    const { header } = envelope
    if (this.#refused.has(header.feed)) return
    if (header.opening !== null && this.#members.memberByKey(header.opening.key)?.instance !== header.opening.instance) {
      this.#refused.set(header.feed, 'its author is not a member')
      return
    }
    const admission = this.ledger.admit(envelope)
    if (admission === 'stored') {
      this.#noteStamp(envelope)
      this.#ready.add(header.feed)
      this.#noteTwin(envelope)
      for (const feed of this.#orphans.get(envelope.hash) ?? []) this.#refused.delete(feed)
      this.#orphans.delete(envelope.hash)
      const next = this.#forgetEarly(placeKey(header.feed, header.sequence + 1))
      if (next !== undefined) this.#take(next)
    } else if (admission === 'gap') {
      if (header.opening === null) this.#keepEarly(envelope)
      else if (header.previous !== null) this.#refuseOrphan(header.feed, header.previous)
    } else if (admission === 'fork' || admission === 'stale-stamp') {
      this.#refuseFeed(envelope, admission)
    }
  }

  #keepEarly(envelope: Envelope): void {
    const key = placeKey(envelope.header.feed, envelope.header.sequence)
    if (this.#early.has(key)) return
    this.#early.set(key, envelope)
    this.#earlyBytes += envelopeSize(envelope)
    for (const oldest of this.#early.keys()) {
      if (this.#earlyBytes <= earlyBytesMax) break
      this.#forgetEarly(oldest)
    }
  }

  #forgetEarly(key: string): Envelope | undefined {
    const envelope = this.#early.get(key)
    if (envelope === undefined) return undefined
    this.#early.delete(key)
    this.#earlyBytes -= envelopeSize(envelope)
    return envelope
  }

  /** A run that goes on from an envelope that is not here is not asked for again before that is. */
  #refuseOrphan(feed: FeedId, parent: EnvelopeHash): void {
    this.#refused.set(feed, 'the run that it goes on from is not here')
    const feeds = this.#orphans.get(parent)
    if (feeds === undefined) this.#orphans.set(parent, new Set([feed]))
    else feeds.add(feed)
  }

  #noteStamp(envelope: Envelope): void {
    const ahead = this.#hybridClock.merge(envelope.header.stamp)
    const instance = this.ledger.feed(envelope.header.feed)?.instance
    if (instance === undefined) return
    if (ahead > mergeAheadMillisecondsMax) this.#clockAheadMilliseconds.set(instance, ahead)
    else this.#clockAheadMilliseconds.delete(instance)
  }

  /** An envelope of our own run that we did not write: another process holds this home's copy, and the run. */
  #noteTwin(envelope: Envelope): void {
    if (envelope.header.feed === this.#loaded.writer.feed) this.#loaded.writer.endRun()
  }

  #refuseFeed(envelope: Envelope, why: 'fork' | 'stale-stamp'): void {
    const { feed, sequence } = envelope.header
    const detail =
      why === 'fork'
        ? `feed ${feed} has two envelopes in one place (at or before sequence ${sequence}): its author, or a copy of its running machine, wrote both`
        : `envelope ${sequence} of feed ${feed} has a time not after the one before it`
    this.#refused.set(feed, detail)
    if (feed === this.#loaded.writer.feed) this.#loaded.writer.endRun()
    this.ledger.rows.evidence.push({
      id: `${why}:${feed}:${sequence}`,
      kind: why,
      at: this.#options.clock.now(),
      detail,
      proof: envelope.headerBytes,
    })
    this.#options.logger.warn({ feed, sequence }, detail)
  }

  /** Applies what is ready, as much as one batch may hold. */
  #apply(): void {
    let budget = batchEnvelopesMax
    let bytes = batchBytesMax
    for (const feed of this.#ready) {
      this.#ready.delete(feed)
      for (;;) {
        if (budget === 0 || bytes <= 0) {
          this.#ready.add(feed)
          return
        }
        const envelope = this.ledger.nextToApply(feed)
        if (envelope === undefined) break
        const missing = this.#missing(envelope)
        if (missing === 'refused') break
        if (missing !== null) {
          const feeds = this.#waiting.get(missing)
          if (feeds === undefined) this.#waiting.set(missing, new Set([feed]))
          else feeds.add(feed)
          break
        }
        this.materialiser.apply(envelope)
        budget -= 1
        bytes -= envelopeSize(envelope)
        this.#wake(envelope.hash)
      }
    }
  }

  /** What an envelope has to wait for before it can be applied; null when it need not. */
  #missing(envelope: Envelope): EnvelopeHash | RecordHash | 'refused' | null {
    const { header } = envelope
    const state = this.ledger.feed(header.feed)
    assert(state !== undefined, 'a stored envelope has no feed')
    if (header.sequence === 1 && header.previous !== null && this.ledger.find(header.previous)?.applied !== true) return header.previous
    for (const dep of header.deps) if (this.ledger.find(dep)?.applied !== true) return dep
    const verdict = this.#members.mayWrite(state.instance, state.key, header.records)
    if (verdict === 'unknown-records') return 'refused'
    if (verdict === 'no') {
      this.#refused.set(header.feed, 'its author may not write')
      return 'refused'
    }
    return null
  }

  #wake(hash: EnvelopeHash): void {
    const feeds = this.#waiting.get(hash)
    if (feeds === undefined) return
    this.#waiting.delete(hash)
    for (const feed of feeds) this.#ready.add(feed)
  }

  #commit(batch: Batch): void {
    const changed = this.ledger.frontier(this.ledger.changedFeeds())
    for (const envelope of batch.own) this.#wake(envelope.hash)
    this.#state = 'committing'
    this.#settled = this.store.commit(this.ledger.takeBatch()).then(
      () => this.#committed(batch, changed),
      (error: unknown) => this.#commitFailed(batch, error),
    )
    this.#settled.catch((error: unknown) => this.#options.fatal(error))
  }

  #committed(batch: Batch, changed: readonly FrontierEntry[]): void {
    this.ledger.settle()
    this.materialiser.settle()
    for (const entry of changed) this.#durable.set(entry.feed, entry)
    this.#state = 'running'
    for (const read of this.#reads.splice(0)) read()
    this.#tell(batch, changed)
    this.#schedulePump()
  }

  #tell(batch: Batch, changed: readonly FrontierEntry[]): void {
    for (const settle of batch.settle) settle()
    for (const rows of batch.done) rows.resolve()
    const committed = { changed, own: batch.own, records: batch.records, evidence: batch.evidence }
    for (const listener of this.#listeners) listener(committed)
  }

  async #commitFailed(batch: Batch, error: unknown): Promise<void> {
    const { logger } = this.#options
    const rolledBack = error instanceof CommitFailure && error.outcome === 'rolled-back'
    logger.error({ error: String(error), rolledBack }, 'a commit failed')
    this.#state = 'recovering'
    if (!rolledBack) await this.#reopen()
    this.#inbox = []
    this.#inboxBytes = 0
    this.#offered.clear()
    this.#offeredKeys.clear()
    this.#early.clear()
    this.#earlyBytes = 0
    this.#loaded = this.#load(this.store)
    const answer = rolledBack
      ? readOnlyError()
      : new SelfsameError('outcome-unknown', 'the disk did not confirm the write: retry with the same operation id')
    for (const pending of [...batch.writes, ...batch.done]) pending.reject(answer)
    if (rolledBack) this.#becomeReadOnly()
    else this.#state = 'running'
    for (const read of this.#reads.splice(0)) read()
    this.#schedulePump()
  }

  /** Opens the store anew, however long that takes: until then nothing is known for sure. */
  async #reopen(): Promise<void> {
    const { clock, logger, openStore } = this.#options
    await this.store.close().catch((error: unknown) => logger.warn({ error: String(error) }, 'the store did not close'))
    for (;;) {
      try {
        this.#loaded = { ...this.#loaded, store: await openStore() }
        return
      } catch (error) {
        if (error instanceof SelfsameError && error.code === 'storage-corrupt') throw error
        logger.error({ error: String(error) }, 'the store does not open; trying again')
        await new Promise<void>((resolve) => {
          this.#cancelRetry = clock.after(retryMilliseconds, resolve)
        })
      }
    }
  }

  #becomeReadOnly(): void {
    this.#state = 'read-only'
    for (const pending of [...this.#writes.splice(0), ...this.#rows.splice(0)]) pending.reject(readOnlyError())
    this.#cancelRetry = this.#options.clock.after(retryMilliseconds, () => {
      const { store } = this.#loaded
      store.commit({ meta: new Map([['probe', new Uint8Array(4_096)]]) }).then(
        () => {
          this.#options.logger.info({}, 'there is space again')
          this.#state = 'running'
          this.#schedulePump()
        },
        (error: unknown) => {
          if (error instanceof CommitFailure && error.outcome === 'rolled-back') this.#becomeReadOnly()
          else this.#options.fatal(error)
        },
      )
    })
  }
}

function readOnlyError(): SelfsameError {
  return new SelfsameError('read-only', 'there is no space left on the disk of this home: free some; writing goes on by itself')
}

function readStoredRecord(bytes: Uint8Array): MembershipRecord {
  const record = decodeRecord(bytes)
  if (!record.ok)
    throw new SelfsameError(
      'storage-corrupt',
      `a stored membership record is damaged (${record.reason}): restore the home from a backup or join again`,
    )
  return record.value
}

function placeKey(feed: FeedId, sequence: number): string {
  return `${feed}:${sequence}`
}
