/**
 * JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902) as pure functions over plain values. What a patch does not touch
 * is the very same object in the result, so that a comparison by reference finds what changed.
 */
import { SelfsameError } from '../core/index.ts'
import type { Json, JsonPatchOperation } from './document.ts'
import { isJsonArray, isJsonObject, jsonEquals } from './json-value.ts'

/** The target after a merge patch; the target itself where the patch changes nothing. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isJsonObject(patch)) return jsonEquals(target, patch) ? target : patch
  const base = isJsonObject(target) ? target : {}
  const changes: [string, Json][] = []
  const removed = new Set<string>()
  for (const [key, change] of Object.entries(patch)) {
    const current = Object.hasOwn(base, key) ? base[key] : undefined
    if (change === null) {
      if (current !== undefined) removed.add(key)
      continue
    }
    const next = mergePatch(current ?? null, change)
    if (next !== current) changes.push([key, next])
  }
  if (base === target && changes.length === 0 && removed.size === 0) return target
  const kept = removed.size === 0 ? base : Object.fromEntries(Object.entries(base).filter(([key]) => !removed.has(key)))
  return { ...kept, ...Object.fromEntries(changes) }
}

/** The target after all operations; throws `patch-failed`, naming the first that does not fit, and `target` is as it was. */
export function jsonPatch(target: Json, patch: readonly JsonPatchOperation[]): Json {
  let value = target
  for (const [index, operation] of patch.entries()) {
    try {
      value = applyOperation(value, operation)
    } catch (error) {
      if (!(error instanceof Misfit)) throw error
      throw new SelfsameError(
        'patch-failed',
        `operation ${index} (${operation.op} ${operation.path || 'the whole document'}): ${error.message}`,
      )
    }
  }
  return value
}

/** Thrown and caught in this file alone: why one operation does not fit. */
class Misfit extends Error {}

function applyOperation(target: Json, operation: JsonPatchOperation): Json {
  const path = pointerToKeys(operation.path)
  switch (operation.op) {
    case 'add':
      return put(target, path, operation.value, 'insert')
    case 'replace':
      return put(target, path, operation.value, 'replace')
    case 'remove':
      return remove(target, path)
    case 'test':
      if (!jsonEquals(find(target, path), operation.value)) throw new Misfit('the value there is another one')
      return target
    case 'copy':
      return put(target, path, find(target, pointerToKeys(operation.from)), 'insert')
    case 'move': {
      const from = pointerToKeys(operation.from)
      if (from.length < path.length && from.every((key, index) => key === path[index]))
        throw new Misfit('a value cannot be moved into itself')
      const moved = find(target, from)
      // Moving something to its own place is allowed and changes nothing, also for the whole document, which cannot be removed.
      return operation.from === operation.path ? target : put(remove(target, from), path, moved, 'insert')
    }
    default:
      throw new Misfit(`'${String((operation as { op: unknown }).op)}' is not an operation of JSON Patch`)
  }
}

/** The reference tokens of a JSON Pointer (RFC 6901). */
function pointerToKeys(pointer: string): readonly string[] {
  if (pointer === '') return []
  if (typeof pointer !== 'string' || !pointer.startsWith('/')) throw new Misfit('a path is empty or begins with a slash')
  if (/~(?![01])/.test(pointer)) throw new Misfit("in a path '~' is written '~0' and '/' is written '~1'")
  return pointer
    .slice(1)
    .split('/')
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function indexOf(key: string, lengthMax: number): number {
  if (!/^(0|[1-9]\d*)$/.test(key)) throw new Misfit(`'${key}' is not an index of an array`)
  const index = Number(key)
  if (index >= lengthMax) throw new Misfit(`index ${key} is beyond the end of the array`)
  return index
}

function child(container: Json, key: string): Json {
  if (isJsonArray(container)) return container[indexOf(key, container.length)] as Json
  if (!isJsonObject(container) || !Object.hasOwn(container, key)) throw new Misfit(`there is nothing at '${key}'`)
  return container[key] as Json
}

function find(target: Json, path: readonly string[]): Json {
  return path.reduce(child, target)
}

/** A copy of `container` with `value` in place of its child `key`, which exists. */
function withChild(container: Json, key: string, value: Json): Json {
  return isJsonArray(container) ? container.with(indexOf(key, container.length), value) : { ...(container as object), [key]: value }
}

function put(target: Json, path: readonly string[], value: Json, how: 'insert' | 'replace'): Json {
  const [key, ...rest] = path
  if (key === undefined) return value
  if (rest.length > 0 || how === 'replace') return withChild(target, key, put(child(target, key), rest, value, how))
  if (isJsonArray(target)) return target.toSpliced(key === '-' ? target.length : indexOf(key, target.length + 1), 0, value)
  if (!isJsonObject(target)) throw new Misfit('its parent is neither an object nor an array')
  return { ...target, [key]: value }
}

function remove(target: Json, path: readonly string[]): Json {
  const [key, ...rest] = path
  if (key === undefined) throw new Misfit('the whole document cannot be removed')
  const value = child(target, key)
  if (rest.length > 0) return withChild(target, key, remove(value, rest))
  if (isJsonArray(target)) return target.toSpliced(indexOf(key, target.length), 1)
  return Object.fromEntries(Object.entries(target as object).filter(([other]) => other !== key)) as Json
}
