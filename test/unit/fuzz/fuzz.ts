/**
 * The fuzzer: draws inputs for a decoder under a seed and holds it to its promises. It never throws, it is done in time and in
 * bounded memory, it takes what is valid, and what it takes stands up to the decoder's own further checks.
 */
import { createDice } from './dice.ts'
import type { Dice } from './dice.ts'

/** One input. */
export interface Case {
  readonly input: Uint8Array
  /** Whether it was made by the rules, so that it has to be accepted. */
  readonly valid: boolean
  /**
   * Decodes the input: timed, and again where it took long. Null where it was refused; else what has to be true of what was
   * accepted, which is not timed. Both throw where a promise is broken.
   */
  decode(): (() => void) | null | Promise<(() => void) | null>
}

export interface Decoder {
  readonly name: string
  /** What one case costs, in units of the cheapest. A run shares its cases out accordingly. */
  readonly weight: number
  draw(dice: Dice): Case
}

/** Milliseconds that one input may take: what an event loop may be held up. */
export const caseMillisecondsMax = 100
/** Bytes of memory that one input may cost: for each of its own, and at least what a frame costs that unpacks to 8 MiB. */
const memoryFactorMax = 48
const memoryBytesMin = 64 << 20
/** Inputs shorter than this cannot hold a count that matters; those that unpack are longer than their bytes tell. */
const measuredBytesMin = 1 << 10
/** Times that a slow case is run: collecting garbage and compiling belong to others too, so the least time counts. */
const timings = 4

/** Bytes of a bad input that are shown; its seed makes all of them. */
const shownBytesMax = 512

export interface Fault {
  readonly decoder: string
  readonly seed: number
  readonly reason: string
  /** As hexadecimal; of a long input the beginning. */
  readonly input: string
  readonly length: number
}

export interface Report {
  readonly decoder: string
  cases: number
  accepted: number
  worstMs: number
  worstSeed: number
  worstBytes: number
  memoryBytesMax: number
  readonly faults: Fault[]
}

/** Runs the cases of the seeds `from`, `from` + 1 and so on. Stops early after `faultsMax` faults, or when `isOver` says so. */
export async function fuzz(
  decoder: Decoder,
  from: number,
  cases: number,
  { faultsMax = 5, isOver = () => false }: { faultsMax?: number; isOver?: () => boolean } = {},
): Promise<Report> {
  const report: Report = {
    decoder: decoder.name,
    cases: 0,
    accepted: 0,
    worstMs: 0,
    worstSeed: from,
    worstBytes: 0,
    memoryBytesMax: 0,
    faults: [],
  }
  for (let seed = from; seed < from + cases && report.faults.length < faultsMax && !isOver(); seed++) {
    report.cases++
    await runCase(decoder, seed, report)
  }
  return report
}

async function runCase(decoder: Decoder, seed: number, report: Report): Promise<void> {
  const drawn = decoder.draw(createDice(`${decoder.name} ${seed}`))
  const { input } = drawn
  const fault = (reason: string): void => {
    report.faults.push({
      decoder: decoder.name,
      seed,
      reason,
      input: Buffer.from(input.subarray(0, shownBytesMax)).toString('hex'),
      length: input.length,
    })
  }
  try {
    const measured = input.length >= measuredBytesMin
    const before = measured ? memoryBytes() : 0
    const timed = async (): Promise<readonly [number, (() => void) | null]> => {
      const began = processorMs()
      const verify = await drawn.decode()
      return [processorMs() - began, verify]
    }
    const [firstMs, verify] = await timed()
    let ms = firstMs
    const grown = measured ? memoryBytes() - before : 0
    for (let again = 1; again < timings && ms > caseMillisecondsMax / 4; again++) {
      ms = Math.min(ms, (await timed())[0])
    }
    if (ms > report.worstMs) Object.assign(report, { worstMs: ms, worstSeed: seed, worstBytes: input.length })
    report.memoryBytesMax = Math.max(report.memoryBytesMax, grown)
    if (ms > caseMillisecondsMax) return fault(`took ${ms.toFixed(0)} ms`)
    if (grown > Math.max(memoryBytesMin, input.length * memoryFactorMax)) return fault(`took ${grown} bytes of memory`)
    if (verify === null) return drawn.valid ? fault('refused what is valid') : undefined
    report.accepted++
    verify()
  } catch (error) {
    fault(error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
}

/** Of this thread: what others do on the machine is not in it. */
function processorMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

function memoryBytes(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Throws where a promise is broken. */
export function promise(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new Error(`broken: ${reason}`)
}
