/**
 * Parole: what is said over a link to somebody whose key was a member's and is none now. Membership records only, both ways, for a
 * few seconds: so that it hears that it was removed, and that members who removed each other while they were apart come to one
 * table. It gets the records that explain how it stands, and no others.
 */
import type { Clock, Logger, PublicKey, RecordHash } from '../core/index.ts'
import type { Channel, Link, LinkId } from '../network/index.ts'
import type { Engine } from './engine.ts'
import { decodeControl, decodeRecords, recordMessages, recordsLackedBy } from './messages.ts'
import type { ControlMessage } from './messages.ts'

/** Milliseconds for which such a link is kept open: some round trips to the other side of the world. */
const paroleMs = 5_000
/** Records taken over one such link: as many as an honest instance makes in years. */
const recordsMax = 1_024

export interface ParoleOptions {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  readonly hello: () => Exclude<ControlMessage, { type: 'unknown' }>
  readonly send: (link: LinkId, message: Exclude<ControlMessage, { type: 'unknown' }>) => void
  readonly close: (link: LinkId, reason: string) => void
}

export class Parole {
  readonly #options: ParoleOptions
  readonly #links = new Map<
    LinkId,
    { readonly key: PublicKey; records: number; readonly heard: Set<string>; readonly cancel: () => void }
  >()

  constructor(options: ParoleOptions) {
    this.#options = options
  }

  opened(link: Link): void {
    const { clock, close, hello, send } = this.#options
    const cancel = clock.after(paroleMs, () => close(link.id, 'not a member any more'))
    this.#links.set(link.id, { key: link.key, records: 0, heard: new Set(), cancel })
    send(link.id, hello())
  }

  /** Returns whether the link was one of these. */
  closed(id: LinkId): boolean {
    this.#links.get(id)?.cancel()
    return this.#links.delete(id)
  }

  /** Returns whether the link is one of these: then the message is dealt with. */
  message(id: LinkId, channel: Channel, bytes: Uint8Array): boolean {
    const link = this.#links.get(id)
    if (link === undefined) return false
    if (channel !== 'control') return true
    const message = decodeControl(bytes)
    if (!message.ok) this.#options.close(id, message.reason)
    else if (message.value.type === 'records') this.#take(id, message.value.records)
    else if (message.value.type === 'hello' || message.value.type === 'record-list') {
      if (link.heard.has(message.value.type)) this.#options.close(id, 'it asked again')
      else if (message.value.type === 'hello') this.#listRecords(id)
      else this.#explain(id, link.key, message.value.hashes)
      link.heard.add(message.value.type)
    }
    return true
  }

  #listRecords(id: LinkId): void {
    const { engine, send } = this.#options
    send(id, { type: 'record-list', hashes: engine.members.records().map((record) => record.hash) })
  }

  #explain(id: LinkId, key: PublicKey, known: readonly RecordHash[]): void {
    const { engine, send } = this.#options
    const records = recordsLackedBy(engine.members.explaining(key), known)
    for (const message of recordMessages(records, false)) send(id, message)
  }

  #take(id: LinkId, encoded: readonly Uint8Array[]): void {
    const { close, engine, logger } = this.#options
    const link = this.#links.get(id)
    if (link === undefined) return
    link.records += encoded.length
    if (link.records > recordsMax) return close(id, 'it sent more records than it may')
    const records = decodeRecords(encoded, (hash) => engine.members.standingOf(hash) !== undefined)
    if (!records.ok) return close(id, records.reason)
    engine.put({ records: records.value }).then(
      () => {
        // A link to a member begins with a hello of its own.
        if (engine.members.memberByKey(link.key) !== undefined) close(id, 'a member again')
      },
      (error: unknown) => logger.warn({ error: String(error) }, 'records were not stored'),
    )
  }
}
