/**
 * Looks through an agent's memory for what looks like a secret, through the API of its daemon: all that is written goes to every other
 * instance and stays there. It reads for a limited time and tells places, never what stands there.
 */
import type { Agent, Json } from '../api/client.ts'
import type { Clock } from '../core/index.ts'
import { masked, secretsIn } from './secret-patterns.ts'

/** Milliseconds of looking. Some 100,000 entries: more takes longer than a person waits for one line. */
export const scanMillisecondsMax = 5_000
/** Places that are told one by one. */
const placesMax = 20

export interface SecretPlace {
  /** `log/memory`, without secrets itself. */
  readonly document: string
  /** Which entry, key or line, without secrets itself. */
  readonly position: string
  readonly kind: string
}

export interface SecretScan {
  /** The first of them. */
  readonly places: readonly SecretPlace[]
  /** Secrets in all. */
  readonly total: number
  /** Documents that were read to their end, of `documents`. */
  readonly read: number
  readonly documents: number
}

/** A piece of text in a document, and how a person finds it. */
interface Passage {
  readonly position: string
  readonly text: string
}

/** Reads texts first and logs last, the newest entries of each first. Rejects with a `SelfsameError` where the daemon does not answer. */
export async function scanForSecrets(agent: Agent, clock: Clock): Promise<SecretScan> {
  const deadline = clock.monotonic() + scanMillisecondsMax
  const documents = await agent.documents()
  const inOrder = documents.toSorted((a, b) => Number(a.kind === 'log') - Number(b.kind === 'log'))
  const places: SecretPlace[] = []
  let total = 0
  let read = 0
  for (const { kind, name } of inOrder) {
    if (clock.monotonic() > deadline) break
    for await (const { position, text } of passagesOf(agent, kind, name)) {
      for (const secret of secretsIn(text)) {
        total += 1
        if (places.length < placesMax) places.push({ document: masked(`${kind}/${name}`), position: masked(position), kind: secret.kind })
      }
      if (clock.monotonic() > deadline) return { places, total, read, documents: documents.length }
    }
    read += 1
  }
  return { places, total, read, documents: documents.length }
}

type Kind = Awaited<ReturnType<Agent['documents']>>[number]['kind']

async function* passagesOf(agent: Agent, kind: Kind, name: string): AsyncGenerator<Passage> {
  switch (kind) {
    case 'log':
      for await (const { data, id, tags = [], text = '', time } of agent.log(name).read({ order: 'newest' })) {
        const position = `entry ${id} of ${time}`
        yield { position, text: [text, ...tags].join('\n') }
        if (data !== undefined) yield* passagesOfJson(`${position}, data`, data)
      }
      return
    case 'text':
      for (const [index, text] of (await agent.text(name).get()).text.split('\n').entries()) yield { position: `line ${index + 1}`, text }
      return
    case 'json':
      yield* passagesOfJson('', await agent.json(name).get())
      return
    case 'register':
      for (const [key, { siblings, value }] of await agent.register(name).all()) {
        for (const each of [value, ...siblings.map((sibling) => sibling.value)]) yield* passagesOfJson('', { [key]: each })
      }
      return
    case 'set':
      for (const [index, text] of (await agent.set(name).list()).entries()) yield { position: `member ${index + 1}`, text }
      return
    case 'counter':
      for (const [index, text] of [...(await agent.counter(name).all()).keys()].entries()) yield { position: `key ${index + 1}`, text }
  }
}

/** Each piece of text in a value, together with its key: a key tells what its value is. */
function* passagesOfJson(position: string, value: Json, key = ''): Generator<Passage> {
  if (typeof value === 'object' && value !== null) {
    const isList = Array.isArray(value)
    for (const [name, item] of Object.entries(value)) yield* passagesOfJson(`${position}/${name}`, item, isList ? key : name)
  } else yield { position, text: key === '' ? String(value) : `${key}: ${String(value)}` }
}
