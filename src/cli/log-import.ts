/**
 * `log import`: a file of JSON lines of any size into a log, in bounded memory apart from 8 to 16 bytes a line. Every line gets an operation
 * id made from what it says, so that importing again, after an interruption or with more lines, adds nothing twice.
 */
import { createReadStream, statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { hashOf, hashToId, SelfsameError } from '../core/index.ts'
import type { EntryInput, ImportProgress } from '../api/client.ts'
import { refusal, unreadable } from './arguments.ts'
import type { AgentContext } from './command.ts'
import { amountText, spanOf } from './output.ts'

const fields = ['text', 'time', 'kind', 'tags', 'data', 'id'] as const
const others = ['refuse', 'ignore', 'data'] as const

export interface ImportOptions {
  readonly rename?: readonly string[]
  readonly others?: string
}

/** Bytes of one line: more than the longest entry, less than what would fill the memory when a file has no newlines. */
const lineBytesMax = 4 << 20

export async function importLog(
  { agent, options, output, streams }: AgentContext<ImportOptions>,
  name: string,
  file: string,
): Promise<void> {
  const readLine = lineReader(options)
  const source = file === '-' ? { stream: streams.stdin, bytes: undefined } : openFile(file)
  const identify = createLineIdentifier(name)
  const blanks = createBlankCount()
  const began = Date.now()
  let bytesRead = 0
  let entriesRead = 0
  let fault: Error | undefined

  async function* entries(): AsyncGenerator<EntryInput> {
    let number = 0
    try {
      for await (const { text, bytes } of linesOf(source.stream)) {
        bytesRead += bytes
        number += 1
        if (text === '') {
          blanks.add(entriesRead)
          continue
        }
        const { id, ...entry } = readLine(text, number)
        entriesRead += 1
        yield { ...entry, operationId: identify(text, id) }
      }
    } catch (error) {
      // Ends what is sent instead of breaking it off, so that all that stands before the fault is imported.
      fault = error as Error
    }
  }

  const onProgress = ({ written, alreadyThere }: ImportProgress): void => {
    const rate = Math.round((written + alreadyThere) / Math.max((Date.now() - began) / 1_000, 0.001))
    const share = source.bytes === undefined ? '' : `${Math.floor((100 * bytesRead) / Math.max(source.bytes, 1))}%, `
    output.progress(`${amountText(written, 'entry', 'entries')} written (${share}${rate.toLocaleString('en')} a second)`)
  }

  try {
    const total = await agent.log(name).import(entries(), { onProgress })
    if (fault !== undefined) throw fault
    const known = total.alreadyThere === 0 ? '' : `, ${total.alreadyThere.toLocaleString('en')} were there`
    const account = `imported ${amountText(total.written, 'entry', 'entries')} into ${name}${known}`
    output.progress('')
    await output.answer(total, `${account} (${spanOf((Date.now() - began) / 1_000)})`)
  } catch (error) {
    output.progress('')
    if (!(error instanceof SelfsameError)) throw error
    // The daemon counts the lines that it was sent, without the blank ones of the file.
    const message =
      error === fault
        ? error.message
        : error.message.replace(/^line (\d+)(?=: )/, (_, sent: string) => `line ${blanks.lineOf(Number(sent))}`)
    throw new SelfsameError(
      error.code,
      `${message}\nWhat stands before it is imported. Run the same command again to go on: nothing is added twice.`,
      { cause: error },
    )
  }
}

/** Keeps where a file has lines that are not sent, to know the line of an entry by its number. */
export function createBlankCount(): { add(entriesBefore: number): void; lineOf(entry: number): number } {
  const blanks: number[] = []
  return {
    add: (entriesBefore) => void blanks.push(entriesBefore),
    lineOf: (entry) => entry + blanks.filter((entriesBefore) => entriesBefore < entry).length,
  }
}

function openFile(file: string): { readonly stream: Readable; readonly bytes: number } {
  try {
    const entry = statSync(file)
    if (entry.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' })
    return { stream: createReadStream(file), bytes: entry.size }
  } catch (error) {
    throw unreadable(file, error)
  }
}

interface Line {
  /** Without its end. */
  readonly text: string
  /** With its end. */
  readonly bytes: number
}

const newline = 0x0a

/** The lines of a stream of bytes, `\r\n` and a byte order mark taken off. Throws `too-large` for a line over the limit. */
export async function* linesOf(stream: AsyncIterable<Uint8Array | string>): AsyncGenerator<Line> {
  let rest = Buffer.alloc(0)
  let number = 0
  for await (const chunk of stream) {
    const bytes = Buffer.concat([rest, typeof chunk === 'string' ? Buffer.from(chunk) : chunk])
    let from = 0
    for (let end = bytes.indexOf(newline, rest.length); end >= 0; end = bytes.indexOf(newline, from)) {
      number += 1
      yield lineOf(bytes.subarray(from, end + 1), number)
      from = end + 1
    }
    rest = bytes.subarray(from)
    if (rest.length > lineBytesMax)
      throw new SelfsameError(
        'too-large',
        `line ${number + 1} is longer than ${lineBytesMax} bytes: is it a file of one JSON value a line?`,
      )
  }
  if (rest.length > 0) yield lineOf(rest, number + 1)
}

function lineOf(bytes: Buffer, number: number): Line {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim(), bytes: bytes.length }
  } catch {
    throw refusal(`line ${number} is not UTF-8 text`)
  }
}

