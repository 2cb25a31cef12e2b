/**
 * The messages between two instances, on the control and bulk channels of a link and by gossip. Every message is one
 * deterministic CBOR array that begins with its type number. `docs/PROTOCOL.md` has them as tables. Decoders never throw;
 * a message of an unknown type is `unknown` and is skipped, so that a newer version can say more.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import {
  asListOf,
  asTuple,
  bytesToId,
  decode,
  encode,
  frameBytesMax,
  idBytes,
  idToBytes,
  isBytes,
  isText,
  isUint,
  ok,
  recordBytesMax,
  refuse,
  signatureBytes,
  verifySignature,
} from '../core/index.ts'
import type { AgentId, Encodable, FeedId, InstanceId, PublicKey, RecordHash, Result, SigningKey } from '../core/index.ts'
import { envelopeFromWire, envelopeToWire, frontierFromWire, frontierToWire } from '../feed/index.ts'
import type { Envelope, FrontierEntry } from '../feed/index.ts'
import { decodeRecord, recordHash } from '../membership/index.ts'
import type { MembershipRecord } from '../membership/index.ts'
import { attestationFromWire, attestationToWire, attestRequestFromWire, attestRequestToWire } from './attestation.ts'
import type { Attestation, AttestRequest } from './attestation.ts'

/** The newest version of these messages that this program speaks. */
export const protocolVersion = 1

/** A range of one feed that a peer asks for, both ends included. */
export interface FeedRange {
  readonly feed: FeedId
  readonly from: number
  readonly to: number
}

/** A signed statement "I am the process with this boot nonce", made on request with the asker's fresh nonce. */
export interface BootProof {
  readonly nonce: Uint8Array
  readonly boot: Uint8Array
  readonly signature: Uint8Array
}

/** What an instance says of its own addresses. The greatest `time` wins. */
export interface AddressCard {
  readonly instance: InstanceId
  readonly addresses: readonly string[]
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly signature: Uint8Array
}

/** What an instance says of itself right now; never stored. `state` is a y-protocols awareness update. */
export interface PresenceCard {
  readonly instance: InstanceId
  readonly state: Uint8Array
  readonly time: number
  readonly signature: Uint8Array
}

/** A ping, or the answer to one: what both sides hold, to be compared. */
interface Ping {
  readonly nonce: number
  /** Milliseconds since the Unix epoch, by the sender's clock. */
  readonly now: number
  /** Digests of the frontier and of the records. */
  readonly frontier: Uint8Array
  /** Null: a version before this was told. */
  readonly records: Uint8Array | null
}

export type ControlMessage =
  | {
      readonly type: 'hello'
      readonly version: number
      readonly agent: AgentId
      readonly instance: InstanceId
      readonly boot: Uint8Array
      readonly records: Uint8Array
      readonly program: string
    }
  | { readonly type: 'record-list'; readonly hashes: readonly RecordHash[] }
  | { readonly type: 'records'; readonly records: readonly Uint8Array[]; readonly last: boolean }
  | { readonly type: 'frontier'; readonly complete: boolean; readonly entries: readonly FrontierEntry[] }
  | { readonly type: 'want'; readonly request: number; readonly ranges: readonly FeedRange[]; readonly bytesMax: number }
  | ({ readonly type: 'ping' } & Ping)
  | ({ readonly type: 'pong' } & Ping)
  | { readonly type: 'probe'; readonly nonce: Uint8Array }
  | { readonly type: 'probe-answer'; readonly proof: BootProof }
  | { readonly type: 'twin'; readonly proofs: readonly [BootProof, BootProof] }
  | { readonly type: 'addresses'; readonly cards: readonly AddressCard[] }
  | { readonly type: 'unknown' }

export type WantMessage = Extract<ControlMessage, { readonly type: 'want' }>

export type GossipMessage =
  /** Of one feed, in its order and without gaps; one at least. */
  | { readonly type: 'envelopes'; readonly envelopes: readonly Envelope[] }
  | { readonly type: 'presence'; readonly card: PresenceCard }
  | { readonly type: 'attestation'; readonly attestation: Attestation }
  | { readonly type: 'attest'; readonly request: AttestRequest }
  | { readonly type: 'unknown' }

