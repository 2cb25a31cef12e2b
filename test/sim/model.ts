/**
 * The model: what must be readable everywhere, told from the signed envelopes and what clients asked for, by the rules of
 * `docs/PROTOCOL.md` and `docs/MEMBERSHIP.md`. It shares no code with the engine's merging: it works on declared pasts.
 */
import type { EnvelopeHash, FeedId, InstanceId, PublicKey } from '../../src/core/index.ts'
import { bodyTypeUpdate, clientIdOf, decodeHeader, decodeUpdateBody, operationIdOf } from '../../src/feed/index.ts'
import type { Header, OperationId } from '../../src/feed/index.ts'
import type { MemberTable } from '../../src/membership/index.ts'
import type { LocalOperation } from '../../src/replica/index.ts'
import type { Store } from '../../src/storage/index.ts'

export interface Place {
  readonly feed: FeedId
  readonly sequence: number
}

interface ModelEnvelope {
  readonly hash: EnvelopeHash
  readonly header: Header
  readonly instance: InstanceId
  readonly key: PublicKey
  readonly bodies: readonly Uint8Array[]
}

/** All envelopes that some of the stores hold, and what follows from them. */
export class Group {
  readonly #table: MemberTable
  readonly #byHash = new Map<EnvelopeHash, ModelEnvelope>()
  readonly #byFeed = new Map<FeedId, Map<number, ModelEnvelope>>()
  /** Declared pasts, the envelope itself included; null where a part of the past is not held. */
  readonly #pasts = new Map<EnvelopeHash, ReadonlyMap<FeedId, number> | null>()
  /** Up to where each feed counts: what every member has to have applied, and no more. */
  readonly accepted = new Map<FeedId, number>()

