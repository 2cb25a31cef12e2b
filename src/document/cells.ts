/**
 * Cells: the one mechanism under counters, sets and register maps. A document is a list of binary items; a writer deletes
 * the cells that it saw for a key and adds its own. Each feed's cells form a chain of their own inside the list (origin:
 * the feed's last item; right origin: null), so dead cells lie side by side and melt into one, and no cell refers to
 * another feed. The list's index methods are never used: they cost its length, and their search markers do not survive
 * items integrated directly. What is live is kept in an index by key instead.
 *
 * A feed's first item has no origin, and Yjs would walk the cells of all lower client ids to place it (some 0.3 us each).
 * Here it goes to the front, be it ours or a peer's: where the chains stand among each other means nothing and is in no
 * state. Loading goes through Yjs: it meets the highest client id first and walks nothing.
 */
import * as Y from 'yjs'
import { assert, cellKeyLengthMax, decode, encode, isText, ok, refuse, SelfsameError } from '../core/index.ts'
import type { Encodable, Result } from '../core/index.ts'
import { readUpdate } from './update-reader.ts'

/** Name of the root list. */
export const cellsRoot = 'cells'
/** CBOR items of a cell: the list, a key, and what any format keeps besides. */
const cellItemsMax = 8

/** What one kind keeps in a cell besides its key. */
export interface CellFormat<Value> {
  /** The cell's fields after the key. */
  valueToFields(value: Value): readonly Encodable[]
  /** The value in the fields, the key's being the first; undefined where they are not of this format. */
  fieldsToValue(fields: readonly unknown[]): Value | undefined
}

/** A live cell. */
export interface Cell<Value> {
  readonly item: Y.Item
  readonly value: Value
}

/** What becomes of one key: some of its live cells go, one may come. */
export interface CellChange<Value> {
  readonly key: string
  readonly removed: readonly Cell<Value>[]
  readonly added?: Value
}

export interface Cells<Value> {
  /** The live cells of a key, in no particular order. */
  of(key: string): readonly Cell<Value>[]
  /** The keys with live cells, sorted by code units; only `key` where one is given. */
  keys(key?: string): readonly string[]
  write(transaction: Y.Transaction, changes: Iterable<CellChange<Value>>): void
  /** Materialises an update that was found valid. */
  materialise(transaction: Y.Transaction, update: Uint8Array): void
  /** Brings the index up to date with what a transaction changed. Returns the keys that lost or gained cells, sorted. */
  absorb(transaction: Y.Transaction): readonly string[]
}

function encodeCell<Value>(format: CellFormat<Value>, key: string, value: Value): Uint8Array {
  return encode([key, ...format.valueToFields(value)])
}

/** Reads the bytes of a cell: exactly those that `encodeCell` makes. One content has one encoding, since CBOR that is accepted has and no format drops a field. */
export function decodeCell<Value>(format: CellFormat<Value>, bytes: Uint8Array): Result<{ readonly key: string; readonly value: Value }> {
  const cell = readCell(format, bytes)
  return cell === undefined || faultOfKey(cell.key) !== undefined ? refuse('a cell is malformed') : ok(cell)
}

function readCell<Value>(format: CellFormat<Value>, bytes: Uint8Array): { key: string; value: Value } | undefined {
  const decoded = decode(bytes, cellItemsMax)
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined
  const fields = decoded.value as readonly unknown[]
  const key = fields[0]
  const value = format.fieldsToValue(fields)
  return isText(key, cellKeyLengthMax) && value !== undefined ? { key, value } : undefined
}

/** Throws `invalid-request` where `key` cannot be a counter key, set member or register key. `noun` says which of them it is. */
export function checkCellKey(noun: string, key: string): void {
  const fault = faultOfKey(key)
  if (fault !== undefined) throw new SelfsameError('invalid-request', `the ${noun} ${fault}`)
}

