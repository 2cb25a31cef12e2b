/**
 * A peer that speaks the wire protocol and keeps to none of its rules: a libp2p node of its own with raw streams, so that it can lie at every
 * level. What it says by itself is only what gets it as far as an honest peer gets: hello, an empty list of records, pongs.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import type { GossipSub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Identify } from '@libp2p/identify'
import type { Connection, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import type { TCPSocketOptions } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Libp2p } from 'libp2p'
import { hashToId, idToBytes, systemRandom } from '../../src/core/index.ts'
import type { AgentId, InstanceId, SigningKey } from '../../src/core/index.ts'
import { decodeTicket, encodeJoinRequest, instanceIdOf, readJoinResponse } from '../../src/membership/index.ts'
import type { MembershipRecord, Ticket } from '../../src/membership/index.ts'
import type { Channel } from '../../src/network/index.ts'
import { decodeControl, encodeControl } from '../../src/replica/messages.ts'
import type { ControlMessage } from '../../src/replica/messages.ts'

export type Message = Exclude<ControlMessage, { type: 'unknown' }>

export interface HostileLink {
  readonly connection: Connection
  /** Sends a frame, and waits while the stream is full. Rejects when the link is closed. */
  send(channel: Channel, bytes: Uint8Array): Promise<void>
  say(message: Message): Promise<void>
  /** Sends bytes as they are, without a frame, and waits likewise. */
  raw(channel: Channel, bytes: Uint8Array): Promise<void>
  readonly isOpen: boolean
  /** Resolves when either side closed it. */
  readonly closed: Promise<void>
  /** Of the process at the other end, once it said hello. */
  readonly hello: Promise<Extract<Message, { type: 'hello' }>>
}

export interface LinkOptions {
  /** What is said of the process at this end; each link can claim another. */
  readonly boot?: Uint8Array
  /** Every message that comes, after the hello was answered. */
  readonly heard?: (message: Message, link: HostileLink) => void
  /** Whether to read at all. */
  readonly reads?: boolean
  /** Whether to say hello. */
  readonly polite?: boolean
}

/** The answer to a join request: records, or the words with which it was refused. */
export type Joined = { readonly records: readonly MembershipRecord[] } | { readonly refused: string }

export interface HostilePeer {
  readonly key: SigningKey
  readonly instance: InstanceId
  dial(port: number): Promise<Connection>
  /** Sends any bytes on the join protocol; undefined when the other side hangs up. */
  askToJoin(port: number, request: Uint8Array): Promise<Uint8Array | undefined>
  /** Joins as an honest joiner does. */
  join(ticket: string, port: number): Promise<Joined>
  link(port: number, agent: AgentId, options?: LinkOptions): Promise<HostileLink>
  /** Begins to speak on the gossip topic of an agent. Resolves when somebody listens. */
  gossip(agent: AgentId): Promise<(bytes: Uint8Array) => Promise<void>>
  readonly pubsub: GossipSub
  close(): Promise<void>
}

export const frameOf = (bytes: Uint8Array, length = bytes.length): Uint8Array => {
  const frame = Buffer.alloc(4 + bytes.length)
  frame.writeUInt32BE(length)
  frame.set(bytes, 4)
  return frame
}

export function readTicket(text: string): Ticket {
  const ticket = decodeTicket(text)
  if (!ticket.ok) throw new Error(ticket.reason)
  return ticket.value
}

/** The loopback address that the adversary comes from: another host than that of the honest. */
const hostileHost = '127.0.0.66'