/** Envelopes in answer to a want. */
export interface Chunk {
  readonly request: number
  /** Whether this ends the answer. */
  readonly last: boolean
  readonly envelopes: readonly Envelope[]
}

/** The envelopes' bytes after which a chunk is closed, before compression. Larger compresses better and blocks longer: about 1 ms. */
export const chunkBytesTarget = 128 << 10
/** Record hashes in one list: beyond it a group needs another way to compare. */
const recordListMax = 100_000
/** Records in one message; more go in several. Each has up to three signatures to verify. */
const recordsPerMessageMax = 64
/** Ranges in one want, each of another feed: whoever answers holds a page of each in memory. */
export const wantRangesMax = 64
/** Addresses on one card. */
export const cardAddressesMax = 16
const cardsPerMessageMax = 1_000
const addressLengthMax = 256
const presenceBytesMax = 8 << 10
/** CBOR items of one message: a frontier of the most feeds has the most. Bounds what eight MiB of tiny items cost. */
const messageItemsMax = 1 << 18
/** Envelopes of one chunk and their bodies, together: some 10 us each to read. An honest chunk has half as many at the very most. */
const chunkPartsMax = 4_096
/** Those of the records that are not among the hashes that a peer listed. */
export function recordsLackedBy(records: readonly MembershipRecord[], listed: readonly RecordHash[]): readonly MembershipRecord[] {
  const known = new Set(listed)
  return records.filter((record) => !known.has(record.hash))
}

/** Reads records as received, but for those that `isKnown` has already: their signatures are not verified again. The reason of the first that is none. */
export function decodeRecords(encoded: readonly Uint8Array[], isKnown: (hash: RecordHash) => boolean): Result<readonly MembershipRecord[]> {
  const records: MembershipRecord[] = []
  for (const bytes of encoded) {
    if (isKnown(recordHash(bytes))) continue
    const record = decodeRecord(bytes)
    if (!record.ok) return record
    records.push(record.value)
  }
  return ok(records)
}

/** The messages that carry the records: at least one. `last`: nothing more is to come. */
export function* recordMessages(
  records: readonly MembershipRecord[],
  last: boolean,
): Generator<Extract<ControlMessage, { type: 'records' }>> {
  for (let from = 0; from === 0 || from < records.length; from += recordsPerMessageMax) {
    const part = records.slice(from, from + recordsPerMessageMax)
    yield { type: 'records', records: part.map((record) => record.bytes), last: last && from + recordsPerMessageMax >= records.length }
  }
}

/** The memory that unpacking may ask for is a power of two: that of `frameBytesMax`. */
const windowLogMax = 23

const controlTypes = {
  'hello': 1,
  'record-list': 2,
  'records': 3,
  'frontier': 4,
  'want': 5,
  'ping': 6,
  'pong': 7,
  'probe': 8,
  'probe-answer': 9,
  'twin': 10,
  'addresses': 11,
} as const

export function encodeControl(message: Exclude<ControlMessage, { type: 'unknown' }>): Uint8Array {
  const type = controlTypes[message.type]
  switch (message.type) {
    case 'hello':
      return encode([
        type,
        message.version,
        idToBytes(message.agent),
        idToBytes(message.instance),
        message.boot,
        message.records,
        message.program,
      ])
    case 'record-list':
      return encode([type, message.hashes.map(idToBytes)])
    case 'records':
      return encode([type, message.records, message.last])
    case 'frontier':
      return encode([type, message.complete, frontierToWire(message.entries)])
    case 'want':
      return encode([type, message.request, message.ranges.map((range) => [idToBytes(range.feed), range.from, range.to]), message.bytesMax])
    case 'ping':
    case 'pong':
      return encode([type, message.nonce, message.now, message.frontier, ...(message.records === null ? [] : [message.records])])
    case 'probe':
      return encode([type, message.nonce])
    case 'probe-answer':
      return encode([type, proofToWire(message.proof)])
    case 'twin':
      return encode([type, message.proofs.map(proofToWire)])
    case 'addresses':
      return encode([type, message.cards.map(cardToWire)])
  }
}

