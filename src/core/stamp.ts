/**
 * Hybrid logical clock stamps (Kulkarni et al., "Logical Physical Clocks", 2014): 48 bits of milliseconds since the
 * Unix epoch and a 16-bit counter. In memory a stamp is 16 hexadecimal digits, so text order is stamp order.
 */
import type { Clock } from './clock.ts'

declare const brand: unique symbol
export type Stamp = string & { readonly [brand]: 'Stamp' }

export const stampBytes = 8
const millisecondsMax = 2 ** 48 - 1
const counterMax = 2 ** 16 - 1

export const stampZero = '0000000000000000' as Stamp

export function stampOf(milliseconds: number, counter: number): Stamp {
  return (milliseconds.toString(16).padStart(12, '0') + counter.toString(16).padStart(4, '0')) as Stamp
}

/** Milliseconds since the Unix epoch that the stamp claims. */
export function stampToMilliseconds(stamp: Stamp): number {
  return Number.parseInt(stamp.slice(0, 12), 16)
}

function stampToCounter(stamp: Stamp): number {
  return Number.parseInt(stamp.slice(12), 16)
}

/** How far ahead of the local clock a remote stamp may pull the hybrid clock. More lets one fast clock drag all
 * others; less makes ordinary clock error visible as reordering. */
export const mergeAheadMillisecondsMax = 60_000

/** A hybrid logical clock over a wall clock. Never goes back, never gives one stamp twice. */
export class HybridClock {
  readonly #clock: Clock
  #last: Stamp

  /** `last`: the greatest stamp that this instance gave or merged before (from its store). */
  constructor(clock: Clock, last: Stamp = stampZero) {
    this.#clock = clock
    this.#last = last
  }

  get last(): Stamp {
    return this.#last
  }

  /** The next stamp: greater than all given and merged before, and not below the wall clock. */
  next(): Stamp {
    this.#last = successor(this.#last, this.#clock.now())
    return this.#last
  }

  /**
   * Takes note of a remote stamp, so that what is written here after it was seen gets a greater one. A stamp more than
   * `mergeAheadMillisecondsMax` ahead of the wall clock counts as exactly that far ahead.
   * Returns how many milliseconds the remote clock is ahead of ours (negative: behind).
   */
  merge(remote: Stamp): number {
    const now = this.#clock.now()
    const bound = stampOf(Math.min(now + mergeAheadMillisecondsMax, millisecondsMax), counterMax)
    const merged = remote < bound ? remote : bound
    if (merged > this.#last) this.#last = merged
    return stampToMilliseconds(remote) - now
  }
}

function successor(last: Stamp, now: number): Stamp {
  const wall = stampOf(Math.min(Math.max(Math.floor(now), 0), millisecondsMax), 0)
  if (wall > last) return wall
  const counter = stampToCounter(last)
  if (counter < counterMax) return stampOf(stampToMilliseconds(last), counter + 1)
  return stampOf(stampToMilliseconds(last) + 1, 0)
}
