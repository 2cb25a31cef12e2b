/** How values that JSON cannot hold cross the local API: 64-bit integers, points in time. */
import { SelfsameError } from '../core/index.ts'
import type { Integer, TimeInput } from './schemas.ts'

export function bigintToInteger(value: bigint): Integer {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString()
}

/** Throws `invalid-request` for anything but decimal digits. */
export function integerToBigint(value: Integer): bigint {
  if (typeof value === 'number' ? !Number.isSafeInteger(value) : !/^-?[0-9]+$/.test(value)) {
    throw new SelfsameError(
      'invalid-request',
      `${JSON.stringify(value)} is not a whole number; beyond ±(2^53-1) give decimal digits as text`,
    )
  }
  return BigInt(value)
}

/** ISO 8601 that means one instant: a date (UTC), or date and time with a zone. */
export const timePattern = '^\\d{4}-\\d\\d-\\d\\d(T\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,9})?)?(Z|[+-]\\d\\d:\\d\\d))?$'
const timeForm = new RegExp(timePattern)

/** Milliseconds since the Unix epoch; finer fractions are cut off. Throws `invalid-request` for what is not one instant. */
export function timeToMilliseconds(value: TimeInput): number {
  const milliseconds = typeof value === 'number' ? value : isDay(value) ? Date.parse(value) : Number.NaN
  if (Number.isNaN(milliseconds)) {
    throw new SelfsameError('invalid-request', `${JSON.stringify(value)} is not a point in time: give 2026-11-01 or 2026-11-01T09:30:00Z`)
  }
  return milliseconds
}

/** Whether the text has the form, and its day exists: `Date.parse` takes 31 February for 3 March. */
function isDay(value: string): boolean {
  return timeForm.test(value) && new Date(value.slice(0, 10)).getUTCDate() === Number(value.slice(8, 10))
}
