/** What is known of one link: who is at the other end, what it told, and what is under way on it. */
import type { FeedId, PublicKey } from '../core/index.ts'
import type { FrontierEntry } from '../feed/index.ts'
import type { Member } from '../membership/index.ts'
import type { Link } from '../network/index.ts'
import type { WantMessage } from './messages.ts'
import type { Serving } from './serving.ts'

/** A want that is being answered. */
export interface OpenWant {
  readonly request: number
  /** The next sequence to come, by feed. */
  readonly next: Map<FeedId, number>
  /** Feeds of which nothing came that could be used. */
  readonly untaken: Set<FeedId>
  /** Received so far. */
  bytes: number
  /** Monotonic milliseconds when it was asked, and of the last envelope that could be used. */
  readonly askedAt: number
  progressAt: number
}

export interface Session {
  readonly link: Link
  /** As the member table has it now. */
  member: Member
  /** Of the process at the other end, once it said hello. */
  boot: string | null
  program: string | null
  /** All records that the other end had are stored. */
  recordsTaken: boolean
  /** They are, and this instance is a member by them: documents may be spoken of. */
  ready: boolean
  /** What the other end told that it has and applied. */
  readonly theirs: Map<FeedId, FrontierEntry>
  /** Feeds of which the other end has more, and since when (monotonic milliseconds). */
  readonly lacking: Map<FeedId, number>
  /** Feeds whose progress here the other end has not been told. */
  readonly untold: Set<FeedId>
  controlWritable: boolean
  cancelTelling: (() => void) | null
  want: OpenWant | null
  /** When its list of records was answered last, monotonic milliseconds. */
  recordsServedAt: number
  /** How often it asked too early since. */
  recordsAskedEarly: number
  /** When it was sent a list of records last, monotonic milliseconds. */
  recordsListedAt: number
  /** The want of the other end that waits for its answer, or for the rest of it, and that answer once it is begun. */
  wanted: WantMessage | null
  serving: Serving | null
  servingPaused: boolean
  /** Monotonic milliseconds before which no more is served: serving one peer leaves as much time to everything else. */
  restsUntil: number
  /** Monotonic milliseconds when it was told the whole frontier. */
  toldAllAt: number
  /** Monotonic milliseconds. */
  heardAt: number
  ping: { readonly nonce: number; readonly at: number } | null
  roundTripMilliseconds: number | null
  /** How far the other clock is ahead, milliseconds, by the last pong. */
  clockAheadMilliseconds: number | null
}

export function createSession(link: Link, member: Member, now: number): Session {
  return {
    link,
    member,
    boot: null,
    program: null,
    recordsTaken: false,
    ready: false,
    theirs: new Map(),
    lacking: new Map(),
    untold: new Set(),
    controlWritable: true,
    cancelTelling: null,
    want: null,
    recordsServedAt: Number.NEGATIVE_INFINITY,
    recordsAskedEarly: 0,
    recordsListedAt: Number.NEGATIVE_INFINITY,
    wanted: null,
    serving: null,
    servingPaused: false,
    restsUntil: now,
    toldAllAt: Number.NEGATIVE_INFINITY,
    heardAt: now,
    ping: null,
    roundTripMilliseconds: null,
    clockAheadMilliseconds: null,
  }
}

/**
 * Of two links between the same two processes the one that this side closes; null: the other side does. Both ends have to keep the same
 * one: that which the instance with the lesser key dialed; of two dialed by one, its dialer chooses.
 */
export function surplusOf(session: Session, other: Session, ownKey: PublicKey): Session | null {
  const { direction, key } = session.link
  if (direction === other.link.direction) return direction === 'inbound' ? null : session
  return (direction === 'outbound') === ownKey < key ? other : session
}
