/**
 * A database as it is at one moment, to copy or to read, while its daemon goes on writing. A transaction that only reads pins what is copied: without
 * it SQLite would begin the copy anew at every commit, and never end where commits are frequent.
 */
import { backup, DatabaseSync } from 'node:sqlite'
import type { Logger } from '../core/index.ts'
import { checkDatabase } from './database-check.ts'
import { openForReading } from './sqlite-connection.ts'
import { SqliteReads } from './sqlite-reads.ts'
import { toStorageError } from './storage-error.ts'
import type { StoreReads } from './store.ts'

/** Pages of 4 KiB that are copied before others get a turn on the disk. */
const pagesAtOnce = 4_096

/** A database as it was when it was pinned. Its write-ahead log grows until it is closed. */
export interface PinnedDatabase {
  /** What it holds. Not after `close`. */
  reads(logger: Logger): StoreReads
  /** Copies it into a new file, complete in itself, and reads all of the copy. Throws `storage-corrupt`, `storage-failed`. */
  copyTo(path: string): Promise<void>
  close(): void
}

/** Pins the database at `path`, also beside a daemon that writes to it. Throws `storage-corrupt`, `storage-failed`. */
export function pinDatabase(path: string): PinnedDatabase {
  try {
    const database = openForReading(path)
    // What is pinned is what the first read sees.
    database.exec('begin; select 1 from meta limit 1')
    return {
      reads: (logger) => new SqliteReads(database, logger),
      async copyTo(to) {
        try {
          await backup(database, to, { rate: pagesAtOnce })
          const copy = new DatabaseSync(to)
          try {
            // It is copied as a database with a write-ahead log, which it does not have.
            copy.exec('pragma journal_mode = delete')
            checkDatabase(copy)
          } finally {
            copy.close()
          }
        } catch (error) {
          throw toStorageError(error)
        }
      },
      close: () => database.close(),
    }
  } catch (error) {
    throw toStorageError(error)
  }
}
