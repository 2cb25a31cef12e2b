/**
 * The transport port: links to peers, framed messages on them, and gossip. Two implementations: libp2p
 * (`libp2p-transport.ts`) and an in-memory one for simulation (`memory-transport.ts`).
 *
 * A link is one connection to one peer; two links to the same peer can exist at once (two simultaneous dials, or two
 * daemons with one key), and the engine tells them apart. The transport knows keys and addresses; it does not know what
 * is in a message. Handlers are called in the order in which things happened, never re-entrantly from `send` or `publish`.
 *
 * A link has two channels, each reliable and ordered while the link is up, independent of each other: `control` is for what
 * must never wait behind data (membership, frontiers), `bulk` for data. When either stream ends the link is closed, at each
 * end when that end notices; what was under way is lost. A peer whose machine vanished can go unnoticed for minutes: whoever
 * has to know sooner sends heartbeats.
 */
import type { PublicKey } from '../core/index.ts'

export type Channel = 'control' | 'bulk'

declare const brand: unique symbol
/** Unique within one life of the transport. */
export type LinkId = number & { readonly [brand]: 'LinkId' }

export interface Link {
  readonly id: LinkId
  /** The peer's Ed25519 key, proven by the handshake. */
  readonly key: PublicKey
  /** Multiaddr, for people. */
  readonly address: string
  readonly direction: 'inbound' | 'outbound'
}

/** What a gossip validator answers: `accept` delivers and forwards, `ignore` drops without blame, `reject` drops and blames the forwarder. */
export type GossipVerdict = 'accept' | 'ignore' | 'reject'

export interface TransportHandlers {
  /** Whether this key may open a link. Asked for each connection and each link, in both directions. */
  mayConnect(key: PublicKey): boolean
  /** Whether this key may have gossip, and learn where else this instance listens: members only. Asked for each stream and message. */
  mayGossip(key: PublicKey): boolean
  linkOpened(link: Link): void
  /** Told once for each link that opened, also when this side closed it. Nothing comes from the link any more. */
  linkClosed(link: LinkId, reason: string): void
  /** One frame, whole. The bytes are the handler's to keep. */
  message(link: LinkId, channel: Channel, bytes: Uint8Array): void
  /** The channel takes more again after a `send` that answered false. */
  drained(link: LinkId, channel: Channel): void
  /** A gossip message, before it is forwarded. `from` forwarded it; its author is in the message. */
  gossip(from: PublicKey, bytes: Uint8Array): GossipVerdict
  /** A request on the join protocol, from anyone. Answers the response, or null to hang up. The transport limits rate and size. */
  join(from: PublicKey, request: Uint8Array): Promise<Uint8Array | null>
  /**
   * An address that answered or was announced for a key: for the address book. With this instance's own key it is the sign
   * of a second daemon that has the same home. The same is told again and again.
   */
  addressFound(key: PublicKey, address: string): void
}

export interface Transport {
  /** Begins listening, discovery and gossip; idempotent. Throws `SelfsameError` `address-in-use` or `network-failed`. */
  start(handlers: TransportHandlers): Promise<void>
  /** Closes everything. `linkClosed` is called for each open link before it resolves. It can be started again. */
  stop(): Promise<void>
  /** The addresses it listens on, as multiaddrs without the peer id. Empty when stopped. */
  addresses(): readonly string[]
  /**
   * Dials one peer (whoever answers, when `key` is null); does nothing when there is a link to it or a dial under way.
   * Resolves when that ended and never rejects; the outcome is told by `linkOpened` or not at all.
   */
  dial(key: PublicKey | null, addresses: readonly string[]): Promise<void>
  /**
   * Queues a frame of at most `frameBytesMax` (the bytes are copied). False: it is queued, but send no more on this channel
   * until `drained`. Does nothing on a closed link.
   */
  send(link: LinkId, channel: Channel, bytes: Uint8Array): boolean
  /** Closes a link; `linkClosed` follows. What is still queued may be lost. */
  close(link: LinkId, reason: string): void
  /** Gossips at most `gossipBytesMax` to all peers of the agent; best effort. Does not come back to this instance. */
  publish(bytes: Uint8Array): void
  /** Sends a join request to an address and gives the response. Throws `SelfsameError` `network-failed` or `join-refused`. */
  requestJoin(key: PublicKey, addresses: readonly string[], request: Uint8Array): Promise<Uint8Array>
}
