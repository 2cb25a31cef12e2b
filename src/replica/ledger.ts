/**
 * The ledger: how far each feed is stored and applied, the declared past of envelopes, and the rows of the commit under
 * way. Between commits it equals the store; while a batch is built it is ahead of it, and reads here see that batch.
 * When a commit fails it is loaded anew. It knows nothing of documents, members or peers.
 */
import { assert, hashToId, idToBytes } from '../core/index.ts'
import type { DocumentId, EnvelopeHash, FeedId, InstanceId, PublicKey, Stamp } from '../core/index.ts'
import { clientIdOf, decodeHeader, envelopeSize } from '../feed/index.ts'
import type { Envelope } from '../feed/index.ts'
import { DamagedEnvelope } from '../storage/index.ts'
import type { FeedRow, PastRow, Store, StoredEnvelope, WriteBatch } from '../storage/index.ts'
import { rebuildName } from './rebuild.ts'

/** A feed as far as it is known here. */
export interface FeedState {
  readonly feed: FeedId
  readonly instance: InstanceId
  readonly key: PublicKey
  readonly parent: EnvelopeHash | null
  have: number
  head: EnvelopeHash
  headStamp: Stamp
  applied: number
  /** Position of the envelope at `applied`, once it was asked for or applied here. */
  appliedPosition: number | null
}

/** A batch being built: each field grows until the commit takes it. */
export type BatchRows = { derivedCleared: boolean } & {
  -readonly [Name in Exclude<keyof WriteBatch, 'derivedCleared'>]-?: NonNullable<WriteBatch[Name]> extends ReadonlyMap<infer K, infer V>
    ? Map<K, V>
    : NonNullable<WriteBatch[Name]> extends readonly (infer Row)[]
      ? Row[]
      : never
}

/** Why an envelope was not stored. `gap`: what comes before it in its chain is not here yet. */
export type Admission = 'stored' | 'known' | 'gap' | 'fork' | 'stale-stamp'

/** Bytes of waiting envelopes that are read at a time. */
const waitingPageBytes = 4 << 20
/** Declared pasts kept at the applied heads of feeds lately active; more only saves reads. */
const pastsCachedMax = 256

export class Ledger {
  readonly #store: Store
  readonly #feeds = new Map<FeedId, FeedState>()
  readonly #feedsByClient = new Map<number, FeedId>()
  #lastPosition: number
  #history: number
  #rows: BatchRows = emptyRows()
  /** Of the batch under way: envelopes by hash and by place, and what was applied. */
  readonly #pendingByHash = new Map<EnvelopeHash, Envelope>()
  readonly #pendingByPlace = new Map<string, Envelope>()
  readonly #pendingApplied = new Set<EnvelopeHash>()
  readonly #pendingPast = new Map<FeedId, PastRow[]>()
  readonly #changedFeeds = new Set<FeedId>()
  /** Bytes of envelopes that are stored and not applied, by author. */
  readonly #waitingBytes = new Map<InstanceId, number>()
  #countsWaiting = true
  /** Declared past of the envelope at `sequence` of a feed, by feed. */
  readonly #pasts = new Map<FeedId, { readonly sequence: number; readonly past: Map<FeedId, number> }>()

  constructor(store: Store) {
    this.#store = store
    for (const row of store.feeds()) this.#addFeed({ ...row, appliedPosition: null })
    this.#countWaiting()
    this.#lastPosition = store.lastPosition()
    this.#history = store.history(this.#lastPosition) ?? 0
  }

  feed(feed: FeedId): FeedState | undefined {
    return this.#feeds.get(feed)
  }

  feeds(): IterableIterator<FeedState> {
    return this.#feeds.values()
  }

  /** The feed that writes under a Yjs client id. */
  feedOfClient(client: number): FeedId | undefined {
    return this.#feedsByClient.get(client)
  }

  /** Bytes of envelopes that are stored and not applied, by author. */
  get waitingBytes(): ReadonlyMap<InstanceId, number> {
    return this.#waitingBytes
  }

  /** How much of what is stored is applied, of 1. */
  get appliedShare(): number {
    let [applied, have] = [0, 0]
    for (const state of this.#feeds.values()) {
      applied += state.applied
      have += state.have
    }
    return have === 0 ? 1 : applied / have
  }

  get lastPosition(): number {
    return this.#lastPosition
  }

  /** The rows of the batch under way, for others to add to. */
  get rows(): BatchRows {
    return this.#rows
  }

