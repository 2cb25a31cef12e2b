/** What each instance told last of how far it is: known, too, while no link to it is open. */
import type { Clock, FeedId, InstanceId } from '../core/index.ts'
import type { FrontierEntry } from '../feed/index.ts'
import type { Session } from './session.ts'

/** What an instance told last. */
export interface Told {
  readonly theirs: ReadonlyMap<FeedId, FrontierEntry>
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  readonly program: string | null
}

export class ToldBoard {
  readonly #clock: Clock
  readonly #told = new Map<InstanceId, Told>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  all(): ReadonlyMap<InstanceId, Told> {
    return this.#told
  }

  /** Instances that said they applied the envelope. */
  holders(feed: FeedId, sequence: number): number {
    let count = 0
    for (const { theirs } of this.#told.values()) if ((theirs.get(feed)?.applied ?? 0) >= sequence) count += 1
    return count
  }

  /** An instance told something. */
  heard({ member, program, theirs }: Session): void {
    this.#told.set(member.instance, { theirs, at: Math.max(0, Math.floor(this.#clock.now())), program })
  }

  /**
   * A link was closed: up to now the instance would have told of anything new. `open`: the others. Where one leads to the same instance, and that told
   * something on it, another copy of its home is behind it, and what that one told is what stays known.
   */
  closed(session: Session, open: Iterable<Session>): void {
    const { instance } = session.member
    const left = Array.from(open).find(({ hasTold, member }) => hasTold && member.instance === instance) ?? session
    if (left.hasTold) this.heard(left)
  }
}
