/** Points in time as the API tells them. */

/** The last time that a Date can hold: what others claim may lie beyond it. */
const timeMax = 8.64e15

/** ISO 8601, of milliseconds since the Unix epoch. */
export function isoOf(milliseconds: number): string {
  return new Date(Math.min(milliseconds, timeMax)).toISOString()
}
