/** The body that carries a document update, with the ids of the operations that made it. */
import { asTuple, decode, encode, envelopeOperationsMax, hashOf, idToBytes, isBytes, isText, isUint, ok, refuse } from '../core/index.ts'
import type { Encodable, Result } from '../core/index.ts'

/** An operation id as it is stored and sent: the hash of the client's text, 16 bytes as hexadecimal. */
declare const brand: unique symbol
export type OperationId = string & { readonly [brand]: 'OperationId' }

/** Names one operation inside a body. */
export interface OperationMark {
  readonly id: OperationId
  /** Hash of the request, 8 bytes as hexadecimal: the same id with another request is an error. */
  readonly fingerprint: string
  /** Of the operation's first entry, among the entries of this body (logs), else 0. */
  readonly index: number
}

/** A log's segment: its writer is the feed; the day is counted in UTC days since the Unix epoch. */
export interface SegmentName {
  readonly day: number
  readonly number: number
}

export interface UpdateBody {
  readonly kind: string
  readonly name: string
  /** Of a log; null for every other kind. */
  readonly segment: SegmentName | null
  /** A Yjs update, V1 encoding. */
  readonly update: Uint8Array
  readonly operations: readonly OperationMark[]
}

const operationIdBytes = 16
const fingerprintBytes = 8
/** Items of a body: its fields, those of the segment, and four for each operation. */
const itemsMax = 8 + 4 * envelopeOperationsMax

/** The operation id of a client's text. */
export function operationIdOf(text: string): OperationId {
  return Buffer.from(hashOf('selfsame/operation/1', Buffer.from(text)).subarray(0, operationIdBytes)).toString('hex') as OperationId
}

/** The fingerprint of a request, given its canonical text. */
export function fingerprintOf(request: string): string {
  return Buffer.from(hashOf('selfsame/request/1', Buffer.from(request)).subarray(0, fingerprintBytes)).toString('hex')
}

export function encodeUpdateBody(body: UpdateBody): Uint8Array {
  const operations: Encodable[] = body.operations.map((mark) => [idToBytes(mark.id), idToBytes(mark.fingerprint), mark.index])
  return encode([body.kind, body.name, body.segment === null ? null : [body.segment.day, body.segment.number], body.update, operations])
}

/** Reads a body from untrusted bytes: the shape only. Whether kind, name and update are valid is for the document room. */
export function decodeUpdateBody(bytes: Uint8Array): Result<UpdateBody> {
  const decoded = decode(bytes, itemsMax)
  if (!decoded.ok) return decoded
  const fields = asTuple(decoded.value, 5)
  if (fields === undefined) return refuse('an update body has 5 fields')
  const [kind, name, segmentField, update, operationList] = fields
  if (!isText(kind, 32) || !isText(name, 1024) || !isBytes(update)) return refuse('bad update body')
  const segment = segmentField === null ? null : asTuple(segmentField, 2)
  if (segment === undefined || (segment !== null && (!isUint(segment[0], 0xffff_ffff) || !isUint(segment[1], 0xffff_ffff))))
    return refuse('bad segment')
  if (!Array.isArray(operationList) || operationList.length > envelopeOperationsMax) return refuse('bad operations')
  const operations: OperationMark[] = []
  for (const item of operationList as readonly unknown[]) {
    const mark = asTuple(item, 3)
    if (mark === undefined || !isBytes(mark[0], operationIdBytes) || !isBytes(mark[1], fingerprintBytes) || !isUint(mark[2], 0xffff))
      return refuse('bad operation')
    operations.push({
      id: Buffer.from(mark[0]).toString('hex') as OperationId,
      fingerprint: Buffer.from(mark[1]).toString('hex'),
      index: mark[2],
    })
  }
  return ok({
    kind,
    name,
    segment: segment === null ? null : { day: segment[0] as number, number: segment[1] as number },
    update,
    operations,
  })
}
