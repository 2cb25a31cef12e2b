/**
 * Coherence: proof that all instances show the same. Attests what this instance shows, holds what the others attest against it, and has what is
 * found wrong built anew. It decides when; digests are the auditor's, comparing is the board's, and rebuilding is the engine's.
 */
import { Allowance, SelfsameError, bytesToId } from '../core/index.ts'
import type { Clock, DocumentId, InstanceId, Logger, Random } from '../core/index.ts'
import { AttestationBoard } from './attestation-board.ts'
import type { Difference, MemberAttestation } from './attestation-board.ts'
import {
  attestationPartsMax,
  attestedPerMessageMax,
  damagedDigestOf,
  isAttestRequestOf,
  newsAfter,
  signAttestation,
  signAttestRequest,
} from './attestation.ts'
import type { AttestedDocument, Attestation, AttestRequest } from './attestation.ts'
import { Auditor } from './auditor.ts'
import type { Finding } from './auditor.ts'
import type { DocumentDigest } from './digests.ts'
import type { Engine } from './engine.ts'
import type { GossipMessage } from './messages.ts'
import type { Reader } from './reader.ts'
import type { RebuildFacts } from './rebuild.ts'
import type { Identity } from './writer.ts'

/** Milliseconds between two looks at what is to be attested, asked or repaired. */
const tickMs = 2_500
/** Milliseconds between two answers to requests, for each message of the first, whoever asks and however often: what a flood of them can cost. */
const answerMsMin = 1_000
/** Requests of one member that are looked at, at once and in a second. */
const requestsMost = 5
const requestsPerSecond = 1
/** Milliseconds for which answers to one request are waited for before it is made again: gossip may lose it. */
const askMs = 5_000
/** Milliseconds after which an instance that differed in version only is asked again, while there is time. */
const askAgainMs = 2_000
/** An instance that is not connected and attested no longer ago than that is waited for: others pass gossip on. Milliseconds. */
const lateMs = 60_000
/** Milliseconds for which a difference has to hold before this instance looks for the fault in itself: the other may find its own first. */
const patienceMs = 5_000
/** Milliseconds between two requests to others that are made because what they attest differs. */
const wonderMsMin = 10_000
/**
 * Milliseconds in which one sort of cause has things built anew once, so that a fault that comes back does not do so for ever; twice as long after
 * each time that nothing was wrong, so that a member that attests nonsense can cause some twenty in all the years of a process.
 */
const repairMsMin = 3_600_000
/** Milliseconds from one try to repair to the next: it may be put off where envelopes are damaged, or the disk is full. */
const putOffMs = 60_000
/** Repairs that are remembered. */
const repairsMax = 20

/** Something was wrong here, and was built anew. */
export interface Repair {
  readonly kind: Finding['kind'] | 'peers'
  readonly documents: readonly DocumentId[]
  readonly facts: RebuildFacts
}

/** What is to be said of one other instance. */
export interface Verdict {
  readonly instance: InstanceId
  /**
   * `same`: it shows the same in everything. `differs`: it shows documents otherwise at the same version. `behind`: it has other versions of
   * documents, so that nothing can be said of them. `unknown`: it did not answer.
   */
  readonly verdict: 'same' | 'differs' | 'behind' | 'unknown'
  /** When it attested last, milliseconds since the Unix epoch; null where it never did. */
  readonly at: number | null
  readonly differences: readonly Difference[]
  readonly otherVersions: readonly DocumentId[]
}

export interface Verification {
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  /** Documents here. */
  readonly documents: number
  /** Documents here that could not be digested, in time or for damage: what is said of the others is then not the last word. */
  readonly undigested: number
  /** What is wrong here. */
  readonly findings: readonly Finding[]
  readonly instances: readonly Verdict[]
}

export interface CoherenceOptions {
  readonly engine: Engine
  readonly reader: Reader
  readonly identity: Identity
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly publish: (message: Extract<GossipMessage, { type: 'attest' | 'attestation' }>) => void
  /** The instances that are connected now. */
  readonly connected: () => ReadonlySet<InstanceId>
}

/** A request of this instance that waits for answers. */
interface Asking {
  readonly nonce: string
  readonly answered: Set<InstanceId>
  wake: () => void
}

