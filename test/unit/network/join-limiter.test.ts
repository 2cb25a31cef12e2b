import { describe, expect, it } from 'vitest'
import { createJoinLimiter } from '../../../src/network/join-limiter.ts'
import { createVirtualClock } from './virtual-clock.ts'

describe('the limits on joining', () => {
  it('serve one request at a time', () => {
    const limiter = createJoinLimiter(createVirtualClock())
    const leave = limiter.enter('a')
    expect(leave).not.toBeNull()
    expect(limiter.enter('b')).toBeNull()
    leave?.()
    expect(limiter.enter('b')).not.toBeNull()
  })

  it('do not give back the place of another when a request ends twice', () => {
    const limiter = createJoinLimiter(createVirtualClock())
    const leave = limiter.enter('a')
    leave?.()
    limiter.enter('b')
    leave?.()
    expect(limiter.enter('c')).toBeNull()
  })

  it('allow a host six requests a minute, and all hosts together thirty', async () => {
    const clock = createVirtualClock()
    const limiter = createJoinLimiter(clock)
    const served = (host: string): boolean => {
      const leave = limiter.enter(host)
      leave?.()
      return leave !== null
    }
    const count = (host: string): number => Array.from({ length: 10 }, () => served(host)).filter(Boolean).length
    expect(['a', 'b', 'c', 'd', 'e', 'f'].map(count)).toEqual([6, 6, 6, 6, 6, 0])
    await clock.advance(60_000)
    expect(count('f')).toBe(6)
  })
})
