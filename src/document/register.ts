/**
 * Register maps: of the live values of a key the greatest stamp wins, ties going to the greater client id; what was
 * written concurrently stays readable as siblings until a later write that saw it. Deleting removes what was seen.
 */
import { bytesToId, cellValueBytesMax, idToBytes, isBytes, jsonDepthMax, SelfsameError, stampBytes } from '../core/index.ts'
import type { Stamp } from '../core/index.ts'
import { cellParts } from './blame.ts'
import { checkCellKey, openCells } from './cells.ts'
import type { Cell, CellChange, CellFormat } from './cells.ts'
import { wrongEdit } from './content.ts'
import type { Content, OpenContent } from './content.ts'
import type { Json, RegisterCell } from './document.ts'
import { canonicalJson, faultOfJson } from './json-value.ts'

interface RegisterValue {
  /** The value's canonical JSON. */
  readonly json: string
  readonly stamp: Stamp
}

/** Cell: [key, canonical JSON, stamp]. That the JSON is canonical is checked by `isCanonicalJson`, where it comes from outside. */
export const registerCell: CellFormat<RegisterValue> = {
  valueToFields: ({ json, stamp }) => [json, idToBytes(stamp)],
  fieldsToValue(fields) {
    const [, json, stamp] = fields
    if (fields.length !== 3 || typeof json !== 'string' || !isBytes(stamp, stampBytes)) return undefined
    return { json, stamp: bytesToId<Stamp>(stamp) }
  },
}

/** Whether text from outside is the canonical JSON of a value that a register may hold. */
export function isCanonicalJson(json: string): boolean {
  if (Buffer.byteLength(json) > cellValueBytesMax) return false
  try {
    const value = JSON.parse(json) as Json
    return faultOfJson(value, jsonDepthMax) === undefined && canonicalJson(value) === json
  } catch {
    return false
  }
}

export const openRegister: OpenContent = (doc): Content => {
  const cells = openCells(doc, registerCell)

  /** The winner, then its siblings. */
  function rankedCells(key: string): readonly Cell<RegisterValue>[] {
    return cells
      .of(key)
      .toSorted((a, b) => compare(b.value.stamp, a.value.stamp) || b.item.id.client - a.item.id.client || b.item.id.clock - a.item.id.clock)
  }

  function ranked(key: string): readonly RegisterCell[] {
    return rankedCells(key).map(({ item, value }) => ({
      value: JSON.parse(value.json) as Json,
      stamp: value.stamp,
      client: item.id.client,
    }))
  }

  return {
    stage({ stamp }) {
      /** Canonical JSON by key; null where the key goes. */
      const written = new Map<string, string | null>()
      return {
        apply(edit) {
          if (edit.type !== 'register.set' && edit.type !== 'register.delete') throw wrongEdit('register', edit)
          checkCellKey('register key', edit.key)
          written.set(edit.key, edit.type === 'register.set' ? valueToJson(edit.value) : null)
        },
        write(transaction) {
          const changes: CellChange<RegisterValue>[] = []
          for (const [key, json] of written) changes.push({ key, removed: cells.of(key), ...(json !== null && { added: { json, stamp } }) })
          cells.write(transaction, changes)
        },
      }
    },
    materialise: (transaction, update) => cells.materialise(transaction, update),
    absorb: (transaction) => cells.absorb(transaction),
    value: (key) => ({ kind: 'register', cells: new Map(cells.keys(key).map((each) => [each, ranked(each)])) }),
    parts: () => cellParts(cells, rankedCells, ({ json }) => JSON.parse(json) as Json),
    readable: () => cells.keys().map((key) => [key, ranked(key).map(({ value, stamp, client }) => [value, stamp, client])]),
  }
}

function valueToJson(value: Json): string {
  const fault = faultOfJson(value, jsonDepthMax)
  if (fault !== undefined) throw new SelfsameError('invalid-request', `the value cannot be stored: ${fault}`)
  const json = canonicalJson(value)
  if (Buffer.byteLength(json) > cellValueBytesMax) {
    throw new SelfsameError(
      'too-large',
      `the value takes more than ${cellValueBytesMax} bytes as JSON: keep large contents in a text document`,
    )
  }
  return json
}

function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
