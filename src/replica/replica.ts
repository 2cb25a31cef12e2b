/**
 * The replica: one instance's whole engine behind one face. Wires the commit loop, the conversation with peers, the
 * dialer, presence and reading together; a daemon gives it a store and a transport, a simulator gives it others.
 */
import { SelfsameError } from '../core/index.ts'
import type { Clock, DocumentId, FeedId, InstanceId, Logger, PublicKey, Random, SigningKey } from '../core/index.ts'
import type { JsonObject } from '../document/index.ts'
import type { MemberTable } from '../membership/index.ts'
import type { Link, LinkId, Transport, TransportHandlers } from '../network/index.ts'
import type { Store } from '../storage/index.ts'
import { Coherence } from './coherence.ts'
import { coverageOf, standingOf } from './coverage.ts'
import type { Coverage, CoverageSource, Standing } from './coverage.ts'
import { Dialer } from './dialer.ts'
import type { LocalWrite, WriteOutcome } from './draft.ts'
import { Engine } from './engine.ts'
import { EvidenceBook } from './evidence.ts'
import { MembershipDesk } from './membership-desk.ts'
import { PresenceBoard } from './presence-board.ts'
import { Reader } from './reader.ts'
import { RepairDesk } from './repair.ts'
import type { RebuildFacts } from './rebuild.ts'
import { Sync } from './sync.ts'
import type { Identity } from './writer.ts'

/** Milliseconds of quiet after which housekeeping (snapshots) is done. */
const idleMs = 1_000
/** Milliseconds in which connected peers take in a record that they were sent. */
const toldMs = 500
/** Milliseconds for which a read waits for a rebuild. */
const wholeMs = 5_000
/** The name of the meta row that is there while a person wants to be offline. */
const pausedName = 'network-paused'

export interface ReplicaOptions {
  readonly openStore: () => Promise<Store>
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  /** The logger of a room or part. */
  readonly logger: (room: string) => Logger
  readonly identity: Identity
  /** Name and version of this program. */
  readonly program: string
  /** Bytes that live documents may take in memory. */
  readonly cacheBytes: number
  /** Multiaddrs with peer ids to dial besides what the address book knows. */
  readonly bootstrap: readonly string[]
  /** Multiaddrs to announce besides those listened on. */
  readonly announce: readonly string[]
  /** The agent's root key, where it is on this machine: read each time, because it can be taken away meanwhile. */
  readonly rootKey: () => SigningKey | null
  /** Called once with what cannot be gone on from. */
  readonly fatal: (error: unknown) => void
}

export interface WriteReceipt extends WriteOutcome {
  readonly asked: number
  /** Instances that hold it durably and applied, this one included. */
  readonly held: number
}

/** An instance other than this one, as far as is known. */
export interface PeerState {
  readonly instance: InstanceId
  readonly state: 'connected' | 'connecting' | 'offline'
  readonly address: string | null
  /** Who dialed: `inbound` is proof that it can reach us. */
  readonly direction: Link['direction'] | null
  readonly program: string | null
  readonly roundTripMilliseconds: number | null
  readonly clockAheadMilliseconds: number | null
  /** When it told its frontier last, milliseconds since the Unix epoch. */
  readonly toldAt: number | null
  /** Envelopes that it lacks, and that it has and we lack, by what it told last; null where it never told. */
  readonly behind: number | null
  readonly ahead: number | null
}

interface Waiter {
  readonly feed: FeedId
  readonly sequence: number
  readonly asked: number
  done(): void
}

export class Replica {
  readonly #options: ReplicaOptions
  readonly #engine: Engine
  readonly #sync: Sync
  readonly #dialer: Dialer
  readonly #presence: PresenceBoard
  readonly reader: Reader
  /** What was kept aside or turned away here, and why. */
  readonly evidence: EvidenceBook
  /** Whether all show the same. It has to be started. */
  readonly coherence: Coherence
  /** Finds what the disk has damaged, and has it written again. */
  readonly repair: RepairDesk
  /** What this instance does to the membership. */
  readonly membership: MembershipDesk
  readonly #waiters = new Set<Waiter>()
  readonly #linksOpened = new Map<LinkId, { readonly key: PublicKey; readonly at: number }>()
  readonly #changeListeners = new Set<() => void>()
  #network: 'stopped' | 'running' = 'stopped'
  #transition: Promise<void> = Promise.resolve()
  #cancelIdle: (() => void) | null = null

