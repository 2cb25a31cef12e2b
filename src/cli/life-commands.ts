/** The commands that make an instance and start and stop its daemon. */
import { homePathOf } from '../api/client.ts'
import type { Agent } from '../api/client.ts'
import { SelfsameError } from '../core/index.ts'
import { durationToMilliseconds, refusal, textOf } from './arguments.ts'
import { collect } from './command.ts'
import type { AgentContext, Context, Doors } from './command.ts'
import { runProgram, startAttended, startDetached } from './daemon-program.ts'
import type { Joined, JoinPlan, Ready } from './daemon-program.ts'
import { localTime } from './output.ts'
import { readNewPassphrase } from './passphrase.ts'
import { waitUntil } from './waiting.ts'

interface PlaceOptions {
  readonly name?: string
  readonly port?: string
  readonly listen?: readonly string[]
}

interface InitOptions extends PlaceOptions {
  readonly agent: string
  readonly rootKey?: string
  readonly passphraseStdin?: boolean
}

interface JoinOptions extends PlaceOptions {
  readonly newInstance?: boolean
  readonly up?: boolean
}

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
    .option('--root-key <file>', 'put the root key into this file, sealed with a passphrase, instead of on this machine')
    .option('--passphrase-stdin', 'read the passphrase from standard input')
    .action(
      action(async ({ daemonProgram, home, options, output, streams }: Context<InitOptions>) => {
        const { rootKey } = options
        const sealing = rootKey === undefined ? [] : ['--file', rootKey]
        const passphrase = rootKey === undefined ? '' : `${await readNewPassphrase(streams, rootKey, options.passphraseStdin === true)}\n`
        const ready = await runProgram(
          daemonProgram,
          ['init', '--home', homePathOf(home), '--agent', options.agent, ...placeArgs(options), ...sealing],
          passphrase,
        )
        await output.answer(ready, `${ready.agent.name} begins here, as ${ready.instance.name}, in ${ready.home}`)
        output.remark(
          rootKey === undefined
            ? `whoever gets into this machine can take ${ready.agent.name} over, as its root key is here; to move it off: selfsame key export --root FILE${homeHint(home)}, then key forget-root FILE`
            : `the root key is in ${rootKey} and nowhere else: keep that file, and the passphrase, off this machine`,
        )
        output.remark(`start it: selfsame up${homeHint(home)}`)
      }),
    )

  command(
    program,
    'join [ticket]',
    'Make this machine an instance of an agent, with a ticket from `selfsame invite`',
    'join --up < ticket.txt',
  )
    .addHelpText(
      'after',
      `
Without a ticket, or with '-', it is read from standard input, so that it stands in no list of processes.
A home that holds memory of the agent already keeps it. Where its instance was removed, or its database is lost or damaged,
it becomes a new instance; where it is a copy of another home, it does with --new-instance.`,
    )
    .option('--name <name>', 'what this instance is called (default: the name of the machine)')
    .option('--port <port>', 'TCP port for other instances (default: a random one, kept in config.toml)')
    .option(
      '--listen <where>',
      "where others can reach it: 'loopback', 'lan' or a multiaddr; may be given more than once (default: lan)",
      collect,
    )
    .option('--new-instance', 'also where this home is an instance already: it becomes one of its own, and keeps its memory')
    .option('--up', 'start the daemon in the background when it has joined')
    .action(
      action(async (context: Context<JoinOptions>, given: string | undefined) => {
        const { daemonProgram, options, output } = context
        const home = homePathOf(context.home)
        const ticket = await ticketOf(context, given)
        const args = ['join', '--home', home, ...placeArgs(options), ...(options.newInstance === true ? ['--new-instance'] : [])]
        let plan: JoinPlan | undefined
        const joined = await runProgram<Joined>(daemonProgram, args, `${ticket}\n`, (told) => {
          plan = told
          output.remark(planText(told))
        })
        await output.answer({ ...joined, plan }, joinedText(joined))
        if (options.up === true) await (joined.joined ? upDetached(context, home) : upUnlessRunning(context, home))
        else if (joined.joined) output.remark(`start it: selfsame up${homeHint(context.home)}`)
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
        const processId = await stopDaemon(agent, durationToMilliseconds(options.timeout ?? '30s'))
        await output.answer({ stopped: true, processId }, 'stopped')
      }),
    )
}

