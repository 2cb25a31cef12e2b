/**
 * One simulated instance: a home (identity and disk) and, while it runs, a replica on the simulated network. The process can
 * die, stop, freeze, and its clock can jump.
 */
import { SelfsameError, createSigningKey, silentLogger } from '../../src/core/index.ts'
import type { Clock, PublicKey, SigningKey } from '../../src/core/index.ts'
import type { Envelope } from '../../src/feed/index.ts'
import { cloneIdOf, memberTableFrom } from '../../src/membership/index.ts'
import type { MembershipRecord } from '../../src/membership/index.ts'
import type { MemoryTransport, TransportHandlers } from '../../src/network/index.ts'
import { Replica, addressBookToMeta } from '../../src/replica/index.ts'
import type { Identity } from '../../src/replica/index.ts'
import { encodeGossip } from '../../src/replica/messages.ts'
import type { MemoryStore } from '../../src/storage/index.ts'
import { SimDisk } from './disk.ts'
import type { DiskUser } from './disk.ts'
import type { SeededRandom } from './virtual-time.ts'
import { Witness, asNewer, newerMessage } from './witness.ts'
import type { World } from './world.ts'

export interface NodeOptions {
  readonly name: string
  readonly identity: Identity
  readonly skewMs: number
  /** The agent's root key, where it is on this machine. */
  readonly rootKey: SigningKey | null
}

/** Of a process, from its start to its end. */
interface Life extends DiskUser {
  alive: boolean
  replica: Replica | null
  handlers: TransportHandlers | null
  /** What it hears once it goes on; null: it is not frozen. */
  held: (() => void)[] | null
  /** Its key is being replaced: it starts anew with the new one before long. */
  isChangingKey: boolean
}

export class SimNode {
  readonly name: string
  readonly address: string
  readonly #world: World
  readonly #random: SeededRandom
  readonly #rootKey: SigningKey | null
  readonly disk: SimDisk
  #identity: Identity
  /** The identity that is about to take the place of the present one: a file that is synced before anyone hears of it. */
  #next: Identity | null = null
  #skewMs: number
  #life: Life | null = null
  #lives = 0
  /** Speaks a newer version of the protocol. */
  isNewer = false
  /** Messages sent, by what they are. */
  readonly sent = new Map<string, number>()

