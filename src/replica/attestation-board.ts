/**
 * The board of attestations: what each member attested last, held against what this instance shows. At equal version keys digests have to be
 * equal; at others nothing can be said. Memory is bounded for each member: what is equal is not kept.
 */
import { Allowance, bytesToId } from '../core/index.ts'
import type { Clock, DocumentId, InstanceId, VersionKey } from '../core/index.ts'
import type { MemberTable } from '../membership/index.ts'
import { damagedDigestOf, isAttestationOf, newsAfter } from './attestation.ts'
import type { AttestedDocument, Attestation } from './attestation.ts'
import type { DigestBook } from './digest-book.ts'
import type { Identity } from './writer.ts'

/** Messages of one member that are looked at, at once and in a second: an attestation of the greatest size and some more. */
const messagesMost = 40
const messagesPerSecond = 2
/** Documents of one member that are kept because they are not of the version that is here: 300 bytes each. */
const otherVersionsMax = 10_000

/** A document that a member shows otherwise than this instance at the same version. */
export interface Difference {
  readonly document: DocumentId
  /** Milliseconds since the Unix epoch, when it was seen first. */
  readonly since: number
  /** That instance says itself that it shows what is not so. */
  readonly isAdmitted: boolean
}

/** What one member attested, and what is to be said of it. */
export interface MemberAttestation {
  /** When it last attested anything, by our clock: milliseconds since the Unix epoch. */
  readonly at: number
  /** Documents that it had. */
  readonly documents: number
  /** When all that it attested was last seen to equal all that is here; null where it never was. */
  readonly equalAt: number | null
  /** Whether what it attested last equals what is here now. */
  readonly isEqual: boolean
  readonly differences: readonly Difference[]
  /** Documents that it attested at another version than the one here. */
  readonly otherVersions: readonly DocumentId[]
}

interface Known {
  time: number
  newsAfter: number
  /** Parts of the attestation of that time that have come. */
  parts: Set<number>
  at: number
  documents: number
  root: Uint8Array
  equalAt: number | null
  readonly differing: Map<DocumentId, { readonly versionKey: VersionKey; readonly digest: string; readonly since: number }>
  readonly otherVersions: Map<DocumentId, AttestedDocument>
}

export interface AttestationBoardOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly members: () => MemberTable
  /** What this instance shows. */
  readonly book: DigestBook
  /** A request of this instance that waits for answers: what carries its nonce is fresh. */
  readonly isAwaited: (nonce: Uint8Array) => boolean
  /** A member differs, or does not differ any more. */
  readonly changed: () => void
  /** All messages of an attestation that answers a request have come. */
  readonly answered: (instance: InstanceId, nonce: Uint8Array) => void
}

export class AttestationBoard {
  readonly #options: AttestationBoardOptions
  readonly #known = new Map<InstanceId, Known>()
  readonly #allowances = new Map<InstanceId, Allowance>()

  constructor(options: AttestationBoardOptions) {
    this.#options = options
  }

  /** Takes what a member attested. Returns whether it is authentic, and news. */
  receive(attestation: Attestation): boolean {
    const { clock, identity, isAwaited, members } = this.#options
    const { instance, nonce, part, time } = attestation
    const member = members().member(instance)
    if (member === undefined || instance === identity.instance) return false
    const known = this.#known.get(instance)
    const isAnswer = nonce !== null && isAwaited(nonce)
    const isNews = known === undefined || (time === known.time ? !known.parts.has(part) : time > known.newsAfter) || isAnswer
    if (!isNews) return false
    const allowance = this.#allowances.get(instance) ?? new Allowance(clock, messagesPerSecond, messagesMost)
    this.#allowances.set(instance, allowance)
    if (!allowance.isLeft || !isAttestationOf(attestation, member.key, identity.agent)) return false
    allowance.spend(1)
    this.#take(attestation, isAnswer)
    return true
  }

  /** This instance shows a document otherwise than before. */
  digested(document: DocumentId): void {
    let changed = false
    for (const [, known] of this.#ofMembers()) {
      const differing = known.differing.get(document)
      const item = known.otherVersions.get(document) ?? (differing === undefined ? undefined : { document, ...differing })
      if (item !== undefined) changed = this.#compare(known, item) || changed
    }
    if (changed) this.#options.changed()
  }

