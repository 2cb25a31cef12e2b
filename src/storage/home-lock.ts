/**
 * One daemon per home. The lock is an exclusive SQLite transaction held open on a file of its own: the kernel frees it
 * when its holder dies, however it dies, and SQLite knows how to lock a file on every system.
 */
import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { SelfsameError } from '../core/index.ts'
import { fileMode, sqliteCode, sqliteCodeOf } from './sqlite-connection.ts'

/** The file in a home. Reading it from the process that holds the lock would release it (POSIX): copy a home from another process. */
export const lockFile = 'lock.sqlite'

/** Connections that hold a lock. One that nobody refers to would be collected, and its lock freed with it. */
const holders = new Set<DatabaseSync>()

/**
 * Of a home that somebody looks at from another process: nobody holds it, a process does, or the file that they hold it by is none of
 * SQLite's.
 */
export type LockState = 'free' | 'held' | 'broken'

/** How the lock of a home stands. Takes and changes nothing. Throws `storage-failed` where that cannot be told. */
export function lockStateOf(directory: string): LockState {
  const path = join(directory, lockFile)
  if (!existsSync(path)) return 'free'
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path, { timeout: 0, readOnly: true })
    database.prepare('select count(*) from sqlite_schema').get()
    return 'free'
  } catch (error) {
    const code = sqliteCodeOf(error)
    if (code === sqliteCode.busy) return 'held'
    if (code === sqliteCode.notADatabase || code === sqliteCode.corrupt) return 'broken'
    throw new SelfsameError('storage-failed', `${path} cannot be read: ${(error as Error).message}`, { cause: error })
  } finally {
    if (database?.isOpen === true) database.close()
  }
}

export interface HomeLock {
  /** Frees the home. Calling it again changes nothing. */
  release(): void
}

/**
 * Takes the home for this process. Throws `SelfsameError`: `daemon-running` where another process, or this one, holds
 * it, `storage-failed` where the file cannot be used.
 */
export function lockHome(directory: string): HomeLock {
  const path = join(directory, lockFile)
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path, { timeout: 0 })
    chmodSync(path, fileMode)
    database.exec('begin exclusive')
  } catch (error) {
    if (database?.isOpen === true) database.close()
    if (sqliteCodeOf(error) === sqliteCode.busy) {
      throw new SelfsameError('daemon-running', `a daemon is running on ${directory}: stop it first (selfsame down)`, { cause: error })
    }
    throw new SelfsameError('storage-failed', `${path} cannot be locked: check that the home is there and writable`, {
      cause: error,
    })
  }
  const holder = database
  holders.add(holder)
  return {
    release() {
      if (holders.delete(holder)) holder.close()
    },
  }
}
