/** Plain JSON values: what may be stored, when two are equal, and their one canonical text. */
import type { Json } from './document.ts'

/** A JSON object that is not an array. */
export type JsonObject = { readonly [key: string]: Json }

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isJsonArray(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

/**
 * What keeps `value` from being stored as JSON nested at most `depthMax` containers deep, else undefined. Whatever is
 * the very same object as in `known`, at the same place, was checked before and is not walked again.
 */
export function faultOfJson(value: unknown, depthMax: number, known?: unknown): string | undefined {
  if (value === null || typeof value === 'boolean') return undefined
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : `${value} is not a JSON number`
  if (typeof value === 'string')
    return value.isWellFormed() ? undefined : 'a string is not well-formed Unicode: it holds half a surrogate pair'
  if (typeof value !== 'object') return `a value of type ${typeof value} is not JSON`
  if (value === known) return undefined
  if (depthMax === 0) return 'the value is nested too deeply'
  if (Array.isArray(value)) {
    for (const item of value as readonly unknown[]) {
      const fault = faultOfJson(item, depthMax - 1)
      if (fault !== undefined) return fault
    }
    return undefined
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return 'an object that is not a plain one is not JSON'
  const object = value as { readonly [key: string]: unknown }
  const knownObject = isJsonObject(known) ? known : {}
  for (const key of Object.keys(object)) {
    const knownItem = Object.hasOwn(knownObject, key) ? knownObject[key] : undefined
    if (knownItem !== undefined && object[key] === knownItem) continue
    const fault = faultOfJsonKey(key) ?? faultOfJson(object[key], depthMax - 1, knownItem)
    if (fault !== undefined) return fault
  }
  return undefined
}

function faultOfJsonKey(key: string): string | undefined {
  if (key === '__proto__') return 'the key __proto__ is not allowed'
  return key.isWellFormed() ? undefined : 'a key is not well-formed Unicode: it holds half a surrogate pair'
}

/** The one text of a value: keys sorted by UTF-16 code units, no spaces, numbers as ECMAScript writes them (RFC 8785). */
export function canonicalJson(value: Json): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (isJsonArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] as Json)}`)
  return `{${members.join(',')}}`
}

/** Whether two values have the same canonical text. */
export function jsonEquals(a: Json, b: Json): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (isJsonArray(a)) return isJsonArray(b) && a.length === b.length && a.every((item, index) => jsonEquals(item, b[index] as Json))
  if (isJsonArray(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && jsonEquals(a[key] as Json, b[key] as Json))
}

/** A copy whose objects list their keys in canonical order. (Keys that look like array indexes come first in any JavaScript object.) */
export function sortKeys(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value
  if (isJsonArray(value)) return value.map(sortKeys)
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sortKeys(value[key] as Json)]),
  )
}
