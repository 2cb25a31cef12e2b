/**
 * What clients asked for and what they were told, and the judgement of it: an independent model of what must therefore be readable on every
 * daemon. It shares no code with the merging of documents: it knows where each operation stands (its envelope), and from the headers of all
 * envelopes what each author had seen.
 */
import type { EnvelopeHash, FeedId, InstanceId, Stamp } from '../../src/core/index.ts'
import { clientIdOf, decodeHeader, operationIdOf } from '../../src/feed/index.ts'
import type { StoreReads } from '../../src/storage/index.ts'

/** One change of one document; `name` is the document's. */
export type Edit =
  | { readonly kind: 'log'; readonly name: string; readonly text: string }
  | { readonly kind: 'counter'; readonly name: string; readonly key: string; readonly amount: number }
  | { readonly kind: 'set'; readonly name: string; readonly member: string; readonly present: boolean }
  | { readonly kind: 'register'; readonly name: string; readonly key: string; readonly value: string | null }
  | { readonly kind: 'text'; readonly name: string; readonly line: string }
  | { readonly kind: 'json'; readonly name: string; readonly key: string }

/** One request of a client: all of its edits or none. */
export interface Request {
  readonly id: string
  readonly instance: InstanceId
  readonly edits: readonly Edit[]
  /** `unknown`: every attempt so far ended without word of what became of it. `refused`: it is known not to have been carried out. */
  outcome: 'asked' | 'unknown' | 'acknowledged' | 'refused'
  /** As the receipt told. */
  place: Place | null
}

interface Place {
  readonly feed: FeedId
  readonly sequence: number
}

interface Placed extends Place {
  readonly edit: Edit
}

/** What one document must read like on every daemon. */
export type Expected =
  | { readonly kind: 'log' | 'set' | 'text' | 'json'; readonly items: readonly string[] }
  | { readonly kind: 'counter'; readonly totals: ReadonlyMap<string, bigint> }
  | { readonly kind: 'register'; readonly cells: ReadonlyMap<string, readonly string[]> }

export interface Judgement {
  /** By kind and name. */
  readonly expected: ReadonlyMap<string, Expected>
  readonly faults: readonly string[]
  /** Requests of unknown outcome that turned out to be carried out. */
  readonly carriedOut: number
}

/** What each envelope's author had seen, from headers alone. Feeds only ever see more, so what grew is enough. */
export class Pasts {
  readonly #places = new Map<EnvelopeHash, Place>()
  readonly #stamps = new Map<FeedId, Stamp[]>()
  /** By feed and other feed: from which sequence of the one on, which sequence of the other is in its past; both grow. */
  readonly #growth = new Map<FeedId, Map<FeedId, { readonly from: number; readonly reach: number }[]>>()
  #position = 0

  get envelopes(): number {
    return this.#position
  }

  /** Takes in what was applied since. Throws where an envelope was applied before what it depends on. */
  readOn(store: StoreReads): void {
    for (;;) {
      const page = store.appliedAfter(this.#position, 1_000)
      if (page.length === 0) return
      for (const { hash, headerBytes, position } of page) {
        const header = decodeHeader(headerBytes)
        if (!header.ok) throw new Error('a stored header does not decode')
        const { deps, feed, previous, sequence, stamp } = header.value
        for (const dependency of [...deps, ...(previous === null ? [] : [previous])]) {
          const place = this.#places.get(dependency)
          if (place === undefined) throw new Error(`${feed}:${sequence} was applied before what it depends on`)
          if (place.feed !== feed) this.#join({ feed, sequence }, place)
        }
        const stamps = this.#stamps.get(feed) ?? []
        this.#stamps.set(feed, stamps)
        stamps[sequence] = stamp
        this.#places.set(hash, { feed, sequence })
        this.#position = position ?? this.#position
      }
    }
  }

  stampOf({ feed, sequence }: Place): Stamp {
    const stamp = this.#stamps.get(feed)?.[sequence]
    if (stamp === undefined) throw new Error(`${feed}:${sequence} is not applied`)
    return stamp
  }

  /** Whether the author of `b` had seen `a`. */
  isBefore(a: Place, b: Place): boolean {
    return a.feed === b.feed ? a.sequence < b.sequence : this.#reach(b, a.feed) >= a.sequence
  }

  #reach({ feed, sequence }: Place, other: FeedId): number {
    const steps = this.#growth.get(feed)?.get(other) ?? []
    let [low, high] = [0, steps.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((steps[middle]?.from ?? 0) <= sequence) low = middle + 1
      else high = middle
    }
    return steps[low - 1]?.reach ?? 0
  }

  #join(at: Place, seen: Place): void {
    this.#grow(at, seen.feed, seen.sequence)
    for (const other of this.#growth.get(seen.feed)?.keys() ?? []) this.#grow(at, other, this.#reach(seen, other))
  }

