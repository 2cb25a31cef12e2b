/** Names of agents and instances: for people. Nothing is decided by a name. */
import { memberNameLengthMax } from '../core/index.ts'

/**
 * What would let two names look alike or break a terminal: controls, invisible and direction-changing characters; and the
 * `#`, which tells members of one name apart (`Member.label`).
 * Listed by number, because Unicode's own categories grow with its versions and every version of this program must agree.
 */
// oxlint-disable-next-line no-control-regex -- controls are what is looked for
const forbidden = /[#\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u

/** Whether `value` can name an agent or an instance: 1 to 64 UTF-16 units of well-formed, visible text without a `#`, no space at either end. */
export function isMemberName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= memberNameLengthMax &&
    value.isWellFormed() &&
    !forbidden.test(value) &&
    !value.startsWith(' ') &&
    !value.endsWith(' ')
  )
}
