/**
 * The draft of an envelope: what requests put into it, by document, and who waits for which part of it. Also the words
 * for requests that the writer and those who ask it share.
 */
import type { DocumentId, FeedId, Stamp } from '../core/index.ts'
import { entryIdOf } from '../document/index.ts'
import type { Edit, EntryContent, LiveKind } from '../document/index.ts'
import type { Envelope, OperationId, OperationMark } from '../feed/index.ts'
import type { OwnBody } from './materialiser.ts'

/** One operation of a request. `operationId` names an entry of its own; else it is named by the request. */
export type LocalOperation =
  | { readonly type: 'edit'; readonly kind: LiveKind; readonly name: string; readonly edit: Edit }
  | { readonly type: 'append'; readonly name: string; readonly entry: EntryContent; readonly operationId?: string | undefined }

/** A request: all of its operations or none. */
export interface LocalWrite {
  readonly operations: readonly LocalOperation[]
  readonly operationId?: string | undefined
}

export interface WriteOutcome {
  /** Where it was written; null where nothing had to change. For a repeated request, where it was written first. */
  readonly place: { readonly feed: FeedId; readonly sequence: number } | null
  readonly stamp: Stamp
  /** Every operation of the request had been applied before. */
  readonly repeated: boolean
  /** Ids of the log entries of the request, in its order. */
  readonly entries: readonly string[]
  readonly alreadyThere: number
}

/** A request with who waits for it. Settled by the engine once the commit is. */
export interface PendingWrite {
  readonly write: LocalWrite
  resolve(outcome: WriteOutcome): void
  reject(error: unknown): void
}

/** An operation whose document and id are known. */
export interface PlannedOperation {
  readonly document: DocumentId
  readonly operation: LocalOperation
  readonly id: OperationId | null
  readonly fingerprint: string
}

/** Entries for one log. */
export interface DraftLog {
  readonly name: string
  readonly entries: EntryContent[]
  /** By index among `entries`. */
  readonly marks: Map<number, { readonly id: OperationId; readonly fingerprint: string }>
}

/** An envelope's content as it grows, and who waits for which part of it. */
export class Draft {
  readonly stamp: Stamp
  readonly updates = new Map<DocumentId, Uint8Array>()
  readonly edits = new Map<
    DocumentId,
    { readonly kind: LiveKind; readonly name: string; readonly keys: Set<string>; readonly marks: OperationMark[] }
  >()
  readonly logs = new Map<DocumentId, DraftLog>()
  readonly #requests: {
    readonly pending: PendingWrite
    readonly entries: readonly (string | { readonly document: DocumentId; readonly index: number })[]
    readonly fresh: number
    readonly known: number
    readonly first: { readonly feed: FeedId; readonly sequence: number } | null
    readonly documents: ReadonlySet<DocumentId>
  }[] = []

  constructor(stamp: Stamp) {
    this.stamp = stamp
  }

  /** `entries`: per log entry of the request its known id, or its place among the fresh appends. */
  add(
    pending: PendingWrite,
    fresh: readonly PlannedOperation[],
    entries: readonly (number | string)[],
    known: number,
    first: { readonly feed: FeedId; readonly sequence: number } | null,
  ): void {
    const places: { readonly document: DocumentId; readonly index: number }[] = []
    for (const { document, operation, id, fingerprint } of fresh) {
      if (operation.type === 'append') {
        const log = getOrAdd(this.logs, document, () => ({ name: operation.name, entries: [], marks: new Map() }))
        places.push({ document, index: log.entries.length })
        if (id !== null) log.marks.set(log.entries.length, { id, fingerprint })
        log.entries.push(operation.entry)
      } else {
        const edit = getOrAdd(this.edits, document, () => ({
          kind: operation.kind,
          name: operation.name,
          keys: new Set<string>(),
          marks: [],
        }))
        for (const key of keysOf(operation.edit)) edit.keys.add(key)
        if (id !== null) edit.marks.push({ id, fingerprint, index: 0 })
      }
    }
    this.#requests.push({
      pending,
      entries: entries.map((entry) => (typeof entry === 'string' ? entry : (places[entry] as { document: DocumentId; index: number }))),
      fresh: fresh.length,
      known,
      first,
      documents: new Set(fresh.map(({ document }) => document)),
    })
  }

  /** What to tell each request once the envelope is durable. */
  settlements(envelope: Envelope | null, own: readonly OwnBody[]): (() => void)[] {
    const firstEntries = new Map<DocumentId, number>()
    const written = new Set<DocumentId>()
    let count = 0
    for (const { document, entries } of own) {
      if (!firstEntries.has(document)) firstEntries.set(document, count)
      count += entries.length
      written.add(document)
    }
    return this.#requests.map((request) => () => {
      const fresh = envelope !== null && [...request.documents].some((document) => written.has(document))
      request.pending.resolve({
        place: fresh ? { feed: envelope.header.feed, sequence: envelope.header.sequence } : request.first,
        stamp: this.stamp,
        repeated: request.known > 0 && request.fresh === 0,
        entries: request.entries.map((entry) => {
          if (typeof entry === 'string') return entry
          const { header } = envelope as Envelope
          return entryIdOf(header.stamp, header.feed, header.sequence, (firstEntries.get(entry.document) as number) + entry.index)
        }),
        alreadyThere: request.known,
      })
    })
  }
}

function keysOf(edit: Edit): readonly string[] {
  switch (edit.type) {
    case 'counter.add':
    case 'register.set':
    case 'register.delete':
      return [edit.key]
    case 'set.add':
    case 'set.remove':
      return [edit.member]
    default:
      return []
  }
}

function getOrAdd<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key)
  if (value === undefined) map.set(key, (value = make()))
  return value
}
