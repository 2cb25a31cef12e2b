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
  /** Open sessions on which something was told. Of a home that was copied there may be several. */
  readonly #telling = new Set<Session>()

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
  heard(session: Session): void {
    this.#telling.add(session)
    this.#tells(session)
  }

  /** A session ended: up to now the instance would have told of anything new, and so would another copy of its home that told something too. */
  ended(session: Session): void {
    if (!this.#telling.delete(session)) return
    const { instance } = session.member
    this.#tells(Array.from(this.#telling).find(({ member }) => member.instance === instance) ?? session)
  }

  #tells({ member, program, theirs }: Session): void {
    this.#told.set(member.instance, { theirs, at: Math.max(0, Math.floor(this.#clock.now())), program })
  }
}
