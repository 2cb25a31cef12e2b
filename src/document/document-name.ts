/** Names of documents, and the id that (space, kind, name) makes. Names are path-like, so that files can mirror them. */
import { documentNameBytesMax, encode, hashToId, SelfsameError } from '../core/index.ts'
import type { DocumentId } from '../core/index.ts'
import { documentKinds } from './document.ts'
import type { DocumentKind } from './document.ts'

export function isDocumentKind(kind: string): kind is DocumentKind {
  return (documentKinds as readonly string[]).includes(kind)
}

/** Whether a peer may name a document so. */
export function isDocumentName(kind: string, name: string): boolean {
  return faultOfName(kind, name) === undefined
}

/** Throws `invalid-name`, saying what is wrong with the name. */
export function checkDocumentName(kind: string, name: string): asserts kind is DocumentKind {
  const fault = faultOfName(kind, name)
  if (fault !== undefined) throw new SelfsameError('invalid-name', fault)
}

/** Ids worked out last: writers come back to the same documents, and the hash is a third of what an entry of an import costs. */
const knownIds = new Map<string, DocumentId>()
const knownIdsMax = 1_024

/** The id of a document: no two (space, kind, name) share one. */
export function documentIdOf(space: string, kind: DocumentKind, name: string): DocumentId {
  const key = `${space.length}:${space}${kind}:${name}`
  const known = knownIds.get(key)
  if (known !== undefined) return known
  const id = hashToId<DocumentId>('selfsame/document/1', encode([space, kind, name]))
  if (knownIds.size === knownIdsMax) knownIds.clear()
  knownIds.set(key, id)
  return id
}

function faultOfName(kind: string, name: string): string | undefined {
  if (!isDocumentKind(kind)) return `'${kind}' is not a kind of document: use one of ${documentKinds.join(', ')}`
  if (name === '') return 'the document name is empty'
  if (!name.isWellFormed()) return 'the document name is not well-formed Unicode: it holds half a surrogate pair'
  if (Buffer.byteLength(name) > documentNameBytesMax) return `the document name is longer than ${documentNameBytesMax} bytes: shorten it`
  if (/\p{Cc}/u.test(name)) return 'the document name holds a control character: remove it'
  for (const segment of name.split('/')) {
    if (segment === '')
      return `the document name '${name}' has an empty part: write it without a slash at its ends and without two in a row`
    if (segment === '.' || segment === '..')
      return `the document name '${name}' has the part '${segment}': name the document by its full path`
  }
  return undefined
}
