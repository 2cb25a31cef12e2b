/**
 * A log entry as a line of an export, and back. An imported entry is written by the instance that imports it; so that nothing is lost, the
 * entry carries in its data, under `selfsame/origin`, who is said to have written it first and under which id. An export shows that
 * origin in place of the importing instance, so that it is the same however often it is imported and exported.
 */
import type { Author, EntryInput, Json, LogEntry } from '../api/client.ts'

/** The member of an entry's data that tells its origin. */
const originKey = 'selfsame/origin'

type JsonObject = { readonly [key: string]: Json }

/** An entry as it is exported, in the order of its fields. */
export interface ExportedEntry {
  readonly id: string
  readonly time: string
  readonly author: Author
  readonly kind?: string
  readonly text?: string
  readonly data?: Json
  readonly tags?: readonly string[]
}

/** What an entry says of itself, and whether another instance has brought it here than wrote it. */
export function entryToExported({ author, data, id, kind, tags, text, time }: LogEntry): ExportedEntry & { readonly importedBy?: Author } {
  const origin = originOf(data)
  const content = origin === undefined ? data : contentOf(data as JsonObject, origin)
  return {
    id: origin?.id ?? id,
    time,
    author: origin?.author ?? author,
    ...(kind === undefined ? {} : { kind }),
    ...(text === undefined ? {} : { text }),
    ...(content === undefined ? {} : { data: content }),
    ...(tags === undefined ? {} : { tags }),
    ...(origin === undefined ? {} : { importedBy: author }),
  }
}

/** An exported entry as one to append here. One without id and author, written by hand, becomes an entry like any other. */
export function exportedToInput({ author, data, id, ...entry }: Partial<ExportedEntry>): EntryInput {
  if (id === undefined || author === undefined) return { ...entry, ...(data === undefined ? {} : { data }) }
  // Members stay where programs look for them; what has none goes along inside.
  const isOpen = isObject(data) && Object.keys(data).length > 0 && !Object.hasOwn(data, originKey)
  const origin = { author, id, ...(data === undefined || isOpen ? {} : { data }) }
  return { ...entry, data: { ...(isOpen ? data : {}), [originKey]: origin } }
}

interface Origin {
  readonly id: string
  readonly author: Author
  readonly data?: Json
}

function originOf(data: Json | undefined): Origin | undefined {
  if (!isObject(data) || !Object.hasOwn(data, originKey)) return undefined
  const origin = data[originKey]
  if (!isObject(origin) || typeof origin['id'] !== 'string' || !isObject(origin['author'])) return undefined
  const { author, id } = origin
  return isObject(author) && typeof author['id'] === 'string' && typeof author['name'] === 'string'
    ? { id, author: { id: author['id'], name: author['name'] }, ...(origin['data'] === undefined ? {} : { data: origin['data'] }) }
    : undefined
}

function contentOf(data: JsonObject, origin: Origin): Json | undefined {
  if (origin.data !== undefined) return origin.data
  const members = Object.entries(data).filter(([key]) => key !== originKey)
  return members.length === 0 ? undefined : Object.fromEntries(members)
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
