/**
 * The gate: how many connections, handshakes and streams anybody may hold here. Of what is too much the oldest goes, or the newest is not
 * let in: whichever leaves honest peers a way. Knows connections, not links.
 */
import type { Connection, MultiaddrConnection, PeerId, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'
import { Allowance } from '../core/index.ts'
import type { Clock, Logger } from '../core/index.ts'
import { addressHost } from './addresses.ts'

/** Handshakes under way from one host, of all that there may be: a stranger can hold each for seconds. */
const hostHandshakesMax = 32
/** Connections of one key: two for a member that connects from both sides, and as many again for each copy of its home. */
const keyConnectionsMax = 6
/** Connections of strangers while an invite is open. A joiner needs one for a tenth of a second; of too many, the host that has most loses its oldest. */
const strangersMax = 64
/** Streams that a peer may open on one connection, at once and in a second. It needs six, and one now and then. */
const streamsMost = 64
const streamsPerSecond = 2

export interface Gate {
  /** Whether one more handshake from there is too many; else it is counted until it ends. */
  deniesHandshake(connection: MultiaddrConnection): boolean
  /** A connection that the other side opened. Closes what is too much with it. */
  opened(connection: Connection): void
}

export interface GateOptions {
  readonly logger: Logger
  readonly isMember: (peerId: PeerId) => boolean
}

export function createGate({ logger, isMember }: GateOptions): Gate {
  /** Handshakes under way. */
  const handshakesByHost = new Map<string, Set<string>>()
  /** Open, the oldest first. */
  const connectionsByKey = new Map<string, Set<Connection>>()
  /** Of strangers, likewise. */
  const strangersByHost = new Map<string, Set<Connection>>()

  function settled(address: string): void {
    const host = hostOf(address)
    const handshakes = handshakesByHost.get(host)
    handshakes?.delete(address)
    if (handshakes?.size === 0) handshakesByHost.delete(host)
  }

  /** Counts a connection among those of its kind until it closes. Returns those. */
  function hold(connection: Connection, heldByName: Map<string, Set<Connection>>, name: string): Set<Connection> {
    const held = heldByName.get(name) ?? new Set()
    heldByName.set(name, held.add(connection))
    connection.addEventListener('close', () => {
      held.delete(connection)
      if (held.size === 0 && heldByName.get(name) === held) heldByName.delete(name)
    })
    return held
  }

  function closeOldest(held: Set<Connection>, reason: string): void {
    const [oldest] = held
    if (oldest === undefined) return
    held.delete(oldest)
    logger.debug({ address: oldest.remoteAddr.toString() }, reason)
    oldest.abort(new Error(reason))
  }

  return {
    deniesHandshake(connection) {
      const address = connection.remoteAddr.toString()
      const host = hostOf(address)
      const handshakes = handshakesByHost.get(host) ?? new Set()
      if (handshakes.size >= hostHandshakesMax) return true
      handshakesByHost.set(host, handshakes.add(address))
      connection.addEventListener('close', () => settled(address))
      return false
    },

    opened(connection) {
      settled(withoutPeerId(connection.remoteAddr.toString()))
      const ofKey = hold(connection, connectionsByKey, connection.remotePeer.toString())
      if (ofKey.size > keyConnectionsMax) closeOldest(ofKey, 'one key holds too many connections')
      if (isMember(connection.remotePeer)) return
      hold(connection, strangersByHost, hostOf(withoutPeerId(connection.remoteAddr.toString())))
      const hosts = [...strangersByHost.values()]
      const largest = hosts.reduce((most, held) => (held.size > most.size ? held : most), new Set<Connection>())
      if (hosts.reduce((sum, held) => sum + held.size, 0) > strangersMax) closeOldest(largest, 'too many strangers hold connections')
    },
  }
}

/** The muxer, except that a connection on which the other side opens streams without end is closed. */
export function withStreamLimit(factory: StreamMuxerFactory, clock: Clock, logger: Logger): StreamMuxerFactory {
  return {
    protocol: factory.protocol,
    createStreamMuxer(connection): StreamMuxer {
      const muxer = factory.createStreamMuxer(connection)
      const allowance = new Allowance(clock, streamsPerSecond, streamsMost)
      const count = (): void => {
        if (allowance.spend(1) === 0 || muxer.status !== 'open') return
        logger.warn({}, 'a peer that opened streams without end was hung up on')
        muxer.abort(new Error('the peer opened too many streams'))
      }
      const listen = muxer.addEventListener.bind(muxer)
      // Streams that come early are given to the first who listens, and that has to be the connection.
      muxer.addEventListener = (type: 'stream', ...rest: [never]): void => {
        listen(type, ...rest)
        if (type === 'stream') listen(type, count)
      }
      return muxer
    },
  }
}

const hostOf = (address: string): string => addressHost(address) ?? address
const withoutPeerId = (address: string): string => address.replace(/\/p2p\/\w+$/u, '')
