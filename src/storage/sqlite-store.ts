/**
 * The store on disk: one SQLite file in WAL mode. Commits go as bytes to a writer thread, because an fsync takes
 * milliseconds on a real disk; reads run here on a connection of their own.
 *
 * A commit is visible to other connections a moment before its promise resolves. So the reading connection is pinned
 * to what it sees while a commit is under way. It must not be pinned while the write-ahead log is copied into the
 * database, or the log could not start again at its beginning: that happens between two commits, when the log is long.
 */
import type { DatabaseSync } from 'node:sqlite'
import { assert, SelfsameError } from '../core/index.ts'
import type { DocumentId, FeedId, Logger } from '../core/index.ts'
import { batchToProgram } from './batch-program.ts'
import { checkDatabase } from './database-check.ts'
import { migrate } from './migrations.ts'
import { openForReading, openForWriting } from './sqlite-connection.ts'
import { RecentEnvelopes } from './recent-envelopes.ts'
import { SqliteReads } from './sqlite-reads.ts'
import { toStorageError } from './storage-error.ts'
import { CommitFailure } from './store.ts'
import type { Damage, QuarantineRow, Store, StoredEnvelope, WriteBatch } from './store.ts'
import type { ScrubAnswer, ScrubData, ScrubRequest } from './sqlite-scrubber.ts'
import type { WriterAnswer, WriterData, WriterRequest } from './sqlite-writer.ts'
import { ThreadLink } from './thread-link.ts'

/** Of the scrubber's heap, MiB: what it reads is of no use a moment later, and by default tens of MiB of it would gather. */
const scrubberYoungMib = 2

type WriterLink = ThreadLink<WriterRequest, WriterAnswer>
type ScrubLink = ThreadLink<ScrubRequest, ScrubAnswer>

export interface SqliteStoreOptions {
  /** The database file. Made where there is none; its directory exists. */
  readonly path: string
  readonly logger: Logger
  /** Look through the whole file before using it. */
  readonly checkFirst: boolean
  /** Pages of 4 KiB beyond which the database does not grow: commits then fail as on a full disk. By default only the disk is the bound. */
  readonly pagesMax?: number
}

