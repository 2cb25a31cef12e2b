/** The join protocol over libp2p: one request, one response, on a stream of its own. Knows streams and limits, not tickets. */
import type { Connection, Stream } from '@libp2p/interface'
import type { Clock } from '../core/index.ts'
import { createJoinLimiter, joinMsMax, joinRequestBytesMax, joinResponseBytesMax } from './join-limiter.ts'
import { openFrameStream } from './libp2p-frames.ts'
import { peerIdToKey } from './libp2p-keys.ts'
import { connectionHost, deliver } from './libp2p-links.ts'
import type { TransportHandlers } from './transport.ts'

export const joinProtocol = '/selfsame/join/1'

export interface JoinServerOptions {
  readonly clock: Clock
  readonly handlers: TransportHandlers
  readonly joinOpen: () => boolean
}

/** What serves a stream of the join protocol: strangers while an invite is open, and members, whose answer may have been lost. */
export function createJoinServer({ clock, handlers, joinOpen }: JoinServerOptions): (stream: Stream, connection: Connection) => void {
  const joins = createJoinLimiter(clock)
  return (stream, connection) => {
    const key = peerIdToKey(connection.remotePeer)
    if (key === undefined || !(joinOpen() || handlers.mayConnect(key))) return stream.abort(new Error('no join request is served now'))

    /** Gives back the place that a whole request takes: whoever opens a stream and is silent holds none. */
    let leave: (() => void) | null = null
    let asked = false
    const answer = (response: Uint8Array | null): void => {
      cancel()
      leave?.()
      if (response === null) return stream.abort(new Error('the join request was refused'))
      if (response.length > joinResponseBytesMax) return stream.abort(new Error('the answer is larger than an answer may be'))
      frames.send(response)
      void stream.close().catch(() => stream.abort(new Error('the answer did not leave in time')))
    }
    const cancel = clock.after(joinMsMax, () => answer(null))
    const frames = openFrameStream(
      stream,
      { bytesMax: joinRequestBytesMax, pace: { clock, spend: () => 0 } },
      {
        frame(request) {
          if (asked) return
          asked = true
          leave = joins.enter(connectionHost(connection))
          if (leave === null) return answer(null)
          deliver(() => void handlers.join(key, request).then(answer, () => answer(null)))
        },
        drained() {},
        ended() {
          if (!asked) answer(null)
        },
      },
    )
  }
}

/** Sends a join request on a connection and gives the response. Throws when the other side hangs up or is silent. */
export async function askToJoin(connection: Connection, request: Uint8Array, clock: Clock): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  // Twice what the other side allows itself, for the way.
  const cancel = clock.after(joinMsMax * 2, () => reject(new Error('the other instance did not answer in time')))
  try {
    const stream = await connection.newStream(joinProtocol)
    const frames = openFrameStream(
      stream,
      { bytesMax: joinResponseBytesMax, pace: { clock, spend: () => 0 } },
      {
        frame: resolve,
        drained() {},
        ended: (reason) => reject(new Error(reason)),
      },
    )
    frames.send(request)
    return await promise
  } finally {
    cancel()
  }
}
