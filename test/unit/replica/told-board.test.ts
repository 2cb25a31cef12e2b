import { expect, it } from 'vitest'
import type { FeedId, InstanceId } from '../../../src/core/index.ts'
import type { Session } from '../../../src/replica/session.ts'
import { ToldBoard } from '../../../src/replica/told-board.ts'
import { VirtualTime } from '../../sim/virtual-time.ts'

const feed = 'feed' as FeedId

/** A session with an instance that has applied so many envelopes of a feed. */
function sessionOf(applied: number): Session {
  const theirs = new Map([[feed, { feed, have: applied, applied }]])
  const session: unknown = { member: { instance: 'i' as InstanceId }, program: 'test', theirs }
  return session as Session
}

it('what an instance told stays known when its session ends, and another ends on which it has told nothing', () => {
  const board = new ToldBoard(new VirtualTime().clock())
  const [old, young] = [sessionOf(5), sessionOf(0)]
  board.heard(old)
  board.ended(old)
  board.ended(young)
  expect([board.holders(feed, 5), board.holders(feed, 6)]).toEqual([1, 0])
})

it('where another copy of its home stays, what that one told is known', () => {
  const board = new ToldBoard(new VirtualTime().clock())
  const [copy, original] = [sessionOf(3), sessionOf(5)]
  board.heard(original)
  board.heard(copy)
  board.ended(copy)
  expect(board.holders(feed, 5)).toBe(1)
})
