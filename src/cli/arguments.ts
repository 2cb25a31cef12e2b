/** Reads what is typed: durations, numbers, JSON, points in time. Each refusal is `invalid-request` and shows what would do. */
import { readFileSync } from 'node:fs'
import { SelfsameError } from '../core/index.ts'
import type { Json } from '../api/client.ts'

const unitMilliseconds: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** `5s`, `90m`, `1h`, `2d`, `1w`, `250ms`: milliseconds. */
export function durationToMilliseconds(text: string): number {
  const milliseconds = durationOf(text)
  if (milliseconds === undefined)
    throw refusal(`'${text}' is not a duration: give a number with its unit, such as 250ms, 5s, 90m, 1h or 2d`)
  return milliseconds
}

function durationOf(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,9})(ms|[smhdw])$/.exec(text) ?? []
  return amount === undefined ? undefined : Number(amount) * (unitMilliseconds[unit] ?? 0)
}

/** A point in time, or a duration back from `now`: ISO 8601, a date, or `2h`. */
export function timeOf(text: string, now: number): Date {
  const back = durationOf(text)
  const milliseconds = back === undefined ? Date.parse(/^\d{4}-\d\d/.test(text) ? text : '') : now - back
  if (Number.isNaN(milliseconds))
    throw refusal(`'${text}' is not a time: give ISO 8601 (2026-11-01T09:30:00Z), a date (2026-11-01), or how long ago (2h, 3d)`)
  return new Date(milliseconds)
}

/** A whole number of at least `min`. */
export function countOf(text: string, min: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min)) throw refusal(`'${text}' is not a whole number of at least ${min}`)
  return value
}

/** What a counter is moved by. */
export function amountOf(text: string): bigint {
  if (!/^[+-]?\d{1,19}$/.test(text)) throw refusal(`'${text}' is not a whole number, such as 1 or -3`)
  return BigInt(text.replace(/^\+/, ''))
}

export function jsonOf(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch (error) {
    throw refusal(`that is not JSON: ${(error as Error).message}`)
  }
}

/** The whole of a file, or of standard input for `-`, as text. */
export async function textOf(file: string, stdin: AsyncIterable<Uint8Array | string>): Promise<string> {
  return file === '-' ? decode(await bytesOf(stdin), 'the input') : textOfFile(file)
}

/** The whole of a file as text. */
export function textOfFile(file: string): string {
  return decode(bytesOfFile(file), file)
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw refusal(`${what} is not UTF-8 text`)
  }
}

async function bytesOf(stream: AsyncIterable<Uint8Array | string>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
  return Buffer.concat(chunks)
}

function bytesOfFile(file: string): Uint8Array {
  try {
    return readFileSync(file)
  } catch (error) {
    throw unreadable(file, error)
  }
}

export function unreadable(file: string, error: unknown): SelfsameError {
  const { code, message } = error as NodeJS.ErrnoException
  const reason =
    code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a directory' : code === 'EACCES' ? 'access is denied' : message
  return new SelfsameError('not-found', `${file} cannot be read: ${reason}`, { cause: error })
}

export function refusal(message: string): SelfsameError {
  return new SelfsameError('invalid-request', message)
}
