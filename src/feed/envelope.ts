/**
 * The envelope: a header, its signature, and its bodies. An envelope is authentic if it, or any later one of its
 * chain, carries a valid signature of the feed's key, so a run of a thousand needs one verification.
 */
import {
  asTuple,
  bodyBytesMax,
  envelopeBodiesMax,
  envelopeBytesMax,
  hashOf,
  isBytes,
  ok,
  refuse,
  signatureBytes,
  verifySignature,
} from '../core/index.ts'
import type { Encodable, EnvelopeHash, PublicKey, Result, SigningKey } from '../core/index.ts'
import { decodeHeader, encodeHeader, headerHash } from './header.ts'
import type { BodyReference, Header } from './header.ts'

const signatureDomain = 'selfsame/envelope/1'
export const saltBytes = 16

/** The detachable part of an envelope. */
export interface Body {
  /** 16 random bytes: without them the hash in the header tells nothing about a redacted body. */
  readonly salt: Uint8Array
  readonly bytes: Uint8Array
}

/** An envelope whose header was decoded from `headerBytes`; those bytes, never a re-encoding, are what is hashed and verified. */
export interface Envelope {
  readonly header: Header
  readonly headerBytes: Uint8Array
  readonly hash: EnvelopeHash
  /** Null where a later envelope of the same chain vouches for this one. */
  readonly signature: Uint8Array | null
  /** As many as the header names, in its order. */
  readonly bodies: readonly Body[]
}

/** The salted hash by which a header names a body: 32 bytes. */
export function bodyHash(body: Body): Uint8Array {
  return hashOf('selfsame/body/1', body.salt, body.bytes)
}

/** Makes and signs an envelope. The bodies' references in `header` must already be those of `bodies`. */
export function sealEnvelope(header: Header, bodies: readonly Body[], key: SigningKey): Envelope {
  const headerBytes = encodeHeader(header)
  return { header, headerBytes, hash: headerHash(headerBytes), signature: key.sign(signatureDomain, headerBytes), bodies }
}

/** Whether the envelope's own signature is valid for `key`. False where it has none. */
export function isSignedBy(envelope: Envelope, key: PublicKey): boolean {
  return envelope.signature !== null && verifySignature(key, signatureDomain, envelope.headerBytes, envelope.signature)
}

/** Bytes that the envelope takes, headers and bodies, without framing. */
export function envelopeSize(envelope: Envelope): number {
  return envelope.bodies.reduce((sum, body) => sum + body.bytes.length + saltBytes, envelope.headerBytes.length + signatureBytes)
}

/** The envelope as a value to encode in a message. */
export function envelopeToWire(envelope: Pick<Envelope, 'headerBytes' | 'signature' | 'bodies'>, withSignature: boolean = true): Encodable {
  return [envelope.headerBytes, withSignature ? envelope.signature : null, envelope.bodies.map((body) => [body.salt, body.bytes])]
}

/** Reads an envelope from a decoded message: shape, limits, and every body against its hash; not its signature. */
export function envelopeFromWire(value: unknown): Result<Envelope> {
  const fields = asTuple(value, 3)
  if (fields === undefined) return refuse('an envelope has 3 fields')
  const [headerBytes, signature, bodyList] = fields
  if (!isBytes(headerBytes)) return refuse('bad header bytes')
  if (signature !== null && !isBytes(signature, signatureBytes)) return refuse('bad signature')
  if (!Array.isArray(bodyList) || bodyList.length > envelopeBodiesMax) return refuse('bad bodies')
  const header = decodeHeader(headerBytes)
  if (!header.ok) return header
  const bodies: Body[] = []
  for (const item of bodyList as readonly unknown[]) {
    const body = asTuple(item, 2)
    if (body === undefined || !isBytes(body[0], saltBytes) || !isBytes(body[1]) || body[1].length > bodyBytesMax) return refuse('bad body')
    bodies.push({ salt: body[0], bytes: body[1] })
  }
  return assembleEnvelope(header.value, headerBytes, signature, bodies)
}

/** Joins the parts of an envelope that was sent, checking every body against its header. */
function assembleEnvelope(
  header: Header,
  headerBytes: Uint8Array,
  signature: Uint8Array | null,
  bodies: readonly Body[],
): Result<Envelope> {
  if (bodies.length !== header.bodies.length) return refuse('the header names another number of bodies')
  for (const [index, body] of bodies.entries()) {
    const reference = header.bodies[index] as BodyReference
    if (reference.length !== body.bytes.length || Buffer.compare(reference.hash, bodyHash(body)) !== 0)
      return refuse('a body does not match its hash')
  }
  const envelope = { header, headerBytes, hash: headerHash(headerBytes), signature, bodies }
  if (envelopeSize(envelope) > envelopeBytesMax) return refuse('envelope too large')
  return ok(envelope)
}

/** The reference that a header gives to `body`. */
export function referenceTo(body: Body, rest: Omit<BodyReference, 'hash' | 'length'>): BodyReference {
  return { ...rest, hash: bodyHash(body), length: body.bytes.length }
}
