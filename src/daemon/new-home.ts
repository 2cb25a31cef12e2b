/** Makes an instance: the founding one of a new agent (`init`), or one more of an agent that exists (`join`). */
import { hostname } from 'node:os'
import { SelfsameError, createSigningKey, systemClock, systemRandom } from '../core/index.ts'
import type { PublicKey, SigningKey } from '../core/index.ts'
import { decodeTicket, encodeJoinRequest, foundAgent, instanceIdOf, isMemberName, readJoinResponse } from '../membership/index.ts'
import type { MembershipRecord, Ticket } from '../membership/index.ts'
import { createLibp2pTransport } from '../network/index.ts'
import { addressBookToMeta } from '../replica/index.ts'
import { lockHome, openSqliteStore } from '../storage/index.ts'
import { newConfiguration } from './configuration.ts'
import { createHome, writeIdentity } from './home.ts'
import type { HomePaths, Identity } from './home.ts'
import type { Logs } from './logging.ts'

export interface NewHomeOptions {
  readonly home: string
  /** What the instance is called; the machine's name unless told. */
  readonly name?: string | undefined
  readonly port?: number | undefined
  readonly listen?: readonly string[] | undefined
  readonly logs: Logs
}

/** Ports that new homes choose from: outside those that systems hand out for outgoing connections. */
const portMin = 20_000
const portMax = 32_000

/** Begins a new agent in an empty home. Throws `SelfsameError`. */
export async function initHome(options: NewHomeOptions & { readonly agentName: string }): Promise<Identity> {
  const { agentName } = options
  const name = checkedName(options.name)
  if (!isMemberName(agentName)) throw nameError('the agent', agentName)
  return withNewHome(options, async (paths) => {
    const rootKey = createSigningKey(systemRandom)
    const deviceKey = createSigningKey(systemRandom)
    const { agent, records } = foundAgent({ agentName, instanceName: name, rootKey, deviceKey }, systemClock.now(), systemRandom)
    await storeRecords(paths, options.logs, records, new Map())
    return { agent, agentName, instance: instanceIdOf(deviceKey.publicKey), name, deviceSeed: deviceKey.seed, rootSeed: rootKey.seed }
  })
}

/** Joins the agent of a ticket from an empty home. Throws `SelfsameError`. */
export async function joinHome(options: NewHomeOptions & { readonly ticket: string }): Promise<Identity> {
  const decoded = decodeTicket(options.ticket)
  if (!decoded.ok) throw new SelfsameError('ticket-invalid', decoded.reason)
  const ticket = decoded.value
  const name = checkedName(options.name)
  return withNewHome(options, async (paths) => {
    const deviceKey = createSigningKey(systemRandom)
    const response = await requestJoin(ticket, deviceKey, name, options.logs)
    const joined = readJoinResponse(response, ticket.agent, deviceKey.publicKey)
    if (!joined.ok) throw new SelfsameError('join-refused', joined.reason)
    await storeRecords(paths, options.logs, joined.value.records, new Map([[ticket.issuer, ticket.addresses]]))
    const { member } = joined.value
    return {
      agent: ticket.agent,
      agentName: ticket.agentName,
      instance: member.instance,
      name: member.name,
      deviceSeed: deviceKey.seed,
      rootSeed: null,
    }
  })
}

/** The identity is written last: a home that was begun and not finished can be begun again. */
async function withNewHome(options: NewHomeOptions, make: (paths: HomePaths) => Promise<Identity>): Promise<Identity> {
  const port = options.port ?? portMin + Math.floor(systemRandom.unit() * (portMax - portMin))
  const paths = createHome(options.home, newConfiguration({ port, ...(options.listen === undefined ? {} : { listen: options.listen }) }))
  const lock = lockHome(paths.directory)
  try {
    const identity = await make(paths)
    writeIdentity(paths, identity)
    return identity
  } finally {
    lock.release()
  }
}

async function requestJoin(ticket: Ticket, deviceKey: SigningKey, name: string, logs: Logs): Promise<Uint8Array> {
  if (ticket.addresses.length === 0) {
    throw new SelfsameError('ticket-invalid', 'the ticket names no address: the instance that made it was offline. Ask for a new one')
  }
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
    linkOpened() {},
    linkClosed() {},
    message() {},
    drained() {},
    gossip: () => 'ignore',
    join: () => Promise.resolve(null),
    addressFound() {},
  })
  try {
    return await transport.requestJoin(ticket.issuer, ticket.addresses, encodeJoinRequest(ticket, deviceKey, name))
  } finally {
    await transport.stop()
  }
}

async function storeRecords(
  paths: HomePaths,
  logs: Logs,
  records: readonly MembershipRecord[],
  addresses: ReadonlyMap<PublicKey, readonly string[]>,
): Promise<void> {
  const store = await openSqliteStore({ path: paths.database, logger: logs.logger('storage'), checkFirst: false })
  await store.commit({
    records: records.map(({ hash, bytes }) => ({ hash, bytes })),
    meta: addressBookToMeta(addresses, []),
  })
  await store.close()
}

function checkedName(given: string | undefined): string {
  const name = given ?? (isMemberName(hostname()) ? hostname() : 'instance')
  if (!isMemberName(name)) throw nameError('the instance', name)
  return name
}

function nameError(whose: string, name: string): SelfsameError {
  return new SelfsameError(
    'invalid-request',
    `${JSON.stringify(name)} cannot be the name of ${whose}: 1 to 64 visible characters, no # and no space at either end`,
  )
}
