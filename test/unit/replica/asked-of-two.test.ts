import { expect, test } from 'vitest'
import type { LocalWrite, Replica } from '../../../src/replica/index.ts'
import type { MemoryStore } from '../../../src/storage/index.ts'
import { openGroup } from './group.ts'

test('what two copies of a home were both asked to append is there once, and is the same entry everywhere', async () => {
  const group = await openGroup(['admin', 'writer'])
  const [original, witness] = group.replicas as [Replica, Replica]
  const copy = await group.settle(group.reopen((group.stores[0] as MemoryStore).clone()))
  const request: LocalWrite = {
    operations: [{ type: 'append', name: 'memory', entry: { text: 'said once' } }],
    operationId: 'asked of both',
  }
  for (const replica of [original, copy]) expect(await group.settle(replica.write(request))).toMatchObject({ repeated: false })
  await group.settle(witness.startNetwork())
  for (const replica of [original, copy, original]) {
    await group.settle(replica.startNetwork())
    await group.pass(90_000)
    await group.settle(replica.stopNetwork())
  }
  const read = (replica: Replica): readonly string[] =>
    replica.reader.log('memory', { newestFirst: false, limit: 10 }).entries.map(({ id }) => id)
  expect(read(original)).toHaveLength(1)
  expect([witness, copy].map(read)).toEqual([read(original), read(original)])
  for (const { stored } of [original, witness, copy]) expect(stored).toEqual({ feeds: 2, envelopes: 2 })
})
