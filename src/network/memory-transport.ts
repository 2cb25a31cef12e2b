/**
 * The transport port without sockets: a network inside one process, in virtual time, for simulation. Everything that
 * can differ from run to run (latency, loss, order, resets, who notices what when) is drawn from `random`, so a seed replays.
 *
 * It has the habits of the real one that matter to an engine: a link is up at its two ends at different times, and each end
 * learns of its death by itself; what is under way when a link dies is lost; a cut path stalls before it dies, and goes on
 * if it heals first; nodes with the same key cannot dial each other, and gossip reaches only one of them from any third.
 *
 * Handlers are called from callbacks of the clock, `stop` and `resume` only. The clock must run callbacks that are due at the same time in the
 * order of their `after`.
 */
import { assert, frameBytesMax, gossipBytesMax, hashToId, SelfsameError } from '../core/index.ts'
import type { Clock, PublicKey, Random } from '../core/index.ts'
import { createJoinLimiter, joinRequestBytesMax, joinMsMax } from './join-limiter.ts'
import type { JoinLimiter } from './join-limiter.ts'
import type { Channel, Link, LinkId, Transport, TransportHandlers } from './transport.ts'

/** The weather. Probabilities are 0 to 1; all of it may be changed while the network runs. */
export interface NetworkConditions {
  /** One way, drawn for each frame, gossip message and handshake. */
  readonly latencyMsMin: number
  readonly latencyMsMax: number
  /** Of one gossip message on one link. */
  readonly gossipLoss: number
  readonly gossipDuplication: number
  /** More than the latency, drawn for each gossip message: reorders them. */
  readonly gossipDelayMsMax: number
  /** That the link resets, for each frame that it should deliver. */
  readonly linkReset: number
  /** How long an end may take to notice that the path to the other is dead. */
  readonly detectionMsMax: number
  /** Bytes under way on one channel in one direction before `send` answers false. */
  readonly windowBytes: number
  /** Whether nodes that start are announced to the others, as mDNS does. */
  readonly discovery: boolean
}

/** A quiet local network: fast and without faults. */
const calmConditions: NetworkConditions = {
  latencyMsMin: 1,
  latencyMsMax: 1,
  gossipLoss: 0,
  gossipDuplication: 0,
  gossipDelayMsMax: 0,
  linkReset: 0,
  detectionMsMax: 10_000,
  windowBytes: 256 << 10,
  discovery: false,
}

interface MemoryNetworkOptions {
  readonly clock: Clock
  readonly random: Random
  readonly conditions?: Partial<NetworkConditions>
}

interface AttachOptions {
  /** The node's multiaddr; a fresh `/memory/<n>` unless told. A node that crashed comes back by attaching at its old one. */
  readonly address?: string
  /** Whether an invite is open. Never unless told. */
  readonly joinOpen?: () => boolean
}

export interface MemoryTransport extends Transport {
  readonly address: string
}

export interface MemoryNetwork {
  readonly conditions: NetworkConditions
  change(conditions: Partial<NetworkConditions>): void
  /** Puts a node on the network. Several may have one key: a home that was copied and runs twice. */
  attach(key: PublicKey, options?: AttachOptions): MemoryTransport
  /** The node crashes: nothing more is told to it, and its peers notice in their own time. */
  detach(address: string): void
  /** Cuts or heals the path between two nodes, or only from the first to the second. Its links stall, and die unless it heals soon. */
  setReachable(from: string, to: string, reachable: boolean, direction?: 'both' | 'one-way'): void
  /** Stops a process without killing it: its links stay up, and what comes for it waits until `resume`. */
  pause(address: string): void
  resume(address: string): void
}

/** As the dial of the real transport. */
const dialMsMax = 5_000
/** As gossipsub's cache of seen messages. */
const seenMs = 120_000

/** From a start to the next stop or crash. */
interface Life {
  readonly handlers: TransportHandlers
}

