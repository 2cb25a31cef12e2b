/**
 * What a run does: a list of steps, drawn from the seed alone. Everything that can go wrong is a step (an instance that is
 * there, the weather, a request, a crash), and each ends what it began by itself. So any part of a plan is a plan, too.
 */
import type { NetworkConditions } from '../../src/network/index.ts'
import type { Role } from '../../src/membership/index.ts'
import { seededRandom } from './virtual-time.ts'
import type { SeededRandom } from './virtual-time.ts'

/** Where in its next commit a process dies: before anything is written, when it is written, when it is confirmed; `now` waits for none. */
export type CrashPoint = 'now' | 'asked' | 'written' | 'confirmed'
export type CutShape = 'pair' | 'one-way' | 'halves' | 'ring' | 'bridge' | 'island' | 'deaf'

/** Nodes are named; a step about one that is not there does nothing. `forMs`: after so long it is over. */
export type Act =
  | { readonly type: 'member'; readonly node: string; readonly role: Role; readonly skewMs: number; readonly rootKey: boolean }
  | { readonly type: 'newer'; readonly node: string }
  | { readonly type: 'no-cache' }
  | { readonly type: 'weather'; readonly set: Partial<NetworkConditions>; readonly forMs: number }
  | { readonly type: 'write'; readonly node: string; readonly operations: number }
  | { readonly type: 'repeat'; readonly node: string }
  | { readonly type: 'foreign'; readonly node: string }
  | { readonly type: 'crash'; readonly node: string; readonly at: CrashPoint; readonly power: boolean; readonly forMs: number }
  | { readonly type: 'stop'; readonly node: string; readonly forMs: number }
  | { readonly type: 'offline'; readonly node: string; readonly forMs: number }
  | { readonly type: 'pause'; readonly node: string; readonly forMs: number }
  | { readonly type: 'jump'; readonly node: string; readonly byMs: number }
  | { readonly type: 'cut'; readonly shape: CutShape; readonly forMs: number }
  | { readonly type: 'full'; readonly node: string; readonly forMs: number }
  | { readonly type: 'unconfirmed'; readonly node: string; readonly openFailures: number }
  | { readonly type: 'unreadable'; readonly node: string; readonly reads: number }
  | { readonly type: 'rot'; readonly node: string }
  | { readonly type: 'backup'; readonly node: string }
  | { readonly type: 'restore'; readonly node: string; readonly forMs: number }
  | { readonly type: 'copy'; readonly node: string; readonly as: string; readonly both: boolean }
  | { readonly type: 'turn'; readonly node: string }
  | { readonly type: 'join'; readonly node: string; readonly as: string; readonly role: Role }
  | { readonly type: 'role'; readonly node: string; readonly of: string; readonly role: Role | null }
  | { readonly type: 'duel'; readonly node: string; readonly of: string }
  | { readonly type: 'rotate'; readonly node: string }
  | { readonly type: 'clone'; readonly node: string }
export type FaultClass = Act['type']

export interface Step {
  /** Its number in the whole plan of the seed. */
  readonly number: number
  /** Virtual milliseconds since the run began. */
  readonly at: number
  readonly act: Act
}

export interface Plan {
  readonly seed: string
  /** By time. */
  readonly steps: readonly Step[]
  /** Virtual milliseconds after which everything heals. */
  readonly troubleMs: number
}

/** What may be drawn for the course of a run, and how often beside each other. */
const weights = {
  crash: 8,
  stop: 2,
  offline: 3,
  pause: 3,
  jump: 3,
  cut: 6,
  weather: 4,
  full: 2,
  unconfirmed: 3,
  unreadable: 2,
  backup: 4,
  restore: 4,
  copy: 2,
  turn: 3,
  join: 3,
  role: 6,
  duel: 2,
  rotate: 2,
  clone: 2,
  repeat: 3,
  foreign: 1,
} as const satisfies Partial<Record<FaultClass, number>>
type DrawnClass = keyof typeof weights
/** Makes no sense without, in the same run. */
const needs: Partial<Record<DrawnClass, DrawnClass>> = { restore: 'backup', turn: 'copy', clone: 'copy' }

