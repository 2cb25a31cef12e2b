/**
 * Sync: the conversation with every connected peer. First the membership records, then frontiers; whoever lacks
 * something asks one peer for it (`want`) and is answered in chunks. New envelopes travel by gossip besides, which may lose
 * anything: convergence is owed by frontiers and wants alone. Tells nothing that is not durable here.
 */
import { Allowance, bytesToId } from '../core/index.ts'
import type { Clock, FeedId, Logger, PublicKey, Random } from '../core/index.ts'
import { envelopeSize } from '../feed/index.ts'
import type { Envelope, FrontierEntry } from '../feed/index.ts'
import type { MembershipRecord } from '../membership/index.ts'
import type { Channel, GossipVerdict, Link, LinkId, Transport } from '../network/index.ts'
import type { EvidenceRow } from '../storage/index.ts'
import type { Attestation, AttestRequest } from './attestation.ts'
import type { Committed, Engine } from './engine.ts'
import { Gossiping } from './gossiping.ts'
import { decodeChunk, decodeControl, decodeGossip, encodeControl, encodeGossip, protocolVersion, wantRangesMax } from './messages.ts'
import type { AddressCard, ControlMessage, FeedRange, GossipMessage, PresenceCard } from './messages.ts'
import { Parole } from './parole.ts'
import { Answers } from './serving.ts'
import { authorKeyOf, provenEnvelopes } from './proof.ts'
import { RecordExchange } from './record-exchange.ts'
import { createSession, surplusOf } from './session.ts'
import type { Session } from './session.ts'
import { Telling } from './telling.ts'
import { ToldBoard } from './told-board.ts'
import { TwinWatch } from './twins.ts'
import type { RepairDesk } from './repair.ts'
import type { Identity } from './writer.ts'

/** Milliseconds that gossip is given to bring what a peer said it has, before it is asked for: less fetches twice, more heals later. */
const gossipGraceMs = 100
/** Milliseconds between pings. Each compares frontiers, so it also bounds how long a lost message stays unnoticed. */
const pingMs = 10_000
/** Silence after which a link is given up: three pings and some. */
const silenceMsMax = 35_000
/** Milliseconds without progress after which an answer is given up and asked of another peer. */
const stallMsMax = 20_000
/** Milliseconds without progress, and in all, after which another peer is asked for a feed too: who stalls, or trickles, holds up nobody. */
const fetchStallMsMax = 3_000
const fetchMsMax = 20_000
/** Notes of forgeries, at once and in a second: they tell that it happens, not how often. */
const forgeryNotesMost = 8
const forgeryNotesPerSecond = 0.1
/** Bytes asked for at once: several round trips' worth, little enough to change plans soon. */
const wantBytes = 4 << 20
/** Feeds that one peer may name: what it tells is kept in memory. */
const theirFeedsMax = 200_000
/** Bytes that an answer may run over what was asked for: its last run of envelopes. */
const answerOverrunMax = 8 << 20
/** Milliseconds in which a peer that is no member any more can still hear of it, before its link is closed. */
const farewellMs = 250
/** Bytes that wait to be stored above which no more is asked for. */
const inboxBytesHigh = 8 << 20

export interface SyncOptions {
  readonly engine: Engine
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly identity: Identity
  /** Name and version of this program, for the peers' status. */
  readonly program: string
  readonly addressCards: () => readonly AddressCard[]
  readonly cardsReceived: (cards: readonly AddressCard[]) => void
  readonly presenceReceived: (card: PresenceCard) => boolean
  readonly attestationReceived: (attestation: Attestation) => boolean
  readonly attestRequestReceived: (request: AttestRequest) => boolean
  /** What a peer told has changed. */
  readonly progressTold: () => void
  readonly sessionReady: (session: Session) => void
  /** What to ask a peer for because it is damaged here, and what came. */
  readonly repair: Pick<RepairDesk, 'offer' | 'wants'>
  /** A case of evidence was found, or found again. */
  readonly caseSeen: (id: string) => void
}

