/**
 * Opens connections to the database file and sets what each has to be told again. The writer thread loads this file, so it
 * imports no other room: that would double the time a store takes to open.
 */
import { chmodSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

/** Page cache of each connection, in KiB. It is what the store may hold of the file, however large that is: memory is
 * never mapped, so an unreadable disk is an error and not a signal. */
const cacheKib = 16 << 10

/** How long a statement waits for another connection, in milliseconds. Only closing and opening ever overlap. */
const busyMilliseconds = 5_000

/** The write-ahead log is cut down to this size when it starts again from its beginning. Larger keeps blocks allocated
 * for the next big batch, smaller gives them back. */
const logBytesKept = 32 << 20

/** SQLite's primary result codes that mean something here. */
export const sqliteCode = { busy: 5, corrupt: 11, full: 13, notADatabase: 26 } as const

/** Only the owner may read and write: it is the agent's memory. SQLite gives the files beside the database its mode. */
export const fileMode = 0o600

/** A connection that writes. Throws what SQLite throws. */
export function openForWriting(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyMilliseconds })
  chmodSync(path, fileMode)
  // Full: the log is synced before a commit is visible. fullfsync: on macOS fsync alone leaves data in the drive's cache.
  // Checkpoints are the writer's to start: between commits, never inside one.
  database.exec(`
    pragma journal_mode = wal; pragma synchronous = full; pragma fullfsync = on; pragma checkpoint_fullfsync = on;
    pragma wal_autocheckpoint = 0; pragma journal_size_limit = ${logBytesKept}; pragma cache_size = -${cacheKib};
    pragma cell_size_check = on; pragma trusted_schema = off`)
  return database
}

/** A connection that only reads. The file exists and is in WAL mode. */
export function openForReading(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyMilliseconds, readOnly: true })
  database.exec(`pragma cache_size = -${cacheKib}; pragma cell_size_check = on; pragma trusted_schema = off`)
  return database
}

/** The primary result code of an error that SQLite reported, undefined for any other error. */
export function sqliteCodeOf(error: unknown): number | undefined {
  const code: unknown = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}
