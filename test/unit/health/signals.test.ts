import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { DocumentId, InstanceId } from '../../../src/core/index.ts'
import { crossings, noSignals, signalsOf } from '../../../src/health/index.ts'
import type { Coverage } from '../../../src/replica/index.ts'

const attic = 'aa' as InstanceId
const phone = 'bb' as InstanceId
const documents = (...names: string[]): DocumentId[] => names as DocumentId[]
const all = new Set([attic, phone])
const thresholds = { driftPercent: 1, lagMilliseconds: 300_000, recoveryMilliseconds: 30_000 }
const inSync: Coverage = {
  members: [
    { instance: attic, documents: [], oldestAt: null },
    { instance: phone, documents: [], oldestAt: null },
  ],
  unknown: 0,
  feedsLacking: 0,
  documents: 10,
}

const ready = { recoveryMilliseconds: null, rebuildMilliseconds: null }

describe('the signals', () => {
  test('of members that lack nothing are nought', () => {
    expect(signalsOf(inSync, all, { ...ready, recoveryMilliseconds: 12 }, 0)).toEqual({
      driftPercent: 0,
      lagMilliseconds: 0,
      lags: new Map([
        [attic, 0],
        [phone, 0],
      ]),
      recoveryMilliseconds: 12,
      rebuildMilliseconds: null,
    })
  })

  test('of members that never told anything are unknown, not in sync', () => {
    expect(signalsOf({ ...inSync, members: [], unknown: 2 }, all, ready, 0)).toEqual(noSignals)
  })

  test('tell of who is away how old it is what it lacks, and no drift', () => {
    const members = [{ instance: attic, documents: documents('a'), oldestAt: 4_000 }]
    expect(signalsOf({ ...inSync, members }, new Set(), ready, 10_000)).toMatchObject({ driftPercent: null, lagMilliseconds: 6_000 })
  })

  test('of an instance without others are nought', () => {
    expect(signalsOf({ ...inSync, members: [] }, new Set(), ready, 0)).toMatchObject({ driftPercent: 0, lagMilliseconds: 0 })
  })

  test('count a document once, however many members lack something of it, and each unseen feed for one', () => {
    const members = [
      { instance: attic, documents: documents('a', 'b'), oldestAt: 4_000 },
      { instance: phone, documents: documents('b'), oldestAt: 9_000 },
    ]
    const signals = signalsOf({ ...inSync, members, feedsLacking: 1 }, all, ready, 10_000)
    expect(signals.driftPercent).toBe(30)
    expect(signals.lagMilliseconds).toBe(6_000)
    expect(signals.lags.get(phone)).toBe(1_000)
  })

  test('stay within their range, whatever is known and however wrong the clocks are', () => {
    const member = fc.record({
      instance: fc.constantFrom(attic, phone),
      documents: fc.subarray(documents('a', 'b', 'c')),
      oldestAt: fc.option(fc.integer()),
    })
    const coverage = fc.record({ members: fc.array(member), unknown: fc.nat(3), feedsLacking: fc.nat(9), documents: fc.nat(9) })
    fc.assert(
      fc.property(coverage, fc.integer(), (known, now) => {
        const { driftPercent, lagMilliseconds } = signalsOf(known, all, ready, now)
        if (driftPercent !== null) expect(driftPercent >= 0 && driftPercent <= 100).toBe(true)
        if (lagMilliseconds !== null) expect(lagMilliseconds).toBeGreaterThanOrEqual(0)
      }),
    )
  })
})

describe('a threshold', () => {
  const signals = (driftPercent: number, lag: number, recoveryMilliseconds: number, rebuildMilliseconds = 0) =>
    crossings(
      { driftPercent, lagMilliseconds: lag, lags: new Map([[attic, lag]]), recoveryMilliseconds, rebuildMilliseconds },
      thresholds,
      () => 'attic',
      400_000,
    )

  test('is crossed only above it', () => {
    expect(signals(1, 300_000, 30_000)).toEqual([])
    expect(signals(1.1, 300_001, 30_001).map(({ id }) => id)).toEqual(['drift', `lag:${attic}`, 'recovery'])
    expect(signals(0, 0, 0, 30_001).map(({ id }) => id)).toEqual(['rebuild'])
  })

  test('is told in plain words', () => {
    expect(signals(12.3456, 360_000, 31_000).map(({ detail }) => detail)).toEqual([
      '12% of the documents differ from what the instances that are connected told; 1% are tolerated',
      'attic lacks what was written 6 min ago, by what it last told: it is away, or it cannot keep up; 5 min are tolerated',
      'this daemon took 31 s to be ready; 30 s are tolerated',
    ])
  })

  test('is not crossed by what is unknown', () => {
    expect(crossings(noSignals, thresholds, () => '', 0)).toEqual([])
  })
})