  private constructor(options: ReplicaOptions, engine: Engine) {
    const { clock, identity, logger, random, transport } = options
    this.#options = options
    this.#engine = engine
    this.reader = new Reader(engine, clock)
    this.evidence = new EvidenceBook(engine, clock)
    this.membership = new MembershipDesk({
      engine,
      identity,
      clock,
      random,
      logger: logger('membership'),
      rootKey: options.rootKey,
      addresses: () => [...new Set([...options.announce, ...this.addresses()])],
      addressesOfOthers: () => new Map(engine.members.members.map(({ key }) => [key, this.#dialer.addressesOf(key)])),
      whole: () => this.whole(),
      joinRefused: (key, refusal) => this.evidence.peerRefused('refused-join', key, refusal),
    })
    this.#dialer = new Dialer({
      engine,
      transport,
      clock,
      random,
      logger: logger('network'),
      identity,
      bootstrap: options.bootstrap,
      announce: options.announce,
      isConnected: (key) => this.#sync.isConnected(key),
      sendCards: (cards) => this.#sync.sendCards(cards),
    })
    this.#presence = new PresenceBoard({
      identity,
      clock,
      members: () => engine.members,
      publish: (card) => {
        if (this.#network === 'running') this.#sync.publish({ type: 'presence', card })
      },
    })
    this.coherence = new Coherence({
      engine,
      reader: this.reader,
      identity,
      clock,
      random,
      logger: logger('replica'),
      publish: (message) => {
        if (this.#network === 'running') this.#sync.publish(message)
      },
      connected: () => new Set(Array.from(this.#sync.sessions()).flatMap(({ member, ready }) => (ready ? [member.instance] : []))),
    })
    this.repair = new RepairDesk({ engine, clock, logger: logger('storage'), ask: () => this.#sync.plan() })
    this.#sync = new Sync({
      engine,
      transport,
      clock,
      random,
      logger: logger('replica'),
      identity,
      program: options.program,
      addressCards: () => this.#dialer.cards(),
      cardsReceived: (cards) => this.#dialer.receiveCards(cards),
      presenceReceived: (card) => this.#presence.receive(card),
      attestationReceived: (attestation) => this.coherence.receiveAttestation(attestation),
      attestRequestReceived: (request) => this.coherence.receiveRequest(request),
      progressTold: () => this.#checkWaiters(),
      caseSeen: (id) => this.evidence.caseSeen(id),
      repair: this.repair,
      sessionReady: () => {
        this.#presence.greet()
        this.coherence.greet()
      },
    })
    engine.onCommitted(({ changed }) => {
      if (changed.length === 0) return
      for (const listener of this.#changeListeners) listener()
      this.#idleSoon()
    })
    this.repair.start()
  }

  static async open(options: ReplicaOptions): Promise<Replica> {
    const engine = await Engine.open({
      openStore: options.openStore,
      clock: options.clock,
      random: options.random,
      logger: options.logger('storage'),
      identity: options.identity,
      cacheBytes: options.cacheBytes,
      fatal: options.fatal,
    })
    return new Replica(options, engine)
  }

  get members(): MemberTable {
    return this.#engine.members
  }

  get identity(): Identity {
    return this.#options.identity
  }

  get isReadOnly(): boolean {
    return this.#engine.isReadOnly
  }

  /** Milliseconds that other instances' clocks run ahead of ours, where that is more than a clock may. */
  get clocksAhead(): ReadonlyMap<InstanceId, number> {
    return this.#engine.intake.clocksAhead
  }

  /** Feeds stored and not wholly applied: something they name has not arrived. */
  get waitingFeeds(): number {
    return this.#engine.waitingFeeds
  }

  get store(): Store {
    return this.#engine.store
  }

  /** Whether a person wants this instance to be offline; a restart does not change that. */
  get isPaused(): boolean {
    return this.#engine.store.meta(pausedName) !== undefined
  }

  /** Goes offline on purpose, until `resume`. */
  async pause(): Promise<void> {
    await this.stopNetwork()
    await this.#engine.put({ meta: new Map([[pausedName, new Uint8Array()]]) })
  }

  /** Goes online again. Throws what `Transport.start` throws. */
  async resume(): Promise<void> {
    await this.#engine.put({ meta: new Map([[pausedName, null]]) })
    await this.startNetwork()
  }

  /** Connects: listens, discovers and dials. Throws what `Transport.start` throws. */
  startNetwork(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#network === 'running') return
      await this.#options.transport.start(this.#handlers())
      this.#network = 'running'
      this.#sync.start()
      this.#dialer.start()
    })
  }

  /** Disconnects. Writing and reading go on; what was written meanwhile is exchanged after the next start. */
  stopNetwork(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#network === 'stopped') return
      this.#network = 'stopped'
      this.#dialer.stop()
      this.#sync.stop()
      await this.#options.transport.stop()
    })
  }

