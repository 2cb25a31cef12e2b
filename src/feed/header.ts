/**
 * The signed header of an envelope. The chain (`previous`) and the signature cover headers only; bodies hang on by
 * salted hash, so that one can be pruned or redacted later without breaking the chain. `docs/PROTOCOL.md` has the
 * format as a table.
 */
import {
  asListOf,
  asTuple,
  bytesToId,
  bodyBytesMax,
  decode,
  encode,
  envelopeBodiesMax,
  hashToId,
  headerBytesMax,
  headerDepsMax,
  headerRecordsMax,
  idBytes,
  idToBytes,
  isBytes,
  isText,
  isUint,
  ok,
  refuse,
  stampBytes,
} from '../core/index.ts'
import type { AgentId, DocumentId, EnvelopeHash, FeedId, InstanceId, PublicKey, RecordHash, Result, Stamp } from '../core/index.ts'

/** The format of headers and envelopes. */
export const formatVersion = 1
/** The rules of validity that the author followed. */
export const rulesVersion = 1
/** The one space there is for now. */
export const mainSpace = 'main'
/** The type of a body that carries a document update. */
export const bodyTypeUpdate = 1

/** What the first envelope of a run says about the run. The feed id is its hash. */
export interface Opening {
  readonly instance: InstanceId
  readonly key: PublicKey
  /** 16 random bytes. */
  readonly nonce: Uint8Array
}

/** A body as its header names it. */
export interface BodyReference {
  readonly type: number
  readonly schema: number
  /** Whether a reader that does not know `type` must stop materialising the document. */
  readonly critical: boolean
  readonly document: DocumentId
  /** `bodyHash` of the salt and the bytes. */
  readonly hash: Uint8Array
  /** Of the body, in bytes. */
  readonly length: number
}

export interface Header {
  readonly format: number
  readonly rules: number
  readonly agent: AgentId
  readonly space: string
  readonly feed: FeedId
  /** From 1, without gaps. */
  readonly sequence: number
  /** The header before it in the chain: of this feed, or for the first, the head of the run before it in the author's store. */
  readonly previous: EnvelopeHash | null
  readonly stamp: Stamp
  /** Heads of the maximal envelopes of other feeds that the author had applied, as far as its last envelope did not name them. Sorted. */
  readonly deps: readonly EnvelopeHash[]
  /** Heads of the membership records that the author knew. Sorted. */
  readonly records: readonly RecordHash[]
  readonly bodies: readonly BodyReference[]
  /** Present at sequence 1 and only there. */
  readonly opening: Opening | null
}

/** The feed id that an opening makes. */
export function feedIdOf(agent: AgentId, opening: Opening): FeedId {
  return hashToId('selfsame/feed/1', idToBytes(agent), idToBytes(opening.instance), idToBytes(opening.key), opening.nonce).slice(
    0,
    idBytes.feed * 2,
  ) as FeedId
}

/** The Yjs client id of a feed: the first 53 bits of the feed id, never zero. */
export function clientIdOf(feed: FeedId): number {
  return Number.parseInt(feed.slice(0, 13), 16) * 2 + (Number.parseInt(feed.slice(13, 14), 16) >> 3) || 1
}

/** The chain hash of an encoded header. */
export function headerHash(header: Uint8Array): EnvelopeHash {
  return hashToId('selfsame/header/1', header)
}

export function encodeHeader(header: Header): Uint8Array {
  return encode([
    header.format,
    header.rules,
    idToBytes(header.agent),
    header.space,
    idToBytes(header.feed),
    header.sequence,
    header.previous === null ? null : idToBytes(header.previous),
    idToBytes(header.stamp),
    header.deps.map(idToBytes),
    header.records.map(idToBytes),
    header.bodies.map((body) => [body.type, body.schema, body.critical, idToBytes(body.document), body.hash, body.length]),
    header.opening === null ? null : [idToBytes(header.opening.instance), idToBytes(header.opening.key), header.opening.nonce],
  ])
}

