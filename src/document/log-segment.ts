/**
 * Log segments: a Yjs array of JSON objects with one writer. One writer means no concurrency, so the updates are written
 * and read here directly, byte for byte as Yjs does it, and no Yjs document is ever built.
 */
import * as encoding from 'lib0/encoding'
import {
  assert,
  envelopeOperationsMax,
  idBytes,
  isText,
  isUint,
  jsonDepthMax,
  ok,
  refuse,
  segmentEntriesMax,
  SelfsameError,
  stampBytes,
  textLengthMax,
} from '../core/index.ts'
import type { FeedId, Result, Stamp } from '../core/index.ts'
import { digestOf } from './digest.ts'
import type { EntryContent, Json, SegmentWriter } from './document.ts'
import { faultOfJson, isJsonObject } from './json-value.ts'
import { readUpdate, readUpdateOfFeed, updateBytesMax } from './update-reader.ts'
import type { UpdateParts } from './update-reader.ts'

/** Name of the root array. */
const entriesRoot = 'entries'

/** UTF-16 units of an entry's kind, and of a tag. */
const entryWordLengthMax = 256
/** Tags of one entry. */
const entryTagsMax = 64
/** Milliseconds since the Unix epoch: what 48 bits hold, as in a stamp. */
const entryTimeMax = 2 ** 48 - 1

/** Throws `invalid-request` where a client's entry cannot be appended. */
export function checkEntryContent(entry: EntryContent): void {
  const fault = faultOfEntry(entry) ?? (entry.data === undefined ? undefined : faultOfJson(entry.data, jsonDepthMax - 1))
  if (fault !== undefined) throw new SelfsameError('invalid-request', `the entry cannot be appended: ${fault}`)
}

/** What is wrong with an entry, its data aside. */
function faultOfEntry({ text, data, kind, tags, time }: EntryContent): string | undefined {
  if (text === undefined && data === undefined) return 'it has neither text nor data'
  if (text !== undefined && !isWord(text, textLengthMax)) return `its text is not well-formed text of at most ${textLengthMax} characters`
  if (kind !== undefined && (!isWord(kind, entryWordLengthMax) || kind === ''))
    return `its kind is not text of 1 to ${entryWordLengthMax} characters`
  if (
    tags !== undefined &&
    !(Array.isArray(tags) && tags.length <= entryTagsMax && tags.every((tag) => isWord(tag, entryWordLengthMax) && tag !== ''))
  ) {
    return `its tags are not at most ${entryTagsMax} texts of 1 to ${entryWordLengthMax} characters`
  }
  if (time !== undefined && !isUint(time, entryTimeMax)) return 'its time is not a whole number of milliseconds since 1970'
  return undefined
}

function isWord(value: unknown, lengthMax: number): value is string {
  return isText(value, lengthMax) && value.isWellFormed()
}

/** An entry as it stands in the array: short keys, present where there is something. */
function entryToJson({ text, data, kind, tags, time }: EntryContent): Json {
  return {
    ...(text !== undefined && { t: text }),
    ...(data !== undefined && { d: data }),
    ...(kind !== undefined && { k: kind }),
    ...(tags !== undefined && tags.length > 0 && { g: tags }),
    ...(time !== undefined && { m: time }),
  }
}

const entryKeys = new Set(['t', 'd', 'k', 'g', 'm'])

function jsonToEntry(value: Json): Result<EntryContent> {
  if (!isJsonObject(value)) return refuse('an entry is not an object')
  for (const key in value) if (!entryKeys.has(key)) return refuse('an entry has an unknown field')
  const { t: text, d: data, k: kind, g: tags, m: time } = value
  // The shapes are not known yet: `faultOfEntry` looks at every field before anyone else does.
  const entry = {
    ...(text !== undefined && { text }),
    ...(data !== undefined && { data }),
    ...(kind !== undefined && { kind }),
    ...(tags !== undefined && { tags }),
    ...(time !== undefined && { time }),
  } as EntryContent
  const fault = faultOfEntry(entry)
  return fault === undefined ? ok(entry) : refuse(`an entry cannot be: ${fault}`)
}

// An item's first byte: JSON values, and whether it names the item before it.
const contentAny = 8
const originBit = 128

/** The update that appends `values` to the array, where it holds `clock` of them. */
function encodeRun(client: number, clock: number, values: readonly Json[]): Uint8Array {
  return encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, 1) // clients
    encoding.writeVarUint(encoder, 1) // structs
    encoding.writeVarUint(encoder, client)
    encoding.writeVarUint(encoder, clock)
    if (clock === 0) {
      encoding.writeUint8(encoder, contentAny)
      encoding.writeVarUint(encoder, 1) // the parent is a root
      encoding.writeVarString(encoder, entriesRoot)
    } else {
      encoding.writeUint8(encoder, contentAny | originBit)
      encoding.writeVarUint(encoder, client)
      encoding.writeVarUint(encoder, clock - 1)
    }
    encoding.writeVarUint(encoder, values.length)
    for (const value of values) encoding.writeAny(encoder, value as encoding.AnyEncodable)
    encoding.writeVarUint(encoder, 0) // deletes
  })
}

