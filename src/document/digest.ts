/** Digests of documents: what replicas compare to prove that they hold the same. */
import { encode, hashAlgorithm, hashToId } from '../core/index.ts'
import type { DocumentKind, Json } from './document.ts'
import { canonicalJson } from './json-value.ts'

/**
 * The algorithm's id, a colon, and the hash of a document's normal form and readable value, as hexadecimal. Both are
 * needed: state bytes hold what was written and not in which order it stands.
 */
export function digestOf(kind: DocumentKind, normalForm: Uint8Array, readable: Json): string {
  return `${hashAlgorithm}:${hashToId('selfsame/digest/1', encode([kind, normalForm, canonicalJson(readable)]))}`
}
