/**
 * `export`: all of an agent's memory as plain files, the same bytes for the same memory: sorted, UTF-8, lines that end in LF, days of UTC, and
 * nothing of when or where the export was made. Documents that hold nothing are not in it: nobody could tell them from none.
 */
import { closeSync, constants, mkdirSync, openSync, readdirSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { bigintToInteger } from '../api/client.ts'
import type { Agent, DocumentKind, Json } from '../api/client.ts'
import { refusal } from './arguments.ts'
import type { AgentContext } from './command.ts'
import { entryToExported } from './export-entry.ts'
import type { ExportedEntry } from './export-entry.ts'
import { jsonToText } from './export-json.ts'
import { fileNamesOf } from './export-names.ts'
import { amountText } from './output.ts'

/** What an export looks like; an import reads these places. */
export const exportFormat = 'selfsame-export-1'
export const exportPlaces = {
  /** Says that the export is one, and complete: it is written last. */
  mark: 'export.json',
  counters: 'counters.json',
  sets: 'sets.json',
  registers: 'registers.json',
  logs: { directory: 'logs', extension: '.jsonl' },
  json: { directory: 'json', extension: '.json' },
  texts: { directory: 'texts', extension: '' },
  /** Logs for people: never imported. */
  days: 'memory',
} as const

/** The log whose days lie directly in their directory: the one that agents keep their memory in. */
const plainLog = 'memory'

export async function exportAgent({ agent, output }: AgentContext<object>, directory: string): Promise<void> {
  makeEmpty(directory)
  const documents = await agent.documents()
  const namesOf = (kind: DocumentKind): readonly string[] => documents.flatMap((each) => (each.kind === kind ? [each.name] : []))

  let entries = 0
  const logs = namesOf('log')
  const linesByLog = fileNamesOf(logs, exportPlaces.logs.extension)
  const daysByLog = fileNamesOf(logs, '')
  for (const name of logs) {
    output.progress(`${name}: ${amountText(entries, 'entry', 'entries')} so far`)
    const days = join(directory, exportPlaces.days, name === plainLog ? '' : (daysByLog.get(name) ?? name))
    const lines = join(directory, exportPlaces.logs.directory, linesByLog.get(name) ?? name)
    entries += await exportLog(agent, name, lines, days)
  }
  output.progress('')

  const cells = async (place: string, kind: DocumentKind, valueOf: (name: string) => Promise<Json | undefined>): Promise<void> => {
    const values: [string, Json][] = []
    for (const name of namesOf(kind)) {
      const value = await valueOf(name)
      if (value !== undefined) values.push([name, value])
    }
    writeFile(join(directory, place), `${jsonToText(Object.fromEntries(values), '  ')}\n`)
  }
  await cells(exportPlaces.counters, 'counter', async (name) => {
    const totals = Array.from(await agent.counter(name).all()).filter(([, total]) => total !== 0n)
    return totals.length === 0 ? undefined : Object.fromEntries(totals.map(([key, total]) => [key, bigintToInteger(total)]))
  })
  await cells(exportPlaces.sets, 'set', async (name) => {
    const members = await agent.set(name).list()
    return members.length === 0 ? undefined : members.toSorted()
  })
  let siblings = 0
  await cells(exportPlaces.registers, 'register', async (name) => {
    const values = Array.from(await agent.register(name).all(), ([key, cell]) => {
      siblings += cell.siblings.length
      return [key, cell.value] as const
    })
    return values.length === 0 ? undefined : Object.fromEntries(values)
  })

  const contents = async (kind: 'json' | 'text', contentOf: (name: string) => Promise<string | undefined>): Promise<void> => {
    const { directory: below, extension } = kind === 'json' ? exportPlaces.json : exportPlaces.texts
    const files = fileNamesOf(namesOf(kind), extension)
    for (const [name, file] of files) {
      const content = await contentOf(name)
      if (content !== undefined) writeFile(join(directory, below, file), content)
    }
  }
  await contents('json', async (name) => {
    const value = await agent.json(name).get()
    return jsonToText(value) === '{}' ? undefined : `${jsonToText(value, '  ')}\n`
  })
  await contents('text', async (name) => (await agent.text(name).get()).text || undefined)

  writeFile(join(directory, exportPlaces.mark), `${JSON.stringify({ format: exportFormat })}\n`)
  const facts = { directory, documents: documents.length, entries, siblingsLeftOut: siblings }
  await output.answer(
    facts,
    `exported ${amountText(documents.length, 'document', 'documents')}, ${amountText(entries, 'log entry', 'log entries')}, to ${directory}`,
  )
  if (siblings > 0) {
    output.remark(
      `${amountText(siblings, 'value', 'values')} of registers, written at the same time as the one that counts, ${siblings === 1 ? 'is' : 'are'} not in it: write these registers again to settle them`,
    )
  }
}

/** Writes a log twice: by the line for programs, and by the day for people. Answers how many entries it has. */
async function exportLog(agent: Agent, name: string, linesPath: string, daysPath: string): Promise<number> {
  let count = 0
  let lines: TextFile | undefined
  let day: { readonly date: string; readonly file: TextFile } | undefined
  try {
    for await (const read of agent.log(name).read()) {
      const { importedBy: _, ...entry } = entryToExported(read)
      lines ??= openTextFile(linesPath)
      lines.write(`${entryToLine(entry)}\n`)
      const date = entry.time.slice(0, entry.time.indexOf('T'))
      if (day?.date !== date) {
        day?.file.close()
        day = { date, file: openTextFile(join(daysPath, `${date}.md`)) }
        day.file.write(`# ${date}\n`)
      }
      day.file.write(entryToMarkdown(entry))
      count += 1
    }
  } finally {
    lines?.close()
    day?.file.close()
  }
  return count
}

function entryToLine({ author, data, ...entry }: ExportedEntry): string {
  // The fields in the order in which a person reads them; only what is inside them is sorted.
  const { id, kind, tags, text, time } = entry
  return JSON.stringify({ id, time, author, kind, text, data: undefined, tags }).replace(
    /\}$/,
    data === undefined ? '}' : `,"data":${jsonToText(data)}}`,
  )
}

