/** Virtual time and seeded randomness: what makes a simulated run the same every time. */
import type { Clock, Random } from '../../src/core/index.ts'

/** Where every simulation begins, milliseconds since the Unix epoch: just before midnight, so that segments change their day. */
const epoch = Date.UTC(2026, 10, 1, 23, 59, 30)

interface Timer {
  readonly at: number
  readonly order: number
  readonly callback: () => void
  cancelled: boolean
}

/** A queue of timers. Those due at one time run in the order in which they were set. */
export class VirtualTime {
  #now = 0
  #order = 0
  /** A binary heap by (at, order). */
  readonly #heap: Timer[] = []

  /** Milliseconds since the simulation began. */
  get elapsed(): number {
    return this.#now
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(0, milliseconds), order: this.#order, callback, cancelled: false }
    this.#order += 1
    this.#push(timer)
    return () => {
      timer.cancelled = true
    }
  }

  /** A clock whose wall time is off by `skewMs`, which may change while it runs. */
  clock(skewMs: () => number = () => 0): Clock {
    return {
      now: () => epoch + this.#now + skewMs(),
      monotonic: () => this.#now,
      after: (milliseconds, callback) => this.after(milliseconds, callback),
    }
  }

  /** Runs timers until `until` (elapsed milliseconds), letting all promises settle after each. */
  async run(until: number): Promise<void> {
    await settle()
    for (let timer = this.#pop(until); timer !== undefined; timer = this.#pop(until)) {
      this.#now = timer.at
      timer.callback()
      await settle()
    }
    this.#now = until
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let index = heap.length
    heap.push(timer)
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (isBefore(heap[parent] as Timer, timer)) break
      heap[index] = heap[parent] as Timer
      index = parent
    }
    heap[index] = timer
  }

  #pop(until: number): Timer | undefined {
    const heap = this.#heap
    for (;;) {
      const first = heap[0]
      if (first === undefined || first.at > until) return undefined
      const last = heap.pop() as Timer
      if (heap.length > 0) this.#sink(last)
      if (!first.cancelled) return first
    }
  }

  #sink(timer: Timer): void {
    const heap = this.#heap
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child += 1
      if (isBefore(timer, heap[child] as Timer)) break
      heap[index] = heap[child] as Timer
      index = child
    }
    heap[index] = timer
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Lets every promise that can settle do so: nothing in a simulation waits for the real world. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

export interface SeededRandom extends Random {
  /** A whole number in 0..`below`-1. */
  below(below: number): number
  chance(probability: number): boolean
  pick<Item>(items: readonly Item[]): Item
  /** An independent stream, named so that adding one elsewhere changes nothing here. */
  fork(name: string): SeededRandom
}

/** Sfc32 (Chris Doty-Humphrey, PractRand), seeded by a text. */
export function seededRandom(seed: string): SeededRandom {
  let [a, b, c, d] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 1]
  for (const character of seed) a = Math.imul(a ^ character.charCodeAt(0), 0x01000193) >>> 0
  const next = (): number => {
    const sum = (((a + b) >>> 0) + d) >>> 0
    d = (d + 1) >>> 0
    a = (b ^ (b >>> 9)) >>> 0
    b = (c + (c << 3)) >>> 0
    c = (((c << 21) | (c >>> 11)) + sum) >>> 0
    return sum
  }
  for (let round = 0; round < 15; round += 1) next()
  const unit = (): number => next() / 2 ** 32
  const below = (limit: number): number => Math.floor(unit() * limit)
  return {
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
    unit,
    below,
    chance: (probability) => unit() < probability,
    pick: (items) => items[below(items.length)] as (typeof items)[number],
    fork: (name) => seededRandom(`${seed}/${name}`),
  }
}
