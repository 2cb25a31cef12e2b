/** What a command says: answers on standard output, for people or as JSON; everything else on standard error. */
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'

/** Where a command reads and writes: the process, or a test. */
export interface Streams {
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Writable & { readonly isTTY?: boolean }
  readonly stderr: Writable & { readonly isTTY?: boolean }
}

/** Codes of terminals (SGR). */
const colours = { red: 31, green: 32, yellow: 33 } as const
export type Colour = keyof typeof colours

export interface Output {
  /**
   * One answer, or one of a stream of answers: `value` as a line of JSON with `--json`, else `text`. Waits for a slow reader.
   * `colourOf`: of its lines, on a terminal, unless the environment has NO_COLOR (no-color.org).
   */
  answer(value: unknown, text: string, colourOf?: (line: string) => Colour | undefined): Promise<void>
  /** Text as it is, without a newline of its own. */
  verbatim(text: string): Promise<void>
  /** A remark for a person; programs and `--quiet` are spared. */
  remark(text: string): void
  /** A line that replaces itself on a terminal, and is not written elsewhere. The empty text wipes it. */
  progress(text: string): void
}

export function createOutput(streams: Streams, { json, quiet }: { readonly json: boolean; readonly quiet: boolean }): Output {
  const write = async (text: string): Promise<void> => {
    if (!streams.stdout.write(text)) await once(streams.stdout, 'drain')
  }
  return {
    answer(value, text, colourOf) {
      if (json) return write(`${JSON.stringify(value)}\n`)
      const lines = printable(text)
      const isColoured = colourOf !== undefined && streams.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === ''
      return write(`${isColoured ? coloured(lines, colourOf) : lines}\n`)
    },
    verbatim: (text) => write(streams.stdout.isTTY === true ? printable(text) : text),
    remark(text) {
      if (!json && !quiet) streams.stderr.write(`${printable(text)}\n`)
    },
    progress(text) {
      if (streams.stderr.isTTY === true && !quiet) streams.stderr.write(`\r\u001b[2K${printable(text)}`)
    },
  }
}

function coloured(text: string, colourOf: (line: string) => Colour | undefined): string {
  return text.replace(/^.+$/gm, (line) => {
    const colour = colourOf(line)
    return colour === undefined ? line : `\u001b[${colours[colour]}m${line}\u001b[0m`
  })
}

/** What comes from other machines must not steer the terminal: control characters become visible. Newlines and tabs stay. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd')
}

/** `2026-11-21 10:33:00`, in the time zone of this machine. */
export function localTime(iso: string): string {
  const date = new Date(iso)
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`
}

/** As `localTime`, and the time alone where it is of today. `now`: milliseconds since the Unix epoch. */
export function recentTime(iso: string, now: number): string {
  const [day, time = ''] = localTime(iso).split(' ')
  return day === localTime(new Date(now).toISOString()).split(' ')[0] ? time : localTime(iso)
}

/** `12 s`, `5 min`, `3 h`, `2 d`: how long something is, to one unit. */
export function spanOf(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** Rows with their cells under each other. */
export function columnsOf(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length)
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A value of JSON on one line, text without its quotes. */
export function inlineOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** `1 entry`, `2 entries`. */
export function amountText(count: number, one: string, many: string): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`
}