/**
 * Opens the store; nobody else may have it open (`lockHome`). Everything that was ever visible in it is on disk before
 * this resolves, also where an earlier commit ended as `unknown`.
 * Throws `SelfsameError`: `storage-version` for a newer schema, `storage-corrupt`, `storage-failed`.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { path, logger, pagesMax = null } = options
  try {
    prepareFile(options)
    const writer: WriterLink = await ThreadLink.start('sqlite-writer', { path, pagesMax } satisfies WriterData)
    try {
      return new SqliteStore(path, openForReading(path), writer, logger)
    } catch (error) {
      await writer.terminate()
      throw error
    }
  } catch (error) {
    throw toStorageError(error)
  }
}

function prepareFile({ path, logger, checkFirst }: SqliteStoreOptions): void {
  const database = openForWriting(path)
  try {
    if (checkFirst) checkDatabase(database)
    const steps = migrate(database)
    if (steps > 0) logger.info({ steps }, 'the database has the newest schema now')
    const checkpoint = database.prepare('pragma wal_checkpoint(truncate)').get()
    if (checkpoint?.busy !== 0) {
      throw new SelfsameError('storage-failed', 'another process has the database open: close it and start the daemon again')
    }
  } finally {
    database.close()
  }
}

class SqliteStore extends SqliteReads implements Store {
  readonly #path: string
  readonly #reader: DatabaseSync
  readonly #writer: WriterLink
  readonly #logger: Logger
  #state: 'open' | 'committing' | 'failed' | 'closed' = 'open'
  #checkpoint: Promise<void> | undefined
  #closing: Promise<void> | undefined
  /** Started with the first look through the store. */
  #scrubber: Promise<ScrubLink> | undefined
  #scrub: Promise<readonly Damage[]> | undefined
  readonly #recent = new RecentEnvelopes()
  readonly #hurry = new Int32Array(new SharedArrayBuffer(4))
  /** Whether anything is quarantined, or about to be: hardly ever, and it is asked of each update. */
  #hasQuarantine: boolean

  constructor(path: string, reader: DatabaseSync, writer: WriterLink, logger: Logger) {
    super(reader, logger)
    this.#path = path
    this.#reader = reader
    this.#writer = writer
    this.#logger = logger
    this.#hasQuarantine = this.quarantine().length > 0
  }

  async commit(batch: WriteBatch): Promise<void> {
    if (this.#state === 'failed' || this.#state === 'closed') {
      throw new CommitFailure('unknown', 'the store is not open any more: open it again before anything else')
    }
    assert(this.#state === 'open', 'a store takes one commit at a time')
    this.#state = 'committing'
    this.#hasQuarantine ||= (batch.quarantine ?? []).length > 0
    try {
      await this.#write(batchToProgram(batch))
      this.#recent.committed(batch)
      this.#state = 'open'
    } catch (error) {
      if (error instanceof CommitFailure && error.outcome === 'rolled-back') {
        this.#state = 'open'
        throw error
      }
      await this.#writer.terminate()
      // Not before: until the rejection is heard others read, as during any commit.
      this.#state = 'failed'
      this.#reader.close()
      if (error instanceof CommitFailure) throw error
      throw new CommitFailure('unknown', 'the commit may or may not be on disk: open the store again', { cause: error })
    }
  }

  override appliedAfter(position: number, limit: number): readonly StoredEnvelope[] {
    return (this.#isOpen ? this.#recent.after(position, limit) : undefined) ?? super.appliedAfter(position, limit)
  }

  override quarantined(document: DocumentId, feed: FeedId): QuarantineRow | undefined {
    return this.#isOpen && !this.#hasQuarantine ? undefined : super.quarantined(document, feed)
  }

  get #isOpen(): boolean {
    return this.#state === 'open' || this.#state === 'committing'
  }

  async #write(program: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#checkpoint
    this.queries.begin.first()
    this.queries.pin.first()
    const answer = await this.#writer.request(program)
    this.queries.unpin.first()
    if (answer.event === 'committed' && answer.logIsLong) this.#checkpoint = this.#ask('checkpoint')
    if (answer.event === 'failed') throw new CommitFailure(answer.outcome, `the commit failed: ${answer.reason}`)
  }

  /** Nothing is lost when this fails: the log stays, and a dead thread is noticed by the next commit. */
  async #ask(request: 'checkpoint' | 'close'): Promise<void> {
    const answer = await this.#writer.request(request).catch(toStorageError)
    const failure = answer instanceof Error ? answer.message : answer.event === 'done' ? answer.failure : null
    if (failure !== null) this.#logger.warn({ failure }, 'the write-ahead log could not be copied into the database: it grows until it can')
  }

  scrub(isAwaited = false): Promise<readonly Damage[]> {
    if (isAwaited) {
      Atomics.store(this.#hurry, 0, 1)
      Atomics.notify(this.#hurry, 0)
    }
    this.#scrub ??= this.#lookThrough().finally(() => {
      this.#scrub = undefined
      Atomics.store(this.#hurry, 0, 0)
    })
    return this.#scrub
  }

  async #lookThrough(): Promise<readonly Damage[]> {
    if (this.#state === 'failed' || this.#state === 'closed') throw new SelfsameError('storage-failed', 'the store is not open any more')
    const data: ScrubData = { path: this.#path, hurry: this.#hurry }
    this.#scrubber ??= ThreadLink.start('sqlite-scrubber', data, { maxYoungGenerationSizeMb: scrubberYoungMib })
    const answer = await this.#scrubber
      .then((link) => link.request('pass'))
      .catch((error: unknown) => {
        // The next look has a thread of its own.
        this.#scrubber = undefined
        return toStorageError(error)
      })
    if (answer instanceof SelfsameError) throw answer
    if (answer.event === 'failed') throw new SelfsameError(answer.code, answer.reason)
    return answer.event === 'done' ? answer.damages : []
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    assert(this.#state !== 'committing', 'a store is closed after its last commit settled')
    const failed = this.#state === 'failed'
    this.#state = 'closed'
    await this.#scrubber?.then((link) => link.terminate()).catch(() => {})
    if (failed) return
    this.#reader.close()
    await this.#checkpoint
    await this.#ask('close')
    await this.#writer.ended
  }
}
