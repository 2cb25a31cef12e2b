/**
 * Backups: one file with all that makes a home this one. The program of the one who asks makes it, beside a daemon that goes on or with none:
 * so the file is theirs wherever they want it, nobody who may only talk to the daemon can have it write files, and copying costs the daemon nothing.
 */
import { existsSync, mkdtempSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve, sep } from 'node:path'
import { SelfsameError, systemClock } from '../core/index.ts'
import { damageAdvice, pinDatabase } from '../storage/index.ts'
import type { PinnedDatabase } from '../storage/index.ts'
import { writeBackup } from './backup-file.ts'
import type { BackupHead } from './backup-file.ts'
import { databaseFile, openHome, readHomeFiles, secretFiles, syncDirectory } from './home.ts'
import type { HomeFile, HomePaths, Identity } from './home.ts'
import { isoOf } from './iso-time.ts'

export interface BackupOptions {
  readonly home: string
  /** Where to. */
  readonly file: string
  /** Take the place of a file that is there. */
  readonly force: boolean
  /** Leave out every secret key. */
  readonly withoutIdentity: boolean
  /** Name and version of this program. */
  readonly program: string
}

export interface BackupFacts {
  readonly file: string
  readonly bytes: number
  readonly sha256: string
  readonly made: string
  /** Whether it holds the key of the instance. */
  readonly holdsIdentity: boolean
  /** Whether it holds the root key of the agent. */
  readonly holdsRootKey: boolean
}

/** A backup that is complete and does not have its name yet. */
export interface ReadyBackup {
  readonly facts: BackupFacts
  /** Where it is complete, in a directory of its own beside its place. */
  readonly partial: string
  /** Gives it its name. Durable when it returns. */
  readonly commit: () => void
}

/** Makes a backup of a home. Throws `SelfsameError`, and then leaves nothing behind. */
export async function backupHome(options: BackupOptions): Promise<{ readonly identity: Identity; readonly facts: BackupFacts }> {
  const { paths, identity } = openHome(options.home)
  const facts = await withBackup(paths, identity, options, false, ({ commit, facts: made }) => {
    commit()
    return made
  })
  return { identity, facts }
}

/** Makes a backup, and has `use` decide what becomes of it: what is not committed is removed. `moved`: the home is given up for it. */
export async function withBackup<T>(
  paths: HomePaths,
  identity: Identity,
  options: BackupOptions,
  moved: boolean,
  use: (backup: ReadyBackup) => T,
): Promise<T> {
  const file = resolve(options.file)
  checkPlace(paths, file, options.force)
  if (!existsSync(paths.database)) throw new SelfsameError('storage-corrupt', `${paths.database} is missing: ${damageAdvice}`)
  const { files, database } = pinHome(paths)
  try {
    const work = makeBeside(file)
    try {
      const copy = join(work, databaseFile)
      await database.copyTo(copy)
      const kept = Array.from(files).filter(([name]) => !(options.withoutIdentity && isSecret(name)))
      const about: Omit<BackupHead, 'files'> = {
        agent: { id: identity.agent, name: identity.agentName },
        instance: { id: identity.instance, name: identity.name },
        made: isoOf(systemClock.now()),
        program: options.program,
        moved,
      }
      const partial = join(work, 'backup')
      const written = writeBackup(partial, about, [
        ...kept.map(([name, text]) => ({ name, content: Buffer.from(text) })),
        { name: databaseFile, content: { path: copy } },
      ])
      syncDirectory(work)
      const names = new Set(kept.map(([name]) => name))
      const facts = {
        file,
        ...written,
        made: about.made,
        holdsIdentity: names.has('identity.json'),
        holdsRootKey: names.has('root-key.json'),
      }
      return use({
        facts,
        partial,
        commit() {
          checkPlace(paths, file, options.force)
          nameBackup(partial, file)
        },
      })
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
  } finally {
    database.close()
  }
}

/** Gives a complete backup its name. */
export function nameBackup(partial: string, file: string): void {
  try {
    renameSync(partial, file)
    syncDirectory(dirname(file))
  } catch (error) {
    throw new SelfsameError('storage-failed', `${file} cannot be made: ${(error as Error).message}`, { cause: error })
  }
}

/** What a home holds at one moment: a change of key writes both a file and the database, so both are looked at until neither moved. */
function pinHome(paths: HomePaths): { readonly files: ReadonlyMap<HomeFile, string>; readonly database: PinnedDatabase } {
  for (;;) {
    const files = readHomeFiles(paths)
    const database = pinDatabase(paths.database)
    const after = readHomeFiles(paths)
    if (after.size === files.size && Array.from(after).every(([name, text]) => files.get(name) === text)) return { files, database }
    database.close()
  }
}

function isSecret(name: HomeFile): boolean {
  return (secretFiles as readonly HomeFile[]).includes(name)
}

/** A private directory beside `file`, so that what is made there can take its name at once. */
function makeBeside(file: string): string {
  try {
    return mkdtempSync(`${file}.partial-`)
  } catch (error) {
    throw new SelfsameError('invalid-request', `${file} cannot be made: ${(error as Error).message}`, { cause: error })
  }
}

function checkPlace(paths: HomePaths, file: string, force: boolean): void {
  const refusal = (message: string): SelfsameError => new SelfsameError('invalid-request', message)
  const entry = statSync(file, { throwIfNoEntry: false })
  if (entry?.isDirectory() === true) throw refusal(`${file} is a directory: name the file that is to be made in it`)
  if (entry !== undefined && !force) throw refusal(`${file} is there already: choose another name, or say --force to replace it`)
  if (!existsSync(dirname(file))) throw refusal(`${file} cannot be made: there is no directory ${dirname(file)}`)
  if (`${realpathSync(dirname(file))}${sep}`.startsWith(`${realpathSync(paths.directory)}${sep}`)) {
    throw refusal(`${file} lies in the home that it is a backup of: choose another place`)
  }
}
