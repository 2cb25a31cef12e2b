/** A bounded run of the simulator, and proof that it is one and the same run for one and the same seed. */
import { describe, expect, it } from 'vitest'
import { simulate } from './simulate.ts'

/** Seeds of a bounded run; `npm run sim` runs as many as are wanted. */
const seeds = 60

describe('a simulated group of instances', () => {
  it(`converges and loses nothing under every seed from 1 to ${seeds}`, async () => {
    const failed: string[] = []
    for (let seed = 1; seed <= seeds; seed += 1) {
      const { faults } = await simulate(String(seed))
      if (faults.length > 0) failed.push(`seed ${seed} (npm run sim -- --seeds 1 --from ${seed}): ${faults[0]}`)
    }
    expect(failed).toEqual([])
  })

  it('runs the same again under the same seed', async () => {
    const [first, second] = [await simulate('replay'), await simulate('replay')]
    expect(second).toEqual(first)
    expect(first.trace).not.toBe('')
  })
})
