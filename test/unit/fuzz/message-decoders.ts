/** The decoders of what comes in CBOR from peers: the codec itself, feeds, the messages on links and by gossip. */
import { zstdCompressSync } from 'node:zlib'
import { bytesToId, decode, encode, frameBytesMax, gossipBytesMax, signingKeyOf } from '../../../src/core/index.ts'
import type { Encodable, Result, SigningKey, Stamp } from '../../../src/core/index.ts'
import { isDocumentKind, isDocumentName, textVersionOf } from '../../../src/document/index.ts'
import {
  bodyTypeUpdate,
  clientIdOf,
  decodeHeader,
  decodeUpdateBody,
  encodeHeader,
  encodeUpdateBody,
  envelopeFromWire,
  envelopeToWire,
  feedIdOf,
  formatVersion,
  frontierDigest,
  frontierFromWire,
  frontierToWire,
  isSignedBy,
  mainSpace,
  operationIdOf,
  referenceTo,
  rulesVersion,
  sealEnvelope,
} from '../../../src/feed/index.ts'
import type { Body, Envelope, Header, UpdateBody } from '../../../src/feed/index.ts'
import { isAttestationOf, isAttestRequestOf } from '../../../src/replica/attestation.ts'
import type { AttestedDocument, Attestation } from '../../../src/replica/attestation.ts'
import {
  decodeChunk,
  decodeControl,
  decodeGossip,
  encodeControl,
  encodeGossip,
  isAddressCardOf,
  isBootProofOf,
  isPresenceOf,
} from '../../../src/replica/messages.ts'
import type { AddressCard, BootProof, ControlMessage } from '../../../src/replica/messages.ts'
import { bomb, drawValue, edges, mutated, mutateBytes } from './cbor-mutations.ts'
import type { Draft } from './cbor-mutations.ts'
import { createDice } from './dice.ts'
import type { Dice } from './dice.ts'
import { promise } from './fuzz.ts'
import type { Case, Decoder } from './fuzz.ts'

/** A few keys are enough: signing is what a case would cost most. */
const keyOf = (index: number): SigningKey => signingKeyOf(new Uint8Array(32).fill(index))
export const keys = [keyOf(1), keyOf(2), keyOf(3), keyOf(4)] as const
const agent = bytesToId<Header['agent']>(new Uint8Array(32).fill(7))

/** Items of the message that an envelope or a frontier is part of. */
const itemsMax = 1 << 18

/**
 * A decoder of a whole message, of at most `bytesMax`: the transport refuses more. `verify` throws where what was accepted does not
 * stand up.
 */
export function messageDecoder<Value>(
  name: string,
  weight: number,
  drawNew: (dice: Dice) => Draft,
  read: (bytes: Uint8Array) => Result<Value>,
  verify: (value: Value, bytes: Uint8Array) => void,
  bytesMax: number = frameBytesMax,
): Decoder {
  const draw = pooled(name, drawNew)
  return {
    name,
    weight,
    draw(dice): Case {
      const draft = mutated(dice, draw(dice), () => draw(dice).bytes)
      const bytes = draft.bytes.subarray(0, bytesMax)
      const valid = draft.valid && bytes.length === draft.bytes.length
      return {
        input: bytes,
        valid,
        decode() {
          const result = read(bytes)
          if (result.ok) return () => verify(result.value, bytes)
          promise(result.reason.length < 300, `a reason of ${result.reason.length} characters`)
          return null
        },
      }
    },
  }
}

/** Making and signing costs more than decoding, so what is mutated comes from a pool, which is the same in every run. */
const poolSize = 1_000

export function pooled<Item>(name: string, draw: (dice: Dice) => Item): (dice: Dice) => Item {
  const pool = new Map<number, Item>()
  return (dice) => {
    const index = dice.below(poolSize)
    let item = pool.get(index)
    if (item === undefined) pool.set(index, (item = draw(createDice(`${name} in the pool, ${index}`))))
    return item
  }
}

