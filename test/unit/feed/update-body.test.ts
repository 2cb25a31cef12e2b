import { describe, expect, it } from 'vitest'
import { encode } from '../../../src/core/index.ts'
import {
  decodeUpdateBody,
  encodeUpdateBody,
  fingerprintOf,
  frontierDigest,
  frontierFromWire,
  frontierToWire,
  operationIdOf,
} from '../../../src/feed/index.ts'
import type { FrontierEntry, UpdateBody } from '../../../src/feed/index.ts'
import { fc, id } from '../core/arbitraries.ts'

const body: fc.Arbitrary<UpdateBody> = fc.record({
  kind: fc.constantFrom('log', 'counter', 'text'),
  name: fc.string({ maxLength: 50 }),
  segment: fc.option(fc.record({ day: fc.nat(40_000), number: fc.nat(100) })),
  update: fc.uint8Array({ maxLength: 100 }),
  operations: fc.array(
    fc.record({ id: fc.string().map(operationIdOf), fingerprint: fc.string().map(fingerprintOf), index: fc.nat(65_535) }),
    { maxLength: 4 },
  ),
})

const frontier: fc.Arbitrary<FrontierEntry[]> = fc.uniqueArray(
  fc.record({
    feed: id<FrontierEntry['feed']>(16),
    have: fc.integer({ min: 1, max: 1_000 }),
    head: id<FrontierEntry['head']>(32),
    applied: fc.constant(0),
  }),
  { selector: (entry) => entry.feed, maxLength: 8 },
)

describe('the body of an update', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(body, (content) => {
        expect(decodeUpdateBody(encodeUpdateBody(content))).toEqual({ ok: true, value: content })
      }),
    )
  })

  it('is refused in any other shape, without a throw', () => {
    const refused = [
      [],
      ['log', 'x', null, new Uint8Array(), [[1]]],
      ['log', 'x', [1], new Uint8Array(), []],
      ['log', 1, null, new Uint8Array(), []],
      ['log', 'x', null, 'update', []],
    ]
    for (const value of refused) expect(decodeUpdateBody(encode(value)).ok).toBe(false)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (raw) => {
        expect(typeof decodeUpdateBody(raw).ok).toBe('boolean')
      }),
    )
  })
})

describe('operation ids and fingerprints', () => {
  it('are equal for equal texts and only for them', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(operationIdOf(a) === operationIdOf(b)).toBe(a === b)
        expect(fingerprintOf(a) === fingerprintOf(b)).toBe(a === b)
      }),
    )
  })
})

describe('a frontier', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(frontier, (entries) => {
        expect(frontierFromWire(frontierToWire(entries))).toEqual({ ok: true, value: entries })
      }),
    )
  })

  it('has one digest in every order, and another as soon as anything differs', () => {
    fc.assert(
      fc.property(
        frontier.filter((entries) => entries.length > 0),
        (entries) => {
          const [first, ...rest] = entries as [FrontierEntry, ...FrontierEntry[]]
          expect(frontierDigest(entries.toReversed())).toBe(frontierDigest(entries))
          expect(frontierDigest([{ ...first, applied: 1 }, ...rest])).not.toBe(frontierDigest(entries))
          expect(frontierDigest(rest)).not.toBe(frontierDigest(entries))
        },
      ),
    )
  })

  it('never claims to have applied more than it has', () => {
    expect(frontierFromWire([[new Uint8Array(16), 1, new Uint8Array(32), 2]]).ok).toBe(false)
  })
})
