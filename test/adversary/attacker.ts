/**
 * The adversary's process: it waits for one case, carries it out until it is told to stop, and says what it saw. It yields the processor to
 * whoever else wants it, so that what the victims lose is what the attack takes from them.
 */
import { setPriority } from 'node:os'
import process from 'node:process'
import { createSigningKey, systemRandom } from '../../src/core/index.ts'
import type { AgentId } from '../../src/core/index.ts'
import { memberTableOf } from '../../src/membership/index.ts'
import { casesFloods } from './cases-floods.ts'
import { casesInside } from './cases-inside.ts'
import { casesOutside } from './cases-outside.ts'
import { openHostilePeer } from './hostile-peer.ts'
import type { HostilePeer, Joined } from './hostile-peer.ts'

/** How often joining is tried before a case is given up. */
const joinTriesMax = 5

export const cases = [...casesOutside, ...casesInside, ...casesFloods]

/** What the judge tells the adversary. */
export interface Order {
  readonly name: string
  readonly agent: string
  readonly ticket: string | null
  readonly port: number
  readonly othersPort: number
  readonly theirs: { readonly feed: string; readonly instance: string }
}

export type Word = { readonly type: 'ready' } | { readonly type: 'report'; readonly words: string } | { readonly type: 'ended' }

if (process.send !== undefined && process.argv[1] === import.meta.filename) {
  setPriority(10)
  // What the other side breaks off is no fault of the adversary's.
  process.on('uncaughtException', (error) => tell({ type: 'report', words: `surprised by ${String(error)}` }))
  process.on('unhandledRejection', () => {})
  process.on('disconnect', () => process.exit())
  const ended = new AbortController()
  process.on('message', (order: Order | 'begin' | 'end') => {
    if (order === 'begin') begin.resolve()
    else if (order === 'end') ended.abort()
    else
      carryOut(order, ended.signal).catch((error: unknown) => {
        tell({ type: 'report', words: String(error) })
        setTimeout(() => process.exit(1), 100)
      })
  })
}

const begin = Promise.withResolvers<void>()

function tell(word: Word): void {
  process.send?.(word)
}

async function carryOut(order: Order, ended: AbortSignal): Promise<void> {
  const found = cases.find(({ name }) => name === order.name)
  if (found === undefined) throw new Error(`there is no case "${order.name}"`)
  const peers: HostilePeer[] = []
  const open = async (): Promise<HostilePeer> => {
    const peer = await openHostilePeer(createSigningKey(systemRandom))
    peers.push(peer)
    return peer
  }
  const peer = await open()
  const agent = order.agent as AgentId
  let records: Parameters<typeof memberTableOf>[1] = []
  if (found.joins) {
    records = await join(peer, order)
  }
  const table = memberTableOf(agent, records)
  tell({ type: 'ready' })
  await begin.promise
  await found
    .attack({
      peer,
      agent,
      forger: { agent, instance: peer.instance, key: peer.key, records: found.joins ? table.citedBy(peer.instance) : [] },
      ticket: order.ticket,
      port: order.port,
      othersPort: order.othersPort,
      theirs: order.theirs,
      ended,
      stranger: open,
      report: (words) => tell({ type: 'report', words }),
    })
    .catch((error: unknown) => tell({ type: 'report', words: `gave up: ${String(error)}` }))
  tell({ type: 'ended' })
  setTimeout(() => process.exit(), 500)
}

/** Becomes a member as patiently as whoever is honest: the victim may be busy still with what came before. */
async function join(peer: HostilePeer, { port, ticket }: Order): Promise<Extract<Joined, { records: unknown }>['records']> {
  for (let tries = 1; ; tries += 1) {
    const joined = await peer.join(ticket ?? '', port).catch((error: unknown): Joined => ({ refused: String(error) }))
    if ('records' in joined) return joined.records
    if (tries === joinTriesMax) throw new Error(`the adversary could not join: ${joined.refused}`)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  }
}
