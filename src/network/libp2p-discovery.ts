/**
 * Finding members on the local network by mDNS. Beside libp2p and not in it, so that what anyone there announces is neither
 * stored nor dialed by libp2p itself.
 */
import { start, stop } from '@libp2p/interface'
import type { ComponentLogger, PeerId } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import type { MulticastDNSComponents } from '@libp2p/mdns'
import type { Multiaddr } from '@multiformats/multiaddr'
import { parseAddress } from './addresses.ts'

/** Addresses of one announcement that are looked at. */
const addressesMax = 16

export interface DiscoveryOptions {
  /** Names the group; everyone on the network can read it. */
  readonly serviceTag: string
  readonly logger: ComponentLogger
  /** This node's addresses, with its peer id. */
  readonly announced: () => Multiaddr[]
  readonly found: (peerId: PeerId, address: string) => void
}

/** Announces this node and looks for others until the returned function is called. A network without multicast is silence, not an error. */
export async function startDiscovery({ serviceTag, logger, announced, found }: DiscoveryOptions): Promise<() => Promise<void>> {
  const discovery = mdns({ serviceTag: `_${serviceTag}._udp.local` })({
    logger,
    // The one method that it uses.
    addressManager: { getAddresses: announced } as MulticastDNSComponents['addressManager'],
  })
  discovery.addEventListener('peer', ({ detail: { id, multiaddrs } }) => {
    for (const multiaddr of multiaddrs.slice(0, addressesMax)) {
      const address = parseAddress(multiaddr.toString())
      if (address !== undefined) found(id, address.toString())
    }
  })
  await start(discovery)
  return async () => {
    await stop(discovery)
  }
}
