/**
 * Looks at what a power loss left of the small files of a home. Each file is as it was after the last step that was told done, or as it was at
 * some moment since; none is half of two. There is a whole instance, or none and one can be begun.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { silentLogger } from '../../src/core/index.ts'
import { holdsInstance, openHome } from '../../src/daemon/home.ts'
import { initHome } from '../../src/daemon/new-home.ts'
import { openSqliteStore } from '../../src/storage/index.ts'
import { seededRandom } from '../sim/virtual-time.ts'
import { diskAfterPowerLoss, diskAt, filesOf, writeDisk } from './disk.ts'
import type { Recording } from './recording.ts'

/** Where the recorded home lies. */
const homePath = 'agents/kevin'

/** Says that the last stop was clean. Nobody relies on its being there: only on its not being there while a daemon runs. */
const markerPath = `${homePath}/run/stopped`

/** Files without a promise: the database has a check of its own, and what is being made has no name yet. */
const withoutPromise = /\.sqlite(-wal|-shm|-journal)?$|\.new$|\.partial-\w+\//

export class HomeCheck {
  readonly #operations: Recording['operations']
  /** The same without what was written to databases: soon replayed. */
  readonly #small: Recording['operations']
  readonly #root: string
  readonly #directory: string
  /** Indexes of the lines that tell that a step is done. */
  readonly #marks: readonly number[]

  /** `directory`: for the disks that are looked at, one after the other. */
  constructor(recording: Recording, directory: string) {
    this.#operations = recording.operations
    const databases = new Set(this.#operations.flatMap((one) => (one.type === 'make' && /\.sqlite/.test(one.as.name) ? [one.node] : [])))
    this.#small = this.#operations.map((one) => (one.type === 'write' && databases.has(one.node) ? { type: 'mark', text: '' } : one))
    this.#root = recording.root
    this.#directory = directory
    this.#marks = recording.operations.flatMap(({ type }, at) => (type === 'mark' ? [at] : []))
  }

  /** What is wrong with what one power loss leaves; undefined where nothing is. The same for the same recording and seed. */
  async fault(seed: number): Promise<string | undefined> {
    const random = seededRandom(`power loss ${seed}`)
    const moment = random.chance(0.5) ? random.pick(this.#marks) + 1 : 1 + random.below(this.#operations.length)
    const disk = diskAfterPowerLoss(this.#operations, moment, random)
    const done = this.#marks.findLast((at) => at < moment)
    const what = this.#wrongFile(filesOf(disk), done, moment)
    if (what !== undefined) return `after ${moment} operations: ${what}`
    rmSync(this.#directory, { recursive: true, force: true })
    mkdirSync(this.#directory, { mode: 0o700 })
    writeDisk(disk, this.#directory)
    try {
      return await this.#unusable(join(this.#directory, homePath), done !== undefined)
    } catch (error) {
      return `after ${moment} operations: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
    }
  }

  /** A file that is as it never was since the last step that was told done. */
  #wrongFile(files: ReadonlyMap<string, Buffer>, done: number | undefined, moment: number): string | undefined {
    const since = Array.from({ length: moment - (done ?? 0) }, (_, index) => filesOf(diskAt(this.#small, (done ?? 0) + 1 + index)))
    const told = done === undefined ? 'no step' : `'${(this.#operations[done] as { text: string }).text}'`
    for (const path of new Set([...files.keys(), ...since.flatMap((state) => [...state.keys()])])) {
      const content = files.get(path)
      if (withoutPromise.test(path) || (path === markerPath && content?.toString() !== join(this.#root, homePath))) continue
      if (since.some((state) => (content === undefined ? !state.has(path) : state.get(path)?.equals(content) === true))) continue
      return `${path} ${content === undefined ? 'is gone' : 'is as it should not be any more'}, since ${told} was told`
    }
    return undefined
  }

  /** Why there is neither a whole instance nor a place for one. */
  async #unusable(home: string, isBegun: boolean): Promise<string | undefined> {
    const isThere = holdsInstance(home)
    if (isBegun && !isThere) return 'the instance is gone'
    if (!isThere) {
      const logs = { logger: () => silentLogger, close: () => undefined }
      await initHome({ home, agentName: 'kevin', name: 'laptop', logs, sealed: null })
    }
    const { paths } = openHome(home)
    // Nothing of what comes later touches the database.
    if (isBegun) return undefined
    const store = await openSqliteStore({ path: paths.database, logger: silentLogger, checkFirst: true })
    const isFounded = store.records().length > 0
    await store.close()
    return isFounded ? undefined : 'there is an identity and no agent in the database'
  }
}
