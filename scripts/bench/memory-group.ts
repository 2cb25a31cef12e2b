/**
 * Many instances of one agent in this process, on the in-memory network and in virtual time: what they send to each other can be counted
 * message by message, and does not depend on how fast this machine is.
 */
import { envelopeSize } from '../../src/feed/index.ts'
import type { Channel } from '../../src/network/index.ts'
import { decodeChunk, decodeControl } from '../../src/replica/messages.ts'
import { openGroup } from '../../test/unit/replica/group.ts'
import type { Group } from '../../test/unit/replica/group.ts'

/** What one instance, or all of them, sent. */
export interface Traffic {
  /** By type of message: how many, and their bytes on the stream. */
  readonly control: Map<string, Tally>
  /** Answers to wants, compressed, and what envelopes they hold. */
  readonly bulk: Tally & { envelopeBytes: number }
  /** Gossip as its author gave it to the network: each instance receives it once at least. */
  readonly gossip: Tally
}

interface Tally {
  messages: number
  bytes: number
}

export interface MemoryGroup extends Group {
  /** Since the last call, of all instances together. */
  takeTraffic(): Traffic
}

function createTraffic(): Traffic {
  return { control: new Map(), bulk: { messages: 0, bytes: 0, envelopeBytes: 0 }, gossip: { messages: 0, bytes: 0 } }
}

function add(tally: Tally, bytes: number): void {
  tally.messages += 1
  tally.bytes += bytes
}

/** Opens so many instances, connected to each other. */
export async function openMemoryGroup(total: number): Promise<MemoryGroup> {
  let traffic = createTraffic()
  const sent = (channel: Channel | 'gossip', bytes: Uint8Array): void => {
    if (channel === 'gossip') return add(traffic.gossip, bytes.length)
    if (channel === 'bulk') {
      add(traffic.bulk, bytes.length)
      const chunk = decodeChunk(bytes)
      if (!chunk.ok) throw new Error(chunk.reason)
      for (const envelope of chunk.value.envelopes) traffic.bulk.envelopeBytes += envelopeSize(envelope)
      return
    }
    const message = decodeControl(bytes)
    const type = message.ok ? message.value.type : 'broken'
    const tally = traffic.control.get(type) ?? { messages: 0, bytes: 0 }
    traffic.control.set(type, tally)
    add(tally, bytes.length)
  }
  const group = await openGroup(
    Array.from({ length: total }, () => 'writer'),
    { sent },
  )
  for (const replica of group.replicas) await group.settle(replica.startNetwork())
  for (let waits = 0; group.replicas.some((replica) => replica.peers().some(({ state }) => state !== 'connected')); waits += 1) {
    if (waits === 600) throw new Error('the instances do not find each other')
    await group.pass(100)
  }
  return {
    ...group,
    takeTraffic() {
      const taken = traffic
      traffic = createTraffic()
      return taken
    },
  }
}