export async function openHostilePeer(key: SigningKey, host: string = hostileHost): Promise<HostilePeer> {
  const node: Libp2p<{ identify: Identify; gossip: GossipSub }> = await createLibp2p<{ identify: Identify; gossip: GossipSub }>({
    privateKey: await generateKeyPairFromSeed('Ed25519', key.seed),
    // Whatever Node's sockets take is passed on to them.
    transports: [tcp({ dialOpts: { localAddress: host } as TCPSocketOptions })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    connectionManager: { maxConnections: 10_000, maxParallelDials: 1_000, maxDialQueueLength: 10_000 },
    services: {
      identify: identify(),
      gossip: gossipsub({
        globalSignaturePolicy: 'StrictNoSign',
        allowPublishToZeroTopicPeers: true,
        ignoreDuplicatePublishError: true,
        scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0 },
        maxOutboundBufferSize: 256 << 20,
      }),
    },
  })
  const dial = (port: number): Promise<Connection> => node.dial(multiaddr(`/ip4/127.0.0.1/tcp/${port}`), { force: true })

  async function askToJoin(port: number, request: Uint8Array): Promise<Uint8Array | undefined> {
    const connection = await dial(port)
    try {
      const stream = await connection.newStream('/selfsame/join/1')
      const answer = framesOf(stream)
      stream.send(frameOf(request))
      const { value } = (await answer.next()) as { value?: Uint8Array }
      return value
    } catch {
      return undefined
    } finally {
      connection.abort(new Error('done'))
    }
  }

  return {
    key,
    instance: instanceIdOf(key.publicKey),
    dial,
    askToJoin,
    pubsub: node.services.gossip,

    async join(text, port) {
      const ticket = readTicket(text)
      const answer = await askToJoin(port, encodeJoinRequest(ticket, key, 'mallory'))
      if (answer === undefined) return { refused: 'the connection was closed' }
      const read = readJoinResponse(answer, ticket.agent, key.publicKey)
      return read.ok ? { records: read.value.records } : { refused: read.reason }
    },

    async link(port, agent, { boot = systemRandom.bytes(16), heard, reads = true, polite = true } = {}) {
      const connection = await dial(port)
      const [control, bulk] = await Promise.all([connection.newStream('/selfsame/control/1'), connection.newStream('/selfsame/bulk/1')])
      const streams: Record<Channel, Stream> = { control, bulk }
      const closed = Promise.withResolvers<void>()
      const hello = Promise.withResolvers<Extract<Message, { type: 'hello' }>>()
      hello.promise.catch(() => {})
      const ended = (): void => {
        closed.resolve()
        hello.reject(new Error('the link was closed before the other side said hello'))
      }
      connection.addEventListener('close', ended)
      control.addEventListener('close', ended)
      bulk.addEventListener('close', ended)
      const link: HostileLink = {
        connection,
        closed: closed.promise,
        hello: hello.promise,
        get isOpen() {
          return connection.status === 'open' && control.status === 'open' && bulk.status === 'open'
        },
        send: (channel, bytes) => link.raw(channel, frameOf(bytes)),
        say: (message) => link.send('control', encodeControl(message)),
        async raw(channel, bytes) {
          const stream = streams[channel]
          if (!stream.send(bytes)) await drained(stream)
        },
      }
      if (reads) void listen()
      return link

      async function listen(): Promise<void> {
        bulk.addEventListener('message', () => {})
        try {
          for await (const bytes of framesOf(control)) {
            const message = decodeControl(bytes)
            if (message.ok && message.value.type !== 'unknown') await answer(message.value)
          }
        } catch {
          // The other side hung up: that is for whoever looks at `closed`.
        }
      }

      async function answer(message: Message): Promise<void> {
        if (message.type === 'hello' && polite) {
          await link.say({
            type: 'hello',
            version: 1,
            agent,
            instance: instanceIdOf(key.publicKey),
            boot,
            records: systemRandom.bytes(32),
            program: 'adversary',
          })
          await link.say({ type: 'records', records: [], last: true })
          hello.resolve(message)
        }
        if (message.type === 'ping') await link.say({ ...message, type: 'pong' })
        heard?.(message, link)
      }
    },

    async gossip(agent) {
      const topic = hashToId('selfsame/gossip/1', idToBytes(agent))
      const { gossip } = node.services
      gossip.subscribe(topic)
      for (const deadline = performance.now() + 10_000; gossip.getSubscribers(topic).length === 0;) {
        if (performance.now() > deadline) throw new Error('nobody listens to gossip')
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      return async (bytes) => void (await gossip.publish(topic, bytes))
    },

    close: async () => node.stop(),
  }
}

/** A TCP connection that has not said anything. */
export function rawSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: hostileHost }, () => resolve(socket))
    socket.on('error', reject)
  })
}

/** Until a full stream takes more or is closed. The stream's own promise of it is not made anew after the first time. */
function drained(stream: Stream): Promise<void> {
  return new Promise((resolve) => {
    for (const type of ['drain', 'close'] as const) stream.addEventListener(type, () => resolve(), { once: true })
  })
}

async function* framesOf(stream: Stream): AsyncGenerator<Uint8Array, undefined> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of stream) {
    bytes = Buffer.concat([bytes, chunk.subarray()])
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE()) {
      const end = 4 + bytes.readUInt32BE()
      yield new Uint8Array(bytes.subarray(4, end))
      bytes = bytes.subarray(end)
    }
  }
  return undefined
}
