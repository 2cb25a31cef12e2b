/** Runs the simulator: `npm run sim -- --seeds N --from S [--until-failure]`. A failing seed is printed with the command that replays it. */
import { parseArgs } from 'node:util'
import { simulate } from '../test/sim/simulate.ts'

const { values } = parseArgs({
  options: {
    'seeds': { type: 'string', default: '100' },
    'from': { type: 'string', default: '1' },
    'until-failure': { type: 'boolean', default: false },
  },
})
const seeds = Number(values.seeds)
const from = Number(values.from)
if (!Number.isSafeInteger(seeds) || !Number.isSafeInteger(from) || seeds < 1) {
  process.stderr.write('usage: npm run sim -- --seeds N --from S\n')
  process.exit(64)
}

const began = performance.now()
let failed = 0
let requests = 0
let acknowledged = 0
let healedMsMax = 0
for (let seed = from; seed < from + seeds; seed += 1) {
  const result = await simulate(String(seed))
  requests += result.requests
  acknowledged += result.acknowledged
  healedMsMax = Math.max(healedMsMax, result.healedMs)
  if (result.faults.length === 0) continue
  failed += 1
  process.stdout.write(`seed ${seed} failed: ${result.faults[0]}\n  replay: npm run sim -- --seeds 1 --from ${seed}\n`)
  if (values['until-failure']) break
}
const seconds = (performance.now() - began) / 1_000
process.stdout.write(
  `${seeds} seeds in ${seconds.toFixed(1)} s: ${requests} requests, ${acknowledged} acknowledged, slowest healing ${(healedMsMax / 1_000).toFixed(1)} virtual seconds\n` +
    `${seeds - failed} passed, ${failed} failed\n`,
)
process.exitCode = failed === 0 ? 0 : 1
