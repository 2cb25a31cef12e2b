/**
 * The simulated disk of one home. A commit is asked for, written and confirmed, at three moments; what was not confirmed is
 * there after the death of the process if it was written, and after a loss of power perhaps. No part of a commit is ever there alone.
 */
import { SelfsameError } from '../../src/core/index.ts'
import type { FeedId } from '../../src/core/index.ts'
import { CommitFailure, DamagedEnvelope, createMemoryStore } from '../../src/storage/index.ts'
import type { MemoryStore, Store, WriteBatch } from '../../src/storage/index.ts'
import type { CrashPoint } from './plan.ts'
import type { World } from './world.ts'
import type { SeededRandom } from './virtual-time.ts'

/** Reads that an engine does while it works. */
const faultyReads: ReadonlySet<keyof Store> = new Set([
  'envelopes',
  'appliedAfter',
  'touchesAfter',
  'snapshot',
  'past',
  'clock',
  'operation',
  'entries',
  'documentHeads',
  'records',
])

/** Who uses the disk. */
export interface DiskUser {
  readonly alive: boolean
  /** Runs what the disk has to say, when the process can hear it. */
  hear(callback: () => void): void
  /** The process dies in the middle of a commit, or the machine loses its power. */
  die(power: boolean): void
  committed(batch: WriteBatch, store: Store): void
}

export class SimDisk {
  readonly #world: World
  readonly #random: SeededRandom
  #store: MemoryStore
  #pending: { apply(): void; written: boolean } | null = null
  /** Where in the next commit the process dies. */
  #deadly: { readonly point: CrashPoint; readonly power: boolean } | null = null
  #isGivenUp = false
  #isFull = false
  #unconfirmed = 0
  #openFailures = 0
  #readFailures = 0

  constructor(world: World, random: SeededRandom, store: MemoryStore = createMemoryStore()) {
    this.#world = world
    this.#random = random
    this.#store = store
  }

  /** As of the last commit that its writer knows of. */
  get store(): MemoryStore {
    return this.#store
  }

  /** The same to read, also where its writer has closed it, or given it up to open it anew. */
  get readable(): MemoryStore {
    return this.#isGivenUp ? this.#store.clone({}) : this.#store
  }

  /** A copy of the home as it is now. */
  copy(): MemoryStore {
    return this.#store.clone()
  }

  /** The next commit ends the process at that point of it. */
  dieAt(point: CrashPoint, power: boolean): void {
    this.#deadly = { point, power }
  }

  fill(isFull: boolean): void {
    this.#isFull = isFull
  }

  /** The outcome of the next commit stays unknown, and the store does not open at the first tries. */
  failNext(openFailures: number): void {
    this.#unconfirmed += 1
    this.#openFailures += openFailures
  }

  failReads(count: number): void {
    this.#readFailures += count
  }

  /** Whether an envelope is there and can be read. */
  holds(feed: FeedId, sequence: number): boolean {
    try {
      return this.readable.envelopes(feed, sequence, sequence, 1).length > 0
    } catch (error) {
      if (error instanceof DamagedEnvelope) return false
      throw error
    }
  }

