/**
 * JSON documents: native Yjs maps and arrays under one root map, so that concurrent changes merge at every level. Patches
 * are worked out on the plain value; then only what differs is written.
 */
import * as Y from 'yjs'
import { assert, jsonDepthMax, SelfsameError } from '../core/index.ts'
import { jsonParts } from './blame.ts'
import { wrongEdit } from './content.ts'
import type { Content, OpenContent } from './content.ts'
import type { Edit, Json } from './document.ts'
import { jsonPatch, mergePatch } from './json-patch.ts'
import { faultOfJson, isJsonArray, isJsonObject, jsonEquals, sortKeys } from './json-value.ts'
import type { JsonObject } from './json-value.ts'
import { diffLists } from './list-diff.ts'

/** Name of the root map. */
export const jsonRoot = 'json'

/** Elements of one array that may differ before its whole changed region is rewritten. The diff takes the square of it in steps. */
const arrayEditsMax = 256

/** What a Yjs container holds: nested containers and primitives, never plain objects. */
type YValue = Y.Map<unknown> | Y.Array<unknown> | null | boolean | number | string

export const openJson: OpenContent = (doc): Content => {
  const root = doc.getMap(jsonRoot)
  /** The plain value; null where it has to be made again. It is made when somebody asks, however many updates came before. */
  let plain: JsonObject | null = null
  const current = (): JsonObject => (plain ??= mapToJson(root))

  return {
    stage() {
      let staged = current()
      return {
        apply(edit) {
          const next = patched(staged, edit)
          const fault = faultOfJson(next, jsonDepthMax, staged)
          if (fault !== undefined) throw new SelfsameError('invalid-request', `the patched document could not be stored: ${fault}`)
          if (!isJsonObject(next))
            throw new SelfsameError('patch-failed', 'the document itself has to stay an object: put the value under a key')
          staged = next
        },
        write() {
          writeObject(root, current(), staged)
          plain = staged
        },
      }
    },
    materialise: (transaction, update) => Y.applyUpdate(doc, update, transaction.origin),
    absorb({ local }) {
      // A local change was written from the plain value, which is already there.
      if (!local) plain = null
      return []
    },
    value: () => ({ kind: 'json', value: sortKeys(current()) }),
    parts: () => jsonParts(root),
    readable: current,
  }
}

function patched(target: JsonObject, edit: Edit): Json {
  if (edit.type === 'json.merge') {
    checkPatch(edit.patch)
    return mergePatch(target, edit.patch)
  }
  if (edit.type !== 'json.patch') throw wrongEdit('json', edit)
  for (const operation of edit.patch) if ('value' in operation) checkPatch(operation.value)
  return jsonPatch(target, edit.patch)
}

/** Keeps the recursive walks of a patch shallow. */
function checkPatch(patch: Json): void {
  const fault = faultOfJson(patch, jsonDepthMax)
  if (fault !== undefined) throw new SelfsameError('invalid-request', `the patch cannot be applied: ${fault}`)
}

function mapToJson(map: Y.Map<unknown>): JsonObject {
  const members: [string, Json][] = []
  for (const [key, value] of map.entries()) members.push([key, toJson(value as YValue)])
  return Object.fromEntries(members)
}

function toJson(value: YValue): Json {
  if (value instanceof Y.Map) return mapToJson(value)
  if (value instanceof Y.Array) return value.toArray().map((item) => toJson(item as YValue))
  return value
}

function fromJson(value: Json): YValue {
  if (typeof value !== 'object' || value === null) return value
  if (isJsonArray(value)) return arrayOf(value.map(fromJson))
  return new Y.Map(Object.entries(value).map(([key, item]) => [key, fromJson(item)]))
}

function arrayOf(items: unknown[]): Y.Array<unknown> {
  const array = new Y.Array<unknown>()
  array.push(items)
  return array
}

/** Makes `map`, which holds `before`, hold `after`. */
function writeObject(map: Y.Map<unknown>, before: JsonObject, after: JsonObject): void {
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) map.delete(key)
  for (const key of Object.keys(after)) {
    const next = after[key] as Json
    if (next === before[key]) continue
    const current = Object.hasOwn(before, key) ? before[key] : undefined
    if (current !== undefined && (jsonEquals(current, next) || writeInside(() => map.get(key), current, next))) continue
    map.set(key, fromJson(next))
  }
}

/** Makes `array`, which holds `before`, hold `after`; containers that changed inside only are kept. */
function writeArray(array: Y.Array<unknown>, before: readonly Json[], after: readonly Json[]): void {
  for (const { start, end, toStart, toEnd } of diffLists(before, after, arrayEditsMax, jsonEquals).toReversed()) {
    const pairs = Math.min(end - start, toEnd - toStart)
    if (end > start + pairs) array.delete(start + pairs, end - start - pairs)
    if (toEnd > toStart + pairs) array.insert(start + pairs, after.slice(toStart + pairs, toEnd).map(fromJson))
    for (let index = 0; index < pairs; index++) {
      const at = start + index
      const next = after[toStart + index] as Json
      if (writeInside(() => array.get(at), before[at] as Json, next)) continue
      array.delete(at)
      array.insert(at, [fromJson(next)])
    }
  }
}

/** Where both values are objects, or both arrays: changes the container in place, and returns true. */
function writeInside(container: () => unknown, current: Json, next: Json): boolean {
  if (isJsonArray(current) && isJsonArray(next)) {
    const array = container()
    assert(array instanceof Y.Array, 'the plain value mirrors the document')
    writeArray(array as Y.Array<unknown>, current, next)
    return true
  }
  if (isJsonObject(current) && isJsonObject(next)) {
    const map = container()
    assert(map instanceof Y.Map, 'the plain value mirrors the document')
    writeObject(map as Y.Map<unknown>, current, next)
    return true
  }
  return false
}
