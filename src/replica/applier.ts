/**
 * The applier: which stored envelopes can be applied now, and applying them. One is applied when its author might write it, it counts, and
 * what it rests on is applied; until then its feed waits for one thing, and is looked at again when that has come.
 */
import { assert } from '../core/index.ts'
import type { EnvelopeHash, FeedId } from '../core/index.ts'
import { envelopeSize } from '../feed/index.ts'
import type { Envelope } from '../feed/index.ts'
import type { MemberTable } from '../membership/index.ts'
import { DamagedEnvelope } from '../storage/index.ts'
import type { Acceptance } from './acceptance.ts'
import type { Ledger } from './ledger.ts'
import type { Materialiser } from './materialiser.ts'

export interface ApplierOptions {
  readonly ledger: Ledger
  readonly acceptance: Acceptance
  readonly materialiser: Materialiser
  readonly members: MemberTable
  /** A feed is not to be taken any further, and why. */
  readonly refuse: (feed: FeedId, reason: string) => void
  /** Something of a feed was applied. */
  readonly applied: (feed: FeedId) => void
  /** Feeds that wait until something damaged is repaired. Whoever catches what `apply` throws has to load everything anew. */
  readonly held: Set<FeedId>
}

export class Applier {
  readonly #options: ApplierOptions
  /** Feeds whose next envelope may be ready to apply. */
  readonly #ready = new Set<FeedId>()
  /** Feeds whose next envelope waits for the envelope of that hash. */
  readonly #waiting = new Map<EnvelopeHash, Set<FeedId>>()
  #hasHeld = false

  constructor(options: ApplierOptions) {
    this.#options = options
    this.lookAtAll()
  }

  get hasWork(): boolean {
    return this.#ready.size > 0
  }

  /** Whether the last `apply` ended because something is damaged that a feed needs. */
  get hasHeld(): boolean {
    return this.#hasHeld
  }

  /** Looks at every feed again: it was just loaded, or the members have changed. */
  lookAtAll(): void {
    this.#waiting.clear()
    for (const state of this.#options.ledger.feeds()) if (state.applied < state.have) this.#ready.add(state.feed)
  }

  /** An envelope was stored. */
  stored({ hash, header: { feed, sequence } }: Envelope): void {
    this.#ready.add(feed)
    // What an accepted envelope rests on is accepted with it.
    if (this.#waiting.has(hash)) this.#options.acceptance.reach(feed, sequence)
  }

  /** An envelope is applied: whatever waited for it goes on. */
  wake(hash: EnvelopeHash): void {
    const feeds = this.#waiting.get(hash)
    if (feeds === undefined) return
    this.#waiting.delete(hash)
    for (const feed of feeds) this.#ready.add(feed)
  }

  /** Applies what is ready, within the bounds. Throws `DamagedEnvelope` where something is damaged that a feed needs, and holds that feed. */
  apply(countMax: number, bytesMax: number): void {
    const { held } = this.#options
    const left = { count: countMax, bytes: bytesMax }
    for (const feed of this.#ready) {
      this.#ready.delete(feed)
      if (held.has(feed)) continue
      try {
        if (!this.#applyFeed(feed, left)) return
      } catch (error) {
        this.#hasHeld = error instanceof DamagedEnvelope
        if (this.#hasHeld) held.add(feed)
        throw error
      }
    }
  }

  /** False: there is more, beyond what was left of the bounds. */
  #applyFeed(feed: FeedId, left: { count: number; bytes: number }): boolean {
    const { applied, ledger, materialiser } = this.#options
    for (let next = ledger.nextToApply(feed); next !== undefined && this.#isReady(next); next = ledger.nextToApply(feed)) {
      if (left.count <= 0 || left.bytes <= 0) {
        this.#ready.add(feed)
        return false
      }
      materialiser.apply(next)
      applied(feed)
      left.count -= 1
      left.bytes -= envelopeSize(next)
      this.wake(next.hash)
    }
    return true
  }

  /** Whether the next envelope of its feed can be applied; else its feed waits, or is looked at again when the members change. */
  #isReady(envelope: Envelope): boolean {
    const { acceptance, ledger, members, refuse } = this.#options
    const { deps, feed, previous, records, sequence } = envelope.header
    const state = ledger.feed(feed)
    assert(state !== undefined, 'a stored envelope has no feed')
    const verdict = members.mayWrite(state.instance, state.key, records)
    if (verdict === 'no') refuse(feed, 'its author may not write')
    if (verdict !== 'yes' || !acceptance.accepts(state, sequence)) return false
    const rests = sequence === 1 && previous !== null ? [previous, ...deps] : deps
    for (const hash of rests) {
      const place = ledger.find(hash)
      if (place?.applied === true) continue
      if (place !== undefined && acceptance.reach(place.feed, place.sequence)) this.#ready.add(place.feed)
      const feeds = this.#waiting.get(hash)
      if (feeds === undefined) this.#waiting.set(hash, new Set([feed]))
      else feeds.add(feed)
      return false
    }
    return true
  }
}
