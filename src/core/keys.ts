/** Ed25519 (RFC 8032) over Node's own crypto, with raw 32-byte keys and a domain before every message. */
import { createPrivateKey, createPublicKey, sign as signBytes, verify as verifyBytes } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { bytesToId, idToBytes } from './ids.ts'
import type { PublicKey } from './ids.ts'
import type { Random } from './random.ts'

/** The signature algorithm of format version 1: Ed25519. */
export const signatureBytes = 64

// RFC 8410: the DER wrapping of a raw Ed25519 private and public key.
const privatePrefix = Buffer.from('302e020100300506032b657004220420', 'hex')
const publicPrefix = Buffer.from('302a300506032b6570032100', 'hex')

/** A private key that can sign; `seed` is the secret itself and must never reach a log or the API. */
export interface SigningKey {
  readonly publicKey: PublicKey
  readonly seed: Uint8Array
  /** 64 bytes: the signature over the domain's name, a zero byte and the message. */
  sign(domain: string, message: Uint8Array): Uint8Array
}

/** The key of a 32-byte seed. */
export function signingKeyOf(seed: Uint8Array): SigningKey {
  const key = createPrivateKey({ key: Buffer.concat([privatePrefix, seed]), format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  return {
    publicKey: bytesToId<PublicKey>(spki.subarray(publicPrefix.length)),
    seed,
    sign(domain, message) {
      const signature = signBytes(null, inDomain(domain, message), key)
      return new Uint8Array(signature.buffer, signature.byteOffset, signature.byteLength)
    },
  }
}

export function createSigningKey(random: Random): SigningKey {
  return signingKeyOf(random.bytes(32))
}

/** Keys parsed lately: parsing costs more than a tenth of a verification. Bounded; the oldest goes first. */
const parsedKeysMax = 1_000
const parsedKeys = new Map<PublicKey, KeyObject>()

function parsePublicKey(publicKey: PublicKey): KeyObject {
  let parsed = parsedKeys.get(publicKey)
  if (parsed === undefined) {
    parsed = createPublicKey({ key: Buffer.concat([publicPrefix, idToBytes(publicKey)]), format: 'der', type: 'spki' })
    if (parsedKeys.size >= parsedKeysMax) parsedKeys.delete(parsedKeys.keys().next().value as PublicKey)
    parsedKeys.set(publicKey, parsed)
  }
  return parsed
}

/** Whether `signature` is `publicKey`'s over `message` in `domain`. False for any malformed key or signature. */
export function verifySignature(publicKey: PublicKey, domain: string, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== signatureBytes) return false
  try {
    return verifyBytes(null, inDomain(domain, message), parsePublicKey(publicKey), signature)
  } catch {
    return false
  }
}

function inDomain(domain: string, message: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(domain), Buffer.from([0]), message])
}
