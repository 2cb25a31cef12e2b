import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { encode, SelfsameError, stampOf } from '../../../src/core/index.ts'
import { openLiveDocument } from '../../../src/document/index.ts'
import type { Edit, EditContext, Json, LiveDocument } from '../../../src/document/index.ts'
import { createDice, expectConvergence, runGroup, seeds } from './group.ts'
import type { Dice, Operation } from './group.ts'

const keys = ['a', 'b', 'ä', '😀', 'a/b', '__proto__', '10', '9']

const context = (client: number, milliseconds: number = 1): EditContext => ({
  client,
  stamp: stampOf(milliseconds, 0),
  textVersion: () => undefined,
})

const several = <Item>(dice: Dice, draw: () => Item): readonly Item[] => Array.from({ length: 1 + dice.below(4) }, draw)

function edit(document: LiveDocument, client: number, ...edits: readonly Edit[]): Uint8Array | null {
  return document.edit(context(client), (apply) => edits.forEach(apply))
}

function codeOf(body: () => unknown): string | undefined {
  try {
    body()
  } catch (error) {
    return error instanceof SelfsameError ? error.code : String(error)
  }
  return undefined
}

describe('counters', () => {
  const add = (key: string, amount: bigint): Edit => ({ type: 'counter.add', key, amount })
  const totals = (document: LiveDocument) => {
    const value = document.value()
    return value.kind === 'counter' ? Object.fromEntries(value.totals) : undefined
  }

  test.each(seeds(20))('a counter equals the sum of all increments, whatever the order they were heard in (seed %i)', (seed) => {
    const group = runGroup('counter', seed, 90, (dice) => several(dice, () => add(dice.pick(keys), BigInt(dice.below(21) - 10))))
    expectConvergence(group, seed)
    const sums = new Map<string, bigint>()
    for (const { edits } of group.operations) {
      for (const each of edits) if (each.type === 'counter.add') sums.set(each.key, (sums.get(each.key) ?? 0n) + each.amount)
    }
    const value = group.replicas[0]!.document.value()
    for (const [key, total] of value.kind === 'counter' ? value.totals : []) expect(total).toBe(sums.get(key))
    for (const [key, sum] of sums) if (sum !== 0n) expect(value.kind === 'counter' && value.totals.get(key)).toBe(sum)
  })

  test('the increments of one key in one transaction make one cell', () => {
    const document = openLiveDocument('counter', null)
    const update = edit(document, 7, ...Array.from({ length: 64 }, () => add('karma', 1n)))
    expect(update?.length).toBeLessThan(30)
    expect(document.clock(7)).toBe(1)
    expect(totals(document)).toEqual({ karma: 64n })
  })

  test('increments that cancel out within one transaction write nothing', () => {
    expect(edit(openLiveDocument('counter', null), 7, add('karma', 5n), add('karma', -5n))).toBeNull()
  })

  test('a total of 64 bits is kept exactly, and one step further is refused without a trace', () => {
    const document = openLiveDocument('counter', null)
    edit(document, 7, add('up', 2n ** 63n - 1n), add('down', -(2n ** 63n)))
    expect(totals(openLiveDocument('counter', document.state()))).toEqual({ up: 2n ** 63n - 1n, down: -(2n ** 63n) })
    const before = document.digest()
    expect(codeOf(() => edit(document, 7, add('up', 1n)))).toBe('overflow')
    expect(codeOf(() => edit(document, 8, add('down', -1n)))).toBe('overflow')
    expect(document.digest()).toBe(before)
  })

  test('should a faulty feed leave an old total beside its new one, the new one counts, wherever it is read', () => {
    const faulty = new Y.Doc()
    faulty.clientID = 7
    faulty.getArray('cells').push([encode(['k', 5]), encode(['k', 9])])
    const document = openLiveDocument('counter', null)
    document.apply(Y.encodeStateAsUpdate(faulty))
    expect(totals(document)).toEqual({ k: 9n })
    expect(totals(openLiveDocument('counter', document.state()))).toEqual({ k: 9n })
    edit(document, 7, add('k', 1n))
    expect(totals(document)).toEqual({ k: 10n })
  })

  test('a sum that concurrent writers took out of range can be brought back', () => {
    const a = openLiveDocument('counter', null)
    const b = openLiveDocument('counter', null)
    a.apply(edit(b, 2, add('k', 2n ** 62n))!)
    a.apply(edit(b, 2, add('k', 2n ** 61n))!)
    const late = edit(openLiveDocument('counter', null), 3, add('k', 2n ** 62n))!
    b.apply(late)
    a.apply(late)
    expect(totals(a)).toEqual({ k: 2n ** 63n + 2n ** 61n })
    expect(codeOf(() => edit(a, 4, add('k', 1n)))).toBe('overflow')
    edit(a, 4, add('k', -(2n ** 62n)))
    expect(totals(a)).toEqual({ k: 2n ** 62n + 2n ** 61n })
  })
})

