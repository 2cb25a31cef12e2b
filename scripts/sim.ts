/**
 * Runs the simulator on many seeds, on all cores: `npm run sim -- --seeds N --from S [--minutes M] [--jobs J] [--until-failure]`.
 * A seed that fails is shrunk, and printed with the command that replays the part: `npm run sim -- --seed S --only 0-3,8`.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker, isMainThread, parentPort } from 'node:worker_threads'
import { numbersOfText, planOf } from '../test/sim/plan.ts'
import { Tally, commandOf, planToText } from '../test/sim/report.ts'
import { shrink } from '../test/sim/shrink.ts'
import { simulate } from '../test/sim/simulate.ts'
import type { RunResult } from '../test/sim/simulate.ts'

/** Failures after which no more are shrunk: there is one thing wrong, most likely. */
const shrunkMax = 5
const usage = 'usage: npm run sim -- [--seeds N] [--from S] [--minutes M] [--jobs J] [--until-failure] | --seed S [--only 0-3,8]\n'

if (isMainThread) process.exitCode = await main()
else parentPort?.on('message', (seed: string) => void simulate(seed).then((result) => parentPort?.postMessage(result)))

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      'seeds': { type: 'string', default: '100' },
      'from': { type: 'string', default: '1' },
      'minutes': { type: 'string', default: 'Infinity' },
      'jobs': { type: 'string', default: String(availableParallelism()) },
      'until-failure': { type: 'boolean', default: false },
      'seed': { type: 'string' },
      'only': { type: 'string' },
    },
  })
  const only = values.only === undefined ? null : numbersOfText(values.only)
  const [seeds, from, jobs] = [Number(values.seeds), Number(values.from), Number(values.jobs)]
  const areNumbers = [seeds, from, jobs].every((number) => Number.isSafeInteger(number) && number >= 0) && Number(values.minutes) > 0
  if (!areNumbers || seeds < 1 || jobs < 1 || (values.only !== undefined && only === null)) {
    process.stderr.write(usage)
    return 64
  }
  if (values.seed !== undefined) return replay(values.seed, only)
  return runMany(from, seeds, { jobs, minutes: Number(values.minutes), untilFailure: values['until-failure'] })
}

async function replay(seed: string, only: ReadonlySet<number> | null): Promise<number> {
  const plan = planOf(seed, only)
  const { faults, trace } = await simulate(seed, plan)
  process.stdout.write(`${planToText(plan)}\ntrace ${trace}\n${faults.length === 0 ? 'passed' : `failed: ${faults.join('\n')}`}\n`)
  return faults.length === 0 ? 0 : 1
}

interface Bounds {
  readonly jobs: number
  readonly minutes: number
  readonly untilFailure: boolean
}

async function runMany(from: number, seeds: number, { jobs, minutes, untilFailure }: Bounds): Promise<number> {
  const began = performance.now()
  const seconds = (): number => (performance.now() - began) / 1_000
  const tally = new Tally()
  const failed: RunResult[] = []
  let next = from
  const takeSeed = (): string | null => {
    if (next >= from + seeds || seconds() >= minutes * 60 || (untilFailure && failed.length > 0)) return null
    next += 1
    return String(next - 1)
  }
  const take = (result: RunResult): void => {
    tally.add(result)
    if (result.faults.length === 0) return
    failed.push(result)
    process.stdout.write(`seed ${result.seed} failed: ${result.faults[0]}\n  replay: npm run sim -- --seed ${result.seed}\n`)
  }
  await Promise.all(Array.from({ length: Math.min(jobs, seeds) }, () => work(takeSeed, take)))
  process.stdout.write(
    `seeds ${from} to ${next - 1} in ${seconds().toFixed(1)} s, ${(tally.seeds / seconds()).toFixed(1)} a second: ${tally.toText()}\n` +
      `${tally.seeds - failed.length} passed, ${failed.length} failed\n`,
  )
  for (const { seed } of untilFailure ? [] : failed.slice(0, shrunkMax)) await reportShrunk(seed)
  return failed.length === 0 ? 0 : 1
}

/** One thread, which runs one seed after the other. */
function work(takeSeed: () => string | null, take: (result: RunResult) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url))
    const goOn = (): void => {
      const seed = takeSeed()
      if (seed === null) worker.terminate().then(() => resolve(), reject)
      else worker.postMessage(seed)
    }
    worker.on('message', (result: RunResult) => {
      take(result)
      goOn()
    })
    worker.on('error', reject)
    goOn()
  })
}

async function reportShrunk(seed: string): Promise<void> {
  const small = await shrink(planOf(seed))
  const { faults } = await simulate(seed, small)
  process.stdout.write(
    `\nseed ${seed}, shrunk to ${small.steps.length} steps: ${faults[0]}\n${planToText(small)}\n  replay: ${commandOf(small)}\n`,
  )
}
