/**
 * The repair desk: looks through the store time and again for what the disk has damaged, has it written again, and keeps account of it. Envelopes
 * come from whichever connected peer has them and are taken only if they are what was stored; all else is made anew here. Sync asks and hears the
 * peers, the engine writes.
 */
import { SelfsameError } from '../core/index.ts'
import type { Clock, DocumentId, EnvelopeHash, FeedId, Logger, RecordHash } from '../core/index.ts'
import type { Envelope, FrontierEntry } from '../feed/index.ts'
import { decodeRecord, recordHash } from '../membership/index.ts'
import type { LinkId } from '../network/index.ts'
import { damagesMax, damageToKey } from '../storage/index.ts'
import type { Damage, EnvelopeRow, EvidenceRow } from '../storage/index.ts'
import type { Engine } from './engine.ts'
import { soundOr } from './ledger.ts'
import type { FeedRange } from './messages.ts'
import type { Mending } from './mending.ts'

/** Milliseconds after the start until the store is looked through: whoever starts has better things to do. */
const firstPassMs = 10_000
/** Milliseconds between two looks: with the time of one, damage is found within a minute. */
const passMs = 15_000
/** Milliseconds after which a peer that did not bring an envelope is asked for it again. */
const askAgainMs = 10_000
/** Envelopes in a row that are asked for at once: each is proven by the one after it. */
const stretchMax = 32
/** Snapshots, texts and records that one commit writes anew: a document may have to be loaded for each. */
const mendedAtOnce = 8
/** Tries to write something again before it is left to a person: each that fails costs the run. */
const triesMax = 3

/** Something that is damaged here now. */
export interface OpenDamage {
  /** Names the case, as its evidence. */
  readonly id: string
  /** A line for a person: what it is, and what comes of it. */
  readonly detail: string
  /** When it was noticed, milliseconds since the Unix epoch. */
  readonly at: number
}

interface Case extends OpenDamage {
  readonly key: string
  /** As the subject of a sentence. */
  readonly what: string
  /** Null: the database itself. */
  readonly damage: Damage | null
  /** Monotonic milliseconds when a link was asked for it last. */
  readonly askedAt: Map<LinkId, number>
  tries: number
  isMending: boolean
  isStored: boolean
}

/** Something that is written again, and how that came about: the rest of a sentence about it. */
interface Mended {
  readonly found: Case
  readonly how: string
}

export interface RepairDeskOptions {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  /** Has peers asked for what `wants` names. */
  readonly ask: () => void
}

export class RepairDesk {
  readonly #options: RepairDeskOptions
  /** By key of the place. */
  readonly #cases = new Map<string, Case>()
  /** Told of by an earlier process and not looked at again yet, by id. */
  readonly #untested: Map<string, EvidenceRow>
  /** Keys of what was repaired since the look under way began, which may have seen it before. */
  readonly #repairedSince = new Set<string>()
  #noticed = 0
  #repaired = 0
  #cancelPass: (() => void) | null = null
  #cancelMending: (() => void) | null = null
  #isStopped = false

