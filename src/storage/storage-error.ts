/** What SQLite reports, as errors of this project. */
import { SelfsameError } from '../core/index.ts'
import { sqliteCode, sqliteCodeOf } from './sqlite-connection.ts'

/** What to do about a damaged database, for the end of a message. */
export const damageAdvice =
  'restore the home from a backup, or join again with a new ticket (selfsame join) and let the other instances send everything'

/** An error of SQLite as one of this project. */
export function toStorageError(error: unknown): SelfsameError {
  if (error instanceof SelfsameError) return error
  const code = sqliteCodeOf(error)
  const detail = error instanceof Error ? error.message : String(error)
  return code === sqliteCode.corrupt || code === sqliteCode.notADatabase
    ? new SelfsameError('storage-corrupt', `the database is damaged (${detail}): ${damageAdvice}`, { cause: error })
    : new SelfsameError('storage-failed', `the database could not be used (${detail}): check the disk and start the daemon again`, {
        cause: error,
      })
}