interface Node {
  readonly address: string
  readonly key: PublicKey
  readonly joinOpen: () => boolean
  readonly joins: JoinLimiter
  /** Null while stopped or crashed; what belongs to a former life is dropped. */
  life: Life | null
  paused: boolean
  /** What happened to it while it was paused. */
  held: (() => void)[]
  readonly endsById: Map<LinkId, LinkEnd>
  readonly dialing: Set<PublicKey>
  /** Gossip seen lately, and when. */
  readonly seen: Map<string, number>
}

/** One node's end of a link. */
interface LinkEnd {
  readonly node: Node
  readonly link: Link
  /** Set once, when both ends exist. */
  peer: LinkEnd
  /** Whether its node was told that the link opened. */
  open: boolean
  /** Whether frames still move, and whether its node was told that they do not. */
  up: boolean
  closed: boolean
  readonly outgoing: Record<Channel, Flow>
}

/** Frames under way on one channel in one direction. */
interface Flow {
  readonly from: LinkEnd
  readonly channel: Channel
  readonly frames: { readonly bytes: Uint8Array; readonly dueAt: number }[]
  bytesUnderWay: number
  /** `send` answered false and `drained` is owed. */
  full: boolean
  /** The head of `frames` waits for its time. */
  scheduled: boolean
}

