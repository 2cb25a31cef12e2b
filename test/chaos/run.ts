/**
 * A chaos run under a seed: trouble, for a minute or so, then a checkpoint (everything heals, is compared and judged), and again. The seed
 * decides what is done and in which order; how far the daemons have come by then is up to the machine.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connected } from '../e2e/group.ts'
import { seededRandom } from '../sim/virtual-time.ts'
import type { SeededRandom } from '../sim/virtual-time.ts'
import { createChecker } from './checkpoint.ts'
import { daemonFaults } from './daemon-faults.ts'
import type { DaemonFault } from './daemon-faults.ts'
import { networkFaults } from './network-faults.ts'
import type { NetworkFault } from './network-faults.ts'
import { createWorld } from './world.ts'
import type { Daemon, World } from './world.ts'

export interface ChaosOptions {
  readonly seed: string
  readonly seconds: number
  readonly daemons: number
  /** Milliseconds between two requests of one of the eight clients of each daemon, on average. */
  readonly paceMs: number
  /** Seconds of trouble between two checkpoints. */
  readonly troubleSeconds: number
  /** Seconds in which a healed group has to hold the same. */
  readonly healSecondsMax: number
  readonly mayMount: boolean
  /** Where homes and logs go where something was wrong; undefined to keep nothing. */
  readonly keepIn?: string
  readonly signal: AbortSignal
  /** Is told how it goes. */
  readonly say: (line: string) => void
}

/** What a run came to. */
export interface ChaosResult {
  /** What must not be; empty where all is well. */
  readonly faults: readonly string[]
  /** Healings that took too long. They say something of the machine, too, so the run goes on. */
  readonly late: string[]
  /** Requests by how they came out; `carriedOut` of those whose outcome was never told. */
  readonly requests: { acknowledged: number; refused: number; unknown: number; carriedOut: number }
  edits: number
  envelopes: number
  daemons: number
  /** As of the checker. */
  memoryMib: number
  restarts: number
  /** How often each fault was done. */
  readonly done: Map<string, number>
  /** Faults that cannot be had here, with the reason. */
  readonly skipped: Map<string, string>
  /** Milliseconds, one for each checkpoint: until it was healed, and until all digests were equal. */
  readonly healingMs: number[]
  readonly provenMs: number[]
}

/** Faults done to daemons at the same time. */
const strands = 2
/** Seconds in which clients learn the outcome of what they asked, once all daemons run. */
const settleSecondsMax = 60

export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { keepIn, signal } = options
  const world = await createWorld({ ...options, random: seededRandom(`chaos ${options.seed}`) })
  const aborted = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(new Error('interrupted'))))
  const result: ChaosResult = {
    faults: world.faults,
    late: [],
    requests: { acknowledged: 0, refused: 0, unknown: 0, carriedOut: 0 },
    edits: 0,
    envelopes: 0,
    daemons: 0,
    memoryMib: 0,
    restarts: 0,
    done: new Map(),
    skipped: new Map(),
    healingMs: [],
    provenMs: [],
  }
  for (const { name, unavailable } of daemonFaults) {
    const reason = unavailable(world)
    if (reason !== null) result.skipped.set(name, reason)
  }
  try {
    signal.throwIfAborted()
    await Promise.race([aborted, run(world, options, result)])
  } catch (error) {
    if (signal.aborted) throw error
    world.faults.push(String(error instanceof Error ? error.stack : error))
  } finally {
    await world.close(world.faults.length + result.late.length > 0 ? keepIn : undefined)
  }
  return result
}

