/**
 * The life that is recorded: an instance with a real store on the real disk, beside another on a network in memory. Both write; it stops in an orderly
 * way, comes back, and is cut off in the middle. Each line that it prints is a promise to somebody outside.
 */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { silentLogger, systemClock, systemRandom } from '../../src/core/index.ts'
import { createMemoryNetwork } from '../../src/network/index.ts'
import type { MemoryNetwork } from '../../src/network/index.ts'
import { Replica } from '../../src/replica/index.ts'
import type { Identity } from '../../src/replica/index.ts'
import { decodeControl, decodeGossip } from '../../src/replica/messages.ts'
import { createMemoryStore, openSqliteStore } from '../../src/storage/index.ts'
import type { Store } from '../../src/storage/index.ts'
import { seededRandom } from '../sim/virtual-time.ts'
import { databaseName, foundingOf, requestOf, requestsByKind } from './life.ts'
import type { LifeKind, Mark } from './life.ts'

const [root, kind] = process.argv.slice(2) as [string, LifeKind]
const founding = foundingOf()
const random = seededRandom('life')
const network = createMemoryNetwork({ clock: systemClock, random: random.fork('network') })
let commits = 0

function say(mark: Mark): void {
  writeSync(1, `${JSON.stringify(mark)}\n`)
}

/** The real store; says when each commit begins and ends. */
async function openStore(checkFirst: boolean): Promise<Store> {
  const store = await openSqliteStore({ path: join(root, databaseName), logger: silentLogger, checkFirst })
  say({ says: 'opened', commits })
  const commit = store.commit.bind(store)
  store.commit = async (batch) => {
    const number = (commits += 1)
    const places = (batch.envelopes ?? []).map(({ feed, hash, sequence }) => [`${feed}:${sequence}`, hash] as const)
    say({ says: 'committing', number, places })
    await commit(batch)
    say({ says: 'committed', number })
  }
  return store
}

/** A transport that says what it promises: that what goes out is held here. */
function transportOf(on: MemoryNetwork): ReturnType<MemoryNetwork['attach']> {
  const transport = on.attach(founding.mine.key.publicKey, { address: founding.myAddress })
  const publish = transport.publish.bind(transport)
  const send = transport.send.bind(transport)
  transport.publish = (bytes) => {
    const message = decodeGossip(bytes)
    if (message.ok && message.value.type === 'envelopes')
      for (const { header } of message.value.envelopes) say({ says: 'told', feed: header.feed, have: header.sequence })
    publish(bytes)
  }
  transport.send = (link, channel, bytes) => {
    const message = channel === 'control' ? decodeControl(bytes) : null
    if (message?.ok === true && message.value.type === 'frontier') {
      for (const { feed, have } of message.value.entries) say({ says: 'told', feed, have })
    }
    return send(link, channel, bytes)
  }
  return transport
}

function openReplica(identity: Identity, store: Store, transport: ReturnType<MemoryNetwork['attach']>): Promise<Replica> {
  return Replica.open({
    openStore: async () => store,
    transport,
    clock: systemClock,
    random: systemRandom,
    logger: () => silentLogger,
    identity,
    program: 'power-loss',
    cacheBytes: 1 << 20,
    bootstrap: [],
    announce: [],
    rootKey: () => null,
    fatal: (error) => {
      throw error
    },
  })
}

/** Makes requests, several at a time, and says what becomes of each. */
async function request(replica: Replica, from: number, to: number): Promise<void> {
  for (let next = from; next < to;) {
    const burst = Math.min(to - next, kind === 'long' ? 1 : 1 + random.below(4))
    await Promise.all(
      Array.from({ length: burst }, async (_, offset) => {
        const index = next + offset
        say({ says: 'asked', index })
        const { place } = await replica.write(requestOf(kind, 'mine', index))
        say({ says: 'acknowledged', index, place: `${place?.feed}:${place?.sequence}` })
      }),
    )
    next += burst
  }
}

const otherStore = createMemoryStore()
await otherStore.commit(founding.batch)
const other = await openReplica(
  founding.other,
  otherStore,
  network.attach(founding.other.key.publicKey, { address: founding.otherAddress }),
)
await other.startNetwork()
let othersNext = 0
const othersWriting = async (): Promise<void> => {
  for (let count = 0; count < 10; count += 1) await other.write(requestOf('short', 'other', othersNext++))
}

const total = requestsByKind[kind]
const firstRun = Math.floor(total * (kind === 'long' ? 0.9 : 0.5))
const home = await openStore(false)
await home.commit(founding.batch)
const replica = await openReplica(founding.mine, home, transportOf(network))
await replica.startNetwork()
await Promise.all([request(replica, 0, firstRun), othersWriting()])
await replica.close()

const again = await openReplica(founding.mine, await openStore(true), transportOf(network))
await again.startNetwork()
await Promise.all([request(again, firstRun, total), othersWriting()])
process.exit(0)