  /** Stores an authentic envelope if it is the next of its chain. The caller has verified signature and author. */
  admit(envelope: Envelope): Admission {
    const { header, hash } = envelope
    const state = this.#feeds.get(header.feed)
    if (state === undefined) {
      if (header.opening === null) return 'gap'
      if (header.previous !== null && this.find(header.previous) === undefined) return 'gap'
      this.#addFeed({
        feed: header.feed,
        instance: header.opening.instance,
        key: header.opening.key,
        parent: header.previous,
        have: 1,
        head: hash,
        headStamp: header.stamp,
        applied: 0,
        appliedPosition: null,
      })
    } else {
      if (header.sequence <= state.have) return this.find(hash) === undefined ? 'fork' : 'known'
      if (header.sequence > state.have + 1) return 'gap'
      if (header.previous !== state.head) return 'fork'
      if (header.stamp <= state.headStamp) return 'stale-stamp'
      state.have = header.sequence
      state.head = hash
      state.headStamp = header.stamp
    }
    this.#rows.envelopes.push({
      feed: header.feed,
      sequence: header.sequence,
      hash,
      headerBytes: envelope.headerBytes,
      signature: envelope.signature,
      bodies: envelope.bodies,
    })
    this.#addWaiting((this.#feeds.get(header.feed) as FeedState).instance, envelopeSize(envelope))
    this.#pendingByHash.set(hash, envelope)
    this.#pendingByPlace.set(placeKey(header.feed, header.sequence), envelope)
    this.#changedFeeds.add(header.feed)
    return 'stored'
  }

  /** Where an envelope is, the batch under way included. */
  find(hash: EnvelopeHash): FoundPlace | undefined {
    const pending = this.#pendingByHash.get(hash)
    if (pending !== undefined) {
      return { feed: pending.header.feed, sequence: pending.header.sequence, applied: this.#pendingApplied.has(hash), position: null }
    }
    const place = this.#store.locate(hash)
    if (place === undefined) return undefined
    return { ...place, applied: place.position !== null || this.#pendingApplied.has(hash) }
  }

  /** A stored envelope, the batch under way included. */
  envelope(feed: FeedId, sequence: number): Envelope {
    const pending = this.#pendingByPlace.get(placeKey(feed, sequence))
    if (pending !== undefined) return pending
    const [stored] = this.#store.envelopes(feed, sequence, sequence, 1)
    assert(stored !== undefined, `envelope ${feed}:${sequence} is counted as stored and is not there`)
    return storedToEnvelope(stored)
  }

  /** The next envelope of a feed to apply, if it is stored. */
  nextToApply(feed: FeedId): Envelope | undefined {
    const state = this.#feeds.get(feed)
    return state === undefined || state.applied >= state.have ? undefined : this.envelope(feed, state.applied + 1)
  }

  /**
   * Takes note that the next envelope of its feed is applied: by what its declared past grew and, where its bodies do not tell, what it changed.
   * Returns its position.
   */
  markApplied(envelope: Envelope, growth: readonly PastRow[], changed: Uint8Array | null): number {
    const { feed, sequence } = envelope.header
    const state = this.#feeds.get(feed)
    assert(state !== undefined && state.applied === sequence - 1, `envelope ${feed}:${sequence} is applied out of order`)
    this.#lastPosition += 1
    this.#addWaiting(state.instance, -envelopeSize(envelope))
    state.applied = sequence
    state.appliedPosition = this.#lastPosition
    this.#history = historyAfter(this.#history, envelope.hash)
    this.#rows.positions.push({ feed, sequence, position: this.#lastPosition, changed, history: this.#history })
    this.#pendingApplied.add(envelope.hash)
    for (const row of growth) {
      this.#rows.past.push(row)
      const pending = this.#pendingPast.get(feed)
      if (pending === undefined) this.#pendingPast.set(feed, [row])
      else pending.push(row)
    }
    this.#changedFeeds.add(feed)
    return this.#lastPosition
  }

  /**
   * The declared past of an envelope whose predecessor and deps are all here: what they are, and all that those declare.
   * The map is the feed's own and moves on with it: read it before the next envelope of the feed, never keep it.
   */
  declaredPast(envelope: Envelope): DeclaredPast {
    const { header } = envelope
    const past = header.sequence > 1 ? this.#pastAt(header.feed, header.sequence - 1) : this.#pastAfter(header.previous)
    const growth: PastRow[] = []
    const grow = (feed: FeedId, sequence: number): void => {
      if (feed === header.feed || (past.get(feed) ?? 0) >= sequence) return
      past.set(feed, sequence)
      growth.push({ feed: header.feed, sequence: header.sequence, other: feed, otherSequence: sequence })
    }
    for (const dep of header.deps) {
      const place = this.find(dep)
      assert(place !== undefined, 'a declared past was asked before its deps were here')
      if ((past.get(place.feed) ?? 0) >= place.sequence) continue
      for (const [feed, sequence] of this.#pastAt(place.feed, place.sequence)) grow(feed, sequence)
      grow(place.feed, place.sequence)
    }
    this.#cachePast(header.feed, header.sequence, past)
    return { past, growth }
  }

  /** The envelope up to which a feed is applied, null where nothing of it is. */
  appliedHead(state: FeedState): EnvelopeHash | null {
    return state.applied === 0 ? null : this.hashAt(state, state.applied)
  }

  /** The hash of a stored envelope: where that is damaged, by what comes after it in its chain. */
  hashAt({ feed, have, head }: FeedState, sequence: number): EnvelopeHash {
    const own = sequence === have ? head : soundOr(null, () => this.envelope(feed, sequence).hash)
    if (own !== null) return own
    const { previous } = this.envelope(feed, sequence + 1).header
    assert(previous !== null, 'an envelope in the middle of a chain names none before it')
    return previous
  }

  /** Heads, by hash, of the maximal applied envelopes that `past` does not hold yet; `own` is the feed that asks. Sorted. */
  newDeps(own: FeedId | null, past: ReadonlyMap<FeedId, number>): EnvelopeHash[] {
    const fresh: { readonly state: FeedState; readonly head: EnvelopeHash; readonly position: number }[] = []
    for (const state of this.#feeds.values()) {
      if (state.feed === own || state.applied <= (past.get(state.feed) ?? 0)) continue
      const head = this.appliedHead(state) as EnvelopeHash
      state.appliedPosition ??= this.#store.locate(head)?.position ?? 0
      fresh.push({ state, head, position: state.appliedPosition })
    }
    // What declares an envelope was applied after it: from the last one back, whatever is covered need not be looked into.
    const covered = new Map<FeedId, number>()
    const heads: EnvelopeHash[] = []
    for (const { head, state } of fresh.toSorted((a, b) => b.position - a.position)) {
      if ((covered.get(state.feed) ?? 0) >= state.applied) continue
      heads.push(head)
      for (const [feed, sequence] of this.#pastAt(state.feed, state.applied)) raise(covered, feed, sequence)
    }
    return heads.toSorted()
  }

  /** The declared past at an applied envelope, without itself. */
  pastAt(feed: FeedId, sequence: number): ReadonlyMap<FeedId, number> {
    return this.#pastAt(feed, sequence)
  }

  /** The declared past of an envelope that would open a feed after `previous`. */
  pastAfter(previous: EnvelopeHash | null): ReadonlyMap<FeedId, number> {
    return this.#pastAfter(previous)
  }

  /** Feeds whose `have` or `applied` the batch under way moves. */
  changedFeeds(): FeedState[] {
    return Array.from(this.#changedFeeds, (feed) => this.#feeds.get(feed) as FeedState)
  }

  /** Documents that the batch under way changes, and by how many log entries more each shows. */
  changedDocuments(): ReadonlyMap<DocumentId, number> {
    const changed = new Map<DocumentId, number>()
    const { entries, entriesRemoved, touches } = this.#rows
    for (const { document } of touches) changed.set(document, 0)
    for (const { document } of entries) changed.set(document, (changed.get(document) ?? 0) + 1)
    for (const { document } of entriesRemoved) changed.set(document, (changed.get(document) ?? 0) - 1)
    return changed
  }

  get isEmpty(): boolean {
    const { derivedCleared, ...rows } = this.#rows
    return !derivedCleared && Object.values(rows).every((some) => (some instanceof Map ? some.size : some.length) === 0)
  }

  /** The batch under way, to commit. `settle` must follow once it is durable; if it fails, this ledger is void. */
  takeBatch(): WriteBatch {
    for (const { appliedPosition: _, ...row } of this.changedFeeds()) this.#rows.feeds.push(row satisfies FeedRow)
    const rows = this.#rows
    this.#rows = emptyRows()
    return rows
  }

  /** The batch taken last is durable: the store now answers for it. */
  settle(): void {
    this.#pendingByHash.clear()
    this.#pendingByPlace.clear()
    this.#pendingApplied.clear()
    this.#pendingPast.clear()
    this.#changedFeeds.clear()
    if (!this.#countsWaiting) this.#countWaiting()
  }

  /** Not during a rebuild: what waits then was applied before, and to read all of it first would hold up everything. */
  #countWaiting(): void {
    this.#countsWaiting = this.#store.meta(rebuildName) === undefined
    if (!this.#countsWaiting) return
    for (const { applied, feed, have, instance } of this.#feeds.values()) {
      for (let from = applied + 1; from <= have;) {
        const page = soundOr([], () => this.#store.envelopes(feed, from, have, waitingPageBytes))
        for (const stored of page) this.#addWaiting(instance, envelopeSize(storedToEnvelope(stored)))
        // Of one that is damaged nobody knows how large it is: all is loaded anew once it is repaired.
        from += Math.max(1, page.length)
      }
    }
  }

  #addWaiting(instance: InstanceId, bytes: number): void {
    if (!this.#countsWaiting) return
    this.#waitingBytes.set(instance, (this.#waitingBytes.get(instance) ?? 0) + bytes)
  }

  #addFeed(state: FeedState): void {
    this.#feeds.set(state.feed, state)
    // Of two feeds under one client id the lesser feed id holds it. Chance does not make them (2^53); whoever makes both on
    // purpose needs some 2^27 tries, and so far what was applied before the second came stays.
    const client = clientIdOf(state.feed)
    const holder = this.#feedsByClient.get(client)
    if (holder === undefined || state.feed < holder) this.#feedsByClient.set(client, state.feed)
  }

  #pastAt(feed: FeedId, sequence: number): Map<FeedId, number> {
    const cached = this.#pasts.get(feed)
    if (cached?.sequence === sequence) return cached.past
    const past = new Map<FeedId, number>()
    // Rows of a feed begin at its opening; what the runs before it declared is theirs to say.
    let step: { feed: FeedId; sequence: number } | undefined = { feed, sequence }
    while (step !== undefined) {
      for (const [other, otherSequence] of this.#store.past(step.feed, step.sequence)) raise(past, other, otherSequence)
      for (const row of this.#pendingPast.get(step.feed) ?? []) {
        if (row.sequence <= step.sequence) raise(past, row.other, row.otherSequence)
      }
      const parent: EnvelopeHash | null = this.#feeds.get(step.feed)?.parent ?? null
      step = parent === null ? undefined : this.find(parent)
      if (step !== undefined) raise(past, step.feed, step.sequence)
    }
    past.delete(feed)
    this.#cachePast(feed, sequence, past)
    return past
  }

  #pastAfter(previous: EnvelopeHash | null): Map<FeedId, number> {
    if (previous === null) return new Map()
    const place = this.find(previous)
    assert(place !== undefined, 'a chain goes on from an envelope that is not here')
    return new Map(this.#pastAt(place.feed, place.sequence)).set(place.feed, place.sequence)
  }

  #cachePast(feed: FeedId, sequence: number, past: Map<FeedId, number>): void {
    this.#pasts.delete(feed)
    this.#pasts.set(feed, { sequence, past })
    if (this.#pasts.size > pastsCachedMax) this.#pasts.delete(this.#pasts.keys().next().value as FeedId)
  }
}

interface FoundPlace {
  readonly feed: FeedId
  readonly sequence: number
  readonly applied: boolean
  /** In the order of applying; null where it is not applied, or only by the batch under way. */
  readonly position: number | null
}

/** What an envelope's author had applied, as it declares: for each other feed the last sequence, and how that grew with this envelope. */
export interface DeclaredPast {
  readonly past: ReadonlyMap<FeedId, number>
  readonly growth: readonly PastRow[]
}

/** An envelope as stored, with its header read again. The store has checked the hashes of what it read. */
export function storedToEnvelope(stored: StoredEnvelope): Envelope {
  const { bodies, hash, headerBytes, signature } = stored
  const header = decodeHeader(headerBytes)
  assert(header.ok, 'a stored header does not decode')
  return { header: header.value, headerBytes, hash, signature, bodies }
}

/** As in `PositionRow`: what stands for a history and the envelope that follows it. */
function historyAfter(history: number, hash: EnvelopeHash): number {
  const before = Buffer.alloc(6)
  before.writeUIntBE(history, 0, 6)
  return Number.parseInt(hashToId('selfsame/history/1', before, idToBytes(hash)).slice(0, 12), 16)
}

/** What `read` gives, or `otherwise` where it comes upon a damaged envelope. */
export function soundOr<Value, Other>(otherwise: Other, read: () => Value): Value | Other {
  try {
    return read()
  } catch (error) {
    if (error instanceof DamagedEnvelope) return otherwise
    throw error
  }
}

function raise(past: Map<FeedId, number>, feed: FeedId, sequence: number): void {
  if (sequence > (past.get(feed) ?? 0)) past.set(feed, sequence)
}

/** Names the place of an envelope, as a key of maps. */
export function placeKey(feed: FeedId, sequence: number): string {
  return `${feed}:${sequence}`
}

function emptyRows(): BatchRows {
  return {
    meta: new Map(),
    recordsRemoved: [],
    records: [],
    feeds: [],
    envelopes: [],
    envelopesReplaced: [],
    signatures: [],
    positions: [],
    past: [],
    documents: [],
    touches: [],
    clocks: [],
    segments: [],
    entries: [],
    entriesRemoved: [],
    operations: [],
    snapshots: [],
    quarantine: [],
    textVersionsRemoved: [],
    textVersions: [],
    evidence: [],
    evidenceRemoved: [],
    derivedCleared: false,
  }
}