export function createMemoryNetwork({ clock, random, conditions: given }: MemoryNetworkOptions): MemoryNetwork {
  let conditions: NetworkConditions = { ...calmConditions, ...given }
  const nodesByAddress = new Map<string, Node>()
  /** `from>to` of each cut direction. */
  const cuts = new Set<string>()
  let addressesGiven = 0
  let linksOpened = 0

  const chance = (probability: number): boolean => probability > 0 && random.unit() < probability
  const between = (min: number, max: number): number => (max > min ? min + random.unit() * (max - min) : min)
  const latencyMs = (): number => between(conditions.latencyMsMin, conditions.latencyMsMax)
  const detectionMs = (): number => between(0, conditions.detectionMsMax)
  const isCut = (from: Node, to: Node): boolean => cuts.has(`${from.address}>${to.address}`)
  const isApart = (a: Node, b: Node): boolean => isCut(a, b) || isCut(b, a)

  /** Calls the node's handlers now, or when it is resumed; never once that life of it is over. */
  function tell(node: Node, call: (handlers: TransportHandlers) => void): void {
    const { life } = node
    if (life === null) return
    const callInLife = (): void => {
      if (node.life === life) call(life.handlers)
    }
    if (node.paused) node.held.push(callInLife)
    else callInLife()
  }

  // Links

  function createEnd(node: Node, peer: Node, direction: Link['direction']): LinkEnd {
    linksOpened += 1
    const link: Link = { id: linksOpened as LinkId, key: peer.key, address: peer.address, direction }
    const end = { node, link, open: false, up: true, closed: false } as LinkEnd
    const createFlow = (channel: Channel): Flow => ({ from: end, channel, frames: [], bytesUnderWay: 0, full: false, scheduled: false })
    return Object.assign(end, { outgoing: { control: createFlow('control'), bulk: createFlow('bulk') } })
  }

  function openLink(dialer: Node, acceptor: Node, ended: () => void): void {
    const near = createEnd(dialer, acceptor, 'outbound')
    const far = createEnd(acceptor, dialer, 'inbound')
    near.peer = far
    far.peer = near
    for (const end of [near, far]) end.node.endsById.set(end.link.id, end)
    openEnd(far)
    clock.after(latencyMs(), () => {
      openEnd(near)
      ended()
    })
  }

  function openEnd(end: LinkEnd): void {
    if (!end.up) return
    tell(end.node, (handlers) => {
      if (!end.up) return
      end.open = true
      handlers.linkOpened(end.link)
      handlers.addressFound(end.link.key, end.link.address)
    })
    for (const flow of Object.values(end.peer.outgoing)) pump(flow)
  }

  /** The link carries nothing from now on; each end is told after its own time. */
  function breakLink(end: LinkEnd, reason: string, afterMs: number, peerReason: string, peerAfterMs: number): void {
    if (!end.up) return
    for (const [side, why, wait] of [
      [end, reason, afterMs],
      [end.peer, peerReason, peerAfterMs],
    ] as const) {
      side.up = false
      clock.after(wait, () => endClosed(side, why))
    }
  }

  function endClosed(end: LinkEnd, reason: string): void {
    end.node.endsById.delete(end.link.id)
    tell(end.node, (handlers) => {
      if (!end.open || end.closed) return
      end.closed = true
      handlers.linkClosed(end.link.id, reason)
    })
  }

  function endsOf(node: Node): LinkEnd[] {
    return [...node.endsById.values()].filter((end) => end.up)
  }

  /** Delivers the frames of a flow in order, each at its time, as long as the path and the receiver allow. */
  function pump(flow: Flow): void {
    const head = flow.frames[0]
    if (head === undefined || flow.scheduled) return
    flow.scheduled = true
    clock.after(Math.max(0, head.dueAt - clock.monotonic()), () => {
      flow.scheduled = false
      const { from } = flow
      const to = from.peer
      if (!from.up || !to.open || to.node.paused || isCut(from.node, to.node)) return
      if (chance(conditions.linkReset)) return breakLink(from, 'the connection was reset', latencyMs(), 'the connection was reset', 0)
      flow.frames.shift()
      flow.bytesUnderWay -= head.bytes.length
      tell(to.node, (handlers) => handlers.message(to.link.id, flow.channel, head.bytes))
      if (flow.full && flow.bytesUnderWay <= conditions.windowBytes / 2 && from.up) {
        flow.full = false
        tell(from.node, (handlers) => {
          if (from.up) handlers.drained(from.link.id, flow.channel)
        })
      }
      pump(flow)
    })
  }

  // Dialing

  /**
   * Tries `addresses` one after the other from where `from` stands, and gives `done` the first node there that answers and
   * that `accepts`, or null.
   */
  function reach(from: Node, addresses: readonly string[], accepts: (to: Node) => boolean, done: (to: Node | null) => void): void {
    const { life } = from
    const tryNext = (index: number): void => {
      const address = addresses[index]
      if (address === undefined || life === null || from.life !== life) return done(null)
      const target = nodesByAddress.get(address)
      const silent = target !== undefined && (isApart(from, target) || target.paused)
      clock.after(silent ? dialMsMax : latencyMs() + latencyMs(), () => {
        const to = nodesByAddress.get(address)
        if (from.life !== life) return done(null)
        if (to === undefined || to.life === null || to.paused || isApart(from, to)) return tryNext(index + 1)
        if (to.key === from.key) {
          if (to !== from) tell(from, (handlers) => handlers.addressFound(to.key, to.address))
          return tryNext(index + 1)
        }
        return accepts(to) ? done(to) : tryNext(index + 1)
      })
    }
    tryNext(0)
  }

  function hasLink(node: Node, key: PublicKey): boolean {
    return [...node.endsById.values()].some((end) => end.link.key === key)
  }

  // Gossip

  function neighbours(node: Node): LinkEnd[] {
    const endsByKey = new Map<PublicKey, LinkEnd>()
    for (const end of endsOf(node)) {
      const { key } = end.link
      const isBoth = node.life?.handlers.mayGossip(key) === true && end.peer.node.life?.handlers.mayGossip(node.key) === true
      if (end.open && isBoth && !endsByKey.has(key)) endsByKey.set(key, end)
    }
    return [...endsByKey.values()]
  }

  /** Whether the message is new to the node; it is not from now on. */
  function noteSeen(node: Node, id: string): boolean {
    const now = clock.monotonic()
    for (const [old, at] of node.seen) {
      if (now - at < seenMs) break
      node.seen.delete(old)
    }
    if (node.seen.has(id)) return false
    node.seen.set(id, now)
    return true
  }

  function spread(node: Node, id: string, bytes: Uint8Array, except: PublicKey | null): void {
    for (const end of neighbours(node)) {
      if (end.link.key === except) continue
      const copies = chance(conditions.gossipLoss) ? 0 : chance(conditions.gossipDuplication) ? 2 : 1
      for (let copy = 0; copy < copies; copy += 1) {
        clock.after(latencyMs() + between(0, conditions.gossipDelayMsMax), () => receiveGossip(end.peer, id, bytes))
      }
    }
  }

  function receiveGossip(end: LinkEnd, id: string, bytes: Uint8Array): void {
    const { node, peer } = end
    if (!end.up || isCut(peer.node, node)) return
    tell(node, (handlers) => {
      if (!end.open || !noteSeen(node, id)) return
      if (handlers.gossip(end.link.key, new Uint8Array(bytes)) === 'accept') spread(node, id, bytes, end.link.key)
    })
  }

  // Nodes

  function crash(node: Node): void {
    node.life = null
    node.held = []
    node.paused = false
    node.dialing.clear()
    node.seen.clear()
    for (const end of endsOf(node)) {
      // A killed process resets its connections; a machine without power says nothing.
      breakLink(end, '', 0, 'the connection was reset', chance(0.5) ? latencyMs() : detectionMs())
    }
    node.endsById.clear()
  }

  function transportOf(node: Node): MemoryTransport {
    return {
      address: node.address,
      start(handlers) {
        if (node.life === null) {
          node.life = { handlers }
          if (conditions.discovery) announce(node)
        }
        return Promise.resolve()
      },
      async stop() {
        const { life } = node
        if (life === null) return
        // Also those that are dead and whose death this side was still to notice.
        const ends = [...node.endsById.values()]
        await Promise.resolve()
        for (const end of ends) {
          breakLink(end, '', 0, 'the peer closed the connection', latencyMs())
          if (end.open && !end.closed) life.handlers.linkClosed(end.link.id, 'this side stopped')
          end.closed = true
        }
        node.endsById.clear()
        node.dialing.clear()
        node.held = []
        node.life = null
      },
      addresses: () => (node.life === null ? [] : [node.address]),
      dial(key, addresses) {
        const { life } = node
        if (life === null || (key !== null && (hasLink(node, key) || node.dialing.has(key)))) return Promise.resolve()
        if (key !== null) node.dialing.add(key)
        const { promise, resolve } = Promise.withResolvers<void>()
        const accepts = (to: Node): boolean => {
          if (key === null ? hasLink(node, to.key) || node.dialing.has(to.key) : key !== to.key) return false
          return life.handlers.mayConnect(to.key) && to.life?.handlers.mayConnect(node.key) === true
        }
        const ended = (): void => {
          if (key !== null && node.life === life) node.dialing.delete(key)
          resolve()
        }
        reach(node, addresses, accepts, (to) => {
          if (to === null) ended()
          else openLink(node, to, ended)
        })
        return promise
      },
      send(id, channel, bytes) {
        assert(bytes.length <= frameBytesMax, `a frame of ${bytes.length} bytes is over the limit of ${frameBytesMax}`)
        const end = node.endsById.get(id)
        if (end === undefined || !end.up) return true
        const flow = end.outgoing[channel]
        flow.frames.push({ bytes: new Uint8Array(bytes), dueAt: clock.monotonic() + latencyMs() })
        flow.bytesUnderWay += bytes.length
        flow.full ||= flow.bytesUnderWay >= conditions.windowBytes
        pump(flow)
        return !flow.full
      },
      close(id, reason) {
        const end = node.endsById.get(id)
        if (end !== undefined)
          breakLink(end, reason, 0, 'the peer closed the connection', isApart(node, end.peer.node) ? detectionMs() : latencyMs())
      },
      publish(bytes) {
        assert(bytes.length <= gossipBytesMax, `a gossip message of ${bytes.length} bytes is over the limit of ${gossipBytesMax}`)
        const copy = new Uint8Array(bytes)
        const id = hashToId('selfsame/gossip', copy)
        if (node.life !== null && noteSeen(node, id)) spread(node, id, copy, null)
      },
      requestJoin(key, addresses, request) {
        const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
        const fail = (code: 'network-failed' | 'join-refused', message: string): void => reject(new SelfsameError(code, message))
        const refuse = (): void =>
          fail('join-refused', 'the other instance refused to let this one join: try again, or ask it for a new ticket')
        reach(
          node,
          addresses,
          (to) => to.key === key,
          (to) => {
            if (to === null)
              return fail('network-failed', `no instance answers at ${addresses.join(', ')}: check that it is running and reachable`)
            const admitted = to.joinOpen() || to.life?.handlers.mayConnect(node.key) === true
            const leave = admitted && request.length <= joinRequestBytesMax ? to.joins.enter(node.address) : null
            if (leave === null) return refuse()
            const answer = (response: Uint8Array | null): void => {
              cancelTimeout()
              leave()
              clock.after(latencyMs(), () => {
                if (response === null) refuse()
                else resolve(response)
              })
            }
            const cancelTimeout = clock.after(joinMsMax, () => answer(null))
            tell(to, (handlers) => void handlers.join(node.key, new Uint8Array(request)).then(answer, () => answer(null)))
          },
        )
        return promise
      },
    }
  }

  function announce(node: Node): void {
    for (const other of nodesByAddress.values()) {
      if (other === node || other.life === null) continue
      for (const [to, found] of [
        [other, node],
        [node, other],
      ] as const) {
        clock.after(latencyMs(), () => {
          if (!isCut(found, to)) tell(to, (handlers) => handlers.addressFound(found.key, found.address))
        })
      }
    }
  }

  function nodeAt(address: string): Node {
    const node = nodesByAddress.get(address)
    assert(node !== undefined, `no node was ever attached at ${address}`)
    return node
  }

  return {
    get conditions() {
      return conditions
    },
    change(changed) {
      conditions = { ...conditions, ...changed }
    },
    attach(key, { address = `/memory/${(addressesGiven += 1)}`, joinOpen = () => false } = {}) {
      const former = nodesByAddress.get(address)
      if (former !== undefined) crash(former)
      const node: Node = {
        address,
        key,
        joinOpen,
        joins: createJoinLimiter(clock),
        life: null,
        paused: false,
        held: [],
        endsById: new Map(),
        dialing: new Set(),
        seen: new Map(),
      }
      nodesByAddress.set(address, node)
      return transportOf(node)
    },
    detach(address) {
      crash(nodeAt(address))
    },
    setReachable(from, to, reachable, direction = 'both') {
      const [a, b] = [nodeAt(from), nodeAt(to)]
      for (const way of direction === 'both' ? [`${from}>${to}`, `${to}>${from}`] : [`${from}>${to}`]) {
        if (reachable) cuts.delete(way)
        else cuts.add(way)
      }
      for (const end of endsOf(a).filter((end) => end.peer.node === b)) {
        for (const flow of [...Object.values(end.outgoing), ...Object.values(end.peer.outgoing)]) pump(flow)
        // TCP gives up in each direction by itself; one end that gave up is enough for the link to be dead.
        if (!reachable) {
          clock.after(detectionMs(), () => {
            if (isApart(a, b)) breakLink(end, 'the connection timed out', 0, 'the connection timed out', detectionMs())
          })
        }
      }
    },
    pause(address) {
      nodeAt(address).paused = true
    },
    resume(address) {
      const node = nodeAt(address)
      const held = node.held
      node.held = []
      node.paused = false
      for (const call of held) call()
      for (const end of endsOf(node)) for (const flow of Object.values(end.peer.outgoing)) pump(flow)
    },
  }
}