const isHash = (value: unknown): value is Uint8Array => isBytes(value, idBytes.hash)
const isNonce = (value: unknown): value is Uint8Array => isBytes(value, 16)

export function decodeControl(bytes: Uint8Array): Result<ControlMessage> {
  const decoded = decode(bytes, messageItemsMax)
  if (!decoded.ok) return decoded
  const value = decoded.value
  if (!Array.isArray(value) || !isUint(value[0])) return refuse('a message is an array that begins with its type')
  const fields = value as readonly unknown[]
  switch (value[0]) {
    case controlTypes.hello: {
      const [, version, agent, instance, boot, records, program] = fields
      if (!isUint(version) || !isBytes(agent, idBytes.agent) || !isBytes(instance, idBytes.instance)) return refuse('bad hello')
      if (!isNonce(boot) || !isHash(records) || !isText(program, 64)) return refuse('bad hello')
      return ok({ type: 'hello', version, agent: bytesToId(agent), instance: bytesToId(instance), boot, records, program })
    }
    case controlTypes['record-list']: {
      const hashes = asListOf(fields[1], recordListMax, isHash)
      return hashes === undefined
        ? refuse('bad record list')
        : ok({ type: 'record-list', hashes: hashes.map((hash) => bytesToId<RecordHash>(hash)) })
    }
    case controlTypes.records: {
      const records = asListOf(
        fields[1],
        recordsPerMessageMax,
        (item): item is Uint8Array => isBytes(item) && item.length <= recordBytesMax,
      )
      if (records === undefined || typeof fields[2] !== 'boolean') return refuse('bad records')
      return ok({ type: 'records', records, last: fields[2] })
    }
    case controlTypes.frontier: {
      const entries = frontierFromWire(fields[2])
      if (!entries.ok) return entries
      return typeof fields[1] === 'boolean' ? ok({ type: 'frontier', complete: fields[1], entries: entries.value }) : refuse('bad frontier')
    }
    case controlTypes.want: {
      const ranges = decodeRanges(fields[2])
      if (!isUint(fields[1]) || ranges === undefined || !isUint(fields[3])) return refuse('bad want')
      return ok({ type: 'want', request: fields[1], ranges, bytesMax: fields[3] })
    }
    case controlTypes.ping:
    case controlTypes.pong: {
      const [, nonce, now, frontier, records = null] = fields
      if (!isUint(nonce) || !isUint(now) || !isHash(frontier) || (records !== null && !isHash(records))) return refuse('bad ping')
      return ok({ type: fields[0] === controlTypes.ping ? 'ping' : 'pong', nonce, now, frontier, records })
    }
    case controlTypes.probe:
      return isNonce(fields[1]) ? ok({ type: 'probe', nonce: fields[1] }) : refuse('bad probe')
    case controlTypes['probe-answer']: {
      const proof = proofFromWire(fields[1])
      return proof === undefined ? refuse('bad probe answer') : ok({ type: 'probe-answer', proof })
    }
    case controlTypes.twin: {
      const pair = asTuple(fields[1], 2)
      const first = proofFromWire(pair?.[0])
      const second = proofFromWire(pair?.[1])
      return first === undefined || second === undefined ? refuse('bad twin notice') : ok({ type: 'twin', proofs: [first, second] })
    }
    case controlTypes.addresses: {
      if (!Array.isArray(fields[1]) || fields[1].length > cardsPerMessageMax) return refuse('bad addresses')
      const cards = (fields[1] as readonly unknown[]).map(cardFromWire)
      return cards.every((card) => card !== undefined) ? ok({ type: 'addresses', cards }) : refuse('bad address card')
    }
    default:
      return ok({ type: 'unknown' })
  }
}

