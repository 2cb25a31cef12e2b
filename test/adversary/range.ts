/**
 * The proving ground: three honest daemons, the adversary in a process of its own, and somebody who looks at what the attack does to the
 * others: what was refused and why, how long the victim's loop was blocked, its memory, and how long an honest write takes from one to the other.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { agreed, connected, createGroup, until } from '../e2e/group.ts'
import type { Group, Instance } from '../e2e/group.ts'
import type { Order, Word } from './attacker.ts'
import type { Case } from './case.ts'

const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

export interface Outcome {
  readonly name: string
  /** The words with which it was refused; null where none were found. */
  readonly refusal: string | null
  readonly reports: readonly string[]
  /** Milliseconds from an honest write at one to its being seen at another, median and worst, without and with the attack. */
  readonly calm: Latency
  readonly attacked: Latency
  /** Milliseconds for which the victim's loop was blocked by work of its own, and by whatever else, at worst. */
  readonly busyMs: number
  readonly lateMs: number
  /** Bytes of the victim's resident memory, before and at its worst. */
  readonly residentBefore: number
  readonly residentMax: number
  /** Milliseconds after the attack until the honest had the same again. */
  readonly agreedMs: number
}

export interface Latency {
  readonly count: number
  readonly medianMs: number
  readonly worstMs: number
}

export interface Range {
  /** Carries out one case for so long. Throws where the victim died, does not answer, or the honest do not agree afterwards. */
  run(attack: Case, seconds: number): Promise<Outcome>
  close(): Promise<void>
}

/** Seconds for which an attack goes on until it is refused, and for which that is waited for afterwards. */
const refusalSecondsMax = 40

interface Sample {
  readonly at: number
  readonly late: number
  readonly busy: number
  readonly resident: number
}

export async function openRange(): Promise<Range> {
  const group = await createGroup()
  const victim = await group.found('victim')
  const honest = await Promise.all([group.join('second', victim), group.join('third', victim)])
  const probeFile = join(group.directory, 'loop.jsonl')
  const diedFile = `${probeFile}.died`
  const environment = { LOOP_PROBE: probeFile, NODE_OPTIONS: `--import=${pathToFileURL(fileOf('loop-probe.ts')).href}` }
  await victim.stop()
  await victim.up(environment)
  const [second, third] = honest
  await connected(victim, second, third)
  const traffic = await openTraffic(victim, second)
  const { agent, instance } = await second.agent.status()
  const { feed } = await second.agent.log('honest').append({ text: 'the first' })

  async function run(attack: Case, seconds: number): Promise<Outcome> {
    const log = logFrom(victim)
    const keptBefore = new Set(await kept(victim))
    const ticket = attack.invite === null ? null : await ticketOf(victim, attack.invite)
    const order: Order = {
      name: attack.name,
      agent: agent.id,
      ticket,
      port: victim.port,
      othersPort: second.port,
      theirs: { feed: feed ?? '', instance: instance.id },
    }
    const adversary = startAdversary(group, order)
    try {
      await adversary.ready
      const residentBefore = residentOf(victim)
      const calm = await traffic.measure(seconds / 2)
      const beganAt = Date.now()
      adversary.say('begin')
      const attacked = await traffic.measure(Math.max(seconds, attack.secondsMin ?? 0))
      const seen = async (): Promise<string | undefined> =>
        find(
          attack.refusal,
          attack.recorded === 'adversary' ? adversary.reports : [...log(), ...(await kept(victim)).filter((line) => !keptBefore.has(line))],
        )
      // Whoever ends too early has served nothing yet that could be refused; and what a flood left under way is refused in its turn.
      const early = attack.recorded === 'victim' ? await until('it is refused', seen, refusalSecondsMax).catch(() => null) : null
      adversary.say('end')
      await adversary.ended
      const refusal = early ?? (await until('it is refused', seen, attack.recorded === 'victim' ? refusalSecondsMax : 1).catch(() => null))
      const samples = readSamples(probeFile).filter(({ at }) => at >= beganAt)
      const agreedMs = await agreed(victim, second, third)
      return {
        name: attack.name,
        refusal,
        reports: adversary.reports,
        calm,
        attacked,
        busyMs: Math.max(...samples.map(({ busy }) => busy)),
        lateMs: Math.max(...samples.map(({ late }) => late)),
        residentBefore,
        residentMax: Math.max(...samples.map(({ resident }) => resident), residentOf(victim)),
        agreedMs,
      }
    } finally {
      adversary.kill()
    }
  }

  return {
    async run(attack, seconds) {
      try {
        return await run(attack, seconds)
      } catch (error) {
        if (await lives(victim)) throw error
        // The next case gets a victim that lives.
        const words = existsSync(diedFile) ? readFileSync(diedFile, 'utf8') : find(/"level":"error"/u, readLog(victim))
        rmSync(diedFile, { force: true })
        await victim.kill()
        await victim.up(environment)
        throw new Error(`the victim died: ${words}`, { cause: error })
      }
    },
    async close() {
      await traffic.close()
      await group.close()
    },
  }
}

