import { expect, it } from 'vitest'
import { hashToId, stampOf } from '../../../src/core/index.ts'
import type { EnvelopeHash, SigningKey } from '../../../src/core/index.ts'
import { feedIdOf, headerHash, mainSpace, referenceTo, sealEnvelope } from '../../../src/feed/index.ts'
import type { Envelope, Header } from '../../../src/feed/index.ts'
import { instanceIdOf } from '../../../src/membership/index.ts'
import { createLoneEngine } from './lone-engine.ts'

const { admission, agent, hostileKey, open, pass, random } = await createLoneEngine('quota')

/** Envelopes of one feed, each with a body of 2 MiB of a type that nobody knows, of which the first rests on what does not exist. */
function feedThatWaits(key: SigningKey, count: number): Envelope[] {
  const opening = { instance: instanceIdOf(key.publicKey), key: key.publicKey, nonce: random.bytes(16) }
  const body = { salt: new Uint8Array(16), bytes: new Uint8Array(2 << 20) }
  const reference = referenceTo(body, { type: 99, schema: 1, critical: false, document: hashToId('any', body.salt) })
  const envelopes: Envelope[] = []
  let previous: EnvelopeHash | null = null
  for (let sequence = 1; sequence <= count; sequence += 1) {
    const header: Header = {
      format: 1,
      rules: 1,
      agent,
      space: mainSpace,
      feed: feedIdOf(agent, opening),
      sequence,
      previous,
      stamp: stampOf(1_800_000_000_000 + sequence, 0),
      deps: sequence === 1 ? [headerHash(random.bytes(8))] : [],
      records: [admission.hash],
      bodies: [reference],
      opening: sequence === 1 ? opening : null,
    }
    const envelope = sealEnvelope(header, [body], key)
    envelopes.push(envelope)
    previous = envelope.hash
  }
  return envelopes
}

it('a member can make others keep so much for nothing and no more, also over a restart, and its other envelopes are taken', async () => {
  let engine = await open()
  const waiting = (): number => [...engine.ledger.waitingBytes.values()].reduce((sum, bytes) => sum + bytes, 0)
  for (let feed = 0; feed < 4; feed += 1) {
    engine.offer(feedThatWaits(hostileKey, 12))
    await pass(1_000)
  }
  expect(waiting()).toBeGreaterThan(60 << 20)
  expect(waiting()).toBeLessThanOrEqual(64 << 20)
  const kept = waiting()
  engine = await open()
  expect(waiting()).toBe(kept)
  engine.offer(feedThatWaits(hostileKey, 12))
  await pass(1_000)
  expect(waiting()).toBeLessThanOrEqual(64 << 20)
  expect([...engine.intake.refused.values()]).toContain('too much of its author waits for what is not here')

  const [ready] = feedThatWaits(hostileKey, 1) as [Envelope]
  const header = { ...ready.header, deps: [] }
  engine.offer([sealEnvelope(header, ready.bodies, hostileKey)])
  await pass(1_000)
  expect(engine.ledger.feed(header.feed)).toMatchObject({ have: 1, applied: 1 })
})
