/** The clock port: the only way any room learns the time or waits. `systemClock` is the real one. */

export interface Clock {
  /** Wall-clock milliseconds since the Unix epoch; may jump. */
  now(): number
  /** Milliseconds from some fixed point; never goes back. For intervals and timeouts. */
  monotonic(): number
  /** Calls `callback` once, after at least `milliseconds`. The returned function cancels it. */
  after(milliseconds: number, callback: () => void): () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    return () => clearTimeout(timer)
  },
}
