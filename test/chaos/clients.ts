/**
 * The programs beside a daemon: writers of every kind of document, each of which asks again under the same operation id until it knows what
 * became of its request, and a watcher that looks whether what it is shown can be read. What they ask and what they are told is the history.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { SelfsameError } from '../../src/api/client.ts'
import type { Agent, ErrorCode, Operation, Receipt, WriteOptions } from '../../src/api/client.ts'
import type { FeedId, InstanceId } from '../../src/core/index.ts'
import type { SeededRandom } from '../sim/virtual-time.ts'
import type { Edit, Request } from './history.ts'

export interface Clients {
  /** No request is begun any more; resolves once the outcome of all is known. */
  pause(): Promise<void>
  resume(): void
  /** Ends all of them, whatever they know. */
  end(): void
}

export interface ClientsOptions {
  readonly agent: Agent
  readonly instance: InstanceId
  /** Stands in operation ids, so it is the daemon's alone. */
  readonly name: string
  readonly random: SeededRandom
  /** Milliseconds between two requests of one client, on average. */
  readonly paceMs: number
  /** Ends the names of documents: what is written between two checkpoints stands in documents of its own. */
  readonly epoch: () => number
  readonly record: (request: Request) => void
  /** A request failed as none may. */
  readonly fault: (what: string) => void
}

/** Milliseconds before the same request is sent again. */
const againMs = 100
/** Keys of each document that is written with keys. */
const keys = ['a', 'b', 'c', 'd', 'e']

/** The request was not carried out. */
const refusals: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'read-only',
  'too-many-requests',
  'forbidden',
  'base-unknown',
  'patch-failed',
  'overflow',
])
/** Nobody knows what became of the request. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['outcome-unknown', 'unavailable', 'daemon-not-running', 'storage-failed'])

/** For `catch`: undefined for what passes, so that it can be tried again. Throws anything else. */
export function passOver(error: unknown): undefined {
  if (!(error instanceof SelfsameError) || !passing.has(error.code)) throw error
}

type Send = (options: WriteOptions) => Promise<Receipt>
/** Makes the next request; undefined where the daemon could not be asked what it needs for that. */
type Draw = (id: string, epoch: number) => Promise<{ readonly edits: readonly Edit[]; readonly send: Send } | undefined>

/** Sends until the outcome is known or `mayGoOn` is false. Rejects with what no request may fail with. */
export async function carryOut(request: Request, send: Send, mayGoOn: () => boolean): Promise<void> {
  while (mayGoOn()) {
    try {
      const { feed, sequence } = await send({ operationId: request.id })
      request.outcome = 'acknowledged'
      request.place = feed === null ? null : { feed: feed as FeedId, sequence }
      return
    } catch (error) {
      if (!(error instanceof SelfsameError)) throw error
      if (refusals.has(error.code)) {
        // After an attempt of which nothing is known, a refusal tells nothing of that one.
        if (request.outcome === 'asked') request.outcome = 'refused'
        return
      }
      if (!passing.has(error.code)) throw error
      request.outcome = 'unknown'
      await sleep(againMs)
    }
  }
}

/** One client of each kind. They wait for `resume`, and run until `end`. */
export function createClients(options: ClientsOptions): Clients {
  const { epoch, fault, instance, name, paceMs, random, record } = options
  let serial = 0
  let ended = false
  let open = (): void => {}
  let gate: Promise<void> | null = new Promise((resolve) => (open = resolve))
  let busy = 0
  let idle = (): void => {}

  async function once(draw: Draw): Promise<void> {
    serial += 1
    const id = `${name}-${serial}`
    const drawn = await draw(id, epoch())
    if (drawn === undefined) return
    const request: Request = { id, instance, edits: drawn.edits, outcome: 'asked', place: null }
    record(request)
    await carryOut(request, drawn.send, () => !ended)
  }

  async function run(draw: Draw): Promise<void> {
    while (!ended) {
      while (gate !== null) await gate
      busy += 1
      await once(draw).catch((error: unknown) => fault(`a client of ${name}: ${String(error)}`))
      busy -= 1
      if (busy === 0) idle()
      await sleep(paceMs * 2 * random.unit())
    }
  }

  function resume(): void {
    gate = null
    open()
  }

  for (const draw of draws(options)) void run(draw)
  return {
    async pause() {
      const settled = new Promise<void>((resolve) => (idle = resolve))
      gate = new Promise((resolve) => (open = resolve))
      if (busy > 0) await settled
    },
    resume,
    end() {
      ended = true
      resume()
    },
  }
}

