/**
 * Acceptance: what is stored of feeds, and what of it counts. All that members write does; of the feeds of an instance that may not write any
 * more, only what lies within the cuts, and what an accepted envelope of somebody else rests on. `docs/MEMBERSHIP.md` has the
 * rules. The cuts are the member table's; what rests on what is found as envelopes are applied, and kept in memory only.
 */
import type { FeedId, InstanceId } from '../core/index.ts'
import { envelopeSize } from '../feed/index.ts'
import type { Envelope, FrontierEntry } from '../feed/index.ts'
import type { CutPlace, MemberTable } from '../membership/index.ts'
import { soundOr } from './ledger.ts'
import type { FeedState, Ledger } from './ledger.ts'

/**
 * Bytes of envelopes of one lineage that are stored and wait for something that is not here. Honest senders send in their own order of
 * applying, so hardly anything of theirs ever waits; this is what a hostile member can make others keep for nothing.
 */
const waitingBytesMax = 64 << 20
/**
 * The same of those that lost their place. What others took of them waits here until an envelope that rests on it has come, however much it is;
 * and nobody tells of what it has not applied.
 */
const formerWaitingBytesMax = 1 << 30

export class Acceptance {
  readonly #ledger: Ledger
  readonly #members: MemberTable
  /** Up to where accepted envelopes rest on feeds, beyond their cuts. */
  readonly #reached = new Map<FeedId, number>()

  constructor(ledger: Ledger, members: MemberTable) {
    this.#ledger = ledger
    this.#members = members
  }

  /** Up to which sequence a feed counts by the member table alone. */
  cut({ feed, instance, key }: Pick<FeedState, 'feed' | 'instance' | 'key'>): number {
    let counted = Number.POSITIVE_INFINITY
    for (const places of this.#members.writeLimit(instance, key) ?? []) {
      let reach = 0
      for (const place of places) if (place.feed === feed && place.sequence > reach && this.#holds(place)) reach = place.sequence
      counted = Math.min(counted, reach)
    }
    return counted
  }

  /** A cut vouches for what its author had seen, not for whatever is written at that place later. */
  #holds({ feed, hash, sequence }: CutPlace): boolean {
    const found = this.#ledger.find(hash)
    return found?.feed === feed && found.sequence === sequence
  }

  accepts(state: FeedState, sequence: number): boolean {
    return sequence <= (this.#reached.get(state.feed) ?? 0) || sequence <= this.cut(state)
  }

  /** An accepted envelope rests on this place. True: it was not accepted before. */
  reach(feed: FeedId, sequence: number): boolean {
    const state = this.#ledger.feed(feed)
    if (state === undefined || this.accepts(state, sequence)) return false
    this.#reached.set(feed, sequence)
    return true
  }

  /** The members have changed: what rests on what has to be found anew. */
  forget(): void {
    this.#reached.clear()
  }

  /** A feed as others are told of it: what does not count is not offered. Null where nothing of it counts, or damage hides what does. */
  told(state: FeedState): FrontierEntry | null {
    const { applied, feed, have } = state
    const counts = Math.min(have, Math.max(applied, this.cut(state)))
    const head = counts === 0 ? null : soundOr(null, () => this.#ledger.hashAt(state, counts))
    return head === null ? null : { feed, have: counts, head, applied }
  }

  /** The lineage of which so much waits that this envelope may not wait, too. Null where it may, or need not: what can be applied at once is always taken. */
  overQuota(envelope: Envelope): InstanceId | null {
    const { deps, feed, opening, previous } = envelope.header
    const state = this.#ledger.feed(feed)
    const rests = opening !== null && previous !== null ? [previous, ...deps] : deps
    if (state?.applied === state?.have && rests.every((hash) => this.#ledger.find(hash)?.applied === true)) return null
    const author = state?.instance ?? opening?.instance
    if (author === undefined) return null
    const lineage = this.#members.lineageOf(author)
    let bytes = envelopeSize(envelope)
    for (const [instance, waiting] of this.#ledger.waitingBytes) if (this.#members.lineageOf(instance) === lineage) bytes += waiting
    const most = this.#members.member(author) === undefined ? formerWaitingBytesMax : waitingBytesMax
    return bytes > most ? lineage : null
  }

  /** Whether something that was applied here lies beyond its cut and outside `past`, so that only this instance vouches for it. */
  isExposed(past: ReadonlyMap<FeedId, number>, ownFeed: FeedId): boolean {
    for (const state of this.#ledger.feeds()) {
      if (state.feed !== ownFeed && state.applied > (past.get(state.feed) ?? 0) && state.applied > this.cut(state)) return true
    }
    return false
  }

  /** Whether something that was applied here does not count: nobody who may write rests on it. */
  isOverrun(): boolean {
    const beyond = [...this.#ledger.feeds()].filter((state) => state.applied > this.cut(state))
    if (beyond.length === 0) return false
    const covered = new Map<FeedId, number>()
    for (const state of this.#ledger.feeds()) {
      const counted = Math.min(state.applied, this.cut(state))
      if (counted === 0) continue
      for (const [feed, sequence] of this.#ledger.pastAt(state.feed, counted)) {
        if (sequence > (covered.get(feed) ?? 0)) covered.set(feed, sequence)
      }
    }
    return beyond.some(({ applied, feed }) => applied > (covered.get(feed) ?? 0))
  }
}
