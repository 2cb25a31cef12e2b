/**
 * The limits on the join protocol, the only thing that a stranger can reach: few requests at a time, few a minute.
 * A ticket's key is 256 bits, so the limits are not there against guessing but against work.
 */
import { frameBytesMax } from '../core/index.ts'
import type { Clock } from '../core/index.ts'

/** Bytes of one join request: a signed record or a few, from anyone. */
export const joinRequestBytesMax = 64 << 10
/** Bytes of the response: some thousands of membership records, from the instance whose ticket was given. */
export const joinResponseBytesMax = frameBytesMax
/** From the open stream to the answer. More lets a stranger hold a place longer. */
export const joinMsMax = 10_000

const windowMs = 60_000
/** Requests at once: a stranger who stalls holds one place for `joinMsMax`, and the others still get through. */
const placesMax = 4
/** A person who mistypes a ticket retries by hand; a script that sets up a group on one machine joins some twenty. */
const hostRequestsMax = 20
/** All hosts together; also the bound on what is remembered. */
const requestsMax = 60

export interface JoinLimiter {
  /** Takes a place for a request from `host`: what gives it back, or null when it may not be served now. */
  enter(host: string): (() => void) | null
}

export function createJoinLimiter(clock: Clock): JoinLimiter {
  const places = new Set<symbol>()
  let recent: { host: string; at: number }[] = []
  return {
    enter(host) {
      const now = clock.monotonic()
      recent = recent.filter((request) => now - request.at < windowMs)
      const fromHost = recent.filter((request) => request.host === host).length
      if (places.size >= placesMax || recent.length >= requestsMax || fromHost >= hostRequestsMax) return null
      recent.push({ host, at: now })
      const place = Symbol(host)
      places.add(place)
      return () => void places.delete(place)
    },
  }
}
