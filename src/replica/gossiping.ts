/** Gossiping: which of its own envelopes this instance gossips. What is too large, and what is more than peers take, is left to be fetched. */
import { Allowance, gossipBytesMax } from '../core/index.ts'
import type { Clock } from '../core/index.ts'
import { envelopeSize } from '../feed/index.ts'
import type { Envelope } from '../feed/index.ts'
import type { Transport } from '../network/index.ts'
import { encodeGossip } from './messages.ts'

/** What a gossip message needs besides its envelope, at most. */
const framingBytes = 1_024
/**
 * What is gossiped in a second, and at once, where a message costs 1 and 1 more for each 1,024 bytes: somewhat less than peers take from one
 * link. More would queue up behind their pace and hold up what follows for as long, and be fetched besides, since they hear that it is there.
 */
const costPerSecond = 800
const costMost = 1_600
const bytesPerCost = 1_024

export class Gossiping {
  readonly #transport: Pick<Transport, 'publish'>
  readonly #allowance: Allowance

  constructor(transport: Pick<Transport, 'publish'>, clock: Clock) {
    this.#transport = transport
    this.#allowance = new Allowance(clock, costPerSecond, costMost)
  }

  /** Gossips of the envelopes what it may. False: one is too large for gossip, so that peers can only hear of it from this instance. */
  publish(own: readonly Envelope[]): boolean {
    const fits = own.filter((envelope) => envelopeSize(envelope) <= gossipBytesMax - framingBytes)
    for (const envelope of fits) {
      if (!this.#allowance.isLeft) break
      this.#allowance.spend(1 + envelopeSize(envelope) / bytesPerCost)
      this.#transport.publish(encodeGossip({ type: 'envelope', envelope }))
    }
    return fits.length === own.length
  }
}
