/**
 * Plants deliberate faults, one at a time, into a copy of the tree, and runs what ought to catch each. `npm run mutants`, or some of them by words
 * of their names. A fault that survives means that the proof has a hole. The same checks run first without any fault: what fails then catches nothing.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { whyNotRecorded } from '../test/power-loss/recording.ts'
import { faults } from './mutants/faults.ts'
import type { Check, Fault } from './mutants/faults.ts'

/** What a check says: what it caught, nothing, or that it could not be made. */
type Verdict = { readonly caught: string } | 'nothing' | { readonly broken: string }

const root = fileURLToPath(new URL('..', import.meta.url))
/** What the checks need of the tree. */
const parts = ['src', 'test', 'scripts', 'config', 'docs', 'package.json', 'tsconfig.json', 'vitest.config.ts', 'README.md']
/** Milliseconds after which a check has been caught in a loop: far more than any takes, so that none is caught for being slow on a busy machine. */
const checkMsMax = 900_000
/** The same for one test. */
const testMsMax = 300_000

const tree = mkdtempSync(join(tmpdir(), 'selfsame-mutants-'))
const why = whyNotRecorded()
const words = process.argv.slice(2)
const chosen = faults.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
const tried = chosen.filter(({ check }) => why === undefined || check.type !== 'power loss')
try {
  for (const part of parts) cpSync(join(root, part), join(tree, part), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
  process.exitCode = isSound() && plantAll() ? 0 : 1
} finally {
  rmSync(tree, { recursive: true, force: true })
}

/** Whether nothing is caught where there is no fault. */
function isSound(): boolean {
  const checks = distinct(tried.map((fault) => fault.check))
  const files = checks.flatMap((check) => (check.type === 'test' ? [check.file] : []))
  const verdicts = checks.map((check) => (check.type === 'test' ? 'nothing' : run(check)))
  if (files.length > 0) verdicts.push(runTests(files))
  const found = verdicts.find((verdict) => verdict !== 'nothing')
  if (found === undefined) return true
  process.stdout.write(`without any fault: ${'caught' in found ? found.caught : found.broken}\n`)
  return false
}

/** Whether all faults are caught. */
function plantAll(): boolean {
  let caught = 0
  for (const fault of tried) {
    const began = performance.now()
    const verdict = plant(fault)
    const seconds = `${((performance.now() - began) / 1_000).toFixed(1)} s`.padStart(8)
    if (typeof verdict === 'object' && 'caught' in verdict) caught += 1
    const outcome = verdict === 'nothing' ? 'SURVIVED' : 'caught' in verdict ? 'caught  ' : 'BROKEN  '
    const how = verdict === 'nothing' ? nameOf(fault.check) : 'caught' in verdict ? verdict.caught : verdict.broken
    process.stdout.write(`${outcome} ${seconds}  ${fault.name}\n                   ${how}\n`)
  }
  if (tried.length < chosen.length) process.stdout.write(`${chosen.length - tried.length} not tried: ${why}\n`)
  process.stdout.write(`${caught} of ${tried.length} caught\n`)
  return caught === tried.length
}

function plant({ check, file, find, name, replace }: Fault): Verdict {
  const path = join(tree, file)
  const source = readFileSync(path, 'utf8')
  if (source.split(find).length !== 2) throw new Error(`${name}: the place to change stands not exactly once in ${file}`)
  writeFileSync(
    path,
    source.replace(find, () => replace),
  )
  try {
    return run(check)
  } finally {
    writeFileSync(path, source)
  }
}

function run(check: Check): Verdict {
  switch (check.type) {
    case 'test':
      return runTests([check.file])
    case 'simulator':
      return runSeeds('sim.ts', ['--seeds', String(check.seeds), '--until-failure'])
    case 'power loss':
      return runSeeds('power-loss.ts', ['--seeds', String(check.seeds), '--life', check.life, '--until-failure'])
  }
}

function runTests(files: readonly string[]): Verdict {
  const report = join(tree, 'report.json')
  rmSync(report, { force: true })
  const options = ['--bail', '1', '--test-timeout', String(testMsMax), '--reporter', 'json', '--outputFile', report]
  const { signal, status } = start(['node_modules/vitest/vitest.mjs', 'run', ...files, ...options])
  if (status === 0) return 'nothing'
  if (signal !== null) return { caught: `${files.join(', ')} did not end` }
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as Report
  for (const { assertionResults, name } of testResults) {
    const failed = assertionResults.find((result) => result.status === 'failed')
    if (failed !== undefined) return { caught: `${relative(realpathSync(tree), name)}: ${failed.fullName}` }
  }
  return { broken: `${files.join(', ')} could not be run: ${testResults.map(({ message }) => message).join(' ')}` }
}

interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly message: string
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}

/** Runs a program that prints the seeds that fail. */
function runSeeds(program: string, options: readonly string[]): Verdict {
  const { signal, status, stderr, stdout } = start([join('scripts', program), ...options])
  if (status === 0) return 'nothing'
  const failure = stdout.split('\n').find((line) => line.includes(' failed: '))
  if (failure !== undefined) return { caught: `${program} ${failure.slice(0, 200)}` }
  if (signal !== null) return { caught: `${program} did not end` }
  return { broken: stderr.split('\n').find((line) => line.includes('Error')) ?? stderr.slice(0, 200) }
}

function start(words: readonly string[]): { status: number | null; signal: string | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, words, {
    cwd: tree,
    encoding: 'utf8',
    timeout: checkMsMax,
    maxBuffer: 64 << 20,
    env: { ...process.env, TMPDIR: tree },
  })
}

function nameOf(check: Check): string {
  if (check.type === 'test') return check.file
  return check.type === 'simulator' ? `the simulator with ${check.seeds} seeds` : `power loss, life ${check.life}, ${check.seeds} seeds`
}

/** Each check once; of the same with fewer and with more seeds the one with more. */
function distinct(checks: readonly Check[]): readonly Check[] {
  const kept = new Map<string, Check>()
  for (const check of checks) {
    const name = check.type === 'test' ? check.file : check.type === 'simulator' ? check.type : check.life
    const other = kept.get(name)
    if (other === undefined || ('seeds' in check && 'seeds' in other && check.seeds > other.seeds)) kept.set(name, check)
  }
  return Array.from(kept.values())
}
