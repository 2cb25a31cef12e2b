/**
 * A small group of replicas of one document under a seed: they edit, hear each other's updates in any order that their
 * declared pasts allow, crash and reload. Every update is checked as a peer's would be before it is applied.
 */
import { expect } from 'vitest'
import * as Y from 'yjs'
import { stampOf } from '../../../src/core/index.ts'
import type { Stamp } from '../../../src/core/index.ts'
import { openLiveDocument } from '../../../src/document/index.ts'
import type { Edit, EditContext, LiveDocument, LiveKind } from '../../../src/document/index.ts'

export interface Dice {
  /** A whole number in 0..count-1. */
  below(count: number): number
  chance(odds: number): boolean
  pick<Item>(items: readonly Item[]): Item
}

/** Mulberry32: small, fast, and the same everywhere. */
export function createDice(seed: number): Dice {
  let state = seed >>> 0
  const unit = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (count: number) => Math.floor(unit() * count)
  return { below, chance: (odds) => unit() < odds, pick: (items) => items[below(items.length)]! }
}

/** What one replica wrote in one transaction, and what it had seen by then. */
export interface Operation {
  readonly client: number
  /** From 1, in the feed of `client`. */
  readonly sequence: number
  readonly stamp: Stamp
  readonly edits: readonly Edit[]
  readonly update: Uint8Array
  /** Sequences applied at the writer, by client; its own included. */
  readonly seen: ReadonlyMap<number, number>
  /** Clocks reached at the writer, by client: the declared past. */
  readonly clocks: ReadonlyMap<number, number>
}

export interface Replica {
  client: number
  document: LiveDocument
  readonly seen: Map<number, number>
  readonly clocks: Map<number, number>
  /** Contents of a text that this replica had, by version. */
  readonly versions: Map<string, string>
}

export interface Group {
  readonly kind: LiveKind
  readonly replicas: readonly Replica[]
  readonly operations: readonly Operation[]
}

export type DrawEdits = (dice: Dice, replica: Replica) => readonly Edit[]

/** Runs a group, then lets everyone hear everything. */
export function runGroup(kind: LiveKind, seed: number, steps: number, draw: DrawEdits): Group {
  const dice = createDice(seed)
  const operations: Operation[] = []
  const usedClients = new Set<number>()
  const newClient = () => {
    let client = 0
    while (client === 0 || usedClients.has(client)) client = dice.chance(0.5) ? 1 + dice.below(50) : 2 ** 52 + dice.below(2 ** 32)
    usedClients.add(client)
    return client
  }
  const replicas: Replica[] = Array.from({ length: 3 + dice.below(3) }, () => ({
    client: newClient(),
    document: openLiveDocument(kind, null),
    seen: new Map(),
    clocks: new Map(),
    versions: new Map(),
  }))

  for (let step = 0; step < steps; step++) {
    const replica = dice.pick(replicas)
    const luck = dice.below(100)
    if (luck < 50) write(kind, replica, stampOf(1 + dice.below(200), dice.below(3)), draw(dice, replica), operations)
    else if (luck < 90) hear(replica, dice, operations)
    else if (luck < 97) replica.document = openLiveDocument(kind, replica.document.state())
    else replica.client = newClient()
  }
  for (const replica of replicas) while (hear(replica, dice, operations));
  return { kind, replicas, operations }
}

function contextOf(replica: Replica, stamp: Stamp): EditContext {
  return { client: replica.client, stamp, textVersion: (version) => replica.versions.get(version) }
}

function write(kind: LiveKind, replica: Replica, stamp: Stamp, edits: readonly Edit[], operations: Operation[]): void {
  const before = replica.document.clock(replica.client)
  const update = replica.document.edit(contextOf(replica, stamp), (apply) => edits.forEach(apply))
  remember(replica)
  if (update === null) return
  const { client } = replica
  const sequence = (replica.seen.get(client) ?? 0) + 1
  replica.seen.set(client, sequence)
  const pastClocks = new Map(replica.clocks)
  replica.clocks.set(client, replica.document.clock(client))
  expect(before).toBe(pastClocks.get(client) ?? 0)
  operations.push({ client, sequence, stamp, edits, update, seen: new Map(replica.seen), clocks: pastClocks })
}

/** Takes in one operation that may come next here, if there is one. */
function hear(replica: Replica, dice: Dice, operations: readonly Operation[]): boolean {
  const next = operations.filter(({ client, sequence, seen }) => {
    if ((replica.seen.get(client) ?? 0) !== sequence - 1) return false
    return [...seen].every(([other, reached]) => other === client || (replica.seen.get(other) ?? 0) >= reached)
  })
  if (next.length === 0) return false
  const { client, sequence, stamp, update, clocks } = dice.pick(next)
  const checked = replica.document.check(update, { client, stamp, pastClock: (other) => clocks.get(other) ?? 0 })
  if (!checked.ok) throw new Error(`an honest update was refused: ${checked.reason}`)
  const changed = replica.document.apply(update)
  for (const key of checked.value.keys) expect(changed).toContain(key)
  expect(replica.document.clock(client)).toBe(checked.value.clock)
  replica.seen.set(client, sequence)
  replica.clocks.set(client, checked.value.clock)
  remember(replica)
  return true
}

function remember(replica: Replica): void {
  const value = replica.document.value()
  if (value.kind === 'text') replica.versions.set(value.version, value.text)
}

/** What must be true of every group once all have heard all: one digest, also after a reload and after a rebuild in another order. */
export function expectConvergence(group: Group, seed: number): void {
  const [first, ...others] = group.replicas
  const digest = first!.document.digest()
  for (const { document } of others) expect(document.digest(), `seed ${seed}`).toBe(digest)
  for (const { document } of group.replicas) {
    expect(document.hasPending()).toBe(false)
    const reloaded = openLiveDocument(group.kind, document.state())
    expect(reloaded.digest(), `seed ${seed}, reloaded`).toBe(digest)
    expect(reloaded.value(), `seed ${seed}, reloaded`).toEqual(document.value())
  }
  const rebuilt = openLiveDocument(group.kind, null)
  for (const { update } of group.operations) rebuilt.apply(update)
  expect(rebuilt.digest(), `seed ${seed}, rebuilt`).toBe(digest)
  const plain = new Y.Doc()
  for (const { update } of group.operations) Y.applyUpdate(plain, update)
  const viaYjs = openLiveDocument(group.kind, Y.encodeStateAsUpdate(plain))
  expect(viaYjs.digest(), `seed ${seed}, in plain Yjs`).toBe(digest)
}

/** All seeds of a test. A failing one is named in the assertion. */
export function seeds(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index + 1)
}
