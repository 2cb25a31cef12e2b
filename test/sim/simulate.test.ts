/** A bounded run of the simulator, proof that it is one and the same run for one and the same seed, and cases that once failed. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { numbersOfText, numbersToText, planOf } from './plan.ts'
import type { Act, Plan } from './plan.ts'
import { Tally, commandOf } from './report.ts'
import { shrink } from './shrink.ts'
import { simulate } from './simulate.ts'

/** Seeds of a bounded run; `npm run sim` runs as many as are wanted. */
const seeds = 80
const firstSeed = 5_000

describe('a simulated group of instances', () => {
  it(`converges and loses nothing under each of ${seeds} seeds, in which every kind of trouble comes`, async () => {
    const failed: string[] = []
    const tally = new Tally()
    for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
      const result = await simulate(String(seed))
      tally.add(result)
      if (result.faults.length > 0) failed.push(`npm run sim -- --seed ${seed}: ${result.faults[0]}`)
    }
    expect(failed).toEqual([])
    expect(tally.missing).toEqual([])
  })

  it('runs the same again under the same seed, to the last message', async () => {
    for (const seed of ['5003', '5004']) {
      const [first, second] = [await simulate(seed), await simulate(seed)]
      expect(second).toEqual(first)
      expect(first.requests).toBeGreaterThan(0)
    }
    expect((await simulate('5003')).trace).not.toBe((await simulate('5004')).trace)
  })
})

describe('a plan', () => {
  it('is a plan in any of its parts', async () => {
    const whole = planOf('5002')
    const numbers = fc.subarray(whole.steps.map(({ number }) => number))
    await fc.assert(
      fc.asyncProperty(numbers, async (some) => {
        const part = planOf('5002', new Set(some))
        expect(part.steps).toEqual(whole.steps.filter(({ number }) => some.includes(number)))
        expect((await simulate('5002', part)).faults).toEqual([])
      }),
      { numRuns: 3 },
    )
  })

  it('has numbers that a command line takes back', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(200)), (some) => {
        const numbers = some.toSorted((a, b) => a - b)
        if (numbers.length > 0) expect(numbersOfText(numbersToText(numbers))).toEqual(new Set(numbers))
      }),
    )
    for (const text of ['', '1,', '-3', 'a', '1-']) expect(numbersOfText(text)).toBeNull()
  })

  it('is shrunk to the steps that a failure takes, and named by a command', async () => {
    const plan = planOf('shrunk')
    const small = await shrink(plan, async ({ steps }) =>
      steps.filter(({ act }) => act.type === 'write').length >= 3 ? 'three' : undefined,
    )
    expect(small.steps).toHaveLength(3)
    expect(commandOf(small)).toBe(`npm run sim -- --seed shrunk --only ${numbersToText(small.steps.map(({ number }) => number))}`)
  })
})

/** A plan of acts, one after the other. */
function planOfActs(seed: string, troubleMs: number, acts: readonly (readonly [atMs: number, act: Act])[]): Plan {
  return { seed, troubleMs, steps: acts.map(([at, act], number) => ({ at, act, number })) }
}

function members(...names: readonly string[]): (readonly [number, Act])[] {
  return names.map((node, index) => [0, { type: 'member', node, role: index === 0 ? 'admin' : 'writer', skewMs: 0, rootKey: false }])
}

describe('what once failed', () => {
  it('is that a second copy of a home was found while the store was opened anew', async () => {
    const plan = planOfActs('copies', 6_000, [
      ...members('a', 'b', 'c'),
      [1_500, { type: 'unconfirmed', node: 'a', openFailures: 20 }],
      [1_600, { type: 'copy', node: 'b', as: 'd', both: true }],
      [1_700, { type: 'write', node: 'a', operations: 1 }],
    ])
    expect((await simulate('copies', plan)).faults).toEqual([])
  })

  it('is that whoever hears more of a newer version than it knows hung up', async () => {
    const plan = planOfActs('newer', 3_000, [
      ...members('a', 'b', 'c'),
      [0, { type: 'newer', node: 'a' }],
      [0, { type: 'weather', set: { gossipLoss: 1 }, forMs: Infinity }],
      [1_900, { type: 'write', node: 'a', operations: 1 }],
      [2_500, { type: 'write', node: 'b', operations: 1 }],
    ])
    const { faults, happened } = await simulate('newer', plan)
    expect(faults).toEqual([])
    expect([...happened.keys()].filter((what) => what.startsWith('link: bad'))).toEqual([])
  })

  it('is that an admin signed with the key that it had just replaced', async () => {
    const plan = planOfActs('replaced', 3_000, [
      ...members('a', 'b', 'c'),
      [1_000, { type: 'rotate', node: 'a' }],
      [1_200, { type: 'role', node: 'a', of: 'b', role: 'reader' }],
      [1_300, { type: 'join', node: 'a', as: 'd', role: 'writer' }],
      [2_500, { type: 'role', node: 'a', of: 'c', role: 'reader' }],
    ])
    const { faults, happened } = await simulate('replaced', plan)
    expect(faults).toEqual([])
    expect(happened.get('role:reader')).toBe(1)
  })

  it('is that whoever speaks a newer version was hung up on before it heard that it was removed', async () => {
    const plan = planOf('20645', numbersOfText('0-4,21-26,30-31,42,45') ?? new Set())
    expect((await simulate('20645', plan)).faults).toEqual([])
  })

  it('is that an instance wrote by a role that was lost with a store that was opened anew', async () => {
    const plan = planOf('20097', numbersOfText('0-1,3,14,16,21,30,34,42,48,56-57') ?? new Set())
    expect((await simulate('20097', plan)).faults).toEqual([])
  })

  it('is that a record was told once, and lost with a store that was opened anew', async () => {
    const plan = planOfActs('5114', 6_000, [
      ...members('a', 'b', 'c'),
      [2_881, { type: 'unconfirmed', node: 'a', openFailures: 2 }],
      [4_178, { type: 'rotate', node: 'c' }],
      [4_245, { type: 'write', node: 'a', operations: 1 }],
    ])
    expect((await simulate('5114', plan)).faults).toEqual([])
  })
})
