/** The command that examines a home and says what to do about what it finds. */
import { homePathOf } from '../api/client.ts'
import type { Context, Doors } from './command.ts'
import { runProgram } from './daemon-program.ts'
import { amountText } from './output.ts'
import type { Colour } from './output.ts'

/** What the daemon's program says of a home. */
interface Diagnosis {
  readonly home: string
  readonly checks: readonly Check[]
  readonly mended: readonly string[]
}

interface Check {
  readonly name: string
  readonly verdict: Verdict
  readonly found: string
  readonly details?: readonly string[]
  readonly advice?: string
}

type Verdict = 'ok' | 'warning' | 'failed' | 'not checked'

/** Exit codes besides 0 for a home in which all is well. */
const exitCodeOfWarning = 1
const exitCodeOfFailure = 2

export function addDoctorCommand({ program, command, action }: Doors): void {
  command(program, 'doctor', 'Examine this home, its daemon and this machine, and say what to do', 'doctor --fix')
    .addHelpText(
      'after',
      `
It works with the daemon running, without one, and without a home; without --fix it changes nothing.
It ends with 0 if all is well, ${exitCodeOfWarning} if there is a warning, and ${exitCodeOfFailure} if a check failed.`,
    )
    .option('--fix', 'mend what can be mended without risk: rights that others have, and what was left half done')
    .action(
      action(async ({ daemonProgram, finish, home, options, output }: Context<{ fix?: boolean }>) => {
        const args = ['doctor', '--home', homePathOf(home), ...(options.fix === true ? ['--fix'] : [])]
        const { checks, home: examined, mended } = await runProgram<Diagnosis>(daemonProgram, args, '')
        const has = (verdict: Verdict): boolean => checks.some((check) => check.verdict === verdict)
        const state = has('failed') ? 'failed' : has('warning') ? 'warning' : 'ok'
        await output.answer({ state, home: examined, checks, mended }, diagnosisText({ checks, home: examined, mended }), colourOf)
        if (state !== 'ok') finish(state === 'failed' ? exitCodeOfFailure : exitCodeOfWarning)
      }),
    )
}

function diagnosisText({ checks, home, mended }: Diagnosis): string {
  const judged = checks.filter(({ verdict }) => verdict !== 'not checked')
  const verdictWidth = Math.max(...judged.map(({ verdict }) => verdict.length))
  const nameWidth = Math.max(...judged.map(({ name }) => name.length))
  const indent = ' '.repeat(verdictWidth + nameWidth + 4)
  const lines = judged.map(({ advice, details = [], found, name, verdict }) =>
    [
      `${verdict.padEnd(verdictWidth)}  ${name.padEnd(nameWidth)}  ${found}`,
      ...details.map((detail) => `${indent}- ${detail}`),
      ...(advice === undefined ? [] : [`${indent}> ${advice}`]),
    ].join('\n'),
  )
  const groups = Map.groupBy(
    checks.filter(({ verdict }) => verdict === 'not checked'),
    ({ found }) => found,
  )
  const unchecked = Array.from(groups, ([why, group]) => `not checked: ${group.map(({ name }) => name).join(', ')} (${why})`)
  const mendedText = mended.length === 0 ? [] : [['mended:', ...mended.map((what) => `  ${what}`)].join('\n')]
  return [home, ...mendedText, [...lines, ...unchecked].join('\n'), summaryOf(checks)].join('\n\n')
}

function summaryOf(checks: readonly Check[]): string {
  const count = (verdict: Verdict): number => checks.filter((check) => check.verdict === verdict).length
  const bad = [
    ...(count('failed') > 0 ? [`${count('failed')} failed`] : []),
    ...(count('warning') > 0 ? [amountText(count('warning'), 'warning', 'warnings')] : []),
  ]
  return bad.length === 0 ? 'all is well' : bad.join(', ')
}

function colourOf(line: string): Colour | undefined {
  if (/^(failed {2}|\d+ failed)/.test(line)) return 'red'
  if (/^(warning {2}|\d+ warnings?)/.test(line)) return 'yellow'
  return /^(ok {2}|all is well)/.test(line) ? 'green' : undefined
}