  constructor(options: RepairDeskOptions) {
    this.#options = options
    const { engine } = options
    this.#untested = new Map(engine.store.evidence().flatMap((row) => (row.kind === openKind ? [[row.id, row] as const] : [])))
    engine.onDamage((damage) => this.#notice(damage))
    // A record that is missing here may have come from somebody.
    engine.onCommitted(({ records }) => {
      if (records.length > 0) this.#mendSoon()
    })
  }

  /** What is damaged now, the oldest first. */
  get open(): readonly OpenDamage[] {
    const untested = [...this.#untested.values()].filter(({ id }) => !this.#cases.has(id.slice(idPrefix.length)))
    return [...untested, ...this.#cases.values()].map(({ at, detail, id }) => ({ at, detail, id }))
  }

  /** Since this process started. */
  get counts(): { readonly noticed: number; readonly repaired: number } {
    return { noticed: this.#noticed, repaired: this.#repaired }
  }

  start(): void {
    for (const { bytes, hash } of this.#options.engine.store.records())
      if (recordHash(bytes) !== hash) this.#notice({ kind: 'record', hash })
    this.#cancelPass ??= this.#options.clock.after(firstPassMs, () => void this.#pass())
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelPass?.()
    this.#cancelMending?.()
  }

  /** What to ask the other end of a link for, given what it told that it has: of each feed one stretch that ends in the last damaged place. */
  wants(link: LinkId, theirs: ReadonlyMap<FeedId, FrontierEntry>, isFree: (feed: FeedId) => boolean, rangesMax: number): FeedRange[] {
    const { clock, engine } = this.#options
    const ranges = new Map<FeedId, FeedRange>()
    if (this.#cases.size === 0 || !engine.canStore) return []
    for (const found of this.#cases.values()) {
      const { askedAt, damage } = found
      if (damage?.kind !== 'envelope' || !isToMend(found) || (theirs.get(damage.feed)?.have ?? 0) < damage.sequence) continue
      const { feed, sequence } = damage
      if (sequence <= (ranges.get(feed)?.to ?? 0) || clock.monotonic() - (askedAt.get(link) ?? -Infinity) < askAgainMs || !isFree(feed))
        continue
      let from = sequence
      while (sequence - from < stretchMax - 1 && this.#cases.has(placeKeyOf(feed, from - 1))) from -= 1
      ranges.set(feed, { feed, from, to: sequence })
    }
    const asked = [...ranges.values()].slice(0, rangesMax)
    for (const { feed, to } of asked) this.#cases.get(placeKeyOf(feed, to))?.askedAt.set(link, clock.monotonic())
    return asked
  }

  /** Envelopes of a peer that are proven to be their author's, in their order: those that are damaged here are written again. */
  offer(envelopes: readonly Envelope[], sender: string): void {
    const { engine, logger } = this.#options
    if (this.#cases.size === 0 || !engine.canStore) return
    const accepted: Mended[] = []
    const rows: EnvelopeRow[] = []
    /** What has to stand before what is accepted. */
    const previous = new Map<string, EnvelopeHash | null>()
    for (const envelope of envelopes.toReversed()) {
      const { feed, sequence } = envelope.header
      const found = this.#cases.get(placeKeyOf(feed, sequence))
      const state = engine.ledger.feed(feed)
      if (found === undefined || !isToMend(found) || state === undefined) continue
      const expected = previous.get(placeKeyOf(feed, sequence)) ?? soundOr(null, () => engine.ledger.hashAt(state, sequence))
      if (expected !== null && expected !== envelope.hash) {
        logger.warn({ peer: sender, feed, sequence }, 'what a peer sent in the place of a damaged envelope is another one: it is not taken')
        continue
      }
      // What is stored last of a feed vouches for all before it.
      if (expected === null || (envelope.signature === null && sequence === state.have)) continue
      const { bodies, hash, header, headerBytes, signature } = envelope
      accepted.push({ found, how: `was written again as ${sender} sent it` })
      rows.push({ feed, sequence, hash, headerBytes, signature, bodies })
      previous.set(placeKeyOf(feed, sequence - 1), header.previous)
    }
    if (accepted.length > 0) void this.#mend(accepted, { envelopes: rows })
  }

  #notice(damage: Damage): void {
    const key = damageToKey(damage)
    if (!this.#cases.has(key)) this.#open(key, damage, this.#whatIs(damage), adviceFor(damage))
  }

  #open(key: string, damage: Damage | null, what: string, advice: string): void {
    const { clock, logger } = this.#options
    const id = `${idPrefix}${key}`
    const before = this.#untested.get(id)
    const detail = `${what} is damaged on this disk: ${advice}`
    const at = before?.at ?? Math.floor(clock.now())
    const found: Case = {
      key,
      id,
      damage,
      what,
      detail,
      at,
      askedAt: new Map(),
      tries: 0,
      isMending: false,
      isStored: before !== undefined,
    }
    this.#cases.set(key, found)
    if (before === undefined) {
      this.#noticed += 1
      logger.error({ damage: key }, detail)
      this.#keep(found)
    }
    this.#mendSoon()
  }

  /** Keeps account of a case in the store. */
  #keep(found: Case): void {
    const { at, detail, id } = found
    void this.#put({ evidenceRemoved: [id], evidence: [{ id, kind: openKind, at, detail, proof: null }] }).then((outcome) => {
      found.isStored = outcome === 'stored'
    })
  }

  /** Has all written again that can be: soon, since damage is noticed in the middle of a read. */
  #mendSoon(): void {
    if (this.#isStopped) return
    this.#cancelMending ??= this.#options.clock.after(0, () => {
      this.#cancelMending = null
      // Not while the store is opened anew: the next look has it done.
      if (!this.#options.engine.canStore) return
      this.#mendHere()
      this.#options.ask()
    })
  }

  /** Makes anew what this instance can make by itself. */
  #mendHere(): void {
    const mended: Mended[] = []
    const [snapshots, texts, records, recordsRemoved]: [DocumentId[], TextVersionKey[], RecordRow[], RecordHash[]] = [[], [], [], []]
    for (const found of this.#cases.values()) {
      const { damage } = found
      if (mended.length === mendedAtOnce) break
      if (damage === null || damage.kind === 'envelope' || !isToMend(found)) continue
      if (damage.kind === 'snapshot') {
        snapshots.push(damage.document)
        mended.push({ found, how: 'was made anew from the envelopes' })
      } else if (damage.kind === 'text-version') {
        texts.push(damage)
        mended.push({ found, how: 'was dropped: whoever writes against it has to read the text again' })
      } else {
        const record = this.#recordFor(damage.hash)
        if (record === undefined) continue
        recordsRemoved.push(damage.hash)
        if (record !== null) records.push({ hash: record.hash, bytes: record.bytes })
        mended.push({ found, how: 'was written again from memory' })
      }
    }
    if (mended.length > 0) void this.#mend(mended, { snapshots, texts, records, recordsRemoved })
  }

  /** The record to store in the place of a damaged one; null: none is needed; undefined: it has not come yet. */
  #recordFor(hash: RecordHash): RecordRow | null | undefined {
    const { members, store } = this.#options.engine
    const known = members.records()
    const same = known.find((record) => record.hash === hash)
    if (same !== undefined) return same
    if (members.standingOf(hash) === 'void') return null
    // What is damaged may be the hash beside a record that is sound.
    const stored = readOr(undefined, () => store.records().find((row) => row.hash === hash))
    const decoded = stored === undefined ? undefined : decodeRecord(stored.bytes)
    return decoded?.ok === true ? known.find((record) => record.hash === decoded.value.hash) : undefined
  }

  async #mend(mended: readonly Mended[], mending: Mending): Promise<void> {
    for (const { found } of mended) found.isMending = true
    const outcome = await this.#put({ mending })
    for (const { found, how } of mended) {
      found.isMending = false
      const isWhole = outcome === 'stored' ? readOr(undefined, () => this.#isWhole(found)) : undefined
      if (isWhole === true) this.#close(found, how)
      // What is made anew may have to wait until something else is whole.
      else if (outcome === 'failed' || (isWhole === false && found.damage?.kind === 'envelope')) found.tries += 1
    }
    // There may be more than is written at once.
    if (mended.some(({ found }) => !this.#cases.has(found.key)) && this.#cases.size > 0) this.#mendSoon()
  }

  /** Whether what was damaged reads as it should. Throws where it cannot be read at all. */
  #isWhole({ damage }: Case): boolean {
    const { store } = this.#options.engine
    switch (damage?.kind) {
      case 'envelope':
        return soundOr([], () => store.envelopes(damage.feed, damage.sequence, damage.sequence, 1)).length === 1
      case 'snapshot':
        return store.snapshot(damage.document) !== undefined
      case 'record':
        return store.records().every(({ bytes, hash }) => hash !== damage.hash || recordHash(bytes) === hash)
      default:
        return true
    }
  }

  #close({ at, id, key, what }: Pick<Case, 'at' | 'id' | 'key' | 'what'>, how: string): void {
    const { clock, logger } = this.#options
    const detail = `${what} was damaged on this disk, as was noticed at ${new Date(at).toISOString()}: it ${how}`
    this.#cases.delete(key)
    this.#untested.delete(id)
    this.#repairedSince.add(key)
    this.#repaired += 1
    logger.info({ damage: key }, detail)
    void this.#put({ evidenceRemoved: [id], evidence: [{ id, kind: repairedKind, at: Math.floor(clock.now()), detail, proof: null }] })
  }

  async #pass(): Promise<void> {
    const { clock, engine, logger } = this.#options
    const { store } = engine
    const before = new Set(this.#cases.keys())
    this.#repairedSince.clear()
    try {
      this.#passed(before, await store.scrub())
    } catch (error) {
      const isOfDisk = error instanceof SelfsameError && engine.isReadable && engine.store === store && !this.#isStopped
      if (!isOfDisk) logger.debug({ error: String(error) }, 'the store was not looked through')
      else if (!this.#cases.has(databaseKey)) this.#open(databaseKey, null, 'the database', error.message)
    }
    if (!this.#isStopped) this.#cancelPass = clock.after(passMs, () => void this.#pass())
  }

  /** The store was looked through: `before` was open when that began. */
  #passed(before: ReadonlySet<string>, damages: readonly Damage[]): void {
    const found = new Set(damages.map(damageToKey))
    for (const damage of damages) if (!this.#repairedSince.has(damageToKey(damage))) this.#notice(damage)
    if (damages.length < damagesMax) {
      for (const open of this.#cases.values()) if (before.has(open.key) && !found.has(open.key) && !open.isMending) this.#foundWhole(open)
      for (const { at, detail, id } of this.#untested.values()) {
        const key = id.slice(idPrefix.length)
        if (!this.#cases.has(key)) this.#close({ at, id, key, what: detail.split(' is damaged on this disk')[0] as string }, wholeAgain)
      }
    }
    for (const open of this.#cases.values()) if (!open.isStored) this.#keep(open)
    this.#mendSoon()
  }

  /** An envelope is written again all the same: whatever waits for it goes on with that commit. */
  #foundWhole(open: Case): void {
    const { damage } = open
    const { store } = this.#options.engine
    const rows = damage?.kind === 'envelope' ? readOr([], () => store.envelopes(damage.feed, damage.sequence, damage.sequence, 1)) : []
    if (rows.length > 0) void this.#mend([{ found: open, how: wholeAgain }], { envelopes: rows })
    else if (damage?.kind !== 'envelope') this.#close(open, wholeAgain)
  }

  /** `refused`: not now, there is no space, or this is ending. `failed`: the disk did not do it. */
  #put(rows: Parameters<Engine['put']>[0]): Promise<'stored' | 'refused' | 'failed'> {
    return this.#options.engine.put(rows).then(
      () => 'stored',
      (error: unknown) => {
        this.#options.logger.warn({ error: String(error) }, 'what concerns a repair was not stored')
        return error instanceof SelfsameError && error.code === 'outcome-unknown' ? 'failed' : 'refused'
      },
    )
  }

  #whatIs(damage: Damage): string {
    const { engine } = this.#options
    switch (damage.kind) {
      case 'envelope': {
        const { feed, part, sequence } = damage
        const instance = engine.ledger.feed(feed)?.instance
        const author = instance === undefined ? undefined : (engine.members.member(instance) ?? engine.members.formerMember(instance))
        const documents = engine.store.documentsTouchedBy(feed, sequence).map((document) => this.#nameOf(document))
        const where =
          documents.length === 0
            ? 'not applied yet'
            : `in ${documents.slice(0, documentsNamedMax).join(', ')}${documents.length > documentsNamedMax ? ', …' : ''}`
        return `the ${part} of envelope ${sequence} of feed ${feed} by ${author?.label ?? 'an unknown instance'} (${where})`
      }
      case 'record':
        return `the membership record ${damage.hash}`
      case 'snapshot':
        return `the snapshot of ${this.#nameOf(damage.document)}`
      case 'text-version':
        return `an earlier version of ${this.#nameOf(damage.document)}`
    }
  }

  #nameOf(document: DocumentId): string {
    const row = this.#options.engine.store.document(document)
    return row === undefined ? `document ${document}` : `${row.kind}/${row.name}`
  }
}

type RecordRow = NonNullable<Mending['records']>[number]
type TextVersionKey = NonNullable<Mending['texts']>[number]

/** Evidence of what is damaged, and of what was. */
export const openKind = 'damage'
export const repairedKind = 'repaired'
const idPrefix = 'damage:'
const databaseKey = 'database'
const wholeAgain = 'was found whole again'
/** Documents of one envelope that are named in a line. */
const documentsNamedMax = 3

function placeKeyOf(feed: FeedId, sequence: number): string {
  return damageToKey({ kind: 'envelope', feed, sequence, part: 'header' })
}

/** What `read` gives, or `otherwise` where it comes upon something damaged, or the disk cannot be read now: the next look is another chance. */
function readOr<Value, Other>(otherwise: Other, read: () => Value): Value | Other {
  try {
    return read()
  } catch (error) {
    if (error instanceof SelfsameError) return otherwise
    throw error
  }
}

function isToMend({ isMending, tries }: Case): boolean {
  return !isMending && tries < triesMax
}

function adviceFor({ kind }: Damage): string {
  if (kind === 'snapshot' || kind === 'text-version') return 'it is made anew here'
  return "it is fetched again as soon as an instance is connected that has it. If none has it any more, restore a backup ('selfsame restore')"
}