  constructor(world: World, { identity, name, rootKey, skewMs }: NodeOptions, store?: MemoryStore) {
    this.#world = world
    this.name = name
    this.address = `/memory/${name}`
    this.#identity = identity
    this.#skewMs = skewMs
    this.#rootKey = rootKey
    this.#random = world.random.fork(`node ${name}`)
    this.disk = new SimDisk(world, this.#random.fork('disk'), store)
    // The network knows the node from now on, so that paths to it can be cut.
    world.network.attach(identity.key.publicKey, { address: this.address })
  }

  get identity(): Identity {
    return this.#identity
  }

  /** The replica, while it runs. */
  get replica(): Replica | null {
    return this.#life?.replica ?? null
  }

  get isUp(): boolean {
    return this.#life !== null
  }

  /** Whether its key is being replaced right now. */
  get isChangingKey(): boolean {
    return this.#life?.isChangingKey === true
  }

  jump(milliseconds: number): void {
    this.#skewMs += milliseconds
  }

  /** Writes what a new home begins with. */
  async found(records: readonly MembershipRecord[], addresses: ReadonlyMap<PublicKey, readonly string[]>): Promise<void> {
    await this.disk.store.commit({
      records: records.map(({ bytes, hash }) => ({ bytes, hash })),
      meta: addressBookToMeta(addresses, []),
    })
  }

  /** Starts the process, as the daemon would; after a while again where the disk does not open. */
  async start(): Promise<void> {
    if (this.#life !== null) return
    this.#settleIdentity()
    const life = this.#newLife()
    this.#life = life
    this.#lives += 1
    const transport = this.#attach(life)
    try {
      const replica = await Replica.open({
        openStore: () => this.disk.open(life),
        transport,
        clock: this.#clockOf(life),
        random: this.#random.fork(`life ${this.#lives}`),
        logger: () => silentLogger,
        identity: this.#identity,
        program: 'simulation',
        cacheBytes: this.#world.cacheBytes,
        bootstrap: [],
        announce: [],
        rootKey: () => this.#rootKey,
        fatal: (error) => this.#ended(life, error),
      })
      if (!life.alive) return
      life.replica = replica
      await replica.startNetwork()
    } catch (error) {
      this.#ended(life, error)
    }
  }

  /** The process dies now, or the machine loses its power. */
  crash(power: boolean = false): void {
    const life = this.#life
    if (life === null) return
    life.alive = false
    this.#life = null
    this.#world.network.detach(this.address)
    this.disk.end(power)
  }

  /** The process ends in an orderly way. Resolves when it has. */
  async stop(): Promise<void> {
    const life = this.#life
    if (life === null) return
    await life.replica?.close()
    if (life.alive) this.crash()
  }

  /** The process is frozen: nothing reaches it until it goes on. */
  pause(): void {
    if (this.#life === null || this.#life.held !== null) return
    this.#life.held = []
    this.#world.network.pause(this.address)
  }

  resume(): void {
    const life = this.#life
    if (life === null || life.held === null) return
    const { held } = life
    life.held = null
    this.#world.network.resume(this.address)
    for (const callback of held) life.hear(callback)
  }

  /** Something that the process is asked to do: when it can hear it, if it lives then. */
  ask(callback: (replica: Replica) => void): void {
    const life = this.#life
    life?.hear(() => {
      if (life.replica !== null) callback(life.replica)
    })
  }

  /** An envelope comes by gossip, as from a copy of this home. */
  hearGossip(envelope: Envelope): void {
    this.#life?.handlers?.gossip(this.#identity.key.publicKey, encodeGossip({ type: 'envelopes', envelopes: [envelope] }))
  }

  /** Hears, as on one network, where another is. */
  findAddress({ address, identity }: SimNode): void {
    this.#life?.handlers?.addressFound(identity.key.publicKey, address)
  }

  /**
   * Replaces the key of the running instance or, with a name, makes of this home an instance of its own; then it starts anew. The steps and
   * their order are those of the daemon, and the process may die between any two.
   */
  async changeKey(cloneName: string | null): Promise<void> {
    const life = this.#life
    if (life === null || life.replica === null || this.#next !== null) return
    const key = createSigningKey(this.#random)
    const instance = cloneName === null ? this.#identity.instance : cloneIdOf(this.#identity.instance, key.publicKey)
    this.#next = { ...this.#identity, instance, key }
    life.isChangingKey = true
    try {
      await life.replica.replaceKey(key, cloneName)
    } catch (error) {
      life.isChangingKey = false
      if (life.alive && !(error instanceof SelfsameError && error.code === 'outcome-unknown')) this.#next = null
      throw error
    }
    if (!life.alive) return
    this.#world.note(cloneName === null ? 'rotated' : 'cloned')
    this.#settleIdentity()
    await this.stop()
    await this.start()
  }

  /** As the daemon does at its start: the next identity takes its place if the records say so, else it is forgotten. */
  #settleIdentity(): void {
    const next = this.#next
    this.#next = null
    if (next === null) return
    const table = memberTableFrom(next.agent, this.disk.copy().records())
    if (table.isKeyOf(next.instance, next.key.publicKey)) this.#identity = next
  }

  #newLife(): Life {
    const life: Life = {
      alive: true,
      replica: null,
      handlers: null,
      isChangingKey: false,
      held: null,
      hear: (callback) => {
        if (!life.alive) return
        if (life.held !== null) life.held.push(callback)
        else this.#guard(life, callback)
      },
      die: (power) => {
        if (life.alive) this.crash(power)
      },
      committed: (batch, store) => {
        if (life.alive) witness.committed(batch, store, life.replica)
      },
    }
    const witness = new Witness(this.#world, this.name)
    return life
  }

  /** Nothing that a process hears may make it throw, a disk that cannot be read apart: that ends it. */
  #guard(life: Life, callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.#ended(life, error)
    }
  }

  /** The process ended by itself. Whoever watches over it starts it again. */
  #ended(life: Life, error: unknown): void {
    if (!life.alive) return
    if (!isDiskError(error)) {
      return this.#world.fault(`${this.name} cannot go on: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    }
    this.#world.note('ended-by-disk')
    this.crash()
    this.#world.time.after(1_000, () => void this.start())
  }

  /** A clock whose timers die with the process. */
  #clockOf(life: Life): Clock {
    const clock = this.#world.time.clock(() => this.#skewMs)
    return { ...clock, after: (milliseconds, callback) => clock.after(milliseconds, () => life.hear(callback)) }
  }

  #attach(life: Life): MemoryTransport {
    const transport = this.#world.network.attach(this.#identity.key.publicKey, {
      address: this.address,
      joinOpen: () => life.replica?.membership.isJoinOpen() ?? false,
    })
    const witness = new Witness(this.#world, this.name)
    const publish = transport.publish.bind(transport)
    const send = transport.send.bind(transport)
    const start = transport.start.bind(transport)
    transport.start = (handlers) => {
      life.handlers = this.#guarded(life, handlers)
      return start(life.handlers)
    }
    transport.publish = (bytes) => {
      witness.gossiped(bytes, this.disk)
      this.#count('gossip', bytes)
      publish(this.isNewer ? asNewer(bytes) : bytes)
    }
    transport.send = (link, channel, bytes) => {
      this.#count(channel === 'control' ? witness.told(bytes, this.disk) : 'chunk', bytes)
      const drained = send(link, channel, this.isNewer ? asNewer(bytes) : bytes)
      if (this.isNewer && channel === 'control') send(link, channel, newerMessage)
      return drained
    }
    return transport
  }

  #count(what: string, bytes: Uint8Array): void {
    this.sent.set(what, (this.sent.get(what) ?? 0) + 1)
    this.#world.record(this.name, bytes)
  }

  #guarded(life: Life, handlers: TransportHandlers): TransportHandlers {
    return {
      ...handlers,
      linkOpened: (link) => this.#guard(life, () => handlers.linkOpened(link)),
      linkClosed: (link, reason) => {
        this.#world.note(`link: ${reason}`)
        this.#guard(life, () => handlers.linkClosed(link, reason))
      },
      message: (link, channel, bytes) => this.#guard(life, () => handlers.message(link, channel, bytes)),
      drained: (link, channel) => this.#guard(life, () => handlers.drained(link, channel)),
      gossip: (from, bytes) => {
        let verdict: ReturnType<TransportHandlers['gossip']> = 'ignore'
        this.#guard(life, () => (verdict = handlers.gossip(from, bytes)))
        return verdict
      },
    }
  }
}

function isDiskError(error: unknown): boolean {
  return error instanceof SelfsameError && error.code === 'storage-failed' && error.message.startsWith('the simulated disk')
}