export function sameBytes(made: Uint8Array, received: Uint8Array): void {
  promise(Buffer.compare(made, received) === 0, `what was accepted is encoded as ${Buffer.from(made).toString('hex').slice(0, 400)}`)
}

/** Like `sameBytes`, of a message that may go on after the fields that are known. */
function sameFields(made: Uint8Array, received: Uint8Array): void {
  const fields = decode(made)
  const all = decode(received)
  promise(fields.ok && all.ok, 'what was accepted decodes')
  sameBytes(made, encode((all.value as readonly Encodable[]).slice(0, (fields.value as readonly unknown[]).length)))
}

const made = (bytes: Uint8Array): Draft => ({ bytes, valid: true })
const idOf = <Id extends string>(dice: Dice, width: number): Id => bytesToId<Id>(dice.bytes(width))
const sortedIds = <Id extends string>(dice: Dice, count: number): readonly Id[] => dice.times(count, () => idOf<Id>(dice, 32)).toSorted()
const word = (dice: Dice): string => dice.pick(['a', 'notes/today', 'plan', 'memory/2026-11-01', 'é', '漢字', '\ufeffb', '😀'])

function drawUpdateBody(dice: Dice): UpdateBody {
  const kind = dice.pick(['log', 'counter', 'set', 'register', 'text', 'json'])
  return {
    kind,
    name: word(dice),
    segment: kind === 'log' ? { day: dice.below(30_000), number: dice.below(9) } : null,
    update: dice.bytes(dice.below(60)),
    operations: dice.times(dice.below(4), (index) => ({
      id: operationIdOf(String(index)),
      fingerprint: Buffer.from(dice.bytes(8)).toString('hex'),
      index,
    })),
  }
}

function drawAttestation(dice: Dice): Omit<Attestation, 'instance' | 'time' | 'signature'> {
  const parts = 1 + dice.below(16)
  return {
    nonce: dice.chance(0.5) ? null : dice.bytes(16),
    part: dice.below(parts),
    parts,
    documents: dice.below(100_000),
    root: dice.bytes(32),
    buckets: Uint8Array.from({ length: dice.pick([0, 1, 9, 256]) }, (_, bucket) => bucket),
    omitted: dice.below(3),
    attested: dice.times(dice.pick([0, 1, 3, 1_500]), () => ({
      document: idOf<AttestedDocument['document']>(dice, 32),
      versionKey: idOf<AttestedDocument['versionKey']>(dice, 32),
      digest: `1:${Buffer.from(dice.bytes(dice.pick([0, 32, 39]))).toString('hex')}`,
    })),
  }
}

function drawEnvelope(dice: Dice): Envelope {
  const key = dice.pick(keys)
  const opening = { instance: idOf<AddressCard['instance']>(dice, 16), key: key.publicKey, nonce: dice.bytes(16) }
  const sequence = dice.chance(0.4) ? 1 : dice.pick([2, 3, 24, 300, 2 ** 32 - 1])
  const bodies: Body[] = dice.times(dice.below(4), () => ({
    salt: dice.bytes(16),
    bytes: dice.chance(0.8) ? encodeUpdateBody(drawUpdateBody(dice)) : dice.bytes(dice.below(300)),
  }))
  const header: Header = {
    format: formatVersion,
    rules: rulesVersion,
    agent,
    space: mainSpace,
    feed: sequence === 1 ? feedIdOf(agent, opening) : idOf(dice, 16),
    sequence,
    previous: sequence === 1 && dice.chance(0.5) ? null : idOf(dice, 32),
    stamp: idOf<Stamp>(dice, 8),
    deps: sortedIds(dice, dice.below(4)),
    records: sortedIds(dice, dice.below(3)),
    bodies: bodies.map((body) => referenceTo(body, { type: bodyTypeUpdate, schema: 1, critical: true, document: idOf(dice, 32) })),
    opening: sequence === 1 ? opening : null,
  }
  return sealEnvelope(header, bodies, key)
}

