/**
 * A rebuild: all that is derived is thrown away and built anew from the envelopes. What it is about stands in the store from the commit that
 * throws away to the one that has all again, so that a process that is killed in between goes on with it. The engine drives it.
 */
import { assert, decode, encode, isText, isUint } from '../core/index.ts'
import type { Clock } from '../core/index.ts'

/** The name of the meta row that is there while a rebuild is under way. */
export const rebuildName = 'rebuild'

/** A rebuild that has ended. */
export interface RebuildFacts {
  /** Why, as a line for a person. */
  readonly cause: string
  /** Milliseconds since the Unix epoch. */
  readonly beganAt: number
  /** Until all that had been applied was applied again, milliseconds; what a restart in between took included. */
  readonly milliseconds: number
}

interface Waiter {
  readonly resolve: (facts: RebuildFacts) => void
  readonly reject: (error: unknown) => void
}

export class Rebuild {
  readonly #clock: Clock
  #asked: string | null = null
  #underWay: Omit<RebuildFacts, 'milliseconds'> | null = null
  #last: RebuildFacts | null = null
  #waiters: Waiter[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Why one is to begin; null where none is asked for, or it is under way. */
  get asked(): string | null {
    return this.#asked
  }

  /** The store does not hold all yet that it held. */
  get isUnderWay(): boolean {
    return this.#underWay !== null
  }

  /** The one that ended last. */
  get last(): RebuildFacts | null {
    return this.#last
  }

  /** Asks for one, or for the end of the one that is under way. */
  ask(cause: string): Promise<RebuildFacts> {
    if (this.#underWay === null) this.#asked ??= cause
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }

  /** What the store keeps of one that begins now. */
  begin(cause: string): Uint8Array {
    return encode([Math.max(0, Math.floor(this.#clock.now())), cause])
  }

  /** Takes note of what a store that was just loaded keeps. */
  loaded(kept: Uint8Array | undefined): void {
    if (kept === undefined) {
      this.#underWay = null
      return
    }
    const decoded = decode(kept)
    assert(decoded.ok && Array.isArray(decoded.value), 'the stored note of a rebuild does not decode')
    const [beganAt, cause] = decoded.value as readonly unknown[]
    assert(isUint(beganAt) && isText(cause, causeLengthMax), 'the stored note of a rebuild is another')
    this.#underWay = { cause, beganAt }
    this.#asked = null
  }

  /** All is there again, and durable. */
  ended(): void {
    assert(this.#underWay !== null, 'a rebuild ends that was not under way')
    const facts = { ...this.#underWay, milliseconds: Math.max(0, this.#clock.now() - this.#underWay.beganAt) }
    this.#underWay = null
    this.#last = facts
    for (const { resolve } of this.#waiters.splice(0)) resolve(facts)
  }

  /** Whoever waits for one is told that it does not go on, or not now. */
  giveUp(error: unknown): void {
    this.#asked = null
    for (const { reject } of this.#waiters.splice(0)) reject(error)
  }
}

/** Characters of a cause: a line. */
const causeLengthMax = 1_024
