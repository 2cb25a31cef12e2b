/**
 * Replaces all that a home holds. What is to come is put together in a directory inside it, and one rename settles that it comes: a crash
 * before that leaves the old home, and after it whoever opens the home finishes first. What was there is moved aside, never deleted.
 *
 * The names of that directory tell how far it got: `restore.partial`, then `restore.ready-N`, then, once the old files are in
 * `before-restore-N`, `restore.entering-N`.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { SelfsameError } from '../core/index.ts'
import { lockHome } from '../storage/index.ts'
import { checkDirectory, homePathsOf, makeDirectory, onDisk, syncDirectory } from './home.ts'
import type { HomePaths } from './home.ts'

/** What stays where it is: the lock, which is held meanwhile, what belongs to a running daemon, and what this file makes. */
const staying = /^(lock\.sqlite(-\w+)?|run|restore\.partial|restore\.(ready|entering)-\d+|before-restore-\d+)$/
/** Everything else that a home may hold. */
const ofHome = /^((identity|root-key|joining|tokens|moved)\.json|config\.toml|memory\.sqlite)([.-].+)?$/

/** A home that is locked, and about to hold something else. */
export interface HomeSwap {
  readonly paths: HomePaths
  /** An empty directory for what is to come. Files in it are durable before `commit`. */
  readonly stage: string
  /** Has the home hold what is in `stage`. Gives the name of the directory in it with what it held before, null where that was nothing. Durable when it returns. */
  commit(): string | null
  /** Frees the home. What was not committed is gone. */
  close(): void
}

/**
 * Locks a home, or makes an empty one. Throws `home-exists` where it holds something and `force` is not given, `home-unsafe` where it holds
 * what is no part of a home, or cannot be trusted, `daemon-running`.
 */
export function openSwap(directory: string, force: boolean): HomeSwap {
  const paths = homePathsOf(directory)
  onDisk(paths.directory, () => makeDirectory(paths.directory))
  checkDirectory(paths.directory)
  const present = entriesOf(paths)
  const foreign = present.find((name) => !ofHome.test(name))
  if (foreign !== undefined) {
    throw new SelfsameError(
      'home-unsafe',
      `${paths.directory} holds '${foreign}', which is no part of a home: choose another place with --home`,
    )
  }
  if (present.length > 0 && !force) {
    throw new SelfsameError(
      'home-exists',
      `${paths.directory} already holds ${existsSync(paths.identity) ? 'an instance' : `'${present[0]}'`}: choose another place with --home, or say --force to move all of it aside`,
    )
  }
  const lock = lockHome(paths.directory)
  const stage = join(paths.directory, 'restore.partial')
  onDisk(paths.directory, () => {
    rmSync(stage, { recursive: true, force: true })
    mkdirSync(stage, { mode: 0o700 })
  })
  return {
    paths,
    stage,
    commit: () =>
      onDisk(paths.directory, () => {
        const number = 1 + Math.max(0, ...readdirSync(paths.directory).map((name) => Number(/^before-restore-(\d+)$/.exec(name)?.[1] ?? 0)))
        syncDirectory(stage)
        renameSync(stage, join(paths.directory, `restore.ready-${number}`))
        syncDirectory(paths.directory)
        finish(paths)
        const aside = `before-restore-${number}`
        return existsSync(join(paths.directory, aside)) ? aside : null
      }),
    close() {
      try {
        onDisk(paths.directory, () => rmSync(stage, { recursive: true, force: true }))
      } finally {
        lock.release()
      }
    },
  }
}

/** Finishes what a crash cut off after it was settled. To be called before a home is opened; throws `daemon-running` where another is at it. */
export function settleSwap(directory: string): void {
  const paths = homePathsOf(directory)
  if (!existsSync(paths.directory) || swapUnderWay(paths) === undefined) return
  checkDirectory(paths.directory)
  const lock = lockHome(paths.directory)
  try {
    onDisk(paths.directory, () => finish(paths))
  } finally {
    lock.release()
  }
}

/** Goes on from wherever it stands; the home is locked. */
function finish(paths: HomePaths): void {
  const { directory } = paths
  const found = swapUnderWay(paths)
  if (found === undefined) return
  const entering = join(directory, `restore.entering-${found.number}`)
  if (found.state === 'ready') {
    const aside = join(directory, `before-restore-${found.number}`)
    for (const name of entriesOf(paths)) {
      mkdirSync(aside, { recursive: true, mode: 0o700 })
      renameSync(join(directory, name), join(aside, name))
    }
    if (existsSync(aside)) syncDirectory(aside)
    // With it goes the word that the last stop was clean: the database is checked before its first use.
    rmSync(paths.run, { recursive: true, force: true })
    syncDirectory(directory)
    renameSync(join(directory, `restore.ready-${found.number}`), entering)
    syncDirectory(directory)
  }
  for (const name of readdirSync(entering)) renameSync(join(entering, name), join(directory, name))
  syncDirectory(directory)
  rmdirSync(entering)
  syncDirectory(directory)
}

function swapUnderWay({ directory }: HomePaths): { readonly state: string; readonly number: string } | undefined {
  for (const name of readdirSync(directory)) {
    const [, state, number] = /^restore\.(ready|entering)-(\d+)$/.exec(name) ?? []
    if (state !== undefined && number !== undefined) return { state, number }
  }
  return undefined
}

function entriesOf({ directory }: HomePaths): readonly string[] {
  return readdirSync(directory)
    .filter((name) => !staying.test(name))
    .toSorted()
}