/** An envelope as a value of a message, its header gone wrong at times without the envelope showing it. */
function drawEnvelopeWire(dice: Dice): { readonly value: Encodable; readonly valid: boolean } {
  const envelope = drawEnvelope(dice)
  if (dice.chance(0.6)) return { value: envelopeToWire(envelope, dice.chance(0.7)), valid: true }
  const header = mutated(dice, made(envelope.headerBytes), () => drawEnvelope(dice).headerBytes)
  return { value: envelopeToWire({ ...envelope, headerBytes: header.bytes }), valid: header.valid }
}

function verifyEnvelope(envelope: Envelope): void {
  sameBytes(encodeHeader(envelope.header), envelope.headerBytes)
  clientIdOf(envelope.header.feed)
  for (const key of [keys[0].publicKey, envelope.header.opening?.key]) if (key !== undefined) isSignedBy(envelope, key)
}

function proofs(dice: Dice): BootProof {
  return { nonce: dice.bytes(16), boot: dice.bytes(16), signature: dice.bytes(64) }
}

function pings(dice: Dice): Omit<Extract<ControlMessage, { type: 'ping' }>, 'type'> {
  const records = dice.chance(0.9) ? dice.bytes(32) : null
  return { nonce: dice.below(2 ** 31), now: dice.below(2 ** 31), frontier: dice.bytes(32), records }
}

function card(dice: Dice): AddressCard {
  return {
    instance: idOf(dice, 16),
    addresses: dice.times(dice.below(4), () => dice.pick(['/ip4/192.0.2.1/tcp/27200', '/dns4/a.example/tcp/1', '/ip6/::1/tcp/65535'])),
    time: dice.below(2 ** 31),
    signature: dice.bytes(64),
  }
}

const ranges = (dice: Dice): { feed: Header['feed']; from: number; to: number }[] =>
  dice.times(dice.below(4), () => {
    const from = 1 + dice.below(1_000)
    return { feed: idOf(dice, 16), from, to: from + dice.below(1_000) }
  })

const frontierEntries = (dice: Dice) =>
  dice.times(dice.below(5), () => {
    const have = dice.below(5_000)
    return { feed: idOf<Header['feed']>(dice, 16), have, head: idOf<Envelope['hash']>(dice, 32), applied: dice.below(have + 1) }
  })

const controlDraws: readonly ((dice: Dice) => Exclude<ControlMessage, { type: 'unknown' }>)[] = [
  (dice) => ({
    type: 'hello',
    version: 1 + dice.below(3),
    agent,
    instance: idOf(dice, 16),
    boot: dice.bytes(16),
    records: dice.bytes(32),
    program: word(dice),
  }),
  (dice) => ({ type: 'record-list', hashes: sortedIds(dice, dice.below(5)) }),
  (dice) => ({ type: 'records', records: dice.times(dice.below(4), () => dice.bytes(dice.below(200))), last: dice.chance(0.5) }),
  (dice) => ({ type: 'frontier', complete: dice.chance(0.5), entries: frontierEntries(dice) }),
  (dice) => ({ type: 'want', request: dice.below(1_000), ranges: ranges(dice), bytesMax: dice.below(2 ** 23) }),
  (dice) => ({ type: 'ping', ...pings(dice) }),
  (dice) => ({ type: 'pong', ...pings(dice) }),
  (dice) => ({ type: 'probe', nonce: dice.bytes(16) }),
  (dice) => ({ type: 'probe-answer', proof: proofs(dice) }),
  (dice) => ({ type: 'twin', proofs: [proofs(dice), proofs(dice)] }),
  (dice) => ({ type: 'addresses', cards: dice.times(dice.below(4), () => card(dice)) }),
]

