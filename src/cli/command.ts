/** How every command is made: what all share (the home, JSON, quiet), how an action gets at the daemon, what a write says. */
import type { Command } from 'commander'
import type { Agent, Connect, Receipt, WriteOptions } from '../api/client.ts'
import { SelfsameError } from '../core/index.ts'
import { countOf, durationToMilliseconds } from './arguments.ts'
import { amountText, createOutput } from './output.ts'
import type { Output, Streams } from './output.ts'

/** A daemon that does not say a word for so long is stuck; one that starts, or has much to do, answers before. */
const reachMilliseconds = 15_000

/** What a call of the command line works with. */
export interface Surroundings {
  readonly streams: Streams
  readonly connect: Connect
  readonly version: string
  /** Path of the daemon's program, for the commands that start one. */
  readonly daemonProgram: string
}

interface CommonOptions {
  readonly home?: string
  readonly json?: boolean
  readonly quiet?: boolean
}

/** What an action works with. */
export interface Context<Options> {
  /** As given; undefined for the default one. */
  readonly home: string | undefined
  readonly options: Options & CommonOptions
  readonly output: Output
  readonly streams: Streams
  /** Path of the daemon's program. */
  readonly daemonProgram: string
  /** The exit code, where the command did what was asked and has something else than 0 to say. */
  readonly finish: (exitCode: number) => void
}

export interface AgentContext<Options> extends Context<Options> {
  readonly agent: Agent
}

/** One program for one call: the commands, bound to where it reads and writes. */
export interface Doors {
  readonly program: Command
  /** A command below `parent`: its usage, one line of summary, and an example that can be typed. */
  readonly command: (parent: Command, usage: string, summary: string, example: string) => Command
  /** An action that needs no daemon. `Args` are the command's arguments, undefined where an optional one is missing. */
  readonly action: <Options, Args extends readonly unknown[]>(run: (context: Context<Options>, ...args: Args) => Promise<void>) => Action
  /** An action on the agent of the home's daemon; `daemon-not-running` where there is none. */
  readonly onAgent: <Options, Args extends readonly unknown[]>(
    run: (context: AgentContext<Options>, ...args: Args) => Promise<void>,
  ) => Action
  /** As `onAgent`, with null where no daemon runs. */
  readonly onAgentIfUp: <Options, Args extends readonly unknown[]>(
    run: (context: Context<Options> & { readonly agent: Agent | null }, ...args: Args) => Promise<void>,
  ) => Action
}

/** What commander calls: with the arguments, the command's own options and the command. */
type Action = (...given: unknown[]) => Promise<void>

export function createDoors(
  program: Command,
  { streams, connect, daemonProgram }: Surroundings,
  finish: (exitCode: number) => void,
): Doors {
  function action<Options, Args extends readonly unknown[]>(run: (context: Context<Options>, ...args: Args) => Promise<void>): Action {
    return async (...given) => {
      const options = (given.at(-1) as Command).optsWithGlobals<Options & CommonOptions>()
      const output = createOutput(streams, { json: options.json === true, quiet: options.quiet === true })
      await run({ home: options.home, options, output, streams, daemonProgram, finish }, ...(given.slice(0, -2) as unknown as Args))
    }
  }
  async function reach(home: string | undefined): Promise<Agent> {
    const signal = AbortSignal.timeout(reachMilliseconds)
    try {
      return await connect({ signal, ...(home === undefined ? {} : { home }) })
    } catch (error) {
      if (!signal.aborted) throw error
      const seconds = reachMilliseconds / 1_000
      throw new SelfsameError('unavailable', `the daemon did not answer within ${seconds} s: selfsame doctor looks at what is wrong`, {
        cause: error,
      })
    }
  }
  function onAgent<Options, Args extends readonly unknown[]>(
    run: (context: AgentContext<Options>, ...args: Args) => Promise<void>,
  ): Action {
    return action<Options, Args>(async (context, ...args) => {
      const agent = await reach(context.home)
      try {
        await run({ ...context, agent }, ...args)
      } finally {
        await agent.close()
      }
    })
  }
  function onAgentIfUp<Options, Args extends readonly unknown[]>(
    run: (context: Context<Options> & { readonly agent: Agent | null }, ...args: Args) => Promise<void>,
  ): Action {
    return action<Options, Args>(async (context, ...args) => {
      const agent = await reach(context.home).catch((error: unknown) => {
        if (error instanceof SelfsameError && error.code === 'daemon-not-running') return null
        throw error
      })
      try {
        await run({ ...context, agent }, ...args)
      } finally {
        await agent?.close()
      }
    })
  }
  function command(parent: Command, usage: string, summary: string, example: string): Command {
    return parent.command(usage).summary(summary).description(`${summary}.`).addHelpText('after', `\nExample:\n  $ selfsame ${example}`)
  }
  return { program, command, action, onAgent, onAgentIfUp }
}

interface WriteChoices {
  readonly replicas?: string
  readonly timeout?: string
  readonly operationId?: string
}

/** For an option that may be given more than once. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

/** Gives a command the options of a write. */
export function addWriteOptions(command: Command): Command {
  return command
    .option('--replicas <count>', 'instances that shall hold it, this one included, before it returns')
    .option('--timeout <duration>', 'how long to wait for them (default: 5s)')
    .option('--operation-id <id>', 'names the write: the same id again adds nothing twice')
}

export function writeOptionsOf({ replicas, timeout, operationId }: WriteChoices): WriteOptions {
  return {
    ...(replicas === undefined ? {} : { replicas: countOf(replicas, 1) }),
    ...(timeout === undefined ? {} : { timeoutMs: durationToMilliseconds(timeout) }),
    ...(operationId === undefined ? {} : { operationId }),
  }
}

export type WriteContext = AgentContext<WriteChoices>

/** Says what became of a write; `done` is the plain account of it. */
export async function answerReceipt({ output, options }: WriteContext, receipt: Receipt, done: string): Promise<void> {
  const { asked, held } = receipt.replicas
  const text = receipt.repeated ? `${done} (that had been done before)` : held > 1 ? `${done} (held by ${held})` : done
  if (options.json === true || options.quiet !== true) await output.answer(receipt, text)
  if (held < asked) {
    output.remark(
      `held by ${amountText(held, 'instance', 'instances')} of ${asked} so far: it is durable here, and the others get it when they are connected`,
    )
  }
}
