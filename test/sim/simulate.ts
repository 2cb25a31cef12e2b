/**
 * One simulated run: the plan is played, everything heals, the group has to agree within minutes and be quiet then, and what
 * must be true of it is checked. The same plan gives the same run, to the byte.
 */
import type { InstanceId } from '../../src/core/index.ts'
import { agreementOf, appliedText, groupOf, hasStrangers } from './group.ts'
import { Checks } from './checks.ts'
import type { SimNode } from './node.ts'
import { planOf } from './plan.ts'
import type { Plan } from './plan.ts'
import { Stage } from './stage.ts'
import { World } from './world.ts'

/** Virtual milliseconds within which a healed group must have converged. Dial backoff alone may take one minute. */
const healMsMax = 600_000
/** Between looks at whether it has. */
const lookMs = 500
/** Virtual milliseconds without convergence after which copies of homes run in turn. */
const turnMs = 60_000
/** Virtual milliseconds within which whoever knows of a key has told those that do not. */
const strangersMs = 60_000
/** Virtual milliseconds of which one stretch has to be quiet, with a round of pings in it, and how many there may be before: dead links are noticed, and dialed anew. */
const quietMs = 12_000
const stretchesMax = 10
/** What a mesh says that has nothing to say. */
const quietMessages: ReadonlySet<string> = new Set(['ping', 'pong'])

export interface RunResult {
  readonly seed: string
  /** What was found broken; the first one ended the run. */
  readonly faults: readonly string[]
  readonly instances: number
  readonly requests: number
  readonly acknowledged: number
  /** Virtual milliseconds from healing to convergence. */
  readonly healedMs: number
  /** How often each kind of trouble came. */
  readonly happened: ReadonlyMap<string, number>
  /** Hash of all that was sent, stored and read: equal for equal plans. */
  readonly trace: string
}

/** Runs a plan: that of a seed unless told. */
export async function simulate(seed: string, plan: Plan = planOf(seed)): Promise<RunResult> {
  const world = new World(seed)
  const stage = new Stage(world)
  let healedMs = 0
  // A promise of a simulated process that nobody looks after would end a real one.
  const fault = (error: unknown): void => world.fault(error instanceof Error ? (error.stack ?? error.message) : String(error))
  process.on('unhandledRejection', fault)
  try {
    await stage.play(plan)
    if (world.faults.length === 0) healedMs = await new Healing(world, stage).run()
  } catch (error) {
    fault(error)
  } finally {
    process.off('unhandledRejection', fault)
  }
  for (const node of stage.cast.nodes) node.crash()
  const { requests } = stage.clients
  return {
    seed,
    faults: world.faults,
    instances: stage.cast.nodes.length,
    requests: requests.length,
    acknowledged: requests.filter(({ state }) => state === 'acknowledged').length,
    healedMs,
    happened: world.happened,
    trace: world.trace(),
  }
}

class Healing {
  readonly #world: World
  readonly #stage: Stage

  constructor(world: World, stage: Stage) {
    this.#world = world
    this.#stage = stage
  }

