/**
 * What the doctor mends by itself: rights that others have, and what was left half done. Nothing that could lose memory: what it removes
 * was never in use, and while a daemon runs it only takes rights away.
 */
import { chmodSync, rmSync } from 'node:fs'
import { SelfsameError } from '../core/index.ts'
import { lockFile, lockHome } from '../storage/index.ts'
import { leftoversOf, othersMask } from './doctor-checks.ts'
import type { Leftover } from './doctor-checks.ts'
import type { HomeLook } from './doctor-facts.ts'
import { readIdentity, syncDirectory } from './home.ts'
import { settleSwap } from './home-swap.ts'
import { settledIdentity } from './key-change.ts'

/** Mends what can be mended in a home. Tells what it did, and what it could not do and why. */
export function mend(look: HomeLook): readonly string[] {
  const { directory } = look.paths
  const said: string[] = []
  const attempt = (what: string, action: () => void): void => {
    try {
      action()
      said.push(what)
    } catch (error) {
      said.push(`could not be done: ${what} (${(error as Error).message})`)
    }
  }

  for (const { kind, mode, name, owner, path } of look.entries) {
    // A link would have something else's rights changed.
    if (owner !== look.user || kind === 'link' || (mode & othersMask) === 0) continue
    attempt(`${name} is for its owner alone now`, () => chmodSync(path, mode & ~othersMask))
  }

  const left = leftoversOf(look)
  const brokenLock = left.find(({ entry }) => entry.name === lockFile)
  if (brokenLock !== undefined && isServed(look)) return [...said, 'a daemon runs: what was left behind stays as it is']
  if (brokenLock !== undefined) attempt(`${lockFile} is removed; the next start makes its own`, () => rmSync(brokenLock.entry.path))
  if (left.some(({ mending }) => mending === 'finish-restore')) attempt('a restore that was begun is finished', () => settleSwap(directory))
  const rest = left.filter((each) => each !== brokenLock && each.mending !== 'finish-restore')
  if (rest.length > 0)
    attemptLocked(directory, said, () => {
      for (const leftover of rest) mendLeftover(look, leftover, attempt)
      syncDirectory(directory)
    })
  return said
}

function isServed({ daemon, daemonProcesses }: HomeLook): boolean {
  return daemon.state === 'answers' || daemon.state === 'refuses' || (daemonProcesses ?? []).length > 0
}

/** A daemon that starts meanwhile would use what is cleared away. */
function attemptLocked(directory: string, said: string[], action: () => void): void {
  try {
    const lock = lockHome(directory)
    try {
      action()
    } finally {
      lock.release()
    }
  } catch (error) {
    if (!(error instanceof SelfsameError)) throw error
    said.push(`what was left behind stays as it is: ${error.message}`)
  }
}

function mendLeftover({ paths }: HomeLook, { entry, mending, what }: Leftover, attempt: (what: string, action: () => void) => void): void {
  if (mending === 'settle-key')
    attempt(`${entry.name}: ${what} is settled`, () => void settledIdentity(paths, readIdentity(paths.directory)))
  else attempt(`${entry.name} is removed: ${what}`, () => rmSync(entry.path, { recursive: true, force: true }))
}