const isHash = (value: unknown): value is Uint8Array => isBytes(value, idBytes.hash)

/** Reads a header from untrusted bytes: shape, widths, order and the binding of opening and feed id; not its signature. */
export function decodeHeader(bytes: Uint8Array): Result<Header> {
  if (bytes.length > headerBytesMax) return refuse('header too long')
  const decoded = decode(bytes)
  if (!decoded.ok) return decoded
  const fields = asTuple(decoded.value, 12)
  if (fields === undefined) return refuse('a header has 12 fields')
  const [format, rules, agent, space, feed, sequence, previous, stamp, depList, recordList, bodyList, openingField] = fields
  if (!isUint(format)) return refuse('bad header format')
  if (format !== formatVersion) return refuse(`header format ${format} is not known`)
  if (!isUint(rules)) return refuse('bad rules version')
  if (!isBytes(agent, idBytes.agent)) return refuse('bad agent id')
  if (!isText(space, 64)) return refuse('bad space')
  if (!isBytes(feed, idBytes.feed)) return refuse('bad feed id')
  if (!isUint(sequence, 0xffff_ffff) || sequence === 0) return refuse('bad sequence')
  if (previous !== null && !isHash(previous)) return refuse('bad previous hash')
  if (previous === null && sequence !== 1) return refuse('a chain must name its previous header')
  if (!isBytes(stamp, stampBytes)) return refuse('bad stamp')
  const deps = asListOf(depList, headerDepsMax, isHash)?.map((hash) => bytesToId<EnvelopeHash>(hash))
  if (deps === undefined || !isSortedSet(deps)) return refuse('bad deps')
  const records = asListOf(recordList, headerRecordsMax, isHash)?.map((hash) => bytesToId<RecordHash>(hash))
  if (records === undefined || !isSortedSet(records)) return refuse('bad records')
  if (!Array.isArray(bodyList) || bodyList.length > envelopeBodiesMax) return refuse('bad bodies')
  const bodies: BodyReference[] = []
  for (const item of bodyList as readonly unknown[]) {
    const body = decodeBodyReference(item)
    if (body === undefined) return refuse('bad body reference')
    bodies.push(body)
  }
  const opening = openingField === null ? null : decodeOpening(openingField)
  if (opening === undefined) return refuse('bad opening')
  if ((opening === null) !== sequence > 1) return refuse('an opening belongs to sequence 1 and only there')
  const header: Header = {
    format,
    rules,
    agent: bytesToId(agent),
    space,
    feed: bytesToId(feed),
    sequence,
    previous: previous === null ? null : bytesToId(previous),
    stamp: bytesToId<Stamp>(stamp),
    deps,
    records,
    bodies,
    opening,
  }
  if (opening !== null && feedIdOf(header.agent, opening) !== header.feed) return refuse('the feed id is not the hash of its opening')
  return ok(header)
}

function decodeBodyReference(value: unknown): BodyReference | undefined {
  const fields = asTuple(value, 6)
  if (fields === undefined) return undefined
  const [type, schema, critical, document, hash, length] = fields
  if (!isUint(type) || !isUint(schema) || typeof critical !== 'boolean') return undefined
  if (!isBytes(document, idBytes.document) || !isHash(hash) || !isUint(length, bodyBytesMax)) return undefined
  return { type, schema, critical, document: bytesToId(document), hash, length }
}

function decodeOpening(value: unknown): Opening | undefined {
  const fields = asTuple(value, 3)
  if (fields === undefined) return undefined
  const [instance, key, nonce] = fields
  if (!isBytes(instance, idBytes.instance) || !isBytes(key, idBytes.key) || !isBytes(nonce, 16)) return undefined
  return { instance: bytesToId(instance), key: bytesToId(key), nonce }
}

function isSortedSet(ids: readonly string[]): boolean {
  return ids.every((id, index) => index === 0 || (ids[index - 1] as string) < id)
}
