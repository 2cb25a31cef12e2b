import { expect, it } from 'vitest'
import type { LocalOperation, Replica } from '../../../src/replica/index.ts'
import { openGroup } from './group.ts'

/** Virtual milliseconds in which a document that is not written to is seen to rest. */
const restMs = 40_000

const mood = (value: string): LocalOperation => ({
  type: 'edit',
  kind: 'register',
  name: 'mood',
  edit: { type: 'register.set', key: 'now', value },
})
const soul = (text: string): LocalOperation => ({
  type: 'edit',
  kind: 'text',
  name: 'SOUL.md',
  edit: { type: 'text.put', text, base: null },
})

async function openOne() {
  const { pass, replicas, settle } = await openGroup(['writer'])
  const [replica] = replicas as [Replica]
  await settle(replica.startNetwork())
  const write = (operation: LocalOperation): Promise<unknown> => settle(replica.write({ operations: [operation] }))
  /** The positions of the snapshots, of those documents that have one. */
  const snapshots = (): readonly (readonly [name: string, position: number])[] =>
    replica.reader.documents().flatMap(({ document, name }) => {
      const snapshot = replica.store.snapshot(document)
      return snapshot === undefined ? [] : [[name, snapshot.position] as const]
    })
  return { pass, replica, snapshots, write }
}

it('a small document has a snapshot of all its updates once it rests, so that it is loaded at once after a restart', async () => {
  const { pass, replica, snapshots, write } = await openOne()
  for (const value of ['good', 'better', 'best']) await write(mood(value))
  expect(snapshots()).toEqual([])
  await pass(restMs)
  expect(snapshots()).toEqual([['mood', replica.store.lastPosition()]])
  await write(mood('tired'))
  await pass(restMs)
  expect(snapshots()).toEqual([['mood', replica.store.lastPosition()]])
})

it('a large document is not written as a whole after each small change of it', async () => {
  const { pass, replica, snapshots, write } = await openOne()
  await write(soul('line\n'.repeat(20_000)))
  await pass(restMs)
  const before = snapshots()
  expect(before).toEqual([['SOUL.md', replica.store.lastPosition()]])
  await write(soul(`${'line\n'.repeat(20_000)}one more\n`))
  await pass(restMs)
  expect(snapshots()).toEqual(before)
})
