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
  /** Of the documents, how many differ from what some member last told. */
  readonly driftPercent: number | null
  /** The greatest lag of a member. */
  readonly lagMilliseconds: number | null
  /** Of each member that ever told how far it is. */
  readonly lags: ReadonlyMap<InstanceId, number>
  /** From the start of the process until it was ready; null before. */
  readonly recoveryMilliseconds: number | null
}

export const noSignals: Signals = { driftPercent: null, lagMilliseconds: null, lags: new Map(), recoveryMilliseconds: null }

/** `now`: milliseconds since the Unix epoch. */
export function signalsOf(coverage: Coverage, recoveryMilliseconds: number | null, now: number): Signals {
  const lags = new Map(
    coverage.members.map(({ instance, oldestAt }) => [instance, oldestAt === null ? 0 : Math.max(0, now - oldestAt)] as const),
  )
  const isAlone = coverage.members.length + coverage.unknown === 0
  const isUnknown = coverage.members.length === 0 && !isAlone
  return {
    driftPercent: isUnknown ? null : driftOf(coverage),
    lagMilliseconds: isUnknown ? null : Math.max(0, ...lags.values()),
    lags,
    recoveryMilliseconds,
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
  const { driftPercent, lags, recoveryMilliseconds } = signals
  const crossed: Condition[] = []
  if ((driftPercent ?? 0) > thresholds.driftPercent) {
    const detail = `${percentText(driftPercent ?? 0)} of the documents differ from what other instances last told; ${percentText(thresholds.driftPercent)} are tolerated`
    crossed.push({ id: 'drift', kind: 'drift', detail, since: now, isPassing: true })
  }
  for (const [instance, lag] of lags) {
    if (lag <= thresholds.lagMilliseconds) continue
    const detail = `${nameOf(instance)} lacks what was written ${spanText(lag)} ago, by what it last told: it is away, or it cannot keep up; ${spanText(thresholds.lagMilliseconds)} are tolerated`
    crossed.push({ id: `lag:${instance}`, kind: 'lag', detail, since: now - lag, isPassing: true })
  }
  if ((recoveryMilliseconds ?? 0) > thresholds.recoveryMilliseconds) {
    const detail = `this daemon took ${spanText(recoveryMilliseconds ?? 0)} to be ready; ${spanText(thresholds.recoveryMilliseconds)} are tolerated`
    crossed.push({ id: 'recovery', kind: 'recovery', detail, since: now, isPassing: false })
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
