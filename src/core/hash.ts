/** Domain-separated SHA-256, the only hash of format version 1. */
import { createHash, hash } from 'node:crypto'

/** The algorithm id that stands before every digest shown outside: 1 is SHA-256. */
export const hashAlgorithm = 1

const separator = Buffer.from([0])

/**
 * SHA-256 over the domain's name, a zero byte, then the parts one after the other.
 * Parts are not delimited: give at most one of variable length, and that one last.
 */
export function hashOf(domain: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const hasher = createHash('sha256').update(domain).update(separator)
  for (const part of parts) hasher.update(part)
  const digest = hasher.digest()
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.byteLength)
}

/** `hashOf`, as lower-case hexadecimal text; one native call, for hot paths. */
export function hashToId<Id extends string>(domain: string, ...parts: readonly Uint8Array[]): Id {
  return hash('sha256', Buffer.concat([Buffer.from(domain), separator, ...parts]), 'hex') as Id
}