export class Coherence {
  readonly #options: CoherenceOptions
  readonly #auditor: Auditor
  readonly #board: AttestationBoard
  readonly #listeners = new Set<() => void>()
  /** Documents that changed since they were attested. */
  readonly #unattested = new Set<DocumentId>()
  /** Somebody has come who knows nothing of this instance. */
  #isToGreet = false
  #attestedTime = 0
  /** The newest request of each that waits for an answer. */
  readonly #requests = new Map<InstanceId, AttestRequest>()
  /** When the next may be answered, monotonic milliseconds. */
  #answersFrom = Number.NEGATIVE_INFINITY
  /** Of each member: what it may ask, and after which time what it asks is news. */
  readonly #askers = new Map<InstanceId, { readonly allowance: Allowance; newsAfter: number }>()
  #isAnswering = false
  #asking: Asking | null = null
  #verifying: Promise<Verification> | null = null
  /** By instance the roots, its and ours, of which it was asked already why they differ. */
  readonly #wondered = new Map<InstanceId, string>()
  #wonderedAt = Number.NEGATIVE_INFINITY
  /** By sort of cause when all was built anew for it last, monotonic milliseconds, and how often in a row nothing was wrong. */
  readonly #tries = new Map<Repair['kind'], { readonly at: number; readonly inVain: number }>()
  readonly #repairs: Repair[] = []
  #repairCount = 0
  #repairing: Promise<void> | null = null
  /** Monotonic milliseconds before which nothing is built anew. */
  #repairsFrom = Number.NEGATIVE_INFINITY
  #cancel: (() => void) | null = null