/** What Yjs encodes of a document that holds nothing: no clients, no deletes. */
const emptyState = Uint8Array.of(0, 0)

/** Opens the writer of a segment that holds `entries` entries of `client` so far. */
export function openSegmentWriter(client: number, entries: number = 0): SegmentWriter {
  let count = entries
  return {
    get entries() {
      return count
    },
    append(entries) {
      if (entries.length === 0) throw new SelfsameError('invalid-request', 'there is no entry to append')
      if (entries.length > envelopeOperationsMax)
        throw new SelfsameError('too-large', `more than ${envelopeOperationsMax} entries at once: split them`)
      for (const entry of entries) checkEntryContent(entry)
      const update = encodeRun(client, count, entries.map(entryToJson))
      if (update.length > updateBytesMax)
        throw new SelfsameError(
          'too-large',
          `the entries take ${update.length} bytes, more than ${updateBytesMax}: split them, or keep the contents in a text document`,
        )
      count += entries.length
      return update
    },
  }
}

/**
 * The entries that an update appends to a segment of `client` that holds `nextClock` entries in its declared past. An
 * update may begin while the segment has fewer than `segmentEntriesMax` entries, and does nothing but append.
 */
export function readSegmentUpdate(update: Uint8Array, client: number, nextClock: number): Result<readonly EntryContent[]> {
  if (nextClock >= segmentEntriesMax) return refuse('the segment is full')
  const parts = readUpdateOfFeed(update, client, nextClock)
  return parts.ok ? partsToEntries(parts.value, client) : parts
}

/** The entries of an update of `client` that was accepted before: it is read on from where it begins itself. */
export function readAcceptedSegmentUpdate(update: Uint8Array, client: number): Result<readonly EntryContent[]> {
  const parts = readUpdate(update)
  return parts.ok ? partsToEntries(parts.value, client) : parts
}

function partsToEntries({ structs, deleted }: UpdateParts, client: number): Result<readonly EntryContent[]> {
  if (structs.length === 0) return refuse('an update of a log that appends nothing')
  if (deleted.length > 0) return refuse('an update of a log that deletes')
  const entries: EntryContent[] = []
  for (const { clock, origin, rightOrigin, parent, isKeyed, content } of structs) {
    const isNext = clock === 0 ? origin === null && parent === entriesRoot : origin?.client === client && origin.clock === clock - 1
    if (!isNext || rightOrigin !== null || isKeyed) return refuse('an entry that does not follow the one before it')
    if (content.type !== 'any') return refuse('an entry that is not JSON')
    if (entries.length + content.values.length > envelopeOperationsMax) return refuse('too many entries')
    for (const value of content.values) {
      const entry = jsonToEntry(value)
      if (!entry.ok) return entry
      entries.push(entry.value)
    }
  }
  return ok(entries)
}

/**
 * The digest of a segment, from all its updates in order, and the number of entries that it is of. What an update repeats is passed over, and what
 * does not follow is left out. The state that is digested is the one that Yjs has of it, which makes one run of all that follows each other.
 */
export function segmentDigest(updates: Iterable<Uint8Array>): { readonly digest: string; readonly entries: number } {
  const values: Json[] = []
  let writer = 0
  for (const update of updates) {
    const parts = readUpdate(update)
    assert(parts.ok, 'an update that was accepted does not read')
    const { client, structs } = parts.value
    writer = client
    for (const { clock, content } of structs) {
      assert(content.type === 'any', 'an update of a log that was accepted holds something else than entries')
      if (clock <= values.length) for (const value of content.values.slice(values.length - clock)) values.push(value)
    }
  }
  const state = values.length === 0 ? emptyState : encodeRun(writer, 0, values)
  return { digest: digestOf('log', state, values), entries: values.length }
}

/** Hexadecimal digits of each part of an entry id. */
const digits = { stamp: stampBytes * 2, feed: idBytes.feed * 2, sequence: 8, index: 4 } as const

/** The parts of an entry's id: the envelope that carries it, and its index among that envelope's entries. */
export interface EntryPlace {
  readonly stamp: Stamp
  readonly feed: FeedId
  readonly sequence: number
  readonly index: number
}

/** The id of a log entry: 60 hexadecimal digits, whose text order is the order of stamps. */
export function entryIdOf(stamp: Stamp, feed: FeedId, sequence: number, index: number): string {
  return stamp + feed + sequence.toString(16).padStart(digits.sequence, '0') + index.toString(16).padStart(digits.index, '0')
}

/** The parts of an entry id, or undefined where the text is none. */
export function parseEntryId(id: string): EntryPlace | undefined {
  if (!/^[0-9a-f]{60}$/.test(id)) return undefined
  const feedAt = digits.stamp
  const sequenceAt = feedAt + digits.feed
  const indexAt = sequenceAt + digits.sequence
  return {
    stamp: id.slice(0, feedAt) as Stamp,
    feed: id.slice(feedAt, sequenceAt) as FeedId,
    sequence: Number.parseInt(id.slice(sequenceAt, indexAt), 16),
    index: Number.parseInt(id.slice(indexAt), 16),
  }
}
