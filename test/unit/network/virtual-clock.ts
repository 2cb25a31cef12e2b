/** A clock that stands still until it is moved; callbacks due at the same time run in the order in which they were asked for. */
import type { Clock } from '../../../src/core/index.ts'

export interface VirtualClock extends Clock {
  /** Runs what is due within `milliseconds`, and lets promises settle in between. */
  advance(milliseconds: number): Promise<void>
}

export function createVirtualClock(): VirtualClock {
  let time = 0
  let asked = 0
  let waiting: { at: number; order: number; callback: () => void }[] = []
  return {
    now: () => time,
    monotonic: () => time,
    after(milliseconds, callback) {
      asked += 1
      const entry = { at: time + milliseconds, order: asked, callback }
      waiting.push(entry)
      return () => {
        waiting = waiting.filter((other) => other !== entry)
      }
    },
    async advance(milliseconds) {
      const end = time + milliseconds
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve))
        const [next] = waiting.toSorted((a, b) => a.at - b.at || a.order - b.order)
        if (next === undefined || next.at > end) break
        time = next.at
        waiting = waiting.filter((other) => other !== next)
        next.callback()
      }
      time = end
    },
  }
}
