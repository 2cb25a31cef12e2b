/** The commands that tell where things came from: who wrote what, what proves it, and what was kept aside or turned away. */
import type { BlamedPart, Evidence, LiveKind, LogEntry } from '../api/client.ts'
import { refusal } from './arguments.ts'
import type { AgentContext, Doors } from './command.ts'
import { columnsOf, inlineOf, localTime } from './output.ts'

const liveKinds: readonly LiveKind[] = ['counter', 'set', 'register', 'text', 'json']

export function addProvenanceCommands({ program, command, onAgent }: Doors): void {
  command(
    program,
    'blame <kind> <name>',
    'Print who wrote each line of a text, or each key of another document, and when',
    'blame text SOUL.md',
  )
    .addHelpText(
      'after',
      `
A line of a text is told of by the last write that put anything into it; with --json the text comes in stretches, each by one write.
The last column is the envelope: the first digits of its feed, and its sequence. With --json the feed is whole.`,
    )
    .action(
      onAgent(async ({ agent, output }: AgentContext<object>, kind: string, name: string) => {
        const liveKind = liveKinds.find((each) => each === kind)
        if (liveKind === undefined)
          throw refusal(`the kind is one of ${liveKinds.join(', ')}, not '${kind}' (for a log: log read NAME --provenance)`)
        const parts = await agent.blame(liveKind, name)
        const text = liveKind === 'text' ? linesText(parts) : columnsOf(parts.map(partCells))
        await output.answer(parts, parts.length === 0 ? `${name} is empty` : text)
      }),
    )

  command(program, 'evidence', 'List forks, updates in quarantine, and what was refused, with reasons', 'evidence --json').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      const answer = await agent.evidence()
      const { evidence, omitted } = answer
      await output.answer(answer, evidence.length === 0 ? 'nothing was kept aside or turned away' : evidence.map(evidenceText).join('\n'))
      if (omitted > 0) output.remark(`and ${omitted} more`)
    }),
  )
}

/** What proves an entry, below it. */
export function provenanceText({ author, envelope, id, provenance }: LogEntry): string {
  if (provenance === undefined) return ''
  const { hash, key, signedAt, verified, written } = provenance
  const signature =
    signedAt === null
      ? 'no signature is here that vouches for it'
      : `${verified ? 'verified' : 'NOT VERIFIED'} by the signature of envelope ${signedAt}`
  return [
    `entry ${id}`,
    `written ${localTime(written)} by ${author.name}, instance ${author.id}`,
    `envelope ${envelope.sequence} of feed ${envelope.feed}, hash ${hash}`,
    `key ${key}: ${signature}`,
  ]
    .map((line) => `\n    ${line}`)
    .join('')
}

/** The lines of a text, each behind the last write that put anything into it. */
function linesText(parts: readonly BlamedPart[]): string {
  const lines: { text: string; last: BlamedPart }[] = []
  let isOpen = false
  for (const part of parts) {
    for (const piece of part.text?.match(/[^\n]*\n|[^\n]+/g) ?? []) {
      const line = isOpen ? lines.at(-1) : undefined
      if (line === undefined) lines.push({ text: piece, last: part })
      else {
        line.text += piece
        if (isLater(part, line.last)) line.last = part
      }
      isOpen = !piece.endsWith('\n')
    }
  }
  const heads = columnsOf(lines.map(({ last }) => [...originCells(last), '|'])).split('\n')
  return lines.map(({ text }, index) => `${heads[index]} ${text.trimEnd()}`.trimEnd()).join('\n')
}

function isLater(part: BlamedPart, other: BlamedPart): boolean {
  return part.time === other.time ? part.envelope.sequence > other.envelope.sequence : part.time > other.time
}

function partCells(part: BlamedPart): readonly string[] {
  return [...(part.value === undefined ? [part.key ?? ''] : [`${part.key ?? ''} = ${inlineOf(part.value)}`]), ...originCells(part)]
}

function originCells({ author, envelope, time }: BlamedPart): readonly string[] {
  return [author.name, localTime(time), `${envelope.feed.slice(0, 8)}:${envelope.sequence}`]
}

/** When, what, about what or whom, and why. */
function evidenceText({ address, author, document, feed, key, kind, reason, sequence, time }: Evidence): string {
  const about = [
    document === undefined ? undefined : document.name === null ? `document ${document.id}` : `${document.kind}/${document.name}`,
    author === undefined ? undefined : `by ${author.name}`,
    feed === undefined ? undefined : `feed ${feed}${sequence === undefined ? '' : ` at ${sequence}`}`,
    key === undefined ? undefined : `key ${key}`,
    address === undefined ? undefined : `at ${address}`,
  ].filter((part) => part !== undefined)
  return `${time === null ? 'now' : localTime(time)}  ${kind}${about.length === 0 ? '' : `  ${about.join(', ')}`}: ${reason}`
}
