/**
 * Looks at what a power loss left of an instance. The database has to open and to hold exactly what some number of commits brought, no fewer than were
 * confirmed; what anybody was told has to be there; and the instance has to go on: every request made again counts once, and
 * nothing is written into a place that an envelope had before.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { serialize } from 'node:v8'
import { silentLogger, systemClock, systemRandom } from '../../src/core/index.ts'
import { operationIdOf } from '../../src/feed/index.ts'
import { createMemoryNetwork } from '../../src/network/index.ts'
import { Replica } from '../../src/replica/index.ts'
import { openSqliteStore } from '../../src/storage/index.ts'
import type { Store } from '../../src/storage/index.ts'
import { seededRandom } from '../sim/virtual-time.ts'
import type { SeededRandom } from '../sim/virtual-time.ts'
import { diskAfterPowerLoss, diskAt, writeDisk } from './disk.ts'
import type { DiskState } from './disk.ts'
import { amountOf, databaseName, foundingOf, requestOf } from './life.ts'
import type { LifeKind, Mark } from './life.ts'
import type { Recording } from './recording.ts'

/** What the world had been told when the power failed. */
interface Promised {
  readonly committed: number
  readonly committing: number
  /** Requests that were made: so many. */
  readonly asked: number
  /** Places by index of the request. */
  readonly acknowledged: ReadonlyMap<number, string>
  /** How far each feed is held. */
  readonly told: ReadonlyMap<string, number>
}

export class ReplicaCheck {
  readonly #operations: Recording['operations']
  readonly #kind: LifeKind
  readonly #directory: string
  readonly #marks: readonly { readonly at: number; readonly mark: Mark }[]
  /** Hashes of envelopes by the places that they were ever written to, confirmed or not. */
  readonly #places: ReadonlyMap<string, string>
  /** What the database holds after each number of commits. */
  readonly #contents = new Map<number, string>()

