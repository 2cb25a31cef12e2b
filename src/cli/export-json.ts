/** JSON in exports: one text for one value, whoever writes it, so that two exports can be compared as files; and taken apart for edits of any size. */
import type { Json, JsonPatchOperation } from '../api/client.ts'

type JsonObject = { readonly [key: string]: Json }

/** Keys sorted by UTF-16 code units at every level; on one line, or with `indent` a member or item on each. */
export function jsonToText(value: Json, indent?: string): string {
  const line = indent === undefined ? '' : `\n${indent}`
  const list = (open: string, items: readonly string[], close: string): string =>
    items.length === 0
      ? open + close
      : `${open}${items.map((item) => line + item).join(',')}${indent === undefined ? '' : line.slice(0, -2)}${close}`
  const inner = indent === undefined ? undefined : `${indent}  `
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (isList(value)) {
    return list(
      '[',
      value.map((item) => jsonToText(item, inner)),
      ']',
    )
  }
  const members = Object.keys(value)
    .toSorted()
    .map((key) => `${JSON.stringify(key)}:${indent === undefined ? '' : ' '}${jsonToText(value[key] as Json, inner)}`)
  return list('{', members, '}')
}

/** UTF-16 units of values in one patch, about: a daemon takes 2 MiB at once. */
const patchLengthMax = 256 << 10
/** Operations in one patch; a daemon takes 1,000. */
const patchOperationsMax = 500

/** Patches that, one after the other, make a document `value`, whatever it was. Each is small enough for a daemon, however large the value is. */
export function* jsonToPatches(value: JsonObject): Generator<readonly JsonPatchOperation[]> {
  let patch: JsonPatchOperation[] = []
  let length = 0
  for (const operation of operationsFor('', value, 'replace')) {
    const size = JSON.stringify(operation).length
    if (patch.length === patchOperationsMax || (patch.length > 0 && length + size > patchLengthMax)) {
      yield patch
      ;[patch, length] = [[], 0]
    }
    patch.push(operation)
    length += size
  }
  yield patch
}

/** A container that is too large for one patch is made empty, and filled. */
function* operationsFor(path: string, value: Json, op: 'add' | 'replace'): Generator<JsonPatchOperation> {
  if (typeof value !== 'object' || value === null || JSON.stringify(value).length <= patchLengthMax) {
    yield { op, path, value }
  } else if (isList(value)) {
    yield { op, path, value: [] }
    for (const [index, item] of value.entries()) yield* operationsFor(`${path}/${index}`, item, 'add')
  } else {
    yield { op, path, value: {} }
    for (const [key, member] of Object.entries(value)) {
      yield* operationsFor(`${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, member, 'add')
    }
  }
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}
