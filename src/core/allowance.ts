/** The allowance: how much of something one peer may have, by the clock. */
import type { Clock } from './clock.ts'

/** A token bucket. It may be overdrawn once at a time: what was spent beyond it is waited out. */
export class Allowance {
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #most: number
  #left: number
  #at: number

  /** `perSecond` flows in all the time, up to `most`; it begins full. */
  constructor(clock: Clock, perSecond: number, most: number) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#most = most
    this.#left = most
    this.#at = clock.monotonic()
  }

  /** Whether anything is left. */
  get isLeft(): boolean {
    this.#refill()
    return this.#left > 0
  }

  /** Spends `cost` whatever is left. Returns the milliseconds until something is left again: 0 where it still is. */
  spend(cost: number): number {
    this.#refill()
    this.#left -= cost
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left / this.#perSecond) * 1_000)
  }

  #refill(): void {
    const now = this.#clock.monotonic()
    this.#left = Math.min(this.#most, this.#left + ((now - this.#at) / 1_000) * this.#perSecond)
    this.#at = now
  }
}
