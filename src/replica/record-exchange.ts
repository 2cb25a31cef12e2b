/** The membership records of a link between members: exchanged before anything else, and passed on at once. */
import type { Clock, RecordHash } from '../core/index.ts'
import type { MembershipRecord } from '../membership/index.ts'
import type { Engine } from './engine.ts'
import { decodeRecords, recordMessages, recordsLackedBy } from './messages.ts'
import type { ControlMessage } from './messages.ts'
import type { Session } from './session.ts'

/** Milliseconds between two answers to a list of records on one link. */
const answerMs = 10_000
/** Lists in that time that are passed over before the link is ended. */
const earlyMax = 3
/** Between two lists that are sent on one link: a little more. */
const listMs = 11_000

export interface RecordExchangeOptions {
  readonly engine: Engine
  readonly clock: Clock
  readonly isOpen: (session: Session) => boolean
  readonly send: (session: Session, message: Exclude<ControlMessage, { type: 'unknown' }>) => void
  readonly drop: (session: Session, reason: string) => void
  /** All that the other side had are stored. */
  readonly complete: (session: Session) => void
}

export class RecordExchange {
  readonly #options: RecordExchangeOptions

  constructor(options: RecordExchangeOptions) {
    this.#options = options
  }

  /** Says which records are here: the other side sends the others. */
  list(session: Session): void {
    const { clock, engine, send } = this.#options
    session.recordsListedAt = clock.monotonic()
    send(session, { type: 'record-list', hashes: engine.members.records().map((record) => record.hash) })
  }

  /**
   * Asks again where the other side holds other records: what it told may have been lost with a store that was opened anew, or rest on some that
   * were not taken before, because nobody vouched for them then. `theirs`: their digest; null where it said none.
   */
  compare(session: Session, theirs: Uint8Array | null): void {
    const { clock, engine } = this.#options
    if (theirs === null || !session.ready || Buffer.compare(theirs, engine.members.digest()) === 0) return
    if (clock.monotonic() - session.recordsListedAt >= listMs) this.list(session)
  }

  /** Answers a list. */
  answer(session: Session, hashes: readonly RecordHash[]): void {
    const { clock, drop, engine, send } = this.#options
    if (clock.monotonic() - session.recordsServedAt < answerMs) {
      session.recordsAskedEarly += 1
      if (session.recordsAskedEarly > earlyMax) drop(session, 'it asked for the records again and again')
      return
    }
    session.recordsServedAt = clock.monotonic()
    session.recordsAskedEarly = 0
    for (const message of recordMessages(recordsLackedBy(engine.members.records(), hashes), true)) send(session, message)
  }

  /** Passes on records that are new here. */
  tell(session: Session, records: readonly MembershipRecord[]): void {
    for (const message of recordMessages(records, false)) this.#options.send(session, message)
  }

  /** Takes records; `last`: nothing more of the answer to a list is to come. */
  take(session: Session, encoded: readonly Uint8Array[], last: boolean): void {
    const { complete, drop, engine, isOpen } = this.#options
    const records = decodeRecords(encoded, (hash) => engine.members.standingOf(hash) !== undefined)
    if (!records.ok) return drop(session, records.reason)
    engine.put({ records: records.value }).then(
      () => {
        if (last && isOpen(session)) complete(session)
      },
      (error: unknown) => drop(session, `its records were not stored: ${String(error)}`),
    )
  }
}
