/**
 * Links over libp2p: two streams of one connection, opened by the side that dialed. Links belong to connections and are
 * never merged by peer, so that two daemons with one key each have their own.
 *
 * The side that accepted says with an empty first frame on the control stream that it has both streams; only then is the
 * link open for the side that dialed.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { Allowance, assert, frameBytesMax } from '../core/index.ts'
import type { Clock, PublicKey } from '../core/index.ts'
import { addressHost, parseAddress } from './addresses.ts'
import { openFrameStream } from './libp2p-frames.ts'
import type { FrameStream } from './libp2p-frames.ts'
import { peerIdToKey } from './libp2p-keys.ts'
import type { Pace } from './libp2p-pace.ts'
import type { Channel, Link, LinkId, TransportHandlers } from './transport.ts'

export const protocolsByChannel: Record<Channel, string> = { control: '/selfsame/control/1', bulk: '/selfsame/bulk/1' }

/** From a connection to its link. One that has none by then (joining, idle or hostile) is closed. */
export const openingMsMax = 15_000
/** For what is queued to leave when a connection is closed in good order. */
const closingMsMax = 1_000
const openingMark = new Uint8Array(0)
/** What the control messages of one peer may cost in a second and at once, over all its links: a tenth of a processor or so. Honest ones tell of a thousand commits a second. */
const controlPerSecond = 1_500
const controlMost = 2_000

interface OpenLink extends Link {
  readonly connection: Connection
}

export interface Links {
  /** Opens a link on a connection that this side dialed. Resolves when the link is open or will not be; never rejects. */
  open(connection: Connection): Promise<void>
  /** Takes a stream that the other side opened. */
  accept(channel: Channel, stream: Stream, connection: Connection): void
  /** The open links. */
  all(): readonly OpenLink[]
  has(key: PublicKey): boolean
  send(id: LinkId, channel: Channel, bytes: Uint8Array): boolean
  close(id: LinkId, reason: string): void
}

export interface LinksOptions {
  readonly clock: Clock
  readonly handlers: TransportHandlers
  /** A peer sends more than it may, and is made to wait. */
  readonly slowed: (key: PublicKey) => void
  readonly opened: (link: OpenLink) => void
  readonly closed: (link: OpenLink) => void
}

interface LinkState extends OpenLink {
  readonly streams: Record<Channel, FrameStream>
  end(reason: string): void
  /** Closed by this side: what the other still sends is not delivered. */
  muted: boolean
}

/**
 * Calls a handler after the present work, in order: so none is called from within `send` or `publish`, and one that
 * breaks is a bug that ends the process instead of an error that libp2p swallows.
 */
export const deliver = queueMicrotask

/** Closes in good order within a second, else at once. */
export function hangUp(connection: Connection, clock: Clock): void {
  if (connection.status !== 'open') return
  const deadline = new AbortController()
  const cancel = clock.after(closingMsMax, () => deadline.abort())
  connection.addEventListener('close', cancel)
  connection.close({ signal: deadline.signal }).catch(() => connection.abort(new Error('the connection did not close in time')))
}

/** Where the other side of a connection is, as a multiaddr without its peer id. */
export function connectionAddress(connection: Connection): string {
  const address = connection.remoteAddr.toString()
  return parseAddress(address)?.toString() ?? address
}

/** The IP address of the other side. */
export function connectionHost(connection: Connection): string {
  const address = connection.remoteAddr.toString()
  return addressHost(address) ?? address
}

