/** A rebuild of all that is derived: what was wrong is right again, nothing is lost or counted twice, and nobody sees half a memory. */
import { describe, expect, it } from 'vitest'
import type { LocalOperation, LocalWrite, Replica } from '../../../src/replica/index.ts'
import type { MemoryStore } from '../../../src/storage/index.ts'
import { openGroup } from './group.ts'
import type { Group } from './group.ts'

/** More than one commit applies. */
const manyEnvelopes = 520

const count = (key: string): LocalOperation => ({
  type: 'edit',
  kind: 'counter',
  name: 'karma',
  edit: { type: 'counter.add', key, amount: 1n },
})
const inSet = (type: 'set.add' | 'set.remove'): LocalOperation => ({
  type: 'edit',
  kind: 'set',
  name: 'tags',
  edit: { type, member: 'red' },
})
const writeOf = (index: number): LocalWrite => ({
  operations: [{ type: 'append', name: 'memory', entry: { text: `entry ${index}` } }, count('written')],
  operationId: `write ${index}`,
})

interface Written extends Group {
  readonly first: Replica
  /** What was on the disk of the first after each commit since `capture` was called. */
  readonly disks: MemoryStore[]
  readonly capture: () => void
}

async function openWritten(envelopes: number): Promise<Written> {
  const disks: MemoryStore[] = []
  // So that what is asked meanwhile comes while half of it is there.
  const slowly = async (apply: () => void): Promise<void> => {
    apply()
    await new Promise<void>((resolve) => void group.time.clock().after(5, resolve))
  }
  let isCapturing = false
  const group = await openGroup(['admin', 'writer'], {
    commitVia: async (apply) => {
      apply()
      if (isCapturing) disks.push((group.stores[0] as MemoryStore).clone({ commitVia: slowly }))
    },
  })
  const first = group.replicas[0] as Replica
  await group.settle(
    (async () => {
      await first.write({ operations: [inSet('set.add')] })
      for (let index = 0; index < envelopes; index += 1) await first.write(writeOf(index))
    })(),
  )
  return { ...group, first, disks, capture: () => (isCapturing = true) }
}

async function shownBy(
  replica: Replica,
): Promise<{ readonly texts: readonly string[]; readonly written: bigint; readonly members: readonly string[] }> {
  const { totals } = await replica.reader.value('counter', 'karma')
  const { members } = await replica.reader.value('set', 'tags')
  const texts = replica.reader.log('memory', { newestFirst: false, limit: 10_000 }).entries.map(({ content }) => content.text ?? '')
  return { texts, written: totals.get('written') ?? 0n, members }
}

const texts = (length: number): string[] => Array.from({ length }, (_, index) => `entry ${index}`)

describe('a rebuild', () => {
  it('lets requests wait until all is there that they answer to, and gives what the envelopes say', async () => {
    const envelopes = manyEnvelopes
    const { first, pass, replicas, settle } = await openWritten(envelopes)
    const [, second] = replicas as [Replica, Replica]
    for (const replica of replicas) await replica.startNetwork()
    const rebuilding = first.coherence.rebuild()
    const reading = shownBy(first)
    const answers = await settle(
      Promise.all([
        first.write(writeOf(envelopes - 1)),
        first.write({ operations: [inSet('set.remove')] }),
        ...Array.from({ length: 20 }, (_, index) => first.write(writeOf(envelopes + index))),
        first.write(writeOf(envelopes + 3)),
      ]),
    )
    expect(answers.map(({ repeated }) => repeated)).toEqual([true, ...Array.from({ length: 21 }, () => false), true])
    expect(await settle(rebuilding)).toMatchObject({ cause: 'somebody asked for it' })
    expect((await settle(reading)).written).toBeGreaterThanOrEqual(BigInt(envelopes))
    await pass(20_000)
    const shown = { texts: texts(envelopes + 20), written: BigInt(envelopes + 20), members: [] }
    for (const replica of [first, second]) expect(await settle(shownBy(replica))).toEqual(shown)
    const digests = (replica: Replica) => Promise.all(replica.reader.documents().map(({ kind, name }) => replica.reader.digest(kind, name)))
    expect(await settle(digests(first))).toEqual(await settle(digests(second)))
    expect(first.conflicts.size).toBe(0)
  })

  it('that a crash cuts off at any commit goes on, and recognises every request again', { timeout: 60_000 }, async () => {
    const { capture, disks, first, reopen, settle } = await openWritten(manyEnvelopes)
    capture()
    await settle(first.coherence.rebuild())
    expect(disks.length).toBeGreaterThan(2)
    for (const disk of disks) {
      const again = await reopen(disk)
      const answers = await settle(
        Promise.all([
          again.write({ operations: [inSet('set.remove')] }),
          ...[0, 300, manyEnvelopes - 1, manyEnvelopes].map((index) => again.write(writeOf(index))),
        ]),
      )
      expect(answers.map(({ repeated }) => repeated)).toEqual([false, true, true, true, false])
      expect(await settle(shownBy(again))).toEqual({ texts: texts(manyEnvelopes + 1), written: BigInt(manyEnvelopes + 1), members: [] })
      expect(again.lastRebuild !== null).toBe(disk !== disks.at(-1))
      await again.close()
    }
  })

  it('takes records of the membership only when it is over', async () => {
    const { first, replicas, settle } = await openWritten(5)
    const [, second] = replicas as [Replica, Replica]
    const ended: string[] = []
    await settle(
      Promise.all([
        first.coherence.rebuild().then(() => ended.push('rebuilt')),
        Promise.resolve().then(async () => {
          await first.membership.giveRole(second.identity.instance, 'reader', '')
          ended.push('demoted')
        }),
      ]),
    )
    expect(ended).toEqual(['rebuilt', 'demoted'])
  })
})
