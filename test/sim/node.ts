/** One simulated instance: a home (identity and disk) and, while it runs, a replica on the simulated network. */
import { silentLogger } from '../../src/core/index.ts'
import type { Clock, EnvelopeHash, SigningKey } from '../../src/core/index.ts'
import { decodeHeader } from '../../src/feed/index.ts'
import type { MembershipRecord } from '../../src/membership/index.ts'
import type { MemoryNetwork, MemoryTransport } from '../../src/network/index.ts'
import { Replica, addressBookToMeta } from '../../src/replica/index.ts'
import type { Identity } from '../../src/replica/index.ts'
import { decodeControl, decodeGossip } from '../../src/replica/messages.ts'
import { CommitFailure, createMemoryStore } from '../../src/storage/index.ts'
import type { MemoryStore, Store, WriteBatch } from '../../src/storage/index.ts'
import type { SeededRandom, VirtualTime } from './virtual-time.ts'

/** What a whole simulation shares. */
export interface World {
  readonly time: VirtualTime
  readonly random: SeededRandom
  readonly network: MemoryNetwork
  readonly records: readonly MembershipRecord[]
  /** Addresses by key, as a ticket or the configuration would give them. */
  readonly addresses: ReadonlyMap<string, readonly string[]>
  /** Every envelope that any disk ever held, by its place: an honest group never puts two into one. */
  readonly places: Map<string, EnvelopeHash>
  /** What was found broken. The first one ends the run. */
  readonly faults: string[]
  /** Probability that a commit fails without a word whether it is on the disk. */
  readonly commitFailure: number
  /** Memory for live documents: with none, each is loaded anew for every use. */
  readonly cacheBytes: number
}

export interface NodeOptions {
  readonly name: string
  readonly identity: { readonly agent: Identity['agent']; readonly instance: Identity['instance']; readonly key: SigningKey }
  readonly address: string
  readonly skewMs: number
}

export class SimNode {
  readonly name: string
  readonly #world: World
  readonly #options: NodeOptions
  readonly #random: SeededRandom
  #disk: MemoryStore
  #life: { alive: boolean; replica: Replica | null; readonly transport: MemoryTransport } | null = null
  /** The commit on its way to the disk. */
  #pending: (() => void) | null = null
  #lives = 0

  constructor(world: World, options: NodeOptions, disk?: MemoryStore) {
    this.#world = world
    this.#options = options
    this.name = options.name
    this.#random = world.random.fork(`node ${options.name}`)
    this.#disk = disk ?? createMemoryStore()
  }

  get identity(): NodeOptions['identity'] {
    return this.#options.identity
  }

  get address(): string {
    return this.#options.address
  }

  /** The replica, while it runs. */
  get replica(): Replica | null {
    return this.#life?.replica ?? null
  }

  get isUp(): boolean {
    return this.#life !== null
  }

  /** What is on the disk. */
  get disk(): MemoryStore {
    return this.#disk
  }

  /** A copy of the home as it is on the disk now. */
  copyOfDisk(): MemoryStore {
    return this.#disk.clone()
  }

