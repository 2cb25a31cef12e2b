/**
 * Joins the agent of a ticket: from an empty home, or from one that holds this agent's memory already and is to be an instance of
 * its own. What is there is never wiped: a database is kept and added to, or moved aside where it is damaged.
 *
 * Until the issuer is asked nothing has changed that matters, and everything that can be found wrong here has been. The device
 * key is on disk before: whatever is interrupted after that can be repeated with the same ticket and uses up nothing more.
 * The identity is written last, so a crash leaves the old instance or the new one.
 */
import { SelfsameError, createSigningKey, signingKeyOf, systemClock, systemRandom } from '../core/index.ts'
import type { AgentId, InstanceId, PublicKey, SigningKey } from '../core/index.ts'
import { decodeTicket, encodeJoinRequest, memberTableFrom, readJoinResponse } from '../membership/index.ts'
import type { JoinAnswer, Member, MembershipRecord, Ticket } from '../membership/index.ts'
import { createLibp2pTransport } from '../network/index.ts'
import { addressBookToMeta } from '../replica/index.ts'
import { lockHome, openSqliteStore, readStoredRecords } from '../storage/index.ts'
import type { HomeLock, Store, StoreReads, WriteBatch } from '../storage/index.ts'
import {
  holdsInstance,
  keepDatabase,
  keepIdentity,
  openHome,
  readJoiningSeed,
  removeNextIdentity,
  writeIdentity,
  writeJoiningSeed,
} from './home.ts'
import type { HomePaths, Identity } from './home.ts'
import { checkedName, withNewHome } from './new-home.ts'
import type { NewHomeOptions } from './new-home.ts'

/** The last time that a Date can hold, in milliseconds: a ticket can say anything. */
const timeMax = 8.64e15

export interface JoinOptions extends NewHomeOptions {
  readonly ticket: string
  /** Makes an instance of its own of a home that holds one that is still a member: a copy. */
  readonly newInstance: boolean
  /** Told what is about to be done, before anything is sent or changed. */
  readonly planned: (plan: JoinPlan) => void
}

/**
 * What a home of the ticket's agent holds: an instance that is a member by the records there, one that is not (any more), or
 * one whose database is not there, or damaged.
 */
type HomeState = 'member' | 'removed' | 'lost' | 'damaged'

/** What a join is about to do, as far as it can be known before anyone is asked. */
export interface JoinPlan {
  readonly agent: { readonly id: AgentId; readonly name: string }
  /** Who made the ticket and will admit. */
  readonly issuer: { readonly key: PublicKey; readonly addresses: readonly string[] }
  /** When the ticket ends by its issuer's clock: ISO 8601. */
  readonly expires: string
  readonly home: string
  readonly holds: 'nothing' | HomeState
  /** The instance that the home holds. */
  readonly former: { readonly id: InstanceId; readonly name: string } | null
  /** What the new instance will be called, unless the ticket's issuer has given it a name; null where none is made. */
  readonly name: string | null
}

export interface Joined {
  readonly identity: Identity
  /** Null where nothing had to be done. */
  readonly role: Member['role'] | null
  /** Files of the home that keep what was there. */
  readonly kept: readonly string[]
}

/** Carries out a join. Throws `SelfsameError`; the ticket is used up only once the issuer has agreed. */
export async function joinHome(options: JoinOptions): Promise<Joined> {
  const decoded = decodeTicket(options.ticket)
  if (!decoded.ok) throw new SelfsameError('ticket-invalid', decoded.reason)
  const ticket = decoded.value
  if (ticket.addresses.length === 0) {
    throw new SelfsameError('ticket-invalid', 'the ticket names no address: the instance that made it was offline. Ask for a new one')
  }
  return holdsInstance(options.home) ? joinFromInstance(options, ticket) : joinFromNothing(options, ticket)
}

