/** A transport with handlers that write down everything, in order, and let a test await what it names. */
import type { PublicKey } from '../../../src/core/index.ts'
import type { Channel, GossipVerdict, Link, LinkId, Transport, TransportHandlers } from '../../../src/network/index.ts'

export interface Probe {
  readonly key: PublicKey
  readonly transport: Transport
  readonly handlers: TransportHandlers
  /** Everything that was told, as text. */
  readonly trace: string[]
  /** The links that are open. */
  readonly links: Link[]
  readonly messages: { link: LinkId; channel: Channel; bytes: Uint8Array }[]
  readonly gossip: { from: PublicKey; text: string }[]
  readonly drained: Channel[]
  readonly closed: string[]
  readonly found: { key: PublicKey; address: string }[]
  readonly joins: PublicKey[]
  /** What a test may set. */
  admits: (key: PublicKey) => boolean
  verdict: (text: string) => GossipVerdict
  answerJoin: (request: Uint8Array) => Promise<Uint8Array | null>
  onMessage: (link: LinkId, channel: Channel, bytes: Uint8Array) => void
}

export function createProbe(key: PublicKey, transport: Transport): Probe {
  const handlers: TransportHandlers = {
    mayConnect: (key) => probe.admits(key),
    mayGossip: (key) => probe.admits(key),
    linkOpened(link) {
      probe.trace.push(`opened ${link.direction} ${link.key.slice(0, 8)}`)
      probe.links.push(link)
    },
    linkClosed(id, reason) {
      const index = probe.links.findIndex((link) => link.id === id)
      if (index < 0) throw new Error('a link was closed that was not open')
      probe.trace.push(`closed ${probe.links[index]?.key.slice(0, 8)}: ${reason}`)
      probe.links.splice(index, 1)
      probe.closed.push(reason)
    },
    message(link, channel, bytes) {
      if (!probe.links.some((open) => open.id === link)) throw new Error('a message came from a link that is not open')
      probe.trace.push(`message ${channel} ${bytes.length}`)
      probe.messages.push({ link, channel, bytes })
      probe.onMessage(link, channel, bytes)
    },
    drained(_link, channel) {
      probe.trace.push(`drained ${channel}`)
      probe.drained.push(channel)
    },
    gossip(from, bytes) {
      const text = Buffer.from(bytes).toString()
      probe.trace.push(`gossip ${text}`)
      probe.gossip.push({ from, text })
      return probe.verdict(text)
    },
    join(from, request) {
      probe.joins.push(from)
      return probe.answerJoin(request)
    },
    addressFound(key, address) {
      probe.found.push({ key, address })
    },
  }
  const probe: Probe = {
    key,
    transport,
    handlers,
    trace: [],
    links: [],
    messages: [],
    gossip: [],
    drained: [],
    closed: [],
    found: [],
    joins: [],
    admits: () => true,
    verdict: () => 'accept',
    answerJoin: () => Promise.resolve(null),
    onMessage() {},
  }
  return probe
}
