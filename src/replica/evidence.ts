/**
 * What was kept aside or turned away here, and why: cases that are kept as evidence, quarantined updates, feeds that are not
 * taken further, and peers that were refused. The first two are read from the store; the others are known to this process only.
 */
import { stampToMilliseconds } from '../core/index.ts'
import type { Clock, DocumentId, FeedId, InstanceId, PublicKey } from '../core/index.ts'
import { documentIdOf, isDocumentKind } from '../document/index.ts'
import type { DocumentKind } from '../document/index.ts'
import { decodeUpdateBody, mainSpace } from '../feed/index.ts'
import type { Envelope } from '../feed/index.ts'
import { instanceIdOf } from '../membership/index.ts'
import type { FormerMember } from '../membership/index.ts'
import type { EvidenceRow, QuarantineRow } from '../storage/index.ts'
import type { Engine } from './engine.ts'
import { soundOr, storedToEnvelope } from './ledger.ts'
import { openKind, repairedKind } from './repair.ts'

/** Refusals of peers that are remembered: the last. A stranger can make keys without end. */
const refusalsMax = 64
/** Addresses of copies of this home that are remembered. */
const ownKeyAddressesMax = 16

/** How long a second copy counts as running after it was last proven: peers that are connected to both prove it every 10 seconds. */
const copyMs = 5 * 60_000
/** How long a repair is pointed out: a disk that damages one thing may be about to damage more. */
const repairedMs = 24 * 3_600_000

/** One case. */
export interface Evidence {
  /** `fork`, `stale-stamp`, `second-copy`, `damage`, `repaired`, `quarantine`, `refused-feed`, `refused-peer` or `refused-join`. */
  readonly kind: string
  /** Why it is one: a sentence, or a part of one. */
  readonly reason: string
  /**
   * Milliseconds since the Unix epoch, where known: when it was seen first; of a refused peer, last; of an update in
   * quarantine, when it was written, by its author's clock.
   */
  readonly at: number | null
  /** The instance that it is about, where that is known. */
  readonly author?: InstanceId
  readonly feed?: FeedId
  readonly sequence?: number
  readonly document?: NamedDocument
  /** Of a refused peer: the key that it proved, and where it was, where that is known. */
  readonly key?: PublicKey
  readonly address?: string
}

/** A document; kind and name are null where nothing here tells them. */
export interface NamedDocument {
  readonly id: DocumentId
  readonly kind: DocumentKind | null
  readonly name: string | null
}

export class EvidenceBook {
  readonly #engine: Engine
  readonly #clock: Clock
  /** Addresses where something answered with our own key, and since when. */
  readonly #ownKeySeen = new Map<string, number>()
  /** When cases were found last in this process, by id. */
  readonly #seen = new Map<string, number>()
  /** By kind and key, in order of time. */
  readonly #refusals = new Map<string, Evidence & { readonly key: PublicKey }>()

  constructor(engine: Engine, clock: Clock) {
    this.#engine = engine
    this.#clock = clock
  }

  /** A daemon with our own key answers at an address. Returns whether that is news. */
  ownKeyFound(address: string): boolean {
    if (this.#ownKeySeen.has(address) || this.#ownKeySeen.size >= ownKeyAddressesMax) return false
    this.#ownKeySeen.set(address, this.#now())
    return true
  }

  /** A case that is stored, or is about to be, was found, or found again. */
  caseSeen(id: string): void {
    this.#seen.set(id, this.#clock.monotonic())
  }

  /** A peer was turned away. Cheap: peers that may not connect can ask often. */
  peerRefused(kind: 'refused-peer' | 'refused-join', key: PublicKey, reason: string, address?: string): void {
    const name = `${kind}:${key}`
    this.#refusals.delete(name)
    this.#refusals.set(name, { kind, reason, at: this.#now(), key, ...(address === undefined ? {} : { address }) })
    if (this.#refusals.size > refusalsMax) this.#refusals.delete(this.#refusals.keys().next().value as string)
  }

  /** Forks, stale stamps, second copies; damage, and repairs of it. */
  cases(): readonly Evidence[] {
    return this.#casesOf(this.#engine.store.evidence())
  }

  /** Those of the cases that hold now: a second copy is one as long as it runs, and the repair desk knows what is damaged. */
  casesNow(): readonly Evidence[] {
    const since = this.#clock.monotonic() - copyMs
    return this.#casesOf(
      this.#engine.store.evidence().filter(({ id, kind }) => {
        if (kind === openKind || kind === repairedKind) return false
        return kind !== 'second-copy' || (this.#seen.get(id) ?? -Infinity) > since
      }),
    )
  }

