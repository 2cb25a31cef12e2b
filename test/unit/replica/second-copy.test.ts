import { expect, test } from 'vitest'
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
