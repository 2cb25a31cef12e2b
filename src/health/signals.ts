/**
 * The signals: drift, lag and recovery time, from what is known of the group, and which of them cross a threshold. Pure: what is known
 * comes from outside, and what is not known stays unknown.
 */
import type { InstanceId } from '../core/index.ts'
import type { Coverage } from '../replica/index.ts'
import type { Condition } from './alert-book.ts'

/** What is still tolerated of each signal. */
export interface Thresholds {
  readonly driftPercent: number
  readonly lagMilliseconds: number
  readonly recoveryMilliseconds: number
}

/** The signals at one moment. Null: nothing is known. */
export interface Signals {
  /** Of the documents, how many differ from what the members that are connected told. */
  readonly driftPercent: number | null
  /** The greatest lag of a member. */
  readonly lagMilliseconds: number | null
  /** Of each member that ever told how far it is. */
  readonly lags: ReadonlyMap<InstanceId, number>
  /** From the start of the process until it was ready; null before. */
  readonly recoveryMilliseconds: number | null
  /** How long what is derived was built anew, the last time since the start; null where it never was. */
  readonly rebuildMilliseconds: number | null
}

/** What this daemon knows of its own recoveries, milliseconds. */
export type Recovery = Pick<Signals, 'recoveryMilliseconds' | 'rebuildMilliseconds'>

export const noSignals: Signals = {
  driftPercent: null,
  lagMilliseconds: null,
  lags: new Map(),
  recoveryMilliseconds: null,
  rebuildMilliseconds: null,
}

/** Alerts of these kinds are about signals, the others about cases. */
export const signalKinds: ReadonlySet<string> = new Set(['drift', 'lag', 'recovery'])

/** Looks in a row at which drift has to hold before it is an alert: a minute, in which a member that was away catches up with much. */
const driftLooks = 12
/** The same for lag, which has its time in its threshold. */
const lagLooks = 2

/** `connected`: the members that can be asked. What the others hold by now nobody knows. `now`: milliseconds since the Unix epoch. */
export function signalsOf(coverage: Coverage, connected: ReadonlySet<InstanceId>, recovery: Recovery, now: number): Signals {
  const isAlone = coverage.members.length + coverage.unknown === 0
  const within = coverage.members.filter(({ instance }) => connected.has(instance))
  const lags = new Map(
    coverage.members.map(({ instance, oldestAt }) => [instance, oldestAt === null ? 0 : Math.max(0, now - oldestAt)] as const),
  )
  return {
    driftPercent: isAlone || within.length > 0 ? driftOf({ ...coverage, members: within }) : null,
    lagMilliseconds: isAlone || lags.size > 0 ? Math.max(0, ...lags.values()) : null,
    lags,
    ...recovery,
  }
}

/** What others have and this instance lacks touches documents that nobody here can name: each such feed counts for one. */
function driftOf({ documents, feedsLacking, members }: Coverage): number {
  const differing = new Set(members.flatMap((member) => member.documents)).size + feedsLacking
  return differing === 0 ? 0 : Math.min(100, (100 * differing) / Math.max(documents, differing))
}

/** The thresholds that are crossed. `now`: milliseconds since the Unix epoch. */
export function crossings(
  signals: Signals,
  thresholds: Thresholds,
  nameOf: (instance: InstanceId) => string,
  now: number,
): readonly Condition[] {
  const { driftPercent, lags, rebuildMilliseconds, recoveryMilliseconds } = signals
  const crossed: Condition[] = []
  if ((driftPercent ?? 0) > thresholds.driftPercent) {
    const detail = `${percentText(driftPercent ?? 0)} of the documents differ from what the instances that are connected told; ${percentText(thresholds.driftPercent)} are tolerated`
    crossed.push({ id: 'drift', kind: 'drift', detail, since: now, looksToRaise: driftLooks })
  }
  for (const [instance, lag] of lags) {
    if (lag <= thresholds.lagMilliseconds) continue
    const detail = `${nameOf(instance)} lacks what was written ${spanText(lag)} ago, by what it last told: it is away, or it cannot keep up; ${spanText(thresholds.lagMilliseconds)} are tolerated`
    crossed.push({ id: `lag:${instance}`, kind: 'lag', detail, since: now - lag, looksToRaise: lagLooks })
  }
  if ((recoveryMilliseconds ?? 0) > thresholds.recoveryMilliseconds) {
    const detail = `this daemon took ${spanText(recoveryMilliseconds ?? 0)} to be ready; ${spanText(thresholds.recoveryMilliseconds)} are tolerated`
    crossed.push({ id: 'recovery', kind: 'recovery', detail, since: now, looksToRaise: 1 })
  }
  if ((rebuildMilliseconds ?? 0) > thresholds.recoveryMilliseconds) {
    const detail = `the memory took ${spanText(rebuildMilliseconds ?? 0)} to be built anew from its envelopes; ${spanText(thresholds.recoveryMilliseconds)} are tolerated`
    crossed.push({ id: 'rebuild', kind: 'recovery', detail, since: now, looksToRaise: 1 })
  }
  return crossed
}

function percentText(percent: number): string {
  return `${Number(percent.toPrecision(2))}%`
}

/** `850 ms`, `12 s`, `6 min`, `3 h`, `2 d`. */
function spanText(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`
  const seconds = milliseconds / 1_000
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} d`
}
