/** The command line as a whole: which commands there are, and how any call of it ends. */
import { Command, CommanderError } from 'commander'
import { AssertionFailure, errorTable, exitCodeOfBug, SelfsameError } from '../core/index.ts'
import { addCounterCommands, addRegisterCommands, addSetCommands } from './cell-commands.ts'
import { createDoors } from './command.ts'
import type { Surroundings } from './command.ts'
import { addJsonCommands, addTextCommands } from './content-commands.ts'
import { addDocumentCommands, addNetworkCommands, addPresenceCommands, addWatchCommand } from './group-commands.ts'
import { addDoctorCommand } from './doctor-commands.ts'
import { addHealthCommands } from './health-commands.ts'
import { addKeepCommands } from './keep-commands.ts'
import { addKeyCommands } from './key-commands.ts'
import { addLifeCommands } from './life-commands.ts'
import { addLogCommands } from './log-commands.ts'
import { addInviteCommands, addMemberCommands } from './member-commands.ts'
import { printable } from './output.ts'
import { addProvenanceCommands } from './provenance-commands.ts'
import { addTokenCommands } from './token-commands.ts'
import { addVerifyCommands } from './verify-commands.ts'

/** Exit code of a command line that cannot be understood (sysexits `EX_USAGE`). */
const exitCodeOfUsage = errorTable['invalid-request'].exit

/** Runs one call, without the program's own name, and answers its exit code. Never rejects. */
export async function runCommandLine(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { streams } = surroundings
  let exitCode = 0
  const program = createProgram(surroundings, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodeOfUsage
    const asJson = program.opts<{ json?: boolean }>().json === true
    streams.stderr.write(asJson ? `${JSON.stringify(problemOf(error))}\n` : `selfsame: ${printable(messageOf(error))}\n`)
    return error instanceof SelfsameError ? errorTable[error.code].exit : exitCodeOfBug
  }
}

/** `finish` takes the exit code of a command that did what was asked and has something else than 0 to say. */
export function createProgram(surroundings: Surroundings, finish: (exitCode: number) => void = () => {}): Command {
  const { streams, version } = surroundings
  const program = new Command('selfsame')
  program
    .description('One memory for an agent that runs as several instances: each keeps it, and they agree.')
    .version(version, '--version', 'print the version')
    .option('--home <directory>', 'where the instance lives (default: $SELFSAME_HOME, else ~/.selfsame)')
    .option('--json', 'answers, and errors, as lines of JSON')
    .option('-q, --quiet', 'only answers: no remarks, no receipts')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'selfsame: ')),
    })
    .showHelpAfterError("Try 'selfsame --help', or --help after any command.")
    .exitOverride()
  const doors = createDoors(program, surroundings, finish)
  program.commandsGroup('Life:')
  addLifeCommands(doors)
  addHealthCommands(doors)
  addVerifyCommands(doors)
  addDoctorCommand(doors)
  program.commandsGroup('Memory:')
  addLogCommands(doors)
  addCounterCommands(doors)
  addSetCommands(doors)
  addRegisterCommands(doors)
  addTextCommands(doors)
  addJsonCommands(doors)
  addDocumentCommands(doors)
  addWatchCommand(doors)
  addProvenanceCommands(doors)
  program.commandsGroup('Group:')
  addMemberCommands(doors)
  addInviteCommands(doors)
  addPresenceCommands(doors)
  addNetworkCommands(doors)
  addKeyCommands(doors)
  program.commandsGroup('Keeping:')
  addKeepCommands(doors)
  program.commandsGroup('Access:')
  addTokenCommands(doors)
  return program
}

function messageOf(error: unknown): string {
  if (error instanceof SelfsameError) return error.message
  const account = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return `a fault in selfsame; please report it\n${account}`
}

/** The error as problem details, for programs. */
function problemOf(error: unknown): object {
  const code = error instanceof SelfsameError ? error.code : 'internal'
  const { title, retry, exit } = errorTable[code]
  const detail = error instanceof SelfsameError || error instanceof AssertionFailure ? error.message : String(error)
  return { code, title, detail, retry, exit }
}
