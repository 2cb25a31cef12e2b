/**
 * Puts a backup into a home. Any state of the past is safe there: each run opens a new feed, what was written since comes back from the
 * other instances, and the database is looked through first.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SelfsameError } from '../core/index.ts'
import { decodeRecord } from '../membership/index.ts'
import { openSqliteStore } from '../storage/index.ts'
import { readBackup } from './backup-file.ts'
import type { BackupHead } from './backup-file.ts'
import { openSwap } from './home-swap.ts'
import { openHome, readHomeFiles, secretFiles, writeDurably } from './home.ts'
import type { HomePaths, Identity } from './home.ts'
import type { Logs } from './logging.ts'

export interface RestoreOptions {
  readonly home: string
  readonly file: string
  /** Move what is in the home aside. */
  readonly force: boolean
  readonly logs: Logs
}

export interface Restored {
  readonly identity: Identity
  readonly backup: Pick<BackupHead, 'made' | 'program' | 'moved'> & { readonly sha256: string }
  /** Name of the directory in the home with what it held before; null where that was nothing. */
  readonly kept: string | null
  /** Whether the keys are those that the home held, which are never older than those of a backup. */
  readonly keysKept: boolean
}

/** Restores a backup into a home. Throws `SelfsameError`; the home is then as it was. */
export async function restoreHome({ home, file, force, logs }: RestoreOptions): Promise<Restored> {
  const backup = readBackup(file)
  const { head } = backup
  const refusal = (reason: string): SelfsameError => new SelfsameError('backup-refused', `${file} is not accepted: ${reason}`)
  const swap = openSwap(home, force)
  try {
    backup.unpack(swap.stage)
    const keysKept = keepKeys(swap.paths, swap.stage, head)
    if (!existsSync(join(swap.stage, identityFile))) {
      throw refusal(
        `it was made without the identity of ${head.instance.name}, so it fits only the home that ${head.instance.name} has (restore --force there). Elsewhere join with a ticket: the other instances send everything`,
      )
    }
    const { paths, identity } = openHome(swap.stage)
    if (identity.agent !== head.agent.id || identity.instance !== head.instance.id)
      throw refusal('its files are not of the instance that it names')
    await settleDatabase(paths, identity, logs, refusal)
    const { made, moved, program } = head
    return { identity, backup: { made, moved, program, sha256: backup.sha256 }, kept: swap.commit(), keysKept }
  } finally {
    swap.close()
  }
}

const [identityFile] = secretFiles

/**
 * Where the home is one of this very instance, its keys stay: they are the newest, and a root key that was brought back is kept. Answers
 * whether they do.
 */
function keepKeys(paths: HomePaths, stage: string, { agent, instance }: BackupHead): boolean {
  const present = presentIdentity(paths)
  if (present?.agent !== agent.id || present.instance !== instance.id) return false
  const files = readHomeFiles(paths)
  for (const name of secretFiles) {
    const text = files.get(name)
    if (text !== undefined) writeDurably(join(stage, name), text)
  }
  return true
}

/** The identity in a home; null where there is none that could be used. */
function presentIdentity({ directory }: HomePaths): Identity | null {
  try {
    return openHome(directory).identity
  } catch (error) {
    if (error instanceof SelfsameError && (error.code === 'home-missing' || error.code === 'invalid-configuration')) return null
    throw error
  }
}

/** Looks through the database, brings it to this version, and ends the tickets in it: they may have been used up since. */
async function settleDatabase(
  { database }: HomePaths,
  { agent }: Identity,
  logs: Logs,
  refusal: (reason: string) => SelfsameError,
): Promise<void> {
  try {
    const store = await openSqliteStore({ path: database, logger: logs.logger('storage'), checkFirst: true })
    try {
      const founds = store.records().some(({ bytes }) => {
        const record = decodeRecord(bytes)
        return record.ok && record.value.kind === 'genesis' && record.value.agent === agent
      })
      if (!founds) throw refusal('its database is of another agent')
      await store.commit({ meta: new Map([['invites', null]]) })
    } finally {
      await store.close()
    }
  } catch (error) {
    if (error instanceof SelfsameError && error.code === 'storage-corrupt') throw refusal('its database is damaged. Take another backup')
    throw error
  }
}