  /** Turns a bit of an envelope that one of the others holds, so that it can be had again. */
  rot(others: readonly SimDisk[], random: SeededRandom): void {
    // A store that was closed, or given up, is about to be opened anew.
    if (this.#isGivenUp) return
    const places = this.#store
      .feeds()
      .flatMap(({ feed, have }) => Array.from({ length: have }, (_, index) => ({ feed, sequence: index + 1 })))
      .filter(({ feed, sequence }) => this.holds(feed, sequence) && others.some((disk) => disk.holds(feed, sequence)))
    if (places.length === 0) return
    this.#store.damage({ kind: 'envelope', part: random.pick(['header', 'body']), ...random.pick(places) })
    this.#world.note('rot')
  }

  /** Ends all faults that still wait for their moment. */
  repair(): void {
    this.#deadly = null
    this.#isFull = false
    this.#unconfirmed = 0
    this.#openFailures = 0
    this.#readFailures = 0
  }

  async open(user: DiskUser): Promise<Store> {
    if (this.#openFailures > 0) {
      this.#openFailures -= 1
      this.#world.note('open-failure')
      throw new SelfsameError('storage-failed', 'the simulated disk does not open')
    }
    const store = this.#store.clone({ commitVia: (apply) => this.#commit(user, apply) })
    this.#store = store
    this.#isGivenUp = false
    return this.#faultyFace(store, user)
  }

  /** The store as its user sees it: what others read of the disk has none of its faults. */
  #faultyFace(store: MemoryStore, user: DiskUser): Store {
    const face: Store = Object.create(store) as Store
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(store)).filter((name) => name !== 'constructor')
    for (const name of methods as readonly (keyof Store)[]) {
      const method = store[name].bind(store) as (...parameters: readonly unknown[]) => unknown
      const isFaulty = faultyReads.has(name)
      const value = (...parameters: readonly unknown[]): unknown => {
        if (isFaulty) this.#failRead()
        return method(...parameters)
      }
      Object.defineProperty(face, name, { value, configurable: true })
    }
    const commit = async (batch: WriteBatch): Promise<void> => {
      await store.commit(batch)
      user.committed(batch, store)
    }
    const close = (): Promise<void> => {
      this.#isGivenUp = true
      return store.close()
    }
    return Object.defineProperties(face, { commit: { value: commit }, close: { value: close } })
  }

  #failRead(): void {
    if (this.#readFailures === 0) return
    this.#readFailures -= 1
    this.#world.note('read-error')
    throw new SelfsameError('storage-failed', 'the simulated disk cannot be read')
  }

  /** What a process that died, or a machine without power, leaves. */
  end(power: boolean): void {
    const pending = this.#pending
    this.#pending = null
    this.#deadly = null
    if (pending !== null && (pending.written && !power ? true : this.#random.chance(0.5))) pending.apply()
    this.#store = this.#store.clone({})
    this.#isGivenUp = false
    if (pending !== null) this.#world.note(`${power ? 'power-loss' : 'crash'}:${pending.written ? 'written' : 'asked'}`)
  }

  /** The home is replaced by an older copy of itself. */
  replace(backup: MemoryStore): void {
    this.#store = backup.clone({})
  }

  #commit(user: DiskUser, apply: () => void): Promise<void> {
    const { time } = this.#world
    const commit = { apply, written: false }
    this.#pending = commit
    const isCurrent = (): boolean => user.alive && this.#pending === commit
    return new Promise((resolve, reject) => {
      const settle = (done: () => void): void => {
        this.#pending = null
        user.hear(done)
      }
      if (this.#kills(user, 'asked')) return
      time.after(this.#random.unit() * 3, () => {
        if (!isCurrent()) return
        if (this.#isFull) {
          this.#world.note('disk-full')
          return settle(() => reject(new CommitFailure('rolled-back', 'the simulated disk is full')))
        }
        commit.written = true
        if (this.#kills(user, 'written')) return
        time.after(this.#random.unit() * 3, () => {
          if (!isCurrent()) return
          if (this.#unconfirmed > 0) {
            this.#unconfirmed -= 1
            const isThere = this.#random.chance(0.5)
            this.#world.note(isThere ? 'unconfirmed:there' : 'unconfirmed:lost')
            if (isThere) apply()
            this.#isGivenUp = true
            return settle(() => reject(new CommitFailure('unknown', 'the simulated disk did not confirm')))
          }
          if (!this.#applies(apply)) return
          this.#pending = null
          if (!this.#kills(user, 'confirmed')) user.hear(resolve)
        })
      })
    })
  }

  #applies(apply: () => void): boolean {
    try {
      apply()
      return true
    } catch (error) {
      this.#world.fault(`a commit is not lawful: ${String(error)}`)
      return false
    }
  }

  /** Whether the process dies here. */
  #kills(user: DiskUser, point: CrashPoint): boolean {
    if (this.#deadly?.point !== point) return false
    const { power } = this.#deadly
    if (point === 'confirmed') this.#world.note(`${power ? 'power-loss' : 'crash'}:confirmed`)
    user.die(power)
    return true
  }
}
