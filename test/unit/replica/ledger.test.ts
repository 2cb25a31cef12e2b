import { describe, expect, it } from 'vitest'
import { createSigningKey, stampOf } from '../../../src/core/index.ts'
import type { AgentId, InstanceId } from '../../../src/core/index.ts'
import { feedIdOf, mainSpace, sealEnvelope } from '../../../src/feed/index.ts'
import type { Envelope } from '../../../src/feed/index.ts'
import { Ledger } from '../../../src/replica/ledger.ts'
import { createMemoryStore } from '../../../src/storage/index.ts'
import { seededRandom } from '../../sim/virtual-time.ts'

const agent = '11'.repeat(32) as AgentId
const random = seededRandom('ledger')
const author = createSigningKey(random)
const opening = { instance: '33'.repeat(16) as InstanceId, key: author.publicKey, nonce: random.bytes(16) }

/** The envelope that comes after `before` in the one feed, stamped `at`. */
function after(before: Envelope | null, at: number): Envelope {
  const sequence = (before?.header.sequence ?? 0) + 1
  return sealEnvelope(
    {
      format: 1,
      rules: 1,
      agent,
      space: mainSpace,
      feed: feedIdOf(agent, opening),
      sequence,
      previous: before?.hash ?? null,
      stamp: stampOf(at, 0),
      deps: [],
      records: [],
      bodies: [],
      opening: sequence === 1 ? opening : null,
    },
    [],
    author,
  )
}

const first = after(null, 10)
const second = after(first, 20)
const third = after(second, 30)
const ledgerWith = (...envelopes: readonly Envelope[]): Ledger => {
  const ledger = new Ledger(createMemoryStore())
  for (const envelope of envelopes) expect(ledger.admit(envelope)).toBe('stored')
  return ledger
}
const reached = (ledger: Ledger): unknown => {
  const { have, head } = ledger.feed(first.header.feed) ?? {}
  return { have, head }
}

describe('the ledger', () => {
  it('stores a feed in the order of its chain, each envelope once', () => {
    const ledger = new Ledger(createMemoryStore())
    expect(ledger.admit(second)).toBe('gap')
    expect(ledger.admit(first)).toBe('stored')
    expect(ledger.admit(third)).toBe('gap')
    expect(ledger.admit(second)).toBe('stored')
    expect([first, second].map((envelope) => ledger.admit(envelope))).toEqual(['known', 'known'])
    expect(reached(ledger)).toEqual({ have: 2, head: second.hash })
  })

  it('finds a fork in another envelope at a place that is taken, and in one that goes on from such another', () => {
    const branch = after(first, 21)
    const ledger = ledgerWith(first, second)
    expect(ledger.admit(branch)).toBe('fork')
    expect(ledger.admit(after(branch, 31))).toBe('fork')
    expect(reached(ledger)).toEqual({ have: 2, head: second.hash })
  })

  it('stores nothing whose time is not after the one before it', () => {
    const ledger = ledgerWith(first, second)
    expect([after(second, 20), after(second, 5)].map((envelope) => ledger.admit(envelope))).toEqual(['stale-stamp', 'stale-stamp'])
    expect(reached(ledger)).toEqual({ have: 2, head: second.hash })
  })
})
