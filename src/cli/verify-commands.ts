/** The command that proves coherence: that all instances show the same, and that this one shows what its stored envelopes say. */
import { homePathOf } from '../api/client.ts'
import type { Agent, Verdict, Verification } from '../api/client.ts'
import { durationToMilliseconds } from './arguments.ts'
import type { Context, Doors } from './command.ts'
import { SelfsameError } from '../core/index.ts'
import { runProgram } from './daemon-program.ts'
import type { Ready } from './daemon-program.ts'
import { homeHint } from './life-commands.ts'
import { amountText, columnsOf, localTime } from './output.ts'
import type { Colour } from './output.ts'

/** Exit codes of `selfsame verify` besides 0 for the same everywhere. */
const exitCodeOfDifference = 1
/** It could not be told of all: not now, as `EX_TEMPFAIL`. */
const exitCodeOfUnknown = 75
/** Documents named on one line: those that differ, and those of other versions. */
const differencesShown = 10
const documentsShown = 3

interface VerifyOptions {
  readonly deep?: boolean
  readonly timeout?: string
}

type VerifyContext = Context<VerifyOptions> & { readonly agent: Agent | null }

/** What the daemon's program says of a recomputation. */
interface DeepFacts extends Ready {
  readonly envelopes: number
  readonly documents: number
  readonly entries: number
  readonly seconds: number
  /** Lines for a person, one for each difference; `omitted` more were not kept. */
  readonly differences: readonly string[]
  readonly omitted: number
}

export function addVerifyCommands({ program, command, onAgentIfUp }: Doors): void {
  command(program, 'verify', 'Prove that all instances show the same, or name what differs where', 'verify --timeout 1m')
    .option('--deep', 'compute everything anew from the stored envelopes, beside the daemon or without one, and compare')
    .option('--timeout <duration>', 'how long to wait for the other instances, 60s at most', '30s')
    .addHelpText(
      'after',
      `
Each instance attests, signed, the digests of all documents at their versions; equal versions must have equal digests. Whoever is away, or
has other versions, is named as such, never as the same. What differs is built anew from the envelopes where it is wrong, by itself.

It ends with 0 if all show the same, ${exitCodeOfDifference} if something differs, and ${exitCodeOfUnknown} if it could not be told of all. With --deep: 0 if this instance shows what
its envelopes say, ${exitCodeOfDifference} if not; a daemon that runs is asked to build it anew, one that does not does so when it is started and asked again.`,
    )
    .action(
      onAgentIfUp(async (context: VerifyContext) => {
        if (context.options.deep === true) return verifyDeep(context)
        const { agent, finish, home, options, output } = context
        if (agent === null)
          throw new SelfsameError(
            'daemon-not-running',
            `no daemon runs on ${homePathOf(home)}: start it (selfsame up${homeHint(home)}), or look at what is stored here alone (--deep)`,
          )
        const verification = await agent.verify({ timeoutMs: durationToMilliseconds(options.timeout ?? '30s') })
        await output.answer(verification, verificationText(verification), colourOf)
        if (verification.state !== 'same') finish(verification.state === 'differs' ? exitCodeOfDifference : exitCodeOfUnknown)
      }),
    )
}