  /** `directory`: for the disks that are looked at, one after the other. */
  constructor(recording: Recording, { directory, kind }: { readonly directory: string; readonly kind: LifeKind }) {
    this.#operations = recording.operations
    this.#kind = kind
    this.#directory = directory
    this.#marks = recording.operations.flatMap((operation, at) =>
      operation.type === 'mark' ? [{ at, mark: JSON.parse(operation.text) as Mark }] : [],
    )
    this.#places = new Map(this.#marks.flatMap(({ mark }) => (mark.says === 'committing' ? mark.places : [])))
  }

  /** What is wrong with what one power loss leaves; undefined where nothing is. The same for the same recording and seed. */
  async fault(seed: number): Promise<string | undefined> {
    const random = seededRandom(`power loss ${seed}`)
    const moment = this.#moment(random)
    const promised = this.#promisedAt(moment)
    const path = this.#write('after', diskAfterPowerLoss(this.#operations, moment, random))
    // Mapped memory is on the disk in whatever state: nothing may rest on it.
    if (existsSync(`${path}-shm`)) writeFileSync(`${path}-shm`, random.bytes(random.pick([0, 100, 32 << 10])))
    try {
      const store = await openSqliteStore({ path, logger: silentLogger, checkFirst: true })
      try {
        return this.#missing(contentOf(path), promised) ?? this.#broken(store, promised) ?? (await this.#unable(store, promised))
      } finally {
        await store.close()
      }
    } catch (error) {
      return `after ${moment} operations: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
    }
  }

  /** Often the moment right after something was told: then nobody has had time to be lucky. */
  #moment(random: SeededRandom): number {
    return random.chance(0.5) ? random.pick(this.#marks).at + 1 : 1 + random.below(this.#operations.length)
  }

  #promisedAt(moment: number): Promised {
    const promised = { committed: 0, committing: 0, asked: 0, acknowledged: new Map<number, string>(), told: new Map<string, number>() }
    for (const { at, mark } of this.#marks) {
      if (at >= moment) break
      if (mark.says === 'committing') promised.committing = mark.number
      else if (mark.says === 'committed') promised.committed = mark.number
      else if (mark.says === 'asked') promised.asked = Math.max(promised.asked, mark.index + 1)
      else if (mark.says === 'acknowledged') promised.acknowledged.set(mark.index, mark.place)
      else if (mark.says === 'told') promised.told.set(mark.feed, Math.max(mark.have, promised.told.get(mark.feed) ?? 0))
    }
    return promised
  }

  /** Puts a disk into an empty directory; gives the path of the database there. */
  #write(name: string, disk: DiskState): string {
    const home = join(this.#directory, name)
    rmSync(home, { recursive: true, force: true })
    mkdirSync(home, { mode: 0o700 })
    writeDisk(disk, home)
    return join(home, databaseName)
  }

  /** Which of these numbers of commits brought exactly this. */
  #commitsOf(content: string, numbers: readonly number[]): number | undefined {
    return numbers.find((number) => this.#contentAfter(number) === content)
  }

  /** What the database holds after so many commits, by what the process itself could see then. */
  #contentAfter(number: number): string {
    let content = this.#contents.get(number)
    if (content === undefined) {
      const { at } = this.#marks.find(
        ({ mark }) => (mark.says === 'committed' && mark.number === number) || (mark.says === 'opened' && mark.commits === number),
      ) ?? { at: this.#operations.length }
      content = contentOf(this.#write('before', diskAt(this.#operations, at)))
      this.#contents.set(number, content)
    }
    return content
  }

  /** Where the database holds anything else than the commits that were confirmed, and perhaps the one that was begun. */
  #missing(content: string, { committed, committing }: Promised): string | undefined {
    if (this.#commitsOf(content, committing > committed ? [committed, committing] : [committed]) !== undefined) return undefined
    const reached = this.#commitsOf(content, [...Array(committed).keys()].toReversed())
    return reached === undefined
      ? `what is there is no whole number of commits (${committed} were confirmed, ${committing} begun)`
      : `only ${reached} of ${committed} confirmed commits are there`
  }

  /** What was told and is not there. */
  #broken(store: Store, { acknowledged, told }: Promised): string | undefined {
    const { instance } = foundingOf().mine
    for (const [index, place] of acknowledged) {
      const row = store.operation(instance, operationIdOf(`mine-${index}/0`)) ?? store.operation(instance, operationIdOf(`mine-${index}`))
      if (row === undefined) return `the acknowledged request ${index} is gone`
      if (`${row.feed}:${row.sequence}` !== place) return `the acknowledged request ${index} is somewhere else than was said`
    }
    const held = new Map(store.feeds().map(({ feed, have }) => [feed as string, have]))
    for (const [feed, have] of told)
      if ((held.get(feed) ?? 0) < have) return `the other instance was told that ${feed} is held up to ${have}`
    return undefined
  }

  /** Why the instance cannot go on from here: every request is made again, and counts once. */
  async #unable(store: Store, { acknowledged, asked, committing }: Promised): Promise<string | undefined> {
    const founding = foundingOf()
    // The very first commit makes it an instance.
    if (store.records().length === 0) return committing > 1 ? 'the founding records are gone' : undefined
    const faults: string[] = []
    const commit = store.commit.bind(store)
    store.commit = async (batch) => {
      for (const { feed, hash, sequence } of batch.envelopes ?? []) {
        const before = this.#places.get(`${feed}:${sequence}`)
        if (before !== undefined && before !== hash) faults.push(`${feed}:${sequence} is used for a second time`)
      }
      await commit(batch)
    }
    const network = createMemoryNetwork({ clock: systemClock, random: systemRandom })
    const replica = await Replica.open({
      openStore: async () => store,
      transport: network.attach(founding.mine.key.publicKey, { address: founding.myAddress }),
      clock: systemClock,
      random: systemRandom,
      logger: () => silentLogger,
      identity: founding.mine,
      program: 'power-loss',
      cacheBytes: 1 << 20,
      bootstrap: [],
      announce: [],
      rootKey: () => null,
      fatal: (error) => faults.push(`the instance cannot go on: ${String(error)}`),
    })
    const indexes = Array.from({ length: asked + 1 }, (_, index) => index)
    const receipts = await Promise.all(indexes.map((index) => replica.write(requestOf(this.#kind, 'mine', index))))
    for (const [index, { repeated }] of receipts.entries())
      if (acknowledged.has(index) && !repeated) faults.push(`the acknowledged request ${index} was carried out again`)
    faults.push(...(await this.#miscounted(replica, indexes)))
    await replica.close()
    return faults[0]
  }

  /** Where something that was asked for is not there exactly once. */
  async #miscounted(replica: Replica, indexes: readonly number[]): Promise<string[]> {
    const faults: string[] = []
    const operations = indexes.map((index) => requestOf(this.#kind, 'mine', index).operations)
    const sum = indexes.reduce((total, index) => total + amountOf(index), 0n)
    const counted = (await replica.reader.value('counter', 'karma')).totals.get('mine')
    if (counted !== sum) faults.push(`the counter is at ${counted}, not at ${sum}`)
    const wanted = operations.flat().flatMap((operation) => (operation.type === 'append' ? [operation.entry.text ?? ''] : []))
    const { entries } = replica.reader.log('memory/mine', { newestFirst: false, limit: 1_000 })
    const read = entries.map((entry) => entry.content.text ?? '')
    if (read.toSorted().join('\n') !== wanted.toSorted().join('\n')) faults.push(`the log holds ${read.length} entries of ${wanted.length}`)
    const { members } = await replica.reader.value('set', 'done')
    for (const operation of operations.flat()) {
      if (operation.type === 'edit' && operation.edit.type === 'set.add' && !members.includes(operation.edit.member))
        faults.push(`the set lacks ${operation.edit.member}`)
    }
    return faults
  }
}

/** Everything that a database holds, as a hash. */
function contentOf(path: string): string {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    const hash = createHash('sha256')
    const tables = database.prepare("select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by name").all()
    for (const { name } of tables) {
      hash.update(serialize(name))
      for (const row of database.prepare(`select * from "${String(name)}"`).iterate()) hash.update(serialize(Object.values(row)))
    }
    return hash.digest('hex')
  } finally {
    database.close()
  }
}