async function ticketOf({ agent }: Instance, { role, seconds = 600, uses = 1 }: NonNullable<Case['invite']>): Promise<string> {
  return (await agent.invite({ role, expiresSeconds: seconds, uses })).ticket
}

interface Adversary {
  readonly ready: Promise<void>
  readonly ended: Promise<void>
  readonly reports: string[]
  say(order: 'begin' | 'end'): void
  kill(): void
}

function startAdversary(group: Group, order: Order): Adversary {
  const child: ChildProcess = fork(fileOf('attacker.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  group.adopt(child.pid as number)
  const ready = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const reports: string[] = []
  child.on('message', (word: Word) => {
    if (word.type === 'report') reports.push(word.words)
    else (word.type === 'ready' ? ready : ended).resolve()
  })
  child.on('exit', (code) => {
    ready.reject(new Error(`the adversary ended with ${code}: ${reports.join('; ')}`))
    ended.resolve()
  })
  child.send(order)
  return {
    ready: ready.promise,
    // Whoever floods may be deaf for a while.
    ended: Promise.race([ended.promise, new Promise<void>((resolve) => setTimeout(resolve, 15_000).unref())]),
    reports,
    say: (word) => void (child.connected && child.send(word)),
    kill: () => void child.kill('SIGKILL'),
  }
}

interface Traffic {
  measure(seconds: number): Promise<Latency>
  close(): Promise<void>
}

/** Honest writes from one to the other and back: what an agent would wait for. */
async function openTraffic(a: Instance, b: Instance): Promise<Traffic> {
  const seen = new Map<string, (at: number) => void>()
  const closing = new AbortController()
  const watching = [a, b].map(async ({ agent }) => {
    for await (const change of agent.watch(['log/honest'], { signal: closing.signal })) {
      if (change.local) continue
      for (const { text } of change.entries ?? []) seen.get(text ?? '')?.(performance.now())
    }
  })
  let count = 0

  async function oneWrite(writer: Instance): Promise<number> {
    count += 1
    const text = `honest ${count}`
    const arrived = new Promise<number>((resolve) => seen.set(text, resolve))
    const began = performance.now()
    await writer.agent.log('honest').append({ text })
    const at = await Promise.race([arrived, new Promise<number>((resolve) => setTimeout(resolve, 20_000, Number.NaN).unref())])
    seen.delete(text)
    if (Number.isNaN(at)) throw new Error(`an honest write at ${writer.home} did not arrive within 20 s`)
    return at - began
  }

  return {
    async measure(seconds) {
      const deadline = performance.now() + seconds * 1_000
      const taken: number[] = []
      while (performance.now() < deadline) {
        taken.push(await oneWrite(a), await oneWrite(b))
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      const sorted = taken.toSorted((x, y) => x - y)
      return { count: sorted.length, medianMs: sorted[sorted.length >> 1] as number, worstMs: sorted.at(-1) as number }
    },
    async close() {
      closing.abort()
      await Promise.allSettled(watching)
    },
  }
}

/** The lines that a daemon logs from now on. */
function logFrom({ home }: Instance): () => string[] {
  const directory = join(home, 'run')
  const path = join(directory, 'daemon.log')
  const from = existsSync(path) ? statSync(path).size : 0
  return () => {
    const bytes = readFileSync(path)
    // A log that was begun anew holds only what is new, and the rest of it lies beside it.
    const rotated = bytes.length < from
    const before = rotated ? readdirSync(directory).filter((name) => name === 'daemon.log.1') : []
    const text = [...before.map((name) => readFileSync(join(directory, name)).subarray(from)), bytes.subarray(rotated ? 0 : from)]
    return Buffer.concat(text).toString().split('\n')
  }
}

function readLog({ home }: Instance): string[] {
  return readFileSync(join(home, 'run', 'daemon.log'), 'utf8').split('\n')
}

function lives({ agent }: Instance): Promise<boolean> {
  return agent.health().then(
    () => true,
    () => false,
  )
}

/** What a daemon shows to a person. */
async function kept({ agent }: Instance): Promise<string[]> {
  const [{ attention }, { evidence }] = await Promise.all([agent.status(), agent.evidence()])
  return [
    ...attention.map(({ kind, detail }) => `${kind}: ${detail}`),
    ...evidence.map(({ kind, reason, feed = '', key = '' }) => `${kind} ${feed}${key}: ${reason}`),
  ]
}

function find(words: RegExp, lines: readonly string[]): string | undefined {
  return lines.findLast((line) => words.test(line))
}

function readSamples(path: string): Sample[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Sample)
}

/** Bytes of memory that a process really holds. */
function residentOf({ processId }: Instance): number {
  const [, kilobytes = '0'] = /^VmRSS:\s+(\d+)/mu.exec(readFileSync(`/proc/${processId}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1_024
}