  /** What was repaired within the last day, the last of it last. */
  repairedLately(): readonly Evidence[] {
    const since = this.#now() - repairedMs
    return this.#casesOf(this.#engine.store.evidence().filter(({ at, kind }) => kind === repairedKind && at > since))
  }

  #casesOf(rows: readonly EvidenceRow[]): readonly Evidence[] {
    const copies = Array.from(this.#ownKeySeen, ([address, at]): Evidence => ({ kind: 'second-copy', reason: copyReason(address), at }))
    return [...rows.map(rowToEvidence), ...copies].map((found) => ({ ...this.#authorOf(found.feed), ...found }))
  }

  /** Updates that are kept and not materialised, at most `limit`, and how many there are. */
  quarantine(limit: number): { readonly found: readonly Evidence[]; readonly total: number } {
    const rows = this.#engine.store.quarantine()
    return { found: rows.slice(0, limit).map((row) => this.#quarantined(row)), total: rows.length }
  }

  /** Feeds that are not taken any further. */
  refusedFeeds(): readonly Evidence[] {
    return Array.from(this.#engine.intake.refused, ([feed, reason]) => ({
      kind: 'refused-feed',
      reason,
      at: null,
      feed,
      ...this.#authorOf(feed),
    }))
  }

  /** Peers that were turned away lately, the last of them last. Whoever has become a member since is not among them. */
  refusedPeers(): readonly Evidence[] {
    const { members } = this.#engine
    return [...this.#refusals.values()]
      .filter(({ key }) => members.memberByKey(key) === undefined)
      .map((refusal) => {
        const instance = instanceIdOf(refusal.key)
        const former = members.formerMember(instance)
        if (former === undefined) return refusal
        return { ...refusal, author: instance, ...(refusal.kind === 'refused-peer' ? { reason: reasonOf(former) } : {}) }
      })
  }

  #now(): number {
    return Math.floor(this.#clock.now())
  }

  #quarantined({ document, feed, sequence, reason }: QuarantineRow): Evidence {
    const [stored] = soundOr([], () => this.#engine.store.envelopes(feed, sequence, sequence, 1))
    const envelope = stored === undefined ? undefined : storedToEnvelope(stored)
    return {
      kind: 'quarantine',
      reason,
      at: envelope === undefined ? null : stampToMilliseconds(envelope.header.stamp),
      ...this.#authorOf(feed),
      feed,
      sequence,
      document: this.#named(document, envelope),
    }
  }

  /** Where nothing of a document was ever materialised, the update itself may tell its name: the document's id holds it to that. */
  #named(id: DocumentId, envelope: Envelope | undefined): NamedDocument {
    const known = this.#engine.store.document(id)
    if (known !== undefined) return { id, kind: known.kind as DocumentKind, name: known.name }
    for (const [index, reference] of envelope?.header.bodies.entries() ?? []) {
      const body = decodeUpdateBody(envelope?.bodies[index]?.bytes ?? new Uint8Array())
      if (reference.document !== id || !body.ok) continue
      const { kind, name } = body.value
      if (isDocumentKind(kind) && documentIdOf(mainSpace, kind, name) === id) return { id, kind, name }
    }
    return { id, kind: null, name: null }
  }

  #authorOf(feed: FeedId | undefined): { readonly author?: InstanceId } {
    const state = feed === undefined ? undefined : this.#engine.ledger.feed(feed)
    return state === undefined ? {} : { author: state.instance }
  }
}

function copyReason(address: string): string {
  return `a daemon with the key of this instance answers at ${address}: its home was copied. Stop one of them, or make the copy an instance of its own (selfsame key rotate --new-instance, on the copy)`
}

function reasonOf({ removal, state }: FormerMember): string {
  if (state === 'suspended') return 'it lost its place with whoever admitted it'
  return removal === null || removal.reason === '' ? 'it was removed' : `it was removed: ${removal.reason}`
}

/** The id of a case names what it is about: a place in a feed, or an instance. */
function rowToEvidence({ at, detail, id, kind }: EvidenceRow): Evidence {
  const [, subject, sequence] = /:([0-9a-f]{32})(?::(\d+))?$/.exec(id) ?? []
  const evidence = { kind, reason: detail, at }
  if (subject === undefined) return evidence
  if (sequence === undefined) return { ...evidence, author: subject as InstanceId }
  return { ...evidence, feed: subject as FeedId, sequence: Number(sequence) }
}