  /** Returns how long it took. */
  async run(): Promise<number> {
    const { faults, time } = this.#world
    if (this.#nodes.length === 0) return 0
    await this.#stage.heal()
    const begin = time.elapsed
    // What was asked for at the last moment is answered before anybody is judged.
    await time.run(begin + lookMs)
    await this.#converge(begin)
    const healedMs = time.elapsed - begin
    if (faults.length > 0) return healedMs
    await this.#checkQuiet()
    const agreement = agreementOf(this.#nodes)
    if (agreement !== null) await new Checks(this.#world, this.#stage.clients.requests).all(agreement, this.#nodes)
    else if (this.#isAnybodyThere()) this.#world.fault(`agreed, and then no more: ${this.#describe()}`)
    return healedMs
  }

  get #nodes(): readonly SimNode[] {
    return this.#stage.cast.nodes
  }

  /** Where everybody was removed nobody has to agree. */
  #isAnybodyThere(): boolean {
    return groupOf(this.#nodes)?.remaining.length !== 0
  }

  async #converge(begin: number): Promise<void> {
    const { faults, time } = this.#world
    for (let turns = 0; faults.length === 0 && this.#isAnybodyThere() && !(await this.#isHealed(begin));) {
      if (time.elapsed - begin > healMsMax) return this.#world.fault(`no convergence within ${healMsMax / 1_000} s: ${this.#describe()}`)
      await time.run(time.elapsed + lookMs)
      if (time.elapsed - begin < (turns + 1) * turnMs) continue
      await this.#runOneOfEachKey(turns)
      turns += 1
    }
  }

  /** All agree, and nothing that they store is damaged. */
  async #isHealed(begin: number): Promise<boolean> {
    const agreement = agreementOf(this.#nodes)
    if (agreement === null || (hasStrangers(agreement) && this.#world.time.elapsed - begin < strangersMs)) return false
    const damages = await Promise.all(agreement.remaining.map(({ replica }) => replica.store.scrub()))
    return damages.every((damaged) => damaged.length === 0)
  }

  /**
   * Where homes were copied, each instance may be content with one process of each key, or know of no address at which another is now, and
   * groups form that never meet: what the daemons report as second copies. Does what they advise, for a while: one process for each key,
   * others every time, and on one network, where they find each other.
   */
  async #runOneOfEachKey(turn: number): Promise<void> {
    if ([...this.#stage.cast.families].every((family) => family.length === 1)) return
    const twins = this.#twins()
    let combinations = 1
    for (const nodes of twins) {
      const chosen = Math.floor(turn / combinations) % nodes.length
      for (const [index, node] of nodes.entries()) if (index !== chosen) node.crash()
      combinations *= nodes.length
    }
    this.#findEachOther()
    await this.#world.time.run(this.#world.time.elapsed + turnMs / 2)
    for (const nodes of twins) for (const node of nodes) if (!node.isUp) await node.start()
    this.#findEachOther()
  }

  #findEachOther(): void {
    const running = this.#nodes.filter(({ isUp }) => isUp)
    for (const node of running) for (const other of running) if (other !== node) node.findAddress(other)
  }

  /** Nodes that run with one key. */
  #twins(): readonly (readonly SimNode[])[] {
    const byKey = Map.groupBy(this.#nodes, (node) => node.identity.key.publicKey)
    return [...byKey.values()].filter((nodes) => nodes.length > 1)
  }

  /** Members that have nothing to say to each other say nothing. Twins and those that lost their place do go on calling. */
  async #checkQuiet(): Promise<void> {
    const { time } = this.#world
    if (groupOf(this.#nodes)?.outside.length !== 0 || this.#twins().length > 0) return
    let noise: readonly string[] = []
    for (let stretch = 0; stretch < stretchesMax; stretch += 1) {
      const before = this.#nodes.map(({ sent }) => new Map(sent))
      await time.run(time.elapsed + quietMs)
      noise = this.#nodes.flatMap(({ name, sent }, index) =>
        [...sent].flatMap(([what, count]) => {
          const more = count - (before[index]?.get(what) ?? 0)
          return more === 0 || quietMessages.has(what) ? [] : [`${name} sent ${more} of ${what}`]
        }),
      )
      if (noise.length === 0) return
    }
    this.#world.fault(`there was never quiet, though nothing was to be said: ${noise.join(', ')}`)
  }

  #describe(): string {
    const lines = this.#nodes.flatMap(({ name, replica }) => {
      if (replica === null) return [`${name} down`]
      const members = Buffer.from(replica.members.digest()).toString('hex').slice(0, 6)
      const seen = replica.peers().map(({ ahead, behind, instance }) => `${this.#nameOf(instance)} ${behind} behind and ${ahead} ahead`)
      return [`${name} ${members} ${replica.waitingFeeds} waiting, ${appliedText(replica)}`, `  sees ${seen.join(', ')}`]
    })
    return lines.join('\n')
  }

  #nameOf(instance: InstanceId): string {
    return this.#nodes.find(({ identity }) => identity.instance === instance)?.name ?? instance
  }
}
