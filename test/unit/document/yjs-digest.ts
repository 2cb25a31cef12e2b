/** What the digest of a log segment means: Yjs holds all its updates, and its state and what it reads are digested. */
import * as Y from 'yjs'
import { digestOf } from '../../../src/document/digest.ts'
import type { Json } from '../../../src/document/index.ts'

export function segmentDigestOfYjs(updates: Iterable<Uint8Array>): string {
  const doc = new Y.Doc({ gc: true })
  for (const update of updates) Y.applyUpdate(doc, update)
  return digestOf('log', Y.encodeStateAsUpdate(doc), doc.getArray('entries').toArray() as Json[])
}