type ImportedLine = EntryInput & { readonly id?: string }

/** Reads a line as an entry; `invalid-request` names the line and the fault. What an entry may hold is for the daemon to check. */
export function lineReader(options: ImportOptions): (text: string, number: number) => ImportedLine {
  const keep = options.others ?? 'refuse'
  if (!(others as readonly string[]).includes(keep)) throw refusal(`--others is one of ${others.join(', ')}, not '${keep}'`)
  const nameByField = new Map((options.rename ?? []).map(parseRename))

  return (text, number) => {
    const fault = (message: string): SelfsameError => refusal(`line ${number}: ${message}`)
    const value = parseLine(text)
    if (value === undefined) throw fault('this is not a JSON object')
    const entry: Record<string, unknown> = {}
    const rest: Record<string, unknown> = {}
    for (const [field, content] of Object.entries(value)) {
      const name = nameByField.get(field) ?? field
      if (!isField(name)) rest[field] = content
      else if (Object.hasOwn(entry, name)) throw fault(`there are two fields for '${name}'`)
      else entry[name] = content
    }
    const [unknown] = Object.keys(rest)
    if (unknown !== undefined && keep === 'refuse') {
      throw fault(
        `an entry has no field '${unknown}' (it has ${fields.join(', ')}): use --rename ${unknown}=..., --others data or --others ignore`,
      )
    }
    if (unknown !== undefined && keep === 'data') {
      if (entry['data'] !== undefined)
        throw fault(`it has 'data' and other fields such as '${unknown}': --others data has no place for them`)
      entry['data'] = rest
    }
    if (entry['id'] !== undefined && typeof entry['id'] !== 'string' && typeof entry['id'] !== 'number')
      throw fault("'id' has to be text or a number")
    return { ...entry, ...(entry['id'] === undefined ? {} : { id: String(entry['id']) }) }
  }
}

function parseRename(text: string): readonly [string, string] {
  const [, field = '', name = ''] = /^(.+)=(.+)$/.exec(text) ?? []
  if (!isField(name)) throw refusal(`'--rename ${text}': give FIELD=NAME, where NAME is one of ${fields.join(', ')}`)
  return [field, name]
}

function isField(name: string): name is (typeof fields)[number] {
  return (fields as readonly string[]).includes(name)
}

function parseLine(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Names the lines of one import into one log: by their own id, or by what they say and how many equal ones came before. */
export function createLineIdentifier(log: string): (text: string, id: string | undefined) => string {
  const seen = createTally()
  const domain = (kind: string): string => `selfsame/import-${kind}/1/${log}`
  return (text, id) => {
    if (id !== undefined) return `import-${hashToId(domain('id'), Buffer.from(id)).slice(0, 32)}`
    const hash = hashOf(domain('line'), Buffer.from(text))
    const occurrence = seen(new DataView(hash.buffer, hash.byteOffset).getUint32(0))
    return `import-${Buffer.from(hash.subarray(0, 16)).toString('hex')}-${occurrence}`
  }
}

const tallySlotsMin = 1 << 12

/**
 * Counts 32-bit keys from 0, in 8 to 16 bytes a key. Two lines that share a key share a count: their numbers have gaps, but they are the same
 * numbers for the same lines before them, and that is all an identity needs.
 */
export function createTally(): (key: number) => number {
  let keys = new Uint32Array(tallySlotsMin)
  let counts = new Uint32Array(tallySlotsMin)
  let used = 0

  const slotOf = (key: number): number => {
    const mask = keys.length - 1
    let slot = key & mask
    while (counts[slot] !== 0 && keys[slot] !== key) slot = (slot + 1) & mask
    return slot
  }
  const grow = (): void => {
    const [oldKeys, oldCounts] = [keys, counts]
    keys = new Uint32Array(oldKeys.length * 2)
    counts = new Uint32Array(oldKeys.length * 2)
    for (const [index, count] of oldCounts.entries()) {
      if (count === 0) continue
      const key = oldKeys[index] ?? 0
      const slot = slotOf(key)
      keys[slot] = key
      counts[slot] = count
    }
  }

  return (key) => {
    const slot = slotOf(key)
    const before = counts[slot] ?? 0
    keys[slot] = key
    counts[slot] = before + 1
    if (before === 0) used += 1
    if (used * 2 > keys.length) grow()
    return before
  }
}