/** With these a node can be the last that has an envelope, or have nobody to fetch it from: what rots there is lost, and lawfully so. */
const spoilsRot: ReadonlySet<DrawnClass> = new Set(['restore', 'copy', 'clone', 'join', 'role', 'duel', 'rotate'])

const hourMs = 3_600_000
const roles: readonly Role[] = ['reader', 'writer', 'writer', 'admin']
const cutShapes: readonly CutShape[] = ['pair', 'pair', 'one-way', 'one-way', 'halves', 'ring', 'bridge', 'island', 'deaf']
const crashPoints: readonly CrashPoint[] = ['now', 'asked', 'written', 'confirmed']

/** The plan of a seed; `only` keeps the steps of those numbers. */
export function planOf(seed: string, only: ReadonlySet<number> | null = null): Plan {
  const plan = new Drawing(seed).plan()
  return only === null ? plan : { ...plan, steps: plan.steps.filter(({ number }) => only.has(number)) }
}

class Drawing {
  readonly #seed: string
  readonly #random: SeededRandom
  readonly #acts: { readonly at: number; readonly act: Act }[] = []
  readonly #nodes: string[] = []
  #newNodes = 0

  constructor(seed: string) {
    this.#seed = seed
    this.#random = seededRandom(`plan ${seed}`)
  }

  plan(): Plan {
    const random = this.#random
    const size = this.#size()
    // Long runs are there for what takes minutes: backoff, expiry, detection of dead links.
    const troubleMs = random.chance(0.06) ? 200_000 : random.pick([2_000, 4_000, 8_000])
    const manyFaults = random.chance(0.2)
    const rots = random.chance(0.2)
    const drawn = (Object.keys(weights) as DrawnClass[])
      .filter(() => random.chance(manyFaults ? 0.7 : 0.25))
      .filter((each) => !rots || !spoilsRot.has(each))
    const classes = [...new Set([...drawn, ...drawn.flatMap((each) => needs[each] ?? [])])]
    this.#setUp(size, classes)
    const faults = classes.length === 0 ? 0 : 3 + random.below(12)
    const times = Array.from({ length: faults }, () => random.below(troubleMs)).toSorted((a, b) => a - b)
    for (const at of times) this.#acts.push({ at, act: this.#draw(this.#weighted(classes), troubleMs) })
    const writes = 12 + random.below(28)
    for (let count = 0; count < writes; count += 1) this.#write(random.below(troubleMs))
    for (let count = rots ? 1 + random.below(4) : 0; count > 0; count -= 1)
      this.#acts.push({ at: random.below(troubleMs), act: { type: 'rot', node: random.pick(this.#nodes) } })
    const steps = this.#acts.toSorted((a, b) => a.at - b.at).map((step, number) => ({ ...step, number }))
    return { seed: this.#seed, steps, troubleMs }
  }

  /** Three to five as a rule; now and then many, which cost a hundred times as much. */
  #size(): number {
    const random = this.#random
    const kind = random.unit()
    if (kind < 0.93) return 3 + random.below(3)
    if (kind < 0.993) return 6 + random.below(4)
    if (kind < 0.9985) return 10 + random.below(8)
    return 18 + random.below(33)
  }

