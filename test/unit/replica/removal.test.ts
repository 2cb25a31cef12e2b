import { describe, expect, it } from 'vitest'
import type { Role } from '../../../src/membership/index.ts'
import type { LinkId } from '../../../src/network/index.ts'
import type { LocalOperation, Replica } from '../../../src/replica/index.ts'
import { seededRandom } from '../../sim/virtual-time.ts'
import { encodeControl } from '../../../src/replica/messages.ts'
import { openGroup, strangerHandlers } from './group.ts'
import type { Group } from './group.ts'

const entry = (text: string): LocalOperation => ({ type: 'append', name: 'memory', entry: { text }, operationId: undefined })
const add = (amount: bigint): LocalOperation => ({
  type: 'edit',
  kind: 'counter',
  name: 'karma',
  edit: { type: 'counter.add', key: 'a', amount },
})

function texts(replica: Replica): string[] {
  return replica.reader.log('memory', { newestFirst: false, limit: 1_000 }).entries.map((item) => item.content.text ?? '')
}

/** What a replica shows of everything: names of documents with their digests. */
async function shown(replica: Replica, settle: Group['settle']): Promise<unknown> {
  const digests = []
  for (const { kind, name } of replica.reader.documents()) {
    digests.push([kind, name, (await settle(replica.reader.digest(kind, name))).digest])
  }
  return digests
}

interface Running extends Group {
  readonly write: (index: number, ...operations: readonly LocalOperation[]) => Promise<unknown>
  readonly giveRole: (index: number, target: number, role: Role | null) => Promise<void>
  /** Splits the group; those that are in no island are alone. */
  readonly islands: (...islands: readonly (readonly number[])[]) => void
}

async function start(roles: readonly Role[], options: Parameters<typeof openGroup>[1] = {}): Promise<Running> {
  const group = await openGroup(roles, options)
  const { network, pass, replicas, settle } = group
  for (const replica of replicas) await replica.startNetwork()
  await pass(5_000)
  return {
    ...group,
    write: (index, ...operations) => settle((replicas[index] as Replica).write({ operations })),
    giveRole: (index, target, role) =>
      settle((replicas[index] as Replica).membership.giveRole((replicas[target] as Replica).identity.instance, role, '')),
    islands(...islands) {
      for (const a of replicas.keys()) {
        for (const b of replicas.keys()) {
          if (a >= b) continue
          const together = islands.length === 0 || islands.some((island) => island.includes(a) && island.includes(b))
          network.setReachable(`/memory/${a}`, `/memory/${b}`, together)
        }
      }
    },
  }
}

