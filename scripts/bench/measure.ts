/**
 * What the measuring programs share: the rows of the one table, the figures in them, and what a process uses as the
 * kernel tells it. Each program exports `measure`, which yields its rows one by one, so that what was measured before a failure is kept.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** One line of the table. */
export interface Row {
  readonly what: string
  readonly measured: string
  /** The least that the same work costs on this machine, measured in the same run. */
  readonly floor?: string
  /** How many times as much the work costs as its floor. */
  readonly ratio?: number
  /** What is to be reached, and whether it is. */
  readonly goal?: { readonly text: string; readonly reached: boolean }
}

/** How large something is in this run, given how large it is in a full one and the least with which it still means something. */
export type Scale = (full: number, least: number) => number

export type Measure = (scale: Scale) => AsyncIterable<Row>

/** Which part of the full size a run has; 1 is a full one. */
export function scaleOf(share: number): Scale {
  return (full, least) => Math.max(least, Math.round(full * share))
}

export function rowsToMarkdown(rows: readonly Row[]): string {
  const lines = rows.map(({ floor, goal, measured, ratio, what }) => {
    const verdict = goal === undefined ? '' : goal.reached ? 'yes' : '**no**'
    return `| ${what} | ${measured} | ${floor ?? ''} | ${ratio === undefined ? '' : ratio.toFixed(1)} | ${goal?.text ?? ''} | ${verdict} |`
  })
  return ['| what | measured | floor | times the floor | to reach | reached |', '|---|---|---|---|---|---|', ...lines].join('\n')
}

/** Something that is to be at least, or at most, so much. */
export function atLeast(text: string, value: number, least: number): NonNullable<Row['goal']> {
  return { text, reached: value >= least }
}

export function atMost(text: string, value: number, most: number): NonNullable<Row['goal']> {
  return { text, reached: value <= most }
}

export interface Quantiles {
  readonly p50: number
  readonly p99: number
}

export function quantilesOf(values: readonly number[]): Quantiles {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99) }
}

export const inMilliseconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`
export const inMebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`
export const count = (value: number): string => Math.round(value).toLocaleString('en')
export const perSecond = (value: number): string => `${count(value)} /s`

/** Seconds that `body` takes. */
export async function secondsOf(body: () => Promise<unknown> | void): Promise<number> {
  const began = performance.now()
  await body()
  return (performance.now() - began) / 1_000
}

export function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

/**
 * Calls `send` so many times a second, whatever becomes of it: whoever is slow is not spared the next one. Timers of this process are
 * a millisecond coarse, so `send` takes the time when it is called.
 */
export async function atRate(perSecondWanted: number, total: number, send: (index: number) => unknown): Promise<void> {
  const began = performance.now()
  for (let index = 0; index < total; index += 1) {
    const due = began + (index * 1_000) / perSecondWanted - performance.now()
    if (due > 0) await wait(due)
    send(index)
  }
}

/** Bytes that a process has in memory. */
export function residentBytes(processId: number): number {
  const status = readFileSync(`/proc/${processId}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/u.exec(status)?.[1]) * 1_024
}

/** Ticks of the kernel's accounting in a second: fixed for programs, on every Linux. */
const ticksPerSecond = 100

/** Seconds that a process has had of all processors, in user and kernel mode. */
export function processorSeconds(processId: number): number {
  // The name, which may hold anything, ends with the last parenthesis.
  const fields = readFileSync(`/proc/${processId}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/**
 * Bytes that the open TCP connections of a process carried so far, both directions together, as its program gave and took them:
 * without headers. Not a number where there is no `ss` to ask.
 */
export function wireBytes(processId: number): number {
  const { status, stdout } = spawnSync('ss', ['-tinpHO', 'state', 'established'], { encoding: 'utf8', maxBuffer: 64 << 20 })
  if (status !== 0) return Number.NaN
  let bytes = 0
  for (const line of stdout.split('\n')) {
    if (!line.includes(`pid=${processId},`)) continue
    for (const [, amount] of line.matchAll(/bytes_(?:sent|received):(\d+)/gu)) bytes += Number(amount)
  }
  return bytes
}
