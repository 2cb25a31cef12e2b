/** The commands that keep and move what an instance holds: backups, another machine, plain files. */
import { existsSync } from 'node:fs'
import { homePathOf } from '../api/client.ts'
import type { Agent, Peer } from '../api/client.ts'
import { SelfsameError } from '../core/index.ts'
import { durationToMilliseconds, refusal } from './arguments.ts'
import type { Context, Doors } from './command.ts'
import { runProgram } from './daemon-program.ts'
import type { Ready } from './daemon-program.ts'
import { exportAgent } from './export-agent.ts'
import { importAgent } from './import-agent.ts'
import { homeHint, stopDaemon, upDetached } from './life-commands.ts'
import { localTime } from './output.ts'
import { waitUntil } from './waiting.ts'

interface BackupFacts {
  readonly file: string
  readonly bytes: number
  readonly sha256: string
  /** ISO 8601. */
  readonly made: string
  readonly holdsIdentity: boolean
  readonly holdsRootKey: boolean
}

interface Restored extends Ready {
  readonly backup: { readonly made: string; readonly moved: boolean }
  readonly kept: string | null
  readonly keysKept: boolean
}

interface MovedOut extends Ready {
  readonly file: string
  readonly facts: BackupFacts | null
}

interface ForceOptions {
  readonly force?: boolean
}

type MoveOutContext = Context<ForceOptions & { timeout?: string }> & { readonly agent: Agent | null }

export function addKeepCommands({ program, command, action, onAgent, onAgentIfUp }: Doors): void {
  command(program, 'backup <file>', 'Copy all that this instance holds into one file, also while it writes', 'backup kevin.backup')
    .addHelpText(
      'after',
      `
The file holds the memory, the configuration, the key of this instance and, where it is kept here, the root key of the agent: who has it
is this instance. It is for its owner alone; keep it so.`,
    )
    .option('--without-identity', 'leave out all secret keys: it then fits only the home of this very instance')
    .option('--force', 'replace a file that is there')
    .action(
      action(async ({ daemonProgram, home, options, output }: Context<ForceOptions & { withoutIdentity?: boolean }>, file: string) => {
        const args = ['backup', ...homeArgs(home, file, options), ...(options.withoutIdentity === true ? ['--without-identity'] : [])]
        const facts = await runProgram<Ready & BackupFacts>(daemonProgram, args, '')
        await output.answer(
          facts,
          `${facts.instance.name} of ${facts.agent.name} is in ${facts.file} (${sizeText(facts.bytes)}, SHA-256 ${facts.sha256})`,
        )
        output.remark(secretsText(facts))
      }),
    )

  command(program, 'restore <file>', 'Put a backup into a home', 'restore kevin.backup')
    .addHelpText(
      'after',
      `
The whole file is checked before anything is touched. What was written after the backup comes back from the other instances, and nothing is
counted twice. Tickets made before it have ended. In the home of the same instance the keys stay as they are.`,
    )
    .option('--force', 'also where the home holds something: that is moved aside, not deleted')
    .action(
      action(async (context: Context<ForceOptions>, file: string) => {
        await restore(context, file)
        context.output.remark(`start it: selfsame up${homeHint(context.home)}`)
      }),
    )

  const move = command(program, 'move', 'Move this instance to another machine', 'move out kevin.move').addHelpText(
    'after',
    `
Here, then with that file there:
  $ selfsame move out kevin.move
  $ selfsame move in kevin.move`,
  )

  command(
    move,
    'out <file>',
    'Stop the daemon, make the file that takes this instance elsewhere, and give this home up',
    'move out kevin.move',
  )
    .addHelpText(
      'after',
      `
It waits until another instance has all that was written here, or says who lacks what: the file has it in any case. Cut off, the same command
goes on. The home stays as it is, and 'selfsame move undo' has the instance live in it again.`,
    )
    .option('--timeout <duration>', 'how long to wait for another instance', '30s')
    .option('--force', 'replace a file that is there')
    .action(
      onAgentIfUp(async (context: MoveOutContext, file: string) => {
        const { agent, daemonProgram, home, options, output } = context
        const timeoutMs = durationToMilliseconds(options.timeout ?? '30s')
        if (agent === null) output.remark('no daemon runs here, so who has all that was written here is not known; the file has it')
        else {
          if (existsSync(file) && options.force !== true)
            throw refusal(`${file} is there already: choose another name, or say --force to replace it. The daemon goes on`)
          output.remark(await othersText(agent, timeoutMs))
          await stopDaemon(agent, timeoutMs)
        }
        const moved = await runProgram<MovedOut>(daemonProgram, ['move-out', ...homeArgs(home, file, options)], '').catch(
          (error: unknown) => {
            if (agent === null || !(error instanceof SelfsameError)) throw error
            throw new SelfsameError(
              error.code,
              `${error.message}\nThe daemon is stopped and nothing has moved: selfsame up${homeHint(home)} goes on here`,
              {
                cause: error,
              },
            )
          },
        )
        const { facts, instance } = moved
        await output.answer(
          moved,
          `${instance.name} of ${moved.agent.name} has left this home, and is in ${moved.file}${facts === null ? '' : ` (${sizeText(facts.bytes)})`}`,
        )
        if (facts !== null) output.remark(secretsText(facts))
        output.remark(
          `bring the file to the other machine, and there: selfsame move in FILE. Taken back: selfsame move undo${homeHint(home)}`,
        )
      }),
    )

  command(move, 'in <file>', 'Have the instance of a file live here, and start its daemon', 'move in kevin.move')
    .option('--force', 'also where the home holds something: that is moved aside, not deleted')
    .action(
      action(async (context: Context<ForceOptions>, file: string) => {
        await restore(context, file)
        await upDetached(context, homePathOf(context.home))
        context.output.remark(
          `where others reach it by an address of its own, look at network.announce in config.toml; delete ${file} when all is well`,
        )
      }),
    )

  command(move, 'undo', 'Have an instance that moved away live here again', 'move undo').action(
    action(async ({ daemonProgram, home, output }: Context<object>) => {
      const undone = await runProgram<Ready & { file: string }>(daemonProgram, ['move-undo', '--home', homePathOf(home)], '')
      await output.answer(undone, `${undone.instance.name} of ${undone.agent.name} lives here again`)
      output.remark(`delete ${undone.file}, and start the instance nowhere from it. Start it here: selfsame up${homeHint(home)}`)
    }),
  )

  command(program, 'export <directory>', 'Write all memory as plain files: the same bytes for the same memory', 'export kevin')
    .addHelpText(
      'after',
      `
memory/ has the logs by the day, for people; logs/, counters.json, sets.json, registers.json, json/ and texts/ are what 'selfsame import' reads.
The files prove nothing: authors and times are told, not signed.`,
    )
    .action(onAgent(exportAgent))

  command(program, 'import <directory>', 'Write what an export holds; doing it again changes nothing', 'import kevin')
    .addHelpText(
      'after',
      `
This instance becomes the author; who wrote a log entry first, and its id there, stay with it. Counters are added to what is counted here,
and texts, registers and json documents of the same name are replaced. It is for another agent: an export of the same one is refused.`,
    )
    .action(onAgent(importAgent))
}

