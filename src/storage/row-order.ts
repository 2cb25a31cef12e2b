/** The orders in which both stores list rows. Text is compared by UTF-16 unit, which for identifiers is the order of their bytes. */
import type { DocumentRow, EntryCursor, EvidenceRow, QuarantineRow } from './store.ts'

export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

export function byKindAndName(a: DocumentRow, b: DocumentRow): number {
  return byText(a.kind, b.kind) || byText(a.name, b.name) || byText(a.document, b.document)
}

export function byTimeAndId(a: EntryCursor, b: EntryCursor): number {
  return a.time - b.time || byText(a.id, b.id)
}

export function byDocumentAndFeed(a: QuarantineRow, b: QuarantineRow): number {
  return byText(a.document, b.document) || byText(a.feed, b.feed)
}

export function byAge(a: EvidenceRow, b: EvidenceRow): number {
  return a.at - b.at || byText(a.id, b.id)
}