async function joinFromNothing(options: JoinOptions, ticket: Ticket): Promise<Joined> {
  const { home, planned } = options
  const name = checkedName(options.name)
  let role: Member['role'] | null = null
  const identity = await withNewHome(options, async (paths) => {
    planned(planOf(ticket, { home, holds: 'nothing', former: null, name }))
    const { addresses, deviceKey, member, records } = await askToJoin(options, paths, ticket, name)
    const store = await openDatabase(paths, options, false)
    await store.commit({ records: rowsOf(records), meta: addressBookOf(ticket, addresses) })
    await store.close()
    role = member.role
    return identityOf(ticket, member, deviceKey)
  })
  return { identity, role, kept: [] }
}

async function joinFromInstance(options: JoinOptions, ticket: Ticket): Promise<Joined> {
  const { home, newInstance, planned } = options
  const { paths, identity } = openHome(home)
  if (identity.agent !== ticket.agent) {
    throw new SelfsameError(
      'home-exists',
      `${home} holds the memory of another agent, ${identity.agentName}, and the ticket is one of ${ticket.agentName}: choose another place with --home, or move that home away. Nothing was changed, and the ticket can still be used`,
    )
  }
  const former = { id: identity.instance, name: identity.name }
  const plan = (holds: HomeState, name: string | null): JoinPlan => planOf(ticket, { home, holds, former, name })
  const nothingToDo = (): Joined => {
    planned(plan('member', null))
    return { identity, role: null, kept: [] }
  }

  const lock = lockUnlessRunning(paths)
  if (lock === null) {
    // A database that a daemon runs on is sound.
    if (!newInstance && isMember(identity, readStoredRecords(paths.database))) return nothingToDo()
    throw new SelfsameError(
      'daemon-running',
      `a daemon runs on ${home}: stop it first (selfsame down), then join. The ticket can still be used`,
    )
  }
  let store: Store | null = null
  try {
    const invite = signingKeyOf(ticket.seed).publicKey
    const begun = readJoiningSeed(paths, invite) !== null
    const database = await inspectDatabase(paths, identity, options)
    store = database.store
    if (database.state === 'member' && !newInstance && !begun) return nothingToDo()
    if (options.port !== undefined || options.listen !== undefined) {
      throw new SelfsameError(
        'invalid-request',
        `${home} has a configuration: change it in ${paths.configuration}, and leave out --port and --listen`,
      )
    }
    const name = checkedName(options.name ?? (database.state === 'member' ? undefined : identity.name))
    planned(plan(database.state, name))
    const { addresses, deviceKey, member, records } = await askToJoin(options, paths, ticket, name)

    const kept: string[] = []
    if (database.state === 'damaged') kept.push(keepDatabase(paths, identity))
    store ??= await openDatabase(paths, options, false)
    const known = new Set(store.records().map(({ hash }) => hash))
    const fresh = rowsOf(records).filter(({ hash }) => !known.has(hash))
    await store.commit({
      // What a removed instance wrote alone counts no more, and news may say so of others. It stays, and the daemon judges it anew:
      // else the new instance would build on it, and so bring it back everywhere.
      derivedCleared: database.state !== 'member' || fresh.length > 1,
      records: fresh,
      meta: new Map([...addressBookOf(ticket, addresses), ...endedMeta]),
    })
    kept.push(keepIdentity(paths, identity))
    const joined = identityOf(ticket, member, deviceKey)
    writeIdentity(paths, joined)
    // Of a change of the former instance's key that was interrupted.
    removeNextIdentity(paths)
    return { identity: joined, role: member.role, kept }
  } finally {
    await store?.close()
    lock.release()
  }
}

/** Rows of the former instance that must not become the new one's: its invites, and its last run, which it did not write. */
const endedMeta: ReadonlyMap<string, null> = new Map([
  ['invites', null],
  ['run', null],
])

