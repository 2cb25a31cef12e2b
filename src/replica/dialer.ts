/**
 * The dialer: the address book, and the loop that dials every member without a link for ever, with backoff and jitter.
 * Addresses come from cards that members sign, from discovery, from the configuration and from the ticket. The signed
 * cards and what was found are kept in the store, so that a restart finds its peers again.
 */
import { asTuple, decode, encode, idToBytes, bytesToId, isBytes, isText } from '../core/index.ts'
import type { Clock, Encodable, InstanceId, Logger, PublicKey, Random } from '../core/index.ts'
import type { Transport } from '../network/index.ts'
import type { Engine } from './engine.ts'
import { cardAddressesMax, cardFromWire, cardToWire, isAddressCardOf, signAddressCard } from './messages.ts'
import type { AddressCard } from './messages.ts'
import type { Identity } from './writer.ts'

/**
 * Milliseconds before the first try again, and by how much each wait is longer than the one before: after t seconds of trying in vain the wait is
 * √t seconds. Twice as long each time would find a peer that was cut off for a minute half a minute late.
 */
const backoffMsStep = 500
/** Milliseconds at most between tries: how long a machine that came back may stay unnoticed if it cannot dial itself. */
const backoffMsMax = 60_000
/** Milliseconds for which the instance with the greater key leaves the first dial to the other: two at once cost a link. */
const politenessMs = 1_500
/** Milliseconds over which first dials are spread. */
const jitterMs = 100
/** Milliseconds after which a link has proven itself: one that dies younger is left to the backoff. */
const lastingMs = 10_000
/** Found addresses kept for one key: the newest. */
const foundAddressesMax = 8
/** Milliseconds before this instance tells its addresses again after a copy of it told others: two that run at once do so in turns. */
const announceDelayMs = 2_000
/** Cards of instances that are not known here that are kept. */
const earlyCardsMax = 64
/** Milliseconds for which changes of the address book are gathered before they are stored. */
const saveDelayMs = 2_000
/** Milliseconds for which the cards of others are gathered before they are passed on: of an instance that tells a thousand, the last goes on. */
const passOnDelayMs = 500
/** The names of the meta rows that hold the book. */
const cardsName = 'address-cards'
const foundName = 'found-addresses'

interface Target {
  attempts: number
  /** Monotonic milliseconds. */
  dueAt: number
  dialing: boolean
}

export interface DialerOptions {
  readonly engine: Engine
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly identity: Identity
  /** Multiaddrs that name their peer: dialed whether or not anything is known of it. */
  readonly bootstrap: readonly string[]
  /** Multiaddrs to announce besides those listened on. */
  readonly announce: readonly string[]
  readonly isConnected: (key: PublicKey) => boolean
  readonly sendCards: (cards: readonly AddressCard[]) => void
}

export class Dialer {
  readonly #options: DialerOptions
  readonly #cards = new Map<InstanceId, AddressCard>()
  /** Of instances that are no members here, the last: not verified. */
  readonly #early = new Map<InstanceId, AddressCard>()
  /** Found addresses by key, the newest last. */
  readonly #found = new Map<PublicKey, Set<string>>()
  readonly #targets = new Map<PublicKey | null, Target>()
  #running = false
  #cancelTick: (() => void) | null = null
  #cancelAnnouncing: (() => void) | null = null
  #cancelSave: (() => void) | null = null
  /** Whose cards are to be passed on. */
  readonly #unsent = new Set<InstanceId>()
  #cancelPassingOn: (() => void) | null = null