describe('a removed instance', () => {
  it('is cut off at once, hears why, and may write no more', async () => {
    const { giveRole, pass, replicas, write } = await start(['admin', 'writer', 'writer'])
    await write(2, entry('before'))
    await pass(1_000)
    await giveRole(0, 2, null)
    await pass(1_000)
    const [, other, removed] = replicas as [Replica, Replica, Replica]
    expect(other.members.members.map(({ name }) => name)).toEqual(['i0', 'i1'])
    expect(other.peers().map(({ instance }) => instance)).not.toContain(removed.identity.instance)
    expect(removed.members.former.map(({ name, state }) => [name, state])).toEqual([['i2', 'removed']])
    await expect(write(2, entry('after'))).rejects.toMatchObject({ code: 'forbidden' })
    expect(removed.peers().every(({ state }) => state !== 'connected')).toBe(true)
    expect(texts(other)).toEqual(['before'])
  })

  it('may send records as it likes, and is hung up on when it asks twice', async () => {
    const { giveRole, network, pass, replicas } = await start(['admin', 'writer'])
    const [admin, removed] = replicas as [Replica, Replica]
    await giveRole(0, 1, null)
    await pass(1_000)
    await removed.stopNetwork()
    const isHungUpOn = async (messages: readonly Parameters<typeof encodeControl>[0][]): Promise<boolean> => {
      const transport = network.attach(removed.identity.key.publicKey, { address: '/memory/1' })
      const opened = Promise.withResolvers<LinkId>()
      let isOpen = true
      await transport.start({
        ...strangerHandlers,
        mayConnect: () => true,
        linkOpened: ({ id }) => opened.resolve(id),
        linkClosed: () => (isOpen = false),
      })
      void transport.dial(admin.identity.key.publicKey, ['/memory/0'])
      await pass(500)
      const link = await opened.promise
      for (const message of messages) transport.send(link, 'control', encodeControl(message))
      await pass(1_000)
      const hungUp = !isOpen
      await transport.stop()
      await pass(60_000)
      return hungUp
    }
    const records = { type: 'records', records: [], last: false } as const
    const list = { type: 'record-list', hashes: [] } as const
    expect([await isHungUpOn([records, list, records, records]), await isHungUpOn([list, records, list])]).toEqual([false, true])
  })

  it('that did not hear of it adds nothing by what it writes on', async () => {
    const { giveRole, islands, pass, replicas, settle, write } = await start(['admin', 'writer', 'writer'])
    await write(2, entry('before'), add(1n))
    await pass(1_000)
    islands([0, 1], [2])
    await giveRole(0, 2, null)
    await write(2, entry('after'), add(10n))
    await pass(1_000)
    islands()
    await pass(60_000)
    const [first, second] = replicas as [Replica, Replica]
    expect(texts(first)).toEqual(['before'])
    expect(await shown(second, settle)).toEqual(await shown(first, settle))
    await expect(write(2, entry('later'))).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('keeps what somebody who remains had taken from it, everywhere', async () => {
    const { giveRole, islands, pass, replicas, settle, write } = await start(['admin', 'writer', 'writer', 'reader'])
    islands([0, 3], [1, 2])
    await write(2, entry('taken by 1'), add(5n))
    await pass(1_000)
    islands([0, 3], [1], [2])
    await write(2, entry('taken by nobody'))
    await giveRole(0, 2, null)
    await pass(1_000)
    islands()
    await pass(60_000)
    const all = replicas.filter((_, index) => index !== 2)
    for (const replica of all) expect(texts(replica)).toEqual(['taken by 1'])
    const views = await Promise.all(all.map((replica) => shown(replica, settle)))
    expect(new Set(views.map((view) => JSON.stringify(view))).size).toBe(1)
  })

  it('takes nothing from a reader but what only the reader had: that is built anew without it', async () => {
    const { giveRole, islands, pass, replicas, settle, write } = await start(['admin', 'writer', 'writer', 'reader'])
    await write(0, entry('of the admin'), add(1n))
    await write(2, entry('before'), add(2n))
    await pass(1_000)
    islands([0, 1], [2, 3])
    await write(2, entry('only at the reader'), add(4n))
    await pass(1_000)
    const reader = replicas[3] as Replica
    expect(texts(reader)).toHaveLength(3)
    await giveRole(0, 2, null)
    islands([0, 1, 3])
    await pass(60_000)
    expect(texts(reader)).toEqual(['of the admin', 'before'])
    expect((await settle(reader.reader.value('counter', 'karma'))).totals.get('a')).toBe(3n)
    expect(await shown(reader, settle)).toEqual(await shown(replicas[0] as Replica, settle))
  })

  it('is back with all that it wrote when an admin gives it a role again', async () => {
    const { giveRole, islands, pass, replicas, settle, write } = await start(['admin', 'writer', 'writer'])
    islands([0, 1], [2])
    await write(2, entry('alone'))
    await giveRole(0, 2, null)
    islands()
    await pass(30_000)
    expect(texts(replicas[0] as Replica)).toEqual([])
    await giveRole(0, 2, 'writer')
    await pass(60_000)
    await write(2, entry('again'))
    await pass(5_000)
    for (const replica of replicas) expect(texts(replica)).toEqual(['alone', 'again'])
    expect(await shown(replicas[2] as Replica, settle)).toEqual(await shown(replicas[1] as Replica, settle))
  })
})

describe('members who remove each other at once', () => {
  it('leave one table: the senior stays', async () => {
    const { giveRole, islands, pass, replicas, write } = await start(['admin', 'admin', 'writer'])
    await write(1, entry('by 1'))
    await pass(1_000)
    islands([0], [1, 2])
    await giveRole(0, 1, null)
    await giveRole(1, 0, null)
    await pass(5_000)
    expect((replicas[2] as Replica).members.members.map(({ name }) => name)).toEqual(['i1', 'i2'])
    islands()
    await pass(120_000)
    for (const replica of replicas) expect(replica.members.members.map(({ name }) => name)).toEqual(['i0', 'i2'])
    for (const index of [0, 2]) expect(texts(replicas[index] as Replica)).toEqual(['by 1'])
  })

  it('leave the junior where it has the root key', async () => {
    const { giveRole, islands, pass, replicas } = await start(['admin', 'admin', 'writer'], { rootKeyAt: [1] })
    islands([0], [1, 2])
    await giveRole(0, 1, null)
    await giveRole(1, 0, null)
    islands()
    await pass(120_000)
    for (const replica of replicas) expect(replica.members.members.map(({ name }) => name)).toEqual(['i1', 'i2'])
  })
})

describe('a role', () => {
  it('that is taken from a writer and given again changes what it may write, and loses nothing that others had', async () => {
    const { giveRole, pass, replicas, write } = await start(['admin', 'writer', 'writer'])
    await write(1, entry('as a writer'))
    await pass(1_000)
    await giveRole(0, 1, 'reader')
    await pass(1_000)
    await expect(write(1, entry('as a reader'))).rejects.toMatchObject({ code: 'forbidden' })
    await giveRole(0, 1, 'writer')
    await pass(1_000)
    await write(1, entry('as a writer again'))
    await pass(1_000)
    for (const replica of replicas) expect(texts(replica)).toEqual(['as a writer', 'as a writer again'])
  })

  it('of the only admin cannot be taken by itself', async () => {
    const { giveRole } = await start(['admin', 'writer'])
    await expect(giveRole(0, 0, 'writer')).rejects.toMatchObject({ code: 'forbidden' })
    await expect(giveRole(1, 0, null)).rejects.toMatchObject({ code: 'forbidden' })
  })
})

describe('under partitions, removals and roles at random', () => {
  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'those who remain agree on members and memory, and no applied write of theirs is gone (seed %i)',
    async (seed) => {
      const random = seededRandom(`removals ${seed}`)
      const roles: Role[] = ['admin', 'admin', 'writer', 'writer', 'reader']
      const { giveRole, islands, pass, replicas, settle, write } = await start(roles)
      const pick = (count: number): number => Math.floor(random.unit() * count)
      let written = 0
      for (let step = 0; step < 30; step += 1) {
        const at = pick(roles.length)
        const choice = random.unit()
        if (choice < 0.55) {
          written += 1
          await write(at, entry(`${at}:${written}`), add(1n)).catch(() => {})
        } else if (choice < 0.7) {
          const cut = pick(3)
          if (cut === 0) islands()
          else
            islands(
              replicas.flatMap((_, index) => (random.unit() < 0.5 ? [index] : [])),
              [0, 1],
            )
        } else if (choice < 0.82) {
          await giveRole(at, pick(roles.length), ([null, 'reader', 'writer', 'admin'] as const)[pick(4)] as Role | null).catch(() => {})
        } else await pass(pick(3_000))
      }
      const before = replicas.map(texts)
      islands()
      await pass(240_000)
      const isMember = (replica: Replica): boolean => replica.members.member(replica.identity.instance) !== undefined
      const reference = replicas.find(isMember) as Replica
      const memberIds = new Set(reference.members.members.map(({ instance }) => instance))
      const remaining = replicas.filter((replica) => memberIds.has(replica.identity.instance))
      for (const replica of remaining) {
        expect(replica.members.members).toEqual(reference.members.members)
        expect(replica.members.digest()).toEqual(reference.members.digest())
      }
      const views = await Promise.all(remaining.map((replica) => shown(replica, settle)))
      for (const view of views) expect(view).toEqual(views[0])
      for (const replica of remaining) {
        const { role } = replica.members.member(replica.identity.instance) as { role: Role }
        if (role === 'reader') continue
        const wasWriter = before[replicas.indexOf(replica)] as string[]
        expect(texts(replica)).toEqual(expect.arrayContaining(wasWriter))
      }
    },
  )
})
