/**
 * The history of a simulation: what clients asked for, what they were told, and the independent model of what must
 * therefore be readable everywhere. It shares no code with the engine's merging: it works on places and declared pasts.
 */
import type { FeedId, InstanceId } from '../../src/core/index.ts'
import { clientIdOf, operationIdOf } from '../../src/feed/index.ts'
import type { LocalOperation } from '../../src/replica/index.ts'
import type { Store } from '../../src/storage/index.ts'
import { decodeHeader } from '../../src/feed/index.ts'

/** One request of a client. */
export interface Request {
  readonly id: string
  readonly operation: LocalOperation
  readonly instance: InstanceId
  /** `lost`: told done, but the disk that held it went back to an older copy before anyone else had it. */
  state: 'asked' | 'acknowledged' | 'lost'
  place: { readonly feed: FeedId; readonly sequence: number } | null
}

/** A request as it stands in an envelope. */
interface Placed {
  readonly request: Request
  readonly feed: FeedId
  readonly sequence: number
  readonly stamp: string
  /** Its order among the requests of its envelope. */
  readonly order: number
}

/** Declared pasts of all envelopes of a store, from headers alone. */
class Pasts {
  readonly #pasts = new Map<string, Map<FeedId, number>>()
  readonly stamps = new Map<string, string>()

  constructor(store: Store) {
    const byHash = new Map<string, { feed: FeedId; sequence: number }>()
    for (const stored of store.appliedAfter(0, 1_000_000)) {
      const header = decodeHeader(stored.headerBytes)
      if (!header.ok) throw new Error('a stored header does not decode')
      const { deps, feed, previous, sequence, stamp } = header.value
      const past = new Map<FeedId, number>()
      for (const hash of [...deps, ...(previous === null ? [] : [previous])]) {
        const place = byHash.get(hash)
        if (place === undefined) throw new Error(`${feed}:${sequence} was applied before what it depends on`)
        for (const [other, reach] of this.#pasts.get(`${place.feed}:${place.sequence}`) ?? [])
          past.set(other, Math.max(reach, past.get(other) ?? 0))
        past.set(place.feed, Math.max(place.sequence, past.get(place.feed) ?? 0))
      }
      this.#pasts.set(`${feed}:${sequence}`, past)
      this.stamps.set(`${feed}:${sequence}`, stamp)
      byHash.set(stored.hash, { feed, sequence })
    }
  }

  isBefore(a: Placed, b: Placed): boolean {
    if (a.feed === b.feed && a.sequence === b.sequence) return a.order < b.order
    return (this.#pasts.get(`${b.feed}:${b.sequence}`)?.get(a.feed) ?? 0) >= a.sequence
  }
}

/** What every replica must read, given which requests were carried out. */
export interface Expected {
  /** Texts of the entries of each log. */
  readonly logs: ReadonlyMap<string, ReadonlySet<string>>
  readonly counters: ReadonlyMap<string, bigint>
  readonly members: ReadonlySet<string>
  /** Per key the values, the winner first. */
  readonly registers: ReadonlyMap<string, readonly string[]>
  /** Lines of the text. */
  readonly lines: ReadonlySet<string>
  readonly jsonKeys: ReadonlySet<string>
}

/** Judges the requests by what one converged store holds. Returns what must be readable, or what is broken. */
export function judge(requests: readonly Request[], store: Store): { readonly expected: Expected; readonly faults: readonly string[] } {
  const pasts = new Pasts(store)
  const faults: string[] = []
  const placed: Placed[] = []
  for (const [order, request] of requests.entries()) {
    const row = store.operation(request.instance, operationIdOf(request.id))
    if (row === undefined) {
      if (request.state === 'acknowledged') faults.push(`acknowledged ${request.id} (${request.operation.type}) is gone`)
      continue
    }
    placed.push({ request, feed: row.feed, sequence: row.sequence, stamp: pasts.stamps.get(`${row.feed}:${row.sequence}`) ?? '', order })
  }
  const logs = new Map<string, Set<string>>()
  const counters = new Map<string, bigint>()
  const lines = new Set<string>()
  const jsonKeys = new Set<string>()
  const setOperations: Placed[] = []
  const registerOperations: Placed[] = []
  for (const item of placed) {
    const { operation } = item.request
    if (operation.type === 'append') {
      const log = logs.get(operation.name) ?? new Set()
      logs.set(operation.name, log.add(operation.entry.text ?? ''))
      continue
    }
    const { edit } = operation
    if (edit.type === 'counter.add') counters.set(edit.key, (counters.get(edit.key) ?? 0n) + edit.amount)
    else if (edit.type === 'set.add' || edit.type === 'set.remove') setOperations.push(item)
    else if (edit.type === 'register.set' || edit.type === 'register.delete') registerOperations.push(item)
    else if (edit.type === 'text.put') lines.add(item.request.id)
    else jsonKeys.add(item.request.id)
  }
  return {
    expected: {
      logs,
      counters,
      members: membersOf(setOperations, pasts),
      registers: registersOf(registerOperations, pasts),
      lines,
      jsonKeys,
    },
    faults,
  }
}

/** Observed-remove, add wins: a member is there if some add of it was seen by no remove. */
function membersOf(operations: readonly Placed[], pasts: Pasts): ReadonlySet<string> {
  const members = new Set<string>()
  const memberOf = ({ request: { operation } }: Placed): string =>
    operation.type === 'edit' && 'member' in operation.edit ? operation.edit.member : ''
  const isRemove = ({ request: { operation } }: Placed): boolean => operation.type === 'edit' && operation.edit.type === 'set.remove'
  for (const add of operations) {
    if (isRemove(add)) continue
    const removes = operations.filter((other) => isRemove(other) && memberOf(other) === memberOf(add))
    if (!removes.some((remove) => pasts.isBefore(add, remove))) members.add(memberOf(add))
  }
  return members
}

/** The greatest stamp wins among the writes that no later write of the key saw; the others are its siblings. */
function registersOf(operations: readonly Placed[], pasts: Pasts): ReadonlyMap<string, readonly string[]> {
  const byKey = new Map<string, Placed[]>()
  for (const item of operations) {
    const { operation } = item.request
    if (operation.type !== 'edit' || !('key' in operation.edit)) continue
    byKey.set(operation.edit.key, [...(byKey.get(operation.edit.key) ?? []), item])
  }
  const registers = new Map<string, readonly string[]>()
  for (const [key, items] of byKey) {
    const live = items.filter((item) => valueOf(item) !== null && !items.some((other) => pasts.isBefore(item, other)))
    live.sort((a, b) => (a.stamp === b.stamp ? clientIdOf(b.feed) - clientIdOf(a.feed) : a.stamp < b.stamp ? 1 : -1))
    if (live.length > 0)
      registers.set(
        key,
        live.map((item) => valueOf(item) as string),
      )
  }
  return registers
}

function valueOf({ request: { operation } }: Placed): string | null {
  return operation.type === 'edit' && operation.edit.type === 'register.set' ? JSON.stringify(operation.edit.value) : null
}

/** Whether a store holds the envelope at a place. */
export function holds(store: Store, place: { readonly feed: FeedId; readonly sequence: number }): boolean {
  return store.envelopes(place.feed, place.sequence, place.sequence, 1).length > 0
}
