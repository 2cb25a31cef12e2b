/**
 * The intake: authentic envelopes on their way from peers into the ledger. Holds those that wait for a batch, those that
 * came before their predecessors, and the reasons why some feeds are not taken any further. In memory, bounded, and void after a
 * failed commit: peers have it all.
 */
import { mergeAheadMillisecondsMax } from '../core/index.ts'
import type { EnvelopeHash, FeedId, HybridClock, InstanceId, Logger, PublicKey } from '../core/index.ts'
import { envelopeSize } from '../feed/index.ts'
import type { Envelope } from '../feed/index.ts'
import type { MemberTable } from '../membership/index.ts'
import { placeKey } from './ledger.ts'
import type { Ledger } from './ledger.ts'

/** Bytes of envelopes held because one before them in their chain has not come yet. They are only saved a second trip. */
const earlyBytesMax = 8 << 20

export interface IntakeOptions {
  readonly hybridClock: HybridClock
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  readonly logger: Logger
}

/** What an envelope is taken into. */
export interface IntakeTarget {
  readonly ledger: Ledger
  readonly members: MemberTable
  /** The feed of this instance's own run under way. */
  readonly ownFeed: FeedId | null
  /** The lineage whose quota of waiting envelopes this one would overrun; null where there is room, or where it need not wait. */
  overQuota(envelope: Envelope): InstanceId | null
  /** The envelope is part of the ledger now. */
  stored(envelope: Envelope): void
  /** Somebody else writes this instance's own run, or forked it. */
  ownRunTaken(): void
}

export class Intake {
  readonly #options: IntakeOptions
  #waiting: Envelope[] = []
  #bytes = 0
  /** The last sequence of each feed that waits, unbroken from what is stored. */
  readonly #offered = new Map<FeedId, number>()
  /** The keys of feeds whose opening waits. */
  readonly #openingKeys = new Map<FeedId, PublicKey>()
  /** The oldest first. */
  readonly #early = new Map<string, Envelope>()
  #earlyBytes = 0
  readonly #refused = new Map<FeedId, string>()
  /** Feeds refused because what their opening goes on from is not here, by its hash. */
  readonly #orphans = new Map<EnvelopeHash, Set<FeedId>>()
  /** Feeds refused because too much of their author's lineage waits already, by that lineage. */
  readonly #overQuota = new Map<InstanceId, Set<FeedId>>()
  readonly #clocksAhead = new Map<InstanceId, number>()

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** Bytes of envelopes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** Feeds that are not taken any further, with the reason. */
  get refused(): ReadonlyMap<FeedId, string> {
    return this.#refused
  }

  /** Milliseconds that instances' clocks were last seen ahead of ours, where that is more than a clock may be. */
  get clocksAhead(): ReadonlyMap<InstanceId, number> {
    return this.#clocksAhead
  }

  openingKey(feed: FeedId): PublicKey | undefined {
    return this.#openingKeys.get(feed)
  }

  /** Up to where a feed waits here without a gap, 0 where nothing of it does. */
  reaches(feed: FeedId): number {
    return this.#offered.get(feed) ?? 0
  }

  /** `have`: how far the feed is stored. */
  offer(envelope: Envelope, have: number): void {
    const { feed, opening, sequence } = envelope.header
    this.#waiting.push(envelope)
    this.#bytes += envelopeSize(envelope)
    if (sequence === Math.max(have, this.reaches(feed)) + 1) this.#offered.set(feed, sequence)
    if (opening !== null) this.#openingKeys.set(feed, opening.key)
  }

