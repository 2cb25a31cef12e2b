/**
 * Frames on a libp2p stream: a 4-byte big-endian length, then that many bytes. Knows streams, not links or messages.
 */
import type { Stream } from '@libp2p/interface'

const prefixBytes = 4
/** Bytes that wait in a stream from which it is full. Less leaves the socket idle between `drained` and the next frame. */
const fullBytes = 1 << 20
/** Bytes that wait when a full stream is drained. */
const drainedBytes = 256 << 10

/** One frame, ready for a stream. */
function encodeFrame(bytes: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(prefixBytes + bytes.length)
  frame.writeUInt32BE(bytes.length)
  frame.set(bytes, prefixBytes)
  return frame
}

export interface FrameStream {
  /** Queues a frame. False when the stream is full: `drained` follows. Does nothing on a stream that ended. */
  send(bytes: Uint8Array): boolean
}

export interface FrameStreamEvents {
  /** The bytes are a copy. */
  frame(bytes: Uint8Array): void
  drained(): void
  /** The stream came to an end, from either side, or broke the format: then it was aborted. Told once. */
  ended(reason: string): void
}

/** Writes frames on `stream` and reads those of at most `receivedBytesMax`. What arrived before is read too. */
export function openFrameStream(stream: Stream, receivedBytesMax: number, events: FrameStreamEvents): FrameStream {
  const prefix = Buffer.alloc(prefixBytes)
  /** The frame being received, once its length is known. */
  let frame: Uint8Array | null = null
  /** Bytes of the frame, or of its prefix, that arrived. */
  let filled = 0
  let ended = false
  let full = false

  const end = (reason: string): void => {
    if (ended) return
    ended = true
    events.ended(reason)
  }

  /** Takes what it can use from `bytes` at `offset` into `target`, and gives the offset after it. */
  const fill = (target: Uint8Array, bytes: Uint8Array, offset: number): number => {
    const taken = Math.min(target.length - filled, bytes.length - offset)
    target.set(bytes.subarray(offset, offset + taken), filled)
    filled += taken
    return offset + taken
  }

  const receive = (bytes: Uint8Array): void => {
    let offset = 0
    while (offset < bytes.length) {
      if (frame === null) {
        offset = fill(prefix, bytes, offset)
        if (filled < prefixBytes) return
        const length = prefix.readUInt32BE()
        if (length > receivedBytesMax) {
          const reason = `the peer sent a frame of ${length} bytes, over the limit of ${receivedBytesMax}`
          end(reason)
          return stream.abort(new Error(reason))
        }
        frame = new Uint8Array(length)
        filled = 0
      }
      offset = fill(frame, bytes, offset)
      if (filled < frame.length) return
      const whole = frame
      frame = null
      filled = 0
      events.frame(whole)
    }
  }

  stream.addEventListener('drain', () => {
    // libp2p takes up what waits in a microtask of its own, asked for before this one.
    queueMicrotask(() => {
      if (!full || stream.writeBufferLength > drainedBytes) return
      full = false
      events.drained()
    })
  })
  stream.addEventListener('remoteCloseWrite', () => end('the peer closed the connection'))
  stream.addEventListener('close', (event) => end(event.error === undefined ? 'the connection closed' : event.error.message))
  stream.addEventListener('message', ({ data }) => {
    if (data instanceof Uint8Array) receive(data)
    else for (const part of data) receive(part)
  })
  if (stream.status !== 'open') end('the connection closed')

  return {
    send(bytes) {
      if (ended || stream.writeStatus !== 'writable') return true
      stream.send(encodeFrame(bytes))
      full ||= stream.writeBufferLength >= fullBytes
      return !full
    },
  }
}
