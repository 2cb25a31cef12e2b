/** The weather and the cuts of a run: those that are on at one time add up, and each ends by itself. */
import type { NetworkConditions } from '../../src/network/index.ts'
import type { CutShape } from './plan.ts'
import type { SeededRandom } from './virtual-time.ts'
import type { World } from './world.ts'

type Way = readonly [from: string, to: string]

/** The weather where a plan says nothing. */
const fair: NetworkConditions = {
  latencyMsMin: 1,
  latencyMsMax: 5,
  gossipLoss: 0,
  gossipDuplication: 0,
  gossipDelayMsMax: 0,
  linkReset: 0,
  detectionMsMax: 2_000,
  windowBytes: 256 << 10,
  discovery: false,
}

export class Sky {
  readonly #world: World
  readonly #weather = new Set<Partial<NetworkConditions>>()
  readonly #cuts = new Set<readonly Way[]>()
  /** Ways that are cut now, as text. */
  #closed = new Set<string>()

  constructor(world: World) {
    this.#world = world
    this.#applyWeather()
  }

  addWeather(set: Partial<NetworkConditions>): () => void {
    this.#weather.add(set)
    this.#applyWeather()
    for (const name of Object.keys(set)) this.#world.note(`weather:${name}`)
    return () => {
      this.#weather.delete(set)
      this.#applyWeather()
    }
  }

  addCut(shape: CutShape, addresses: readonly string[], random: SeededRandom): () => void {
    const cut = waysOf(shape, shuffled(addresses, random))
    this.#cuts.add(cut)
    this.#applyCuts()
    this.#world.note(`cut:${shape}`)
    return () => {
      this.#cuts.delete(cut)
      this.#applyCuts()
    }
  }

  clear(): void {
    this.#weather.clear()
    this.#cuts.clear()
    this.#applyWeather()
    this.#applyCuts()
  }

  #applyWeather(): void {
    this.#world.network.change(Object.assign({ ...fair }, ...this.#weather) as NetworkConditions)
  }

  #applyCuts(): void {
    const closed = new Set([...this.#cuts].flatMap((cut) => cut.map(([from, to]) => `${from} ${to}`)))
    const change = (ways: Iterable<string>, reachable: boolean): void => {
      for (const way of ways) {
        const [from, to] = way.split(' ') as [string, string]
        this.#world.network.setReachable(from, to, reachable, 'one-way')
      }
    }
    change(
      [...this.#closed].filter((way) => !closed.has(way)),
      true,
    )
    change(
      [...closed].filter((way) => !this.#closed.has(way)),
      false,
    )
    this.#closed = closed
  }
}

function shuffled<Item>(items: readonly Item[], random: SeededRandom): Item[] {
  return items
    .map((item) => ({ item, at: random.unit() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

/** The ways that a cut closes. */
function waysOf(shape: CutShape, nodes: readonly string[]): readonly Way[] {
  const count = nodes.length
  const half = Math.floor(count / 2)
  const isOpen = (a: number, b: number): boolean => {
    switch (shape) {
      case 'pair':
        return a + b !== 1
      case 'one-way':
        return a !== 0 || b !== 1
      case 'halves':
        return a < half === b < half
      case 'ring':
        return (a + 1) % count === b || (b + 1) % count === a
      case 'bridge':
        return a === half || b === half || a < half === b < half
      case 'island':
        return a !== 0 && b !== 0
      case 'deaf':
        return b !== 0
    }
  }
  return nodes.flatMap((from, a) => nodes.flatMap((to, b): readonly Way[] => (a === b || isOpen(a, b) ? [] : [[from, to]])))
}
