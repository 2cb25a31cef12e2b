/**
 * Cuts the power: records what real processes do to their files, and looks at disks as a power loss can leave them. `npm run power-loss -- --seeds N --from S`,
 * N disks of each life. A recording in which something is wrong is kept, and printed with the command that looks at that disk again.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { lives, recordLife, recordedLife } from '../test/power-loss/lives.ts'
import type { Life } from '../test/power-loss/lives.ts'
import { whyNotRecorded } from '../test/power-loss/recording.ts'

const { values } = parseArgs({
  options: {
    'seeds': { type: 'string', default: '100' },
    'from': { type: 'string', default: '1' },
    'life': { type: 'string', multiple: true, default: [...lives] },
    'recording': { type: 'string' },
    'until-failure': { type: 'boolean', default: false },
  },
})
const [seeds, from] = [Number(values.seeds), Number(values.from)]
const asked = values.life.filter((life): life is Life => (lives as readonly string[]).includes(life))
const isOneRecording = values.recording === undefined || asked.length === 1
if (!Number.isSafeInteger(seeds) || !Number.isSafeInteger(from) || seeds < 1 || asked.length < values.life.length || !isOneRecording) {
  process.stderr.write(
    `usage: npm run power-loss -- --seeds N --from S [--life ${lives.join('|')} [--recording DIRECTORY]] [--until-failure]\n`,
  )
  process.exit(64)
}
const why = whyNotRecorded()
if (why !== undefined && values.recording === undefined) {
  process.stdout.write(`skipped: ${why}; what a process does to its files is recorded with it\n`)
  process.exit(0)
}

const work = mkdtempSync(join(tmpdir(), 'selfsame-power-loss-'))
let passed = 0
let failed = 0
for (const life of asked) {
  const root = values.recording === undefined ? join(work, life) : resolve(values.recording)
  const disks = join(work, `${life}.disks`)
  mkdirSync(disks)
  const powerLoss = values.recording === undefined ? recordLife(life, root, disks) : recordedLife(life, root, disks)
  const began = performance.now()
  let faults = 0
  for (let seed = from; seed < from + seeds && !(faults > 0 && values['until-failure']); seed += 1) {
    const fault = await powerLoss.fault(seed)
    if (fault === undefined) {
      passed += 1
      continue
    }
    faults += 1
    process.stdout.write(
      `${life}, seed ${seed} failed: ${fault}\n  replay: npm run power-loss -- --seeds 1 --from ${seed} --life ${life} --recording ${root}\n`,
    )
  }
  failed += faults
  const seconds = (performance.now() - began) / 1_000
  process.stdout.write(
    `${life}: ${powerLoss.operations} operations, disks of ${seeds} seeds in ${seconds.toFixed(1)} s, ${faults} failed\n`,
  )
  rmSync(disks, { recursive: true, force: true })
  if (faults === 0 && values.recording === undefined)
    for (const path of [root, `${root}.trace`]) rmSync(path, { recursive: true, force: true })
}
if (failed === 0) rmSync(work, { recursive: true, force: true })
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