function decodeRanges(value: unknown): readonly FeedRange[] | undefined {
  if (!Array.isArray(value) || value.length > wantRangesMax) return undefined
  const ranges: FeedRange[] = []
  const feeds = new Set<FeedId>()
  for (const item of value as readonly unknown[]) {
    const fields = asTuple(item, 3)
    if (fields === undefined || !isBytes(fields[0], idBytes.feed)) return undefined
    if (!isUint(fields[1], 0xffff_ffff) || !isUint(fields[2], 0xffff_ffff) || fields[1] < 1 || fields[2] < fields[1]) return undefined
    const feed = bytesToId<FeedId>(fields[0])
    if (feeds.has(feed)) return undefined
    feeds.add(feed)
    ranges.push({ feed, from: fields[1], to: fields[2] })
  }
  return ranges
}

function proofToWire(proof: BootProof): Encodable {
  return [proof.nonce, proof.boot, proof.signature]
}

function proofFromWire(value: unknown): BootProof | undefined {
  const fields = asTuple(value, 3)
  if (fields === undefined || !isNonce(fields[0]) || !isNonce(fields[1]) || !isBytes(fields[2], signatureBytes)) return undefined
  return { nonce: fields[0], boot: fields[1], signature: fields[2] }
}

const bootDomain = 'selfsame/boot/1'

/** Answers a probe: this process, holding this key, is alive now. */
export function signBootProof(key: SigningKey, agent: AgentId, nonce: Uint8Array, boot: Uint8Array): BootProof {
  return { nonce, boot, signature: key.sign(bootDomain, encode([idToBytes(agent), nonce, boot])) }
}

export function isBootProofOf(proof: BootProof, key: PublicKey, agent: AgentId): boolean {
  return verifySignature(key, bootDomain, encode([idToBytes(agent), proof.nonce, proof.boot]), proof.signature)
}

const addressDomain = 'selfsame/addresses/1'

function unsignedCard(agent: AgentId, card: Omit<AddressCard, 'signature'>): Uint8Array {
  return encode([idToBytes(agent), idToBytes(card.instance), card.addresses, card.time])
}

export function signAddressCard(key: SigningKey, agent: AgentId, card: Omit<AddressCard, 'signature'>): AddressCard {
  return { ...card, signature: key.sign(addressDomain, unsignedCard(agent, card)) }
}

export function isAddressCardOf(card: AddressCard, key: PublicKey, agent: AgentId): boolean {
  return verifySignature(key, addressDomain, unsignedCard(agent, card), card.signature)
}

export function cardToWire(card: AddressCard): Encodable {
  return [idToBytes(card.instance), card.addresses, card.time, card.signature]
}

export function cardFromWire(value: unknown): AddressCard | undefined {
  const fields = asTuple(value, 4)
  if (fields === undefined || !isBytes(fields[0], idBytes.instance) || !isUint(fields[2]) || !isBytes(fields[3], signatureBytes))
    return undefined
  const addresses = asListOf(fields[1], cardAddressesMax, (item): item is string => isText(item, addressLengthMax))
  return addresses === undefined ? undefined : { instance: bytesToId(fields[0]), addresses, time: fields[2], signature: fields[3] }
}

const presenceDomain = 'selfsame/presence/1'

function unsignedPresence(agent: AgentId, card: Omit<PresenceCard, 'signature'>): Uint8Array {
  return encode([idToBytes(agent), idToBytes(card.instance), card.state, card.time])
}

export function signPresence(key: SigningKey, agent: AgentId, card: Omit<PresenceCard, 'signature'>): PresenceCard {
  return { ...card, signature: key.sign(presenceDomain, unsignedPresence(agent, card)) }
}

export function isPresenceOf(card: PresenceCard, key: PublicKey, agent: AgentId): boolean {
  return verifySignature(key, presenceDomain, unsignedPresence(agent, card), card.signature)
}

/** Envelopes in one gossip message. */
export const gossipedEnvelopesMax = 32

const gossipTypes = { envelopes: 1, presence: 2, attestation: 3, attest: 4 } as const

export function encodeGossip(message: Exclude<GossipMessage, { type: 'unknown' }>): Uint8Array {
  const type = gossipTypes[message.type]
  switch (message.type) {
    case 'envelopes': {
      const [first, ...more] = message.envelopes.map((envelope) => envelopeToWire(envelope)) as [Encodable, ...Encodable[]]
      return encode(more.length === 0 ? [type, first] : [type, first, more])
    }
    case 'presence':
      return encode([type, idToBytes(message.card.instance), message.card.state, message.card.time, message.card.signature])
    case 'attestation':
      return encode([type, ...attestationToWire(message.attestation)])
    case 'attest':
      return encode([type, ...attestRequestToWire(message.request)])
  }
}

