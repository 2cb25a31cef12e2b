/** Presence: what each instance says it is doing right now. Signed, gossiped, renewed and expired by the clock; never stored. */
import { Allowance, hashOf, idToBytes } from '../core/index.ts'
import type { Clock, InstanceId } from '../core/index.ts'
import { openPresence } from '../document/index.ts'
import type { JsonObject, Presence } from '../document/index.ts'
import type { MemberTable } from '../membership/index.ts'
import { isPresenceOf, signPresence } from './messages.ts'
import type { PresenceCard } from './messages.ts'
import type { Identity } from './writer.ts'

/** Milliseconds between renewals, as in y-protocols. */
const renewMs = 15_000
/** Milliseconds after which one that was not renewed is gone, as in y-protocols. */
const expireMs = 30_000
/** Milliseconds within which those that come are told together: an instance that starts meets all the others at once. */
const greetMs = 500
/** Cards of one instance that are looked at, at once and in a second. One that comes too early comes again with its renewal. */
const cardsMost = 20
const cardsPerSecond = 4

export interface PresenceBoardOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly members: () => MemberTable
  readonly publish: (card: PresenceCard) => void
}

export class PresenceBoard {
  readonly #options: PresenceBoardOptions
  readonly #presence: Presence
  readonly #client: number
  readonly #allowances = new Map<InstanceId, Allowance>()
  #state: JsonObject | null = null
  /** Since when it says nothing of itself, by the monotonic clock; since the start, at first, since the life before may have said something. */
  #silentSince: number
  /** When it is told next. */
  #next: { readonly at: number; readonly cancel: () => void } | null = null

  constructor(options: PresenceBoardOptions) {
    this.#options = options
    this.#client = presenceClientOf(options.identity.instance)
    this.#presence = openPresence({ client: this.#client, begin: options.clock.now(), now: () => options.clock.monotonic() })
    this.#silentSince = options.clock.monotonic()
  }

  /** Sets what this instance tells of itself; null takes it back. Throws `SelfsameError`. */
  set(state: JsonObject | null): void {
    this.#presence.setLocal(state)
    if (state === null) this.#silentSince = this.#options.clock.monotonic()
    this.#state = state
    this.#publish()
  }

  /** Tells it to a peer that has just come: unless nothing was said for so long that nobody can take the last word for the present one. */
  greet(): void {
    const now = this.#options.clock.monotonic()
    if (this.#state === null && now - this.#silentSince > expireMs) return
    if (this.#next === null || this.#next.at > now + greetMs) this.#publishAfter(greetMs)
  }

  stop(): void {
    this.#next?.cancel()
    this.#next = null
  }

  /** Takes a card that its instance signed. Returns whether it was news. */
  receive(card: PresenceCard): boolean {
    const { clock, identity, members } = this.#options
    const member = members().member(card.instance)
    if (member === undefined || card.instance === identity.instance) return false
    const allowance = this.#allowances.get(card.instance) ?? new Allowance(clock, cardsPerSecond, cardsMost)
    this.#allowances.set(card.instance, allowance)
    if (!allowance.isLeft || !isPresenceOf(card, member.key, identity.agent)) return false
    allowance.spend(1)
    const applied = this.#presence.apply(card.state, presenceClientOf(card.instance))
    return applied.ok && applied.value
  }

  /** The states of the members that were heard of lately, this instance included, by seniority. */
  states(): readonly { readonly instance: InstanceId; readonly state: JsonObject }[] {
    this.#presence.expire(this.#options.clock.monotonic(), expireMs)
    const states = this.#presence.states()
    return this.#options.members().members.flatMap(({ instance }) => {
      const entry = states.get(presenceClientOf(instance))
      return entry === undefined ? [] : [{ instance, state: entry.state }]
    })
  }

  #publish(): void {
    const { clock, identity, publish } = this.#options
    this.stop()
    const time = Math.max(0, Math.floor(clock.now()))
    publish(signPresence(identity.key, identity.agent, { instance: identity.instance, state: this.#presence.encode([this.#client]), time }))
    if (this.#state !== null) this.#publishAfter(renewMs)
  }

  #publishAfter(milliseconds: number): void {
    const { clock } = this.#options
    this.#next?.cancel()
    const cancel = clock.after(milliseconds, () => {
      this.#presence.setLocal(this.#state)
      this.#publish()
    })
    this.#next = { at: clock.monotonic() + milliseconds, cancel }
  }
}

/** The awareness client id of an instance: 53 bits. */
function presenceClientOf(instance: InstanceId): number {
  const hash = hashOf('selfsame/presence-client/1', idToBytes(instance))
  return Number(Buffer.from(hash.buffer, hash.byteOffset, 8).readBigUInt64BE() >> 11n)
}
