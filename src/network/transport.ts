/**
 * The transport port: links to peers, framed messages on them, and gossip. Two implementations: libp2p
 * (`libp2p-transport.ts`) and an in-memory one for simulation (`memory-transport.ts`).
 *
 * A link is one connection to one peer; two links to the same peer can exist at once (two simultaneous dials, or two
 * daemons with one key), and the engine tells them apart. The transport knows keys and addresses; it does not know what
 * is in a message. Handlers are called in the order in which things happened, never re-entrantly from `send` or `publish`.
 *
 * A link has two channels, each reliable and ordered while the link is up, independent of each other: `control` is for what
 * must never wait behind data (membership, frontiers), `bulk` for data. When either stream ends the link is closed.
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
  /** Whether a connection with this key may be used for anything but joining. Asked for each connection, both directions. */
  mayConnect(key: PublicKey): boolean
  linkOpened(link: Link): void
  linkClosed(link: LinkId, reason: string): void
  message(link: LinkId, channel: Channel, bytes: Uint8Array): void
  /** The channel takes more again after a `send` that answered false. */
  drained(link: LinkId, channel: Channel): void
  /** A gossip message, before it is forwarded. `from` forwarded it; its author is in the message. */
  gossip(from: PublicKey, bytes: Uint8Array): GossipVerdict
  /** A request on the join protocol, from anyone. Answers the response, or null to hang up. The transport limits rate and size. */
  join(from: PublicKey, request: Uint8Array): Promise<Uint8Array | null>
  /** Addresses that answered or were announced for a key: for the address book. */
  addressFound(key: PublicKey, address: string): void
}

export interface Transport {
  /** Begins listening, discovery and gossip; idempotent. Throws `SelfsameError` `address-in-use` or `network-failed`. */
  start(handlers: TransportHandlers): Promise<void>
  /** Closes everything. `linkClosed` is called for each open link first. It can be started again. */
  stop(): Promise<void>
  /** The addresses it listens on, as multiaddrs without the peer id. Empty when stopped. */
  addresses(): readonly string[]
  /** Dials one peer; does nothing when a link or a dial to it is under way. Resolves when that ended; the outcome is told by `linkOpened` or not at all. */
  dial(key: PublicKey | null, addresses: readonly string[]): Promise<void>
  /** Queues a frame. False: it is queued, but send no more on this channel until `drained`. Does nothing on a closed link. */
  send(link: LinkId, channel: Channel, bytes: Uint8Array): boolean
  close(link: LinkId, reason: string): void
  /** Gossips to all peers of the agent; best effort. Does not come back to this instance. */
  publish(bytes: Uint8Array): void
  /** Sends a join request to an address and gives the response. Throws `SelfsameError` `network-failed` or `join-refused`. */
  requestJoin(key: PublicKey, addresses: readonly string[], request: Uint8Array): Promise<Uint8Array>
}
