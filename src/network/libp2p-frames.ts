/**
 * Frames on a libp2p stream: a 4-byte big-endian length, then that many bytes. Knows streams, not links or messages.
 */
import type { Stream } from '@libp2p/interface'
import { costOf, readAtPace } from './libp2p-pace.ts'
import type { Pace, Taken } from './libp2p-pace.ts'

const prefixBytes = 4
/** Bytes for which there is room when a frame begins to arrive. It grows with what comes: a length alone takes no memory. */
const firstRoomBytes = 64 << 10
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

export interface FrameStreamOptions {
  /** Of one received frame; a longer one ends the stream. */
  readonly bytesMax: number
  readonly pace: Pace
}

/** Writes frames on `stream` and reads those that come, at a pace. What arrived before is read too. */
export function openFrameStream(stream: Stream, { bytesMax, pace }: FrameStreamOptions, events: FrameStreamEvents): FrameStream {
  const prefix = new Uint8Array(prefixBytes)
  /** The length of the frame being received, once it is known, and room for what arrived of it. */
  let length: number | null = null
  let room = prefix
  /** Bytes of the frame, or of its prefix, that arrived. */
  let filled = 0
  let ended = false
  let full = false

  const end = (reason: string): void => {
    if (ended) return
    ended = true
    events.ended(reason)
  }

  /** Takes the bytes from `offset` on, up to the end of the prefix or of the frame. */
  const take = (bytes: Uint8Array, offset: number): Taken => {
    if (ended) return { offset: bytes.length, cost: 0 }
    const whole = length ?? prefixBytes
    const taken = bytes.subarray(offset, offset + whole - filled)
    if (filled + taken.length > room.length) {
      const grown = new Uint8Array(Math.min(whole, Math.max(firstRoomBytes, 2 * (filled + taken.length))))
      grown.set(room.subarray(0, filled))
      room = grown
    }
    room.set(taken, filled)
    filled += taken.length
    if (filled === whole) {
      if (length === null) begin()
      if (length === filled) return { offset: offset + taken.length, cost: finish() }
    }
    return { offset: offset + taken.length, cost: 0 }
  }

  /** The prefix is here. */
  const begin = (): void => {
    const announced = Buffer.from(prefix.buffer).readUInt32BE()
    if (announced > bytesMax) {
      const reason = `the peer sent a frame of ${announced} bytes, over the limit of ${bytesMax}`
      end(reason)
      return stream.abort(new Error(reason))
    }
    length = announced
    room = new Uint8Array(Math.min(announced, firstRoomBytes))
    filled = 0
  }

  /** The frame is here. Returns what it cost. */
  const finish = (): number => {
    const frame = room.subarray(0, filled)
    length = null
    room = prefix
    filled = 0
    events.frame(frame)
    return costOf(frame.length)
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
  readAtPace(stream, pace, take)
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
