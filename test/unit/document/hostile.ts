/**
 * A group of which some members are hostile: they write updates by hand, about half of them as an honest author could have,
 * the others with any neighbours, parents and keys. What the check accepts is passed on in any order that the declared pasts allow.
 */
import * as Y from 'yjs'
import { stampOf } from '../../../src/core/index.ts'
import { openLiveDocument } from '../../../src/document/index.ts'
import type { Edit, LiveDocument, UpdateContext } from '../../../src/document/index.ts'
import { createDice } from './group.ts'
import type { Dice } from './group.ts'
import { any, container, handMade, string } from './hand-made.ts'
import type { HandMade, Id } from './hand-made.ts'

export type Kind = 'text' | 'json'

const stamp = stampOf(1, 0)
const keys = ['a', 'b', 'c']

interface Operation {
  readonly client: number
  /** From 1, in the feed of `client`. */
  readonly sequence: number
  readonly update: Uint8Array
  /** Sequences, by client, that its author had. */
  readonly seen: ReadonlyMap<number, number>
  readonly context: UpdateContext
}

interface Member {
  readonly client: number
  readonly isHostile: boolean
  readonly document: LiveDocument
  readonly seen: Map<number, number>
}

export interface HostileGroup {
  readonly operations: readonly Operation[]
  readonly documents: readonly LiveDocument[]
  /** Hand-made updates that were refused. */
  readonly refused: number
  /** Hand-made updates that were accepted. */
  readonly accepted: number
}

/** Runs a group until all have everything. Throws where two judge one update differently, or an honest update is refused. */
export function runHostileGroup(kind: Kind, seed: number, steps: number): HostileGroup {
  const dice = createDice(seed)
  const operations: Operation[] = []
  let refused = 0
  let accepted = 0
  const clients = new Set<number>()
  while (clients.size < 5) clients.add(dice.chance(0.5) ? 1 + dice.below(50) : 2 ** 52 + dice.below(2 ** 32))
  const members = [...clients].map((client, index): Member => ({
    client,
    isHostile: index < 3,
    document: openLiveDocument(kind, null),
    seen: new Map(),
  }))
  /** Has everything at once: more than any author has. */
  const everything = openLiveDocument(kind, null)

  for (let step = 0; step < steps; step++) {
    const member = dice.pick(members)
    if (dice.chance(0.45)) hear(member)
    else write(member)
  }
  for (const member of members) while (hear(member));
  return { operations, documents: [everything, ...members.map(({ document }) => document)], refused, accepted }

  function write(member: Member): void {
    const { client, isHostile, document, seen } = member
    const clocks = new Map(members.map((other) => [other.client, document.clock(other.client)]))
    const context = { client, stamp, pastClock: (other: number) => clocks.get(other) ?? 0 }
    const update = isHostile
      ? drawUpdate(dice, kind, document.state(), client, clocks)
      : document.edit({ client, stamp, textVersion: () => undefined }, (apply) => apply(drawEdit(dice, kind, document)))
    if (update === null) return
    const verdict = everything.check(update, context)
    if (isHostile) {
      const own = document.check(update, context)
      if (JSON.stringify(own) !== JSON.stringify(verdict)) {
        throw new Error(`seed ${seed}: ${JSON.stringify(own)} with the declared past alone, ${JSON.stringify(verdict)} with more`)
      }
      if (!verdict.ok) {
        refused += 1
        return
      }
      accepted += 1
      document.apply(update)
    }
    if (!verdict.ok) throw new Error(`seed ${seed}: an honest update was refused: ${verdict.reason}`)
    everything.apply(update)
    const sequence = (seen.get(client) ?? 0) + 1
    operations.push({ client, sequence, update, seen: new Map(seen), context })
    seen.set(client, sequence)
  }

  /** Takes in one operation that may come next, if there is one. */
  function hear({ document, seen }: Member): boolean {
    const next = operations.filter(
      (operation) =>
        (seen.get(operation.client) ?? 0) === operation.sequence - 1 &&
        [...operation.seen].every(([other, reached]) => (seen.get(other) ?? 0) >= reached),
    )
    if (next.length === 0) return false
    const { client, sequence, update, context } = dice.pick(next)
    const verdict = document.check(update, context)
    if (!verdict.ok) throw new Error(`seed ${seed}: refused after others had accepted it: ${verdict.reason}`)
    document.apply(update)
    seen.set(client, sequence)
    return true
  }
}

/** A new document with the operations of a group, in another order that their pasts allow. */
export function replay(kind: Kind, { operations }: HostileGroup, seed: number): LiveDocument {
  const dice = createDice(seed)
  let document = openLiveDocument(kind, null)
  const seen = new Map<number, number>()
  const left = new Set(operations)
  while (left.size > 0) {
    const operation = dice.pick(
      [...left].filter(
        ({ client, sequence, seen: past }) =>
          (seen.get(client) ?? 0) === sequence - 1 && [...past].every(([other, reached]) => (seen.get(other) ?? 0) >= reached),
      ),
    )
    const verdict = document.check(operation.update, operation.context)
    if (!verdict.ok) throw new Error(`refused in another order: ${verdict.reason}`)
    document.apply(operation.update)
    seen.set(operation.client, operation.sequence)
    left.delete(operation)
    if (dice.chance(0.1)) document = openLiveDocument(kind, document.state())
  }
  return document
}

