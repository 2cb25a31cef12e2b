/**
 * Gossiping: which of its own envelopes this instance gossips, and when. What is too large, and what is more than peers take, is left to be
 * fetched. In a large group what follows soon goes together, since each message costs every member its work.
 */
import { Allowance, gossipBytesMax } from '../core/index.ts'
import type { Clock } from '../core/index.ts'
import { envelopeSize } from '../feed/index.ts'
import type { Envelope } from '../feed/index.ts'
import type { Transport } from '../network/index.ts'
import { encodeGossip, gossipedEnvelopesMax } from './messages.ts'

/** What a gossip message needs besides its envelopes, at most. */
const framingBytes = 1_024
/**
 * What is gossiped in a second, and at once, where a message costs 1 and 1 more for each 1,024 bytes: somewhat less than peers take from one
 * link. More would queue up behind their pace and hold up what follows for as long, and be fetched besides, since they hear that it is there.
 */
const costPerSecond = 800
const costMost = 1_600
const bytesPerCost = 1_024
/**
 * Milliseconds between two messages, for each peer but the first and at most: so all members together spend no more than some part of a
 * processor on one author, however many they are. What comes after a pause goes at once. Less than peers wait before they ask for it.
 */
const gatherMsPerPeer = 2.5
const gatherMsMax = 50

export interface GossipingOptions {
  readonly transport: Pick<Transport, 'publish'>
  readonly clock: Clock
  /** Peers that are connected. */
  readonly peers: () => number
}

export class Gossiping {
  readonly #options: GossipingOptions
  readonly #allowance: Allowance
  #waiting: Envelope[] = []
  #nextAt = Number.NEGATIVE_INFINITY
  #cancel: (() => void) | null = null

  constructor(options: GossipingOptions) {
    this.#options = options
    this.#allowance = new Allowance(options.clock, costPerSecond, costMost)
  }

  /** Gossips of the envelopes what it may, soon. False: one is too large for gossip, so that peers can only hear of it from this instance. */
  publish(own: readonly Envelope[]): boolean {
    if (own.length === 0) return true
    const fits = own.filter((envelope) => envelopeSize(envelope) <= gossipBytesMax - framingBytes)
    this.#waiting.push(...fits)
    const { clock } = this.#options
    const waitMs = this.#nextAt - clock.monotonic()
    if (waitMs <= 0) this.#send()
    else this.#cancel ??= clock.after(waitMs, () => this.#send())
    return fits.length === own.length
  }

  /** What waits is left to be fetched. */
  stop(): void {
    this.#cancel?.()
    this.#cancel = null
    this.#waiting = []
  }

  #send(): void {
    const { clock, peers, transport } = this.#options
    this.#cancel?.()
    this.#cancel = null
    this.#nextAt = clock.monotonic() + Math.min((peers() - 1) * gatherMsPerPeer, gatherMsMax)
    for (const envelopes of messagesOf(this.#waiting)) {
      if (!this.#allowance.isLeft) break
      this.#allowance.spend(1 + sizeOf(envelopes) / bytesPerCost)
      transport.publish(encodeGossip({ type: 'envelopes', envelopes }))
    }
    this.#waiting = []
  }
}

/** Splits envelopes, in the order of their feeds, into what may go in one message. */
function messagesOf(envelopes: readonly Envelope[]): readonly Envelope[][] {
  const messages: Envelope[][] = []
  for (const envelope of envelopes) {
    const message = messages.at(-1)
    const last = message?.at(-1)
    const follows = last?.header.feed === envelope.header.feed && last.header.sequence + 1 === envelope.header.sequence
    const bytes = message === undefined ? 0 : sizeOf(message) + envelopeSize(envelope)
    if (
      message !== undefined &&
      follows &&
      message.length < gossipedEnvelopesMax &&
      bytes <= gossipBytesMax - framingBytes * gossipedEnvelopesMax
    )
      message.push(envelope)
    else messages.push([envelope])
  }
  return messages
}

function sizeOf(envelopes: readonly Envelope[]): number {
  return envelopes.reduce((sum, envelope) => sum + envelopeSize(envelope), 0)
}