/** Stops a daemon and waits until its process, which is answered, is gone. Throws `unavailable` when it waited in vain. */
export async function stopDaemon(agent: Agent, timeoutMs: number): Promise<number> {
  const { processId } = await agent.status()
  await agent.shutdown()
  if (!(await waitUntil(async () => !isRunning(processId), timeoutMs)))
    throw new SelfsameError('unavailable', `the daemon (process ${processId}) is still stopping: wait, or end the process`)
  return processId
}

async function ticketOf({ output, streams }: Context<JoinOptions>, given: string | undefined): Promise<string> {
  if ((given ?? '-') === '-' && streams.stdin.isTTY === true) output.remark('paste the ticket, then press Enter and Ctrl-D')
  const ticket = (given === undefined || given === '-' ? await textOf('-', streams.stdin) : given).trim()
  if (ticket === '') throw new SelfsameError('ticket-invalid', "there is no ticket: get one with 'selfsame invite' on another instance")
  return ticket
}

/** What is about to be done, for a person. */
function planText(plan: JoinPlan): string {
  const { agent, expires, former, home, issuer, name } = plan
  const who = `${agent.name} (agent ${agent.id.slice(0, 16)})`
  if (name === null) return `the ticket is one of ${who}, and ${home} is the home of its instance ${former?.name ?? ''} already`
  return [
    `joining ${who}, as ${name} unless the ticket gives another name`,
    `through the instance with the key ${issuer.key.slice(0, 16)}, until ${localTime(expires)}, at`,
    ...issuer.addresses.map((address) => `  ${address}`),
    `this machine will receive all of ${agent.name}'s memory, and learn who its other instances are`,
    homeText(plan),
  ].join('\n')
}

/** What the home of a new instance holds, and what will happen to it. */
function homeText({ former, holds, home }: JoinPlan): string {
  if (former === null || holds === 'nothing') return `${home} holds no memory yet`
  const was = `${home} is the home of ${former.name} (instance ${former.id.slice(0, 8)})`
  const becomes = 'It becomes a new instance; the old identity is kept beside the new one'
  const memory = 'its memory is kept and added to'
  const damage = 'the other instances send what they have'
  switch (holds) {
    case 'member':
      return `${was}: ${memory}. ${becomes}`
    case 'removed':
      return `${was}, which is no member any more: ${memory}. ${becomes}`
    case 'lost':
      return `${was}, and its database is lost: ${damage}. ${becomes}`
    case 'damaged':
      return `${was}, and its database is damaged: it is moved aside, and ${damage}. ${becomes}`
  }
}

function joinedText({ agent, home, instance, joined, kept, role }: Joined): string {
  if (!joined)
    return `this home is already an instance of ${agent.name}, as ${instance.name}: nothing was done, and the ticket can still be used (where it is a copy of another home, or was removed: join --new-instance)`
  const lines = [`joined ${agent.name}, as ${instance.name} (${role ?? '?'}), in ${home}`]
  return [...lines, ...kept.map((file) => `  kept: ${file}`)].join('\n')
}

function placeArgs({ name, port, listen }: PlaceOptions): readonly string[] {
  if (port !== undefined && !/^\d{1,5}$/.test(port)) throw refusal(`--port is a number from 1 to 65535, not '${port}'`)
  return [
    ...(name === undefined ? [] : ['--name', name]),
    ...(port === undefined ? [] : ['--port', port]),
    ...(listen ?? []).flatMap((where) => ['--listen', where]),
  ]
}

/** What to add to the next command, where the home was given by hand. */
export function homeHint(home: string | undefined): string {
  return home === undefined ? '' : ` --home ${home}`
}

function upText(ready: Ready): string {
  const head = `${ready.agent.name} is up, as ${ready.instance.name} (process ${ready.processId ?? '?'}), from ${ready.home}`
  return [head, ...(ready.addresses ?? []).map((address) => `  ${address}`)].join('\n')
}

/** Starts the daemon of a home in the background, and says so. */
export async function upDetached({ daemonProgram, output }: Context<unknown>, home: string): Promise<void> {
  const ready = await startDetached(daemonProgram, home)
  await output.answer(ready, upText(ready))
}

/** For a join that is repeated. */
async function upUnlessRunning(context: Context<unknown>, home: string): Promise<void> {
  try {
    await upDetached(context, home)
  } catch (error) {
    if (!(error instanceof SelfsameError && error.code === 'daemon-running')) throw error
    context.output.remark('its daemon runs already')
  }
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

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
