/**
 * Windows: how often the receiver of a stream tells the sender that it may send more. The muxer does after each message, so each message wakes
 * both sides once more; here half of the window has to be used up first, as the specification of Yamux means it.
 */
import type { StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'
import { StreamState } from '@libp2p/yamux/stream'

/** What a muxer makes its streams with, whoever opens them. */
interface StreamMaker {
  _newStream(...options: readonly unknown[]): WindowedStream
}

interface WindowedStream {
  readonly state: StreamState
  /** Bytes that the sender may send at once, and those of them that it may still send. */
  readonly recvWindow: number
  readonly recvWindowCapacity: number
  /** Lets the sender send a whole window again. Called after each message. */
  sendWindowUpdate(): void
}

/** The muxer, except that its streams are patient. */
export function withPatientWindows(factory: StreamMuxerFactory): StreamMuxerFactory {
  return {
    protocol: factory.protocol,
    createStreamMuxer(connection): StreamMuxer {
      const muxer = factory.createStreamMuxer(connection)
      const maker = muxer as unknown as StreamMaker
      const create = maker._newStream.bind(muxer)
      maker._newStream = (...options) => patient(create(...options))
      return muxer
    },
  }
}

function patient(stream: WindowedStream): WindowedStream {
  const update = stream.sendWindowUpdate.bind(stream)
  stream.sendWindowUpdate = () => {
    // Before a stream is established its update is the answer to its opening.
    if (stream.state !== StreamState.Established || stream.recvWindowCapacity < stream.recvWindow / 2) update()
  }
  return stream
}