async function run(world: World, options: ChaosOptions, result: ChaosResult): Promise<void> {
  const { healSecondsMax, say, seconds, troubleSeconds } = options
  const checker = createChecker(world)
  await connected(...world.daemons.map(({ instance }) => instance))
  for (const { watcher } of world.daemons) watcher.forget()
  const endsAt = performance.now() + seconds * 1_000
  while (performance.now() < endsAt && world.faults.length === 0) {
    for (const { clients } of world.daemons) clients.resume()
    await trouble(world, Math.min(troubleSeconds, (endsAt - performance.now()) / 1_000), result)
    await settled(world)
    const { late, milliseconds, provenMs, sameVersionsMs } = await checker.heal(healSecondsMax)
    result.healingMs.push(milliseconds)
    result.provenMs.push(provenMs)
    if (late !== null) {
      result.late.push(`checkpoint ${world.epoch}: ${late}`)
      say(`checkpoint ${world.epoch}: ${late}`)
    }
    const { carriedOut } = await checker.check()
    const { requests } = result
    for (const { edits, outcome } of world.requests) {
      requests[outcome === 'asked' ? 'unknown' : outcome] += 1
      result.edits += edits.length
    }
    requests.carriedOut += carriedOut
    result.envelopes = checker.envelopes
    result.memoryMib = checker.memoryMib
    result.restarts = world.restarts
    result.daemons = world.daemons.length
    say(
      `checkpoint ${world.epoch}: ${world.requests.length} requests, ${requests.acknowledged} acknowledged so far, healed in ${inSeconds(milliseconds)} (the same versions after ${inSeconds(sameVersionsMs)}, all digests after ${inSeconds(provenMs)}), ` +
        `${world.restarts} restarts, ${world.faults.length} faults`,
    )
    world.requests = []
    world.epoch += 1
  }
}

const inSeconds = (milliseconds: number): string => `${(milliseconds / 1_000).toFixed(2)} s`

/** Stops the clients, and waits until they know what became of everything. */
async function settled(world: World): Promise<void> {
  const all = Promise.all(world.daemons.map(({ clients }) => clients.pause()))
  const late = sleep(settleSecondsMax * 1_000).then(() => {
    throw new Error(`some client did not learn within ${settleSecondsMax} s what became of its request`)
  })
  await Promise.race([all, late])
}

/** Faults to daemons and to the network at once; at the end the daemons run, and the network is as the last fault left it. */
async function trouble(world: World, seconds: number, { done, skipped }: ChaosResult): Promise<void> {
  const endsAt = performance.now() + seconds * 1_000
  const note = (name: string): void => void done.set(name, (done.get(name) ?? 0) + 1)
  const available = daemonFaults.filter(({ name }) => !skipped.has(name))
  const random = world.random.fork(`trouble ${world.epoch}`)

  async function networkStrand(): Promise<void> {
    const own = random.fork('network')
    while (performance.now() < endsAt) {
      await pause(own, 4)
      const fault = own.pick(networkFaults)
      note(fault.name)
      await fault.run(world, own, Math.min(durationOf(own), Math.max(1, (endsAt - performance.now()) / 1_000)))
      world.relay.heal()
    }
  }

  async function daemonStrand(index: number): Promise<void> {
    const own = random.fork(`daemons ${index}`)
    while (performance.now() < endsAt && world.faults.length === 0) {
      await pause(own, 3)
      const fault = pickWeighted(available, own)
      const taken = take(fault, world, own)
      if (taken === undefined) continue
      note(fault.name)
      await fault.run(taken[0] as Daemon, world, own).catch((error: unknown) => {
        world.faults.push(`${fault.name} of ${taken[0]?.name}: ${String(error instanceof Error ? error.stack : error)}`)
      })
      for (const daemon of taken) daemon.taken = false
    }
  }

  await Promise.all([networkStrand(), ...Array.from({ length: strands }, (_, index) => daemonStrand(index))])
  const last: NetworkFault = random.pick(networkFaults)
  note(last.name)
  await last.run(world, random, 2 + random.below(6))
}

function pause(random: SeededRandom, secondsMax: number): Promise<void> {
  return sleep(secondsMax * 1_000 * random.unit())
}

/** Seconds: mostly short, and now and then long enough for links to be given up. */
function durationOf(random: SeededRandom): number {
  return random.chance(0.2) ? 30 + random.below(30) : 2 + random.below(12)
}

/** The daemon that a fault is done to, and what it needs besides; undefined where nothing suits at the moment. */
function take({ suits, takesFounder = false }: DaemonFault, world: World, random: SeededRandom): readonly Daemon[] | undefined {
  const [founder] = world.daemons as readonly [Daemon]
  const free = world.daemons.filter((daemon) => !daemon.taken && suits(daemon, world))
  if (free.length === 0 || (takesFounder && founder.taken)) return undefined
  const taken = [random.pick(free), ...(takesFounder ? [founder] : [])]
  for (const daemon of taken) daemon.taken = true
  return taken
}

function pickWeighted(faults: readonly DaemonFault[], random: SeededRandom): DaemonFault {
  let at = random.unit() * faults.reduce((sum, { weight }) => sum + weight, 0)
  return faults.find(({ weight }) => (at -= weight) < 0) ?? (faults[0] as DaemonFault)
}
