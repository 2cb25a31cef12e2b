/**
 * Groups of real daemons: processes with homes of their own in one temporary directory, on loopback, each with a port that was free.
 * Nothing outlives a group, also when the test process is killed (`reaper.ts`).
 */
import { deepEqual } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/api/client.ts'
import type { Agent, InviteInput } from '../../src/api/client.ts'
import { programOf } from '../../scripts/programs.js'
import { engineOptions } from '../../src/cli/daemon-program.ts'

const fileOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const commandProgram = fileOf('../../scripts/selfsame.js')
export const daemonProgram = programOf('daemon/main')

/** What a process said, and how it ended. */
export interface Said {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export type Environment = Readonly<Record<string, string>>

export interface SelfsameOptions {
  /** For standard input. */
  readonly input?: string
  readonly environment?: Environment
}

/** One home, and the daemon that runs on it now and then. */
export interface Instance {
  readonly home: string
  readonly port: number
  /** The client of the daemon; it lives through restarts. There is one after the first `up`. */
  readonly agent: Agent
  /** Of the daemon that runs. */
  readonly processId: number
  /** Starts the daemon and waits until it is ready: milliseconds. Throws with its last words where it ends instead. */
  up(environment?: Environment): Promise<number>
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>
  /** SIGKILL; resolves when it is dead. */
  kill(): Promise<void>
  /** A command on this home. */
  selfsame(...args: string[]): Promise<Said>
}

export interface Group {
  readonly directory: string
  /** Begins an agent, and its daemon. */
  found(name: string): Promise<Instance>
  /** Joins the agent of `inviter` and starts the daemon; a writer unless the invite says otherwise. */
  join(name: string, inviter: Instance, invite?: InviteInput): Promise<Instance>
  /** The instance of a home that is there already, such as a copy; `port` overrides what its configuration says. */
  at(home: string, port: number): Instance
  /** Runs a command. */
  selfsame(args: readonly string[], options?: SelfsameOptions): Promise<Said>
  /** Starts a command and leaves it running. */
  start(args: readonly string[], options?: SelfsameOptions): ChildProcess
  /** Has a process that something else started ended with the group. */
  adopt(processId: number): void
  close(): Promise<void>
}

export async function createGroup(): Promise<Group> {
  const directory = mkdtempSync(join(tmpdir(), 'selfsame-e2e-'))
  const reaper = spawn(process.execPath, [fileOf('reaper.ts'), directory], { stdio: ['pipe', 'ignore', 'inherit'], detached: true })
  const agents: Agent[] = []

  function follow(child: ChildProcess): ChildProcess {
    reaper.stdin.write(`+${child.pid}\n`)
    child.once('exit', () => reaper.stdin.write(`-${child.pid}\n`))
    return child
  }

  function start(args: readonly string[], { environment = {} }: SelfsameOptions = {}): ChildProcess {
    return follow(spawn(process.execPath, [commandProgram, ...args], { stdio: 'pipe', env: environmentWith(environment) }))
  }

  async function selfsame(args: readonly string[], options: SelfsameOptions = {}): Promise<Said> {
    const child = start(args, options)
    // A command that fails early does not read its input.
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
    const [out, err] = [textOf(child.stdout), textOf(child.stderr)]
    await once(child, 'close')
    return { code: child.exitCode, out: await out, err: await err }
  }

  function at(home: string, port: number): Instance {
    let daemon: ChildProcess | undefined
    let agent: Agent | undefined

    async function end(signal: NodeJS.Signals): Promise<number | null> {
      if (daemon === undefined) return null
      const child = daemon
      daemon = undefined
      const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
      child.kill(signal)
      await ended
      return child.exitCode
    }

    return {
      home,
      port,
      get agent() {
        return agent ?? failed('the daemon was never up')
      },
      get processId() {
        return daemon?.pid ?? failed('the daemon is down')
      },
      async up(environment = {}) {
        const began = performance.now()
        const child = spawn(process.execPath, [...engineOptions, daemonProgram, 'run', '--home', home, '--detached'], {
          stdio: ['ignore', 'pipe', 'pipe'],
          env: environmentWith({ SELFSAME_NETWORK_PORT: String(port), ...environment }),
        })
        follow(child)
        const words = textOf(child.stderr)
        const ready = await Promise.race([
          once(createInterface({ input: child.stdout }), 'line').then(() => true),
          once(child, 'exit').then(() => false),
        ])
        if (!ready) throw new Error(`the daemon of ${home} ended with ${child.exitCode}: ${await words}`)
        child.stdout.resume()
        daemon = child
        if (agent === undefined) agents.push((agent = await connect({ home })))
        return performance.now() - began
      },
      stop: () => end('SIGTERM'),
      kill: async () => void (await end('SIGKILL')),
      selfsame: (...args) => selfsame([...args, '--home', home]),
    }
  }

  async function made(name: string, command: readonly string[], input = ''): Promise<Instance> {
    const home = join(directory, name)
    const port = await freePort()
    const place = ['--home', home, '--name', name, '--port', String(port), '--listen', 'loopback']
    const { code, err } = await selfsame([...command, ...place], { input })
    if (code !== 0) throw new Error(`${command[0]} failed: ${err}`)
    const instance = at(home, port)
    await instance.up()
    return instance
  }

  return {
    directory,
    found: (name) => made(name, ['init', '--agent', 'kevin']),
    join: async (name, inviter, invite) => made(name, ['join'], (await inviter.agent.invite(invite)).ticket),
    at,
    selfsame,
    start,
    adopt: (processId) => void reaper.stdin.write(`+${processId}\n`),
    async close() {
      for (const agent of agents) await agent.close()
      const gone = once(reaper, 'exit')
      reaper.stdin.end()
      await gone
    },
  }
}

function failed(message: string): never {
  throw new Error(message)
}

/** The environment of a daemon or a command: nothing of the developer's own selfsame, no discovery beyond what is known. */
function environmentWith(own: Environment): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SELFSAME_'))
  return {
    ...Object.fromEntries(inherited),
    NODE_COMPILE_CACHE: fileOf('../../node_modules/.cache/selfsame'),
    SELFSAME_NETWORK_MDNS: 'false',
    ...own,
  }
}

