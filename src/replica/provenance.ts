/**
 * Provenance: which instance wrote something, when, in which envelope, and what proves it. Everything is read from
 * stored envelopes and checked anew; long answers are worked out in slices, so that others have their turn.
 */
import { SelfsameError, assert } from '../core/index.ts'
import type { Clock, DocumentId, EnvelopeHash, FeedId, InstanceId, PublicKey, Stamp } from '../core/index.ts'
import { checkDocumentName, documentIdOf } from '../document/index.ts'
import type { LiveKind, Part } from '../document/index.ts'
import { isSignedBy, mainSpace } from '../feed/index.ts'
import type { Envelope } from '../feed/index.ts'
import type { Engine } from './engine.ts'
import { placeKey, storedToEnvelope } from './ledger.ts'

/** Signatures checked, or stretches traced, before others have their turn: some 5 ms of work. */
const sliceSteps = 64

/** The envelope that brought something. */
export interface Origin {
  readonly author: InstanceId
  readonly stamp: Stamp
  readonly feed: FeedId
  readonly sequence: number
}

/** What proves the author of an envelope. */
export interface Proof {
  readonly hash: EnvelopeHash
  /** The key that its feed is signed with. */
  readonly key: PublicKey
  /** The envelope of the feed whose signature vouches for it: itself, or a later one of its chain. Null where none is stored. */
  readonly signedAt: number | null
  /**
   * Checked just now: the chain leads to that signature, the key made it, and by the records that the envelope names its
   * author might write with that key.
   */
  readonly isVerified: boolean
}

/** A part of a document, and the envelope that brought it. */
export interface BlamedPart extends Pick<Part, 'text' | 'key' | 'value'> {
  readonly origin: Origin
}

export class Provenance {
  readonly #engine: Engine
  readonly #clock: Clock

  constructor(engine: Engine, clock: Clock) {
    this.#engine = engine
    this.#clock = clock
  }

