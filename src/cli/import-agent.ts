/**
 * `import`: what an export holds, written by this instance. Every write has an operation id made from what it says, so that the same directory
 * again, also after an interruption, changes nothing. Nothing is written before all of it but the logs and texts has been read.
 */
import { createReadStream, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { hashToId, SelfsameError } from '../core/index.ts'
import { integerToBigint } from '../api/client.ts'
import type { Agent, EntryInput, ImportProgress, Json, Receipt, WriteOptions } from '../api/client.ts'
import { refusal, textOfFile, unreadable } from './arguments.ts'
import type { AgentContext } from './command.ts'
import { exportFormat, exportPlaces } from './export-agent.ts'
import { entryToExported, exportedToInput } from './export-entry.ts'
import type { ExportedEntry } from './export-entry.ts'
import { jsonToPatches, jsonToText } from './export-json.ts'
import { nameOfFile } from './export-names.ts'
import { createBlankCount, createLineIdentifier, linesOf } from './log-import.ts'
import type { Output } from './output.ts'
import { amountText } from './output.ts'

/** Requests on their way at once: they share what a commit costs. */
const requestsAtOnce = 64

/** A write with the id that it is known by. */
type Write = (agent: Agent, options: WriteOptions) => Promise<Receipt>

interface Tally {
  written: number
  alreadyThere: number
}

export async function importAgent({ agent, output }: AgentContext<object>, directory: string): Promise<void> {
  checkMark(directory)
  const cells = [...countersIn(directory), ...setsIn(directory), ...registersIn(directory)]
  const documents = jsonIn(directory)
  const texts = filesIn(directory, exportPlaces.texts)
  const logs = filesIn(directory, exportPlaces.logs)

  const entries: Tally = { written: 0, alreadyThere: 0 }
  for (const { name, path } of logs) await importLog(agent, output, name, path, entries)
  const edits: Tally = { written: 0, alreadyThere: 0 }
  await inParallel(cells, ([id, write]) => count(edits, write(agent, { operationId: id })))
  await inParallel(documents, async (patches) => {
    for (const [id, write] of patches) await count(edits, write(agent, { operationId: id }))
  })
  await inParallel(texts, async ({ name, path }) => {
    const text = textOfFile(path)
    await count(edits, agent.text(name).put(text, { operationId: idOf('text', [name, text]) }))
  })

  const account = ({ alreadyThere, written }: Tally, one: string, many: string): string =>
    `${amountText(written, one, many)} written${alreadyThere === 0 ? '' : `, ${alreadyThere.toLocaleString('en')} were there`}`
  await output.answer(
    { entries, edits },
    `imported ${directory}: ${account(entries, 'log entry', 'log entries')}; ${account(edits, 'other value', 'other values')}`,
  )
}

async function count(tally: Tally, write: Promise<Receipt>): Promise<void> {
  if ((await write).repeated) tally.alreadyThere += 1
  else tally.written += 1
}

async function importLog(agent: Agent, output: Output, name: string, path: string, total: Tally): Promise<void> {
  const known = await idsIn(agent, name)
  const identify = createLineIdentifier(name)
  const skipped = createBlankCount()
  let sent = 0
  let fault: Error | undefined

  async function* entries(): AsyncGenerator<EntryInput> {
    let number = 0
    try {
      for await (const { text } of linesOf(createReadStream(path))) {
        number += 1
        const entry = text === '' ? undefined : parseEntry(text, `${path}, line ${number}`)
        const isKnown = entry?.id === undefined ? undefined : known.get(entry.id)
        if (isKnown === 'own') {
          throw refusal(
            `${path}, line ${number}: this entry was written here: the export is of this very agent, and its counters would count twice. To go back to an earlier state, restore a backup`,
          )
        }
        if (entry === undefined || isKnown === 'imported') {
          if (entry !== undefined) total.alreadyThere += 1
          skipped.add(sent)
          continue
        }
        sent += 1
        yield { ...exportedToInput(entry), operationId: identify(text, entry.id) }
      }
    } catch (error) {
      // Ends what is sent instead of breaking it off, so that all that stands before the fault is imported.
      fault = error as Error
    }
  }

  const onProgress = ({ alreadyThere, written }: ImportProgress): void =>
    output.progress(`${name}: ${amountText(written + alreadyThere, 'entry', 'entries')} so far`)
  try {
    const progress = await agent.log(name).import(entries(), { onProgress })
    total.written += progress.written
    total.alreadyThere += progress.alreadyThere
  } catch (error) {
    if (!(error instanceof SelfsameError)) throw error
    const message = error.message.replace(/^line (\d+)(?=: )/, (_, at: string) => `${path}, line ${skipped.lineOf(Number(at))}`)
    throw new SelfsameError(error.code, message, { cause: error })
  } finally {
    output.progress('')
  }
  if (fault !== undefined) throw fault
}

/** The ids that an export of a log would show: another instance may have imported them, which operation ids do not tell, or this agent wrote them. */
async function idsIn(agent: Agent, name: string): Promise<ReadonlyMap<string, 'own' | 'imported'>> {
  const ids = new Map<string, 'own' | 'imported'>()
  for await (const read of agent.log(name).read()) {
    const { id, importedBy } = entryToExported(read)
    ids.set(id, importedBy === undefined ? 'own' : 'imported')
  }
  return ids
}

const entryFields: readonly string[] = ['id', 'time', 'author', 'kind', 'text', 'data', 'tags']

function parseEntry(text: string, where: string): Partial<ExportedEntry> {
  const entry = objectOf(parseJson(text, where), where)
  const unknown = Object.keys(entry).find((field) => !entryFields.includes(field))
  if (unknown !== undefined) throw refusal(`${where}: an entry has no field '${unknown}' (it has ${entryFields.join(', ')})`)
  const { author, id } = entry
  if (id !== undefined && typeof id !== 'string') throw refusal(`${where}: 'id' has to be text`)
  if (author !== undefined) {
    const { id: authorId, name } = objectOf(author, `${where}: 'author'`)
    if (typeof authorId !== 'string' || typeof name !== 'string') throw refusal(`${where}: 'author' has to have an id and a name`)
  }
  return entry
}

function countersIn(directory: string): readonly Identified[] {
  return cellsIn(directory, exportPlaces.counters, 'counter', (name, key, value, where) => {
    if (!(Number.isSafeInteger(value) || (typeof value === 'string' && /^-?\d{1,19}$/.test(value))))
      throw refusal(`${where}: a counter is a whole number`)
    const amount = integerToBigint(value as number | string)
    return (agent, options) => agent.counter(name).add(key, amount, options)
  })
}

function registersIn(directory: string): readonly Identified[] {
  return cellsIn(
    directory,
    exportPlaces.registers,
    'register',
    (name, key, value) => (agent, options) => agent.register(name).set(key, value, options),
  )
}

function setsIn(directory: string): readonly Identified[] {
  const path = join(directory, exportPlaces.sets)
  return Object.entries(readObject(path)).flatMap(([name, members]) => {
    if (!Array.isArray(members)) throw refusal(`${path}: '${name}' has to be a list of members`)
    return (members as readonly Json[]).map((member): Identified => {
      if (typeof member !== 'string') throw refusal(`${path}: '${name}' has a member that is not text`)
      return [idOf('set', [name, member]), (agent, options) => agent.set(name).add(member, options)]
    })
  })
}

type Identified = readonly [id: string, write: Write]

function cellsIn(
  directory: string,
  file: string,
  kind: string,
  writeOf: (name: string, key: string, value: Json, where: string) => Write,
): readonly Identified[] {
  const path = join(directory, file)
  return Object.entries(readObject(path)).flatMap(([name, cells]) =>
    Object.entries(objectOf(cells, `${path}: '${name}'`)).map(([key, value]): Identified => [
      idOf(kind, [name, key, value]),
      writeOf(name, key, value, `${path}: '${name}', '${key}'`),
    ]),
  )
}

/** For each json document the patches that make it, in order. */
function jsonIn(directory: string): readonly (readonly Identified[])[] {
  return filesIn(directory, exportPlaces.json).map(({ name, path }) =>
    Array.from(jsonToPatches(readObject(path)), (patch, index): Identified => [
      idOf('json', [name, index, patch as unknown as Json]),
      (agent, options) => agent.json(name).patch(patch, options),
    ]),
  )
}

/** What a write is known by: the same content again has the same id. */
function idOf(kind: string, content: Json): string {
  return `import-${hashToId(`selfsame/import-${kind}/1`, Buffer.from(jsonToText(content))).slice(0, 32)}`
}

interface DocumentFile {
  readonly name: string
  readonly path: string
}

/** The documents that lie below a directory, one in each file. Hidden files, which systems leave behind, are none. */
function filesIn(
  directory: string,
  { directory: below, extension }: { readonly directory: string; readonly extension: string },
): readonly DocumentFile[] {
  const top = join(directory, below)
  return pathsBelow(top, '')
    .filter((path) => !path.startsWith('.'))
    .map((path) => {
      const name = nameOfFile(path, extension)
      if (name === undefined) {
        throw refusal(
          `${join(top, path)} has no name that an export gives: write it as text${extension}, with what is not a letter, digit, dot or hyphen as %XX`,
        )
      }
      return { name, path: join(top, path) }
    })
}

function pathsBelow(top: string, below: string): readonly string[] {
  let entries
  try {
    entries = readdirSync(join(top, below), { withFileTypes: true })
  } catch (error) {
    if (below === '' && (error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw unreadable(join(top, below), error)
  }
  return entries
    .toSorted((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => {
      const path = below === '' ? entry.name : `${below}/${entry.name}`
      return entry.isDirectory() ? pathsBelow(top, path) : [path]
    })
}

function checkMark(directory: string): void {
  const path = join(directory, exportPlaces.mark)
  const { format } = readObject(path)
  if (format === undefined) throw refusal(`${directory} is no complete export: it has no ${exportPlaces.mark} that names its format`)
  if (format !== exportFormat) throw refusal(`${path} names the format ${JSON.stringify(format)}, and this selfsame knows ${exportFormat}`)
}

/** The object in a JSON file; an empty one where there is no file. */
function readObject(path: string): { readonly [key: string]: Json } {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw unreadable(path, error)
  }
  return objectOf(parseJson(text, path), path)
}

function parseJson(text: string, where: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch (error) {
    throw refusal(`${where} is not JSON: ${(error as Error).message}`)
  }
}

function objectOf(value: Json, where: string): { readonly [key: string]: Json } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refusal(`${where} has to be a JSON object`)
  return value as { readonly [key: string]: Json }
}

/** Does `work` on all items, `requestsAtOnce` of them at a time. The first failure ends it, once what was begun has ended. */
async function inParallel<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const left = items.values()
  let failed = false
  const one = async (): Promise<void> => {
    for (const item of left) {
      if (failed) return
      try {
        await work(item)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const outcomes = await Promise.allSettled(Array.from({ length: requestsAtOnce }, one))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}