function faultOfKey(key: string): string | undefined {
  if (key === '') return 'is empty'
  if (key.length > cellKeyLengthMax) return `is longer than ${cellKeyLengthMax} characters: shorten it`
  return key.isWellFormed() ? undefined : 'is not well-formed Unicode: it holds half a surrogate pair'
}

/** Opens the cells of a document, with one walk over the list. */
export function openCells<Value>(doc: Y.Doc, format: CellFormat<Value>): Cells<Value> {
  const list = doc.get(cellsRoot, Y.Array)
  const cellsByKey = new Map<string, Cell<Value>[]>()

  /** Adds a live item to the index; returns its key. */
  function index(item: Y.Item): string {
    const cell = contentOf(item)
    assert(cell !== undefined, 'a stored cell is malformed')
    const cells = cellsByKey.get(cell.key)
    if (cells === undefined) cellsByKey.set(cell.key, [{ item, value: cell.value }])
    else cells.push({ item, value: cell.value })
    return cell.key
  }

  function contentOf(item: Y.Item): { key: string; value: Value } | undefined {
    return item.content instanceof Y.ContentBinary ? readCell(format, item.content.content) : undefined
  }

  /** Adds a cell at the end of its feed's chain; a new chain begins at the front of the list. */
  function append(transaction: Y.Transaction, client: number, bytes: Uint8Array): void {
    const { store } = transaction.doc
    const left = (store.clients.get(client)?.at(-1) ?? null) as Y.Item | null
    const right = left === null ? list._start : left.right
    const id = Y.createID(client, Y.getState(store, client))
    new Y.Item(id, left, left && left.lastId, right, null, list, null, new Y.ContentBinary(bytes)).integrate(transaction, 0)
  }

  for (let item = list._start; item !== null; item = item.right) if (!item.deleted) index(item)

  return {
    of: (key) => cellsByKey.get(key) ?? [],

    keys(key) {
      if (key !== undefined) return cellsByKey.has(key) ? [key] : []
      return [...cellsByKey.keys()].sort()
    },

    write(transaction, changes) {
      for (const { key, removed, added } of changes) {
        for (const { item } of removed) item.delete(transaction)
        if (added !== undefined) append(transaction, transaction.doc.clientID, encodeCell(format, key, added))
      }
    },

    materialise(transaction, update) {
      const { store } = transaction.doc
      const parts = readUpdate(update)
      assert(parts.ok, 'only valid updates are materialised')
      const { client, structs, deleted } = parts.value
      for (const { clock, content } of structs) {
        if (content.type === 'binary' && clock >= Y.getState(store, client)) append(transaction, client, content.bytes)
      }
      for (const { client, clock, length } of deleted) {
        const structs = store.clients.get(client) ?? []
        for (let at = Y.findIndexSS(structs, clock); at < structs.length; at++) {
          const item = structs[at] as Y.Item
          if (item.id.clock >= clock + length) break
          item.delete(transaction)
        }
      }
    },

    absorb(transaction) {
      const { store } = transaction.doc
      const touched = new Set<string>()
      Y.iterateDeletedStructs(transaction, transaction.deleteSet, (struct) => {
        const cell = struct instanceof Y.Item ? contentOf(struct) : undefined
        if (cell !== undefined) touched.add(cell.key)
      })
      for (const key of touched) {
        const cells = cellsByKey.get(key)?.filter(({ item }) => !item.deleted) ?? []
        if (cells.length > 0) cellsByKey.set(key, cells)
        else cellsByKey.delete(key)
      }
      for (const [client, end] of transaction.afterState) {
        const start = transaction.beforeState.get(client) ?? 0
        if (start === end) continue
        const structs = store.clients.get(client) ?? []
        for (let at = Y.findIndexSS(structs, start); at < structs.length; at++) {
          const item = structs[at]
          if (item instanceof Y.Item && !item.deleted) touched.add(index(item))
        }
      }
      return [...touched].sort()
    },
  }
}