  #setUp(size: number, classes: readonly DrawnClass[]): void {
    const random = this.#random
    const add = (act: Act): void => void this.#acts.push({ at: 0, act })
    const areSkewed = random.chance(0.4)
    const changesMembers = classes.some((drawn) => drawn === 'role' || drawn === 'duel' || drawn === 'join')
    for (let index = 0; index < size; index += 1) {
      const node = `n${index}`
      this.#nodes.push(node)
      const role = index === 0 ? 'admin' : changesMembers ? random.pick(roles) : random.chance(0.1) ? 'reader' : 'writer'
      const skewMs = areSkewed && random.chance(0.5) ? random.below(200_000) - 100_000 : random.below(100)
      add({ type: 'member', node, role, skewMs, rootKey: index === 0 && random.chance(0.5) })
    }
    if (random.chance(0.15)) add({ type: 'newer', node: random.pick(this.#nodes) })
    if (random.chance(0.3)) add({ type: 'no-cache' })
    if (classes.includes('weather')) {
      for (const set of this.#climate()) add({ type: 'weather', set, forMs: Infinity })
    }
  }

  /** The weather of the whole run, each part by itself. */
  #climate(): readonly Partial<NetworkConditions>[] {
    const random = this.#random
    const parts: Partial<NetworkConditions>[] = [
      { latencyMsMax: random.pick([2, 20, 200]) },
      { gossipLoss: random.pick([0.1, 0.5, 1]) },
      { gossipDuplication: 0.2 },
      { gossipDelayMsMax: random.pick([50, 500]) },
      { linkReset: 0.002 },
      { detectionMsMax: random.pick([100, 20_000]) },
      { windowBytes: 4 << 10 },
      { discovery: true },
    ]
    return parts.filter(() => random.chance(0.5))
  }

  #write(at: number): void {
    const random = this.#random
    // Requests that wait together share a commit.
    const burst = random.chance(0.1) ? 4 : 1
    for (let count = 0; count < burst; count += 1) {
      this.#acts.push({ at, act: { type: 'write', node: random.pick(this.#nodes), operations: random.chance(0.1) ? 3 : 1 } })
    }
  }

  #weighted(classes: readonly DrawnClass[]): DrawnClass {
    const total = classes.reduce((sum, drawn) => sum + weights[drawn], 0)
    let left = this.#random.unit() * total
    for (const drawn of classes) {
      left -= weights[drawn]
      if (left < 0) return drawn
    }
    return classes[0] as DrawnClass
  }

  #draw(type: DrawnClass, troubleMs: number): Act {
    const random = this.#random
    const node = random.pick(this.#nodes)
    const forMs = random.chance(0.2) ? troubleMs : 20 + random.below(troubleMs / 3)
    switch (type) {
      case 'crash':
        return { type, node, at: random.pick(crashPoints), power: random.chance(0.5), forMs }
      case 'jump':
        return { type, node, byMs: (random.chance(0.5) ? 1 : -1) * random.pick([100, 5_000, 50_000, hourMs, 24 * hourMs]) }
      case 'cut':
        return { type, shape: random.pick(cutShapes), forMs }
      case 'weather':
        return {
          type,
          set: random.pick([{ gossipLoss: 1 }, { linkReset: 0.05 }, { latencyMsMax: 1_000 }, { gossipDelayMsMax: 2_000 }]),
          forMs,
        }
      case 'unconfirmed':
        return { type, node, openFailures: random.chance(0.3) ? 2 : 0 }
      case 'unreadable':
        return { type, node, reads: 1 + random.below(3) }
      case 'copy':
        return { type, node, as: this.#newNode(), both: random.chance(0.4) }
      case 'join':
        return { type, node, as: this.#newNode(), role: random.pick(roles) }
      case 'role':
        return { type, node, of: random.pick(this.#nodes), role: random.pick([null, null, 'reader', 'writer', 'admin']) }
      case 'duel':
        return { type, node, of: random.pick(this.#nodes) }
      case 'repeat':
      case 'foreign':
      case 'backup':
      case 'turn':
      case 'rotate':
      case 'clone':
        return { type, node }
      default:
        return { type, node, forMs }
    }
  }

  #newNode(): string {
    this.#newNodes += 1
    const node = `m${this.#newNodes}`
    this.#nodes.push(node)
    return node
  }
}

/** Numbers of steps as a command line has them: `0-4,8,12`. */
export function numbersToText(numbers: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const number of numbers) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] + 1 === number) last[1] = number
    else ranges.push([number, number])
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',')
}

/** What `numbersToText` gave; null where it is not of that form. */
export function numbersOfText(text: string): ReadonlySet<number> | null {
  const numbers = new Set<number>()
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part)
    if (match === null) return null
    for (let number = Number(match[1]); number <= Number(match[2] ?? match[1]); number += 1) numbers.add(number)
  }
  return numbers
}