  #grow({ feed, sequence }: Place, other: FeedId, reach: number): void {
    const known = this.#growth.get(feed) ?? new Map<FeedId, { from: number; reach: number }[]>()
    this.#growth.set(feed, known)
    const steps = known.get(other) ?? []
    known.set(other, steps)
    const last = steps.at(-1)
    if (reach <= (last?.reach ?? 0)) return
    if (last?.from === sequence) steps.pop()
    steps.push({ from: sequence, reach })
  }
}

/** Judges requests, all of whose documents are meant, by what one converged store holds. No two edits of a key may stand in one envelope. */
export function judge(requests: readonly Request[], store: StoreReads, pasts: Pasts): Judgement {
  const faults: string[] = []
  const placedByDocument = new Map<string, Placed[]>()
  let carriedOut = 0
  for (const request of requests) {
    const { edits, id, instance, outcome, place } = request
    const rows = edits.map((_, index) => store.operation(instance, operationIdOf(edits.length === 1 ? id : `${id}/${index}`)))
    const there = rows.filter((row) => row !== undefined)
    const [first] = there
    const kinds = edits.map(({ kind }) => kind).join(', ')
    if (there.length > 0 && there.length < edits.length) faults.push(`${id} (${kinds}) is there in part`)
    if (there.some((row) => row.feed !== first?.feed || row.sequence !== first.sequence))
      faults.push(`${id} (${kinds}) stands in two places`)
    if (outcome === 'acknowledged' && first === undefined) faults.push(`${id} (${kinds}) was acknowledged and is gone`)
    if (outcome === 'refused' && first !== undefined) faults.push(`${id} (${kinds}) was refused and is there`)
    if (place !== null && first !== undefined && (place.feed !== first.feed || place.sequence !== first.sequence))
      faults.push(`${id} (${kinds}) stands at ${first.feed}:${first.sequence}, and its receipt said ${place.feed}:${place.sequence}`)
    if (outcome === 'unknown' && first !== undefined) carriedOut += 1
    for (const [index, row] of rows.entries()) {
      const edit = edits[index]
      if (row === undefined || edit === undefined) continue
      const name = `${edit.kind}/${edit.name}`
      const placed = placedByDocument.get(name) ?? []
      placedByDocument.set(name, placed)
      placed.push({ edit, feed: row.feed, sequence: row.sequence })
    }
  }
  const expected = new Map(Array.from(placedByDocument, ([name, placed]) => [name, expectedOf(placed, pasts)]))
  return { expected, faults, carriedOut }
}

function expectedOf(placed: readonly Placed[], pasts: Pasts): Expected {
  const edits = placed.map(({ edit }) => edit)
  const kind = edits[0]?.kind ?? 'log'
  if (kind === 'counter') {
    const totals = new Map<string, bigint>()
    for (const edit of edits) if (edit.kind === 'counter') totals.set(edit.key, (totals.get(edit.key) ?? 0n) + BigInt(edit.amount))
    return { kind, totals }
  }
  if (kind === 'register') {
    const live = liveCells(placed, pasts)
    return { kind, cells: new Map(Array.from(live, ([key, cells]) => [key, cells.map(({ value }) => value)])) }
  }
  if (kind === 'set') return { kind, items: [...liveCells(placed, pasts).keys()] }
  return { kind, items: edits.flatMap((edit) => itemOf(edit) ?? []) }
}

function itemOf(edit: Edit): string | undefined {
  if (edit.kind === 'log') return edit.text
  if (edit.kind === 'text') return edit.line
  return edit.kind === 'json' ? edit.key : undefined
}

interface Cell extends Placed {
  readonly value: string
}

/**
 * Of each key the values that no other edit of the key which counts saw, the winner first. Of a set only a removal takes additions away; of a
 * register every later write does.
 */
function liveCells(placed: readonly Placed[], pasts: Pasts): Map<string, Cell[]> {
  const byKey = new Map<string, Placed[]>()
  for (const item of placed) {
    const key = keyOf(item.edit)
    const items = byKey.get(key) ?? []
    byKey.set(key, items)
    items.push(item)
  }
  const live = new Map<string, Cell[]>()
  for (const [key, items] of byKey) {
    const takesAway = items.filter(({ edit }) => edit.kind !== 'set' || !edit.present)
    const cells = items.flatMap((item) => {
      const value = valueOf(item.edit)
      return value === null || takesAway.some((other) => pasts.isBefore(item, other)) ? [] : [{ ...item, value }]
    })
    if (cells.length > 0)
      live.set(
        key,
        cells.toSorted((a, b) => winnerFirst(a, b, pasts)),
      )
  }
  return live
}

function keyOf(edit: Edit): string {
  if (edit.kind === 'set') return edit.member
  return edit.kind === 'register' ? edit.key : ''
}

function valueOf(edit: Edit): string | null {
  if (edit.kind === 'register') return edit.value
  return edit.kind === 'set' && edit.present ? edit.member : null
}

function winnerFirst(a: Cell, b: Cell, pasts: Pasts): number {
  const [first, second] = [pasts.stampOf(a), pasts.stampOf(b)]
  if (first === second) return clientIdOf(b.feed) - clientIdOf(a.feed)
  return first < second ? 1 : -1
}