export class Sync {
  readonly #options: SyncOptions
  /** Of this process: tells two processes with one key apart. */
  readonly boot: Uint8Array
  readonly #sessions = new Map<LinkId, Session>()
  readonly told: ToldBoard
  /** The link from which a feed is being fetched. */
  readonly #fetching = new Map<FeedId, LinkId>()
  readonly #twins: TwinWatch
  readonly #answers: Answers
  readonly #telling: Telling
  readonly #parole: Parole
  readonly #exchange: RecordExchange
  readonly #forgeryNotes: Allowance
  readonly #gossiping: Gossiping
  /** Whether feeds waited for others at the last ping. */
  #waited = false
  #requests = 0
  #cancelPlan: (() => void) | null = null
  #cancelPing: (() => void) | null = null

  constructor(options: SyncOptions) {
    this.#options = options
    this.boot = options.random.bytes(16)
    this.told = new ToldBoard(options.clock)
    this.#forgeryNotes = new Allowance(options.clock, forgeryNotesPerSecond, forgeryNotesMost)
    this.#gossiping = new Gossiping({ ...options, peers: () => this.#sessions.size })
    this.#twins = new TwinWatch({
      identity: options.identity,
      random: options.random,
      boot: this.boot,
      send: (session, message) => this.#send(session, message),
      report: (evidence) => this.#report(evidence),
    })
    this.#telling = new Telling({
      engine: options.engine,
      clock: options.clock,
      peers: () => this.#sessions.size,
      send: (session, message) => this.#send(session, message),
    })
    this.#answers = new Answers({
      engine: options.engine,
      clock: options.clock,
      bytesMax: wantBytes,
      isOpen: (session) => this.#sessions.has(session.link.id),
      send: (session, frame) => options.transport.send(session.link.id, 'bulk', frame),
    })
    this.#exchange = new RecordExchange({
      engine: options.engine,
      clock: options.clock,
      isOpen: (session) => this.#sessions.has(session.link.id),
      send: (session, message) => this.#send(session, message),
      drop: (session, reason) => this.#drop(session, reason),
      complete: (session) => this.#becomeReady(session),
    })
    this.#parole = new Parole({
      engine: options.engine,
      clock: options.clock,
      logger: options.logger,
      hello: () => this.#helloOf(),
      send: (link, message) => void options.transport.send(link, 'control', encodeControl(message)),
      close: (link, reason) => options.transport.close(link, reason),
    })
    options.engine.onCommitted((committed) => this.#committed(committed))
  }

  sessions(): IterableIterator<Session> {
    return this.#sessions.values()
  }

  isConnected(key: PublicKey): boolean {
    for (const session of this.#sessions.values()) if (session.link.key === key) return true
    return false
  }

  start(): void {
    this.#cancelPing ??= this.#options.clock.after(this.#pingDelay(), () => this.#pingAll())
  }

  stop(): void {
    this.#cancelPing?.()
    this.#cancelPing = null
    this.#cancelPlan?.()
    this.#cancelPlan = null
    this.#gossiping.stop()
  }

  linkOpened(link: Link): void {
    const { clock, engine } = this.#options
    const member = engine.members.memberByKey(link.key)
    if (member === undefined) {
      this.#parole.opened(link)
      return
    }
    const session = createSession(link, member, clock.monotonic())
    this.#sessions.set(link.id, session)
    this.#send(session, this.#helloOf())
  }

  #helloOf(): ControlMessage & { readonly type: 'hello' } {
    const { engine, identity, program } = this.#options
    const { agent, instance } = identity
    return { type: 'hello', version: protocolVersion, agent, instance, boot: this.boot, records: engine.members.digest(), program }
  }

  linkClosed(id: LinkId, reason: string): void {
    const session = this.#sessions.get(id)
    if (this.#parole.closed(id) || session === undefined) return
    this.#end(session)
    this.#options.logger.info({ peer: session.member.name, reason }, 'peer:disconnected')
    this.plan()
  }

  message(id: LinkId, channel: Channel, bytes: Uint8Array): void {
    const session = this.#sessions.get(id)
    if (this.#parole.message(id, channel, bytes) || session === undefined) return
    session.heardAt = this.#options.clock.monotonic()
    if (channel === 'bulk') {
      this.#chunk(session, bytes)
      return
    }
    const message = decodeControl(bytes)
    if (message.ok) this.#control(session, message.value)
    else this.#drop(session, message.reason)
  }

  drained(id: LinkId, channel: Channel): void {
    const session = this.#sessions.get(id)
    if (session === undefined) return
    if (channel === 'control') {
      session.controlWritable = true
      this.#telling.now(session)
    } else this.#answers.goOn(session)
  }

  /** Judges a gossip message before it is forwarded, and takes it in. Whatever depends on what is known here is ignored, never held against the forwarder. */
  gossip(bytes: Uint8Array): GossipVerdict {
    const { attestationReceived, attestRequestReceived, engine, identity, presenceReceived } = this.#options
    const decoded = decodeGossip(bytes)
    if (!decoded.ok) {
      this.#noteForgery({ reason: decoded.reason }, 'gossip that is no message was refused')
      return 'reject'
    }
    const message = decoded.value
    if (message.type === 'unknown') return 'ignore'
    if (message.type === 'presence') return presenceReceived(message.card) ? 'accept' : 'ignore'
    if (message.type === 'attestation') return attestationReceived(message.attestation) ? 'accept' : 'ignore'
    if (message.type === 'attest') return attestRequestReceived(message.request) ? 'accept' : 'ignore'
    const [first] = message.envelopes as [Envelope]
    if (message.envelopes.some(({ header }) => header.agent !== identity.agent)) return 'reject'
    const key = authorKeyOf(first, engine, identity.agent)
    const { feed, sequence } = first.header
    const isFresh = ({ header }: Envelope): boolean => engine.takes(header) && header.sequence > engine.reaches(feed)
    if (key === undefined || !message.envelopes.some(isFresh)) return 'ignore'
    // All of it, also what is known here: it is passed on as a whole, to whoever does not know it.
    const proven = provenEnvelopes(message.envelopes, () => key)
    if (proven.length < message.envelopes.length) {
      this.#noteForgery({ feed, sequence }, 'a forged envelope was refused: its author did not sign it')
      return 'reject'
    }
    engine.offer(proven.filter(isFresh))
    return 'accept'
  }

  #noteForgery(fields: Parameters<Logger['warn']>[0], detail: string): void {
    if (this.#forgeryNotes.spend(1) === 0) this.#options.logger.warn(fields, detail)
  }

  /** Gossips what is no envelope: those go by themselves. */
  publish(message: Exclude<GossipMessage, { type: 'envelopes' | 'unknown' }>): void {
    this.#options.transport.publish(encodeGossip(message))
  }

  /** Sends address cards to every peer. */
  sendCards(cards: readonly AddressCard[]): void {
    for (const session of this.#sessions.values()) if (session.ready) this.#send(session, { type: 'addresses', cards })
  }

  #control(session: Session, message: ControlMessage): void {
    switch (message.type) {
      case 'hello':
        return this.#hello(session, message)
      case 'record-list':
        return this.#exchange.answer(session, message.hashes)
      case 'records':
        return this.#exchange.take(session, message.records, message.last)
      case 'frontier':
        return this.#frontier(session, message.complete, message.entries)
      case 'want':
        if (session.wanted !== null) return this.#drop(session, 'it wants twice at once')
        if (session.ready) this.#answers.begin(session, message)
        break
      case 'ping':
        this.#sendPing(session, 'pong', message.nonce)
        return this.#compare(session, message)
      case 'pong':
        return this.#pong(session, message)
      case 'probe':
        return this.#send(session, { type: 'probe-answer', proof: this.#twins.answer(message.nonce) })
      case 'probe-answer':
        return this.#twins.receive(session, message.proof, this.#sessions.values())
      case 'twin':
        return this.#twins.notice(message.proofs)
      case 'addresses':
        return this.#options.cardsReceived(message.cards)
      case 'unknown':
        break
    }
  }

  #hello(session: Session, message: Extract<ControlMessage, { type: 'hello' }>): void {
    const { engine, identity } = this.#options
    if (session.boot !== null) return this.#drop(session, 'it said hello twice')
    if (message.agent !== identity.agent) return this.#drop(session, 'another agent')
    if (message.instance !== session.member.instance) return this.#drop(session, 'its key belongs to another instance')
    session.boot = bytesToId(message.boot)
    session.program = message.program
    if (!this.#isWanted(session)) return
    if (Buffer.compare(message.records, engine.members.digest()) === 0) this.#becomeReady(session)
    else this.#exchange.list(session)
  }

  // Membership records: exchanged before anything else, passed on at once.

  #becomeReady(session: Session): void {
    if (session.ready || session.boot === null) return
    const { addressCards, engine, identity, logger, sessionReady } = this.#options
    session.recordsTaken = true
    // Whoever lost its place hears of the records, and nothing more, until it has one again.
    if (engine.members.memberByKey(identity.key.publicKey) === undefined) return
    if (engine.members.memberByKey(session.link.key) === undefined) return this.#drop(session, 'not a member')
    session.ready = true
    logger.info({ peer: session.member.name, address: session.link.address, direction: session.link.direction }, 'peer:connected')
    this.#telling.all(session)
    const cards = addressCards()
    if (cards.length > 0) this.#send(session, { type: 'addresses', cards })
    sessionReady(session)
  }

  // Frontiers: what each has, told promptly.

  #frontier(session: Session, complete: boolean, entries: readonly FrontierEntry[]): void {
    const { engine, progressTold } = this.#options
    const now = this.#options.clock.monotonic()
    if (complete) {
      session.theirs.clear()
      session.lacking.clear()
    }
    if (session.theirs.size + entries.length > theirFeedsMax) return this.#drop(session, 'its frontier names too many feeds')
    for (const entry of entries) {
      session.theirs.set(entry.feed, entry)
      const ours = engine.frontier().get(entry.feed)
      if (entry.have > engine.reaches(entry.feed)) {
        if (!session.lacking.has(entry.feed)) session.lacking.set(entry.feed, complete ? Number.NEGATIVE_INFINITY : now)
      } else if (ours !== undefined && ours.have === entry.have && ours.head !== entry.head && !engine.intake.refused.has(entry.feed)) {
        // The other branch of a fork: fetch it as evidence.
        session.lacking.set(entry.feed, Number.NEGATIVE_INFINITY)
      }
    }
    this.told.heard(session)
    progressTold()
    this.plan()
  }

  #committed({ changed, isLoadedAnew, own, records }: Committed): void {
    const { engine } = this.#options
    this.#telling.changed()
    const fits = this.#gossiping.publish(own)
    if (records.length > 0) this.#membersChanged(records)
    // What was on its way to the disk when peers told of it is not here any more.
    if (isLoadedAnew) for (const session of this.#sessions.values()) this.#lookAgain(session)
    const frontier = engine.frontier()
    for (const session of this.#sessions.values()) {
      let waited = !fits
      for (const feed of changed) {
        session.untold.add(feed)
        if ((session.theirs.get(feed)?.have ?? 0) <= (frontier.get(feed)?.have ?? 0)) session.lacking.delete(feed)
        waited ||= engine.ledger.feed(feed)?.instance === session.member.instance
      }
      if (!session.ready || session.untold.size === 0) continue
      if (waited) this.#telling.now(session)
      else this.#telling.soon(session)
    }
    this.plan()
  }

  #membersChanged(records: readonly MembershipRecord[]): void {
    const { clock, engine } = this.#options
    for (const session of this.#sessions.values()) {
      this.#exchange.tell(session, records)
      const member = engine.members.memberByKey(session.link.key)
      if (member !== undefined) {
        session.member = member
        this.#lookAgain(session)
        if (session.recordsTaken) this.#becomeReady(session)
        continue
      }
      // It is told why, and nothing more is taken from it or said to it.
      this.#end(session)
      clock.after(farewellMs, () => this.#drop(session, 'not a member any more'))
    }
  }

  /** Asks again for what is lacking although a peer told of it: it was lost with a commit, or its author was not known while a record waited for one. */
  #lookAgain({ lacking, theirs }: Session): void {
    for (const [feed, { have }] of theirs)
      if (have > this.#options.engine.reaches(feed) && !lacking.has(feed)) lacking.set(feed, Number.NEGATIVE_INFINITY)
  }

  // Wants: what is lacking is asked of one peer at a time.

  /** Asks each peer that is not asked for anything for what is lacking here, or damaged. */
  plan(): void {
    const { clock, engine, repair } = this.#options
    if (engine.intake.bytes > inboxBytesHigh) return
    const now = clock.monotonic()
    let next = Number.POSITIVE_INFINITY
    for (const session of this.#sessions.values()) {
      if (!session.ready || session.want !== null) continue
      const ranges = repair.wants(session.link.id, session.theirs, (feed) => this.#fetchedUntil(feed) <= now, wantRangesMax)
      const damaged = new Set(ranges.map(({ feed }) => feed))
      for (const [feed, since] of engine.takesEnvelopes ? session.lacking : []) {
        if (ranges.length === wantRangesMax) break
        if (damaged.has(feed) || engine.intake.refused.has(feed)) continue
        const freeAt = this.#fetchedUntil(feed)
        if (freeAt > now) {
          next = Math.min(next, freeAt)
          continue
        }
        const theirs = session.theirs.get(feed)
        const from = engine.reaches(feed) + 1
        if (theirs === undefined || theirs.have < from - 1) {
          session.lacking.delete(feed)
          continue
        }
        if (now - since < gossipGraceMs) {
          next = Math.min(next, since + gossipGraceMs)
          continue
        }
        const ours = engine.frontier().get(feed)
        if (theirs.have >= from) ranges.push({ feed, from, to: theirs.have })
        // What waits to be stored says nothing of a fork yet: the commit plans again.
        else if (ours === undefined || ours.have < theirs.have) continue
        else if (ours.have === theirs.have && ours.head !== theirs.head) ranges.push({ feed, from: theirs.have, to: theirs.have })
        else session.lacking.delete(feed)
      }
      if (ranges.length > 0) this.#ask(session, ranges)
    }
    this.#cancelPlan?.()
    this.#cancelPlan = next === Number.POSITIVE_INFINITY ? null : clock.after(Math.max(1, next - now), () => this.plan())
  }

  /** Until when nobody else is asked for a feed: somebody is sending it. Monotonic milliseconds. */
  #fetchedUntil(feed: FeedId): number {
    const link = this.#fetching.get(feed)
    const want = link === undefined ? null : (this.#sessions.get(link)?.want ?? null)
    return want === null ? Number.NEGATIVE_INFINITY : Math.min(want.progressAt + fetchStallMsMax, want.askedAt + fetchMsMax)
  }

  #ask(session: Session, ranges: readonly FeedRange[]): void {
    const now = this.#options.clock.monotonic()
    this.#requests += 1
    session.want = {
      request: this.#requests,
      next: new Map(ranges.map(({ feed, from }) => [feed, from])),
      untaken: new Set(ranges.map(({ feed }) => feed)),
      bytes: 0,
      askedAt: now,
      progressAt: now,
    }
    for (const { feed } of ranges) this.#fetching.set(feed, session.link.id)
    this.#send(session, { type: 'want', request: this.#requests, ranges, bytesMax: wantBytes })
  }

  /** Nothing more is taken on a session or said. */
  #end(session: Session): void {
    this.#sessions.delete(session.link.id)
    session.cancelTelling?.()
    this.#release(session)
    this.told.ended(session)
  }

  /** Ends the want under way on a session: its feeds may be asked of others. */
  #release(session: Session): void {
    if (session.want === null) return
    for (const feed of session.want.next.keys()) if (this.#fetching.get(feed) === session.link.id) this.#fetching.delete(feed)
    session.want = null
  }

  #chunk(session: Session, bytes: Uint8Array): void {
    const { clock, engine, identity, repair } = this.#options
    const { want } = session
    if (want === null) return this.#drop(session, 'it sent what was not asked for')
    const chunk = decodeChunk(bytes)
    if (!chunk.ok) return this.#drop(session, chunk.reason)
    if (chunk.value.request !== want.request) return this.#drop(session, 'it sent what was not asked for')
    for (const envelope of chunk.value.envelopes) {
      const { feed, sequence } = envelope.header
      if (want.next.get(feed) !== sequence) return this.#drop(session, 'it sent what was not asked for')
      want.next.set(feed, sequence + 1)
      want.bytes += envelopeSize(envelope)
    }
    if (want.bytes > wantBytes + answerOverrunMax) return this.#drop(session, 'it sent more than was asked for')
    const envelopes = provenEnvelopes(chunk.value.envelopes, (envelope) => authorKeyOf(envelope, engine, identity.agent))
    if (envelopes.length > 0) want.progressAt = clock.monotonic()
    if (envelopes.length < chunk.value.envelopes.length)
      this.#noteForgery({ peer: session.member.name }, 'envelopes were refused that are not proven to be by a member')
    for (const envelope of envelopes) want.untaken.delete(envelope.header.feed)
    engine.offer(envelopes)
    repair.offer(envelopes, session.member.label)
    if (!chunk.value.last) return
    // A full answer does not come to all feeds: of those others are asked first. What else did not come is asked again when this peer tells its frontier anew.
    for (const feed of want.untaken)
      if (want.bytes >= wantBytes) session.lacking.set(feed, clock.monotonic())
      else session.lacking.delete(feed)
    this.#release(session)
    this.plan()
  }

  // Liveness

  #pingDelay(): number {
    return pingMs * (0.9 + 0.2 * this.#options.random.unit())
  }

  #pingAll(): void {
    const { clock, engine, logger, random, transport } = this.#options
    const now = clock.monotonic()
    for (const session of Array.from(this.#sessions.values())) {
      if (now - session.heardAt > silenceMsMax) {
        transport.close(session.link.id, 'silent')
        continue
      }
      if (session.want !== null && now - session.want.progressAt > stallMsMax) {
        transport.close(session.link.id, 'stalled')
        continue
      }
      // Two processes behind one key are probed time and again: the case is over once one of them is gone.
      if (!session.ready || !session.controlWritable || !this.#isWanted(session)) continue
      session.ping = { nonce: Math.floor(random.unit() * 2 ** 32), at: now }
      this.#sendPing(session, 'ping', session.ping.nonce)
    }
    // What is on its way at one ping has come by the next.
    if (this.#waited && engine.waitingFeeds > 0)
      logger.warn({ feeds: engine.waitingFeeds }, 'feeds wait for what they are based on: nobody has sent it')
    this.#waited = engine.waitingFeeds > 0
    this.plan()
    engine.idle(true)
    this.#cancelPing = clock.after(this.#pingDelay(), () => this.#pingAll())
  }

  #pong(session: Session, message: Extract<ControlMessage, { type: 'pong' }>): void {
    if (session.ping?.nonce === message.nonce) {
      session.roundTripMilliseconds = this.#options.clock.monotonic() - session.ping.at
      session.clockAheadMilliseconds = message.now - (this.#now() - session.roundTripMilliseconds / 2)
      session.ping = null
    }
    this.#compare(session, message)
  }

  #sendPing(session: Session, type: 'ping' | 'pong', nonce: number): void {
    const records = this.#options.engine.members.digest()
    this.#send(session, { type, nonce, now: this.#now(), frontier: this.#telling.digest(), records })
  }

  #compare(session: Session, { frontier, records }: Pick<Extract<ControlMessage, { type: 'ping' }>, 'frontier' | 'records'>): void {
    this.#exchange.compare(session, records)
    this.#telling.compare(session, frontier)
  }

  // Several links to one key

  /** Whether a link whose other end has said hello is to stay. Of two links to one process one is enough; two processes behind one key are probed. */
  #isWanted(session: Session): boolean {
    const { identity, transport } = this.#options
    for (const other of this.#sessions.values()) {
      if (other === session || other.link.key !== session.link.key || other.boot === null) continue
      if (other.boot !== session.boot) {
        this.#twins.probe(session, other)
        continue
      }
      const surplus = surplusOf(session, other, identity.key.publicKey)
      if (surplus !== null) transport.close(surplus.link.id, 'one link is enough')
      if (surplus === session) return false
    }
    return true
  }

  #report(evidence: Pick<EvidenceRow, 'id' | 'kind' | 'detail' | 'proof'>): void {
    const { caseSeen, engine, logger } = this.#options
    caseSeen(evidence.id)
    // While the store is opened anew nobody knows; what is there already stays as it is.
    if (engine.isReadable && engine.store.evidence().some((row) => row.id === evidence.id)) return
    logger.warn({ kind: evidence.kind }, evidence.detail)
    engine
      .put({ evidence: [{ ...evidence, at: this.#now() }] })
      .catch((error: unknown) => logger.warn({ error: String(error) }, 'evidence was not stored'))
  }

  #send(session: Session, message: Exclude<ControlMessage, { type: 'unknown' }>): void {
    if (!this.#options.transport.send(session.link.id, 'control', encodeControl(message))) session.controlWritable = false
  }

  #drop(session: Session, reason: string): void {
    const { logger, transport } = this.#options
    logger.warn({ peer: session.member.name, reason }, 'a peer was hung up on')
    transport.close(session.link.id, reason)
  }

  #now(): number {
    return Math.max(0, Math.floor(this.#options.clock.now()))
  }
}