export function createLinks({ clock, handlers, slowed, opened, closed }: LinksOptions): Links {
  const linksById = new Map<LinkId, LinkState>()
  /** The streams that the other side has opened so far, until there are two. */
  const halvesByConnection = new WeakMap<Connection, Partial<Record<Channel, Stream>>>()
  /** By key, and beyond its links: whoever connects anew does not begin anew. As many as there are members. */
  const allowancesByKey = new Map<PublicKey, Allowance>()
  let linksMade = 0

  function paceOf(key: PublicKey, channel: Channel): Pace {
    // Bulk data was asked for.
    if (channel === 'bulk') return { clock, spend: () => 0 }
    const allowance = allowancesByKey.get(key) ?? new Allowance(clock, controlPerSecond, controlMost)
    allowancesByKey.set(key, allowance)
    return {
      clock,
      spend(cost) {
        const wait = allowance.spend(cost)
        if (wait > 0) slowed(key)
        return wait
      },
    }
  }

  /** `settled` is called once, when the link is open or will not be. */
  function establish(connection: Connection, key: PublicKey, streams: Record<Channel, Stream>, settled: () => void): void {
    linksMade += 1
    const id = linksMade as LinkId
    const link: Link = { id, key, address: connectionAddress(connection), direction: connection.direction }
    let phase: 'opening' | 'open' | 'ended' = 'opening'

    const begin = (): void => {
      if (phase !== 'opening') return
      phase = 'open'
      linksById.set(id, state)
      deliver(() => handlers.linkOpened(link))
      opened(state)
      settled()
    }
    const end = (reason: string): void => {
      if (phase === 'ended') return
      if (phase === 'open') {
        linksById.delete(id)
        deliver(() => handlers.linkClosed(id, reason))
        closed(state)
      }
      phase = 'ended'
      hangUp(connection, clock)
      settled()
    }
    const receive = (channel: Channel, bytes: Uint8Array): void => {
      if (phase === 'open') {
        deliver(() => {
          if (!state.muted) handlers.message(id, channel, bytes)
        })
      } else if (phase === 'opening') {
        if (channel === 'control' && bytes.length === 0) begin()
        else end('the peer sent data before it opened the link')
      }
    }
    const openChannel = (channel: Channel): FrameStream =>
      openFrameStream(
        streams[channel],
        { bytesMax: frameBytesMax, pace: paceOf(key, channel) },
        {
          frame: (bytes) => receive(channel, bytes),
          drained() {
            deliver(() => {
              if (linksById.has(id)) handlers.drained(id, channel)
            })
          },
          ended: end,
        },
      )

    const state: LinkState = {
      ...link,
      connection,
      streams: { control: openChannel('control'), bulk: openChannel('bulk') },
      end,
      muted: false,
    }
    if (link.direction === 'inbound') {
      state.streams.control.send(openingMark)
      begin()
    }
  }

  return {
    async open(connection) {
      const key = peerIdToKey(connection.remotePeer)
      assert(key !== undefined, 'the gate let a connection pass whose key is not Ed25519')
      const { promise, resolve } = Promise.withResolvers<void>()
      const deadline = new AbortController()
      const cancel = clock.after(openingMsMax, () => {
        deadline.abort()
        resolve()
      })
      try {
        const [control, bulk] = await Promise.all([
          connection.newStream(protocolsByChannel.control, { signal: deadline.signal }),
          connection.newStream(protocolsByChannel.bulk, { signal: deadline.signal }),
        ])
        establish(connection, key, { control, bulk }, resolve)
        await promise
      } catch {
        // The other side refused, or was silent for too long.
      }
      cancel()
      if (![...linksById.values()].some((link) => link.connection === connection)) hangUp(connection, clock)
    },

    accept(channel, stream, connection) {
      const key = peerIdToKey(connection.remotePeer)
      if (key === undefined || !handlers.mayConnect(key)) return stream.abort(new Error('only members may open a link'))
      const halves = halvesByConnection.get(connection) ?? {}
      halves[channel] = stream
      halvesByConnection.set(connection, halves)
      const { control, bulk } = halves
      if (control === undefined || bulk === undefined) return
      halvesByConnection.delete(connection)
      establish(connection, key, { control, bulk }, () => {})
    },

    all: () => [...linksById.values()],
    has: (key) => [...linksById.values()].some((link) => link.key === key),

    send(id, channel, bytes) {
      assert(bytes.length <= frameBytesMax, `a frame of ${bytes.length} bytes is over the limit of ${frameBytesMax}`)
      return linksById.get(id)?.streams[channel].send(bytes) ?? true
    },

    close(id, reason) {
      const link = linksById.get(id)
      if (link === undefined) return
      link.muted = true
      link.end(reason)
    },
  }
}
