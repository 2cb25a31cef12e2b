/**
 * What the kinds of live documents have in common, inside this room. Edits are staged on plain values, where they can be
 * refused without a trace, and written to Yjs once, at the end: so no update creates something that it deletes again.
 */
import type { Doc, Transaction } from 'yjs'
import { SelfsameError } from '../core/index.ts'
import type { DocumentValue, Edit, EditContext, Json, LiveKind, Part } from './document.ts'

/** The content of one live document. */
export interface Content {
  stage(context: EditContext): Stage
  /** Materialises an update that was found valid. */
  materialise(transaction: Transaction, update: Uint8Array): void
  /** Takes note of what a transaction changed, before Yjs drops what it deleted. Returns the keys that changed, where the kind has keys. */
  absorb(transaction: Transaction): readonly string[]
  /** Of one key where one is given and the kind has keys. */
  value(key?: string): DocumentValue
  parts(): readonly Part[]
  /** The value as plain JSON, for the digest: equal for equal content. */
  readable(): Json
}

/** Edits that are on their way into one transaction. */
interface Stage {
  /** Throws a `SelfsameError` where the edit cannot be done, and is then as it was. */
  apply(edit: Edit): void
  /** Writes the outcome of all edits. The document's client id is that of the feed. */
  write(transaction: Transaction): void
}

/** Opens the content of a document that is loaded. */
export type OpenContent = (doc: Doc) => Content

export function wrongEdit(kind: LiveKind, edit: Edit): SelfsameError {
  return new SelfsameError('invalid-request', `'${edit.type}' is not an edit of a ${kind} document`)
}
