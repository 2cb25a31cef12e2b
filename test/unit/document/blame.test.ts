import { describe, expect, test } from 'vitest'
import { stampOf } from '../../../src/core/index.ts'
import { openLiveDocument } from '../../../src/document/index.ts'
import type { Edit, EditContext, Json, JsonObject, LiveDocument } from '../../../src/document/index.ts'
import { isJsonArray, isJsonObject } from '../../../src/document/json-value.ts'
import { runGroup, seeds } from './group.ts'
import type { Dice, Group, Operation, Replica } from './group.ts'

const context = (client: number): EditContext => ({ client, stamp: stampOf(1, 0), textVersion: () => undefined })
const keys = ['a', 'b', 'ü', '1', 'a/b', 'm~n', '']

function edit(document: LiveDocument, client: number, ...edits: readonly Edit[]): void {
  document.edit(context(client), (apply) => edits.forEach(apply))
}

/** The operation that brought the clock of a client. */
function bringer(group: Group, client: number, clock: number): Operation | undefined {
  const own = group.operations.filter((operation) => operation.client === client)
  return own.findLast((operation) => (operation.clocks.get(client) ?? 0) <= clock)
}

describe('the parts of a text', () => {
  const words = ['the ', 'cat ', 'sat\n', '😀', '漢', 'on a mat\n']
  const draw = (dice: Dice, replica: Replica): readonly Edit[] => {
    const value = replica.document.value()
    const now = value.kind === 'text' ? value.text : ''
    const at = now === '' ? 0 : dice.below(now.length)
    const changed = now.slice(0, at) + dice.pick(words) + dice.pick(words) + (dice.chance(0.3) ? '' : now.slice(at))
    return [{ type: 'text.put', text: changed.toWellFormed(), base: null }]
  }

  test.each(seeds(20))('are the text, and each unit of it came with an update of its writer that inserted that unit (seed %i)', (seed) => {
    const group = runGroup('text', seed, 60, draw)
    const { document } = group.replicas[0] as Replica
    const value = document.value()
    const parts = document.parts()
    expect({ kind: 'text', text: parts.map(({ text }) => text).join('') }).toMatchObject({
      kind: 'text',
      text: value.kind === 'text' && value.text,
    })
    for (const { text = '', client, clock } of parts) {
      for (let unit = 0; unit < text.length; unit++) {
        const operation = bringer(group, client, clock + unit)
        const put = operation?.edits.find((each) => each.type === 'text.put')
        expect(put?.type === 'text.put' && put.text.includes(text[unit] as string), `seed ${seed}`).toBe(true)
      }
    }
  })

  test('name the writer of each word, also where another rewrote the middle of a line', () => {
    const document = openLiveDocument('text', null)
    edit(document, 1, { type: 'text.put', text: 'one two three\n', base: null })
    edit(document, 2, { type: 'text.put', text: 'one TWO three\nfour\n', base: null })
    const shown = document.parts().map(({ text, client, clock }) => [text, client, clock])
    expect(shown).toEqual([
      ['one ', 1, 0],
      ['TWO', 2, expect.any(Number)],
      [' three\n', 1, 7],
      ['four\n', 2, expect.any(Number)],
    ])
  })
})

describe('the parts of cells', () => {
  test('of a counter say what each feed added up, by its newest cell', () => {
    const document = openLiveDocument('counter', null)
    edit(document, 1, { type: 'counter.add', key: 'k', amount: 5n })
    edit(document, 2, { type: 'counter.add', key: 'k', amount: -2n })
    edit(document, 1, { type: 'counter.add', key: 'k', amount: 1n }, { type: 'counter.add', key: 'j', amount: 9n })
    expect(document.parts()).toEqual([
      { key: 'j', value: 9n, client: 1, clock: 2 },
      { key: 'k', value: 6n, client: 1, clock: 1 },
      { key: 'k', value: -2n, client: 2, clock: 0 },
    ])
  })

  test('of a set name each addition that stands, and nothing of what was removed', () => {
    const document = openLiveDocument('set', null)
    edit(document, 1, { type: 'set.add', member: 'ada' }, { type: 'set.add', member: 'bob' })
    edit(document, 2, { type: 'set.remove', member: 'ada' })
    expect(document.parts()).toEqual([{ key: 'bob', client: 1, clock: 1 }])
  })

  const drawSet = (dice: Dice): readonly Edit[] => [{ type: 'register.set', key: dice.pick(keys) || 'x', value: dice.below(100) }]

  test.each(seeds(10))('of a register are its cells, the winner before its siblings, each with the write that set it (seed %i)', (seed) => {
    const group = runGroup('register', seed, 60, drawSet)
    const { document } = group.replicas[0] as Replica
    const value = document.value()
    const cells = value.kind === 'register' ? [...value.cells] : []
    const parts = document.parts()
    expect(parts.map(({ key, value, client }) => [key, value, client])).toEqual(
      cells.flatMap(([key, ranked]) => ranked.map((cell) => [key, cell.value, cell.client])),
    )
    for (const { key, value, client, clock } of parts) {
      expect(bringer(group, client, clock)?.edits, `seed ${seed}`).toContainEqual({ type: 'register.set', key, value })
    }
  })
})

describe('the parts of a json document', () => {
  function drawJson(dice: Dice, depth: number): Json {
    const luck = dice.below(depth > 0 ? 9 : 5)
    if (luck < 5) return dice.pick<Json>([null, true, 0, 1.5, 'x', '😀'])
    if (luck < 7) return Array.from({ length: dice.below(4) }, () => drawJson(dice, depth - 1))
    return Object.fromEntries(Array.from({ length: dice.below(4) }, () => [dice.pick(keys), drawJson(dice, depth - 1)]))
  }
  const drawMerge = (dice: Dice): readonly Edit[] => [
    { type: 'json.merge', patch: Object.fromEntries([[dice.pick(keys), drawJson(dice, 3)]]) },
  ]

  /** The leaves of a plain value, by JSON Pointer. */
  function leavesOf(value: Json, pointer = ''): [string, Json][] {
    const items = isJsonArray(value) ? [...value.entries()] : isJsonObject(value) ? Object.entries(value) : []
    if (items.length === 0) return pointer === '' ? [] : [[pointer, value]]
    return items.flatMap(([step, item]) => leavesOf(item, `${pointer}/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`))
  }

  test.each(seeds(20))('are its leaves, each by a client that wrote there (seed %i)', (seed) => {
    const group = runGroup('json', seed, 60, drawMerge)
    const { document } = group.replicas[0] as Replica
    const value = document.value()
    const parts = document.parts()
    const leaves = leavesOf(value.kind === 'json' ? value.value : null)
    expect(Object.fromEntries(parts.map(({ key, value }) => [key, value]))).toEqual(Object.fromEntries(leaves))
    expect(parts).toHaveLength(leaves.length)
    for (const { key = '', client, clock } of parts) {
      const [, top = ''] = key.split('/')
      const merge = bringer(group, client, clock)?.edits[0]
      const name = top.replaceAll('~1', '/').replaceAll('~0', '~')
      expect(merge?.type === 'json.merge' && Object.keys(merge.patch as JsonObject), `seed ${seed}`).toContain(name)
    }
  })
})