function entryToMarkdown({ author, data, kind, tags, text, time }: ExportedEntry): string {
  const clock = time.slice(time.indexOf('T') + 1, -'.000Z'.length)
  const heading = [`## ${clock}`, author.name, ...(kind === undefined ? [] : [`[${kind}]`]), ...(tags ?? []).map((tag) => `#${tag}`)].join(
    ' ',
  )
  const content = data === undefined ? [] : [`\`\`\`json\n${jsonToText(data, '  ')}\n\`\`\``]
  return `\n${[heading, ...(text === undefined ? [] : [text.trimEnd()]), ...content].join('\n\n')}\n`
}

interface TextFile {
  write(text: string): void
  close(): void
}

/** UTF-16 units that are written at once. */
const writeLengthMax = 64 << 10

/** A new file of mode 0600: it is the agent's memory. Throws `invalid-request` where it cannot be made. */
function openTextFile(path: string): TextFile {
  return onDisk(path, () => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
    let ready = ''
    const flush = (): void => {
      for (let rest = Buffer.from(ready); rest.length > 0;) rest = rest.subarray(writeSync(file, rest))
      ready = ''
    }
    return {
      write(text) {
        ready += text
        if (ready.length >= writeLengthMax) onDisk(path, flush)
      },
      close() {
        try {
          onDisk(path, flush)
        } finally {
          closeSync(file)
        }
      },
    }
  })
}

function writeFile(path: string, text: string): void {
  const file = openTextFile(path)
  file.write(text)
  file.close()
}

function makeEmpty(directory: string): void {
  onDisk(directory, () => mkdirSync(directory, { recursive: true, mode: 0o700 }))
  if (onDisk(directory, () => readdirSync(directory)).length > 0)
    throw refusal(`${directory} is not empty, and nothing is overwritten: name a new directory`)
}

function onDisk<T>(path: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw refusal(`${path} cannot be written: ${(error as Error).message}`)
  }
}
