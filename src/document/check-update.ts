/**
 * Whether an update may be materialised: a function of the update, its feed and the declared past of its envelope, and of
 * nothing else that happens to be here. Every update that `LiveDocument.edit` makes is valid.
 */
import { getState } from 'yjs'
import type { Doc } from 'yjs'
import { ok, refuse } from '../core/index.ts'
import type { Result } from '../core/index.ts'
import { openAuthorView } from './author-view.ts'
import { cellsRoot, decodeCell } from './cells.ts'
import type { CellFormat } from './cells.ts'
import { counterCell } from './counter.ts'
import type { CheckedUpdate, Json, LiveKind, UpdateContext } from './document.ts'
import { jsonRoot } from './json.ts'
import { isCanonicalJson, registerCell } from './register.ts'
import { setCell } from './set.ts'
import { textRoot } from './text.ts'
import { readUpdateOfFeed } from './update-reader.ts'
import type { StructId, UpdateParts } from './update-reader.ts'

/** Judges an update of the document whose state `doc` holds: all of the declared past, and whatever came besides. */
export function checkUpdate(doc: Doc, kind: LiveKind, update: Uint8Array, context: UpdateContext): Result<CheckedUpdate> {
  const read = readUpdateOfFeed(update, context.client, getState(doc.store, context.client))
  if (!read.ok) return read
  const keys = new Set<string>()
  const { clock, ...parts } = read.value
  const fault = faultOfReferences(parts, clock, context) ?? rules[kind](parts, context, keys, doc)
  return fault === undefined ? ok({ clock, keys: [...keys] }) : refuse(fault)
}

/** The rule of one kind: what is wrong with an update, else undefined; adds the keys of its cells to `keys`. */
type Rule = (parts: UpdateParts, context: UpdateContext, keys: Set<string>, doc: Doc) => string | undefined

const rules: Record<LiveKind, Rule> = {
  counter: (parts, context, keys) => faultOfCells(counterCell, parts, context, keys) ?? faultOfCounterDeletes(parts, context),
  set: (parts, context, keys) => faultOfCells(setCell, parts, context, keys),
  register: (parts, context, keys) =>
    faultOfCells(registerCell, parts, context, keys, ({ json, stamp }) => {
      if (stamp !== context.stamp) return 'a register cell with another stamp than its envelope'
      return isCanonicalJson(json) ? undefined : 'a register cell whose value is not canonical JSON'
    }),
  text: faultOfText,
  json: faultOfJsonStructs,
}

/** Every reference and deleted range lies in the declared past, or earlier in this same update. */
function faultOfReferences({ structs, deleted }: UpdateParts, clock: number, context: UpdateContext): string | undefined {
  for (const struct of structs) {
    const isKnown = (id: StructId) => id.clock < (id.client === context.client ? struct.clock : context.pastClock(id.client))
    const { origin, rightOrigin, parent } = struct
    if (origin !== null && !isKnown(origin)) return 'an origin beyond the declared past'
    if (rightOrigin !== null && !isKnown(rightOrigin)) return 'a right origin beyond the declared past'
    if (parent !== null && typeof parent !== 'string' && !isKnown(parent)) return 'a parent beyond the declared past'
  }
  for (const range of deleted) {
    const end = range.client === context.client ? clock : context.pastClock(range.client)
    if (range.clock + range.length > end) return 'a deletion beyond the declared past'
  }
  return undefined
}

/** Cells stand in the chain of their feed and nowhere else; one update has one cell for a key. */
function faultOfCells<Value>(
  format: CellFormat<Value>,
  { structs }: UpdateParts,
  { client }: UpdateContext,
  keys: Set<string>,
  faultOfValue?: (value: Value) => string | undefined,
): string | undefined {
  for (const { clock, origin, rightOrigin, parent, isKeyed, content } of structs) {
    if (content.type !== 'binary') return 'a cell that is not binary'
    const isNext = clock === 0 ? origin === null && parent === cellsRoot : origin?.client === client && origin.clock === clock - 1
    if (!isNext || rightOrigin !== null || isKeyed) return 'a cell that does not follow the one before it'
    const cell = decodeCell(format, content.bytes)
    if (!cell.ok) return cell.reason
    const fault = keys.has(cell.value.key) ? 'two cells for one key' : faultOfValue?.(cell.value.value)
    if (fault !== undefined) return fault
    keys.add(cell.value.key)
  }
  return undefined
}

function faultOfCounterDeletes({ deleted }: UpdateParts, { client }: UpdateContext): string | undefined {
  return deleted.every((range) => range.client === client) ? undefined : 'a counter update that deletes what another feed counted'
}

function faultOfText({ structs }: UpdateParts, context: UpdateContext, _: Set<string>, doc: Doc): string | undefined {
  const view = openAuthorView(doc, textRoot, context)
  for (const struct of structs) {
    if (struct.content.type !== 'string') return 'a text that holds something else than characters'
    if (struct.isKeyed) return 'a text with a key'
    if (struct.parent !== null && struct.parent !== textRoot) return 'an item outside the text'
    const fault = view.place(struct)
    if (fault !== undefined) return fault
  }
  return undefined
}

function faultOfJsonStructs({ structs }: UpdateParts, context: UpdateContext, _: Set<string>, doc: Doc): string | undefined {
  const view = openAuthorView(doc, jsonRoot, context)
  for (const struct of structs) {
    const { parent, isKeyed, key, content } = struct
    if (content.type === 'any' ? !content.values.every(isPrimitive) : content.type !== 'container')
      return 'a value that is neither a primitive nor a container'
    if (isKeyed && content.type === 'any' && content.values.length > 1) return 'a key with several values'
    if (key === '__proto__') return 'the key __proto__ is not allowed'
    if (typeof parent === 'string' && (parent !== jsonRoot || !isKeyed)) return 'an item outside the document'
    const fault = view.place(struct)
    if (fault !== undefined) return fault
  }
  return undefined
}

function isPrimitive(value: Json): boolean {
  return typeof value !== 'object' || value === null
}
