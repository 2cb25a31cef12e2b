/** Reading JSON from outside: everything that the rest of the program would stumble over is refused here, once. */
import { isUtf8 } from 'node:buffer'
import { jsonDepthMax, SelfsameError } from '../core/index.ts'
import type { Json } from './schemas.ts'

/** Nesting of a request: user data of `jsonDepthMax` inside an entry, in a list, in an operation, in a list, in the body. */
const requestDepthMax = jsonDepthMax + 6

/** Text of UTF-8 bytes. Throws `invalid-request` instead of replacing what is not UTF-8. */
export function utf8ToText(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new SelfsameError('invalid-request', 'the text is not UTF-8')
  return bytes.toString('utf8')
}

/**
 * Parses JSON. Throws `invalid-request` for what is not JSON, is nested too deep, names a key `__proto__`, or escapes half of
 * a surrogate pair: that half would be read back as something else after a trip through UTF-8, and replicas would differ.
 */
export function parseJson(text: string): Json {
  if (depthOf(text) > requestDepthMax) throw new SelfsameError('invalid-request', `the JSON is nested more than ${requestDepthMax} deep`)
  // A reviver makes parsing several times slower: only where an escape could spell what it looks for.
  const suspect = text.includes('\\u') || text.includes('__proto__')
  try {
    return JSON.parse(text, suspect ? refuseHazards : undefined) as Json
  } catch (error) {
    if (error instanceof SelfsameError) throw error
    throw new SelfsameError('invalid-request', `this is not JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

function refuseHazards(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new SelfsameError('invalid-request', 'a key cannot be "__proto__"')
  if (!key.isWellFormed() || (typeof value === 'string' && !value.isWellFormed()))
    throw new SelfsameError('invalid-request', 'a text holds half of a surrogate pair')
  return value
}

const quote = 0x22
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/** Depth of nesting, counted on the text itself: no recursion, and nothing is built before it is known. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (inString) {
      if (code === backslash) index++
      else if (code === quote) inString = false
    } else if (code === quote) inString = true
    else if (code === openBracket || code === openBrace) deepest = Math.max(deepest, ++depth)
    else if (code === closeBracket || code === closeBrace) depth--
  }
  return deepest
}
