/** The commands that make an instance and start and stop its daemon. */
import { homePathOf } from '../api/client.ts'
import { SelfsameError } from '../core/index.ts'
import { durationToMilliseconds, refusal, textOf } from './arguments.ts'
import { collect } from './command.ts'
import type { AgentContext, Context, Doors } from './command.ts'
import { runProgram, startAttended, startDetached } from './daemon-program.ts'
import type { Ready } from './daemon-program.ts'

interface InitOptions {
  readonly agent: string
  readonly name?: string
  readonly port?: string
  readonly listen?: readonly string[]
}

type JoinOptions = Omit<InitOptions, 'agent'>

export function addLifeCommands({ program, command, action, onAgent }: Doors): void {
  command(program, 'init', 'Begin a new agent: its keys, its home, its configuration', 'init --agent kevin')
    .requiredOption('--agent <name>', 'what the agent is called; all its instances share the name')
    .option('--name <name>', 'what this instance is called (default: the name of the machine)')
    .option('--port <port>', 'TCP port for other instances (default: a random one, kept in config.toml)')
    .option(
      '--listen <where>',
      "where others can reach it: 'loopback', 'lan' or a multiaddr; may be given more than once (default: lan)",
      collect,
    )
    .action(
      action(async ({ daemonProgram, home, options, output }: Context<InitOptions>) => {
        const ready = await runProgram(
          daemonProgram,
          ['init', '--home', homePathOf(home), '--agent', options.agent, ...placeArgs(options)],
          '',
        )
        await output.answer(ready, `${ready.agent.name} begins here, as ${ready.instance.name}, in ${ready.home}`)
        output.remark(`start it: selfsame up${homeHint(home)}`)
      }),
    )

  command(program, 'join [ticket]', 'Make this machine an instance of an agent, with a ticket from `selfsame invite`', 'join < ticket.txt')
    .addHelpText('after', "\nWithout a ticket, or with '-', it is read from standard input, so that it stands in no list of processes.")
    .option('--name <name>', 'what this instance is called (default: the name of the machine)')
    .option('--port <port>', 'TCP port for other instances (default: a random one, kept in config.toml)')
    .option(
      '--listen <where>',
      "where others can reach it: 'loopback', 'lan' or a multiaddr; may be given more than once (default: lan)",
      collect,
    )
    .action(
      action(async ({ daemonProgram, home, options, output, streams }: Context<JoinOptions>, given: string | undefined) => {
        if ((given ?? '-') === '-' && streams.stdin.isTTY === true) output.remark('paste the ticket, then press Enter and Ctrl-D')
        const ticket = (given === undefined || given === '-' ? await textOf('-', streams.stdin) : given).trim()
        if (ticket === '')
          throw new SelfsameError('ticket-invalid', "there is no ticket: get one with 'selfsame invite' on another instance")
        const ready = await runProgram(daemonProgram, ['join', '--home', homePathOf(home), ...placeArgs(options)], `${ticket}\n`)
        await output.answer(ready, `joined ${ready.agent.name}, as ${ready.instance.name}, in ${ready.home}`)
        output.remark(`start it: selfsame up${homeHint(home)}`)
      }),
    )

  command(program, 'up', 'Start the daemon; it runs until Ctrl-C', 'up --detach')
    .option('-d, --detach', 'in the background: return when it is ready')
    .action(
      action(async (context: Context<{ detach?: boolean }>) => {
        const home = homePathOf(context.home)
        await (context.options.detach === true ? upDetached(context, home) : upAttended(context, home))
      }),
    )

  command(program, 'down', 'Stop the daemon and wait until it is gone', 'down')
    .option('--timeout <duration>', 'how long to wait', '30s')
    .action(
      onAgent(async ({ agent, options, output }: AgentContext<{ timeout?: string }>) => {
        const deadline = Date.now() + durationToMilliseconds(options.timeout ?? '30s')
        const { processId } = await agent.status()
        await agent.shutdown()
        while (isRunning(processId)) {
          if (Date.now() > deadline)
            throw new SelfsameError('unavailable', `the daemon (process ${processId}) is still stopping: wait, or end the process`)
          await pause(stopPollMilliseconds)
        }
        await output.answer({ stopped: true, processId }, 'stopped')
      }),
    )
}

function placeArgs({ name, port, listen }: JoinOptions): readonly string[] {
  if (port !== undefined && !/^\d{1,5}$/.test(port)) throw refusal(`--port is a number from 1 to 65535, not '${port}'`)
  return [
    ...(name === undefined ? [] : ['--name', name]),
    ...(port === undefined ? [] : ['--port', port]),
    ...(listen ?? []).flatMap((where) => ['--listen', where]),
  ]
}

/** What to add to the next command, where the home was given by hand. */
function homeHint(home: string | undefined): string {
  return home === undefined ? '' : ` --home ${home}`
}

function upText(ready: Ready): string {
  const head = `${ready.agent.name} is up, as ${ready.instance.name} (process ${ready.processId ?? '?'}), from ${ready.home}`
  return [head, ...(ready.addresses ?? []).map((address) => `  ${address}`)].join('\n')
}

async function upDetached({ daemonProgram, output }: Context<unknown>, home: string): Promise<void> {
  const ready = await startDetached(daemonProgram, home)
  await output.answer(ready, upText(ready))
}

async function upAttended({ daemonProgram, output, streams }: Context<unknown>, home: string): Promise<void> {
  let stop = (_signal: NodeJS.Signals): void => {}
  // A terminal interrupts both processes by itself, and the daemon then stops; only the other signals have to be passed on.
  const ignore = (): void => {}
  const pass = (): void => stop('SIGTERM')
  process.on('SIGINT', ignore).on('SIGTERM', pass)
  try {
    const log = (line: string): void => void streams.stderr.write(`${line}\n`)
    const daemon = await startAttended(daemonProgram, home, log, (stopDaemon) => {
      stop = stopDaemon
    })
    await output.answer(daemon.ready, upText(daemon.ready))
    await daemon.ended()
  } finally {
    process.off('SIGINT', ignore).off('SIGTERM', pass)
  }
}

/** How often to look whether a process is gone: often enough to seem at once. */
const stopPollMilliseconds = 20

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
