/**
 * Identifiers. In memory and on the API each is lower-case hexadecimal text (comparable, usable as a map key); on the
 * wire and on disk each is its raw bytes. The brand keeps one kind from being passed for another.
 */

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** Hash of the genesis record: 32 bytes. */
export type AgentId = Branded<'AgentId'>
/** Hash of the instance's first device key (`instanceIdOf`); outlives that key: 16 bytes. */
export type InstanceId = Branded<'InstanceId'>
/** Hash of the opening of a run (`feedIdOf`): 16 bytes. A second pre-image costs 2^128. */
export type FeedId = Branded<'FeedId'>
/** Hash of (space, kind, name): 32 bytes. */
export type DocumentId = Branded<'DocumentId'>
/** Hash of an envelope's header: 32 bytes. */
export type EnvelopeHash = Branded<'EnvelopeHash'>
/** Hash of a membership record: 32 bytes. */
export type RecordHash = Branded<'RecordHash'>
/** A raw Ed25519 public key: 32 bytes. */
export type PublicKey = Branded<'PublicKey'>
/** Version key of a document: 32 bytes. */
export type VersionKey = Branded<'VersionKey'>

/** Width of each identifier in bytes. */
export const idBytes = { agent: 32, instance: 16, feed: 16, document: 32, hash: 32, key: 32 } as const

/** The raw bytes of an identifier (or of any lower-case hexadecimal text). */
export function idToBytes(id: string): Uint8Array {
  const buffer = Buffer.from(id, 'hex')
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
}

/** The identifier that these raw bytes spell. The caller has checked the width. */
export function bytesToId<Id extends string>(bytes: Uint8Array): Id {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex') as Id
}