async function textOf(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = ''
  for await (const chunk of stream ?? []) text += String(chunk)
  return text
}

const portsGiven = new Set<number>()

/** A port that nobody listens on, below those that the system gives to outgoing connections: it stays free while a daemon is down. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (portsGiven.has(port) || !(await isFree(port, '127.0.0.1')) || !(await isFree(port, '::1'))) continue
    portsGiven.add(port)
    return port
  }
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRNOTAVAIL'))
    server.listen(port, host, () => server.close(() => resolve(true)))
  })
}

const pollMilliseconds = 20

/** Looks until `look` gives something else than undefined or false. Throws after `secondsMax`, with what was waited for. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>, secondsMax = 60): Promise<T> {
  const deadline = performance.now() + secondsMax * 1_000
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error(`waited ${secondsMax} s in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, pollMilliseconds))
  }
}

/** Waits until all are connected to each other. */
export async function connected(...instances: Instance[]): Promise<void> {
  for (const { agent, home } of instances) {
    await until(`${home} has its peers`, async () => {
      const { peers } = await agent.status()
      return peers.filter((peer) => peer.state === 'connected').length >= instances.length - 1
    })
  }
}

/** Waits until all hold the same versions of all documents, and asserts that the digests are equal then. Milliseconds. */
export async function agreed(...instances: Instance[]): Promise<number> {
  const began = performance.now()
  const versionsOf = (documents: readonly { readonly versionKey: string }[]): string =>
    documents.map(({ versionKey }) => versionKey).join(' ')
  const sameVersions = (lists: readonly (readonly { readonly versionKey: string }[])[]): boolean =>
    new Set(lists.map(versionsOf)).size === 1
  let milliseconds = 0
  // What arrives between the two questions makes the versions differ again, and the digests with them.
  const [first, ...others] = await until('all hold the same', async () => {
    if (!sameVersions(await Promise.all(instances.map(({ agent }) => agent.documents())))) return false
    milliseconds = performance.now() - began
    const digests = await Promise.all(instances.map(({ agent }) => agent.digests()))
    return sameVersions(digests) && digests
  })
  for (const other of others) deepEqual(other, first)
  return milliseconds
}

/** The texts of a log, in its order. */
export async function textsOf({ agent }: Instance, log: string): Promise<string[]> {
  const texts = []
  for await (const { text } of agent.log(log).read()) texts.push(text ?? '')
  return texts
}
