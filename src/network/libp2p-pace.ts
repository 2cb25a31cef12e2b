/**
 * The pace of a stream: what it brings is taken unit by unit, so many at a turn of the loop, and no faster than the allowance of
 * whoever sends it. While it waits the stream is paused, so that the other side cannot send: nothing is dropped, and nothing piles up.
 */
import type { Stream } from '@libp2p/interface'
import { StreamMessageEvent } from '@libp2p/interface'
import type { Clock } from '../core/index.ts'

/** What is taken before the loop turns: some milliseconds of work. Others wait no longer for their turn. */
const turnCostMax = 32
/** Bytes that cost as much again as the message that they belong to. */
const bytesPerCost = 1 << 10

/** What a message of so many bytes costs whoever reads it. */
export function costOf(bytes: number): number {
  return 1 + bytes / bytesPerCost
}

export interface Pace {
  readonly clock: Clock
  /** Spends what a unit cost; returns the milliseconds to wait before the next. */
  spend(cost: number): number
}

/** What was taken of the bytes at hand: where it ends, and what it cost where a unit is whole with it, else 0. */
export interface Taken {
  readonly offset: number
  readonly cost: number
}

/** Reads a stream at a pace. `take` gets bytes from an offset on and uses at least one of them, up to the end of a unit. */
export function readAtPace(stream: Stream, pace: Pace, take: (bytes: Uint8Array, offset: number) => Taken): void {
  let arrived: Uint8Array[] = []
  let offset = 0
  let spent = 0
  let held = false
  let ended = false

  const hold = (milliseconds: number): void => {
    held = true
    spent = 0
    // Not from within a message: a stream that is going on tells the other side so right after it gave what had waited.
    queueMicrotask(() => {
      if (held && stream.readStatus === 'readable') stream.pause()
    })
    pace.clock.after(milliseconds, () => {
      held = false
      turn()
      if (!held && stream.readStatus === 'paused') resume()
    })
  }
  const resume = (): void => {
    try {
      stream.resume()
    } catch {
      // The connection below it is closed already, and the stream has not heard of it yet.
    }
  }
  const turn = (): void => {
    let index = 0
    while (index < arrived.length && !held && !ended) {
      const part = arrived[index] as Uint8Array
      const taken = take(part, offset)
      offset = taken.offset
      if (offset === part.length) {
        index += 1
        offset = 0
      }
      if (taken.cost === 0) continue
      spent += taken.cost
      const wait = pace.spend(taken.cost)
      if (wait > 0 || spent >= turnCostMax) hold(wait)
    }
    arrived = ended ? [] : arrived.slice(index)
  }

  stream.addEventListener('close', () => {
    ended = true
    arrived = []
  })
  stream.addEventListener('message', ({ data }) => {
    if (data instanceof Uint8Array) arrived.push(data)
    else arrived.push(...data)
    if (!held) turn()
  })
}

/**
 * The stream as it is, except that whoever listens for its messages gets them at a pace. Its units have their length before them, as a
 * varint (protocol buffers).
 */
export function streamAtPace(stream: Stream, pace: Pace): Stream {
  /** Of the unit that is arriving: its length so far, and the bytes that are still to come; null while its length is read. */
  let length = 0
  let shift = 0
  let missing: number | null = null

  const take = (bytes: Uint8Array, offset: number): Taken => {
    let end = offset
    while (missing === null && end < bytes.length) {
      const byte = bytes[end] as number
      end += 1
      length += (byte & 127) * 2 ** shift
      shift += 7
      if (byte < 128) missing = length
    }
    if (missing === null) return { offset: end, cost: 0 }
    const used = Math.min(missing, bytes.length - end)
    missing -= used
    if (missing > 0) return { offset: end + used, cost: 0 }
    const cost = costOf(length)
    length = 0
    shift = 0
    missing = null
    return { offset: end + used, cost }
  }
  const listen = (type: string, listener: (event: Event) => void, options?: { readonly once?: boolean }): void => {
    if (type !== 'message') return stream.addEventListener(type as 'close', listener, options)
    readAtPace(stream, pace, (bytes, offset) => {
      const taken = take(bytes, offset)
      listener(new StreamMessageEvent(bytes.subarray(offset, taken.offset)))
      return taken
    })
  }
  return new Proxy(stream, {
    get(target, name) {
      if (name === 'addEventListener') return listen
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
