/** What many runs come to: how many passed, what happened in them how often, and how one that failed is had again. */
import { numbersToText } from './plan.ts'
import type { Plan } from './plan.ts'
import type { RunResult } from './simulate.ts'

/** Kinds of trouble that a simulator which is worth something brings about. */
const troubles = [
  'copy:both',
  'copy:turns',
  'cloned',
  'crash:asked',
  'crash:written',
  'crash:confirmed',
  'cut:bridge',
  'cut:deaf',
  'cut:halves',
  'cut:island',
  'cut:one-way',
  'cut:pair',
  'cut:ring',
  'disk-full',
  'foreign',
  'joined',
  'jump:backward',
  'jump:forward',
  'link: the connection timed out',
  'link: the connection was reset',
  'newer',
  'offline',
  'open-failure',
  'pause',
  'power-loss:asked',
  'power-loss:written',
  'power-loss:confirmed',
  'read-error',
  'rebuilt',
  'repeated',
  'restore',
  'role:none',
  'role:reader',
  'role:writer',
  'role:admin',
  'rot',
  'rotated',
  'stop',
  'unconfirmed:lost',
  'unconfirmed:there',
  'voided',
  'weather:gossipDelayMsMax',
  'weather:gossipDuplication',
  'weather:gossipLoss',
  'weather:latencyMsMax',
  'weather:linkReset',
  'weather:windowBytes',
] as const

/** What comes once in a hundred runs. */
const rare: ReadonlySet<string> = new Set(['rebuilt', 'voided'])

/** What stands before the colon. */
function sortOf(what: string): string {
  return what.split(':')[0] ?? what
}

export class Tally {
  seeds = 0
  instances = 0
  requests = 0
  acknowledged = 0
  healedMsMax = 0
  readonly happened = new Map<string, number>()

  add({ acknowledged, happened, healedMs, instances, requests }: RunResult): void {
    this.seeds += 1
    this.instances += instances
    this.requests += requests
    this.acknowledged += acknowledged
    this.healedMsMax = Math.max(this.healedMsMax, healedMs)
    for (const [what, count] of happened) this.happened.set(what, (this.happened.get(what) ?? 0) + count)
  }

  /** Sorts of trouble that never came, of those that some dozens of runs are sure to bring. */
  get missing(): readonly string[] {
    const came = new Set([...this.happened.keys()].map(sortOf))
    return [...new Set(troubles.map(sortOf))].filter((sort) => !rare.has(sort) && !came.has(sort))
  }

  toText(): string {
    const counts = troubles.map((what) => `${what} ${this.happened.get(what) ?? 0}`)
    return (
      `${this.instances} instances, ${this.requests} requests, ${this.acknowledged} acknowledged, ` +
      `slowest healing ${(this.healedMsMax / 1_000).toFixed(1)} virtual seconds\n${counts.join(', ')}`
    )
  }
}

/** The command that runs a plan again. */
export function commandOf({ seed, steps }: Plan): string {
  return `npm run sim -- --seed ${seed} --only ${numbersToText(steps.map(({ number }) => number))}`
}

export function planToText({ steps }: Plan): string {
  return steps.map(({ act: { type, ...rest }, at, number }) => `  ${number}. at ${at} ms ${type} ${JSON.stringify(rest)}`).join('\n')
}
