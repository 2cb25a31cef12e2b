/** What all of one run share: time, chance, the network, what was found broken, what happened, and the trace that equal runs have in common. */
import { createHash } from 'node:crypto'
import type { EnvelopeHash } from '../../src/core/index.ts'
import { createMemoryNetwork } from '../../src/network/index.ts'
import type { MemoryNetwork } from '../../src/network/index.ts'
import { VirtualTime, seededRandom } from './virtual-time.ts'
import type { SeededRandom } from './virtual-time.ts'

export class World {
  readonly time = new VirtualTime()
  readonly random: SeededRandom
  readonly network: MemoryNetwork
  /** Memory for live documents: with none, each is loaded anew for every use. */
  cacheBytes = 1 << 20
  /** Every envelope that any disk ever held, by its place: an honest group never puts two into one. */
  readonly places = new Map<string, EnvelopeHash>()
  /** What was found broken. The first one ends the run. */
  readonly faults: string[] = []
  /** How often each kind of trouble really came. */
  readonly happened = new Map<string, number>()
  readonly #trace = createHash('sha256')

  constructor(seed: string) {
    this.random = seededRandom(`run ${seed}`)
    this.network = createMemoryNetwork({ clock: this.time.clock(), random: this.random.fork('network') })
  }

  fault(what: string): void {
    this.faults.push(what)
  }

  note(what: string): void {
    this.happened.set(what, (this.happened.get(what) ?? 0) + 1)
  }

  /** Takes into the trace that something was said or stored now. */
  record(who: string, what: Uint8Array | string): void {
    this.#trace.update(`${this.time.elapsed} ${who} `).update(what)
  }

  /** The hash of all that was recorded. */
  trace(): string {
    return this.#trace.copy().digest('hex')
  }

  /** Lets time pass until a promise that needs it settles, at most some virtual seconds. */
  async settle(promise: Promise<unknown>): Promise<void> {
    let settled = false
    promise.then(
      () => (settled = true),
      () => (settled = true),
    )
    await this.time.run(this.time.elapsed)
    for (let spent = 0; !settled && spent < 1_000; spent += 1) await this.time.run(this.time.elapsed + 1)
  }
}