function homeArgs(home: string | undefined, file: string, { force }: ForceOptions): readonly string[] {
  return ['--home', homePathOf(home), '--file', file, ...(force === true ? ['--force'] : [])]
}

async function restore({ daemonProgram, home, options, output }: Context<ForceOptions>, file: string): Promise<void> {
  const restored = await runProgram<Restored>(daemonProgram, ['restore', ...homeArgs(home, file, options)], '')
  const { agent, backup, instance, kept, keysKept } = restored
  const lines = [`${instance.name} of ${agent.name} is in ${restored.home}, as it was at ${localTime(backup.made)}`]
  if (kept !== null) lines.push(`  what was there is in ${kept}`)
  if (keysKept) lines.push('  its keys are those that were there')
  await output.answer(restored, lines.join('\n'))
  if (!backup.moved && !keysKept) {
    output.remark(
      'where the original runs on, this is a second copy of it, and the two cannot talk to each other: stop one, or make this an instance of its own (selfsame key rotate --new-instance)',
    )
  }
}

function secretsText({ file, holdsIdentity, holdsRootKey }: Pick<BackupFacts, 'file' | 'holdsIdentity' | 'holdsRootKey'>): string {
  if (!holdsIdentity) return `it holds no key; who has ${file} can read the memory`
  return `a secret: who has ${file} can read the memory and be this instance${holdsRootKey ? ', and with the root key in it take the agent over' : ''}`
}

/** Waits until a connected instance has all that was written here, and tells who has and who lacks what. */
async function othersText(agent: Agent, timeoutMs: number): Promise<string> {
  let peers: readonly Peer[] = []
  const hasAll = ({ behind, state }: Peer): boolean => state === 'connected' && behind === 0
  await waitUntil(async () => {
    peers = (await agent.status()).peers
    return peers.length === 0 || peers.some(hasAll)
  }, timeoutMs)
  if (peers.length === 0) return 'there is no other instance: what was written here is in the file and nowhere else'
  return [...peers.filter(hasAll).map((peer) => `${peer.instance.name} has all`), ...peers.flatMap(lackText)].join('; ')
}

function lackText({ behind, instance, state, told }: Peer): readonly string[] {
  if (state === 'connected' && behind === 0) return []
  if (behind === null || told === null) return [`${instance.name}: not known`]
  const said = `${instance.name} ${behind === 0 ? 'had all' : `lacked ${behind}`}`
  return [state === 'connected' ? said : `${said} at ${localTime(told)}`]
}

function sizeText(bytes: number): string {
  return bytes < 1 << 20 ? `${Math.ceil(bytes / (1 << 10))} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`
}