  /** Takes what waits, within the bounds, into the target's ledger. */
  take(target: IntakeTarget, countMax: number, bytesMax: number): void {
    let count = 0
    let bytes = 0
    while (count < this.#waiting.length && count < countMax && bytes < bytesMax) {
      const envelope = this.#waiting[count] as Envelope
      bytes += envelopeSize(envelope)
      count += 1
      this.#takeOne(envelope, target)
    }
    this.#waiting.splice(0, count)
    this.#bytes -= bytes
    if (this.#waiting.length > 0) return
    this.#offered.clear()
    this.#openingKeys.clear()
  }

  refuse(feed: FeedId, reason: string): void {
    this.#refused.set(feed, reason)
  }

  /** The members have changed: who was refused is looked at again. */
  forgetRefusals(): void {
    this.#refused.clear()
    this.#orphans.clear()
    this.#overQuota.clear()
  }

  /** Something of the lineage was applied: there is room again for what waits. */
  applied(lineage: InstanceId): void {
    for (const feed of this.#overQuota.get(lineage) ?? []) this.#refused.delete(feed)
    this.#overQuota.delete(lineage)
  }

  /** A commit failed: what was taken may not be here after all. */
  clear(): void {
    this.#waiting = []
    this.#bytes = 0
    this.#offered.clear()
    this.#openingKeys.clear()
    this.#early.clear()
    this.#earlyBytes = 0
    this.forgetRefusals()
  }

  #takeOne(envelope: Envelope, target: IntakeTarget): void {
    const { feed, opening, previous, sequence } = envelope.header
    if (this.#refused.has(feed)) return
    if (opening !== null && !target.members.isKeyOf(opening.instance, opening.key)) {
      this.#refused.set(feed, 'its author is not known here as an instance of the agent')
      return
    }
    const lineage = target.overQuota(envelope)
    if (lineage !== null) {
      this.#refuseMore(feed, lineage)
      return
    }
    const admission = target.ledger.admit(envelope)
    if (admission === 'stored') {
      this.#noteStamp(envelope, target.ledger)
      target.stored(envelope)
      if (feed === target.ownFeed) target.ownRunTaken()
      for (const orphan of this.#orphans.get(envelope.hash) ?? []) this.#refused.delete(orphan)
      this.#orphans.delete(envelope.hash)
      const next = this.#forgetEarly(placeKey(feed, sequence + 1))
      if (next !== undefined) this.#takeOne(next, target)
    } else if (admission === 'gap') {
      if (opening === null) this.#keepEarly(envelope)
      else if (previous !== null) this.#refuseOrphan(feed, previous)
    } else if (admission !== 'known') {
      this.#refuseBroken(envelope, admission, target)
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

  #refuseMore(feed: FeedId, lineage: InstanceId): void {
    this.#refused.set(feed, 'too much of its author waits for what is not here')
    const feeds = this.#overQuota.get(lineage)
    if (feeds === undefined) this.#overQuota.set(lineage, new Set([feed]))
    else feeds.add(feed)
  }

  #noteStamp(envelope: Envelope, ledger: Ledger): void {
    const ahead = this.#options.hybridClock.merge(envelope.header.stamp)
    const instance = ledger.feed(envelope.header.feed)?.instance
    if (instance === undefined) return
    if (ahead > mergeAheadMillisecondsMax) this.#clocksAhead.set(instance, ahead)
    else this.#clocksAhead.delete(instance)
  }

  #refuseBroken(envelope: Envelope, why: 'fork' | 'stale-stamp', target: IntakeTarget): void {
    const { feed, sequence } = envelope.header
    const detail =
      why === 'fork'
        ? `feed ${feed} has two envelopes in one place (at or before sequence ${sequence}): its author, or a copy of its running machine, wrote both`
        : `envelope ${sequence} of feed ${feed} has a time not after the one before it`
    this.#refused.set(feed, detail)
    if (feed === target.ownFeed) target.ownRunTaken()
    const at = Math.floor(this.#options.now())
    target.ledger.rows.evidence.push({ id: `${why}:${feed}:${sequence}`, kind: why, at, detail, proof: envelope.headerBytes })
    this.#options.logger.warn({ feed, sequence }, detail)
  }
}