/** What clients do. At one instance a key of a set or register has one client, so that no envelope holds two edits of it. */
function draws({ agent, random }: ClientsOptions): readonly Draw[] {
  const log = async (id: string, epoch: number): ReturnType<Draw> => {
    const edit = { kind: 'log', name: `${random.pick(['memory', 'people/ada'])}/${epoch}`, text: id } as const
    return { edits: [edit], send: (write) => agent.log(edit.name).append({ text: id, tags: ['chaos'] }, write) }
  }
  const counter = async (_: string, epoch: number): ReturnType<Draw> => {
    const edit = { kind: 'counter', name: `karma/${epoch}`, key: random.pick(keys), amount: random.below(9) - 3 } as const
    return { edits: [edit], send: (write) => agent.counter(edit.name).add(edit.key, edit.amount, write) }
  }
  const set = async (_: string, epoch: number): ReturnType<Draw> => {
    const edit = { kind: 'set', name: `follows/${epoch}`, member: random.pick(keys), present: random.chance(0.6) } as const
    const document = agent.set(edit.name)
    return { edits: [edit], send: (write) => (edit.present ? document.add(edit.member, write) : document.remove(edit.member, write)) }
  }
  const register = async (id: string, epoch: number): ReturnType<Draw> => {
    const edit = { kind: 'register', name: `profile/${epoch}`, key: random.pick(keys), value: random.chance(0.8) ? id : null } as const
    const document = agent.register(edit.name)
    return {
      edits: [edit],
      send: (write) => (edit.value === null ? document.delete(edit.key, write) : document.set(edit.key, edit.value, write)),
    }
  }
  const text = async (id: string, epoch: number): ReturnType<Draw> => {
    const edit = { kind: 'text', name: `SOUL/${epoch}`, line: id } as const
    const document = agent.text(edit.name)
    const before = await document.get().catch((error: unknown) => {
      if (error instanceof SelfsameError && (passing.has(error.code) || error.code === 'not-found')) return { text: '', version: undefined }
      throw error
    })
    const lines = before.text.split(/(?<=\n)/)
    lines.splice(random.below(lines.length + 1), 0, `${id}\n`)
    const base = before.version
    if (base === undefined) return undefined
    return { edits: [edit], send: (write) => document.put(lines.join(''), { ...write, base }) }
  }
  const json = async (id: string, epoch: number): ReturnType<Draw> => {
    const edit = { kind: 'json', name: `tasks/${epoch}`, key: id } as const
    return { edits: [edit], send: (write) => agent.json(edit.name).merge({ [id]: { status: 'open' }, last: id }, write) }
  }
  const batch = async (id: string, epoch: number): ReturnType<Draw> => {
    const name = `batches/${epoch}`
    const key = random.pick(keys)
    const edits: readonly Edit[] = [
      { kind: 'log', name, text: id },
      { kind: 'counter', name, key, amount: 1 },
      { kind: 'register', name, key, value: id },
    ]
    const operations: readonly Operation[] = [
      { type: 'log.append', name, entries: [{ text: id }] },
      { type: 'counter.add', name, key, amount: 1 },
      { type: 'register.set', name, key, value: id },
    ]
    return { edits, send: (write) => agent.batch(operations, write) }
  }
  return [log, log, counter, set, register, text, json, batch]
}

export interface Watcher {
  /** Texts of log entries that were shown since `forget`, with how often. */
  readonly shown: ReadonlyMap<string, number>
  /** Whether it had to begin anew since `forget`, so that it may have missed something. */
  readonly hadGap: boolean
  forget(): void
  end(): void
}

/** Of the entries that are shown, the part that is read again at once. */
const readAgainChance = 0.05

/** Watches all logs of a daemon from the beginning, through all of its restarts. */
export function startWatcher({ agent, fault, name, random }: Pick<ClientsOptions, 'agent' | 'fault' | 'name' | 'random'>): Watcher {
  const closing = new AbortController()
  const { signal } = closing
  const shown = new Map<string, number>()
  let hadGap = true
  let cursor: string | undefined = 'start'

  async function watch(): Promise<void> {
    for await (const change of agent.watch(['log/*'], { signal, ...(cursor === undefined ? {} : { cursor }) })) {
      ;({ cursor } = change)
      for (const { id, text = '' } of change.entries ?? []) {
        shown.set(text, (shown.get(text) ?? 0) + 1)
        if (random.chance(readAgainChance)) void readAgain(change.name, id)
      }
    }
  }

  async function readAgain(log: string, id: string): Promise<void> {
    await agent
      .log(log)
      .entry(id)
      .catch((error: unknown) => {
        if (!signal.aborted && !(error instanceof SelfsameError && passing.has(error.code)))
          fault(`${name} showed entry ${id} of ${log}, and reading it failed: ${String(error)}`)
      })
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await watch().catch((error: unknown) => {
        if (error instanceof SelfsameError && error.code === 'cursor-expired') {
          cursor = undefined
          hadGap = true
        } else if (!(error instanceof SelfsameError && passing.has(error.code))) fault(`the watcher of ${name}: ${String(error)}`)
      })
      await sleep(againMs)
    }
  }

  void run()
  return {
    shown,
    get hadGap() {
      return hadGap
    },
    forget() {
      shown.clear()
      hadGap = false
    },
    end: () => closing.abort(),
  }
}
