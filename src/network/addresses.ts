/**
 * Multiaddrs as this project uses them: what the configuration's words mean on this machine, and from where an
 * address can be reached. Knows nothing of connections.
 */
import { BlockList, isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { CODE_P2P, multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'
import { SelfsameError } from '../core/index.ts'

/**
 * From where an address can be reached: this machine, the networks that this machine is in (LAN, VPN, carrier NAT), or
 * anywhere. A DNS name counts as public: whoever configures one means others to use it.
 */
export type Reach = 'loopback' | 'private' | 'public'

const loopback = blockListOf(['127.0.0.0', 8, 'ipv4'], ['::1', 128, 'ipv6'])
/** RFC 1918, RFC 6598 (carrier NAT, also used by mesh VPNs), RFC 4193: where `lan` listens. */
const local = blockListOf(
  ['10.0.0.0', 8, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['fc00::', 7, 'ipv6'],
)
/** RFC 3927, RFC 4291: valid on one link only, and IPv6 needs a zone that means nothing elsewhere. */
const linkLocal = blockListOf(['169.254.0.0', 16, 'ipv4'], ['fe80::', 10, 'ipv6'])

function blockListOf(...ranges: readonly (readonly [string, number, 'ipv4' | 'ipv6'])[]): BlockList {
  const list = new BlockList()
  for (const [network, prefix, family] of ranges) list.addSubnet(network, prefix, family)
  return list
}

function holds(list: BlockList, host: string): boolean {
  return list.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4')
}

function hostReach(host: string): Reach {
  if (host === 'localhost' || host.endsWith('.localhost')) return 'loopback'
  if (isIP(host) === 0) return 'public'
  if (holds(loopback, host)) return 'loopback'
  return holds(local, host) || holds(linkLocal, host) ? 'private' : 'public'
}

/** From where `address` can be reached; undefined when it is not an address that can be dialed. */
export function addressReach(address: string): Reach | undefined {
  const host = addressHost(address)
  return host === undefined ? undefined : hostReach(host)
}

/** The IP address or name in a TCP multiaddr; undefined when `address` is not one. */
export function addressHost(address: string): string | undefined {
  const parsed = parseAddress(address)
  return parsed === undefined ? undefined : parsed.getComponents()[0]?.value
}

/** The TCP multiaddr that `address` spells, without a peer id; undefined when it is not one. */
export function parseAddress(address: string): Multiaddr | undefined {
  try {
    const parsed = multiaddr(address).decapsulateCode(CODE_P2P)
    const [host, port, ...rest] = parsed.getComponents()
    const named = host !== undefined && ['ip4', 'ip6', 'dns', 'dns4', 'dns6'].includes(host.name)
    return named && port?.name === 'tcp' && rest.length === 0 ? parsed : undefined
  } catch {
    return undefined
  }
}

/**
 * The multiaddrs that `spec` means on this machine, in order and without repetition. Words: `loopback` (this machine
 * only), `lan` (loopback and the private addresses of its interfaces). Anything else must be a TCP multiaddr and stands for
 * itself: a public address is listened on only when it is named.
 *
 * `port` is for the words; 0 lets the system choose one for each address. Throws `invalid-configuration`.
 */
export function listenAddresses(spec: readonly string[], port: number, hosts: readonly string[] = interfaceHosts()): string[] {
  const addresses = spec.flatMap((word) => {
    if (word === 'loopback') return hosts.filter((host) => holds(loopback, host)).map((host) => hostAddress(host, port))
    if (word === 'lan') return hosts.filter((host) => holds(loopback, host) || holds(local, host)).map((host) => hostAddress(host, port))
    const address = parseAddress(word)
    if (address === undefined) {
      throw new SelfsameError(
        'invalid-configuration',
        `cannot listen on ${JSON.stringify(word)}: write "loopback", "lan" or a TCP multiaddr such as /ip4/0.0.0.0/tcp/${port}`,
      )
    }
    return [address.toString()]
  })
  return [...new Set(addresses)]
}

function hostAddress(host: string, port: number): string {
  return `/ip${isIP(host)}/${host}/tcp/${port}`
}

function interfaceHosts(): string[] {
  return Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map((entry) => entry.address))
}
