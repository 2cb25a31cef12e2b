import { fc } from './arbitraries.ts'
import { describe, expect, it } from 'vitest'
import { HybridClock, mergeAheadMillisecondsMax, stampOf, stampToMilliseconds, stampZero } from '../../../src/core/index.ts'
import type { Clock, Stamp } from '../../../src/core/index.ts'

function wallClock(times: readonly number[]): Clock {
  let index = 0
  return {
    now: () => times[Math.min(index++, times.length - 1)] ?? 0,
    monotonic: () => 0,
    after: () => () => {},
  }
}

const milliseconds = fc.integer({ min: 0, max: 2 ** 48 - 1 })

describe('a hybrid clock', () => {
  it('never gives a stamp twice nor goes back, however the wall clock jumps', () => {
    fc.assert(
      fc.property(fc.array(milliseconds, { minLength: 2, maxLength: 50 }), (times) => {
        const clock = new HybridClock(wallClock(times))
        const stamps = times.map(() => clock.next())
        for (const [index, stamp] of stamps.entries()) if (index > 0) expect(stamp > (stamps[index - 1] as Stamp)).toBe(true)
      }),
    )
  })

  it('gives a greater stamp than every one it merged that lies within the bound', () => {
    fc.assert(
      fc.property(
        milliseconds.filter((now) => now > mergeAheadMillisecondsMax),
        fc.integer({ min: -50_000, max: 50_000 }),
        (now, offset) => {
          const clock = new HybridClock(wallClock([now]))
          const remote = stampOf(Math.min(now + offset, 2 ** 48 - 1), 7)
          expect(clock.merge(remote)).toBe(stampToMilliseconds(remote) - now)
          expect(clock.next() > remote).toBe(true)
        },
      ),
    )
  })

  it('follows a clock that is far ahead only as far as it may', () => {
    const now = Date.UTC(2026, 0, 1)
    const clock = new HybridClock(wallClock([now]))
    clock.merge(stampOf(now + 86_400_000, 0))
    expect(stampToMilliseconds(clock.next()) - now).toBeLessThanOrEqual(mergeAheadMillisecondsMax + 1)
  })

  it('goes on into the next millisecond when one millisecond is used up', () => {
    const clock = new HybridClock(wallClock([1_000]), stampOf(1_000, 65_535))
    expect(clock.next()).toBe(stampOf(1_001, 0))
    expect(stampZero < stampOf(0, 1)).toBe(true)
  })
})