  constructor(options: DialerOptions) {
    this.#options = options
    this.#load()
    options.engine.onCommitted(({ records }) => {
      if (records.length === 0) return
      const early = [...this.#early.values()]
      this.#early.clear()
      this.receiveCards(early)
      this.#wake()
    })
  }

  /** Begins dialing; the transport listens. */
  start(): void {
    this.#running = true
    this.#targets.clear()
    // Of those that are known already nobody else is to dial: nobody knows yet that this one is there.
    for (const key of this.#keys()) this.#aim(key, 0)
    this.#announce()
    this.#wake()
  }

  stop(): void {
    this.#running = false
    this.#cancelTick?.()
    this.#cancelTick = null
    this.#cancelAnnouncing?.()
    this.#cancelAnnouncing = null
    this.#cancelSave?.()
    this.#cancelSave = null
    this.#cancelPassingOn?.()
    this.#cancelPassingOn = null
  }

  cards(): readonly AddressCard[] {
    return [...this.#cards.values()]
  }

  /**
   * Every address known for a member, the most trustworthy first. Whoever has just replaced its key, or become an instance of its own, is where it was
   * known before: nobody else could tell where it is if nobody had been connected to it since.
   */
  addressesOf(key: PublicKey): readonly string[] {
    const { engine, identity } = this.#options
    const { members } = engine
    const member = members.memberByKey(key)
    // A clone of this one is not where this one is.
    const line = member === undefined ? [] : members.lineOf(member.instance).filter((instance) => instance !== identity.instance)
    const told = line.flatMap((instance) => this.#cards.get(instance)?.addresses ?? [])
    const isOfLine = (other: PublicKey): boolean => other !== key && line.some((instance) => members.isKeyOf(instance, other))
    const before = [...this.#found].filter(([other]) => isOfLine(other)).map(([, addresses]) => addresses)
    const found = [this.#found.get(key) ?? [], ...before].flatMap((addresses) => [...addresses].toReversed())
    return [...new Set([...told, ...found])]
  }

  /** Takes cards of members that are newer than those known, of each the last, and passes them on before long. */
  receiveCards(cards: readonly AddressCard[]): void {
    const { clock, engine, identity } = this.#options
    const latest = new Map<InstanceId, AddressCard>()
    for (const card of cards) {
      const known = latest.get(card.instance) ?? this.#cards.get(card.instance)
      if (card.time > (known?.time ?? 0)) latest.set(card.instance, card)
    }
    const own = latest.get(identity.instance)
    latest.delete(identity.instance)
    if (own !== undefined) this.#announceAgain(own)
    for (const card of latest.values()) {
      const member = engine.members.member(card.instance)
      if (member === undefined) this.#keepEarly(card)
      if (member === undefined || !isAddressCardOf(card, member.key, identity.agent)) continue
      this.#cards.set(card.instance, card)
      this.#unsent.add(card.instance)
    }
    if (this.#unsent.size > 0) this.#cancelPassingOn ??= clock.after(passOnDelayMs, () => this.#passOn())
  }

  /** A copy of this home has told where it was, later than this one did: the others would look for this one there. */
  #announceAgain(card: AddressCard): void {
    const { clock, identity } = this.#options
    if (!isAddressCardOf(card, identity.key.publicKey, identity.agent)) return
    this.#cards.set(identity.instance, card)
    this.#cancelAnnouncing ??= clock.after(announceDelayMs, () => {
      this.#cancelAnnouncing = null
      if (this.#running) this.#announce()
    })
  }

  /** The records that make its instance a member may be on their way into the store. */
  #keepEarly(card: AddressCard): void {
    this.#early.delete(card.instance)
    this.#early.set(card.instance, card)
    if (this.#early.size > earlyCardsMax) this.#early.delete(this.#early.keys().next().value as InstanceId)
  }

  /** What the cards that came lately are good for: dialing, keeping, and telling others. */
  #passOn(): void {
    const { engine, sendCards } = this.#options
    this.#cancelPassingOn = null
    const instances = [...this.#unsent]
    this.#unsent.clear()
    for (const instance of instances) {
      const member = engine.members.member(instance)
      if (member !== undefined) this.#soon(member.key)
    }
    this.#saveSoon()
    sendCards(instances.flatMap((instance) => this.#cards.get(instance) ?? []))
  }

  /** An address answered or was announced for a key. */
  addressFound(key: PublicKey, address: string): void {
    const { engine, identity } = this.#options
    if (key === identity.key.publicKey || engine.members.memberByKey(key) === undefined) return
    const found = this.#found.get(key) ?? new Set()
    const isNew = !found.delete(address)
    found.add(address)
    if (found.size > foundAddressesMax) found.delete(found.values().next().value as string)
    this.#found.set(key, found)
    if (!isNew) return
    this.#soon(key)
    this.#saveSoon()
  }

  /** A link went down after `lastedMs`: try again soon, unless links to that peer do not last. */
  linkLost(key: PublicKey, lastedMs: number): void {
    const target = this.#targets.get(key)
    if (lastedMs >= lastingMs) this.#soon(key)
    else if (target !== undefined && !target.dialing) this.#postpone(target)
    this.#wake()
  }

  #announce(): void {
    const { announce, clock, identity, sendCards, transport } = this.#options
    const addresses = [...new Set([...announce, ...transport.addresses()])].slice(0, cardAddressesMax)
    const before = this.#cards.get(identity.instance)
    if (before !== undefined && before.addresses.join() === addresses.join()) return
    const time = Math.max(Math.floor(clock.now()), (before?.time ?? 0) + 1)
    const card = signAddressCard(identity.key, identity.agent, { instance: identity.instance, addresses, time })
    this.#cards.set(identity.instance, card)
    this.#saveSoon()
    sendCards([card])
  }

  #soon(key: PublicKey): void {
    const target = this.#targets.get(key)
    if (target !== undefined && !target.dialing) {
      this.#aim(key, this.#firstDelay(key))
    }
    this.#wake()
  }

  /** Leaves a target to the backoff. */
  #postpone(target: Target): void {
    const { clock, random } = this.#options
    target.attempts += 1
    target.dueAt = clock.monotonic() + Math.min(backoffMsStep * target.attempts, backoffMsMax) * (0.7 + 0.6 * random.unit())
  }

  #firstDelay(key: PublicKey | null): number {
    return key !== null && this.#options.identity.key.publicKey > key ? politenessMs : 0
  }

  /** Has a key dialed for the first time, about so many milliseconds from now. */
  #aim(key: PublicKey | null, delayMs: number): Target {
    const { clock, random } = this.#options
    const target = { attempts: 0, dueAt: clock.monotonic() + delayMs + random.unit() * jitterMs, dialing: false }
    this.#targets.set(key, target)
    return target
  }

  /** All that are to be dialed; null stands for whoever is behind the configured addresses. */
  #keys(): readonly (PublicKey | null)[] {
    const { bootstrap, engine, identity } = this.#options
    const keys = engine.members.members.map((member) => member.key).filter((key) => key !== identity.key.publicKey)
    return bootstrap.length > 0 ? [...keys, null] : keys
  }

  #wake(): void {
    if (!this.#running) return
    this.#cancelTick?.()
    this.#cancelTick = this.#options.clock.after(0, () => this.#tick())
  }

  #tick(): void {
    const { bootstrap, clock, isConnected } = this.#options
    const now = clock.monotonic()
    let next = now + backoffMsMax
    for (const key of this.#keys()) {
      const target = this.#targets.get(key) ?? this.#aim(key, this.#firstDelay(key))
      if (target.dialing) continue
      if (target.dueAt > now) {
        next = Math.min(next, target.dueAt)
        continue
      }
      if (key !== null && isConnected(key)) {
        target.dueAt = now + backoffMsMax
        continue
      }
      this.#postpone(target)
      next = Math.min(next, target.dueAt)
      const addresses = key === null ? bootstrap : this.addressesOf(key)
      if (addresses.length > 0) this.#dial(key, addresses, target)
    }
    this.#cancelTick = clock.after(Math.max(50, next - now), () => this.#tick())
  }