/** Messages as large as their limits allow, and larger: what they cost is what is looked at. */
function drawLargeControl(dice: Dice): Draft {
  const count = dice.pick([1_000, 50_000, 100_000])
  const hash = dice.bytes(32)
  const feed = dice.bytes(16)
  const many = (item: Encodable): Encodable => Array.from({ length: count }, () => item)
  return {
    bytes: encode(
      dice.pick<() => Encodable>([
        () => [2, many(hash)],
        () => [3, many(feed), true],
        () => [4, true, many([feed, 3, hash, 2])],
        () => [4, true, many([])],
        () => [5, 1, many([feed, 1, 1]), 1],
        () => [11, many([feed, [], 1, dice.bytes(64)])],
        () => [99, many([0, 0, 0, 0, 0, 0])],
      ])(),
    ),
    valid: false,
  }
}

function verifyControl(message: ControlMessage, bytes: Uint8Array): void {
  if (message.type === 'unknown') return
  sameFields(encodeControl(message), bytes)
  if (message.type === 'addresses') for (const each of message.cards.slice(0, 3)) isAddressCardOf(each, keys[0].publicKey, agent)
  if (message.type === 'probe-answer') isBootProofOf(message.proof, keys[0].publicKey, agent)
  if (message.type === 'frontier') frontierDigest(message.entries)
}

/** Packed, at times as no honest sender would: a bomb, several frames, a frame cut off or with something after it. */
function packed(dice: Dice, content: Uint8Array): { readonly bytes: Uint8Array; readonly valid: boolean } {
  const frame = zstdCompressSync(content)
  switch (dice.below(12)) {
    case 0:
      return { bytes: mutateBytes(dice, frame, () => dice.bytes(40)), valid: false }
    case 1:
      return {
        bytes: zstdBomb(
          dice.pick([1 << 20, 7 << 20, (8 << 20) + 1, 64 << 20, 512 << 20]),
          dice.pick([0, 0x80, 0x61]),
          dice.pick([17, 23, 27, 31]),
        ),
        valid: false,
      }
    case 2:
      return { bytes: zstdCompressSync(bomb(dice)), valid: false }
    case 3:
      return { bytes: Buffer.concat([frame, frame]), valid: false }
    default:
      return { bytes: frame, valid: true }
  }
}

/** A frame of `length` equal bytes, written block by block (RFC 8878, section 3.1.1): some four bytes for each 128 KiB. */
export function zstdBomb(length: number, byte: number, windowLog: number = 17): Uint8Array {
  const block = 128 << 10
  const parts: Uint8Array[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3])]
  for (let left = length; left > 0; left -= block) {
    const header = (Math.min(left, block) << 3) | (1 << 1) | (left <= block ? 1 : 0)
    parts.push(Buffer.from([header & 0xff, (header >> 8) & 0xff, (header >> 16) & 0xff, byte]))
  }
  return Buffer.concat(parts)
}

function drawChunk(dice: Dice): Draft {
  const large = dice.chance(0.003)
  const envelopes = dice.times(large ? 1 : dice.below(4), () => drawEnvelopeWire(dice))
  const copies = large
    ? Math.min(dice.pick([1_000, 4_096, 100_000]), Math.floor((frameBytesMax - 8) / encode(envelopes[0]!.value).length))
    : 1
  const list = Array.from({ length: copies }, () => envelopes.map(({ value }) => value)).flat()
  const parts = list.reduce<number>((sum, value) => sum + 1 + ((value as readonly Encodable[])[2] as readonly Encodable[]).length, 0)
  const content = encode(list)
  const inner = dice.chance(0.8) ? { bytes: content, valid: true } : mutated(dice, made(content), () => encode(list.slice(1)))
  const frame = packed(dice, inner.bytes)
  return {
    bytes: encode([1, dice.below(1_000), dice.chance(0.5), frame.bytes]),
    valid: parts <= 4_096 && inner.valid && frame.valid && envelopes.every(({ valid }) => valid),
  }
}

