/**
 * The engine: the one loop through which everything is stored. Local requests and envelopes from peers queue up; while
 * no commit is under way the loop builds one batch of what waits, commits it, and only then tells anyone: answers,
 * events, messages. What arrives during a commit shares the next one. It does no I/O of its own: the store is a port.
 */
import { HybridClock, SelfsameError } from '../core/index.ts'
import type { Clock, DocumentId, FeedId, Logger, Random } from '../core/index.ts'
import type { Envelope, FrontierEntry, Header } from '../feed/index.ts'
import type { MemberSet, MembershipRecord } from '../membership/index.ts'
import { CommitFailure, DamagedEnvelope } from '../storage/index.ts'
import type { Damage, EvidenceRow, Store } from '../storage/index.ts'
import type { LocalWrite, PendingWrite, WriteOutcome } from './draft.ts'
import { emptyBatch } from './batch.ts'
import type { Batch, PendingPut } from './batch.ts'
import { Intake } from './intake.ts'
import type { IntakeTarget } from './intake.ts'
import type { FeedState, Ledger } from './ledger.ts'
import { loadFrom } from './loaded.ts'
import type { Loaded } from './loaded.ts'
import type { Materialiser } from './materialiser.ts'
import { stageMending } from './mending.ts'
import type { Mending } from './mending.ts'
import { Rebuild, rebuildName } from './rebuild.ts'
import type { RebuildFacts } from './rebuild.ts'
import { readOnlyError, stoppingError, stuckError } from './refusals.ts'
import { mayWrite, writeRefusal } from './right-to-write.ts'
import type { BuiltWrites, Identity } from './writer.ts'

/** Envelopes stored or applied in one commit: about 20 ms of work, so that the loop is never held up longer. */
const batchEnvelopesMax = 500
/** Bytes of envelopes in one commit. */
const batchBytesMax = 4 << 20
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
  /** Feeds of which others are to hear something else than before: what the frontier has of them now, if anything. */
  readonly changed: readonly FeedId[]
  /** Envelopes that this instance wrote. */
  readonly own: readonly Envelope[]
  /** Records that were new. */
  readonly records: readonly MembershipRecord[]
  readonly evidence: boolean
  /** Documents that changed, and by how many log entries more each shows. */
  readonly documents: ReadonlyMap<DocumentId, number>
  /** Something else than commits may have changed documents: all that was known of them is void. */
  readonly isLoadedAnew: boolean
  /** How long the store took; null where it stored nothing, or failed. */
  readonly milliseconds: number | null
}

export class Engine {
  readonly #options: EngineOptions
  readonly #hybridClock: HybridClock
  /** How often writes that had not seen each other were merged since this process started, by document. */
  readonly conflicts = new Map<DocumentId, number>()
  #loaded: Loaded
  /** As told to others: only what is durable. */
  #durable = new Map<FeedId, FrontierEntry>()
  readonly #listeners = new Set<(committed: Committed) => void>()
  #commitBeganMs = 0

  #writes: PendingWrite[] = []
  #puts: PendingPut[] = []
  /** Reads that wait for the commit under way, or for what is shown to be whole. */
  #reads: (() => void)[] = []
  readonly #intake: Intake
  readonly #rebuild: Rebuild

  /** Feeds that are not applied any further, and whether nothing is stored or written, until something damaged is repaired. */
  readonly #held = new Set<FeedId>()
  #isStuck = false
  #damageFound: (damage: Damage) => void = () => {}

  #state: 'running' | 'committing' | 'recovering' | 'read-only' | 'closed' = 'running'
  #pumpScheduled = false
  #settled: Promise<void> = Promise.resolve()
  #closing = false
  /** Ends the wait for the next try of what failed. */
  #endRetry: () => void = () => {}

  private constructor(options: EngineOptions, store: Store) {
    this.#options = options
    this.#hybridClock = new HybridClock(options.clock)
    this.#intake = new Intake({ hybridClock: this.#hybridClock, now: () => options.clock.now(), logger: options.logger })
    this.#rebuild = new Rebuild(options.clock)
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
    return this.#loaded.members
  }

