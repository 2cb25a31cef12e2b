/** Every case of the adversary, short: refused, survived, and the honest agree. How fast they stayed meanwhile is for `scripts/adversary.ts` to print. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cases } from '../adversary/attacker.ts'
import { openRange } from '../adversary/range.ts'
import type { Range } from '../adversary/range.ts'

const seconds = 1
/** Attacks that need longer than this to be told from slowness are left to `scripts/adversary.ts`, too. */
const secondsMax = 10
/** What no attack may come near on a machine that does other work besides: milliseconds of the loop's own work at a turn, and bytes. */
const busyMsMax = 2_000
const grownBytesMax = 512 << 20

let range: Range

beforeAll(async () => {
  range = await openRange()
})

afterAll(() => range.close())

const short = cases.filter(({ secondsMin = 0 }) => secondsMin <= secondsMax)

test.each(short.map((attack) => [attack.name, attack] as const))('%s: that is refused, and disturbs nobody', async (_, attack) => {
  const { busyMs, refusal, reports, residentBefore, residentMax } = await range.run(attack, seconds)
  expect({ refusal, reports }).toMatchObject({ refusal: expect.stringMatching(attack.refusal) as string })
  expect(busyMs).toBeLessThan(busyMsMax)
  expect(residentMax - residentBefore).toBeLessThan(grownBytesMax)
})