async function verifyDeep({ agent, daemonProgram, finish, home, output }: VerifyContext): Promise<void> {
  const facts = await runProgram<DeepFacts>(daemonProgram, ['verify', '--home', homePathOf(home)], '')
  const { differences, omitted } = facts
  const isRight = differences.length === 0
  const what = `${amountText(facts.envelopes, 'envelope', 'envelopes')}, ${amountText(facts.documents, 'document', 'documents')} and ${amountText(facts.entries, 'log entry', 'log entries')}`
  const verdict = isRight
    ? `right: ${what} were computed anew in ${facts.seconds.toFixed(1)} s, and all that is stored of them is so`
    : `wrong: ${amountText(differences.length + omitted, 'difference', 'differences')} from what ${what} say`
  const lines = [verdict, ...differences.map((line) => `! ${line}`), ...(omitted > 0 ? [`! and ${omitted} more`] : [])]
  const repaired = isRight || agent === null ? null : await agent.rebuild().catch(refusalOf)
  if (repaired instanceof SelfsameError) lines.push(`! not repaired: ${repaired.message}`)
  else if (repaired !== null) lines.push(`repaired: the daemon built the memory anew in ${repaired.seconds.toFixed(1)} s`)
  const outcome = repaired instanceof SelfsameError ? null : repaired
  await output.answer({ ...facts, right: isRight, repaired: outcome }, lines.join('\n'), colourOf)
  if (isRight) return
  if (agent === null) output.remark(`start the daemon (selfsame up${homeHint(home)}), and the same command has it build the memory anew`)
  else if (outcome !== null) output.remark('look again: selfsame verify --deep')
  finish(exitCodeOfDifference)
}

/** What differs is told also where the daemon does not build it anew. */
function refusalOf(error: unknown): SelfsameError {
  if (error instanceof SelfsameError) return error
  throw error
}

function verificationText({ documents, findings, instances, time, undigested }: Verification): string {
  const same = instances.filter(({ verdict }) => verdict === 'same').length
  const isHereRight = findings.length === 0 && undigested === 0
  const count = `the same ${amountText(documents, 'document', 'documents')}`
  const verdict =
    same === instances.length && isHereRight
      ? `${count} on ${same + 1} of ${instances.length + 1} instances as of ${localTime(time)}`
      : `${instances.some((each) => each.verdict === 'differs') || findings.length > 0 ? 'differs' : 'unknown'}: ${count} on ${same + Number(isHereRight)} of ${instances.length + 1} instances as of ${localTime(time)}`
  const here = findings.map(({ detail, document, since }) => `! here: ${placeOf(document)}: ${detail} (since ${localTime(since)})`)
  const late =
    undigested === 0
      ? []
      : [`! here: ${amountText(undigested, 'document', 'documents')} could not be digested: ask again, and see selfsame status`]
  const others = instances.filter((each) => each.verdict !== 'same').map(verdictCells)
  return [verdict, ...here, ...late, ...(others.length === 0 ? [] : [columnsOf(others)])].join('\n')
}

function verdictCells({ attested, differences, instance, otherVersions, verdict }: Verdict): readonly string[] {
  const name = `! ${instance.name}`
  const asOf = attested === null ? 'it never attested anything' : `it last attested at ${localTime(attested)}`
  const more = differences.length - differencesShown
  if (verdict === 'differs')
    return [name, `differs: ${differences.slice(0, differencesShown).map(differenceText).join(', ')}${more > 0 ? ` and ${more} more` : ''}`]
  if (verdict === 'unknown') return [name, `unknown: it is away or did not answer; ${asOf}`]
  const first = otherVersions.first.slice(0, documentsShown).map(placeOf)
  const where =
    otherVersions.documents === 0
      ? 'documents'
      : `${first.join(', ')}${otherVersions.documents > first.length ? ` and ${otherVersions.documents - first.length} more` : ''}`
  return [name, `behind, or ahead: it has other versions of ${where}; ${asOf}`]
}

function differenceText({ document, since }: Verdict['differences'][number]): string {
  return `${placeOf(document)} since ${localTime(since)}`
}

function placeOf({ id, kind, name }: Verdict['differences'][number]['document']): string {
  return kind === null || name === null ? `document ${id}` : `${kind}/${name}`
}

function colourOf(line: string): Colour | undefined {
  if (line.startsWith('! ') || line.startsWith('differs: ') || line.startsWith('wrong: ')) return 'red'
  if (line.startsWith('unknown: ')) return 'yellow'
  return line.startsWith('the same ') || line.startsWith('right: ') || line.startsWith('repaired: ') ? 'green' : undefined
}
