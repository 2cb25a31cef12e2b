/**
 * The processes of the demo: calls of the `selfsame` command, each in a process group of its own, so that Ctrl-C reaches the
 * demo alone and a call is ended together with all that it started. After `stop` none runs and none can be started.
 */
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('../selfsame.js', import.meta.url))
/** Milliseconds that a daemon has to stop by itself. */
const graceMs = 10_000
/** Milliseconds between two looks whether all have ended. */
const lookMs = 10

export interface Processes {
  /** Runs a command to its end and answers what it printed. Rejects with its own words where it fails. */
  run(args: readonly string[], input?: string): Promise<string>
  /** Starts a command that goes on, and waits for its first line: then it is ready. */
  keep(args: readonly string[]): Promise<void>
  /** What the commands that go on said on standard error so far. */
  remarks(): readonly string[]
  /** Ends them all and waits until they are gone. */
  stop(): Promise<void>
}

interface Call {
  readonly child: ChildProcessWithoutNullStreams
  /** The lines of its standard error. */
  readonly words: string[]
  readonly closed: Promise<unknown>
  /** Why it ended, as an error. */
  readonly failure: () => Error
}

export function createProcesses(environment: NodeJS.ProcessEnv): Processes {
  const groups = new Set<ChildProcessWithoutNullStreams>()
  const kept: Call[] = []
  let stopped = false

  function start(args: readonly string[]): Call {
    if (stopped) throw new Error('the demo is over')
    const child = spawn(process.execPath, [launcher, ...args], { env: environment, stdio: 'pipe', detached: true })
    // It may end before it has read everything; why is told by its words.
    child.stdin.on('error', () => {})
    const words: string[] = []
    createInterface({ input: child.stderr }).on('line', (line) => words.push(line))
    groups.add(child)
    const closed = once(child, 'close').then(() => isGone(child) && groups.delete(child))
    const failure = (): Error => {
      const how = child.signalCode === null ? `with exit code ${child.exitCode}` : `by ${child.signalCode}`
      return new Error([`selfsame ${args.join(' ')} ended ${how}`, ...words].join('\n'))
    }
    return { child, words, closed, failure }
  }

  return {
    async run(args, input = '') {
      const { child, closed, failure } = start(args)
      child.stdin.end(input)
      const [output] = await Promise.all([text(child.stdout), closed])
      if (child.exitCode !== 0) throw failure()
      return output
    },

    async keep(args) {
      const call = start(args)
      kept.push(call)
      const ready = once(createInterface({ input: call.child.stdout }), 'line').then(() => true)
      if (!(await Promise.race([ready, call.closed.then(() => false)]))) throw call.failure()
    },

    remarks: () => kept.flatMap(({ words }) => words),

    async stop() {
      stopped = true
      const deadline = performance.now() + graceMs
      for (const child of groups) signalGroup(child, 'SIGTERM')
      while (![...groups].every(isGone) && performance.now() < deadline) await wait(lookMs)
      for (const child of groups) signalGroup(child, 'SIGKILL')
    },
  }
}

/** Whether nothing runs any more of what a call started. */
function isGone(child: ChildProcessWithoutNullStreams): boolean {
  return !signalGroup(child, 0)
}

/** Answers whether there was anything to reach. */
function signalGroup({ pid }: ChildProcessWithoutNullStreams, signal: NodeJS.Signals | 0): boolean {
  try {
    return pid !== undefined && process.kill(-pid, signal)
  } catch {
    return false
  }
}