export const messageDecoders: readonly Decoder[] = [
  messageDecoder(
    'codec',
    1,
    (dice) => made(encode(drawValue(dice, 5))),
    decode,
    (value, bytes) => sameBytes(encode(value as Encodable), bytes),
  ),
  messageDecoder(
    'header',
    2,
    (dice) => made(drawEnvelope(dice).headerBytes),
    decodeHeader,
    (header, bytes) => sameBytes(encodeHeader(header), bytes),
  ),
  messageDecoder(
    'envelope',
    3,
    (dice) => {
      const { value, valid } = drawEnvelopeWire(dice)
      return { bytes: encode(value), valid }
    },
    (bytes) => {
      const value = decode(bytes, itemsMax)
      return value.ok ? envelopeFromWire(value.value) : value
    },
    (envelope, bytes) => {
      sameBytes(encode(envelopeToWire(envelope)), bytes)
      verifyEnvelope(envelope)
    },
  ),
  messageDecoder(
    'update-body',
    1,
    (dice) => made(encodeUpdateBody(drawUpdateBody(dice))),
    decodeUpdateBody,
    (body, bytes) => {
      sameBytes(encodeUpdateBody(body), bytes)
      if (isDocumentKind(body.kind)) isDocumentName(body.kind, body.name)
      textVersionOf(body.name)
    },
  ),
  messageDecoder(
    'frontier',
    1,
    (dice) => made(encode(frontierToWire(frontierEntries(dice)))),
    (bytes) => {
      const value = decode(bytes, itemsMax)
      return value.ok ? frontierFromWire(value.value) : value
    },
    (entries, bytes) => sameBytes(encode(frontierToWire(entries)), bytes),
  ),
  messageDecoder(
    'control',
    2,
    (dice) => (dice.chance(0.002) ? drawLargeControl(dice) : made(encodeControl(dice.pick(controlDraws)(dice)))),
    decodeControl,
    verifyControl,
  ),
  messageDecoder(
    'gossip',
    3,
    (dice) => {
      if (dice.chance(0.6)) {
        const { value, valid } = drawEnvelopeWire(dice)
        return { bytes: encode([1, value]), valid }
      }
      const time = Number(dice.pick(edges.filter((edge) => typeof edge === 'number' && edge >= 0)))
      const common = { instance: idOf<AddressCard['instance']>(dice, 16), time, signature: dice.bytes(64) }
      if (dice.chance(0.4)) return made(encodeGossip({ type: 'attestation', attestation: { ...common, ...drawAttestation(dice) } }))
      if (dice.chance(0.3)) {
        const asked = dice.chance(0.5) ? null : idOf<AddressCard['instance']>(dice, 16)
        return made(encodeGossip({ type: 'attest', request: { ...common, nonce: dice.bytes(16), asked, sums: dice.bytes(4_096) } }))
      }
      const presence = {
        instance: idOf<AddressCard['instance']>(dice, 16),
        state: dice.bytes(dice.pick([0, 40, 8_192])),
        time,
        signature: dice.bytes(64),
      }
      return made(encodeGossip({ type: 'presence', card: presence }))
    },
    decodeGossip,
    (message, bytes) => {
      if (message.type === 'unknown') return
      sameFields(encodeGossip(message), bytes)
      if (message.type === 'envelopes') message.envelopes.forEach(verifyEnvelope)
      else if (message.type === 'attestation') isAttestationOf(message.attestation, keys[1].publicKey, agent)
      else if (message.type === 'attest') isAttestRequestOf(message.request, keys[1].publicKey, agent)
      else isPresenceOf(message.card, keys[1].publicKey, agent)
    },
    gossipBytesMax,
  ),
  messageDecoder('chunk', 12, drawChunk, decodeChunk, (chunk, bytes) => {
    chunk.envelopes.slice(0, 20).forEach(verifyEnvelope)
    const fields = decode(bytes)
    promise(fields.ok, 'what was accepted decodes')
    const [, request, last] = fields.value as readonly unknown[]
    promise(request === chunk.request && last === chunk.last, 'request and end are those of the message')
  }),
]
