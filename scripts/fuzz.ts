/**
 * Runs the fuzzer: `npm run fuzz -- --cases N --seed S [--decoder NAME] [--minutes M]`. Of N cases each decoder gets a share, by what
 * one costs, and an equal share of the time. A case that breaks a promise is printed with its bytes and the command that replays it.
 */
import { parseArgs } from 'node:util'
import { decoders, shareOf } from '../test/unit/fuzz/decoders.ts'
import { caseMillisecondsMax, fuzz } from '../test/unit/fuzz/fuzz.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    decoder: { type: 'string' },
    minutes: { type: 'string', default: '600' },
  },
})
const cases = Number(values.cases)
const seed = Number(values.seed)
const minutes = Number(values.minutes)
const chosen = decoders.filter(({ name }) => values.decoder === undefined || name === values.decoder)
if (!Number.isSafeInteger(cases) || cases < 1 || !Number.isSafeInteger(seed) || !(minutes > 0) || chosen.length === 0) {
  process.stderr.write(
    `usage: npm run fuzz -- --cases N --seed S [--decoder NAME] [--minutes M]\n  decoders: ${decoders.map(({ name }) => name).join(', ')}\n`,
  )
  process.exit(64)
}

const began = performance.now()
let total = 0
let failed = 0
process.stdout.write(
  `${'decoder'.padEnd(18)}${'cases'.padStart(10)}${'accepted'.padStart(10)}${'worst ms'.padStart(10)}  of (seed, bytes)\n`,
)
for (const decoder of chosen) {
  const until = performance.now() + (minutes * 60_000) / chosen.length
  const report = await fuzz(decoder, seed, Math.max(1, Math.round(cases * shareOf(decoder, chosen))), {
    isOver: () => performance.now() > until,
  })
  total += report.cases
  failed += report.faults.length
  const worst = `${report.worstMs.toFixed(1).padStart(10)}  (${report.worstSeed}, ${report.worstBytes})`
  process.stdout.write(`${decoder.name.padEnd(18)}${String(report.cases).padStart(10)}${String(report.accepted).padStart(10)}${worst}\n`)
  for (const fault of report.faults) {
    process.stdout.write(
      `${fault.decoder} failed at seed ${fault.seed}: ${fault.reason}\n  replay: npm run fuzz -- --cases 1 --seed ${fault.seed} --decoder ${fault.decoder}\n` +
        `  input, ${fault.length} bytes: ${fault.input}\n`,
    )
  }
}
const seconds = (performance.now() - began) / 1_000
process.stdout.write(`${total} cases in ${seconds.toFixed(0)} s, at most ${caseMillisecondsMax} ms of processor time each\n`)
process.stdout.write(`${total - failed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
