import { describe, expect, it } from 'vitest'
import { decodeControl } from '../../../src/replica/messages.ts'
import type { Replica } from '../../../src/replica/index.ts'
import { openGroup } from './group.ts'

describe('telling of progress', () => {
  it('costs each instance no more than 20 messages a second besides those to whoever waits, however many peers there are', async () => {
    const total = 8
    let frontiers = 0
    const group = await openGroup(
      Array.from({ length: total }, () => 'writer'),
      {
        sent: (channel, bytes) => {
          if (channel !== 'control') return
          const message = decodeControl(bytes)
          if (message.ok && message.value.type === 'frontier') frontiers += 1
        },
      },
    )
    for (const replica of group.replicas) await group.settle(replica.startNetwork())
    await group.pass(5_000)
    frontiers = 0
    const [writer] = group.replicas as [Replica]
    const writes = 80
    // Two seconds of writing and one after it.
    for (let index = 0; index < writes; index += 1) {
      await group.settle(writer.write({ operations: [{ type: 'append', name: 'memory', entry: { text: `${index}`, tags: [] } }] }))
      await group.pass(15)
    }
    await group.pass(1_000)
    expect(group.replicas.map((replica) => replica.reader.entryTotal())).toEqual(Array.from({ length: total }, () => writes))
    expect(frontiers).toBeLessThan(writes * (total - 1) + total * 20 * 3)
  })
})
