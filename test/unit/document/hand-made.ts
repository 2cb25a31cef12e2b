/** Updates written bit by bit, valid or not. */
import * as encoding from 'lib0/encoding'

export type Id = readonly [client: number, clock: number]

export interface HandMade {
  readonly origin?: Id
  readonly right?: Id
  /** Name of a root, or an item. */
  readonly parent?: string | Id
  readonly key?: string
  /** Whether it is not an item, and has neither origins nor parent. */
  readonly bare?: boolean
  /** Sets the bit that says 'keyed' without writing a key. */
  readonly keyed?: boolean
  readonly type: number
  readonly content: (encoder: encoding.Encoder) => void
}

export interface HandMadeUpdate {
  /** 1,000 unless told otherwise. */
  readonly client?: number
  readonly clock?: number
  readonly structs?: readonly HandMade[]
  readonly deleted?: readonly (readonly [client: number, ranges: readonly (readonly [clock: number, length: number])[]])[]
  readonly tail?: readonly number[]
}

export function handMade({ client = 1_000, clock = 0, structs = [], deleted = [], tail = [] }: HandMadeUpdate): Uint8Array {
  return encoding.encode((encoder) => {
    const uint = (value: number) => encoding.writeVarUint(encoder, value)
    const id = ([client, clock]: Id) => {
      uint(client)
      uint(clock)
    }
    uint(structs.length > 0 ? 1 : 0)
    if (structs.length > 0) {
      uint(structs.length)
      id([client, clock])
    }
    for (const { origin, right, parent, key, keyed, bare, type, content } of structs) {
      encoding.writeUint8(encoder, type | (origin ? 128 : 0) | (right ? 64 : 0) | (key !== undefined || keyed ? 32 : 0))
      if (origin) id(origin)
      if (right) id(right)
      if (!origin && !right && !bare) {
        uint(typeof parent === 'string' ? 1 : 0)
        if (typeof parent === 'string') encoding.writeVarString(encoder, parent)
        else id(parent!)
        if (key !== undefined) encoding.writeVarString(encoder, key)
      }
      content(encoder)
    }
    uint(deleted.length)
    for (const [client, ranges] of deleted) {
      id([client, ranges.length])
      for (const range of ranges) id(range)
    }
    encoding.writeUint8Array(encoder, Uint8Array.from(tail))
  })
}

export const binary = (bytes: Uint8Array) => ({
  type: 3,
  content: (encoder: encoding.Encoder) => encoding.writeVarUint8Array(encoder, bytes),
})
export const string = (text: string) => ({ type: 4, content: (encoder: encoding.Encoder) => encoding.writeVarString(encoder, text) })
export const container = (type: number) => ({ type: 7, content: (encoder: encoding.Encoder) => encoding.writeVarUint(encoder, type) })
export const any = (...values: readonly unknown[]) => ({
  type: 8,
  content: (encoder: encoding.Encoder) => {
    encoding.writeVarUint(encoder, values.length)
    for (const value of values) encoding.writeAny(encoder, value as encoding.AnyEncodable)
  },
})
export const raw = (type: number, ...bytes: readonly number[]) => ({
  type,
  content: (encoder: encoding.Encoder) => encoding.writeUint8Array(encoder, Uint8Array.from(bytes)),
})
