/**
 * Runs the measuring programs, one after the other and each in a process of its own, and prints one table:
 * `npm run bench`, `npm run bench -- live idle`, `npm run bench -- --quick`. A part that fails or takes too long is told and passed
 * over; the exit code is then 1.
 */
import { fork } from 'node:child_process'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { rowsToMarkdown, scaleOf } from './measure.ts'
import type { Measure, Row } from './measure.ts'

const parts = ['floor', 'live', 'catch-up', 'million', 'idle', 'overwrites', 'growth', 'store', 'document'] as const
/** Milliseconds that one part may take. */
const partMsMax = 300_000
/** Of the full size, with `--quick`. */
const quickShare = 0.1

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, share: { type: 'string' }, part: { type: 'string' } },
})
const share = Number(values.share ?? (values.quick ? quickShare : 1))

/** In the process of one part: measures and sends the rows to the runner. */
async function measurePart(name: string): Promise<void> {
  // It ends with the runner, also where that was killed; what it started ends with it.
  process.once('disconnect', () => process.exit())
  const { measure } = (await import(`./${name}.ts`)) as { readonly measure: Measure }
  for await (const row of measure(scaleOf(share))) process.send?.(row)
  process.disconnect()
}

/** Answers the rows that a part gave, and why it gave no more, if it failed. */
function runPart(name: string): Promise<{ readonly rows: readonly Row[]; readonly failure: string | null }> {
  const rows: Row[] = []
  const child = fork(import.meta.filename, ['--part', name, '--share', String(share)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    child.kill('SIGKILL')
  }, partMsMax)
  child.on('message', (row: Row) => {
    rows.push(row)
    process.stderr.write(`${row.what}: ${row.measured}${row.ratio === undefined ? '' : ` (${row.ratio.toFixed(1)} times the floor)`}\n`)
  })
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const failure = isLate
        ? `it was not done after ${partMsMax / 1_000} s`
        : code === 0
          ? null
          : `it ended ${signal === null ? `with exit code ${code}` : `by ${signal}`}`
      resolve({ rows, failure })
    })
  })
}

async function runAll(names: readonly string[]): Promise<void> {
  const began = performance.now()
  const rows: Row[] = []
  const failures: string[] = []
  for (const name of names) {
    process.stderr.write(`\n${name}\n`)
    const result = await runPart(name)
    rows.push(...result.rows)
    if (result.failure !== null) failures.push(`${name} failed: ${result.failure}`)
  }
  const seconds = Math.round((performance.now() - began) / 1_000)
  process.stdout.write(`${rowsToMarkdown(rows)}\n\n`)
  process.stdout.write(`${cpus().length} cores (${cpus()[0]?.model}), Node ${process.version}, ${share} of the full size, ${seconds} s\n`)
  for (const failure of failures) process.stdout.write(`${failure}\n`)
  process.exitCode = failures.length === 0 ? 0 : 1
}

if (values.part === undefined) {
  const unknown = positionals.filter((name) => !parts.includes(name as (typeof parts)[number]))
  if (unknown.length > 0) throw new Error(`there is no part ${unknown.join(', ')}: there are ${parts.join(', ')}`)
  await runAll(positionals.length === 0 ? parts : positionals)
} else await measurePart(values.part)
