/**
 * Attestations: what an instance says that it shows, as digests of documents at their version keys, and the request to say so. Both are signed,
 * gossiped, and never stored. `docs/PROTOCOL.md` has them byte for byte.
 */
import {
  asListOf,
  asTuple,
  bytesToId,
  encode,
  idBytes,
  idToBytes,
  isBytes,
  isText,
  isUint,
  signatureBytes,
  verifySignature,
} from '../core/index.ts'
import type { AgentId, DocumentId, Encodable, InstanceId, PublicKey, SigningKey, VersionKey } from '../core/index.ts'

/** Documents are told apart by the first byte of their ids, so that two instances find what differs without naming all. */
export const bucketsMax = 256
/** Bytes of the sum of one bucket. */
export const sumBytes = 16
/** Documents of one message: some 140 bytes each, so that all fit into what gossip carries. */
export const attestedPerMessageMax = 1_500
/** Messages of one attestation: more documents are counted and not named. */
export const attestationPartsMax = 16
/** Characters of a digest. */
const digestLengthMax = 80

/** A document as an instance shows it. */
export interface AttestedDocument {
  readonly document: DocumentId
  readonly versionKey: VersionKey
  readonly digest: string
}

/** One message of an attestation; those of one attestation differ in `part` and `attested`. */
export interface Attestation {
  readonly instance: InstanceId
  /** Milliseconds since the Unix epoch. Of two that answer no request the later counts, see `newsAfter`. */
  readonly time: number
  /** Of the request that it answers; null where it was not asked for. */
  readonly nonce: Uint8Array | null
  /** From 0, of `parts`. */
  readonly part: number
  readonly parts: number
  /** Documents that the instance has. */
  readonly documents: number
  /** Over all of them: equal roots, equal digests. */
  readonly root: Uint8Array
  /** The buckets that are told of whole: those in which the asker has something else. */
  readonly buckets: Uint8Array
  /** Documents that should be named besides, and are too many. */
  readonly omitted: number
  readonly attested: readonly AttestedDocument[]
  readonly signature: Uint8Array
}

/** Asks for attestations. */
export interface AttestRequest {
  /** Who asks. */
  readonly instance: InstanceId
  readonly time: number
  readonly nonce: Uint8Array
  /** Who is asked; null: everyone. */
  readonly asked: InstanceId | null
  /** The sums of the asker's buckets, one after the other. */
  readonly sums: Uint8Array
  readonly signature: Uint8Array
}

/** What an instance attests instead of the digest of a document that it shows otherwise than its envelopes say. It equals no digest. */
export function damagedDigestOf(instance: InstanceId): string {
  return `damaged:${instance}`
}

/**
 * After which time another message of the same author is news, given the time that it gave this one. A clock that was far ahead and was set right
 * would else have all of its messages passed over until that time comes.
 */
export function newsAfter(time: number, now: number): number {
  return Math.min(time, Math.floor(now) + aheadMsMax)
}

/** Milliseconds by which clocks may differ without being wrong. */
const aheadMsMax = 60_000
const attestationDomain = 'selfsame/attestation/1'
const requestDomain = 'selfsame/attest/1'
const nonceBytes = 16

type Unsigned<Message> = Omit<Message, 'signature'>

function attestationFields(attestation: Unsigned<Attestation>): readonly Encodable[] {
  const { attested, buckets, documents, instance, nonce, omitted, part, parts, root, time } = attestation
  const items = attested.map(({ digest, document, versionKey }) => [idToBytes(document), idToBytes(versionKey), digest])
  return [idToBytes(instance), time, nonce, part, parts, documents, root, buckets, omitted, items]
}

function requestFields({ asked, instance, nonce, sums, time }: Unsigned<AttestRequest>): readonly Encodable[] {
  return [idToBytes(instance), time, nonce, asked === null ? null : idToBytes(asked), sums]
}

export function signAttestation(key: SigningKey, agent: AgentId, attestation: Unsigned<Attestation>): Attestation {
  return { ...attestation, signature: key.sign(attestationDomain, encode([idToBytes(agent), ...attestationFields(attestation)])) }
}

export function isAttestationOf(attestation: Attestation, key: PublicKey, agent: AgentId): boolean {
  return verifySignature(key, attestationDomain, encode([idToBytes(agent), ...attestationFields(attestation)]), attestation.signature)
}

export function signAttestRequest(key: SigningKey, agent: AgentId, request: Unsigned<AttestRequest>): AttestRequest {
  return { ...request, signature: key.sign(requestDomain, encode([idToBytes(agent), ...requestFields(request)])) }
}

export function isAttestRequestOf(request: AttestRequest, key: PublicKey, agent: AgentId): boolean {
  return verifySignature(key, requestDomain, encode([idToBytes(agent), ...requestFields(request)]), request.signature)
}

/** The fields of a message, the type before them left out. */
export function attestationToWire(attestation: Attestation): readonly Encodable[] {
  return [...attestationFields(attestation), attestation.signature]
}

export function attestRequestToWire(request: AttestRequest): readonly Encodable[] {
  return [...requestFields(request), request.signature]
}

const isNonce = (value: unknown): value is Uint8Array => isBytes(value, nonceBytes)

/** Undefined where the fields are no attestation. */
export function attestationFromWire(fields: readonly unknown[]): Attestation | undefined {
  const [instance, time, nonce, part, parts, documents, root, buckets, omitted, items, signature] = fields
  if (!isBytes(instance, idBytes.instance) || !isUint(time) || !(nonce === null || isNonce(nonce))) return undefined
  if (!isUint(parts, attestationPartsMax) || !isUint(part) || part >= parts || !isUint(documents)) return undefined
  if (!isBytes(root, idBytes.hash) || !isBytes(buckets) || !areBuckets(buckets) || !isUint(omitted)) return undefined
  const attested = asListOf(items, attestedPerMessageMax, (_item): _item is unknown => true)?.map(attestedFromWire)
  if (attested === undefined || !attested.every((item) => item !== undefined) || !isBytes(signature, signatureBytes)) return undefined
  return { instance: bytesToId(instance), time, nonce, part, parts, documents, root, buckets, omitted, attested, signature }
}

/** Undefined where the fields are no such request. */
export function attestRequestFromWire(fields: readonly unknown[]): AttestRequest | undefined {
  const [instance, time, nonce, asked, sums, signature] = fields
  if (!isBytes(instance, idBytes.instance) || !isUint(time) || !isNonce(nonce)) return undefined
  if (!(asked === null || isBytes(asked, idBytes.instance)) || !isBytes(sums, bucketsMax * sumBytes)) return undefined
  if (!isBytes(signature, signatureBytes)) return undefined
  return { instance: bytesToId(instance), time, nonce, asked: asked === null ? null : bytesToId(asked), sums, signature }
}

function attestedFromWire(value: unknown): AttestedDocument | undefined {
  const fields = asTuple(value, 3)
  if (fields === undefined || !isBytes(fields[0], idBytes.document) || !isBytes(fields[1], idBytes.hash)) return undefined
  if (!isText(fields[2], digestLengthMax)) return undefined
  return { document: bytesToId(fields[0]), versionKey: bytesToId(fields[1]), digest: fields[2] }
}

/** Numbers of buckets, ascending. */
function areBuckets(bytes: Uint8Array): boolean {
  return bytes.every((bucket, index) => index === 0 || bucket > (bytes[index - 1] as number))
}
