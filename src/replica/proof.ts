/** Which of the envelopes that came together are proven to be their authors': the check before anything is taken in. */
import type { AgentId, FeedId, PublicKey } from '../core/index.ts'
import { envelopeSize, isSignedBy } from '../feed/index.ts'
import type { Envelope } from '../feed/index.ts'
import type { Engine } from './engine.ts'

/**
 * Bytes of envelopes that one signature may vouch for. A sender leaves out signatures, and a receiver leaves them unverified,
 * only within this bound, so runs do not grow from hop to hop. What an author itself left unsigned may be as long as `unsignedBytesMax`.
 */
export const joinedRunBytes = 64 << 10
/** Nobody takes a longer run than this before its signature, so nobody has to pass one on in one piece. */
const unsignedBytesMax = 1 << 20
/** Signatures that do not hold in what came together: whoever sends more is not looked at any further. */
const forgeriesMax = 8

/** The key that must have signed a feed; undefined where its author is not known as a member. */
export function authorKeyOf({ header }: Envelope, engine: Engine, agent: AgentId): PublicKey | undefined {
  if (header.agent !== agent) return undefined
  const known = engine.ledger.feed(header.feed)
  if (known !== undefined) return known.key
  if (header.opening === null) return engine.intake.openingKey(header.feed)
  return engine.members.isKeyOf(header.opening.instance, header.opening.key) ? header.opening.key : undefined
}

/**
 * The envelopes, in their order, of which each feed's run is linked by hash and ends in a signature of the feed's key: one
 * verification for every `joinedRunBytes` of it. `keyOf` gives that key, undefined where the author is not known as a member.
 * A signature that was not verified is taken off, so that none is ever passed on unchecked.
 */
export function provenEnvelopes(envelopes: readonly Envelope[], keyOf: (envelope: Envelope) => PublicKey | undefined): readonly Envelope[] {
  const runs = new Map<FeedId, Envelope[]>()
  for (const envelope of envelopes) {
    const run = runs.get(envelope.header.feed)
    if (run === undefined) runs.set(envelope.header.feed, [envelope])
    else run.push(envelope)
  }
  const proven = new Map<Envelope, Envelope>()
  let forgeriesLeft = forgeriesMax
  for (const run of runs.values()) {
    const key = keyOf(run[0] as Envelope)
    if (key === undefined) continue
    for (const piece of takenTogether(run)) forgeriesLeft = proveRun(piece, key, proven, forgeriesLeft)
  }
  return envelopes.map((envelope) => proven.get(envelope)).filter((envelope) => envelope !== undefined)
}

/**
 * The run up to the first envelope whose stamp is not after the one before it, and that envelope by itself. It will not be stored, so it
 * cannot vouch for what is: what is stored and passed on has to end in a signature.
 */
function takenTogether(run: readonly Envelope[]): readonly (readonly Envelope[])[] {
  const stale = run.findIndex(({ header }, index) => index > 0 && header.stamp <= (run[index - 1] as Envelope).header.stamp)
  return stale < 0 ? [run] : [run.slice(0, stale), run.slice(stale, stale + 1)]
}

/** From the last valid signature back, as far as the chain holds. Returns how many more signatures may turn out not to hold. */
function proveRun(run: readonly Envelope[], key: PublicKey, proven: Map<Envelope, Envelope>, forgeriesMax: number): number {
  let index = run.length - 1
  let forgeriesLeft = forgeriesMax
  while (index >= 0 && !isSignedBy(run[index] as Envelope, key)) {
    if ((run[index] as Envelope).signature !== null) forgeriesLeft -= 1
    if (forgeriesLeft < 0) return 0
    index -= 1
  }
  /** What the signature verified last vouches for so far. */
  let vouchedBytes = 0
  for (let next: Envelope | undefined; index >= 0; index -= 1) {
    const envelope = run[index] as Envelope
    if (next !== undefined && next.header.previous !== envelope.hash) return forgeriesLeft
    const bytes = pieceBytes(run, index)
    const isKept = next === undefined || (bytes > 0 && vouchedBytes + bytes > joinedRunBytes && isSignedBy(envelope, key))
    vouchedBytes = (isKept ? 0 : vouchedBytes) + envelopeSize(envelope)
    if (vouchedBytes > unsignedBytesMax && !isKept) return forgeriesLeft
    proven.set(envelope, isKept ? envelope : { ...envelope, signature: null })
    next = envelope
  }
  return forgeriesLeft
}

/** Bytes of the signed envelope at `index` and those without a signature before it; 0 where it has none itself. */
function pieceBytes(run: readonly Envelope[], index: number): number {
  if (run[index]?.signature === null) return 0
  let bytes = envelopeSize(run[index] as Envelope)
  for (let before = index - 1; before >= 0 && run[before]?.signature === null; before -= 1) bytes += envelopeSize(run[before] as Envelope)
  return bytes
}
