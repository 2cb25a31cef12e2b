/**
 * Real daemons under a nemesis: `npm run chaos -- [--minutes M] [--seed S] [--daemons N] [--pace MS] [--heal SECONDS]`. Exits with 1 where something
 * acknowledged was lost or counted twice, or daemons did not come to hold the same in time; homes and logs are kept then.
 *
 * Where it may, it runs in a mount namespace of its own: file systems that it mounts are gone with its last process.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { runChaos } from '../test/chaos/run.ts'
import type { ChaosResult } from '../test/chaos/run.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    daemons: { type: 'string', default: '5' },
    pace: { type: 'string', default: '150' },
    heal: { type: 'string', default: '10' },
  },
})
const [minutes, daemons, paceMs, healSecondsMax] = [values.minutes, values.daemons, values.pace, values.heal].map(Number) as [
  number,
  number,
  number,
  number,
]
if (!(minutes > 0 && daemons >= 3 && paceMs > 0 && healSecondsMax > 0)) {
  process.stderr.write('usage: npm run chaos -- [--minutes M] [--seed S] [--daemons N, at least 3] [--pace MS] [--heal SECONDS]\n')
  process.exit(64)
}

const mayMount = process.env['CHAOS_MAY_MOUNT'] === '1'
if (!mayMount && process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0) {
  const child = spawn('unshare', ['--mount', process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, CHAOS_MAY_MOUNT: '1' },
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  await once(child, 'exit')
  process.exit(child.exitCode ?? 1)
}

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort())
const kept = mkdtempSync(join(tmpdir(), `selfsame-chaos-${values.seed}-`))
const say = (line: string): void => void process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)
const began = performance.now()
const result = await runChaos({
  seed: values.seed,
  seconds: minutes * 60,
  daemons,
  paceMs,
  troubleSeconds: 60,
  healSecondsMax,
  mayMount,
  keepIn: kept,
  signal: interrupted.signal,
  say,
}).catch((error: unknown) => {
  rmSync(kept, { recursive: true, force: true })
  process.stderr.write(`${String(error)}\n`)
  process.exit(interrupted.signal.aborted ? 130 : 1)
})
report(result)
const isRight = result.faults.length + result.late.length === 0
if (isRight) rmSync(kept, { recursive: true, force: true })
else process.stdout.write(`homes and logs are in ${kept}\n`)
// What a nemesis was about to do when the run was given up is not waited for.
process.exit(isRight ? 0 : 1)

function report({
  daemons: count,
  done,
  edits,
  envelopes,
  faults,
  healingMs,
  late,
  memoryMib,
  provenMs,
  requests,
  restarts,
  skipped,
}: ChaosResult): void {
  const secondsOf = (milliseconds: number | undefined): string => ((milliseconds ?? 0) / 1_000).toFixed(2)
  const spanOf = (times: readonly number[]): string => {
    const sorted = times.toSorted((a, b) => a - b)
    return `median ${secondsOf(sorted[sorted.length >> 1])} s, longest ${secondsOf(sorted.at(-1))} s`
  }
  const all = requests.acknowledged + requests.refused + requests.unknown
  say(`seed ${values.seed}, ${((performance.now() - began) / 60_000).toFixed(1)} minutes, ${count} daemons`)
  say(`${all} requests with ${edits} edits in ${envelopes} envelopes: ${requests.acknowledged} acknowledged, ${requests.refused} refused`)
  say(
    `${requests.unknown} of unknown outcome, of which ${requests.carriedOut} were carried out; ${restarts} restarts; up to ${memoryMib} MiB`,
  )
  say(`${healingMs.length} healings: ${spanOf(healingMs)}; all digests equal: ${spanOf(provenMs)}`)
  say([...done].map(([name, count]) => `${name} ${count}`).join(', '))
  for (const [name, reason] of skipped) say(`skipped: ${name}: ${reason}`)
  for (const healing of late) say(`LATE: ${healing}`)
  for (const fault of faults) say(`FAULT: ${fault}`)
  say(faults.length === 0 ? 'nothing acknowledged was lost or counted twice' : `${faults.length} faults`)
}
