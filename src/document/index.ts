/** The front of the document room: the merge engine. The only room that imports yjs. */
export { checkDocumentName, documentIdOf, isDocumentKind, isDocumentName } from './document-name.ts'
export type * from './document.ts'
export { canonicalJson } from './json-value.ts'
export type { JsonObject } from './json-value.ts'
export { openLiveDocument } from './live-document.ts'
export {
  checkEntryContent,
  entryIdOf,
  openSegmentWriter,
  parseEntryId,
  readAcceptedSegmentUpdate,
  readSegmentUpdate,
  segmentDigest,
} from './log-segment.ts'
export type { EntryPlace } from './log-segment.ts'
export { openPresence } from './presence.ts'
export type { Presence, PresenceState } from './presence.ts'
export { textVersionOf } from './text.ts'