describe('sets', () => {
  const drawEdit = (dice: Dice): Edit => ({ type: dice.chance(0.6) ? 'set.add' : 'set.remove', member: dice.pick(keys) })

  test.each(seeds(20))('a set holds what was added and not removed by someone who saw it (seed %i)', (seed) => {
    const group = runGroup('set', seed, 90, (dice) => several(dice, () => drawEdit(dice)))
    expectConvergence(group, seed)
    const additions = liveAdditions(group.operations, (each) => {
      if (each.type === 'set.add') return { key: each.member, value: null }
      return each.type === 'set.remove' ? { key: each.member } : undefined
    })
    const members = [...new Set(additions.map(({ key }) => key))].sort()
    for (const { document } of group.replicas) expect(document.value()).toEqual({ kind: 'set', members })
  })

  test('adding a present member is a write that survives a removal which did not see it', () => {
    const a = openLiveDocument('set', null)
    const b = openLiveDocument('set', null)
    b.apply(edit(a, 1, { type: 'set.add', member: 'ada' })!)
    const again = edit(a, 1, { type: 'set.add', member: 'ada' })!
    const removal = edit(b, 2, { type: 'set.remove', member: 'ada' })!
    a.apply(removal)
    b.apply(again)
    expect(a.value()).toEqual({ kind: 'set', members: ['ada'] })
    expect(b.digest()).toBe(a.digest())
  })

  test('adding a member again and again does not make the set grow', () => {
    const document = openLiveDocument('set', null)
    for (let round = 0; round < 100; round++) edit(document, 1, { type: 'set.add', member: 'ada' })
    expect(document.state().length).toBeLessThan(40)
  })

  test('removing an absent member writes nothing', () => {
    expect(edit(openLiveDocument('set', null), 1, { type: 'set.remove', member: 'ada' })).toBeNull()
  })
})

describe('register maps', () => {
  const drawValue = (dice: Dice): Json => dice.pick<Json>([null, true, 1, -0.5, 'x', ['y', { z: [] }], { b: 1, a: { c: 'ü' } }])
  const drawEdit = (dice: Dice): Edit =>
    dice.chance(0.75)
      ? { type: 'register.set', key: dice.pick(keys), value: drawValue(dice) }
      : { type: 'register.delete', key: dice.pick(keys) }

  test.each(seeds(20))('the siblings of a key are exactly its concurrent writes, the greatest stamp first (seed %i)', (seed) => {
    const group = runGroup('register', seed, 90, (dice) => several(dice, () => drawEdit(dice)))
    expectConvergence(group, seed)
    const additions = liveAdditions(group.operations, (each) => {
      if (each.type === 'register.set') return { key: each.key, value: each.value }
      return each.type === 'register.delete' ? { key: each.key } : undefined
    })
    const cells = new Map<string, readonly { value: Json | null; stamp: string; client: number }[]>()
    for (const { key, value, operation } of additions.toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
      cells.set(key, [...(cells.get(key) ?? []), { value, stamp: operation.stamp, client: operation.client }])
    }
    for (const [key, siblings] of cells) {
      cells.set(
        key,
        siblings.toSorted((a, b) => (a.stamp === b.stamp ? b.client - a.client : a.stamp < b.stamp ? 1 : -1)),
      )
    }
    for (const { document } of group.replicas) {
      expect(document.value()).toEqual({ kind: 'register', cells })
      const key = keys[seed % keys.length]!
      expect(document.value(key)).toEqual({ kind: 'register', cells: new Map([...cells].filter(([other]) => other === key)) })
    }
  })

  test('a write that saw both siblings leaves one value', () => {
    const a = openLiveDocument('register', null)
    const b = openLiveDocument('register', null)
    const fromA = a.edit(context(1, 20), (apply) => apply({ type: 'register.set', key: 'city', value: 'Lisbon' }))!
    const fromB = b.edit(context(2, 10), (apply) => apply({ type: 'register.set', key: 'city', value: 'Oslo' }))!
    a.apply(fromB)
    b.apply(fromA)
    expect(a.value()).toMatchObject({ cells: new Map([['city', [{ value: 'Lisbon' }, { value: 'Oslo' }]]]) })
    b.apply(a.edit(context(1, 5), (apply) => apply({ type: 'register.set', key: 'city', value: 'Rome' }))!)
    expect(b.value()).toMatchObject({ cells: new Map([['city', [{ value: 'Rome', client: 1 }]]]) })
    expect(b.digest()).toBe(a.digest())
  })

  test.each<[string, Json, string]>([
    ['nested too deeply', JSON.parse('['.repeat(65) + ']'.repeat(65)) as Json, 'invalid-request'],
    ['not a number of JSON', Number.NaN, 'invalid-request'],
    ['half a surrogate pair', '\ud800', 'invalid-request'],
    ['a __proto__ key', JSON.parse('{"__proto__":1}') as Json, 'invalid-request'],
    ['too large', 'x'.repeat(300_000), 'too-large'],
  ])('a value that is %s is refused', (_, value, code) => {
    const document = openLiveDocument('register', null)
    expect(codeOf(() => edit(document, 1, { type: 'register.set', key: 'k', value }))).toBe(code)
    expect(document.clock(1)).toBe(0)
  })
})

