/** The commands on logs. */
import type { LogEntry } from '../api/client.ts'
import { countOf, jsonOf, refusal, textOf, timeOf } from './arguments.ts'
import { addWriteOptions, answerReceipt, collect, writeOptionsOf } from './command.ts'
import type { AgentContext, Doors, WriteContext } from './command.ts'
import { entryToExported } from './export-entry.ts'
import { importLog } from './log-import.ts'
import { inlineOf, localTime } from './output.ts'
import { provenanceText } from './provenance-commands.ts'

interface AppendOptions {
  readonly tag?: readonly string[]
  readonly kind?: string
  readonly data?: string
  readonly time?: string
}

interface FilterOptions {
  readonly tag?: string
  readonly kind?: string
}

interface ReadOptions extends FilterOptions {
  readonly since?: string
  readonly until?: string
  readonly limit?: string
  readonly newest?: boolean
  readonly provenance?: boolean
}

interface TailOptions extends FilterOptions {
  readonly last?: string
}

export function addLogCommands({ program, command, onAgent }: Doors): void {
  const log = command(
    program,
    'log',
    'Append-only memory: entries in order of time',
    'log append memory "Met Ada; she prefers mornings" --tag people',
  )

  addWriteOptions(
    command(log, 'append <name> [text]', 'Append an entry', 'log append memory "Met Ada" --tag people --data \'{"mood":"warm"}\'')
      .option('--tag <tag>', 'a tag; may be given more than once', collect)
      .option('--kind <kind>', 'what sort of entry it is')
      .option('--data <json>', 'structured content, beside or in place of the text')
      .option('--time <time>', 'when it happened, where that is not now'),
  ).action(
    onAgent(async (context: WriteContext & AgentContext<AppendOptions>, name: string, text: string | undefined) => {
      const { agent, options, streams } = context
      const content = text === '-' ? await textOf('-', streams.stdin) : text
      if (content === undefined && options.data === undefined)
        throw refusal('an entry has text or --data: give one of them, or - to read the text from standard input')
      const receipt = await agent.log(name).append(
        {
          ...(content === undefined ? {} : { text: content }),
          ...(options.data === undefined ? {} : { data: jsonOf(options.data) }),
          ...(options.tag === undefined ? {} : { tags: options.tag }),
          ...(options.kind === undefined ? {} : { kind: options.kind }),
          ...(options.time === undefined ? {} : { time: timeOf(options.time, Date.now()).toISOString() }),
        },
        writeOptionsOf(options),
      )
      await answerReceipt(context, receipt, `appended to ${name}`)
    }),
  )

  addFilterOptions(command(log, 'read <name>', 'Print the entries of a log, the oldest first', 'log read memory --since 2026-11-01 --json'))
    .option('--since <time>', 'from then on: ISO 8601, a date, or how long ago (2h, 3d)')
    .option('--until <time>', 'before then')
    .option('--limit <count>', 'at most so many')
    .option('--newest', 'the newest first')
    .option('--provenance', 'with what proves the author of each entry')
    .action(
      onAgent(async ({ agent, options, output }: AgentContext<ReadOptions>, name: string) => {
        const { since, until, limit } = options
        const now = Date.now()
        let left = limit === undefined ? Infinity : countOf(limit, 1)
        const entries = agent.log(name).read({
          ...filterOf(options),
          ...(since === undefined ? {} : { since: timeOf(since, now) }),
          ...(until === undefined ? {} : { until: timeOf(until, now) }),
          ...(options.newest === true ? { order: 'newest' } : {}),
          ...(options.provenance === true ? { provenance: true } : {}),
        })
        for await (const entry of entries) {
          await output.answer(entry, entryText(entry) + provenanceText(entry))
          left -= 1
          if (left === 0) break
        }
      }),
    )

  command(log, 'show <name> <id>', 'Print one entry, with what proves its author', 'log show memory 019b2c...').action(
    onAgent(async ({ agent, output }: AgentContext<object>, name: string, id: string) => {
      const entry = await agent.log(name).entry(id)
      await output.answer(entry, entryText(entry) + provenanceText(entry))
    }),
  )

  addFilterOptions(command(log, 'tail <name>', 'Print the last entries, and new ones as they come', 'log tail memory -n 20'))
    .option('-n, --last <count>', 'begin with so many that are there', '10')
    .action(
      onAgent(async ({ agent, options, output }: AgentContext<TailOptions>, name: string) => {
        for await (const entry of agent.log(name).tail({ ...filterOf(options), last: countOf(options.last ?? '10', 0) })) {
          await output.answer(entry, entryText(entry))
        }
      }),
    )

  command(
    log,
    'import <name> <file>',
    'Append the lines of a JSONL file; running it again adds nothing twice',
    'log import memory notes.jsonl',
  )
    .addHelpText(
      'after',
      `
A line is {"text": ..., "time"?: ..., "kind"?: ..., "tags"?: [...], "data"?: ..., "id"?: ...}, with text or data. '-' reads standard
input. Interrupted or grown, the same file can be imported again: a line is known by its id, or else by what it says and
how many equal lines stand before it. Files of other programs fit with --rename and --others:
  $ selfsame log import memory chat.jsonl --rename content=text --rename role=kind --others data`,
    )
    .option('--rename <field=name>', 'take a field of the file as text, time, kind, tags, data or id; may be given more than once', collect)
    .option('--others <what>', 'fields that an entry does not have: refuse the line, ignore them, or keep them in data', 'refuse')
    .action(onAgent(importLog))
}

function addFilterOptions(command: ReturnType<Doors['command']>): ReturnType<Doors['command']> {
  return command.option('--tag <tag>', 'only entries with this tag').option('--kind <kind>', 'only entries of this kind')
}

function filterOf({ tag, kind }: FilterOptions): FilterOptions {
  return { ...(tag === undefined ? {} : { tag }), ...(kind === undefined ? {} : { kind }) }
}

/** An entry on a line, continued with indentation: when, who, what. */
export function entryText(read: LogEntry): string {
  const entry = entryToExported(read)
  const said = [
    entry.kind === undefined ? undefined : `[${entry.kind}]`,
    entry.text?.trimEnd().replaceAll('\n', '\n    '),
    entry.data === undefined ? undefined : inlineOf(entry.data),
    ...(entry.tags ?? []).map((tag) => `#${tag}`),
  ]
  const who = entry.importedBy === undefined ? entry.author.name : `${entry.author.name} (imported by ${entry.importedBy.name})`
  return `${localTime(entry.time)}  ${who}  ${said.filter((part) => part !== undefined).join(' ')}`
}