export function decodeGossip(bytes: Uint8Array): Result<GossipMessage> {
  const decoded = decode(bytes, messageItemsMax)
  if (!decoded.ok) return decoded
  const value = decoded.value
  if (!Array.isArray(value) || !isUint(value[0])) return refuse('a message is an array that begins with its type')
  const fields = value as readonly unknown[]
  switch (value[0]) {
    case gossipTypes.envelopes:
      return runFromWire(fields[1], fields[2] ?? [])
    case gossipTypes.presence: {
      const [, instance, state, time, signature] = fields
      if (!isBytes(instance, idBytes.instance) || !isBytes(state) || state.length > presenceBytesMax) return refuse('bad presence')
      if (!isUint(time) || !isBytes(signature, signatureBytes)) return refuse('bad presence')
      return ok({ type: 'presence', card: { instance: bytesToId(instance), state, time, signature } })
    }
    case gossipTypes.attestation: {
      const attestation = attestationFromWire(fields.slice(1))
      return attestation === undefined ? refuse('bad attestation') : ok({ type: 'attestation', attestation })
    }
    case gossipTypes.attest: {
      const request = attestRequestFromWire(fields.slice(1))
      return request === undefined ? refuse('bad request for attestations') : ok({ type: 'attest', request })
    }
    default:
      return ok({ type: 'unknown' })
  }
}

function runFromWire(first: unknown, more: unknown): Result<GossipMessage> {
  if (!Array.isArray(more) || more.length >= gossipedEnvelopesMax) return refuse(`envelopes come 1 to ${gossipedEnvelopesMax} at a time`)
  const envelopes: Envelope[] = []
  for (const item of [first, ...(more as readonly unknown[])]) {
    const envelope = envelopeFromWire(item)
    if (!envelope.ok) return envelope
    const { feed, sequence } = envelope.value.header
    const last = envelopes.at(-1)?.header
    if (last !== undefined && (feed !== last.feed || sequence !== last.sequence + 1))
      return refuse('envelopes of one message follow each other')
    envelopes.push(envelope.value)
  }
  return ok({ type: 'envelopes', envelopes })
}

const chunkType = 1

/** Encodes a chunk: the envelopes' array is compressed as one zstd frame, so that alike envelopes cost little. */
export function encodeChunk(request: number, last: boolean, envelopes: readonly Encodable[]): Uint8Array {
  return encode([chunkType, request, last, zstdCompressSync(encode(envelopes))])
}

/** Reads a chunk; a frame that would unpack to more than `frameBytesMax` is refused before it does. */
export function decodeChunk(bytes: Uint8Array): Result<Chunk> {
  const decoded = decode(bytes, messageItemsMax)
  if (!decoded.ok) return decoded
  const [type, request, last, packed] = Array.isArray(decoded.value) ? (decoded.value as readonly unknown[]) : []
  if (type !== chunkType || !isUint(request) || typeof last !== 'boolean' || !isBytes(packed)) return refuse('bad chunk')
  let unpacked: Uint8Array
  try {
    unpacked = zstdDecompressSync(packed, { maxOutputLength: frameBytesMax, params: { [constants.ZSTD_d_windowLogMax]: windowLogMax } })
  } catch {
    return refuse('a chunk does not unpack within its limit')
  }
  const list = decode(unpacked, messageItemsMax)
  if (!list.ok) return list
  if (!Array.isArray(list.value)) return refuse('bad chunk')
  const envelopes: Envelope[] = []
  let parts = 0
  for (const item of list.value as readonly unknown[]) {
    const envelope = envelopeFromWire(item)
    if (!envelope.ok) return envelope
    parts += 1 + envelope.value.bodies.length
    if (parts > chunkPartsMax) return refuse('too many envelopes in one chunk')
    envelopes.push(envelope.value)
  }
  return ok({ request, last, envelopes })
}
