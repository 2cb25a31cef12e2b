import { describe, expect, it } from 'vitest'
import { createSigningKey } from '../../../src/core/index.ts'
import type { AgentId, InstanceId, SigningKey } from '../../../src/core/index.ts'
import type { MemberTable } from '../../../src/membership/index.ts'
import { instanceIdOf } from '../../../src/membership/index.ts'
import type { Channel } from '../../../src/network/index.ts'
import type { Replica } from '../../../src/replica/index.ts'
import { decodeGossip } from '../../../src/replica/messages.ts'
import type { PresenceCard } from '../../../src/replica/messages.ts'
import { PresenceBoard } from '../../../src/replica/presence-board.ts'
import type { MemoryStore } from '../../../src/storage/index.ts'
import { VirtualTime, seededRandom } from '../../sim/virtual-time.ts'
import { openGroup } from './group.ts'

function isPresence(gossip: Uint8Array): boolean {
  const message = decodeGossip(gossip)
  return message.ok && message.value.type === 'presence'
}

describe('presence', () => {
  it('is seen by the others, renewed, and gone some time after the instance is', async () => {
    const { replicas, pass, network } = await openGroup(['admin', 'writer'])
    for (const replica of replicas) await replica.startNetwork()
    await pass(5_000)
    const [first, second] = replicas as [Replica, Replica]
    first.setPresence({ state: 'writing' })
    await pass(1_000)
    expect(second.presence()).toEqual([{ instance: first.identity.instance, state: { state: 'writing' } }])
    await pass(60_000)
    expect(second.presence()).toHaveLength(1)
    network.detach('/memory/0')
    await pass(60_000)
    expect(second.presence()).toEqual([])
  })

  it('is told to whoever comes, once to all that come together, by those that have something to tell', async () => {
    let told = 0
    const sent = (channel: Channel | 'gossip', bytes: Uint8Array): void => {
      if (channel === 'gossip' && isPresence(bytes)) told += 1
    }
    const { replicas, pass } = await openGroup(['admin', 'writer', 'writer', 'writer', 'writer'], { sent })
    const [first, ...others] = replicas as [Replica, ...Replica[]]
    first.setPresence({ state: 'writing' })
    // Longer than what the others may have said in an earlier life would be shown.
    await pass(41_000)
    for (const replica of replicas) await replica.startNetwork()
    await pass(2_000)
    for (const other of others) expect(other.presence()).toEqual([{ instance: first.identity.instance, state: { state: 'writing' } }])
    expect(told).toBe(1)
  })

  it('of an earlier life is gone once the instance is back', async () => {
    const { replicas, pass, reopen, stores } = await openGroup(['admin', 'writer'])
    const [first, second] = replicas as [Replica, Replica]
    for (const replica of replicas) await replica.startNetwork()
    await pass(5_000)
    first.setPresence({ state: 'writing' })
    await pass(1_000)
    await first.close()
    const again = await reopen((stores[0] as MemoryStore).clone())
    await again.startNetwork()
    expect(second.presence()).toHaveLength(1)
    await pass(3_000)
    expect(second.presence()).toEqual([])
  })

  it('is gone in time also where the wall clock was set back', async () => {
    const time = new VirtualTime()
    const random = seededRandom('presence')
    const [key, other] = [createSigningKey(random), createSigningKey(random)]
    const instance = instanceIdOf(key.publicKey)
    const member = (id: InstanceId): { key: string } | undefined => (id === instance ? { key: key.publicKey } : undefined)
    const members = (): MemberTable => ({ member, members: [{ instance }] }) as unknown as MemberTable
    let skewMs = 0
    const open = (of: SigningKey, skew: () => number, publish: (card: PresenceCard) => void): PresenceBoard => {
      const identity = { agent: '00'.repeat(32) as AgentId, instance: instanceIdOf(of.publicKey), key: of }
      return new PresenceBoard({ identity, clock: time.clock(skew), members, publish })
    }
    const reader = open(
      other,
      () => skewMs,
      () => {},
    )
    let isReached = true
    const writer = open(
      key,
      () => 0,
      (card) => void (isReached && reader.receive(card)),
    )
    writer.set({ state: 'writing' })
    await time.run(1_000)
    expect(reader.states()).toHaveLength(1)
    isReached = false
    skewMs = -3_600_000
    await time.run(40_000)
    expect(reader.states()).toEqual([])
  })
})
