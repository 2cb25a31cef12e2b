/** Choices under a seed: the same in every run. */
import type { Random } from '../../../src/core/index.ts'

/** mulberry32. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e37_79b1) >>> 0
  }

  unit(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number below `bound`. */
  below(bound: number): number {
    return Math.floor(this.unit() * bound)
  }

  chance(probability: number): boolean {
    return this.unit() < probability
  }

  /** Undefined where there is nothing to pick. */
  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.below(items.length)]
  }

  /** A random order, at most `count` of them. */
  some<Item>(items: readonly Item[], count: number = items.length): Item[] {
    const rest = [...items]
    return Array.from({ length: Math.min(count, rest.length) }, () => rest.splice(this.below(rest.length), 1)[0] as Item)
  }

  /** As the randomness port. */
  get random(): Random {
    return { unit: () => this.unit(), bytes: (length) => Uint8Array.from({ length }, () => this.below(256)) }
  }
}
