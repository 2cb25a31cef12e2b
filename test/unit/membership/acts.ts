/** What members, and those who are none, can do in a random history, and how often; drawn from a seed. */
import { Dice } from './dice.ts'

/** How often each act is drawn. */
const weights = {
  'meet': 10,
  'hear in part': 6,
  'invite': 4,
  'join': 8,
  'join again': 2,
  'join at two': 4,
  'admit by root': 2,
  'clone': 5,
  'copy a home': 3,
  'change a role': 6,
  'remove': 5,
  'remove each other': 4,
  'ring of removals': 3,
  'leave': 2,
  'step down': 2,
  'restore': 5,
  'rotate': 4,
  'rotate at once': 3,
  'rename': 3,
  'role by root': 3,
  'rename by root': 1,
  'backdate': 5,
  'use a stolen key': 4,
  'use a retired key': 3,
  'forge an author': 2,
  'repeat a number': 2,
  'replay a claim': 2,
  'unknown type': 2,
  'name a void record': 2,
  'anything': 4,
} as const
export type ActKind = keyof typeof weights
export const actKinds = Object.keys(weights) as readonly ActKind[]
const urn = actKinds.flatMap((kind) => Array<ActKind>(weights[kind]).fill(kind))

export interface Act {
  readonly kind: ActKind
  readonly seed: number
}

/** What a group is made of before it falls out. */
const beginnings: readonly ActKind[] = ['join', 'join', 'admit by root', 'clone', 'copy a home', 'meet', 'meet']

/** The acts of a seed. */
export function actsOf(seed: number): readonly Act[] {
  const dice = new Dice(seed)
  const early = 2 + dice.below(5)
  const length = early + 4 + dice.below(dice.chance(0.1) ? 40 : 22)
  return Array.from({ length }, (_, index) => ({ kind: dice.pick(index < early ? beginnings : urn) as ActKind, seed: dice.below(2 ** 31) }))
}
