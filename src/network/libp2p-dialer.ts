/**
 * Dialing: finds, behind some addresses, a peer whose key will do. Owns the outbound half of the connection gate, because
 * only here is known why an address was dialed. Knows connections, not links.
 */
import type { Connection, MultiaddrConnection, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Libp2p } from 'libp2p'
import type { Clock, Logger, PublicKey } from '../core/index.ts'
import { parseAddress } from './addresses.ts'
import { peerIdToKey } from './libp2p-keys.ts'

/** Of one dial, all addresses together: a handshake takes four round trips, so this bears 1.2 s each. */
const dialMsMax = 5_000
/** Between the first attempts at neighbouring addresses (RFC 8305 has 250 ms): the first in the list that works mostly wins. */
const staggerMs = 150
/** Addresses tried in one dial: a laptop with some virtual networks has ten. */
const addressesMax = 16

interface DialOutcome {
  readonly connection: Connection | null
  /** Whether a peer with a key that will do proved itself, also when it then closed the connection. */
  readonly answered: boolean
}

export interface Dialer {
  /** The gate's question for each outbound connection, when the peer's key is proven. */
  denies(peerId: PeerId, connection: MultiaddrConnection): boolean
  /** Dials all of `addresses` that are not being dialed already, and keeps the first whose key `accepts`. Never rejects. */
  connect(libp2p: Libp2p, addresses: readonly string[], accepts: (key: PublicKey) => boolean): Promise<DialOutcome>
}

export interface DialerOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** An address answered with this instance's own key. */
  readonly foundSelf: (address: string) => void
}

interface Attempt {
  readonly accepts: (key: PublicKey) => boolean
  answered: boolean
}

export function createDialer({ clock, logger, foundSelf }: DialerOptions): Dialer {
  const attemptsByAddress = new Map<string, Attempt>()

  /** Rejects when `signal` aborts first. */
  function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = clock.after(milliseconds, resolve)
      signal.addEventListener('abort', () => {
        cancel()
        reject(new Error('another address answered first'))
      })
    })
  }

  return {
    denies(peerId, connection) {
      const attempt = attemptsByAddress.get(connection.remoteAddr.toString())
      const key = peerIdToKey(peerId)
      if (attempt === undefined || key === undefined || !attempt.accepts(key)) return true
      attempt.answered = true
      return false
    },

    async connect(libp2p, addresses, accepts) {
      const attempt: Attempt = { accepts, answered: false }
      const targetsByAddress = new Map<string, Multiaddr>()
      for (const address of addresses) {
        const target = parseAddress(address)
        const name = target?.toString()
        if (target === undefined || name === undefined || attemptsByAddress.has(name) || targetsByAddress.size >= addressesMax) continue
        targetsByAddress.set(name, target)
        attemptsByAddress.set(name, attempt)
      }

      const ended = new AbortController()
      const cancelDeadline = clock.after(dialMsMax, () => ended.abort())
      let won = false
      const dials = [...targetsByAddress].map(async ([address, target], index) => {
        await wait(index * staggerMs, ended.signal)
        // The peer id is left out, so that libp2p does not merge dials to one peer; the gate above checks the key.
        const connection = await libp2p.dial(target, { force: true, signal: ended.signal }).catch((error: unknown) => {
          if (error instanceof Error && error.name === 'InvalidPeerIdError') foundSelf(address)
          logger.debug({ address, error: String(error) }, 'dial failed')
          throw error
        })
        if (won) {
          connection.abort(new Error('another address answered first'))
          throw new Error('another address answered first')
        }
        won = true
        return connection
      })
      const connection = await Promise.any(dials).catch(() => null)
      cancelDeadline()
      ended.abort()
      for (const address of targetsByAddress.keys()) attemptsByAddress.delete(address)
      return { connection, answered: attempt.answered }
    },
  }
}
