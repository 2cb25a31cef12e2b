/** Peer ids of libp2p as the raw Ed25519 keys that the rest of the project knows. */
import type { PeerId } from '@libp2p/interface'
import { bytesToId } from '../core/index.ts'
import type { PublicKey } from '../core/index.ts'

/** The key in a peer id; undefined for other kinds of keys, which no instance has. */
export function peerIdToKey(peerId: PeerId): PublicKey | undefined {
  return peerId.type === 'Ed25519' ? bytesToId<PublicKey>(peerId.publicKey.raw) : undefined
}
