import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SortedList } from '../../../src/storage/sorted-list.ts'

interface Item {
  readonly key: number
  readonly value: number
}

const byKey = (a: Pick<Item, 'key'>, b: Pick<Item, 'key'>): number => a.key - b.key
const keyArbitrary = fc.nat({ max: 20 })

test('a sorted list is a map from its keys, in their order', () => {
  const change = fc.record({ key: keyArbitrary, value: fc.nat(), removed: fc.boolean() })
  fc.assert(
    fc.property(fc.array(change), keyArbitrary, (changes, key) => {
      const list = new SortedList<Pick<Item, 'key'>, Item>(byKey)
      const model = new Map<number, Item>()
      for (const { removed, ...item } of changes) {
        if (removed) {
          list.delete(item)
          model.delete(item.key)
        } else {
          list.set(item)
          model.set(item.key, item)
        }
      }
      const items = [...model.values()].sort(byKey)
      expect(list.items).toEqual(items)
      expect(list.get({ key })).toBe(model.get(key))
      expect(list.last).toBe(items.at(-1))
      expect(list.floor({ key })).toBe(items.findLast((item) => item.key <= key))
      expect(list.countBelow({ key })).toBe(items.filter((item) => item.key < key).length)
      expect(list.countUpTo({ key })).toBe(items.filter((item) => item.key <= key).length)
      const copy = list.clone()
      list.set({ key: -1, value: 0 })
      expect(copy.items).toEqual(items)
    }),
  )
})
