import { expect, it } from 'vitest'
import type { Replica } from '../../../src/replica/index.ts'
import { openGroup } from './group.ts'

it('an instance that lacks many feeds, more than one answer holds, asks on until it has them all', async () => {
  const group = await openGroup(['admin', 'writer', 'writer', 'writer', 'writer', 'writer', 'writer'])
  const [late, ...others] = group.replicas as [Replica, ...Replica[]]
  for (const replica of others) await group.settle(replica.startNetwork())
  // One after the other, so that an answer is full before it comes to the feeds of the later ones.
  const text = 'x'.repeat(500_000)
  const entriesEach = 6
  for (const replica of others) {
    for (let index = 0; index < entriesEach; index += 1)
      await group.settle(replica.write({ operations: [{ type: 'append', name: 'memory', entry: { text } }] }))
    await group.pass(20_000)
  }
  for (const { reader } of others) expect(reader.entryTotal()).toBe(others.length * entriesEach)
  // With one of them only, so that nobody else tells of what that one does not.
  for (const index of [2, 3, 4, 5, 6]) group.network.setReachable('/memory/0', `/memory/${index}`, false)
  await group.settle(late.startNetwork())
  // The next comparison with a peer is ten seconds away.
  await group.pass(6_000)
  expect(late.reader.entryTotal()).toBe(others.length * entriesEach)
})