  get isReadOnly(): boolean {
    return this.#state === 'read-only'
  }

  /** Whether envelopes from peers are taken in right now. */
  get takesEnvelopes(): boolean {
    return this.canStore && !this.#isStuck
  }

  /** Whether anything can be stored right now. */
  get canStore(): boolean {
    return this.#state === 'running' || this.#state === 'committing'
  }

  /** Whether the store can be read right now: not while it is opened anew. */
  get isReadable(): boolean {
    return this.#state !== 'recovering' && this.#state !== 'closed'
  }

  /** Whether what is shown is being built anew: documents may be there in part. */
  get isRebuilding(): boolean {
    return this.#rebuild.isUnderWay
  }

  /** The rebuild that ended last since this process started. */
  get lastRebuild(): RebuildFacts | null {
    return this.#rebuild.last
  }

  /** Envelopes from peers on their way in, and the feeds that are not taken any further. */
  get intake(): Pick<Intake, 'bytes' | 'clocksAhead' | 'openingKey' | 'refused'> {
    return this.#intake
  }

  /** Feeds with stored envelopes that are not applied yet. */
  get waitingFeeds(): number {
    let count = 0
    for (const entry of this.#durable.values()) if (entry.applied < entry.have) count += 1
    return count
  }

  /** Milliseconds for which the commit under way has been, 0 where there is none. */
  get commitMilliseconds(): number {
    return this.#state === 'committing' ? this.#options.clock.monotonic() - this.#commitBeganMs : 0
  }

  /** The durable frontier. */
  frontier(): ReadonlyMap<FeedId, FrontierEntry> {
    return this.#durable
  }

  /** Whether an envelope can still count by the member table alone: else it is taken only from who has it applied. None while the store is opened anew. */
  takes({ feed, opening, sequence }: Header): boolean {
    if (!this.isReadable) return false
    const state = this.ledger.feed(feed) ?? (opening === null ? undefined : { feed, ...opening })
    return state === undefined || sequence <= this.#loaded.acceptance.cut(state)
  }

  /** How far a feed is stored or about to be. */
  reaches(feed: FeedId): number {
    return Math.max(this.ledger.feed(feed)?.have ?? 0, this.#intake.reaches(feed))
  }

  onCommitted(listener: (committed: Committed) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Carries out a local request; resolves once it is durable. Throws `SelfsameError`. */
  write(write: LocalWrite): Promise<WriteOutcome> {
    if (this.#refusal !== null) return Promise.reject(this.#refusal)
    if (this.#isStuck || this.#isCutOff) return Promise.reject(stuckError())
    if (this.#writes.length >= queuedWritesMax)
      return Promise.reject(new SelfsameError('too-many-requests', `${queuedWritesMax} requests are waiting already: try again shortly`))
    if (!mayWrite(this.members, this.#options.identity)) return Promise.reject(writeRefusal(this.members, this.#options.identity))
    return new Promise((resolve, reject) => {
      this.#writes.push({ write, resolve, reject })
      this.#schedulePump()
    })
  }

  /**
   * Throws away all that is derived from the envelopes and builds it anew: whatever was wrong in it is then right. Local requests, and records,
   * wait until all that was applied is applied again; then it resolves. The run ends, and so does every cursor. It rejects with `unavailable`
   * where it comes upon a damaged envelope; it goes on by itself once that is repaired. Begin none where one is known: until then nothing is shown.
   */
  rebuild(cause: string): Promise<RebuildFacts> {
    if (this.#refusal !== null) return Promise.reject(this.#refusal)
    if (this.#isStuck || this.#held.size > 0) return Promise.reject(stuckError())
    const done = this.#rebuild.ask(cause)
    this.#schedulePump()
    return done
  }

  /** Calls `listener`, the last one given, where a read of the store comes upon something damaged. */
  onDamage(listener: (damage: Damage) => void): void {
    this.#damageFound = listener
  }

  /** Stores records, meta values and evidence, and writes again what is damaged; resolves once they are durable. The records' signatures are checked already. */
  put(rows: {
    records?: readonly MembershipRecord[]
    meta?: ReadonlyMap<string, Uint8Array | null>
    evidence?: readonly EvidenceRow[]
    evidenceRemoved?: readonly string[]
    mending?: Mending
  }): Promise<void> {
    if (this.#refusal !== null) return Promise.reject(this.#refusal)
    return new Promise((resolve, reject) => {
      const { evidence = [], evidenceRemoved = [], mending = {}, meta = new Map(), records = [] } = rows
      this.#puts.push({ records, meta, evidence, evidenceRemoved, mending, resolve, reject })
      this.#schedulePump()
    })
  }

  /** Takes authentic envelopes (signature checked) to store and apply. What is known, or comes too early, is passed over. */
  offer(envelopes: readonly Envelope[]): void {
    if (!this.takesEnvelopes) return
    for (const envelope of envelopes) this.#intake.offer(envelope, this.ledger.feed(envelope.header.feed)?.have ?? 0)
    this.#schedulePump()
  }

  /**
   * Reads what is in memory when it is durable: at once, or right after the commit that is changing it, before the next
   * begins, so that reading goes on however much is written; and when it is whole, so after a rebuild. `read` is called once, and must
   * not wait: what it puts rests on nothing that can still be lost.
   */
  readDurably<Value>(isDirty: () => boolean, read: () => Value): Promise<Awaited<Value>> {
    return new Promise((resolve, reject) => {
      const attempt = (): void => {
        const isBusy = this.#state === 'recovering' || (this.#state === 'committing' && isDirty())
        // A closed store refuses them.
        if (this.#state !== 'closed' && (isBusy || this.isRebuilding)) {
          this.#reads.push(attempt)
          return
        }
        try {
          resolve(read() as Awaited<Value>)
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)))
        }
      }
      attempt()
    })
  }

  /** Writes snapshots that are due, if nothing else is to be done. For idle moments; `isLook`: as of the materialiser. True: there may be more. */
  idle(isLook: boolean): boolean {
    if (this.#state !== 'running' || this.#hasWork() || !this.materialiser.stageSnapshots(isLook)) return false
    this.#commit(emptyBatch)
    return true
  }

  /** Takes no more, waits for the commit under way, and closes the store. */
  async close(): Promise<void> {
    if (this.#closing) return this.#settled
    this.#closing = true
    this.#endRetry()
    while (this.#state === 'committing' || this.#state === 'recovering') await this.#settled
    this.#state = 'closed'
    for (const pending of [...this.#writes, ...this.#puts]) pending.reject(stoppingError())
    this.#rebuild.giveUp(stoppingError())
    await this.store.close()
    for (const read of this.#reads.splice(0)) read()
  }

  #load(store: Store): Loaded {
    const loaded = loadFrom(store, {
      ...this.#options,
      hybridClock: this.#hybridClock,
      intake: this.#intake,
      conflicts: this.conflicts,
      held: this.#held,
    })
    store.onDamage((damage) => this.#damageFound(damage))
    this.#durable = new Map()
    for (const state of loaded.ledger.feeds()) {
      const told = loaded.acceptance.told(state)
      if (told !== null) this.#durable.set(state.feed, told)
    }
    this.#rebuild.loaded(store.meta(rebuildName))
    if (loaded.applier.hasWork || this.isRebuilding) this.#schedulePump()
    return loaded
  }

  #schedulePump(): void {
    if (this.#pumpScheduled) return
    this.#pumpScheduled = true
    queueMicrotask(() => {
      this.#pumpScheduled = false
      if (this.#state !== 'running' || !this.#hasWork()) return
      const writes = [...this.#writes]
      const puts = this.#putsNow
      this.#puts = this.#puts.filter((put) => !puts.includes(put))
      try {
        this.#pump(puts)
      } catch (error) {
        if (error instanceof DamagedEnvelope) this.#giveUpBatch(puts, writes)
        else this.#options.fatal(error)
      }
    })
  }

  /** Why nothing is stored. */
  get #refusal(): SelfsameError | null {
    if (this.#state === 'closed') return stoppingError()
    return this.#state === 'read-only' ? readOnlyError() : null
  }

  /** What is shown is being built anew, and that cannot go on until something damaged is repaired. */
  get #isCutOff(): boolean {
    return this.isRebuilding && this.#held.size > 0
  }

  #hasWork(): boolean {
    const hasPuts = this.#putsNow.length > 0
    if (this.#isStuck) return hasPuts
    if (this.#rebuild.asked !== null || (this.isRebuilding && !this.#isCutOff)) return true
    return this.#writes.length > 0 || hasPuts || !this.#intake.isEmpty || this.#loaded.applier.hasWork
  }

  #pump(puts: readonly PendingPut[]): void {
    const { applier, ledger, materialiser, writer } = this.#loaded
    for (const { mending } of puts) stageMending(mending, this.#loaded)
    const records = puts.flatMap((put) => this.#addRecords(put.records))
    for (const put of puts) {
      for (const [name, value] of put.meta) ledger.rows.meta.set(name, value)
      ledger.rows.evidence.push(...put.evidence)
      ledger.rows.evidenceRemoved.push(...put.evidenceRemoved)
    }
    const cause = records.length === 0 ? this.#rebuild.asked : this.#membersChanged() ? membersChangedCause : null
    const cleared = cause !== null
    if (cleared) ledger.rows.meta.set(rebuildName, this.#rebuild.begin(cause))
    // What waited while this instance lost its right to write would be taken by nobody.
    if (!mayWrite(this.members, this.#options.identity))
      for (const pending of this.#writes.splice(0)) pending.reject(writeRefusal(this.members, this.#options.identity))
    ledger.rows.derivedCleared = cleared
    // What is thrown away in this commit is built anew from the next on.
    if (!cleared && !this.#isStuck) {
      this.#intake.take(this.#intakeTarget(), batchEnvelopesMax, batchBytesMax)
      applier.apply(batchEnvelopesMax, batchBytesMax)
    }
    const rebuilt = this.isRebuilding && !cleared && !this.#isStuck && this.#held.size === 0 && !applier.hasWork
    if (rebuilt) ledger.rows.meta.set(rebuildName, null)
    const writes = [...this.#writes]
    // A request answers to all that was applied before it, so it waits until that is there again.
    const built = cleared || this.#isStuck || (this.isRebuilding && !rebuilt) ? nothingBuilt : writer.build(this.#writes)
    materialiser.finishBatch()
    const taken = writes.slice(0, writes.length - this.#writes.length)
    const batch: Batch = {
      cleared,
      rebuilt,
      documents: ledger.changedDocuments(),
      own: built.envelope === null ? [] : [built.envelope],
      settle: built.settle,
      writes: taken,
      records,
      mended: ledger.rows.envelopesReplaced.length > 0,
      puts,
      evidence: ledger.rows.evidence.length > 0,
    }
    if (ledger.isEmpty) {
      this.#tell(batch, [], null)
      // Nothing was committed, so nothing lets others have their turn.
      if (this.#hasWork()) this.#options.clock.after(0, () => this.#schedulePump())
      return
    }
    this.#commit(batch)
  }

  /**
   * A batch came upon a damaged envelope. It is given up, and begun again without the feed that needs the envelope; where it was not a feed
   * that does, nothing but repairs is stored until the envelope is whole, and requests are refused; so they are where a rebuild needs it.
   */
  #giveUpBatch(puts: readonly PendingPut[], writes: readonly PendingWrite[]): void {
    this.#puts.unshift(...puts)
    this.#intake.clear()
    this.#isStuck = !this.#loaded.applier.hasHeld
    if (this.#isStuck || this.#isCutOff) {
      for (const pending of [...writes, ...this.#writes.splice(0)]) pending.reject(stuckError())
      this.#rebuild.giveUp(stuckError())
    }
    this.#loaded = this.#load(this.store)
    this.#schedulePump()
  }

  /** What is to be put now. Records wait for the end of a rebuild: what was applied is not judged by a table that has moved before it is there again. */
  get #putsNow(): readonly PendingPut[] {
    return this.isRebuilding || this.#isStuck ? this.#puts.filter((put) => put.records.length === 0) : this.#puts
  }

  /**
   * Sees to it that what is shown here counts by the new member table. A writer makes it count: it names all that it applied.
   * Returns whether a reader, who cannot, has to build anew what it shows.
   */
  #membersChanged(): boolean {
    const { acceptance, applier, writer } = this.#loaded
    acceptance.forget()
    applier.lookAtAll()
    if (mayWrite(this.members, this.#options.identity)) {
      writer.declareApplied((past, feed) => acceptance.isExposed(past, feed))
      return false
    }
    return this.members.member(this.#options.identity.instance) !== undefined && acceptance.isOverrun()
  }

  #addRecords(offered: readonly MembershipRecord[]): readonly MembershipRecord[] {
    const judged = this.members.add(offered)
    if (judged.length === 0) return []
    // Whatever waited for a record, or was refused for the want of one, is looked at again.
    this.#intake.forgetRefusals()
    for (const record of judged) {
      if (this.members.standingOf(record.hash) === 'void') continue
      this.ledger.rows.records.push({ hash: record.hash, bytes: record.bytes })
    }
    return judged
  }

  #intakeTarget(): IntakeTarget {
    const { acceptance, applier, ledger, writer } = this.#loaded
    return {
      ledger,
      members: this.members,
      ownFeed: writer.feed,
      stored: (envelope) => applier.stored(envelope),
      overQuota: (envelope) => acceptance.overQuota(envelope),
      // Another process holds a copy of this home, and the run: this one goes on in a run of its own.
      ownRunTaken: () => writer.endRun(),
    }
  }

  #commit(batch: Batch): void {
    const changed = this.#toldAnew(batch.records.length > 0 ? this.ledger.feeds() : this.ledger.changedFeeds())
    for (const envelope of batch.own) this.#loaded.applier.wake(envelope.hash)
    this.#state = 'committing'
    this.#commitBeganMs = this.#options.clock.monotonic()
    this.#settled = this.store.commit(this.ledger.takeBatch()).then(
      () => this.#committed(batch, changed),
      (error: unknown) => this.#commitFailed(batch, error),
    )
    this.#settled.catch((error: unknown) => this.#options.fatal(error))
  }

  #committed(batch: Batch, changed: ReadonlyMap<FeedId, FrontierEntry | null>): void {
    const milliseconds = this.commitMilliseconds
    this.ledger.settle()
    this.materialiser.settle(!this.isRebuilding)
    for (const [feed, entry] of changed) {
      if (entry === null) this.#durable.delete(feed)
      else this.#durable.set(feed, entry)
    }
    if (batch.mended) {
      this.#held.clear()
      this.#isStuck = false
    }
    const isLoadedAnew = batch.cleared || batch.mended
    const before = this.#durable
    if (isLoadedAnew) this.#loaded = this.#load(this.store)
    if (batch.rebuilt) this.#rebuild.ended()
    this.#state = 'running'
    for (const read of this.#reads.splice(0)) read()
    this.#tell(batch, isLoadedAnew ? feedsOf(before, this.#durable) : [...changed.keys()], milliseconds)
    this.#schedulePump()
  }

  /** Those of the feeds of which others are to be told something else than before; null: no more of it. */
  #toldAnew(feeds: Iterable<FeedState>): ReadonlyMap<FeedId, FrontierEntry | null> {
    const entries = new Map<FeedId, FrontierEntry | null>()
    for (const state of feeds) {
      const entry = this.#loaded.acceptance.told(state)
      if (differs(this.#durable.get(state.feed), entry ?? undefined)) entries.set(state.feed, entry)
    }
    return entries
  }

  #tell(batch: Batch, changed: readonly FeedId[], milliseconds: number | null): void {
    for (const settle of batch.settle) settle()
    for (const put of batch.puts) put.resolve()
    const { cleared, documents, evidence, own, records } = batch
    const committed: Committed = { changed, own, records, evidence, documents, isLoadedAnew: cleared, milliseconds }
    for (const listener of this.#listeners) listener(committed)
  }

  async #commitFailed(batch: Batch, error: unknown): Promise<void> {
    const { logger } = this.#options
    const rolledBack = error instanceof CommitFailure && error.outcome === 'rolled-back'
    logger.error({ error: String(error), rolledBack }, 'a commit failed')
    this.#state = 'recovering'
    const answer = rolledBack
      ? readOnlyError()
      : new SelfsameError('outcome-unknown', 'the disk did not confirm the write: retry with the same operation id')
    for (const pending of [...batch.writes, ...batch.puts]) pending.reject(answer)
    this.#intake.clear()
    const before = this.#durable
    if (!rolledBack && !(await this.#reopen())) {
      this.#state = 'closed'
      return
    }
    this.#loaded = this.#load(this.store)
    if (rolledBack) this.#becomeReadOnly()
    else this.#state = 'running'
    for (const read of this.#reads.splice(0)) read()
    // What the disk kept of a commit that it did not confirm is told now.
    const changed = feedsOf(before, this.#durable).filter((feed) => differs(before.get(feed), this.#durable.get(feed)))
    const records = batch.records.filter(({ hash }) => this.members.standingOf(hash) !== undefined)
    const committed: Committed = {
      changed,
      own: [],
      records,
      evidence: false,
      documents: new Map(),
      isLoadedAnew: true,
      milliseconds: null,
    }
    for (const listener of this.#listeners) listener(committed)
    this.#schedulePump()
  }

  /** Opens the store anew, however long that takes: until then nothing is known for sure. False: the engine was closed meanwhile. */
  async #reopen(): Promise<boolean> {
    const { logger, openStore } = this.#options
    await this.store.close().catch((error: unknown) => logger.warn({ error: String(error) }, 'the store did not close'))
    while (!this.#closing) {
      try {
        this.#loaded = { ...this.#loaded, store: await openStore() }
        return true
      } catch (error) {
        if (error instanceof SelfsameError && error.code === 'storage-corrupt') throw error
        logger.error({ error: String(error) }, 'the store does not open; trying again')
        await new Promise<void>((resolve) => this.#retryLater(resolve))
      }
    }
    return false
  }

  /** Calls `retry` after a while, or when the engine closes. */
  #retryLater(retry: () => void): void {
    const cancel = this.#options.clock.after(retryMilliseconds, retry)
    this.#endRetry = () => {
      cancel()
      retry()
    }
  }

  /** Serves reads only, and tries from time to time whether there is space again. */
  #becomeReadOnly(): void {
    this.#state = 'read-only'
    for (const pending of [...this.#writes.splice(0), ...this.#puts.splice(0)]) pending.reject(readOnlyError())
    this.#retryLater(() => {
      if (this.#closing) return
      this.ledger.rows.meta.set('probe', new Uint8Array(4_096))
      this.#commit(emptyBatch)
    })
  }
}

const nothingBuilt: BuiltWrites = { envelope: null, settle: [] }
/** Why a reader builds anew what it shows. */
const membersChangedCause = 'the members have changed, and something that was shown here does not count any more'

/** Feeds of either frontier. */
function feedsOf(before: ReadonlyMap<FeedId, FrontierEntry>, after: ReadonlyMap<FeedId, FrontierEntry>): readonly FeedId[] {
  return [...new Set([...before.keys(), ...after.keys()])]
}

/** Whether others would be told something else of a feed. Undefined: nothing. */
function differs(before: FrontierEntry | undefined, after: FrontierEntry | undefined): boolean {
  return before?.have !== after?.have || before?.applied !== after?.applied
}
