/** What the program that is recorded and the check of what it left have to agree on: who there is, and what is asked for. */
import { createSigningKey } from '../../src/core/index.ts'
import type { PublicKey, SigningKey } from '../../src/core/index.ts'
import { foundAgent, instanceIdOf, memberTableOf, signAdmission, signClaim } from '../../src/membership/index.ts'
import type { MembershipRecord } from '../../src/membership/index.ts'
import { addressBookToMeta } from '../../src/replica/index.ts'
import type { Identity, LocalOperation, LocalWrite } from '../../src/replica/index.ts'
import type { WriteBatch } from '../../src/storage/index.ts'
import { seededRandom } from '../sim/virtual-time.ts'

/** The database of the instance that loses its power. */
export const databaseName = 'memory.sqlite'

/** `short`: many small commits. `long`: so much that the log of the database is copied, and begins again, while it runs. */
export type LifeKind = 'short' | 'long'

/** Requests in a life, over all of its runs. */
export const requestsByKind: Readonly<Record<LifeKind, number>> = { short: 60, long: 130 }

export interface Founding {
  readonly mine: Identity
  readonly other: Identity
  readonly myAddress: string
  readonly otherAddress: string
  /** What a new home begins with. */
  readonly batch: WriteBatch
}

/** Two instances of one agent, always the same. */
export function foundingOf(): Founding {
  const random = seededRandom('founding')
  const [mine, other, rootKey] = [createSigningKey(random), createSigningKey(random), createSigningKey(random)]
  const { agent, records } = foundAgent({ agentName: 'kevin', instanceName: 'laptop', rootKey, deviceKey: mine }, 0, random)
  const table = memberTableOf(agent, records)
  const author = instanceIdOf(mine.publicKey)
  const admission = signAdmission(
    {
      agent,
      author,
      parents: table.citedBy(author),
      time: 0,
      claim: signClaim(agent, other, null),
      name: 'server',
      role: 'writer',
      number: table.nextNumber(author),
    },
    mine,
  )
  const all: readonly MembershipRecord[] = [...records, admission]
  const [myAddress, otherAddress] = ['/memory/laptop', '/memory/server']
  const addresses = new Map<PublicKey, readonly string[]>([
    [mine.publicKey, [myAddress]],
    [other.publicKey, [otherAddress]],
  ])
  const identityOf = (key: SigningKey): Identity => ({ agent, instance: instanceIdOf(key.publicKey), key })
  return {
    mine: identityOf(mine),
    other: identityOf(other),
    myAddress,
    otherAddress,
    batch: { records: all.map(({ hash, bytes }) => ({ hash, bytes })), meta: addressBookToMeta(addresses, []) },
  }
}

/** The request number `index` that an instance makes. Both count in counters, sets and logs of their own, so that each can be told alone. */
export function requestOf(kind: LifeKind, whose: 'mine' | 'other', index: number): LocalWrite {
  const random = seededRandom(`request ${whose} ${index}`)
  const operationId = `${whose}-${index}`
  const padding = kind === 'long' ? 'long '.repeat(20_000 + random.below(20_000)) : 'short '.repeat(random.below(40))
  const operations: LocalOperation[] = [
    { type: 'edit', kind: 'counter', name: 'karma', edit: { type: 'counter.add', key: whose, amount: amountOf(index) } },
  ]
  if (random.chance(0.7)) operations.push({ type: 'append', name: `memory/${whose}`, entry: { text: `${operationId} ${padding}` } })
  if (random.chance(0.3)) operations.push({ type: 'edit', kind: 'set', name: 'done', edit: { type: 'set.add', member: operationId } })
  if (random.chance(0.3))
    operations.push({
      type: 'edit',
      kind: 'register',
      name: 'profile',
      edit: { type: 'register.set', key: random.pick(['city', 'mood']), value: operationId },
    })
  if (random.chance(0.2))
    operations.push({ type: 'edit', kind: 'json', name: 'tasks', edit: { type: 'json.merge', patch: { [operationId]: true } } })
  return { operationId, operations }
}

/** How much a request counts: no two sums of few of them are alike. */
export function amountOf(index: number): bigint {
  return BigInt(1 + index * index)
}

/** A line that the recorded program says about itself. */
export type Mark =
  /** The store is open and holds what `number` commits brought. */
  | { readonly says: 'opened'; readonly commits: number }
  /** `places`: of the envelopes in it, with their hashes. */
  | { readonly says: 'committing'; readonly number: number; readonly places: readonly (readonly [place: string, hash: string])[] }
  | { readonly says: 'committed'; readonly number: number }
  | { readonly says: 'asked'; readonly index: number }
  | { readonly says: 'acknowledged'; readonly index: number; readonly place: string }
  /** To the other instance: that a feed is held here up to there. */
  | { readonly says: 'told'; readonly feed: string; readonly have: number }
