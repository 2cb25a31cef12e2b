/** Looks through a whole database for damage. */
import type { DatabaseSync } from 'node:sqlite'
import { SelfsameError } from '../core/index.ts'
import { damageAdvice } from './storage-error.ts'

/** Reads every page. Throws `storage-corrupt` where something does not fit, and what SQLite throws. */
export function checkDatabase(database: DatabaseSync): void {
  const [row] = database.prepare('pragma quick_check(1)').all()
  const fault = row?.quick_check
  if (fault !== 'ok') throw new SelfsameError('storage-corrupt', `the database is damaged (${String(fault)}): ${damageAdvice}`)
}
