/**
 * The network between the daemons of a test: one TCP relay through which all their connections go (`detour.ts`). For each direction between
 * two of them it keeps conditions: delay, loss, bandwidth, and whether anything gets through at all. What TCP would do about loss is only
 * lateness, so that is what loss is here. It knows names and ports, and nothing of what passes.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import { pathToFileURL, fileURLToPath } from 'node:url'
import type { Environment } from '../e2e/group.ts'
import type { SeededRandom } from '../sim/virtual-time.ts'

/** Of one direction between two daemons. */
export interface Conditions {
  /** Milliseconds that every byte takes at least. */
  readonly delayMs: number
  /** Milliseconds more at most, drawn for each piece; order is kept. */
  readonly jitterMs: number
  /** Of packets, the part that is lost and sent again. */
  readonly loss: number
  readonly bytesPerSecond: number
  /** Whether anything gets through. What is under way waits, as long as its connection does. */
  readonly open: boolean
}

const perfect: Conditions = { delayMs: 0, jitterMs: 0, loss: 0, bytesPerSecond: Number.POSITIVE_INFINITY, open: true }

export interface Relay {
  /** What a process needs so that its connections go through here, under this name. */
  environmentOf(name: string): Environment
  /** Where connections to `port` end. */
  place(name: string, port: number): void
  /** Changes the conditions from one to another, from now on: not the other way round. */
  change(from: string, to: string, change: Partial<Conditions>): void
  /** Makes everything perfect. */
  heal(): void
  /** Resets the connections between two: how many. */
  reset(a: string, b: string): number
  close(): Promise<void>
}

/** Bytes of a packet's payload on an Ethernet. */
const packetBytes = 1_448
/** The least time after which TCP sends again what nobody acknowledged, milliseconds (Linux; RFC 6298 has a second). */
const retransmitMsMin = 200
/** Bytes under way in one direction of a connection before the sender has to wait: the largest window of a Linux host by default. */
const windowBytes = 6 << 20
/** Bytes of the first line at most. */
const firstLineBytesMax = 200

/** What one end said: bytes, that no more will come, or that it is gone. */
interface Piece {
  readonly dueAt: number
  readonly said: Buffer | 'end' | 'reset'
}

interface Flow {
  /** Looks again at what waits: the conditions have changed. */
  wake(): void
}

/** One connection, from when it is opened until both ends are gone. */
interface Pair {
  readonly from: string
  readonly to: string
  wake(): void
  reset(): void
}

const detour = pathToFileURL(fileURLToPath(new URL('detour.ts', import.meta.url))).href

export async function openRelay(random: SeededRandom): Promise<Relay> {
  const conditions = new Map<string, Conditions>()
  const namesByPort = new Map<number, string>()
  const pairs = new Set<Pair>()
  const callers = new Set<Socket>()
  const conditionsOf = (from: string, to: string): Conditions => conditions.get(`${from} ${to}`) ?? perfect

  function accept(caller: Socket): void {
    callers.add(caller)
    caller.on('error', () => {})
    caller.on('close', () => callers.delete(caller))
    let head = Buffer.alloc(0)
    const read = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\n')
      if (end < 0 && head.length < firstLineBytesMax) return
      caller.off('data', read)
      caller.pause()
      const [from = '', port = ''] = head.subarray(0, Math.max(end, 0)).toString().split(' ')
      const to = namesByPort.get(Number(port))
      if (to === undefined) caller.resetAndDestroy()
      else open(caller, { from, to, port: Number(port) }, head.subarray(end + 1))
    }
    caller.on('data', read)
  }

  /** A connection comes about once packets pass both ways. */
  function open(caller: Socket, { from, to, port }: { from: string; to: string; port: number }, first: Buffer): void {
    let callee: Socket | undefined
    let flows: readonly Flow[] = []
    const there = (): Conditions => conditionsOf(from, to)
    const back = (): Conditions => conditionsOf(to, from)
    const forget = (): void => {
      if (caller.destroyed && (callee === undefined || callee.destroyed)) pairs.delete(pair)
    }
    const pair: Pair = {
      from,
      to,
      wake() {
        if (callee === undefined && !caller.destroyed && there().open && back().open) begin()
        for (const flow of flows) flow.wake()
      },
      reset() {
        caller.resetAndDestroy()
        callee?.resetAndDestroy()
      },
    }
    function begin(): void {
      callee = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
      callee.on('close', forget)
      const handshakeMs = there().delayMs + back().delayMs
      flows = [
        createFlow({ from: caller, to: callee, conditions: there, random, first, notBefore: performance.now() + handshakeMs }),
        createFlow({ from: callee, to: caller, conditions: back, random, first: Buffer.alloc(0), notBefore: 0 }),
      ]
    }
    pairs.add(pair)
    caller.on('close', forget)
    pair.wake()
  }

  const server = createServer({ allowHalfOpen: true, noDelay: true }, accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const wakeAll = (): void => {
    for (const pair of pairs) pair.wake()
  }

  return {
    environmentOf: (name) => ({ CHAOS_NAME: name, CHAOS_RELAY: String(port), NODE_OPTIONS: `--import=${detour}` }),
    place: (name, at) => void namesByPort.set(at, name),
    change(from, to, change) {
      conditions.set(`${from} ${to}`, { ...conditionsOf(from, to), ...change })
      wakeAll()
    },
    heal() {
      conditions.clear()
      wakeAll()
    },
    reset(a, b) {
      const meant = [...pairs].filter(({ from, to }) => (from === a && to === b) || (from === b && to === a))
      for (const pair of meant) pair.reset()
      return meant.length
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const pair of pairs) pair.reset()
      for (const caller of callers) caller.destroy()
      await closed
    },
  }
}

