/** What the demo prints: plain lines in columns, coloured on a terminal only. Times are measured, never told. */
import { styleText } from 'node:util'

const nameWidth = 9
const textWidth = 58
const timeWidth = 9

type Style = Parameters<typeof styleText>[0]

/** Colour where standard output is a terminal that wants it. */
function styled(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout })
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function printTitle(text: string): void {
  print(`\n${styled('bold', text)}`)
}

export function printChapter(text: string): void {
  print(`\n${styled(['bold', 'cyan'], text)}`)
}

export function printText(text: string): void {
  print(`  ${text}`)
}

export function printFact(name: string, text: string): void {
  print(`  ${styled('dim', name.padEnd(18))}${text}`)
}

/** Prints who does what, does it, and adds how long that took. */
export async function step<Value>(who: string, what: string, action: () => Promise<Value>): Promise<Value> {
  process.stdout.write(`  ${styled('green', who.padEnd(nameWidth))}${what.padEnd(textWidth)}`)
  const began = performance.now()
  try {
    const value = await action()
    print(styled('dim', durationText(performance.now() - began).padStart(timeWidth)))
    return value
  } catch (error) {
    print(styled('red', 'failed'.padStart(timeWidth)))
    throw error
  }
}

export function durationText(milliseconds: number): string {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`
  return milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(2)} s`
}

/** A table with its first column dim and its head dim. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((cell, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? '').length)) + 2)
  const lineOf = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('')
      .trimEnd()
  for (const [index, row] of [head, ...rows].entries()) print(`  ${index === 0 ? styled('dim', lineOf(row)) : lineOf(row)}`)
}

export function printSuccess(text: string): void {
  print(`\n${styled('green', text)}`)
}

export function printFailure(text: string): void {
  process.stderr.write(`\n${styleText('red', text, { stream: process.stderr })}\n`)
}