describe('edits', () => {
  test('a refused edit that is caught leaves no trace, and the others go on', () => {
    const document = openLiveDocument('set', null)
    document.edit(context(1), (apply) => {
      apply({ type: 'set.add', member: 'a' })
      expect(() => apply({ type: 'set.add', member: '' })).toThrow('the set member is empty')
      expect(() => apply({ type: 'counter.add', key: 'a', amount: 1n })).toThrow('is not an edit of a set document')
      apply({ type: 'set.add', member: 'b' })
    })
    expect(document.value()).toEqual({ kind: 'set', members: ['a', 'b'] })
  })

  test('an error that is let out of the body leaves the document as it was, and usable', () => {
    const document = openLiveDocument('set', null)
    edit(document, 1, { type: 'set.add', member: 'a' })
    const digest = document.digest()
    expect(codeOf(() => edit(document, 1, { type: 'set.add', member: 'b' }, { type: 'set.add', member: 'x'.repeat(1_025) }))).toBe(
      'invalid-request',
    )
    expect(document.digest()).toBe(digest)
    edit(document, 1, { type: 'set.add', member: 'c' })
    expect(document.value()).toEqual({ kind: 'set', members: ['a', 'c'] })
  })

  test('a change that one update cannot carry is refused, and the document cannot be used on', () => {
    const document = openLiveDocument('register', null)
    const large = Array.from({ length: 9 }, (_, index): Edit => ({ type: 'register.set', key: `${index}`, value: 'x'.repeat(250_000) }))
    expect(codeOf(() => edit(document, 1, ...large))).toBe('too-large')
    expect(() => edit(document, 1, { type: 'register.delete', key: '1' })).toThrow('thrown away')
  })

  test('an edit that comes after its transaction is a bug', () => {
    const document = openLiveDocument('set', null)
    let late: ((edit: Edit) => void) | undefined
    document.edit(context(1), (apply) => {
      late = apply
    })
    expect(() => late?.({ type: 'set.add', member: 'a' })).toThrow('after its transaction')
  })
})

describe('size', () => {
  test('what is overwritten melts away: 20,000 overwrites of 200 keys take a few kilobytes', () => {
    const document = openLiveDocument('register', null)
    const dice = createDice(1)
    for (let round = 0; round < 20_000; round++) {
      document.edit(context(1), (apply) => apply({ type: 'register.set', key: `key ${dice.below(200)}`, value: round }))
    }
    expect(document.state().length).toBeLessThan(200 * 60)
    expect(document.sizeEstimate).toBeGreaterThan(document.state().length)
  })

  test('thousands of feeds that each write once into a large document are placed without a walk, and to one digest', () => {
    const dice = createDice(3)
    const large = openLiveDocument('set', null)
    large.edit(context(2 ** 40), (apply) => {
      for (let index = 0; index < 10_000; index++) apply({ type: 'set.add', member: `member ${index}` })
    })
    const updates: Uint8Array[] = []
    for (let feed = 0; feed < 1_000; feed++) {
      const update = openLiveDocument('set', null).edit(context(1 + dice.below(2 ** 41)), (apply) =>
        apply({ type: 'set.add', member: `${feed}` }),
      )
      updates.push(update!)
    }
    const other = openLiveDocument('set', large.state())
    for (const update of updates) large.apply(update)
    for (const update of updates.toReversed()) other.apply(update)
    expect(other.digest()).toBe(large.digest())
    const value = large.value()
    expect(value.kind === 'set' && value.members.length).toBe(11_000)
  })
})

interface Addition {
  readonly key: string
  readonly value: Json | null
  readonly operation: Operation
  readonly place: number
}

/** The independent model of cells: an addition lives unless an edit for its key saw it, from another operation or earlier in its own. */
function liveAdditions(
  operations: readonly Operation[],
  read: (edit: Edit) => { key: string; value?: Json | null } | undefined,
): readonly Addition[] {
  const writes = operations.flatMap((operation) => operation.edits.map((each, place) => ({ ...read(each)!, operation, place })))
  const additions = writes.filter((write): write is Addition => write.value !== undefined)
  return additions.filter(
    ({ key, operation, place }) =>
      !writes.some((write) => {
        if (write.key !== key) return false
        if (write.operation === operation) return write.place > place
        return (write.operation.seen.get(operation.client) ?? 0) >= operation.sequence && !isBefore(write.operation, operation)
      }),
  )
}

/** Whether `earlier` stands before `later` in the same feed. */
function isBefore(earlier: Operation, later: Operation): boolean {
  return earlier.client === later.client && earlier.sequence < later.sequence
}