  constructor(table: MemberTable, stores: readonly Store[]) {
    this.#table = table
    for (const store of stores) for (const { feed, have, instance, key } of store.feeds()) this.#take(store, feed, have, instance, key)
    for (const envelope of this.#byHash.values()) {
      if (!this.#countsByTable(envelope)) continue
      for (const [feed, sequence] of this.#past(envelope) ?? []) this.accepted.set(feed, Math.max(sequence, this.accepted.get(feed) ?? 0))
    }
  }

  isAccepted({ feed, sequence }: Place): boolean {
    return sequence <= (this.accepted.get(feed) ?? 0)
  }

  /** Whether all that the author of a feed writes there counts. */
  isUnlimited(feed: FeedId): boolean {
    const opening = this.#byFeed.get(feed)?.values().next().value
    return opening !== undefined && this.#table.writeLimit(opening.instance, opening.key) === null
  }

  holds({ feed, sequence }: Place): boolean {
    return this.#byFeed.get(feed)?.has(sequence) === true
  }

  /** Accepted envelopes. */
  *envelopes(): Iterable<ModelEnvelope> {
    for (const envelope of this.#byHash.values()) if (this.isAccepted(envelope.header)) yield envelope
  }

  isBefore(a: Placed, b: Placed): boolean {
    if (a.feed === b.feed && a.sequence === b.sequence) return a.order < b.order
    const envelope = this.#byFeed.get(b.feed)?.get(b.sequence)
    return envelope !== undefined && (this.#past(envelope)?.get(a.feed) ?? 0) >= a.sequence
  }

  #take(store: Store, feed: FeedId, have: number, instance: InstanceId, key: PublicKey): void {
    const chain = this.#byFeed.get(feed) ?? new Map<number, ModelEnvelope>()
    this.#byFeed.set(feed, chain)
    for (let from = chain.size + 1; from <= have;) {
      const page = store.envelopes(feed, from, have, 1 << 20)
      if (page.length === 0) return
      for (const { bodies, hash, headerBytes, sequence } of page) {
        const header = decodeHeader(headerBytes)
        if (!header.ok) throw new Error('a stored header does not decode')
        const envelope = { hash, header: header.value, instance, key, bodies: bodies.map(({ bytes }) => bytes) }
        chain.set(sequence, envelope)
        this.#byHash.set(hash, envelope)
      }
      from += page.length
    }
  }

  /** By the member table alone: its author might write by what it knew, and what it writes counts, or lies within the cuts. */
  #countsByTable({ header: { feed, records, sequence }, instance, key }: ModelEnvelope): boolean {
    if (this.#table.mayWrite(instance, key, records) !== 'yes') return false
    const limit = this.#table.writeLimit(instance, key)
    return (limit ?? []).every((places) =>
      places.some(
        (place) => place.feed === feed && place.sequence >= sequence && this.#byFeed.get(feed)?.get(place.sequence)?.hash === place.hash,
      ),
    )
  }

  #past(envelope: ModelEnvelope): ReadonlyMap<FeedId, number> | null {
    const ahead = [envelope]
    for (let next = ahead.at(-1); next !== undefined; next = ahead.at(-1)) {
      const { deps, feed, previous, sequence } = next.header
      const rests = previous === null ? deps : [...deps, previous]
      const open = rests.filter((hash) => this.#byHash.has(hash) && !this.#pasts.has(hash))
      if (open.length > 0) {
        ahead.push(...open.map((hash) => this.#byHash.get(hash) as ModelEnvelope))
        continue
      }
      ahead.pop()
      if (this.#pasts.has(next.hash)) continue
      const past = new Map<FeedId, number>([[feed, sequence]])
      let isWhole = true
      for (const hash of rests) {
        const below = this.#pasts.get(hash) ?? null
        isWhole &&= below !== null
        for (const [other, reach] of below ?? []) past.set(other, Math.max(reach, past.get(other) ?? 0))
      }
      this.#pasts.set(next.hash, isWhole ? past : null)
    }
    return this.#pasts.get(envelope.hash) ?? null
  }
}

/** A request as far as the model needs to know it. */
export interface Asked {
  readonly id: string
  readonly operations: readonly LocalOperation[]
}

/** One operation of a request, where an accepted envelope carries it. */
interface Placed extends Place {
  readonly request: Asked
  readonly operation: LocalOperation
  readonly stamp: string
  /** Its order within its envelope. */
  readonly order: number
}

/** What every replica must read. */
export interface Expected {
  /** Texts of the entries of each log. */
  readonly logs: ReadonlyMap<string, ReadonlySet<string>>
  /** By document and key. */
  readonly counters: ReadonlyMap<string, ReadonlyMap<string, bigint>>
  readonly members: ReadonlySet<string>
  /** Per key the values, the winner first. */
  readonly registers: ReadonlyMap<string, readonly string[]>
  /** Lines of the text. */
  readonly lines: ReadonlySet<string>
  readonly jsonKeys: ReadonlySet<string>
  /** What the json's key `last` can be: any write of it that no other saw. */
  readonly jsonLast: ReadonlySet<string>
  /** Where each operation of each request stands. */
  readonly places: ReadonlyMap<string, readonly Place[]>
}

export function expectedOf(requests: readonly Asked[], group: Group): Expected {
  const placed = placedOf(requests, group)
  const of = (...types: readonly string[]): Placed[] =>
    placed.filter(({ operation }) => types.includes(operation.type === 'edit' ? operation.edit.type : operation.type))
  const logs = new Map<string, Set<string>>()
  for (const { operation } of of('append')) {
    if (operation.type === 'append') logs.set(operation.name, (logs.get(operation.name) ?? new Set()).add(operation.entry.text ?? ''))
  }
  const counters = new Map<string, Map<string, bigint>>()
  for (const { operation } of of('counter.add')) {
    if (operation.type !== 'edit' || operation.edit.type !== 'counter.add') continue
    const totals = counters.get(operation.name) ?? new Map<string, bigint>()
    counters.set(operation.name, totals.set(operation.edit.key, (totals.get(operation.edit.key) ?? 0n) + operation.edit.amount))
  }
  const lines = new Set(
    of('text.put').flatMap(({ operation, request }) =>
      operation.type === 'edit' && operation.name === 'SOUL.md' ? [lineOf(operation, request.id)] : [],
    ),
  )
  const merges = of('json.merge')
  const places = new Map<string, Place[]>()
  for (const { feed, request, sequence } of placed) places.set(request.id, [...(places.get(request.id) ?? []), { feed, sequence }])
  return {
    logs,
    counters,
    members: membersOf(of('set.add', 'set.remove'), group),
    registers: registersOf(of('register.set', 'register.delete'), group),
    lines,
    jsonKeys: jsonKeysOf(merges, group),
    jsonLast: jsonLastOf(merges, group),
    places,
  }
}

/** The operations of requests, as the bodies of accepted envelopes carry them. */
function placedOf(requests: readonly Asked[], group: Group): Placed[] {
  const byOperation = new Map<OperationId, Pick<Placed, 'request' | 'operation'>>()
  for (const request of requests) {
    const { id, operations } = request
    for (const [index, operation] of operations.entries())
      byOperation.set(operationIdOf(operations.length === 1 ? id : `${id}/${index}`), { request, operation })
  }
  const placed: Placed[] = []
  for (const { bodies, header } of group.envelopes()) {
    const { feed, sequence, stamp } = header
    for (const [index, bytes] of bodies.entries()) {
      if (header.bodies[index]?.type !== bodyTypeUpdate) continue
      const body = decodeUpdateBody(bytes)
      if (!body.ok) throw new Error('a stored body does not decode')
      for (const [order, mark] of body.value.operations.entries()) {
        const asked = byOperation.get(mark.id)
        if (asked === undefined) throw new Error(`an operation in ${feed}:${sequence} was asked for by nobody`)
        placed.push({ ...asked, feed, sequence, stamp, order })
      }
    }
  }
  return placed
}

/** Observed-remove, add wins: a member is there if some add of it was seen by no remove. */
function membersOf(operations: readonly Placed[], group: Group): ReadonlySet<string> {
  const members = new Set<string>()
  const memberOf = ({ operation }: Placed): string => (operation.type === 'edit' && 'member' in operation.edit ? operation.edit.member : '')
  const isRemove = ({ operation }: Placed): boolean => operation.type === 'edit' && operation.edit.type === 'set.remove'
  for (const add of operations) {
    if (isRemove(add)) continue
    const removes = operations.filter((other) => isRemove(other) && memberOf(other) === memberOf(add))
    if (!removes.some((remove) => group.isBefore(add, remove))) members.add(memberOf(add))
  }
  return members
}

/** The greatest stamp wins among the writes that no later write of the key saw; the others are its siblings. */
function registersOf(operations: readonly Placed[], group: Group): ReadonlyMap<string, readonly string[]> {
  const byKey = new Map<string, Placed[]>()
  for (const item of operations) {
    const { operation } = item
    if (operation.type !== 'edit' || !('key' in operation.edit)) continue
    byKey.set(operation.edit.key, [...(byKey.get(operation.edit.key) ?? []), item])
  }
  const registers = new Map<string, readonly string[]>()
  for (const [key, items] of byKey) {
    const live = items.filter((item) => valueOf(item) !== null && !items.some((other) => group.isBefore(item, other)))
    live.sort((a, b) => (a.stamp === b.stamp ? clientIdOf(b.feed) - clientIdOf(a.feed) : a.stamp < b.stamp ? 1 : -1))
    if (live.length > 0) registers.set(key, live.map(valueOf) as string[])
  }
  return registers
}

function valueOf({ operation }: Placed): string | null {
  return operation.type === 'edit' && operation.edit.type === 'register.set' ? JSON.stringify(operation.edit.value) : null
}

function lineOf(operation: LocalOperation, id: string): string {
  const text = operation.type === 'edit' && operation.edit.type === 'text.put' ? operation.edit.text : ''
  return text.split('\n').find((line) => line === id || line.startsWith(`${id}.`)) ?? ''
}

function patchOf({ operation }: Placed): Readonly<Record<string, unknown>> {
  return operation.type === 'edit' && operation.edit.type === 'json.merge' ? (operation.edit.patch as Record<string, unknown>) : {}
}

/** A key is there unless somebody took it away who had seen it; each was written once. */
function jsonKeysOf(merges: readonly Placed[], group: Group): ReadonlySet<string> {
  const keys = new Set<string>()
  for (const merge of merges) {
    for (const [key, value] of Object.entries(patchOf(merge))) {
      if (key === 'last' || value === null) continue
      if (!merges.some((other) => patchOf(other)[key] === null && group.isBefore(merge, other))) keys.add(key)
    }
  }
  return keys
}

function jsonLastOf(merges: readonly Placed[], group: Group): ReadonlySet<string> {
  const writes = merges.filter((merge) => typeof patchOf(merge)['last'] === 'string')
  const last = writes.filter((write) => !writes.some((other) => group.isBefore(write, other)))
  return new Set(last.map((write) => patchOf(write)['last'] as string))
}