function planOf(ticket: Ticket, home: Pick<JoinPlan, 'home' | 'holds' | 'former' | 'name'>): JoinPlan {
  const { agent, agentName, addresses, expiresAt, issuer } = ticket
  const expires = new Date(Math.min(expiresAt, timeMax)).toISOString()
  return { agent: { id: agent, name: agentName }, issuer: { key: issuer, addresses }, expires, ...home }
}

function identityOf(ticket: Ticket, member: Member, deviceKey: SigningKey): Identity {
  return { agent: ticket.agent, agentName: ticket.agentName, instance: member.instance, name: member.name, deviceSeed: deviceKey.seed }
}

function lockUnlessRunning(paths: HomePaths): HomeLock | null {
  try {
    return lockHome(paths.directory)
  } catch (error) {
    if (error instanceof SelfsameError && error.code === 'daemon-running') return null
    throw error
  }
}

function openDatabase(paths: HomePaths, { logs }: NewHomeOptions, checkFirst: boolean): Promise<Store> {
  return openSqliteStore({ path: paths.database, logger: logs.logger('storage'), checkFirst })
}

/** Looks through the whole database, as the daemon would before it used it. What only a newer version can read is refused, not given up. */
async function inspectDatabase(
  paths: HomePaths,
  identity: Identity,
  options: NewHomeOptions,
): Promise<{ readonly state: HomeState; readonly store: Store | null }> {
  try {
    const store = await openDatabase(paths, options, true)
    const table = memberTableFrom(identity.agent, store.records())
    const state = table.genesis === null ? 'lost' : table.member(identity.instance) === undefined ? 'removed' : 'member'
    return { state, store }
  } catch (error) {
    if (error instanceof SelfsameError && error.code === 'storage-corrupt') return { state: 'damaged', store: null }
    throw error
  }
}

function isMember(identity: Identity, records: ReturnType<StoreReads['records']>): boolean {
  return memberTableFrom(identity.agent, records).member(identity.instance) !== undefined
}

function rowsOf(records: readonly MembershipRecord[]): NonNullable<WriteBatch['records']> {
  return records.map(({ hash, bytes }) => ({ hash, bytes }))
}

/** Where to dial first: the issuer knows the rest. */
function addressBookOf({ addresses, issuer }: Ticket, told: JoinAnswer['addresses']): ReadonlyMap<string, Uint8Array | null> {
  return addressBookToMeta(new Map([...told, [issuer, addresses]]), [])
}

/** Has the issuer admit a device key: that of an earlier attempt with this ticket, which it may have admitted already, or a new one. */
async function askToJoin(
  { logs }: NewHomeOptions,
  paths: HomePaths,
  ticket: Ticket,
  name: string,
): Promise<JoinAnswer & { readonly deviceKey: SigningKey }> {
  const invite = signingKeyOf(ticket.seed).publicKey
  const begun = readJoiningSeed(paths, invite)
  const deviceKey = begun === null ? createSigningKey(systemRandom) : signingKeyOf(begun)
  if (begun === null) writeJoiningSeed(paths, invite, deviceKey.seed)
  const transport = createLibp2pTransport({
    key: deviceKey,
    listen: () => [],
    serviceTag: 'selfsame-join',
    gossipTopic: 'selfsame-join',
    mdns: false,
    joinOpen: () => false,
    clock: systemClock,
    random: systemRandom,
    logger: logs.logger('network'),
  })
  await transport.start({
    mayConnect: () => false,
    mayGossip: () => false,
    linkOpened() {},
    linkClosed() {},
    message() {},
    drained() {},
    gossip: () => 'ignore',
    join: () => Promise.resolve(null),
    addressFound() {},
  })
  try {
    const response = await transport.requestJoin(ticket.issuer, ticket.addresses, encodeJoinRequest(ticket, deviceKey, name))
    const joined = readJoinResponse(response, ticket.agent, deviceKey.publicKey)
    if (!joined.ok) throw new SelfsameError('join-refused', joined.reason)
    return { deviceKey, ...joined.value }
  } finally {
    await transport.stop()
  }
}
