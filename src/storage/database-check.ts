/** Looks through a whole database for damage, before it is used or beside a daemon that uses it. */
import type { DatabaseSync } from 'node:sqlite'
import { bytesToId, SelfsameError, stampToMilliseconds } from '../core/index.ts'
import type { Stamp } from '../core/index.ts'
import { applicationId, migrations } from './migrations.ts'
import { openForReading } from './sqlite-connection.ts'
import { damageAdvice, toStorageError } from './storage-error.ts'

/** Reads every page. Throws `storage-corrupt` where something does not fit, and what SQLite throws. */
export function checkDatabase(database: DatabaseSync): void {
  const [row] = database.prepare('pragma quick_check(1)').all()
  const fault = row?.quick_check
  if (fault !== 'ok') throw new SelfsameError('storage-corrupt', `the database is damaged (${String(fault)}): ${damageAdvice}`)
}

/** What somebody sees who looks through a database. */
export interface DatabaseFindings {
  readonly bytes: number
  /** Whether the file says that it is one of this project. */
  readonly isOurs: boolean
  readonly schemaVersion: number
  /** The newest that this program knows. */
  readonly schemaVersionKnown: number
  /** The newest time that an envelope in it claims, milliseconds since the Unix epoch; null where there is none. */
  readonly newestAt: number | null
}

/**
 * Reads every page of the database at `path`, which somebody else may have open, and changes nothing. Throws `SelfsameError`:
 * `storage-corrupt` where it is damaged, `storage-failed` where it cannot be read.
 */
export function examineDatabase(path: string): DatabaseFindings {
  try {
    const database = openForReading(path)
    try {
      const numberOf = (query: string): number => Number(Object.values(database.prepare(query).get() ?? {})[0])
      checkDatabase(database)
      const schemaVersion = numberOf('pragma user_version')
      const isOurs = numberOf('pragma application_id') === applicationId
      return {
        bytes: numberOf('pragma page_count') * numberOf('pragma page_size'),
        isOurs,
        schemaVersion,
        schemaVersionKnown: migrations.length,
        newestAt: isOurs && schemaVersion <= migrations.length ? newestAt(database) : null,
      }
    } finally {
      database.close()
    }
  } catch (error) {
    throw toStorageError(error)
  }
}

function newestAt(database: DatabaseSync): number | null {
  const newest = database.prepare('select max(head_stamp) as stamp from feed').get()?.stamp
  return newest instanceof Uint8Array ? stampToMilliseconds(bytesToId<Stamp>(newest)) : null
}
