/**
 * The writer thread: the only connection that writes. It runs one program per commit, and copies the write-ahead log
 * into the database when it is told to.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { openForWriting, sqliteCode, sqliteCodeOf } from './sqlite-connection.ts'
import { statements } from './sqlite-statements.ts'
import { nameKinds, runProgram } from './writer-program.ts'
import type { Machine, NameKind } from './writer-program.ts'

/** What the thread is started with. */
export interface WriterData {
  readonly path: string
  /** Pages that the database may have; null for no bound but the disk. */
  readonly pagesMax: number | null
}

/** A program to commit; or to copy the write-ahead log into the database; or to close it and end. */
export type WriterRequest = Uint8Array<ArrayBuffer> | 'checkpoint' | 'close'

export type WriterAnswer =
  | { readonly event: 'ready' }
  /** `logIsLong`: a checkpoint is due. */
  | { readonly event: 'committed'; readonly logIsLong: boolean }
  | { readonly event: 'failed'; readonly outcome: 'rolled-back' | 'unknown'; readonly reason: string }
  /** After `checkpoint` and `close`. `failure`: why it could not be done; the log stays and grows, nothing is lost. */
  | { readonly event: 'done'; readonly failure: string | null }

/** Pages in the write-ahead log from which on it is copied into the database: 16 MiB. More pages are rewritten less
 * often, and cost disk and time at the next start. */
const logPagesMax = 4_096

function createWriter(database: DatabaseSync): {
  commit(program: Uint8Array): WriterAnswer
  checkpoint(): string | null
  close(): string | null
} {
  const prepared = statements.map((statement) => ({ ...statement, prepared: database.prepare(statement.sql) }))
  const names = Object.fromEntries(
    nameKinds.map((kind) => [
      kind,
      {
        find: database.prepare(`select number from ${kind} where ${kind} = ?`),
        add: database.prepare(`insert into ${kind} (${kind}) values (?) returning number`),
      },
    ]),
  ) as Readonly<Record<NameKind, { readonly find: StatementSync; readonly add: StatementSync }>>
  const begin = database.prepare('begin immediate')
  const commit = database.prepare('commit')
  const logSize = database.prepare('pragma wal_checkpoint(noop)')

  const machine: Machine = {
    numberOf(kind: NameKind, id: Uint8Array) {
      return Number((names[kind].find.get(id) ?? names[kind].add.get(id))?.number)
    },
    run(index: number, parameters: readonly SQLInputValue[]) {
      const statement = prepared[index] as (typeof prepared)[number]
      const { changes } = statement.prepared.run(...parameters)
      if (statement.mustChange && changes === 0) throw new Error(`a broken invariant: ${statement.name} found no row to change`)
    },
  }

  return {
    commit(program) {
      try {
        begin.run()
        runProgram(program, machine)
        commit.run()
      } catch (error) {
        return { event: 'failed', outcome: rollBackAfter(error, database), reason: reasonOf(error) }
      }
      return { event: 'committed', logIsLong: Number(logSize.get()?.log) >= logPagesMax }
    },
    checkpoint: () => attempt(() => database.exec('pragma wal_checkpoint(passive)')),
    close: () =>
      attempt(() => {
        database.exec('pragma wal_checkpoint(truncate)')
        database.close()
      }),
  }
}

/** No space left is the one failure after which SQLite is known to have written nothing that counts. */
function rollBackAfter(error: unknown, database: DatabaseSync): 'rolled-back' | 'unknown' {
  try {
    if (database.isTransaction) database.exec('rollback')
    return sqliteCodeOf(error) === sqliteCode.full ? 'rolled-back' : 'unknown'
  } catch {
    return 'unknown'
  }
}

function attempt(action: () => void): string | null {
  try {
    action()
    return null
  } catch (error) {
    return reasonOf(error)
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Answers requests until told to close. */
function serve(port: NonNullable<typeof parentPort>, { path, pagesMax }: WriterData): void {
  const answer = (message: WriterAnswer): void => port.postMessage(message)
  const database = openForWriting(path)
  if (pagesMax !== null) database.exec(`pragma max_page_count = ${pagesMax}`)
  const writer = createWriter(database)
  port.on('message', (request: WriterRequest) => {
    if (request === 'checkpoint') answer({ event: 'done', failure: writer.checkpoint() })
    else if (request === 'close') {
      answer({ event: 'done', failure: writer.close() })
      port.close()
    } else answer(writer.commit(request))
  })
  answer({ event: 'ready' })
}

if (parentPort !== null) serve(parentPort, workerData as WriterData)
