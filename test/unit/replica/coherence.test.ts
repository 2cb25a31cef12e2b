/** Coherence: what differs from what its envelopes say is noticed, told and mended, with writes going on; and what is attested is believed of nobody else. */
import { describe, expect, it } from 'vitest'
import type { LocalOperation, Replica } from '../../../src/replica/index.ts'
import { createMemoryStore } from '../../../src/storage/index.ts'
import { openGroup } from './group.ts'
import type { Group } from './group.ts'

const entry = (text: string): LocalOperation => ({ type: 'append', name: 'memory', entry: { text } })
const count = (key: string): LocalOperation => ({
  type: 'edit',
  kind: 'counter',
  name: 'karma',
  edit: { type: 'counter.add', key, amount: 1n },
})

async function openCoherent(size: number): Promise<Group> {
  const group = await openGroup(['admin', ...Array.from({ length: size - 1 }, () => 'writer' as const)])
  for (const replica of group.replicas) {
    await replica.startNetwork()
    replica.coherence.start()
  }
  await group.pass(5_000)
  return group
}

const verdicts = (verification: Awaited<ReturnType<Replica['coherence']['verify']>>): string[] =>
  verification.instances.map(({ verdict }) => verdict)

describe('a verification', () => {
  it('says of how many documents all show the same', async () => {
    const { pass, replicas, settle } = await openCoherent(3)
    const [first, second] = replicas as [Replica, Replica]
    await settle(first.write({ operations: [entry('one'), count('a')] }))
    await settle(second.write({ operations: [count('b')] }))
    await pass(1_000)
    const verification = await settle(first.coherence.verify(10_000))
    expect([verification.documents, verdicts(verification), verification.undigested]).toEqual([2, ['same', 'same'], 0])
  })
})