  #dial(key: PublicKey | null, addresses: readonly string[], target: Target): void {
    target.dialing = true
    this.#options.transport
      .dial(key, addresses)
      .catch((error: unknown) => this.#options.logger.debug({ key, error: String(error) }, 'a dial failed'))
      .finally(() => {
        target.dialing = false
        // It may have lasted for longer than the next try was to wait.
        this.#wake()
      })
  }

  #load(): void {
    const { engine } = this.#options
    for (const item of decodeList(engine.store.meta(cardsName))) {
      const card = cardFromWire(item)
      if (card !== undefined) this.#cards.set(card.instance, card)
    }
    for (const item of decodeList(engine.store.meta(foundName))) {
      const entry = asTuple(item, 2)
      if (entry === undefined || !isBytes(entry[0], 32) || !Array.isArray(entry[1])) continue
      this.#found.set(bytesToId(entry[0]), new Set((entry[1] as readonly unknown[]).filter((address) => isText(address, 256))))
    }
  }

  #saveSoon(): void {
    if (!this.#running) return
    this.#cancelSave ??= this.#options.clock.after(saveDelayMs, () => {
      this.#cancelSave = null
      const { engine, logger } = this.#options
      engine.put({ meta: addressBookToMeta(this.#found, this.#cards.values()) }).catch((error: unknown) => {
        logger.warn({ error: String(error) }, 'the address book was not stored')
      })
    })
  }
}

/** The address book as the meta rows that a dialer loads at its start. */
export function addressBookToMeta(
  found: ReadonlyMap<PublicKey, Iterable<string>>,
  cards: Iterable<AddressCard>,
): ReadonlyMap<string, Uint8Array> {
  const entries: Encodable[] = Array.from(found, ([key, addresses]) => [idToBytes(key), [...addresses]])
  return new Map([
    [cardsName, encode(Array.from(cards, cardToWire))],
    [foundName, encode(entries)],
  ])
}

function decodeList(bytes: Uint8Array | undefined): readonly unknown[] {
  const decoded = bytes === undefined ? undefined : decode(bytes)
  return decoded?.ok === true && Array.isArray(decoded.value) ? (decoded.value as readonly unknown[]) : []
}
