/** Makes a history that fails smaller, as long as it goes on failing at the same, and tells it in words. */
import type { MembershipRecord } from '../../../src/membership/index.ts'
import type { Act } from './acts.ts'
import { modelOfRecords } from './check-history.ts'
import { play } from './random-history.ts'
import type { History } from './random-history.ts'

/** The faults of a history, each beginning with what it is about, on a line of its own. */
type Check = (history: History) => readonly string[]

/** Leaves out acts, then records with all that name them, while the first fault stays what it is about. */
export function shrunk(acts: readonly Act[], check: Check): { readonly acts: readonly Act[]; readonly history: History } {
  const about = topicOf(check(play(acts)))
  const fails = (history: History) => topicOf(check(history)) === about
  const fewer = greedy(acts, (rest) => fails(play(rest)))
  const history = play(fewer)
  const [genesis, ...others] = history.records as readonly [MembershipRecord, ...MembershipRecord[]]
  const withGenesis = (rest: readonly MembershipRecord[]) => ({ ...history, records: closedPart([genesis, ...rest]), tables: [] })
  const records = greedy(others, (rest) => fails(withGenesis(rest)))
  return { acts: fewer, history: withGenesis(records) }
}

function topicOf([fault]: readonly string[]): string | undefined {
  return fault?.split('\n')[0]
}

function greedy<Item>(items: readonly Item[], isEnough: (rest: readonly Item[]) => boolean): readonly Item[] {
  for (let at = items.length - 1; at >= 0; at -= 1) {
    const rest = items.toSpliced(at, 1)
    if (isEnough(rest)) return greedy(rest, isEnough)
  }
  return items
}

function closedPart(records: readonly MembershipRecord[]): readonly MembershipRecord[] {
  const here = new Set<string>()
  return records.filter((record) => {
    const isClosed = record.parents.every((parent) => here.has(parent))
    if (isClosed) here.add(record.hash)
    return isClosed
  })
}

/** One line a record: its number, what it says, what it knew, and what the model holds of it. */
export function told(records: readonly MembershipRecord[]): string {
  const model = modelOfRecords(records)
  const standing = new Set([...model.standing].map(({ id }) => id))
  const ids = new Map<string, string>(records.map(({ hash }, index) => [hash, String(index)]))
  const short = (id: string | null | undefined) => (id === null || id === undefined ? 'root' : id.slice(0, 4))
  const line = (record: MembershipRecord): string => {
    const fields = [
      'instance' in record ? `of ${short(record.instance)}` : '',
      'role' in record ? (record.role ?? 'none') : '',
      'number' in record ? `number ${record.number}` : '',
      'claim' in record ? `brings key ${short(record.claim.key)}` : '',
      'name' in record ? `"${record.name}"` : '',
    ].filter((field) => field !== '')
    const verdict = model.verdictOf(record.hash)
    const place = `${ids.get(record.hash)}  ${record.kind} by ${short(record.author)} with key ${short(record.key)}`
    const knew = record.parents.map((parent) => ids.get(parent) ?? short(parent)).join(' ')
    return `  ${place}: ${fields.join(', ')}; knew ${knew}; ${verdict}${verdict === 'valid' && !standing.has(record.hash) ? ', does not stand' : ''}`
  }
  return records.map(line).join('\n')
}
