import { expect, it } from 'vitest'
import type { FeedId, InstanceId } from '../../../src/core/index.ts'
import type { Session } from '../../../src/replica/session.ts'
import { ToldBoard } from '../../../src/replica/told-board.ts'
import { VirtualTime } from '../../sim/virtual-time.ts'

const feed = 'feed' as FeedId

/** A session with an instance that told that it applied so many envelopes of a feed; null: it has told nothing on it. */
function sessionThatTold(applied: number | null): Session {
  const theirs = new Map(applied === null ? [] : [[feed, { feed, have: applied, applied }]])
  const session: unknown = { member: { instance: 'i' as InstanceId }, ready: true, hasTold: applied !== null, program: 'test', theirs }
  return session as Session
}

it('what an instance told stays known when its link closes, and another one is open on which it has told nothing yet', () => {
  const board = new ToldBoard(new VirtualTime().clock())
  const [old, young] = [sessionThatTold(5), sessionThatTold(null)]
  board.heard(old)
  board.closed(old, [young])
  expect([board.holders(feed, 5), board.holders(feed, 6)]).toEqual([1, 0])
})

it('where another copy of its home stays, what that one told is known', () => {
  const board = new ToldBoard(new VirtualTime().clock())
  const [copy, original] = [sessionThatTold(3), sessionThatTold(5)]
  board.heard(original)
  board.heard(copy)
  board.closed(copy, [original])
  expect(board.holders(feed, 5)).toBe(1)
})
