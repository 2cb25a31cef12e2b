/**
 * The transport port over libp2p: TCP, Noise, Yamux, gossipsub, mDNS. This file composes a node for each life between `start`
 * and `stop` and owns its gate; links, dialing and gossip are in files beside it. Only this room imports libp2p.
 *
 * Nobody but members gets past the handshake, unless an invite is open: then a stranger's connection lives for seconds and
 * is served nothing but the join protocol (the guard below also covers libp2p's own protocols).
 */
import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { GossipSub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Identify, IdentifyComponents } from '@libp2p/identify'
import type { ComponentLogger, Connection, Logger as Libp2pLogger, PeerId, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { Allowance, assert, gossipBytesMax, SelfsameError } from '../core/index.ts'
import type { Clock, Logger, PublicKey, Random, SigningKey } from '../core/index.ts'
import { addressReach, parseAddress } from './addresses.ts'
import type { Instruments } from './instruments.ts'
import { createDialer } from './libp2p-dialer.ts'
import { startDiscovery } from './libp2p-discovery.ts'
import { createGate, withStreamLimit } from './libp2p-gate.ts'
import { gossipService, resultsByVerdict, watchGossip } from './libp2p-gossip.ts'
import { askToJoin, createJoinServer, joinProtocol } from './libp2p-join.ts'
import { peerIdToKey } from './libp2p-keys.ts'
import { connectionAddress, createLinks, deliver, hangUp, openingMsMax, protocolsByChannel } from './libp2p-links.ts'
import { createLibp2pMetrics } from './libp2p-metrics.ts'
import { streamAtPace } from './libp2p-pace.ts'
import { withPatientWindows } from './libp2p-windows.ts'
import type { Channel, Transport, TransportHandlers } from './transport.ts'

export interface Libp2pTransportOptions {
  readonly key: SigningKey
  /** TCP multiaddrs to listen on, as `listenAddresses` gives them; asked at each start, because interfaces come and go. */
  readonly listen: () => readonly string[]
  /** Names the agent's group on the local network: at most 60 letters and digits. Seen by everyone there, so a hash. */
  readonly serviceTag: string
  /** The gossip topic; seen by members only. */
  readonly gossipTopic: string
  /** Whether to look for members, and be found, on the local network. */
  readonly mdns: boolean
  /** Whether an invite is open: only then may a stranger hold a connection, for the join protocol. */
  readonly joinOpen: () => boolean
  /** What libp2p and gossip tell about themselves goes there; without it nothing is counted. */
  readonly instruments?: Instruments
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** Connections at once, of members and strangers. */
const connectionsMax = 300
/** Handshakes under way at once: each is some kilobytes, and a stranger can hold one for `handshakeMsMax`. The gate bounds those of one host. */
const handshakesMax = 256
const handshakeMsMax = 5_000
/** New connections a second from one host, some 4 ms of work each. A group of instances on one machine redials all at once after an outage. */
const hostConnectionsPerSecondMax = 50
/** Bytes that the other side may send on a stream before they are read: what a paused stream holds. 40 MB a second at 100 ms. */
const receivedBytesMax = 4 << 20
/** Streams that the other side may have open on one connection. */
const streamsMax = 32
/** What the gossip of one peer may cost in a second and at once: a quarter of a processor or so. */
const gossipPerSecond = 1_000
const gossipMost = 2_000
/** Milliseconds between two notes that a peer is made to wait. */
const slowedMs = 60_000
/** Bytes that wait on one stream for a peer that does not read before the stream, and with it the link, is closed. */
const waitingBytesMax = 64 << 20
/** Idle time before TCP probes a connection. */
const keepAliveMs = 15_000
/** Listen addresses of one peer that are reported. */
const peerAddressesMax = 16

type Services = { identify: Identify; gossip: GossipSub }
type Registrar = IdentifyComponents['registrar']

interface Node {
  readonly transport: Omit<Transport, 'start' | 'stop'>
  stop(): Promise<void>
}

export function createLibp2pTransport(options: Libp2pTransportOptions): Transport {
  let starting: Promise<Node> | null = null
  let node: Node | null = null
  return {
    async start(handlers) {
      starting ??= startNode(options, handlers)
      try {
        node = await starting
      } catch (error) {
        starting = null
        throw error
      }
    },
    async stop() {
      const started = await starting
      starting = null
      node = null
      await started?.stop()
    },
    addresses: () => node?.transport.addresses() ?? [],
    dial: (key, addresses) => node?.transport.dial(key, addresses) ?? Promise.resolve(),
    send: (link, channel, bytes) => node?.transport.send(link, channel, bytes) ?? true,
    close: (link, reason) => node?.transport.close(link, reason),
    publish: (bytes) => node?.transport.publish(bytes),
    requestJoin(key, addresses, request) {
      if (node === null) return Promise.reject(new SelfsameError('network-failed', 'the network is not started'))
      return node.transport.requestJoin(key, addresses, request)
    },
  }
}

async function startNode(options: Libp2pTransportOptions, handlers: TransportHandlers): Promise<Node> {
  const { clock, random, logger, gossipTopic } = options
  const dialingKeys = new Set<PublicKey>()
  let stopped = false

  const isMember = (peerId: PeerId): boolean => {
    const key = peerIdToKey(peerId)
    return key !== undefined && handlers.mayGossip(key)
  }
  const mayConnect = (peerId: PeerId): boolean => {
    const key = peerIdToKey(peerId)
    return key !== undefined && handlers.mayConnect(key)
  }
  const found = (key: PublicKey, address: string): void => deliver(() => handlers.addressFound(key, address))
  const addresses = (): string[] => libp2p.getMultiaddrs().flatMap((address) => parseAddress(address.toString())?.toString() ?? [])

  const dialer = createDialer({
    clock,
    logger,
    foundSelf(address) {
      if (!addresses().includes(address)) found(options.key.publicKey, address)
    },
  })

  /** Introduces the other side to gossipsub, and hears where else it listens. */
  function introduce(connection: Connection): void {
    libp2p.services.identify.identify(connection).then(
      ({ listenAddrs }) => {
        const key = peerIdToKey(connection.remotePeer)
        const near = addressReach(connectionAddress(connection)) === 'loopback'
        for (const listenAddr of listenAddrs.slice(0, peerAddressesMax)) {
          const address = parseAddress(listenAddr.toString())?.toString()
          // Another machine's loopback addresses lead nowhere from here.
          if (key !== undefined && address !== undefined && (near || addressReach(address) !== 'loopback')) found(key, address)
        }
      },
      (error: unknown) => logger.debug({ address: connectionAddress(connection), error: String(error) }, 'identify failed'),
    )
  }

  const gate = createGate({ logger, isMember })
  const gossipByKey = new Map<PublicKey, Allowance>()
  const slowedAt = new Map<PublicKey, number>()

  function slowed(key: PublicKey, what: string): void {
    const now = clock.monotonic()
    if (now - (slowedAt.get(key) ?? Number.NEGATIVE_INFINITY) < slowedMs) return
    slowedAt.set(key, now)
    logger.warn({ peer: key }, `a peer sends ${what}: it is made to wait`)
  }

  /** What gossipsub reads of a member, at a pace. */
  function gossipAtPace(stream: Stream, connection: Connection): Stream {
    const key = peerIdToKey(connection.remotePeer)
    assert(key !== undefined, 'members have Ed25519 keys')
    const allowance = gossipByKey.get(key) ?? new Allowance(clock, gossipPerSecond, gossipMost)
    gossipByKey.set(key, allowance)
    return streamAtPace(stream, {
      clock,
      spend(cost) {
        const wait = allowance.spend(cost)
        if (wait > 0) slowed(key, 'too much gossip')
        return wait
      },
    })
  }

  const links = createLinks({
    clock,
    handlers,
    slowed: (key) => slowed(key, 'too much'),
    opened(link) {
      if (handlers.mayGossip(link.key)) introduce(link.connection)
    },
    closed(closed) {
      // Gossip may have run over this connection: let it move to another of the same peer.
      const other = links.all().findLast((link) => link.key === closed.key)
      if (other !== undefined && !stopped && handlers.mayGossip(other.key)) introduce(other.connection)
    },
  })

  const metrics = options.instruments === undefined ? null : createLibp2pMetrics(options.instruments, clock)
  const libp2p = await createLibp2p<Services>({
    start: false,
    ...(metrics === null ? {} : { metrics: () => metrics.libp2p }),
    privateKey: await generateKeyPairFromSeed('Ed25519', options.key.seed),
    nodeInfo: { name: 'selfsame', version: '1', userAgent: 'selfsame/1' },
    logger: libp2pLogger(logger),
    addresses: { listen: [...options.listen()] },
    transports: [tcp({ listenOpts: { keepAliveInitialDelay: keepAliveMs }, dialOpts: { keepAliveInitialDelay: keepAliveMs } })],
    connectionEncrypters: [noise()],
    streamMuxers: [
      () =>
        withStreamLimit(
          withPatientWindows(
            yamux({
              maxInboundStreams: streamsMax,
              streamOptions: {
                maxWriteBufferLength: waitingBytesMax,
                maxReadBufferLength: 2 * receivedBytesMax,
                maxStreamWindowSize: receivedBytesMax,
              },
            })(),
          ),
          clock,
          logger,
        ),
    ],
    connectionManager: {
      maxConnections: connectionsMax,
      maxIncomingPendingConnections: handshakesMax,
      inboundConnectionThreshold: hostConnectionsPerSecondMax,
      inboundUpgradeTimeout: handshakeMsMax,
    },
    // It would abort a connection for one late ping, so also when this process was busy. Heartbeats are the engine's.
    connectionMonitor: { enabled: false },
    connectionGater: {
      denyInboundConnection: (connection) => gate.deniesHandshake(connection),
      denyInboundEncryptedConnection: (peerId) => !mayConnect(peerId) && !options.joinOpen(),
      denyOutboundEncryptedConnection: (peerId, connection) => dialer.denies(peerId, connection),
    },
    services: {
      identify: (components) => identify({ runOnConnectionOpen: false })(forMembers(components, isMember, (stream) => stream)),
      gossip: (components) => gossipService(gossipTopic, metrics?.gossip ?? null)(forMembers(components, isMember, gossipAtPace)),
    },
  })

  libp2p.addEventListener('connection:open', ({ detail: connection }) => {
    if (connection.direction === 'outbound') return
    gate.opened(connection)
    const cancel = clock.after(openingMsMax, () => {
      if (!links.all().some((link) => link.connection === connection)) hangUp(connection, clock)
    })
    connection.addEventListener('close', cancel)
  })
  for (const [channel, protocol] of Object.entries(protocolsByChannel) as [Channel, string][]) {
    await libp2p.handle(protocol, (stream, connection) => links.accept(channel, stream, connection), { maxInboundStreams: 1 })
  }
  await libp2p.handle(joinProtocol, createJoinServer({ clock, handlers, joinOpen: options.joinOpen }), { maxInboundStreams: 1 })

  libp2p.services.gossip.topicValidators.set(gossipTopic, (peerId, message) => {
    const key = peerIdToKey(peerId)
    // It may have been removed since its stream was opened.
    if (key === undefined || !handlers.mayGossip(key)) return resultsByVerdict.ignore
    return new Promise((resolve) => deliver(() => resolve(resultsByVerdict[handlers.gossip(key, message.data)])))
  })

  try {
    await libp2p.start()
  } catch (error) {
    throw listenError(error)
  }
  libp2p.services.gossip.subscribe(gossipTopic)
  const endWatch = watchGossip({
    clock,
    random,
    logger,
    connections: () => links.all().flatMap((link) => (handlers.mayGossip(link.key) ? [link.connection] : [])),
    introduce,
  })
  const endDiscovery = options.mdns
    ? await startDiscovery({
        serviceTag: options.serviceTag,
        logger: libp2pLogger(logger),
        announced: () => libp2p.getMultiaddrs(),
        found(peerId, address) {
          const key = peerIdToKey(peerId)
          const known = key === options.key.publicKey ? !addresses().includes(address) : isMember(peerId)
          if (key !== undefined && known) found(key, address)
        },
      })
    : null

  return {
    transport: {
      addresses,
      send: (id, channel, bytes) => links.send(id, channel, bytes),
      close: (id, reason) => links.close(id, reason),

      async dial(key, targets) {
        if (key !== null && (links.has(key) || dialingKeys.has(key))) return
        if (key !== null) dialingKeys.add(key)
        const { connection } = await dialer.connect(libp2p, targets, (answering) => {
          const wanted = key === null ? !links.has(answering) && !dialingKeys.has(answering) : answering === key
          return wanted && handlers.mayConnect(answering)
        })
        if (connection !== null) {
          const answering = peerIdToKey(connection.remotePeer)
          await links.open(connection)
          if (answering !== undefined && links.has(answering)) found(answering, connectionAddress(connection))
        }
        if (key !== null) dialingKeys.delete(key)
      },

      publish(bytes) {
        assert(bytes.length <= gossipBytesMax, `a gossip message of ${bytes.length} bytes is over the limit of ${gossipBytesMax}`)
        libp2p.services.gossip
          .publish(gossipTopic, new Uint8Array(bytes))
          .catch((error: unknown) => logger.debug({ error: String(error) }, 'gossip was not published'))
      },

      async requestJoin(key, targets, request) {
        const { connection, answered } = await dialer.connect(libp2p, targets, (answering) => answering === key)
        const refused = (cause?: unknown): SelfsameError =>
          new SelfsameError('join-refused', 'the other instance refused to let this one join: try again, or ask it for a new ticket', {
            cause,
          })
        if (connection === null) {
          if (answered) throw refused()
          throw new SelfsameError('network-failed', `no instance answers at ${targets.join(', ')}: check that it is running and reachable`)
        }
        try {
          return await askToJoin(connection, request, clock)
        } catch (error) {
          throw refused(error)
        } finally {
          hangUp(connection, clock)
        }
      },
    },

    async stop() {
      stopped = true
      endWatch()
      for (const link of links.all()) links.close(link.id, 'this side stopped')
      await Promise.resolve()
      await endDiscovery?.()
      await libp2p.stop()
      metrics?.end()
    },
  }
}

/** The same components, except that what they register for is refused to everyone who is not a member, and read as `read` gives it. */
function forMembers<Components extends { readonly registrar: Registrar }>(
  components: Components,
  isMember: (peerId: PeerId) => boolean,
  read: (stream: Stream, connection: Connection) => Stream,
): Components {
  const { registrar } = components
  const handle: Registrar['handle'] = (protocol, handler, handleOptions) =>
    registrar.handle(
      protocol,
      (stream, connection) =>
        isMember(connection.remotePeer)
          ? handler(read(stream, connection), connection)
          : stream.abort(new Error('only members are served')),
      handleOptions,
    )
  const guarded = Object.create(registrar, { handle: { value: handle } }) as Registrar
  return Object.create(components, { registrar: { value: guarded } }) as Components
}

/** What went wrong with listening, and the next step. libp2p has the cause of each address in the text of its error only. */
function listenError(error: unknown): SelfsameError {
  const text = error instanceof Error ? error.message : String(error)
  const [, address, reason] = /^\s*(\/\S+): (.*)$/m.exec(text) ?? []
  const [, port] = /EADDRINUSE[^\n]*:(\d+)/.exec(text) ?? []
  if (port !== undefined) {
    return new SelfsameError(
      'address-in-use',
      `port ${port} is in use: stop what listens there, or set another port in the configuration`,
      { cause: error },
    )
  }
  return new SelfsameError(
    'network-failed',
    `cannot listen on ${address ?? 'any address'}: ${reason ?? text}: check the listen addresses in the configuration`,
    { cause: error },
  )
}

/** libp2p tells every step of every stream: only its errors are worth a line, and only when debugging. */
function libp2pLogger(logger: Logger): ComponentLogger {
  return {
    forComponent(component) {
      const log: Libp2pLogger = Object.assign(() => {}, {
        enabled: false,
        trace() {},
        error: (format: unknown, ...details: unknown[]) => logger.debug({ component, details: details.map(String) }, String(format)),
        newScope: () => log,
      })
      return log
    },
  }
}