  constructor(options: CoherenceOptions) {
    const { clock, engine, identity, logger, reader } = options
    this.#options = options
    this.#auditor = new Auditor({
      engine,
      reader,
      clock,
      logger,
      damagedDigest: damagedDigestOf(identity.instance),
      found: (finding) => this.#found(finding),
      digested: (document) => {
        this.#unattested.add(document)
        this.#board.digested(document)
      },
    })
    this.#board = new AttestationBoard({
      identity,
      clock,
      members: () => engine.members,
      book: this.#auditor.book,
      isAwaited: (nonce) => this.#asking?.nonce === bytesToId(nonce),
      changed: () => this.#tell(),
      answered: (instance, nonce) => {
        if (this.#asking?.nonce !== bytesToId(nonce)) return
        this.#asking.answered.add(instance)
        this.#asking.wake()
      },
    })
  }

  /** Begins to attest, to compare and to go round what is stored. */
  start(): void {
    this.#auditor.start()
    this.#cancel ??= this.#options.clock.after(tickMs, () => this.#tick())
  }

  stop(): void {
    this.#auditor.stop()
    this.#cancel?.()
    this.#cancel = null
    this.#asking?.wake()
  }

  /** What is wrong here, as far as it was found. */
  get findings(): readonly Finding[] {
    return [...this.#auditor.findings.values()]
  }

  /** What was wrong here and was built anew, the last first. */
  get repairs(): readonly Repair[] {
    return this.#repairs
  }

  /** How often something was wrong here and was built anew, since this process started. */
  get repairCount(): number {
    return this.#repairCount
  }

  /** What a member attested, held against what is here. Undefined where it attested nothing that this process heard. */
  of(instance: InstanceId): MemberAttestation | undefined {
    return this.#board.of(instance)
  }

  /** Calls `listener` when something was found, or is gone. The returned function ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes what a member attested. Returns whether it was news. */
  receiveAttestation(attestation: Attestation): boolean {
    return this.#board.receive(attestation)
  }

  /** Takes a request for attestations. Returns whether it is a member's, so that it is to be passed on. */
  receiveRequest(request: AttestRequest): boolean {
    const { clock, engine, identity } = this.#options
    const { asked, instance, time } = request
    const member = engine.members.member(instance)
    if (member === undefined || instance === identity.instance) return false
    const asker = this.#askers.get(instance) ?? { allowance: new Allowance(clock, requestsPerSecond, requestsMost), newsAfter: 0 }
    this.#askers.set(instance, asker)
    if (time <= asker.newsAfter || !asker.allowance.isLeft || !isAttestRequestOf(request, member.key, identity.agent)) return false
    asker.allowance.spend(1)
    asker.newsAfter = newsAfter(time, clock.now())
    if (asked !== null && asked !== identity.instance) return true
    this.#requests.set(instance, request)
    void this.#answerAll()
    return true
  }

  /** A peer is ready: it is told what this instance shows as a whole. */
  greet(): void {
    this.#isToGreet = true
  }

  /**
   * Asks all for attestations, waits for those that can be expected to answer, and says of each whether it shows the same. While one has only
   * other versions it is asked again, until the time is over. One verification goes on at a time: whoever comes meanwhile gets the same answer.
   */
  verify(timeoutMs: number): Promise<Verification> {
    this.#verifying ??= this.#verify(timeoutMs).finally(() => (this.#verifying = null))
    return this.#verifying
  }

  /** Has all that is derived built anew, as a person asked. Throws `unavailable` where envelopes are damaged. */
  async rebuild(): Promise<RebuildFacts> {
    const facts = await this.#buildAnew('somebody asked for it')
    this.#options.logger.info({ milliseconds: facts.milliseconds }, 'the memory was built anew from its envelopes')
    return facts
  }

  #tick(): void {
    this.#attestChanges()
    this.#wonder()
    this.#considerRepair()
    this.#cancel = this.#options.clock.after(tickMs, () => this.#tick())
  }

  // Attesting

  #attestChanges(): void {
    if (!this.#auditor.isComplete || (this.#unattested.size === 0 && !this.#isToGreet)) return
    const { book } = this.#auditor
    const attested = [...this.#unattested].flatMap((document) => {
      const digest = book.get(document)
      return digest === undefined ? [] : [{ document, ...digest }]
    })
    this.#unattested.clear()
    this.#isToGreet = false
    this.#attest(attested, null, new Uint8Array())
    this.#board.rested()
  }

  /** Returns the number of messages. */
  #attest(documents: readonly AttestedDocument[], nonce: Uint8Array | null, buckets: Uint8Array): number {
    const { clock, identity, publish } = this.#options
    const { book } = this.#auditor
    const named = documents.slice(0, attestationPartsMax * attestedPerMessageMax)
    const parts = Math.max(1, Math.ceil(named.length / attestedPerMessageMax))
    const common = {
      instance: identity.instance,
      time: this.#nextTime(),
      nonce,
      parts,
      documents: book.size,
      root: book.root(),
      buckets,
      omitted: documents.length - named.length,
    }
    // Others have their turn between two: a full one takes tens of milliseconds to make.
    const publishFrom = (part: number): void => {
      const attested = named.slice(part * attestedPerMessageMax, (part + 1) * attestedPerMessageMax)
      publish({ type: 'attestation', attestation: signAttestation(identity.key, identity.agent, { ...common, part, attested }) })
      if (part + 1 < parts) clock.after(0, () => publishFrom(part + 1))
    }
    publishFrom(0)
    return parts
  }

  #nextTime(): number {
    this.#attestedTime = Math.max(this.#attestedTime + 1, Math.floor(this.#options.clock.now()))
    return this.#attestedTime
  }

  async #answerAll(): Promise<void> {
    if (this.#isAnswering) return
    this.#isAnswering = true
    const { clock, engine } = this.#options
    try {
      for (;;) {
        const wait = this.#answersFrom - clock.monotonic()
        if (wait > 0) await this.#pause(wait)
        await this.#auditor.hurry()
        const [request] = this.#requests.values()
        if (request === undefined || this.#cancel === null) return
        this.#requests.delete(request.instance)
        if (engine.members.member(request.instance) === undefined) continue
        const buckets = this.#auditor.book.bucketsUnlike(request.sums)
        const messages = this.#attest(this.#auditor.book.inBuckets(buckets), request.nonce, buckets)
        this.#answersFrom = clock.monotonic() + messages * answerMsMin
      }
    } finally {
      this.#isAnswering = false
    }
  }

  // Asking

  #request(asked: InstanceId | null): Uint8Array {
    const { identity, publish, random } = this.#options
    const nonce = random.bytes(16)
    const sums = this.#auditor.book.sums()
    const request = signAttestRequest(identity.key, identity.agent, {
      instance: identity.instance,
      time: this.#nextTime(),
      nonce,
      asked,
      sums,
    })
    publish({ type: 'attest', request })
    return nonce
  }

  /** Where all is at rest and a member attests something else as a whole, it is asked in what: once for each two roots. */
  #wonder(): void {
    const { clock, connected, engine, identity } = this.#options
    const now = clock.monotonic()
    if (!this.#auditor.isComplete || this.#auditor.undigested > 0 || this.#unattested.size > 0 || now - this.#wonderedAt < wonderMsMin)
      return
    const ours = bytesToId(this.#auditor.book.root())
    for (const instance of connected()) {
      const theirs = this.#board.rootOf(instance)
      if (theirs === undefined || theirs === ours || instance === identity.instance || engine.members.member(instance) === undefined)
        continue
      if (clock.now() - (this.#board.of(instance)?.at ?? 0) < patienceMs || this.#wondered.get(instance) === `${theirs}:${ours}`) continue
      this.#wondered.set(instance, `${theirs}:${ours}`)
      this.#wonderedAt = now
      this.#request(instance)
      return
    }
  }

  async #verify(timeoutMs: number): Promise<Verification> {
    const { clock } = this.#options
    const deadline = clock.monotonic() + timeoutMs
    for (;;) {
      await this.#until(deadline, this.#auditor.hurry())
      const answered = await this.#ask(deadline)
      // What came here while they answered may be what they answered with.
      await this.#until(deadline, this.#auditor.hurry())
      this.#board.rested()
      const verification = this.#verification(answered)
      const isSettled = verification.instances.every(({ instance, verdict }) => !this.#isExpected(instance) || isFinal(verdict))
      if (isSettled || clock.monotonic() + askAgainMs > deadline || this.#cancel === null) return verification
      await this.#pause(askAgainMs)
    }
  }

  /** Asks everyone, and waits for whoever can be expected to answer. Gives who did. */
  async #ask(deadline: number): Promise<ReadonlySet<InstanceId>> {
    const { clock } = this.#options
    const asking: Asking = { nonce: bytesToId(this.#request(null)), answered: new Set(), wake: () => {} }
    this.#asking = asking
    const all = new Promise<void>((resolve) => {
      asking.wake = () => {
        const missing = this.#others().some((instance) => this.#isExpected(instance) && !asking.answered.has(instance))
        if (!missing || this.#cancel === null) resolve()
      }
      asking.wake()
    })
    await this.#until(Math.min(deadline, clock.monotonic() + askMs), all)
    this.#asking = null
    return asking.answered
  }

  #isExpected(instance: InstanceId): boolean {
    const { clock, connected } = this.#options
    const heardAt = this.#board.of(instance)?.at ?? Number.NEGATIVE_INFINITY
    return connected().has(instance) || clock.now() - heardAt < lateMs
  }

  #others(): readonly InstanceId[] {
    const { engine, identity } = this.#options
    return engine.members.members.flatMap(({ instance }) => (instance === identity.instance ? [] : [instance]))
  }

  #verification(answered: ReadonlySet<InstanceId>): Verification {
    const { book, undigested } = this.#auditor
    return {
      at: Math.floor(this.#options.clock.now()),
      documents: book.size,
      undigested,
      findings: this.findings,
      instances: this.#others().map((instance) => {
        const known = this.#board.of(instance)
        const { at = null, differences = [], isEqual = false, otherVersions = [] } = known ?? {}
        const verdict = differences.length > 0 ? 'differs' : !answered.has(instance) ? 'unknown' : isEqual ? 'same' : 'behind'
        return { instance, verdict, at, differences, otherVersions }
      }),
    }
  }

  // Repairing

  #found({ detail, document, kind }: Finding): void {
    const place = this.#placeOf(document)
    this.#options.logger.warn({ document: place, kind }, `${place} is not as its envelopes say: ${detail}`)
    this.#tell()
    this.#considerRepair()
  }

  /** Has built anew what was found wrong here, or may be wrong here by what others attest. */
  #considerRepair(): void {
    if (this.#repairing !== null || this.#options.engine.isRebuilding) return
    for (const { detail, document, kind } of this.findings) {
      const cause = `${this.#placeOf(document)} was not as its envelopes say: ${detail}`
      if (this.#mayRepair(kind)) return this.#repair(kind, cause, new Map())
    }
    if (this.#mayRepair('peers')) this.#considerDifferences()
  }

  #mayRepair(kind: Repair['kind']): boolean {
    const now = this.#options.clock.monotonic()
    const { at, inVain } = this.#tries.get(kind) ?? { at: Number.NEGATIVE_INFINITY, inVain: 0 }
    return now >= this.#repairsFrom && now - at >= repairMsMin * 2 ** inVain
  }

  /** Where members attest another digest of the same version, and nobody agrees with this instance in everything, the fault may be here. */
  #considerDifferences(): void {
    const { clock } = this.#options
    const others = this.#others().flatMap((instance) => this.#board.of(instance) ?? [])
    if (others.some(({ isEqual }) => isEqual)) return
    const lasting = others.flatMap(({ differences }) =>
      differences.filter(
        // Where it is known who is wrong there is nothing to look for.
        ({ document, isAdmitted, since }) => !isAdmitted && !this.#auditor.findings.has(document) && clock.now() - since >= patienceMs,
      ),
    )
    const [first] = lasting
    if (first === undefined) return
    const before = new Map<DocumentId, DocumentDigest>()
    for (const { document } of lasting) {
      const digest = this.#auditor.book.get(document)
      if (digest !== undefined) before.set(document, digest)
    }
    this.#repair('peers', `${this.#placeOf(first.document)} is another on other instances at the same version`, before)
  }

  /** `before`: digests that may be wrong. What is another digest afterwards was wrong. */
  #repair(kind: Repair['kind'], cause: string, before: ReadonlyMap<DocumentId, DocumentDigest>): void {
    this.#repairing = this.#repairNow(kind, cause, before)
      .catch((error: unknown) => this.#options.logger.warn({ error: String(error) }, 'the memory was not built anew'))
      .finally(() => (this.#repairing = null))
  }

  async #repairNow(kind: Repair['kind'], cause: string, before: ReadonlyMap<DocumentId, DocumentDigest>): Promise<void> {
    const { clock, logger } = this.#options
    this.#repairsFrom = clock.monotonic() + putOffMs
    const facts = await this.#buildAnew(cause)
    // Another sort of cause need not wait.
    this.#repairsFrom = Number.NEGATIVE_INFINITY
    const at = clock.monotonic()
    const { inVain } = this.#tries.get(kind) ?? { inVain: 0 }
    this.#tries.set(kind, { at, inVain: 0 })
    const found = new Set(this.#auditor.findings.keys())
    await this.#auditor.hurry()
    const changed = [...before].flatMap(([document, { digest, versionKey }]) => {
      const now = this.#auditor.book.get(document)
      return now !== undefined && now.versionKey === versionKey && now.digest !== digest ? [document] : []
    })
    const documents = [...new Set([...changed, ...[...found].filter((document) => !this.#auditor.findings.has(document))])]
    if (documents.length === 0) {
      this.#tries.set(kind, { at, inVain: inVain + 1 })
      logger.warn({ milliseconds: facts.milliseconds }, 'what is here was built anew from its envelopes, and is what it was')
      return
    }
    this.#repairs.unshift({ kind, documents, facts })
    this.#repairs.splice(repairsMax)
    this.#repairCount += 1
    logger.warn({ documents: documents.map((document) => this.#placeOf(document)), milliseconds: facts.milliseconds }, 'repaired')
    this.#tell()
  }

  /** It takes all envelopes: were one damaged, nothing would be shown and nothing written until that is repaired, which may be never. */
  async #buildAnew(cause: string): Promise<RebuildFacts> {
    const { engine } = this.#options
    const damage = await engine.store.scrub(true)
    const count = damage.filter((each) => each.kind === 'envelope').length
    if (count > 0)
      throw new SelfsameError(
        'unavailable',
        `building the memory anew takes all stored envelopes, and ${count === 1 ? 'one is' : `${count} are`} damaged on this disk: it can be done once that is repaired, see 'selfsame status'`,
      )
    return engine.rebuild(cause)
  }

  #placeOf(document: DocumentId): string {
    const row = this.#options.engine.store.document(document)
    return row === undefined ? `document ${document}` : `${row.kind}/${row.name}`
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => void this.#options.clock.after(milliseconds, resolve))
  }

  /** Waits for `done`, but not beyond a point in monotonic time. */
  async #until(deadline: number, done: Promise<void>): Promise<void> {
    const { clock } = this.#options
    await new Promise<void>((resolve) => {
      const cancel = clock.after(Math.max(0, deadline - clock.monotonic()), resolve)
      void done.then(() => {
        cancel()
        resolve()
      })
    })
  }
}

/** Whether asking again would change nothing. */
function isFinal(verdict: Verdict['verdict']): boolean {
  return verdict === 'same' || verdict === 'differs'
}
