/**
 * Moving an instance to another machine: its home becomes a file and is given up. The home is given up once the file is complete, and the
 * file gets its name once the home is given up; so a crash leaves the one or the other to go on from, and never both.
 */
import { existsSync, rmSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { SelfsameError } from '../core/index.ts'
import { lockHome } from '../storage/index.ts'
import { nameBackup, withBackup } from './backup.ts'
import type { BackupFacts, BackupOptions } from './backup.ts'
import { openHome, readMove, removeMove, writeMove } from './home.ts'
import type { HomePaths, Identity, Move } from './home.ts'

/**
 * Makes the file that takes the instance of a home elsewhere, and gives the home up. No daemon runs on it. Doing it again with the same file
 * finishes what was cut off; `facts` is then null. Throws `SelfsameError`; where the home was not given up, it is as it was.
 */
export async function moveOut(
  options: Omit<BackupOptions, 'withoutIdentity'>,
): Promise<{ readonly identity: Identity; readonly file: string; readonly facts: BackupFacts | null }> {
  const { paths, identity } = openHome(options.home)
  const lock = lockHome(paths.directory)
  try {
    const file = resolve(options.file)
    const move = settledMove(paths, identity)
    if (move !== null && move.file === file && existsSync(file)) return { identity, file, facts: null }
    if (move !== null) throw hasMoved(move, identity)
    const facts = await withBackup(paths, identity, { ...options, withoutIdentity: false }, true, ({ commit, facts: made, partial }) => {
      writeMove(paths, { instance: identity.instance, at: made.made, file, partial })
      try {
        commit()
      } catch (error) {
        if (existsSync(partial)) removeMove(paths)
        throw error
      }
      return made
    })
    return { identity, file, facts }
  } finally {
    lock.release()
  }
}

/** Has the instance of a home live here again. Throws `not-found` where it has not moved. */
export function undoMove(home: string): { readonly identity: Identity; readonly file: string } {
  const { paths, identity } = openHome(home)
  const lock = lockHome(paths.directory)
  try {
    const move = settledMove(paths, identity)
    if (move === null)
      throw new SelfsameError('not-found', `${identity.name} has not moved from ${paths.directory}: there is nothing to take back`)
    removeMove(paths)
    return { identity, file: move.file }
  } finally {
    lock.release()
  }
}

/** Throws `home-moved` where the instance of a home, which is locked, was given up for another machine. */
export function checkNotMoved(paths: HomePaths, identity: Identity): void {
  const move = settledMove(paths, identity)
  if (move !== null) throw hasMoved(move, identity)
}

/** The move of a locked home, with its file in its place also where a crash came in between; null where it has not moved. */
function settledMove(paths: HomePaths, identity: Identity): Move | null {
  const move = readMove(paths, identity)
  if (move !== null && existsSync(move.partial)) {
    nameBackup(move.partial, move.file)
    rmSync(dirname(move.partial), { recursive: true, force: true })
  }
  return move
}

function hasMoved({ at, file }: Move, { agentName, name }: Identity): SelfsameError {
  return new SelfsameError(
    'home-moved',
    `${name} of ${agentName} has moved away from this home (${at}, in ${file}): start it on the other machine with 'selfsame move in FILE'. If it never started there, 'selfsame move undo' has it live here again`,
  )
}