  /** What proves the authors of stored envelopes, in the order asked for. */
  async proofs(places: readonly Pick<Origin, 'feed' | 'sequence'>[]): Promise<readonly Proof[]> {
    const chains = new ChainReader(this.#engine, createPace(this.#clock))
    const proofs: Proof[] = []
    for (const { feed, sequence } of places) proofs.push(await chains.proof(feed, sequence))
    return proofs
  }

  /**
   * Who wrote what of a document as it is now, part by part: the stretches of a text, what stands under each key, the leaves of
   * json. Nothing for a document that nobody wrote. Throws `unavailable` while the document is being rebuilt.
   */
  async blame(kind: LiveKind, name: string): Promise<readonly BlamedPart[]> {
    checkDocumentName(kind, name)
    const document = documentIdOf(mainSpace, kind, name)
    const parts = await this.#engine.readDurably(
      () => this.#engine.materialiser.isDirty(document),
      () => this.#engine.materialiser.read(document, kind).parts(),
    )
    const pace = createPace(this.#clock)
    const tracer = new Tracer(this.#engine, document)
    const blamed: BlamedPart[] = []
    for (const { client, clock, ...part } of parts) {
      // A struct can hold what several envelopes brought, and an envelope can have brought several structs in a row.
      const length = part.text?.length ?? 1
      for (let from = 0; from < length;) {
        await pace()
        const { origin, end } = tracer.trace(client, clock + from)
        const to = Math.min(end - clock, length)
        const before = blamed.at(-1)
        if (part.text === undefined) blamed.push({ ...part, origin })
        else if (before?.origin === origin) blamed.splice(-1, 1, { text: `${before.text}${part.text.slice(from, to)}`, origin })
        else blamed.push({ text: part.text.slice(from, to), origin })
        from = to
      }
    }
    return blamed
  }
}

/** Called at every step of a long work: lets others have their turn from time to time. */
type Pace = () => Promise<void> | undefined

function createPace(clock: Clock): Pace {
  let steps = 0
  return () => {
    steps += 1
    if (steps % sliceSteps !== 0) return undefined
    return new Promise((resolve) => {
      clock.after(0, resolve)
    })
  }
}

/** Where the chain leads from an envelope. */
interface Vouching {
  readonly signedAt: number | null
  readonly isValid: boolean
}

/** Follows chains to the signatures that vouch for them; each envelope is looked at once for one answer. */
class ChainReader {
  readonly #engine: Engine
  readonly #pace: Pace
  readonly #vouchings = new Map<string, Vouching>()

  constructor(engine: Engine, pace: Pace) {
    this.#engine = engine
    this.#pace = pace
  }

  async proof(feed: FeedId, sequence: number): Promise<Proof> {
    const envelope = storedEnvelope(this.#engine, feed, sequence)
    const state = this.#engine.ledger.feed(feed)
    assert(envelope !== undefined && state !== undefined, 'an envelope to prove is not stored')
    const { signedAt, isValid } = await this.#vouching(envelope, state.key)
    const mayWrite = this.#engine.members.mayWrite(state.instance, state.key, envelope.header.records)
    return { hash: envelope.hash, key: state.key, signedAt, isVerified: isValid && mayWrite === 'yes' }
  }

  async #vouching(envelope: Envelope, key: PublicKey): Promise<Vouching> {
    const passed: string[] = []
    let at: Envelope | Vouching = envelope
    while ('header' in at) {
      await this.#pace()
      const place = placeKey(at.header.feed, at.header.sequence)
      passed.push(place)
      at = this.#vouchings.get(place) ?? this.#next(at, key)
    }
    for (const place of passed) this.#vouchings.set(place, at)
    return at
  }

  #next(envelope: Envelope, key: PublicKey): Envelope | Vouching {
    const { feed, sequence } = envelope.header
    if (envelope.signature !== null) return { signedAt: sequence, isValid: isSignedBy(envelope, key) }
    const next = storedEnvelope(this.#engine, feed, sequence + 1)
    return next?.header.previous === envelope.hash ? next : { signedAt: null, isValid: false }
  }
}

/** Traces the structs of one document to the envelopes that brought them; what it read for one serves the next. */
class Tracer {
  readonly #engine: Engine
  readonly #document: DocumentId
  readonly #clocks = new Map<string, number>()
  readonly #origins = new Map<string, Origin>()

  constructor(engine: Engine, document: DocumentId) {
    this.#engine = engine
    this.#document = document
  }

  /** The envelope that brought the struct at a clock, and the clock up to which it brought structs. */
  trace(client: number, clock: number): { readonly origin: Origin; readonly end: number } {
    const feed = this.#engine.ledger.feedOfClient(client)
    const state = feed === undefined ? undefined : this.#engine.ledger.feed(feed)
    assert(state !== undefined, 'a struct of an unknown feed')
    let low = 1
    let high = state.applied
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.#clockAt(state.feed, middle) > clock) high = middle
      else low = middle + 1
    }
    const end = this.#clockAt(state.feed, low)
    if (end <= clock) throw new SelfsameError('unavailable', 'the document is being rebuilt: try again shortly')
    return { origin: this.#originAt(state.feed, low, state.instance), end }
  }

  /** Up to which clock the structs of a feed reach with an envelope. */
  #clockAt(feed: FeedId, sequence: number): number {
    const key = placeKey(feed, sequence)
    const clock = this.#clocks.get(key) ?? this.#engine.store.clock(this.#document, feed, sequence)
    this.#clocks.set(key, clock)
    return clock
  }

  /** One object for each envelope. */
  #originAt(feed: FeedId, sequence: number, author: InstanceId): Origin {
    const key = placeKey(feed, sequence)
    const known = this.#origins.get(key)
    if (known !== undefined) return known
    const envelope = storedEnvelope(this.#engine, feed, sequence)
    assert(envelope !== undefined, 'an envelope that changed a document is not stored')
    const origin = { author, stamp: envelope.header.stamp, feed, sequence }
    this.#origins.set(key, origin)
    return origin
  }
}

function storedEnvelope(engine: Engine, feed: FeedId, sequence: number): Envelope | undefined {
  const [stored] = engine.store.envelopes(feed, sequence, sequence, 1)
  return stored === undefined ? undefined : storedToEnvelope(stored)
}
