/** Hand-made feeds, envelopes, bodies and Yjs updates: signed as a member signs them, and otherwise as wrong as a case wants them. */
import * as encoding from 'lib0/encoding'
import { encode, stampOf, systemRandom } from '../../src/core/index.ts'
import type { AgentId, DocumentId, EnvelopeHash, FeedId, InstanceId, RecordHash, SigningKey } from '../../src/core/index.ts'
import { documentIdOf } from '../../src/document/index.ts'
import type { DocumentKind } from '../../src/document/index.ts'
import { clientIdOf, feedIdOf, referenceTo, sealEnvelope } from '../../src/feed/index.ts'
import type { Body, Envelope, Header } from '../../src/feed/index.ts'

/** An id of a struct: client and clock. */
type Id = readonly [client: number, clock: number]

export interface ForgedStruct {
  readonly origin?: Id
  readonly right?: Id
  /** Name of a root, or an item. */
  readonly parent?: string | Id
  readonly key?: string
  /** The content's type, and what writes it. */
  readonly content: readonly [type: number, write: (encoder: encoding.Encoder) => void]
}

export interface ForgedUpdate {
  readonly client: number
  readonly clock?: number
  readonly structs?: readonly ForgedStruct[]
  /** How many structs it claims to hold. */
  readonly count?: number
  readonly deleted?: readonly (readonly [client: number, clock: number, length: number])[]
}

export const binary = (bytes: Uint8Array): ForgedStruct['content'] => [3, (encoder) => encoding.writeVarUint8Array(encoder, bytes)]
export const string = (text: string): ForgedStruct['content'] => [4, (encoder) => encoding.writeVarString(encoder, text)]
export const container = (type: number): ForgedStruct['content'] => [7, (encoder) => encoding.writeVarUint(encoder, type)]
export const any = (...values: readonly unknown[]): ForgedStruct['content'] => [
  8,
  (encoder) => {
    encoding.writeVarUint(encoder, values.length)
    for (const value of values) encoding.writeAny(encoder, value as string)
  },
]
/** Arrays in arrays, `depth` of them, written without recursion. */
export const nested = (depth: number): ForgedStruct['content'] => [
  8,
  (encoder) => {
    encoding.writeVarUint(encoder, 1)
    for (let level = 0; level < depth; level += 1) {
      encoding.writeUint8(encoder, 117)
      encoding.writeVarUint(encoder, 1)
    }
    encoding.writeUint8(encoder, 126)
  },
]
/** A JSON object with one key, whatever it is called. */
export const objectWithKey = (key: string): ForgedStruct['content'] => [
  8,
  (encoder) => {
    encoding.writeVarUint(encoder, 1)
    encoding.writeUint8(encoder, 118)
    encoding.writeVarUint(encoder, 1)
    encoding.writeVarString(encoder, key)
    encoding.writeAny(encoder, 'polluted')
  },
]

export function forgeUpdate({ client, clock = 0, structs = [], count = structs.length, deleted = [] }: ForgedUpdate): Uint8Array {
  return encoding.encode((encoder) => {
    const uint = (value: number): void => encoding.writeVarUint(encoder, value)
    const id = (at: Id): void => at.forEach(uint)
    uint(count > 0 ? 1 : 0)
    if (count > 0) {
      uint(count)
      id([client, clock])
    }
    for (const { origin, right, parent, key, content } of structs) {
      const [type, write] = content
      encoding.writeUint8(encoder, type | (origin ? 128 : 0) | (right ? 64 : 0) | (key === undefined ? 0 : 32))
      if (origin !== undefined) id(origin)
      if (right !== undefined) id(right)
      if (origin === undefined && right === undefined) {
        uint(typeof parent === 'object' ? 0 : 1)
        if (typeof parent === 'object') id(parent)
        else encoding.writeVarString(encoder, parent ?? '')
        if (key !== undefined) encoding.writeVarString(encoder, key)
      }
      write(encoder)
    }
    uint(deleted.length)
    for (const [owner, from, length] of deleted) {
      id([owner, 1])
      id([from, length])
    }
  })
}

export interface ForgedBody {
  readonly document: DocumentId
  readonly type: number
  readonly critical: boolean
  readonly bytes: Uint8Array
}

export interface BodyOptions {
  readonly day?: number
  readonly document?: DocumentId
  readonly operations?: readonly (readonly [Uint8Array, Uint8Array, number])[]
}

export function forgeBody(kind: DocumentKind, name: string, update: Uint8Array, options: BodyOptions = {}): ForgedBody {
  const segment = kind === 'log' ? [options.day ?? 20_000, 0] : null
  const operations = (options.operations ?? []).map((operation) => [...operation])
  return {
    document: options.document ?? documentIdOf('main', kind, name),
    type: 1,
    critical: true,
    bytes: encode([kind, name, segment, update, operations]),
  }
}

/** What a member is known by. */
export interface Forger {
  readonly agent: AgentId
  readonly instance: InstanceId
  readonly key: SigningKey
  /** Membership records that it names. */
  readonly records: readonly RecordHash[]
}

export interface ForgedFeed {
  readonly id: FeedId
  /** The Yjs client id that belongs to it. */
  readonly client: number
  readonly head: EnvelopeHash | null
  readonly length: number
  /** Seals the next envelope, with whatever of its header is to be different. */
  next(bodies: readonly ForgedBody[], different?: Partial<Header>): Envelope
}

/** A feed that begins with an opening like an honest one; `claims` says otherwise. */
export function forgeFeed(forger: Forger, claims: Partial<Forger> = {}): ForgedFeed {
  const { agent, instance, key, records } = { ...forger, ...claims }
  const opening = { instance, key: forger.key.publicKey, nonce: systemRandom.bytes(16) }
  const id = feedIdOf(agent, opening)
  let head: EnvelopeHash | null = null
  let length = 0
  let time = Date.now()
  return {
    id,
    client: clientIdOf(id),
    get head() {
      return head
    },
    get length() {
      return length
    },
    next(forged, different = {}) {
      length += 1
      time = Math.max(time + 1, Date.now())
      const bodies = forged.map(({ bytes }): Body => ({ salt: systemRandom.bytes(16), bytes }))
      const header: Header = {
        format: 1,
        rules: 1,
        agent,
        space: 'main',
        feed: id,
        sequence: length,
        previous: head,
        stamp: stampOf(time, 0),
        deps: [],
        records: records.toSorted(),
        bodies: bodies.map((body, index) => {
          const { type, critical, document } = forged[index] as ForgedBody
          return referenceTo(body, { type, schema: 1, critical, document })
        }),
        opening: length === 1 ? opening : null,
        ...different,
      }
      const envelope = sealEnvelope(header, bodies, key)
      head = envelope.hash
      return envelope
    },
  }
}

/** An honest append to a log: one entry. */
export function forgeEntry(feed: ForgedFeed, log: string, clock: number, text: string): ForgedBody {
  const struct = clock === 0 ? { parent: 'entries' } : { origin: [feed.client, clock - 1] as const }
  return forgeBody('log', log, forgeUpdate({ client: feed.client, clock, structs: [{ ...struct, content: any({ t: text }) }] }))
}

/** CBOR that no honest encoder makes: arrays in arrays. */
export const nestedCbor = (depth: number): Uint8Array => Buffer.concat([Buffer.alloc(depth, 0x81), Buffer.from([0])])

/** A CBOR array of `count` zeros: a byte each on the wire, a value each in memory. */
export function zerosCbor(count: number): Uint8Array {
  const bytes = Buffer.alloc(5 + count)
  bytes[0] = 0x9a
  bytes.writeUInt32BE(count, 1)
  return bytes
}
