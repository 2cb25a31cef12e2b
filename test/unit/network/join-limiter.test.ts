import { describe, expect, it } from 'vitest'
import { createJoinLimiter } from '../../../src/network/join-limiter.ts'
import { createVirtualClock } from './virtual-clock.ts'

describe('the limits on joining', () => {
  it('serve four requests at a time', () => {
    const limiter = createJoinLimiter(createVirtualClock())
    const leaves = ['a', 'b', 'c', 'd'].map((host) => limiter.enter(host))
    expect(leaves).not.toContain(null)
    expect(limiter.enter('e')).toBeNull()
    leaves[1]?.()
    expect(limiter.enter('e')).not.toBeNull()
    expect(limiter.enter('f')).toBeNull()
  })

  it('do not give back the place of another when a request ends twice', () => {
    const limiter = createJoinLimiter(createVirtualClock())
    const leave = limiter.enter('a')
    leave?.()
    for (const host of ['b', 'c', 'd', 'e']) limiter.enter(host)
    leave?.()
    expect(limiter.enter('f')).toBeNull()
  })

  it('allow a host twenty requests a minute, and all hosts together sixty', async () => {
    const clock = createVirtualClock()
    const limiter = createJoinLimiter(clock)
    const served = (host: string): boolean => {
      const leave = limiter.enter(host)
      leave?.()
      return leave !== null
    }
    const count = (host: string): number => Array.from({ length: 25 }, () => served(host)).filter(Boolean).length
    expect(['a', 'b', 'c', 'd'].map(count)).toEqual([20, 20, 20, 0])
    await clock.advance(60_000)
    expect(count('d')).toBe(20)
  })
})
