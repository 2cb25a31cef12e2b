/** The membership records of a database that somebody else may have open, such as the daemon that runs on the home. */
import { existsSync } from 'node:fs'
import { bytesToId } from '../core/index.ts'
import type { RecordHash } from '../core/index.ts'
import { openForReading } from './sqlite-connection.ts'
import { toStorageError } from './storage-error.ts'
import type { StoreReads } from './store.ts'

/**
 * The records in the database at `path`, as `StoreReads` has them; none where there is no file. Changes nothing.
 * Throws `SelfsameError`: `storage-corrupt`, `storage-failed`.
 */
export function readStoredRecords(path: string): ReturnType<StoreReads['records']> {
  if (!existsSync(path)) return []
  try {
    const database = openForReading(path)
    try {
      const rows = database.prepare('select hash, bytes from record order by number').all() as { hash: Uint8Array; bytes: Uint8Array }[]
      return rows.map(({ hash, bytes }) => ({ hash: bytesToId<RecordHash>(hash), bytes }))
    } finally {
      database.close()
    }
  } catch (error) {
    throw toStorageError(error)
  }
}
