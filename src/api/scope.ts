/** What a token allows, as people write it: `log/memory:append,read`, `text/*:read`, or `all`. */
import { createMatcher } from './patterns.ts'

/** The kinds of document that a pattern can name. */
const kinds = ['log', 'counter', 'set', 'register', 'text', 'json'] as const

/**
 * What can be allowed of a document. `read`: its content, its changes, its digest. `append`: new entries of a log, and nothing else.
 * `write`: every edit, appending included; it does not include reading.
 */
export const rights = ['read', 'append', 'write'] as const
export type Right = (typeof rights)[number]

const anyRight = `(${rights.join('|')})`
/** The form of one allowance. The last colon ends the pattern: names may hold colons. */
export const allowancePattern = `^(all|(${kinds.join('|')}|\\*)/.+:${anyRight}(,${anyRight})*)$`

export interface Scope {
  /** Whatever there is, documents or not. */
  readonly everything: boolean
  allows(right: Right, kind: string, name: string): boolean
}

/** The scope of allowances that have the form. In a name `*` stands for any characters, also `/`; as a kind it stands for each kind. */
export function createScope(allowances: readonly string[]): Scope {
  if (allowances.includes('all')) return { everything: true, allows: () => true }
  const granted = allowances.flatMap((allowance) => {
    const colon = allowance.lastIndexOf(':')
    const patterns = patternsOf(allowance.slice(0, colon))
    return allowance
      .slice(colon + 1)
      .split(',')
      .map((right) => ({ right: right as Right, matches: createMatcher(patterns) }))
  })
  return {
    everything: false,
    allows: (right, kind, name) =>
      granted.some((grant) => (grant.right === right || (grant.right === 'write' && right === 'append')) && grant.matches(kind, name)),
  }
}

// A watch's `*` for the kind would run on into the name: `*/diary` is not to mean `text/private/diary`.
function patternsOf(pattern: string): readonly string[] {
  return pattern.startsWith('*/') ? kinds.map((kind) => `${kind}${pattern.slice(1)}`) : [pattern]
}
