/**
 * Holds the member table against its model over random histories: `npm run histories -- --count N --seed S`, where S is the first
 * seed. A history that fails is made smaller and printed in words, with the command that plays it again.
 */
import { parseArgs } from 'node:util'
import { actKinds, actsOf } from '../test/unit/membership/acts.ts'
import { faultsOf, featuresOf, modelOfRecords } from '../test/unit/membership/check-history.ts'
import { play } from '../test/unit/membership/random-history.ts'
import { shrunk, told } from '../test/unit/membership/shrink-history.ts'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    /** Numbers of the acts to play, counted from 0; the others are left out. */
    only: { type: 'string' },
  },
})
const count = Number(values.count)
const first = Number(values.seed)
const only = values.only === undefined ? undefined : new Set(values.only.split(',').map(Number))
if (!Number.isSafeInteger(count) || !Number.isSafeInteger(first) || count < 1) {
  process.stderr.write('usage: npm run histories -- --count N --seed S [--only ACTS]\n')
  process.exit(64)
}
/** Failing histories that are made smaller and told: each may take a minute. */
const toldMax = 3

const began = performance.now()
const totals = { records: 0, largest: 0, instances: 0, members: 0, failed: 0 }
const featureCounts = new Map<string, number>()
const actCounts = new Map<string, number>()
const answerCounts = new Map<string, number>()

for (let seed = first; seed < first + count; seed += 1) {
  const acts = actsOf(seed).filter((_, index) => only?.has(index) ?? true)
  const history = play(acts)
  const model = modelOfRecords(history.records)
  totals.records += history.records.length
  totals.largest = Math.max(totals.largest, history.records.length)
  totals.instances += model.instances.length
  totals.members += model.instances.filter(({ state }) => state === 'member').length
  for (const feature of featuresOf(model, history.records)) tally(featureCounts, feature, 1)
  for (const kind of history.done.keys()) tally(actCounts, kind, 1)
  for (const [answer, times] of history.answers) tally(answerCounts, answer, times)
  if (faultsOf(history, seed).length > 0) report(seed)
}

const seconds = (performance.now() - began) / 1_000
const perHistory = (total: number) => (total / count).toFixed(1)
process.stdout.write(
  `${count} histories in ${seconds.toFixed(1)} s: ${totals.records} records (${perHistory(totals.records)} each, at most ${totals.largest}), ` +
    `${perHistory(totals.instances)} instances each, ${perHistory(totals.members)} of them members\n` +
    `histories with\n${table(featureCounts)}\nhistories in which somebody did\n${table(new Map(actKinds.map((kind) => [kind, actCounts.get(kind) ?? 0])))}\n` +
    `answers\n${table(answerCounts)}\n${count - totals.failed} passed, ${totals.failed} failed\n`,
)
process.exitCode = totals.failed === 0 ? 0 : 1

function report(seed: number): void {
  totals.failed += 1
  if (totals.failed > toldMax) return
  const all = actsOf(seed)
  const acts = all.filter((_, index) => only?.has(index) ?? true)
  const smaller = shrunk(acts, (history) => faultsOf(history, seed))
  const kept = smaller.acts.map((act) => all.indexOf(act)).join(',')
  process.stdout.write(
    `seed ${seed} failed: ${faultsOf(smaller.history, seed)[0]}\n${told(smaller.history.records)}\n` +
      `  replay: npm run histories -- --count 1 --seed ${seed} --only ${kept}\n`,
  )
}

function tally(counts: Map<string, number>, key: string, times: number): void {
  counts.set(key, (counts.get(key) ?? 0) + times)
}

function table(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, times]) => `  ${String(times).padStart(8)}  ${name}`)
    .join('\n')
}