  /** Writes the membership records and the known addresses into a new home. */
  async found(): Promise<void> {
    const known = new Map([...this.#world.addresses].map(([key, addresses]) => [key as Identity['key']['publicKey'], addresses]))
    const batch: WriteBatch = {
      records: this.#world.records.map(({ hash, bytes }) => ({ hash, bytes })),
      meta: addressBookToMeta(known, []),
    }
    await this.#disk.commit(batch)
  }

  async start(): Promise<void> {
    const { network } = this.#world
    this.#lives += 1
    const transport = network.attach(this.#options.identity.key.publicKey, { address: this.#options.address })
    const publish = transport.publish.bind(transport)
    const send = transport.send.bind(transport)
    transport.publish = (bytes) => {
      this.#checkGossip(bytes)
      publish(bytes)
    }
    transport.send = (link, channel, bytes) => {
      if (channel === 'control') this.#checkControl(bytes)
      return send(link, channel, bytes)
    }
    const life = { alive: true, replica: null as Replica | null, transport }
    this.#life = life
    const replica = await Replica.open({
      openStore: () => this.#openStore(life),
      transport,
      clock: this.#clockOf(life),
      random: this.#random.fork(`life ${this.#lives}`),
      logger: () => silentLogger,
      identity: this.#options.identity,
      program: 'simulation',
      cacheBytes: this.#world.cacheBytes,
      bootstrap: [],
      announce: [],
      rootKey: () => null,
      fatal: (error) =>
        this.#fault(`${this.name} cannot go on: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`),
    })
    life.replica = replica
    await replica.startNetwork()
  }

  /** The process dies now. A commit on its way may or may not have reached the disk. */
  crash(): void {
    const life = this.#life
    if (life === null) return
    if (this.#pending !== null && this.#random.chance(0.5)) this.#pending()
    this.#pending = null
    life.alive = false
    this.#life = null
    this.#world.network.detach(this.#options.address)
    this.#disk = this.#disk.clone()
  }

  /** The process ends in an orderly way. */
  async stop(): Promise<void> {
    const life = this.#life
    if (life === null) return
    await life.replica?.close()
    life.alive = false
    this.#life = null
    this.#disk = this.#disk.clone()
  }

  /** The home is replaced by an older copy of itself; the node must be down. */
  restore(backup: MemoryStore): void {
    this.#disk = backup.clone()
  }

  #fault(what: string): void {
    this.#world.faults.push(what)
  }

  /** A clock whose timers die with the process. */
  #clockOf(life: { readonly alive: boolean }): Clock {
    const clock = this.#world.time.clock(this.#options.skewMs)
    return {
      ...clock,
      after: (milliseconds, callback) =>
        clock.after(milliseconds, () => {
          if (life.alive) callback()
        }),
    }
  }

  async #openStore(life: { readonly alive: boolean }): Promise<Store> {
    const disk = this.#disk.clone({ commitVia: (apply) => this.#commit(life, apply) })
    this.#disk = disk
    const commit = disk.commit.bind(disk)
    disk.commit = async (batch) => {
      await commit(batch)
      this.#checkCommit(batch, disk)
    }
    return disk
  }

  /** The disk's part of a commit: it lands after a while, is confirmed after another, and sometimes is not confirmed at all. */
  #commit(life: { readonly alive: boolean }, apply: () => void): Promise<void> {
    const { time, commitFailure } = this.#world
    return new Promise((resolve, reject) => {
      const land = (): void => {
        this.#pending = null
        apply()
      }
      this.#pending = land
      time.after(this.#random.unit() * 4, () => {
        if (!life.alive || this.#pending !== land) return
        const fails = this.#random.chance(commitFailure)
        if (fails && this.#random.chance(0.5)) this.#pending = null
        else land()
        time.after(this.#random.unit() * 2, () => {
          if (!life.alive) return
          if (fails) reject(new CommitFailure('unknown', 'the simulated disk did not confirm'))
          else resolve()
        })
      })
    })
  }

  /** Nothing is gossiped before it is on the disk. */
  #checkGossip(bytes: Uint8Array): void {
    const message = decodeGossip(bytes)
    if (!message.ok || message.value.type !== 'envelope') return
    const { hash, header } = message.value.envelope
    if ((this.#disk.locate(hash)?.position ?? null) === null)
      this.#fault(`${this.name} gossiped ${header.feed}:${header.sequence} before it was durable`)
  }

  /** Nothing is acknowledged to a peer before it is on the disk. */
  #checkControl(bytes: Uint8Array): void {
    const message = decodeControl(bytes)
    if (!message.ok || message.value.type !== 'frontier') return
    const onDisk = new Map(this.#disk.feeds().map((row) => [row.feed, row]))
    for (const { applied, feed, have } of message.value.entries) {
      const row = onDisk.get(feed)
      if (row === undefined || row.have < have || row.applied < applied)
        this.#fault(`${this.name} told of ${feed}:${have} before it was durable`)
    }
  }

  /** What must hold of every commit, whoever made it. */
  #checkCommit(batch: WriteBatch, disk: Store): void {
    for (const envelope of batch.envelopes ?? []) {
      const place = `${envelope.feed}:${envelope.sequence}`
      const known = this.#world.places.get(place)
      if (known !== undefined && known !== envelope.hash) this.#fault(`${this.name} stores a second envelope in place ${place}`)
      this.#world.places.set(place, envelope.hash)
    }
    for (const row of batch.positions ?? []) {
      const [stored] = disk.envelopes(row.feed, row.sequence, row.sequence, 1)
      const header = stored === undefined ? undefined : decodeHeader(stored.headerBytes)
      if (header?.ok !== true) {
        this.#fault(`${this.name} applied what it does not hold`)
        continue
      }
      const before = [...header.value.deps, ...(header.value.previous === null ? [] : [header.value.previous])]
      for (const dep of before) {
        const position = disk.locate(dep)?.position ?? null
        if (position === null || position >= row.position)
          this.#fault(`${this.name} applied ${row.feed}:${row.sequence} before what it depends on`)
      }
    }
    for (const row of batch.quarantine ?? []) this.#fault(`${this.name} quarantined an honest update: ${row.reason}`)
  }
}