  /** Starting and stopping the network wait for each other: asked for at once, the last one wins. */
  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#transition.then(step)
    this.#transition = done.catch(() => {})
    return done
  }

  get isNetworkRunning(): boolean {
    return this.#network === 'running'
  }

  addresses(): readonly string[] {
    return this.#options.transport.addresses()
  }

  /** Stops the network, waits for what is under way, closes the store. */
  async close(): Promise<void> {
    await this.stopNetwork()
    this.coherence.stop()
    this.#presence.stop()
    this.repair.stop()
    this.#cancelIdle?.()
    await this.#engine.close()
  }

  /**
   * Carries out a request atomically; resolves once it is durable here and, if more `replicas` were asked for, once that
   * many instances hold it or `timeoutMs` has passed: the receipt tells how many do. Throws `SelfsameError`.
   */
  async write(write: LocalWrite, replicas: number = 1, timeoutMs: number = 0): Promise<WriteReceipt> {
    const outcome = await this.#engine.write(write)
    const { place } = outcome
    if (place === null) return { ...outcome, asked: replicas, held: 1 }
    if (replicas > 1) await this.#held(place.feed, place.sequence, replicas, timeoutMs)
    return { ...outcome, asked: replicas, held: 1 + this.#sync.told.holders(place.feed, place.sequence) }
  }

  /**
   * Replaces the key of this instance, or makes of this home, a copy, an instance of its own: then `cloneName` is what it is called.
   * Resolves once that is durable here and the others that are connected were told; this replica is then to be closed and opened with
   * the new identity. Throws `unavailable` where there are others and none is connected: they know only the old key, and must hear it from that.
   */
  async replaceKey(key: SigningKey, cloneName: string | null): Promise<void> {
    const { clock } = this.#options
    const others = this.peers()
    if (others.length > 0 && !others.some(({ state }) => state === 'connected')) {
      throw new SelfsameError(
        'unavailable',
        'no other instance is connected: one has to hear of the new key from the old one. Connect, then try again',
      )
    }
    await (cloneName === null ? this.membership.rotateKey(key) : this.membership.clone(key, cloneName))
    await new Promise<void>((resolve) => void clock.after(toldMs, resolve))
  }

  /** Calls `listener` after each commit that changed a document. */
  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener)
    return () => this.#changeListeners.delete(listener)
  }

  setPresence(state: JsonObject | null): void {
    this.#presence.set(state)
  }

  presence(): readonly { readonly instance: InstanceId; readonly state: JsonObject }[] {
    return this.#presence.states()
  }

  /** Calls `listener` after each commit with how long the store took for it, milliseconds. */
  onCommit(listener: (milliseconds: number) => void): () => void {
    return this.#engine.onCommitted(({ milliseconds }) => {
      if (milliseconds !== null) listener(milliseconds)
    })
  }

  /** How far feeds are applied now, here and at the others, as `coverage` takes it. */
  standing(): Standing {
    return standingOf(this.#coverageSource)
  }

  /** What other members, and this one, still lack of a standing. Rejects with a `SelfsameError` while the store cannot be read. */
  coverage(standing: Standing): Promise<Coverage> {
    return coverageOf(this.#coverageSource, standing)
  }

  /** How often writes that had not seen each other were merged since this process started, by document. */
  get conflicts(): ReadonlyMap<DocumentId, number> {
    return this.#engine.conflicts
  }

  /** How much of what is stored is shown, of 1, while that is being built anew; null where it is whole. */
  get rebuildShare(): number | null {
    return this.#engine.isRebuilding ? this.#engine.ledger.appliedShare : null
  }

  /** The rebuild of what is derived that ended last since this process started. */
  get lastRebuild(): RebuildFacts | null {
    return this.#engine.lastRebuild
  }

  /** Resolves when what is shown is whole: at once, but while it is being built anew. Rejects with `unavailable` where that takes longer. */
  async whole(): Promise<void> {
    const { clock } = this.#options
    if (!this.#engine.isRebuilding) return
    await new Promise<void>((resolve, reject) => {
      const cancel = clock.after(wholeMs, () => {
        const percent = Math.floor(100 * this.#engine.ledger.appliedShare)
        reject(
          new SelfsameError(
            'unavailable',
            `the memory is being built anew from its envelopes (${percent}% is there): try again in a moment`,
          ),
        )
      })
      const read = this.#engine.readDurably(
        () => false,
        () => cancel(),
      )
      read.then(resolve, reject)
    })
  }

  /** Whether the store can be read, and for how long, in milliseconds, the commit under way has been. */
  get progress(): { readonly isReadable: boolean; readonly commitMilliseconds: number } {
    const { commitMilliseconds, isReadable } = this.#engine
    return { isReadable, commitMilliseconds }
  }

  /** Feeds, and envelopes of them, that are stored. */
  get stored(): { readonly feeds: number; readonly envelopes: number } {
    const frontier = this.#engine.frontier()
    return { feeds: frontier.size, envelopes: [...frontier.values()].reduce((sum, { have }) => sum + have, 0) }
  }

  get #coverageSource(): CoverageSource {
    const { clock, identity } = this.#options
    return { engine: this.#engine, clock, own: identity.instance, told: () => this.#sync.told.all() }
  }

  peers(): readonly PeerState[] {
    const { identity } = this.#options
    const told = this.#sync.told.all()
    return this.#engine.members.members
      .filter((member) => member.instance !== identity.instance)
      .map(({ instance, key }) => {
        const sessions = [...this.#sync.sessions()].filter((session) => session.member.instance === instance)
        const session = sessions.find((item) => item.ready) ?? sessions[0]
        const known = told.get(instance)
        return {
          instance,
          state: session?.ready === true ? 'connected' : session !== undefined || this.#isTrying(key) ? 'connecting' : 'offline',
          address: session?.link.address ?? null,
          direction: session?.link.direction ?? null,
          program: session?.program ?? known?.program ?? null,
          roundTripMilliseconds: session?.roundTripMilliseconds ?? null,
          clockAheadMilliseconds: session?.clockAheadMilliseconds ?? null,
          toldAt: known?.at ?? null,
          ...(known === undefined ? { behind: null, ahead: null } : this.#difference(known.theirs)),
        }
      })
  }

  #idleSoon(): void {
    this.#cancelIdle ??= this.#options.clock.after(idleMs, () => {
      this.#cancelIdle = null
      if (this.#engine.idle(false)) this.#idleSoon()
    })
  }

  #handlers(): TransportHandlers {
    return {
      mayConnect: (key) => {
        if (this.#engine.members.isKnownKey(key)) return true
        this.evidence.peerRefused('refused-peer', key, 'no member has its key')
        return false
      },
      mayGossip: (key) => this.#engine.members.memberByKey(key) !== undefined,
      linkOpened: (link: Link) => {
        if (this.#engine.members.memberByKey(link.key) === undefined) {
          this.evidence.peerRefused('refused-peer', link.key, 'its instance lost its place, or has another key now', link.address)
        }
        this.#linksOpened.set(link.id, { key: link.key, at: this.#options.clock.monotonic() })
        this.#sync.linkOpened(link)
      },
      linkClosed: (link, reason) => {
        this.#sync.linkClosed(link, reason)
        const opened = this.#linksOpened.get(link)
        this.#linksOpened.delete(link)
        if (opened !== undefined) this.#dialer.linkLost(opened.key, this.#options.clock.monotonic() - opened.at)
      },
      message: (link, channel, bytes) => this.#sync.message(link, channel, bytes),
      drained: (link, channel) => this.#sync.drained(link, channel),
      gossip: (_from, bytes) => this.#sync.gossip(bytes),
      join: (from, request) => this.membership.judgeJoin(from, request),
      addressFound: (key, address) => {
        if (key === this.#options.identity.key.publicKey) this.#noteOwnKey(address)
        else this.#dialer.addressFound(key, address)
      },
    }
  }

  #noteOwnKey(address: string): void {
    if (!this.evidence.ownKeyFound(address)) return
    this.#options.logger('network').warn({ address }, 'a daemon with the key of this instance answers elsewhere: its home was copied')
  }

  #isTrying(key: PublicKey): boolean {
    return this.#network === 'running' && this.#dialer.addressesOf(key).length > 0
  }

  #difference(theirs: ReadonlyMap<FeedId, { readonly have: number }>): { behind: number; ahead: number } {
    let behind = 0
    let ahead = 0
    const ours = this.#engine.frontier()
    for (const entry of ours.values()) behind += Math.max(0, entry.have - (theirs.get(entry.feed)?.have ?? 0))
    for (const [feed, entry] of theirs) ahead += Math.max(0, entry.have - (ours.get(feed)?.have ?? 0))
    return { behind, ahead }
  }

  #held(feed: FeedId, sequence: number, asked: number, timeoutMs: number): Promise<void> {
    if (1 + this.#sync.told.holders(feed, sequence) >= asked) return Promise.resolve()
    return new Promise((resolve) => {
      const waiter: Waiter = {
        feed,
        sequence,
        asked,
        done: () => {
          this.#waiters.delete(waiter)
          cancel()
          resolve()
        },
      }
      const cancel = this.#options.clock.after(timeoutMs, () => waiter.done())
      this.#waiters.add(waiter)
    })
  }

  #checkWaiters(): void {
    for (const waiter of this.#waiters) {
      if (1 + this.#sync.told.holders(waiter.feed, waiter.sequence) >= waiter.asked) waiter.done()
    }
  }
}
