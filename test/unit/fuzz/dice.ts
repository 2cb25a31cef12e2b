/** What a case is drawn with: a seed and the decoder's name give the same case everywhere. */

export interface Dice {
  /** A whole number in 0..count-1. */
  below(count: number): number
  chance(odds: number): boolean
  pick<Item>(items: readonly Item[]): Item
  bytes(length: number): Uint8Array
  /** As many items as `count`, each drawn anew. */
  times<Item>(count: number, draw: (index: number) => Item): Item[]
}

/** Mulberry32, begun from the hash (FNV-1a) of a text. */
export function createDice(seed: string): Dice {
  let state = 0x811c9dc5
  for (let index = 0; index < seed.length; index++) state = Math.imul(state ^ seed.charCodeAt(index), 0x01000193)
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  const below = (count: number): number => Math.floor((next() / 2 ** 32) * count)
  return {
    below,
    chance: (odds) => next() / 2 ** 32 < odds,
    pick: (items) => items[below(items.length)]!,
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
    times: (count, draw) => Array.from({ length: count }, (_, index) => draw(index)),
  }
}
