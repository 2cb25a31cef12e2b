import { expect, test } from 'vitest'
import type { Replica } from '../../../src/replica/index.ts'
import type { MemoryStore } from '../../../src/storage/index.ts'
import { openGroup } from './group.ts'

test('a second copy is a case for as long as both run and five minutes more; the evidence of it stays', async () => {
  const group = await openGroup(['admin', 'writer'])
  const [original, witness] = group.replicas as [(typeof group.replicas)[0], (typeof group.replicas)[0]]
  const copy = await group.settle(group.reopen((group.stores[0] as MemoryStore).clone()))
  const all = [original, witness, copy]
  for (const replica of all) await group.settle(replica.startNetwork())
  const now = (replica: (typeof all)[0]): readonly string[] => [...new Set(replica.evidence.casesNow().map(({ kind }) => kind))]

  await group.pass(60_000)
  expect(now(witness)).toEqual(['second-copy'])
  await group.pass(20 * 60_000)
  for (const replica of all) expect(now(replica)).toEqual(['second-copy'])

  await group.settle(copy.close())
  await group.pass(4 * 60_000)
  expect(now(witness)).toEqual(['second-copy'])
  await group.pass(2 * 60_000)
  expect(now(witness)).toEqual([])
  expect(witness.evidence.cases()).toMatchObject([{ kind: 'second-copy' }])
})

test('once a copy is gone, what its original has is known again, and not what the copy had', async () => {
  const group = await openGroup(['admin', 'writer'])
  const [original, witness] = group.replicas as [Replica, Replica]
  const older = (group.stores[0] as MemoryStore).clone()
  for (const replica of [original, witness]) await group.settle(replica.startNetwork())
  await group.settle(original.write({ operations: [{ type: 'append', name: 'memory', entry: { text: 'later' } }] }))
  await group.pass(10_000)
  const known = (): readonly (number | null)[] => witness.peers().map(({ behind }) => behind)
  expect(known()).toEqual([0])
  const copy = await group.settle(group.reopen(older))
  await group.settle(copy.startNetwork())
  for (let waited = 0; waited < 10_000 && known()[0] === 0; waited += 1) await group.pass(1)
  expect(known()).toEqual([1])
  await group.settle(copy.close())
  await group.pass(100)
  expect(known()).toEqual([0])
})
