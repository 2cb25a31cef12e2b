import { describe, expect, it } from 'vitest'
import { createSigningKey, stampOf } from '../../../src/core/index.ts'
import type { AgentId, DocumentId, EnvelopeHash, InstanceId, SigningKey } from '../../../src/core/index.ts'
import { feedIdOf, isSignedBy, mainSpace, referenceTo, sealEnvelope } from '../../../src/feed/index.ts'
import type { Envelope } from '../../../src/feed/index.ts'
import { provenEnvelopes } from '../../../src/replica/proof.ts'
import { seededRandom } from '../../sim/virtual-time.ts'

const agent = '11'.repeat(32) as AgentId
const document = '22'.repeat(32) as DocumentId
const random = seededRandom('proof')
const author = createSigningKey(random)
const stranger = createSigningKey(random)

/** A chain of `sizes.length` envelopes with bodies of these sizes. */
function chain(sizes: readonly number[], key: SigningKey = author, stampAt = (index: number): number => index + 1): Envelope[] {
  const opening = { instance: '33'.repeat(16) as InstanceId, key: key.publicKey, nonce: random.bytes(16) }
  const envelopes: Envelope[] = []
  let previous: EnvelopeHash | null = null
  for (const [index, size] of sizes.entries()) {
    const body = { salt: random.bytes(16), bytes: new Uint8Array(size) }
    const envelope: Envelope = sealEnvelope(
      {
        format: 1,
        rules: 1,
        agent,
        space: mainSpace,
        feed: feedIdOf(agent, opening),
        sequence: index + 1,
        previous,
        stamp: stampOf(stampAt(index), 0),
        deps: [],
        records: [],
        bodies: [referenceTo(body, { type: 1, schema: 1, critical: true, document })],
        opening: index === 0 ? opening : null,
      },
      [body],
      key,
    )
    previous = envelope.hash
    envelopes.push(envelope)
  }
  return envelopes
}

const unsigned = (envelope: Envelope): Envelope => ({ ...envelope, signature: null })
const prove = (envelopes: readonly Envelope[]): readonly Envelope[] => provenEnvelopes(envelopes, () => author.publicKey)
const sequences = (envelopes: readonly Envelope[]): number[] => envelopes.map((envelope) => envelope.header.sequence)

describe('envelopes that came together', () => {
  it('are proven by one signature at their end', () => {
    const run = chain([100, 100, 100])
    expect(sequences(prove(run.map((envelope, index) => (index < 2 ? unsigned(envelope) : envelope))))).toEqual([1, 2, 3])
  })

  it('are proven up to the last valid signature, and not beyond', () => {
    const run = chain([100, 100, 100, 100])
    expect(
      sequences(prove([unsigned(run[0] as Envelope), run[1] as Envelope, unsigned(run[2] as Envelope), unsigned(run[3] as Envelope)])),
    ).toEqual([1, 2])
    expect(prove(run.map(unsigned))).toEqual([])
    expect(prove(chain([100, 100], stranger))).toEqual([])
    expect(provenEnvelopes(run, () => undefined)).toEqual([])
  })

  it('are not proven across a break of the chain', () => {
    const run = chain([100, 100, 100])
    const other = chain([100, 100, 100])
    const mixed = [run[0], other[1], run[2]].map((envelope) => ({
      ...(envelope as Envelope),
      header: { ...(envelope as Envelope).header, feed: (run[0] as Envelope).header.feed },
    }))
    expect(sequences(prove(mixed))).toEqual([3])
  })

  it('never keep a signature that nobody has verified', () => {
    const garbage = random.bytes(64)
    const run = chain([100, 40_000, 40_000, 100, 90_000, 100]).map((envelope, index) =>
      index < 5 ? { ...envelope, signature: garbage } : envelope,
    )
    const proven = prove(run)
    expect(sequences(proven)).toEqual([1, 2, 3, 4, 5, 6])
    for (const envelope of proven) expect(envelope.signature === null || isSignedBy(envelope, author.publicKey)).toBe(true)
  })

  it('keep a valid signature for every 64 KiB, so that runs do not grow as they are passed on', () => {
    const proven = prove(chain(Array.from({ length: 40 }, () => 10_000)))
    expect(proven).toHaveLength(40)
    let bytes = 0
    for (const envelope of proven) {
      bytes += 10_000
      expect(bytes).toBeLessThanOrEqual(80_000)
      if (envelope.signature !== null) bytes = 0
    }
    expect(prove(proven)).toEqual(proven)
  })

  it('are not taken when a run before its signature is longer than anyone would pass on', () => {
    const run = chain(Array.from({ length: 30 }, () => 100_000)).map((envelope, index) => (index < 29 ? unsigned(envelope) : envelope))
    const proven = prove(run)
    expect(proven.length).toBeGreaterThan(5)
    expect(proven.length).toBeLessThan(12)
    expect(proven.at(-1)?.header.sequence).toBe(30)
  })

  it('keep the signature of what goes before an envelope that will not be stored: nobody could prove it further on', () => {
    const run = chain([100, 100, 100, 100], author, (index) => (index === 2 ? 1 : index + 1))
    const proven = prove(run)
    expect(sequences(proven)).toEqual([1, 2, 3])
    expect(proven.map(({ signature }) => signature !== null)).toEqual([false, true, true])
    const [first, second, stale] = run as [Envelope, Envelope, Envelope]
    expect(sequences(prove([unsigned(first), unsigned(second), stale]))).toEqual([3])
  })

  it('are looked at no further after a handful of signatures that do not hold', () => {
    const forged = (envelope: Envelope): Envelope => ({ ...envelope, signature: random.bytes(64) })
    const run = chain(Array.from({ length: 20 }, () => 100))
    expect(sequences(prove(run.map((envelope, index) => (index < 15 ? envelope : forged(envelope)))))).toHaveLength(15)
    expect(prove(run.map((envelope, index) => (index < 5 ? envelope : forged(envelope))))).toEqual([])
  })
})