function drawEdit(dice: Dice, kind: Kind, document: LiveDocument): Edit {
  const value = document.value()
  if (value.kind === 'text') {
    const start = dice.below(value.text.length + 1)
    const characters = Array.from(value.text)
    const inserted = Array.from({ length: dice.below(3) }, () => dice.pick(['x', 'yz', '😀']))
    characters.splice(Math.min(start, characters.length), dice.below(3), ...inserted)
    return { type: 'text.put', text: characters.join(''), base: null }
  }
  const key = dice.pick(keys)
  if (dice.chance(0.3)) return { type: 'json.merge', patch: { [key]: null } }
  const below = (depth: number): null | number | object => {
    const luck = dice.below(depth > 0 ? 3 : 1)
    if (luck === 0) return dice.below(4)
    if (luck === 1) return Array.from({ length: dice.below(4) }, () => below(depth - 1))
    return { [dice.pick(keys)]: below(depth - 1), [dice.pick(keys)]: dice.chance(0.3) ? null : below(depth - 1) }
  }
  return { type: 'json.merge', patch: { [key]: below(3) } } as Edit
}

/** A place where items stand in a row: an author inserts between any two of its units. */
interface List {
  readonly parent: string | Id
  readonly key: string | null
  readonly units: Id[]
}

/** All the lists of a document, with whatever was deleted, and for each map one empty list more. */
function listsOf(kind: Kind, state: Uint8Array): List[] {
  const doc = new Y.Doc({ gc: false })
  Y.applyUpdate(doc, state)
  const root = kind === 'text' ? doc.getText('text') : doc.getMap('json')
  const lists: List[] = []
  const take = (type: Y.AbstractType<unknown>, parent: string | Id): void => {
    const addRow = (first: Y.Item | null, key: string | null): void => {
      const units: Id[] = []
      for (let item = first; item !== null; item = item.right) {
        for (let offset = 0; offset < item.length; offset++) units.push([item.id.client, item.id.clock + offset])
        if (item.content instanceof Y.ContentType) take(item.content.type, [item.id.client, item.id.clock])
      }
      lists.push({ parent, key, units })
    }
    if (!(type instanceof Y.Map)) return addRow(type._start, null)
    for (const key of new Set([...keys, ...type._map.keys()])) {
      let item = type._map.get(key) ?? null
      while (item !== null && item.left !== null) item = item.left
      addRow(item, key)
    }
  }
  take(root as Y.AbstractType<unknown>, kind)
  return lists
}

/** An update as no client of this project would write it, but well-formed, and with references to what its author has. */
function drawUpdate(dice: Dice, kind: Kind, state: Uint8Array, client: number, clocks: ReadonlyMap<number, number>): Uint8Array {
  const lists = listsOf(kind, state)
  const units = (): Id[] => lists.flatMap((list) => list.units)
  const structs: HandMade[] = []
  const first = clocks.get(client) ?? 0
  let clock = first
  for (let left = dice.pick([0, 1, 1, 1, 2, 3, 6]); left > 0; left--) {
    const isFair = dice.chance(0.8)
    const list = dice.pick(lists)
    const isKeyed = list.key !== null
    const at = isKeyed && isFair ? list.units.length : dice.below(list.units.length + 1)
    const some = units()
    const anyUnit = (): Id | undefined => (some.length === 0 || dice.chance(0.2) ? undefined : dice.pick(some))
    let origin: Id | undefined = list.units[at - 1]
    let right: Id | undefined = list.units[at]
    if (!isFair) {
      const luck = dice.below(5)
      if (luck === 0) origin = anyUnit()
      else if (luck === 1) right = anyUnit()
      else if (luck === 2) right = list.units[at + 1 + dice.below(2)]
      else if (luck === 3) origin = list.units[at - 2 - dice.below(2)]
      else [origin, right] = [right, origin]
    }
    const content = drawContent(dice, kind, isKeyed)
    const { parent, key } = !isFair && dice.chance(0.1) ? dice.pick(lists) : list
    structs.push({
      ...(origin && { origin }),
      ...(right && { right }),
      parent,
      ...(key !== null && { key }),
      ...content.made,
    })
    const own = Array.from({ length: content.length }, (_, offset): Id => [client, clock + offset])
    list.units.splice(at, 0, ...own)
    if (content.container === 'array') lists.push({ parent: own[0]!, key: null, units: [] })
    if (content.container === 'map') for (const key of keys) lists.push({ parent: own[0]!, key, units: [] })
    clock += content.length
  }
  const deleted = [...clocks]
    .filter(([other, reached]) => reached > 0 && other !== client && dice.chance(0.25))
    .toSorted(([a], [b]) => b - a)
    .map(([other, reached]) => {
      const from = dice.below(reached)
      return [other, [[from, 1 + dice.below(Math.min(3, reached - from))]]] as const
    })
  return handMade({ client, clock: first, structs, deleted })
}

function drawContent(
  dice: Dice,
  kind: Kind,
  isKeyed: boolean,
): { made: ReturnType<typeof any>; length: number; container?: 'array' | 'map' } {
  if (kind === 'text') {
    const text = dice.pick(['a', 'bc', 'def', '😀', '😀g'])
    return { made: string(text), length: text.length }
  }
  const luck = dice.below(3)
  if (luck === 0) return { made: container(0), length: 1, container: 'array' }
  if (luck === 1) return { made: container(1), length: 1, container: 'map' }
  const length = isKeyed ? 1 : 1 + dice.below(3)
  return { made: any(...Array.from({ length }, () => dice.below(10))), length }
}
