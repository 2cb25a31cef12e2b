/**
 * Which struct brought which part of a document: reads Yjs items, in the order in which a reader meets them. Who wrote a
 * struct, and when, is for those to say who know feeds and envelopes.
 */
import * as Y from 'yjs'
import type { Cell, Cells } from './cells.ts'
import type { Json, Part } from './document.ts'

type Container = Pick<Y.AbstractType<unknown>, '_map' | '_start'>

/** The stretches of a text; together they are the text. A struct may hold what several envelopes brought one after the other. */
export function textParts(root: Y.Text): readonly Part[] {
  const parts: Part[] = []
  for (const { id, content } of liveItems(root)) {
    if (content instanceof Y.ContentString) parts.push({ text: content.str, client: id.client, clock: id.clock })
  }
  return parts
}

/** What stands under each key: one part for each of the cells that `shown` gives for it, in its order. */
export function cellParts<Value>(
  cells: Cells<Value>,
  shown: (key: string) => readonly Cell<Value>[],
  valueOf?: (value: Value) => Json | bigint,
): readonly Part[] {
  return cells.keys().flatMap((key) =>
    shown(key).map(({ item: { id }, value }) => ({
      key,
      ...(valueOf && { value: valueOf(value) }),
      client: id.client,
      clock: id.clock,
    })),
  )
}

/** An order for cells that have none by themselves, the same on every instance. */
export function byWriter({ item: { id: a } }: Cell<unknown>, { item: { id: b } }: Cell<unknown>): number {
  return a.client - b.client || a.clock - b.clock
}

/** The leaves of a json document, keys sorted: values that hold nothing further, under their JSON Pointers. */
export function jsonParts(root: Y.Map<unknown>): readonly Part[] {
  const parts: Part[] = []

  function walk(type: Container, pointer: string): number {
    let count = 0
    const take = (step: string, value: unknown, { client, clock }: Y.ID): void => {
      count += 1
      const key = `${pointer}/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`
      if (!(value instanceof Y.AbstractType)) parts.push({ key, value: value as Json, client, clock })
      else if (walk(value, key) === 0) parts.push({ key, value: value instanceof Y.Array ? [] : {}, client, clock })
    }
    const members = [...type._map].filter(([, item]) => !item.deleted).toSorted(([a], [b]) => (a < b ? -1 : 1))
    for (const [step, item] of members) take(step, item.content.getContent()[item.length - 1], item.lastId)
    for (const { id, content } of liveItems(type)) {
      for (const [offset, value] of content.getContent().entries()) {
        take(String(count), value, Y.createID(id.client, id.clock + offset))
      }
    }
    return count
  }

  walk(root, '')
  return parts
}

function* liveItems(type: Container): Generator<Y.Item> {
  for (let item = type._start; item !== null; item = item.right) if (!item.deleted) yield item
}
