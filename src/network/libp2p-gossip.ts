/**
 * Gossip over libp2p: how gossipsub is set up, and what keeps it alive. Several of its defaults fail silently in a small
 * group; each is answered here.
 */
import { gossipsub, TopicValidatorResult } from '@libp2p/gossipsub'
import type { GossipSub, GossipSubComponents } from '@libp2p/gossipsub'
import type { MetricsRegister } from '@libp2p/gossipsub/metrics'
import type { Connection } from '@libp2p/interface'
import { hashOf } from '../core/index.ts'
import type { Clock, Logger, Random } from '../core/index.ts'
import type { GossipVerdict } from './transport.ts'

export const resultsByVerdict: Record<GossipVerdict, TopicValidatorResult> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
}

/** Bytes of one gossipsub RPC: one message of `gossipBytesMax` and its control data. A larger one ends gossip with its sender. */
const rpcBytesMax = 1 << 20
/** Bytes of a message from which on peers are told that it is here, so that they need not send it. */
const idontwantBytesMin = 16 << 10
/** Bytes that wait for a peer that does not read before its gossip stream is reset, and then opened anew. */
const waitingBytesMax = 16 << 20

/** The gossipsub service for one topic. */
export function gossipService(topic: string, metricsRegister: MetricsRegister | null): (components: GossipSubComponents) => GossipSub {
  return gossipsub({
    metricsRegister,
    metricsTopicStrToLabel: new Map([[topic, 'agent']]),
    // Authors sign what is in a message; its hash is its name, so two who say the same say it once.
    globalSignaturePolicy: 'StrictNoSign',
    msgIdFn: (message) => hashOf('selfsame/gossip', message.data),
    allowedTopics: [topic],
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    fallbackToFloodsub: false,
    tagMeshPeers: false,
    // A message goes to 4 peers and from them on: in a group of five that is everyone directly, and at 200 members it is not
    // 199 copies from one machine. `publish` tops the mesh up to D with any subscribed peers. Each more of them is one more copy
    // for everyone to take in, and what gets lost is anti-entropy's to repair.
    floodPublish: false,
    D: 4,
    Dlo: 3,
    Dhi: 6,
    // Telling the others that a message is here already costs as much as a small message.
    idontwantMinDataSize: idontwantBytesMin,
    // What was missed is anti-entropy's to repair. Lazy gossip would answer a request with many messages in one RPC, over the
    // receiver's limit, and so end gossip with that peer.
    Dlazy: 0,
    gossipFactor: 0,
    maxInboundDataLength: rpcBytesMax,
    // One message comes in each, as this program sends them; there are no lists to ask for, without lazy gossip.
    decodeRpcLimits: {
      maxMessages: 1,
      maxSubscriptions: 8,
      maxControlMessages: 8,
      maxIhaveMessageIDs: 8,
      maxIwantMessageIDs: 8,
      maxIdontwantMessageIDs: 8,
      maxPeerInfos: 16,
    },
    maxOutboundBufferSize: waitingBytesMax,
    scoreParams: {
      // Instances on one machine, or behind one NAT, are no attack; nor are the grafts of a peer that restarts often. With the
      // default weights both end up silently outside of the mesh.
      IPColocationFactorWeight: 0,
      behaviourPenaltyWeight: 0,
      topics: {
        // Only messages that the validator rejects count against a peer: ten in a few seconds mute it for about as long.
        [topic]: {
          topicWeight: 1,
          timeInMeshWeight: 0,
          timeInMeshQuantum: 1,
          timeInMeshCap: 0,
          firstMessageDeliveriesWeight: 0,
          firstMessageDeliveriesDecay: 0.5,
          firstMessageDeliveriesCap: 1,
          meshMessageDeliveriesWeight: 0,
          meshMessageDeliveriesDecay: 0.5,
          meshMessageDeliveriesCap: 1,
          meshMessageDeliveriesThreshold: 1,
          meshMessageDeliveriesWindow: 10,
          meshMessageDeliveriesActivation: 5_000,
          meshFailurePenaltyWeight: 0,
          meshFailurePenaltyDecay: 0.5,
          invalidMessageDeliveriesWeight: -1,
          invalidMessageDeliveriesDecay: 0.9,
        },
      },
    },
  })
}

/** Between two looks at a peer's gossip streams; jitter keeps two ends from repairing each other at once. */
const watchMsMin = 2_000
const watchMsMax = 3_000

export interface GossipWatchOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The connections of the open links, oldest first. */
  readonly connections: () => readonly Connection[]
  /** Tells gossipsub anew what the other side of a connection speaks: it then opens the stream that it lacks. */
  readonly introduce: (connection: Connection) => void
}

/**
 * Watches that each peer with a link has a gossip stream in each direction. gossipsub does not: a stream that was reset, or
 * belonged to the other of two connections, stays dead as long as the peer is connected. Repairs after 2, 4, 8, 16, ...
 * looks in vain, so that a peer with which it cannot succeed (one of two daemons with one key) costs little. Never
 * closes a link. Returns what ends it.
 */
export function watchGossip({ clock, random, logger, connections, introduce }: GossipWatchOptions): () => void {
  let failuresByPeer = new Map<string, number>()

  function look(): void {
    const connectionsByPeer = Map.groupBy(connections(), (connection) => connection.remotePeer.toString())
    const failures = new Map<string, number>()
    for (const [peer, ofPeer] of connectionsByPeer) {
      const streams = ofPeer.flatMap((connection) => connection.streams).filter((stream) => stream.protocol.startsWith('/meshsub/'))
      const hears = streams.some((stream) => stream.direction === 'inbound' && stream.remoteWriteStatus === 'writable')
      const speaks = streams.some((stream) => stream.direction === 'outbound' && stream.writeStatus === 'writable')
      if (hears && speaks) continue
      const count = (failuresByPeer.get(peer) ?? 0) + 1
      failures.set(peer, count)
      if (count < 2 || (count & (count - 1)) !== 0) continue
      logger.debug({ peer, hears, speaks, looks: count }, 'repairing gossip')
      for (const stream of streams) stream.abort(new Error('gossip begins anew'))
      const youngest = ofPeer.at(-1)
      if (youngest !== undefined) introduce(youngest)
    }
    failuresByPeer = failures
  }

  let cancel = (): void => {}
  const schedule = (): void => {
    cancel = clock.after(watchMsMin + random.unit() * (watchMsMax - watchMsMin), () => {
      look()
      schedule()
    })
  }
  schedule()
  return () => cancel()
}
