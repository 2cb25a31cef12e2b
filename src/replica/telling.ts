/** Telling: what peers hear of this instance's frontier. All of it when they become ready, afterwards what moves; never what is not durable. */
import { idToBytes } from '../core/index.ts'
import type { Clock } from '../core/index.ts'
import { frontierDigest } from '../feed/index.ts'
import type { FrontierEntry } from '../feed/index.ts'
import type { Engine } from './engine.ts'
import type { ControlMessage } from './messages.ts'
import type { Session } from './session.ts'

/**
 * Milliseconds, for each peer that there is, in which news of progress are gathered before those are told that do not wait for them: so
 * 20 messages a second in all, however many peers. Nobody waits longer than the maximum: health is judged by what was told.
 */
const tellDelayMsPerPeer = 50
const tellDelayMsMax = 2_000
/** Milliseconds between two times that a ping makes the whole frontier be told. */
const tellAllMsMin = 5_000
/** Feeds in one frontier message: some 20 ms of whoever reads it. */
const frontierEntriesPerMessage = 5_000

export interface TellingOptions {
  readonly engine: Engine
  readonly clock: Clock
  /** How many peers there are to tell. */
  readonly peers: () => number
  readonly send: (session: Session, message: ControlMessage & { readonly type: 'frontier' }) => void
}

export class Telling {
  readonly #options: TellingOptions
  /** Of the frontier, until it changes: every ping asks for it. */
  #digest: Uint8Array | null = null

  constructor(options: TellingOptions) {
    this.#options = options
  }

  /** The frontier has changed. */
  changed(): void {
    this.#digest = null
  }

  digest(): Uint8Array {
    return (this.#digest ??= idToBytes(frontierDigest(this.#options.engine.frontier().values())))
  }

  /** Tells a peer before long how far the feeds moved that it was not told of yet. */
  soon(session: Session): void {
    const { clock, peers } = this.#options
    session.cancelTelling ??= clock.after(Math.min(peers() * tellDelayMsPerPeer, tellDelayMsMax), () => this.now(session))
  }

  /** The same at once. */
  now(session: Session): void {
    session.cancelTelling?.()
    session.cancelTelling = null
    if (!session.ready || !session.controlWritable || session.untold.size === 0) return
    const frontier = this.#options.engine.frontier()
    const entries = Array.from(session.untold, (feed) => frontier.get(feed)).filter((entry) => entry !== undefined)
    // No entry says that nothing of a feed counts any more: only the whole frontier, without it, does.
    if (entries.length < session.untold.size) {
      this.all(session)
      return
    }
    session.untold.clear()
    this.#send(session, false, entries)
  }

  /** Tells a peer the whole frontier, in as many messages as it takes. */
  all(session: Session): void {
    session.toldAllAt = this.#options.clock.monotonic()
    session.untold.clear()
    const entries = [...this.#options.engine.frontier().values()]
    for (let from = 0; from === 0 || from < entries.length; from += frontierEntriesPerMessage)
      this.#send(session, from === 0, entries.slice(from, from + frontierEntriesPerMessage))
  }

  /** Tells everything again where what a ping compares differs and nothing is under way that explains it. */
  compare(session: Session, theirs: Uint8Array): void {
    if (!session.ready || session.untold.size > 0 || !session.controlWritable) return
    if (Buffer.compare(theirs, this.digest()) === 0) return
    if (this.#options.clock.monotonic() - session.toldAllAt >= tellAllMsMin) this.all(session)
  }

  #send(session: Session, complete: boolean, entries: readonly FrontierEntry[]): void {
    this.#options.send(session, { type: 'frontier', complete, entries })
  }
}
