/**
 * Reads a Yjs update (V1 encoding) from untrusted bytes without building anything of Yjs: the outer form that every valid
 * update of this project has, whatever the document's kind. One client, contiguous clocks, a handful of content types,
 * bounded numbers and depth, a sorted delete set, nothing left over. What the structs refer to is for `check-update.ts`.
 */
import * as decoding from 'lib0/decoding'
import { bodyBytesMax, jsonDepthMax, ok, refuse, updateStructsMax } from '../core/index.ts'
import type { Result } from '../core/index.ts'
import type { Json } from './document.ts'

/** Bytes of one update. The rest of a body is for the document's name and some two thousand operation ids. */
export const updateBytesMax = bodyBytesMax - (64 << 10)

export interface StructId {
  readonly client: number
  readonly clock: number
}

/** What an item holds. Everything else that Yjs knows (formatting, embeds, subdocuments, nested text and XML, tombstones) is refused. */
type StructContent =
  | { readonly type: 'any'; readonly values: readonly Json[] }
  | { readonly type: 'binary'; readonly bytes: Uint8Array }
  | { readonly type: 'string'; readonly text: string }
  | { readonly type: 'container'; readonly container: 'array' | 'map' }

export interface Struct {
  readonly clock: number
  /** How many clocks it takes, at least 1. */
  readonly length: number
  readonly origin: StructId | null
  readonly rightOrigin: StructId | null
  /** Name of a root, or the item that holds the container; null where an origin says it. */
  readonly parent: string | StructId | null
  /** Whether it is the value of a key of a map. */
  readonly isKeyed: boolean
  /** The key; null where an origin says it. */
  readonly key: string | null
  readonly content: StructContent
}

interface DeletedRange {
  readonly client: number
  readonly clock: number
  readonly length: number
}

export interface UpdateParts {
  /** Whose structs these are; 0, which no feed has, where there are none. */
  readonly client: number
  readonly structs: readonly Struct[]
  /** Sorted as Yjs sorts them: greatest client first, within it by clock, with gaps between. */
  readonly deleted: readonly DeletedRange[]
}

/** Reads an update whose structs are all of one client and contiguous. */
export function readUpdate(update: Uint8Array): Result<UpdateParts> {
  if (update.length > updateBytesMax) return refuse('the update is too large')
  try {
    const decoder = decoding.createDecoder(update)
    const { client, structs } = readStructs(decoder)
    const deleted = readDeleted(decoder)
    if (decoding.hasContent(decoder)) return refuse('bytes are left over after the update')
    return ok({ client, structs, deleted })
  } catch (error) {
    return refuse(error instanceof Malformed ? error.message : `the update is not in the encoding of Yjs: ${String(error)}`)
  }
}

/** Thrown and caught in this file alone. */
class Malformed extends Error {}

function readStructs(decoder: decoding.Decoder): { client: number; structs: readonly Struct[] } {
  const clients = readUint(decoder)
  if (clients === 0) return { client: 0, structs: [] }
  if (clients > 1) throw new Malformed('structs of more than one client')
  const count = readUint(decoder)
  if (count === 0) throw new Malformed('a client without structs')
  if (count > updateStructsMax) throw new Malformed('too many structs')
  const client = readUint(decoder)
  let clock = readUint(decoder)
  const structs: Struct[] = []
  for (let index = 0; index < count; index++) {
    const struct = readStruct(decoder, clock)
    structs.push(struct)
    clock += struct.length
  }
  return { client, structs }
}

/** Reads an update of the feed with this client id, whose next clock is `clock`. Returns the clock after it, too. */
export function readUpdateOfFeed(update: Uint8Array, client: number, clock: number): Result<UpdateParts & { readonly clock: number }> {
  const parts = readUpdate(update)
  if (!parts.ok) return parts
  const { structs } = parts.value
  const last = structs.at(-1)
  if (last === undefined) return ok({ ...parts.value, clock })
  if (parts.value.client !== client) return refuse('structs of another client than the feed')
  if (structs[0]?.clock !== clock) return refuse('structs that do not begin at the next clock of the feed')
  return ok({ ...parts.value, clock: last.clock + last.length })
}

// The bits of a struct's first byte.
const contentBits = 0b0001_1111
const keyBit = 0b0010_0000
const rightOriginBit = 0b0100_0000
const originBit = 0b1000_0000

