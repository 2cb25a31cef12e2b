import { describe, expect, it } from 'vitest'
import type { Replica } from '../../../src/replica/index.ts'
import { openGroup } from './group.ts'

describe('a flood of writes', () => {
  it('is gossiped no further than peers take it, fetched for the rest, and gossip goes on after it', async () => {
    let gossipBytes = 0
    const group = await openGroup(['writer', 'writer'], {
      sent: (channel, bytes) => {
        if (channel === 'gossip') gossipBytes += bytes.length
      },
    })
    const [writer, other] = group.replicas as [Replica, Replica]
    for (const replica of group.replicas) await group.settle(replica.startNetwork())
    await group.pass(5_000)
    gossipBytes = 0
    const append = (text: string) =>
      group.settle(writer.write({ operations: [{ type: 'append', name: 'memory', entry: { text, tags: [] } }] }))
    const began = group.time.elapsed
    for (let index = 0; index < 60; index += 1) await append('x'.repeat(60_000))
    const seconds = (group.time.elapsed - began) / 1_000
    expect(gossipBytes).toBeGreaterThan(1_000_000)
    expect(gossipBytes).toBeLessThan((1_600 + 800 * seconds) * 1_024 + 2 * 60_000)
    await group.pass(1_000)
    expect(other.reader.entryTotal()).toBe(60)
    gossipBytes = 0
    await append('after the flood')
    await group.pass(10)
    expect(gossipBytes).toBeGreaterThan(0)
    expect(other.reader.entryTotal()).toBe(61)
  })
})

describe('writes that follow each other', () => {
  it.each([
    [2, 20, 20],
    [11, 1, 12],
  ])('of one of %i instances are told in %i to %i messages, and all have them at once', async (size, least, most) => {
    let messages = 0
    const group = await openGroup(
      Array.from({ length: size }, () => 'writer' as const),
      { sent: (channel) => void (messages += channel === 'gossip' ? 1 : 0) },
    )
    const [writer, ...others] = group.replicas as [Replica, ...Replica[]]
    for (const replica of group.replicas) await group.settle(replica.startNetwork())
    await group.pass(5_000)
    messages = 0
    for (let index = 0; index < 20; index += 1) {
      await group.settle(writer.write({ operations: [{ type: 'append', name: 'memory', entry: { text: `${index}` } }] }))
    }
    await group.pass(100)
    expect(messages).toBeGreaterThanOrEqual(least)
    expect(messages).toBeLessThanOrEqual(most)
    for (const { reader } of others) expect(reader.entryTotal()).toBe(20)
  })
})
