/**
 * Carries out every case of the adversary against real daemons and prints what it did to them:
 * `node scripts/adversary.ts [--seconds N] [--only WORDS]`. Exits with 1 where a case was not refused.
 */
import { parseArgs } from 'node:util'
import { cases } from '../test/adversary/attacker.ts'
import { openRange } from '../test/adversary/range.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '5' }, only: { type: 'string', default: '' } } })
const seconds = Number(values.seconds)
const chosen = cases.filter(({ name }) => name.includes(values.only))

const range = await openRange()
const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0)
let failed = 0
process.stdout.write('calm ms | attacked ms | ratio | blocked ms | late ms | MB before | MB worst | case\n')
for (const attack of chosen) {
  try {
    const { attacked, busyMs, calm, lateMs, refusal, reports, residentBefore, residentMax } = await range.run(attack, seconds)
    if (refusal === null) failed += 1
    process.stdout.write(
      `${calm.medianMs.toFixed(2).padStart(7)} | ${attacked.medianMs.toFixed(2).padStart(11)} | ${(attacked.medianMs / calm.medianMs).toFixed(2).padStart(5)} | ` +
        `${busyMs.toFixed(0).padStart(10)} | ${lateMs.toFixed(0).padStart(7)} | ${megabytes(residentBefore).padStart(9)} | ${megabytes(residentMax).padStart(8)} | ${attack.name}\n` +
        `  ${refusal === null ? 'NOT REFUSED' : `refused: ${refusal.slice(0, 300)}`}${reports.length === 0 ? '' : ` (${reports.join('; ').slice(0, 200)})`}\n`,
    )
  } catch (error) {
    failed += 1
    process.stdout.write(`FAILED: ${attack.name}: ${String(error)}\n`)
  }
}
await range.close()
process.stdout.write(`${chosen.length} cases, ${failed} not as they should be\n`)
process.exitCode = failed === 0 ? 0 : 1
