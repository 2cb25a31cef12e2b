/**
 * Starts the daemon's program as a process of its own, and understands what it says: lines of JSON on standard output, the last of
 * them when it is done or ready, problem details on standard error when it cannot.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync, closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { errorTable, SelfsameError } from '../core/index.ts'
import type { ErrorCode } from '../core/index.ts'

/** What the program says when it made, joined or opened a home. */
export interface Ready {
  readonly home: string
  readonly agent: { readonly id: string; readonly name: string }
  readonly instance: { readonly id: string; readonly name: string }
  /** Of a daemon that runs. */
  readonly processId?: number
  readonly addresses?: readonly string[]
}

/** What a join is about to do; the program says it before it asks or changes anything. */
export interface JoinPlan {
  readonly agent: Ready['agent']
  readonly issuer: { readonly key: string; readonly addresses: readonly string[] }
  /** ISO 8601. */
  readonly expires: string
  readonly home: string
  readonly holds: 'nothing' | 'member' | 'removed' | 'lost' | 'damaged'
  /** The instance that the home holds. */
  readonly former: Ready['instance'] | null
  /** What the new instance will be called; null where none is made. */
  readonly name: string | null
}

export interface Joined extends Ready {
  /** Whether there is a new instance. */
  readonly joined: boolean
  readonly role: string | null
  /** Files of the home that keep what was there before. */
  readonly kept: readonly string[]
}

export interface KeyFacts extends Ready {
  readonly deviceKey: string
  readonly rootKey: string
  readonly rootKeyHere: boolean
}

/** A daemon that this process looks after. */
export interface AttendedDaemon {
  readonly ready: Ready
  /** Resolves when it ended well; rejects with why it did not. */
  ended(): Promise<void>
}

/**
 * Options of the JavaScript engine for a daemon. What is young takes up to three times so many MiB of memory, and keeps them: while everything is
 * loaded it would grow to 32, and an idle daemon took 215 MiB instead of 170.
 */
export const engineOptions = ['--max-semi-space-size=8']

/** Runs a command of `program` to its end. `input` goes to its standard input; `planned` is told what a join is about to do. */
export async function runProgram<Answer extends object = Ready>(
  program: string,
  args: readonly string[],
  input: string,
  planned: (plan: JoinPlan) => void = () => {},
): Promise<Answer> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  // The child may end before it has read everything; why is told by its last words.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const lastWords = listen(child.stderr, () => {})
  const ready = await readyLine(child, () => lastWords, planned)
  await endOf(child, () => lastWords)
  return ready as Answer
}

/** Starts a daemon whose log goes on to `log`, and waits until it is ready. `started` is given at once what stops it. */
export async function startAttended(
  program: string,
  home: string,
  log: (line: string) => void,
  started: (stop: (signal: NodeJS.Signals) => void) => void,
): Promise<AttendedDaemon> {
  const child = spawn(process.execPath, [...engineOptions, program, 'run', '--home', home], { stdio: ['ignore', 'pipe', 'pipe'] })
  started((signal) => void child.kill(signal))
  const lastWords = listen(child.stderr, log)
  const ready = await readyLine(child, () => lastWords)
  return {
    ready,
    ended: () => endOf(child, () => lastWords),
  }
}

/** Starts a daemon that outlives this process, and waits until it is ready. */
export async function startDetached(program: string, home: string): Promise<Ready> {
  // A pipe would break with this process; a file keeps what a dying daemon says.
  const wordsPath = join(home, 'run', 'daemon.stderr')
  const words = existsSync(join(home, 'run')) ? openSync(wordsPath, 'w', 0o600) : null
  const child = spawn(process.execPath, [...engineOptions, program, 'run', '--home', home, '--detached'], {
    stdio: ['ignore', 'pipe', words ?? 'pipe'],
    detached: true,
  })
  if (words !== null) closeSync(words)
  const lastWords =
    child.stderr === null ? (): readonly string[] => readFileSync(wordsPath, 'utf8').split('\n') : listen(child.stderr, () => {})
  const ready = await readyLine(child, () => lastWords)
  child.stdout?.destroy()
  child.stderr?.destroy()
  child.unref()
  return ready
}

/** The lines of a stream as far as they matter when the process fails: the last few. All go on to `pass`. */
function listen(stream: Readable, pass: (line: string) => void): () => readonly string[] {
  const linesKept = 20
  const last: string[] = []
  createInterface({ input: stream }).on('line', (line) => {
    if (problemOf(line) === undefined) pass(line)
    last.push(line)
    if (last.length > linesKept) last.shift()
  })
  return () => last
}

type LastWords = () => () => readonly string[]

async function readyLine(child: ChildProcess, lastWords: LastWords, planned: (plan: JoinPlan) => void = () => {}): Promise<Ready> {
  const said = new Promise<Ready | undefined>((resolve) => {
    if (child.stdout === null) return resolve(undefined)
    createInterface({ input: child.stdout })
      .on('line', (line) => {
        const { plan, ready } = saidOf(line)
        if (plan !== undefined) planned(plan)
        if (ready !== undefined) resolve(ready)
      })
      .once('close', () => resolve(undefined))
  })
  const ready = await said
  if (ready !== undefined) return ready
  await endOf(child, lastWords)
  throw new SelfsameError('internal', 'the daemon ended before it was ready')
}

/** What a line of the program says; nothing where it is another's. */
function saidOf(line: string): { readonly plan?: JoinPlan; readonly ready?: Ready } {
  try {
    const said = JSON.parse(line) as (Ready & { readonly ready?: unknown }) | { readonly plan: JoinPlan; readonly ready?: never }
    if ('plan' in said) return { plan: said.plan }
    return said.ready === true ? { ready: said } : {}
  } catch {
    return {}
  }
}

/** Waits for the end of a process; a failure becomes the error that it told of. */
async function endOf(child: ChildProcess, lastWords: LastWords): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
  if (child.exitCode === 0) return
  const words = lastWords()()
  const problem = words.map(problemOf).findLast((each) => each !== undefined)
  if (problem !== undefined) throw problem
  const how = child.signalCode === null ? `with exit code ${child.exitCode}` : `by ${child.signalCode}`
  throw new SelfsameError('internal', `the daemon ended ${how}\n${words.join('\n')}`.trimEnd())
}

function problemOf(line: string): SelfsameError | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const { code, detail } = JSON.parse(line) as { code?: unknown; detail?: unknown }
    return isErrorCode(code) && typeof detail === 'string' ? new SelfsameError(code, detail) : undefined
  } catch {
    return undefined
  }
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorTable, code)
}
