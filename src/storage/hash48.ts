/** The first 48 bits of a hash, as stored beside a blob: an index key, and a check that misses damage once in 2^48. */
import { hashOf } from '../core/index.ts'
import { bodyHash } from '../feed/index.ts'
import type { Body } from '../feed/index.ts'

/** Of a hash in hexadecimal. */
export function hash48Of(hash: string): number {
  return Number.parseInt(hash.slice(0, 12), 16)
}

export function hash48OfBody(body: Body): number {
  return leading(bodyHash(body))
}

export function hash48OfState(state: Uint8Array): number {
  return leading(hashOf('selfsame/snapshot/1', state))
}

function leading(hash: Uint8Array): number {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).readUIntBE(0, 6)
}