function readStruct(decoder: decoding.Decoder, clock: number): Struct {
  const info = decoding.readUint8(decoder)
  const readContent = contentReaders.get(info & contentBits)
  if (readContent === undefined) throw new Malformed(`content of type ${info & contentBits} is not allowed`)
  const origin = (info & originBit) > 0 ? readId(decoder) : null
  const rightOrigin = (info & rightOriginBit) > 0 ? readId(decoder) : null
  const isKeyed = (info & keyBit) > 0
  const standsAlone = origin === null && rightOrigin === null
  const parent = standsAlone ? readParent(decoder) : null
  const key = standsAlone && isKeyed ? decoding.readVarString(decoder) : null
  const content = readContent(decoder)
  const length = lengthOf(content)
  if (length === 0) throw new Malformed('a struct without content')
  return { clock, length, origin, rightOrigin, parent, isKeyed, key, content }
}

function readParent(decoder: decoding.Decoder): string | StructId {
  switch (readUint(decoder)) {
    case 0:
      return readId(decoder)
    case 1:
      return decoding.readVarString(decoder)
    default:
      throw new Malformed('a parent of an unknown sort')
  }
}

const contentReaders = new Map<number, (decoder: decoding.Decoder) => StructContent>([
  [3, (decoder) => ({ type: 'binary', bytes: decoding.readVarUint8Array(decoder) })],
  [4, (decoder) => ({ type: 'string', text: decoding.readVarString(decoder) })],
  [
    7,
    (decoder) => {
      const container = readUint(decoder)
      if (container > 1) throw new Malformed('a container that is neither an array nor a map')
      return { type: 'container', container: container === 0 ? 'array' : 'map' }
    },
  ],
  [
    8,
    (decoder) => {
      const values: Json[] = []
      for (let left = readUint(decoder); left > 0; left--) values.push(readJson(decoder, jsonDepthMax))
      return { type: 'any', values }
    },
  ],
])

function lengthOf(content: StructContent): number {
  if (content.type === 'any') return content.values.length
  return content.type === 'string' ? content.text.length : 1
}

/** Reads a value of lib0's 'any' encoding that is JSON. */
function readJson(decoder: decoding.Decoder, depthMax: number): Json {
  switch (decoding.readUint8(decoder)) {
    case 126:
      return null
    case 125:
      return checkNumber(Number.isSafeInteger, decoding.readVarInt(decoder))
    case 124:
      return checkNumber(Number.isFinite, decoding.readFloat32(decoder))
    case 123:
      return checkNumber(Number.isFinite, decoding.readFloat64(decoder))
    case 121:
      return false
    case 120:
      return true
    case 119:
      return decoding.readVarString(decoder)
    case 118: {
      if (depthMax === 0) throw new Malformed('a value is nested too deeply')
      const object: { [key: string]: Json } = {}
      for (let left = readUint(decoder); left > 0; left--) {
        const key = decoding.readVarString(decoder)
        if (key === '__proto__') throw new Malformed('the key __proto__ is not allowed')
        object[key] = readJson(decoder, depthMax - 1)
      }
      return object
    }
    case 117: {
      if (depthMax === 0) throw new Malformed('a value is nested too deeply')
      const array: Json[] = []
      for (let left = readUint(decoder); left > 0; left--) array.push(readJson(decoder, depthMax - 1))
      return array
    }
    default:
      throw new Malformed('a value that is not JSON')
  }
}

function checkNumber(isAllowed: (value: unknown) => boolean, value: number): number {
  if (!isAllowed(value)) throw new Malformed('a number that JSON cannot hold')
  return value
}

function readDeleted(decoder: decoding.Decoder): readonly DeletedRange[] {
  const deleted: DeletedRange[] = []
  let clientBefore = Infinity
  for (let clients = readUint(decoder); clients > 0; clients--) {
    const client = readUint(decoder)
    if (client >= clientBefore) throw new Malformed('a delete set that is not sorted by client')
    clientBefore = client
    let ranges = readUint(decoder)
    if (ranges === 0) throw new Malformed('a delete set with an empty client')
    for (let end = -1; ranges > 0; ranges--) {
      const clock = readUint(decoder)
      const length = readUint(decoder)
      if (clock <= end || length === 0) throw new Malformed('a delete set that is not sorted by clock')
      deleted.push({ client, clock, length })
      end = clock + length
    }
  }
  return deleted
}

function readId(decoder: decoding.Decoder): StructId {
  return { client: readUint(decoder), clock: readUint(decoder) }
}

function readUint(decoder: decoding.Decoder): number {
  const value = decoding.readVarUint(decoder)
  if (!Number.isSafeInteger(value)) throw new Malformed('a number beyond 2^53')
  return value
}