  /** What is here has come to rest: whoever has the same in everything is found. */
  rested(): void {
    const root = this.#options.book.root()
    for (const [, known] of this.#ofMembers()) this.#compareRoots(known, root)
  }

  /** What a member attested; undefined where nothing is known. */
  of(instance: InstanceId): MemberAttestation | undefined {
    const known = this.#options.members().member(instance) === undefined ? undefined : this.#known.get(instance)
    if (known === undefined) return undefined
    return {
      at: known.at,
      documents: known.documents,
      equalAt: known.equalAt,
      isEqual: Buffer.compare(known.root, this.#options.book.root()) === 0,
      differences: Array.from(known.differing, ([document, { digest, since }]) => ({
        document,
        since,
        isAdmitted: digest === damagedDigestOf(instance),
      })),
      otherVersions: [...known.otherVersions.keys()],
    }
  }

  /** The root that a member attested last. */
  rootOf(instance: InstanceId): string | undefined {
    const known = this.#known.get(instance)
    return known === undefined ? undefined : bytesToId(known.root)
  }

  #take(attestation: Attestation, isAnswer: boolean): void {
    const { answered, book, changed, clock } = this.#options
    const { attested, buckets, documents, instance, nonce, part, parts, root, time } = attestation
    const known: Known = this.#known.get(instance) ?? {
      time,
      newsAfter: time,
      parts: new Set(),
      at: 0,
      documents,
      root,
      equalAt: null,
      differing: new Map(),
      otherVersions: new Map(),
    }
    this.#known.set(instance, known)
    if (time !== known.time) known.parts = new Set()
    known.time = time
    known.newsAfter = newsAfter(time, clock.now())
    known.parts.add(part)
    known.at = Math.floor(clock.now())
    known.documents = documents
    known.root = root
    let hasChanged = false
    for (const item of attested) hasChanged = this.#compare(known, item) || hasChanged
    // Whatever of these buckets is not named it does not have.
    if (parts === 1 && attestation.omitted === 0) {
      const named = new Set(attested.map(({ document }) => document))
      for (const { document } of book.inBuckets(buckets)) {
        if (named.has(document)) continue
        hasChanged = known.differing.delete(document) || hasChanged
        this.#keepOther(known, { document, versionKey: noVersion, digest: '' })
      }
    }
    hasChanged = this.#compareRoots(known, book.root()) || hasChanged
    if (hasChanged) changed()
    if (isAnswer && nonce !== null && known.parts.size === parts) answered(instance, nonce)
  }

  /** Returns whether that makes or ends a difference. */
  #compare(known: Known, item: AttestedDocument): boolean {
    const { document, digest, versionKey } = item
    const own = this.#options.book.get(document)
    known.otherVersions.delete(document)
    if (own === undefined || own.versionKey !== versionKey) {
      this.#keepOther(known, item)
      return known.differing.delete(document)
    }
    if (own.digest === digest) return known.differing.delete(document)
    const before = known.differing.get(document)
    known.differing.set(document, { versionKey, digest, since: before?.since ?? Math.floor(this.#options.clock.now()) })
    return before === undefined
  }

  #compareRoots(known: Known, root: Uint8Array): boolean {
    if (Buffer.compare(known.root, root) !== 0) return false
    const hasChanged = known.differing.size > 0
    known.differing.clear()
    known.otherVersions.clear()
    known.equalAt = Math.floor(this.#options.clock.now())
    return hasChanged
  }

  #keepOther(known: Known, item: AttestedDocument): void {
    known.otherVersions.set(item.document, item)
    if (known.otherVersions.size > otherVersionsMax) known.otherVersions.delete(known.otherVersions.keys().next().value as DocumentId)
  }

  /** What is known of those that are members now; the others are forgotten. */
  #ofMembers(): Iterable<readonly [InstanceId, Known]> {
    const members = this.#options.members()
    for (const instance of this.#known.keys()) {
      if (members.member(instance) !== undefined) continue
      this.#known.delete(instance)
      this.#allowances.delete(instance)
    }
    return this.#known
  }
}

/** Of a document that a member does not have: no document has this version. */
const noVersion = '' as VersionKey