interface FlowOptions {
  readonly from: Socket
  readonly to: Socket
  readonly conditions: () => Conditions
  readonly random: SeededRandom
  /** What was read before. */
  readonly first: Buffer
  /** Milliseconds on the monotonic clock before which nothing is sent. */
  readonly notBefore: number
}

/** Carries what one end sends to the other, in order, when it is due. */
function createFlow({ conditions, first, from, notBefore, random, to }: FlowOptions): Flow {
  const waiting: Piece[] = []
  let waitingBytes = 0
  let freeAt = notBefore
  let lastDueAt = 0
  let timer: NodeJS.Timeout | undefined
  let ended = false
  let blocked = false

  /** When the last byte of `bytes` comes out of the line, if the line is used in order. */
  function dueAt(bytes: number): number {
    const { bytesPerSecond, delayMs, jitterMs, loss } = conditions()
    freeAt = Math.max(freeAt, performance.now()) + (bytes / bytesPerSecond) * 1_000
    const packets = Math.ceil(bytes / packetBytes)
    const lost = loss > 0 && random.unit() > (1 - loss) ** packets
    const late = jitterMs * random.unit() + (lost ? Math.max(retransmitMsMin, 4 * delayMs) : 0)
    lastDueAt = Math.max(lastDueAt, freeAt + delayMs + late)
    return lastDueAt
  }

  function take(bytes: Buffer): void {
    if (bytes.length === 0) return
    waiting.push({ said: bytes, dueAt: dueAt(bytes.length) })
    waitingBytes += bytes.length
    if (waitingBytes > windowBytes) from.pause()
    deliver()
  }

  function finish(said: 'end' | 'reset'): void {
    if (ended) return
    ended = true
    waiting.push({ said, dueAt: dueAt(0) })
    deliver()
  }

  function deliver(): void {
    clearTimeout(timer)
    for (;;) {
      const [piece] = waiting
      if (piece === undefined || blocked || !conditions().open) return
      const waitMs = piece.dueAt - performance.now()
      if (waitMs > 0) {
        timer = setTimeout(deliver, waitMs)
        return
      }
      waiting.shift()
      const { said } = piece
      if (said === 'end') to.end()
      else if (said === 'reset') to.resetAndDestroy()
      else {
        blocked = !to.write(said)
        waitingBytes -= said.length
        if (from.isPaused() && waitingBytes < windowBytes / 2) from.resume()
      }
    }
  }

  from.on('data', take)
  from.on('end', () => finish('end'))
  from.on('error', () => finish('reset'))
  from.on('close', () => finish('reset'))
  to.on('drain', () => {
    blocked = false
    deliver()
  })
  to.on('close', () => {
    clearTimeout(timer)
    waiting.length = 0
  })
  take(first)
  from.resume()
  return { wake: deliver }
}
