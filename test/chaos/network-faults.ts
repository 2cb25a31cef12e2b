/** What the nemesis does to the network between the daemons. Each fault lasts for a while; whoever ordered it heals the network afterwards. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { SeededRandom } from '../sim/virtual-time.ts'
import type { Conditions } from './relay.ts'
import type { World } from './world.ts'

export interface NetworkFault {
  readonly name: string
  /** Carries it out and resolves when `seconds` are over. */
  readonly run: (world: World, random: SeededRandom, seconds: number) => Promise<void>
}

/** A pair of names: from, to. */
type Direction = readonly [string, string]

function directions({ daemons }: World): Direction[] {
  return daemons.flatMap(({ name: from }) => daemons.flatMap(({ name: to }): Direction[] => (from === to ? [] : [[from, to]])))
}

/** Conditions for some directions, for all of the time. */
function conditions(
  name: string,
  choose: (all: readonly Direction[], random: SeededRandom, names: readonly string[]) => readonly Direction[],
  change: (random: SeededRandom) => Partial<Conditions>,
): NetworkFault {
  return {
    name,
    async run(world, random, seconds) {
      const chosen = choose(
        directions(world),
        random,
        world.daemons.map((daemon) => daemon.name),
      )
      for (const [from, to] of chosen) world.relay.change(from, to, change(random))
      await sleep(seconds * 1_000)
    },
  }
}

const closed = (): Partial<Conditions> => ({ open: false })

/** Two sides, neither of them empty. */
function sides(names: readonly string[], random: SeededRandom): (name: string) => boolean {
  const shuffled = names.map((name) => ({ name, at: random.unit() })).toSorted((a, b) => a.at - b.at)
  const left = new Set(shuffled.slice(0, 1 + random.below(names.length - 1)).map(({ name }) => name))
  return (name) => left.has(name)
}

export const networkFaults: readonly NetworkFault[] = [
  conditions(
    'partition in two',
    (all, random, names) => {
      const isLeft = sides(names, random)
      return all.filter(([from, to]) => isLeft(from) !== isLeft(to))
    },
    closed,
  ),
  conditions(
    'one cut off',
    (all, random, names) => {
      const alone = random.pick(names)
      return all.filter((pair) => pair.includes(alone))
    },
    closed,
  ),
  conditions('everybody alone', (all) => all, closed),
  conditions('a chain', (all, _, names) => all.filter(([from, to]) => Math.abs(names.indexOf(from) - names.indexOf(to)) !== 1), closed),
  conditions(
    'one that hears nobody',
    (all, random, names) => {
      const deaf = random.pick(names)
      return all.filter(([, to]) => to === deaf)
    },
    closed,
  ),
  conditions(
    'one that nobody hears',
    (all, random, names) => {
      const mute = random.pick(names)
      return all.filter(([from]) => from === mute)
    },
    closed,
  ),
  conditions(
    'a partition one way',
    (all, random, names) => {
      const isLeft = sides(names, random)
      return all.filter(([from, to]) => isLeft(from) && !isLeft(to))
    },
    closed,
  ),
  conditions('some ways closed', (all, random) => all.filter(() => random.chance(0.4)), closed),
  conditions(
    'long ways',
    (all) => all,
    (random) => ({ delayMs: 20 + random.below(280), jitterMs: random.below(100) }),
  ),
  conditions(
    'one far away and slow',
    (all, random, names) => {
      const far = random.pick(names)
      return all.filter((pair) => pair.includes(far))
    },
    (random) => ({ delayMs: 300, jitterMs: 200, bytesPerSecond: 20_000 + random.below(100_000) }),
  ),
  conditions(
    'loss',
    (all) => all,
    (random) => ({ delayMs: 20, loss: 0.005 + 0.1 * random.unit() }),
  ),
  {
    name: 'resets',
    async run(world, random, seconds) {
      for (const until = performance.now() + seconds * 1_000; performance.now() < until;) {
        const [from, to] = random.pick(directions(world))
        world.relay.reset(from, to)
        await sleep(random.below(1_000))
      }
    },
  },
  {
    name: 'a partition that comes and goes',
    async run(world, random, seconds) {
      const isLeft = sides(
        world.daemons.map(({ name }) => name),
        random,
      )
      const across = directions(world).filter(([from, to]) => isLeft(from) !== isLeft(to))
      const until = performance.now() + seconds * 1_000
      for (let open = false; performance.now() < until; open = !open) {
        for (const [from, to] of across) world.relay.change(from, to, { open })
        await sleep(200 + random.below(3_000))
      }
    },
  },
]
