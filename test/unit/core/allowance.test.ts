import { describe, expect, it } from 'vitest'
import { Allowance } from '../../../src/core/index.ts'
import { createVirtualClock } from '../network/virtual-clock.ts'

describe('an allowance', () => {
  it('lets go at once what it holds, and then as much as flows in', async () => {
    const clock = createVirtualClock()
    const allowance = new Allowance(clock, 10, 5)
    expect(Array.from({ length: 5 }, () => allowance.spend(1))).toEqual([0, 0, 0, 0, 0])
    expect(allowance.spend(1)).toBe(100)
    expect(allowance.spend(1)).toBe(200)
    await clock.advance(300)
    expect(allowance.spend(1)).toBe(0)
  })

  it('never holds more than its most, however long nothing is spent', async () => {
    const clock = createVirtualClock()
    const allowance = new Allowance(clock, 10, 5)
    await clock.advance(1_000_000)
    expect(allowance.spend(6)).toBe(100)
  })
})
