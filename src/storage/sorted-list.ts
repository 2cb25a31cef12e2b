/** A list that is kept in the order of a comparison and holds one item per key. Appending in order costs O(1). */

/** Negative, zero or positive, as `a` comes before, with or after `b`. */
export type Compare<Key> = (a: Key, b: Key) => number

export class SortedList<Key, Item extends Key> {
  readonly #compare: Compare<Key>
  readonly #items: Item[]

  constructor(compare: Compare<Key>, items: Item[] = []) {
    this.#compare = compare
    this.#items = items
  }

  /** All items, in order. */
  get items(): readonly Item[] {
    return this.#items
  }

  get last(): Item | undefined {
    return this.#items.at(-1)
  }

  /** Puts the item in its place, over one with an equal key. */
  set(item: Item): void {
    const index = this.countBelow(item)
    if (index === this.#items.length) this.#items.push(item)
    else this.#items.splice(index, this.#isAt(index, item) ? 1 : 0, item)
  }

  delete(key: Key): void {
    const index = this.countBelow(key)
    if (this.#isAt(index, key)) this.#items.splice(index, 1)
  }

  get(key: Key): Item | undefined {
    const index = this.countBelow(key)
    return this.#isAt(index, key) ? this.#items[index] : undefined
  }

  /** The last item whose key is not beyond `key`. */
  floor(key: Key): Item | undefined {
    return this.#items[this.countUpTo(key) - 1]
  }

  /** How many items come before `key`. */
  countBelow(key: Key): number {
    return this.#partition((item) => this.#compare(item, key) < 0)
  }

  /** How many items come before `key` or with it. */
  countUpTo(key: Key): number {
    return this.#partition((item) => this.#compare(item, key) <= 0)
  }

  clone(): SortedList<Key, Item> {
    return new SortedList<Key, Item>(this.#compare, [...this.#items])
  }

  #isAt(index: number, key: Key): boolean {
    const item = this.#items[index]
    return item !== undefined && this.#compare(item, key) === 0
  }

  /** The number of leading items that are `before`. */
  #partition(before: (item: Item) => boolean): number {
    let low = 0
    let high = this.#items.length
    // Most calls are about the end: looking there first makes appending O(1).
    if (high > 0 && before(this.#items[high - 1] as Item)) return high
    while (low < high) {
      const middle = (low + high) >>> 1
      if (before(this.#items[middle] as Item)) low = middle + 1
      else high = middle
    }
    return low
  }
}
