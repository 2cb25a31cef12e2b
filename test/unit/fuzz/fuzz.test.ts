import { describe, expect, test } from 'vitest'
import { decode, encode } from '../../../src/core/index.ts'
import { decoders, shareOf } from './decoders.ts'
import { fuzz } from './fuzz.ts'
import type { Decoder } from './fuzz.ts'
import { messageDecoder } from './message-decoders.ts'

/** Of all decoders together; `npm run fuzz` goes on from there. */
const cases = 8_000

describe('whatever comes from outside, the decoder', () => {
  test.each(decoders.map((decoder) => [decoder.name, decoder] as const))(
    '%s refuses it or takes it, in time, and what it takes holds',
    async (_, decoder) => {
      const report = await fuzz(decoder, 1, Math.ceil(cases * shareOf(decoder, decoders)))
      expect(report.faults).toEqual([])
      // A generator whose every case is refused, or taken, would look at one half of the decoder only.
      expect(report.accepted).toBeGreaterThan(0)
      if (decoder.name !== 'frames') expect(report.accepted).toBeLessThan(report.cases)
    },
  )

  test('gets the same cases from the same seeds', async () => {
    const inputs = async (decoder: Decoder): Promise<readonly string[]> => {
      const found: string[] = []
      const draw: Decoder['draw'] = (dice) => {
        const drawn = decoder.draw(dice)
        found.push(Buffer.from(drawn.input).toString('hex'))
        return drawn
      }
      await fuzz({ ...decoder, draw }, 5, 30)
      return found
    }
    for (const decoder of decoders) expect(await inputs(decoder)).toEqual(await inputs(decoder))
  })
})

describe('the fuzzer finds a decoder that', () => {
  const small = () => ({ bytes: encode(['a', 1, [2]]), valid: true })
  const planted = (name: string, reason: RegExp, read: (bytes: Uint8Array) => ReturnType<typeof decode>, verify: () => void = () => {}) =>
    [name, reason, messageDecoder('planted', 1, small, read, verify)] as const
  const kept = new Map<string, Uint8Array>()

  test.each([
    planted('throws', /TypeError/, (bytes) => {
      const read = decode(bytes)
      return read.ok ? { ok: true, value: (read.value as readonly (readonly unknown[])[])[2]!.length } : read
    }),
    planted('refuses what is valid', /refused what is valid/, (bytes) => decode(bytes.subarray(1))),
    planted('is slow', /took \d+ ms/, (bytes) => {
      for (const began = process.threadCpuUsage().user; process.threadCpuUsage().user - began < 150_000;);
      return decode(bytes)
    }),
    planted('takes memory', /bytes of memory/, (bytes) => {
      if (bytes.length >= 1_024) kept.set('planted', new Uint8Array(80 << 20))
      return decode(bytes)
    }),
    planted('takes what it should not', /planted/, decode, () => {
      throw new Error('planted')
    }),
  ])('%s', async (_, reason, decoder) => {
    const { faults } = await fuzz(decoder, 1, 2_000, { faultsMax: 1 })
    expect(faults.map((fault) => fault.reason)).toEqual([expect.stringMatching(reason)])
    kept.clear()
  })
})
