/** Replicas of one agent on a calm simulated network, for tests that look at one behaviour at a time. */
import { createSigningKey, silentLogger } from '../../../src/core/index.ts'
import { foundAgent, instanceIdOf, memberTableOf, signAdmission, signClaim } from '../../../src/membership/index.ts'
import type { MembershipRecord, Role } from '../../../src/membership/index.ts'
import { createMemoryNetwork } from '../../../src/network/index.ts'
import type { Channel, MemoryNetwork, TransportHandlers } from '../../../src/network/index.ts'
import { Replica, addressBookToMeta } from '../../../src/replica/index.ts'
import { createMemoryStore } from '../../../src/storage/index.ts'
import type { MemoryStore } from '../../../src/storage/index.ts'
import { VirtualTime, seededRandom } from '../../sim/virtual-time.ts'

/** What somebody answers who is no member yet. */
export const strangerHandlers: TransportHandlers = {
  mayConnect: () => false,
  mayGossip: () => false,
  linkOpened() {},
  linkClosed() {},
  message() {},
  drained() {},
  gossip: () => 'ignore',
  join: () => Promise.resolve(null),
  addressFound() {},
}

export interface Group {
  readonly time: VirtualTime
  readonly network: MemoryNetwork
  readonly replicas: readonly Replica[]
  readonly stores: readonly MemoryStore[]
  /** Opens another replica on a store of the group's first instance: a restart, a copy or a backup of its home. */
  readonly reopen: (store: MemoryStore) => Promise<Replica>
  /** Bytes that an instance has sent on its links so far. */
  readonly sentBytes: (index: number) => number
  /** Lets virtual milliseconds pass. */
  readonly pass: (milliseconds: number) => Promise<void>
  /** Lets time pass until the promise settles. */
  readonly settle: <Value>(promise: Promise<Value>) => Promise<Value>
}

/** `roles`: of the instances; the first is the founder, an admin. Decides when a commit settles: `commitVia` of the first store. */
export async function openGroup(
  roles: readonly Role[],
  options: {
    readonly commitVia?: (apply: () => void) => Promise<void>
    readonly fatal?: (error: unknown) => void
    /** Which instances have the root key. */
    readonly rootKeyAt?: readonly number[]
    /** Throws where a store shall not open again. */
    readonly reopening?: () => void
    /** Told of every frame and gossip message that an instance sends. */
    readonly sent?: (channel: Channel | 'gossip', bytes: Uint8Array) => void
  } = {},
): Promise<Group> {
  const time = new VirtualTime()
  const random = seededRandom('group')
  const clock = time.clock()
  const network = createMemoryNetwork({ clock, random })
  const keys = roles.map(() => createSigningKey(random))
  const [founder] = keys as [(typeof keys)[number]]
  const rootKey = createSigningKey(random)
  const { agent, records } = foundAgent({ agentName: 'kevin', instanceName: 'i0', rootKey, deviceKey: founder }, clock.now(), random)
  const all: MembershipRecord[] = [...records]
  for (const [index, key] of keys.entries()) {
    if (index === 0) continue
    const table = memberTableOf(agent, all)
    const author = instanceIdOf(founder.publicKey)
    const number = table.nextNumber(author)
    const claim = signClaim(agent, key, null)
    all.push(
      signAdmission(
        { agent, author, parents: table.citedBy(author), time: clock.now(), claim, name: `i${index}`, role: roles[index] as Role, number },
        founder,
      ),
    )
  }
  const addresses = new Map(keys.map((key, index) => [key.publicKey, [`/memory/${index}`]]))
  const stores = roles.map((_, index) =>
    createMemoryStore(index === 0 && options.commitVia !== undefined ? { commitVia: options.commitVia } : {}),
  )
  const fatal =
    options.fatal ??
    ((error: unknown): never => {
      throw error
    })
  const sent: number[] = []
  const open = (index: number, store: MemoryStore, address: string): Promise<Replica> => {
    const key = keys[index] as (typeof keys)[number]
    const transport = network.attach(key.publicKey, { address, joinOpen: () => replica?.membership.isJoinOpen() ?? false })
    const send = transport.send.bind(transport)
    transport.send = (link, channel, bytes) => {
      sent[index] = (sent[index] ?? 0) + bytes.length
      options.sent?.(channel, bytes)
      return send(link, channel, bytes)
    }
    const publish = transport.publish.bind(transport)
    transport.publish = (bytes) => {
      options.sent?.('gossip', bytes)
      publish(bytes)
    }
    let replica: Replica | null = null
    let disk: MemoryStore | null = null
    return Replica.open({
      // Opened again after a failed commit, the store is what had reached the disk.
      openStore: async () => {
        if (disk !== null) options.reopening?.()
        return (disk = disk === null ? store : disk.clone())
      },
      transport,
      clock,
      random: random.fork(`replica ${address}`),
      logger: () => silentLogger,
      identity: { agent, instance: instanceIdOf(key.publicKey), key },
      program: 'test',
      cacheBytes: 1 << 20,
      bootstrap: [],
      announce: [],
      rootKey: () => (options.rootKeyAt?.includes(index) === true ? rootKey : null),
      fatal,
    }).then((opened) => (replica = opened))
  }
  const pass = (milliseconds: number): Promise<void> => time.run(time.elapsed + milliseconds)
  const settle = async <Value>(promise: Promise<Value>): Promise<Value> => {
    let settled = false
    const mark = (): void => {
      settled = true
    }
    promise.then(mark, mark)
    for (let spent = 0; !settled && spent < 100_000; spent += 10) await pass(10)
    return promise
  }
  const replicas: Replica[] = []
  for (const [index, store] of stores.entries()) {
    const founding = store.commit({ records: all.map(({ hash, bytes }) => ({ hash, bytes })), meta: addressBookToMeta(addresses, []) })
    await settle(founding)
    replicas.push(await open(index, store, `/memory/${index}`))
  }
  let reopened = 0
  return {
    time,
    network,
    replicas,
    stores,
    sentBytes: (index) => sent[index] ?? 0,
    pass,
    settle,
    reopen: (store) => {
      reopened += 1
      return open(0, store, `/memory/again${reopened}`)
    },
  }
}
