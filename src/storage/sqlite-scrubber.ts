/**
 * The scrubber thread: looks through a whole database for what does not match its hash. Each pass opens a connection of its own, so that it sees
 * the file and no cache of others, and holds no transaction for longer than a step, so that the write-ahead log can be cut. It rests after
 * each step in proportion to what that cost.
 */
import type { DatabaseSync, SQLInputValue, SQLOutputValue } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { bytesToId } from '../core/index.ts'
import type { DocumentId, FeedId, RecordHash } from '../core/index.ts'
import { headerHash } from '../feed/index.ts'
import { openForReading } from './sqlite-connection.ts'
import { toStorageError } from './storage-error.ts'
import { damagesMax } from './store.ts'
import type { Damage } from './store.ts'
import { damagedPart, isRecordSound, isStateSound, isTextSound } from './stored-checks.ts'
import type { BodyColumns } from './stored-checks.ts'

/** What the thread is started with. */
export interface ScrubData {
  readonly path: string
  /** Shared. Not 0 while somebody waits for a pass, which then takes no rests. */
  readonly hurry: Int32Array<SharedArrayBuffer>
}

export type ScrubRequest = 'pass'

export type ScrubAnswer =
  | { readonly event: 'ready' }
  | { readonly event: 'done'; readonly damages: readonly Damage[] }
  | { readonly event: 'failed'; readonly code: 'storage-corrupt' | 'storage-failed'; readonly reason: string }

type Bytes = NodeJS.NonSharedUint8Array

/** Envelopes of one step: some milliseconds of work. */
const envelopesPerStep = 256
/** Rows of one step of what can be large. */
const rowsPerStep = 4
/** Envelopes of a pass that are looked at at the faster pace: they are through within a minute. */
const briskEnvelopes = 100_000
/** How many times as long as it worked the thread rests: it then takes 4 percent of one core, and 1 percent. */
const briskRests = 24
const slowRests = 99

class Pass {
  readonly #database: DatabaseSync
  readonly #damages: Damage[] = []
  readonly #hurry: ScrubData['hurry']
  #cpuMicroseconds = cpuMicroseconds()
  #envelopes = 0

  constructor(database: DatabaseSync, hurry: ScrubData['hurry']) {
    this.#database = database
    this.#hurry = hurry
  }

  run(): readonly Damage[] {
    this.#feeds()
    this.#rows<[number, Bytes, Bytes]>(
      'select number, hash, bytes from record where number > ? order by number limit ?',
      ([, hash, bytes]) => {
        const id = bytesToId<RecordHash>(hash)
        if (!isRecordSound(id, bytes)) this.#damages.push({ kind: 'record', hash: id })
      },
    )
    this.#rows<[number, Bytes, number, Bytes]>(
      `select s.document, d.document, s.hash48, s.state from snapshot s join document d on d.number = s.document
        where s.document > ? order by s.document limit ?`,
      ([, document, hash48, state]) => {
        if (!isStateSound(hash48, state)) this.#damages.push({ kind: 'snapshot', document: bytesToId<DocumentId>(document) })
      },
    )
    this.#texts()
    return this.#damages.slice(0, damagesMax)
  }

  #feeds(): void {
    const feeds = this.#prepare('select number, feed, have from feed where instance is not null order by number').all()
    const envelopes = this.#prepare(
      'select id & 0xffffffff, hash48, signature, signature_crc, bodies, header from envelope where id between ? and ? order by id limit ?',
    )
    const bodies = this.#prepare(
      'select id >> 8 & 0xffffffff, id & 255, hash48, salt, bytes from body where id between ? and ? order by id',
    )
    for (const [number, feed, have] of feeds as unknown as readonly [number, Bytes, number][]) {
      const id = bytesToId<FeedId>(feed)
      for (let from = 1; from <= have && !this.#isFull;) {
        const first = number * 2 ** 32
        const to = Math.min(have, from + envelopesPerStep - 1)
        this.#database.exec('begin')
        const rows = envelopes.all(first + from, first + to, envelopesPerStep) as unknown as readonly EnvelopeColumns[]
        // One at a time: each may be megabytes.
        this.#check(id, from, to, rows, bodies.iterate((first + from) * 256, (first + to) * 256 + 255) as unknown as Iterator<PlacedBody>)
        this.#database.exec('commit')
        from = to + 1
        this.#envelopes += rows.length
        this.#rest()
      }
    }
  }

  /** Holds the envelopes of a stretch of a feed against their hashes; a place without one is one that is gone. */
  #check(feed: FeedId, from: number, to: number, rows: readonly EnvelopeColumns[], bodyRows: Iterator<PlacedBody>): void {
    let row = 0
    let next = bodyRows.next()
    for (let sequence = from; sequence <= to; sequence += 1) {
      const bodies: BodyColumns[] = []
      for (; next.done !== true && next.value[0] === sequence; next = bodyRows.next()) {
        const [, index, hash48, salt, bytes] = next.value
        bodies.push([index, hash48, salt, bytes])
      }
      const envelope = rows[row]
      if (envelope?.[0] !== sequence) {
        this.#damages.push({ kind: 'envelope', feed, sequence, part: 'header' })
        continue
      }
      row += 1
      const [, hash48, signature, signatureCrc, bodyCount, header] = envelope
      const part = damagedPart({ hash48, hash: headerHash(header), signature, signatureCrc, bodyCount }, bodies)
      if (part !== undefined) this.#damages.push({ kind: 'envelope', feed, sequence, part })
    }
  }

  #texts(): void {
    const documents = this.#prepare(
      'select distinct v.document, d.document from text_version v join document d on d.number = v.document',
    ).all()
    const versions = this.#prepare('select version, content from text_version where document = ? and version > ? order by version limit ?')
    for (const [number, document] of documents as unknown as readonly [number, Bytes][]) {
      let after: SQLInputValue = new Uint8Array(0)
      for (;;) {
        const rows = versions.all(number, after, rowsPerStep) as unknown as readonly [Bytes, string][]
        for (const [version, content] of rows) {
          const id = bytesToId<string>(version)
          if (!isTextSound(id, content))
            this.#damages.push({ kind: 'text-version', document: bytesToId<DocumentId>(document), version: id })
          after = version
        }
        this.#rest()
        if (rows.length < rowsPerStep || this.#isFull) break
      }
    }
  }

  /** Visits the rows of a table whose query begins behind a number and gives that number first. */
  #rows<Row extends readonly [number, ...SQLOutputValue[]]>(sql: string, visit: (row: Row) => void): void {
    const query = this.#prepare(sql)
    for (let after = 0, rows: readonly Row[] = []; !this.#isFull; after = (rows.at(-1) as Row)[0]) {
      rows = query.all(after, rowsPerStep) as unknown as readonly Row[]
      if (rows.length === 0) break
      for (const row of rows) visit(row)
      this.#rest()
    }
  }

  get #isFull(): boolean {
    return this.#damages.length >= damagesMax
  }

  #prepare(sql: string) {
    return this.#database.prepare(sql, { returnArrays: true })
  }

  /** Gives the machine to others, once a step is worth the wait. */
  #rest(): void {
    const worked = (cpuMicroseconds() - this.#cpuMicroseconds) / 1_000
    if (worked < workMillisecondsMin) return
    Atomics.wait(this.#hurry, 0, 0, worked * (this.#envelopes <= briskEnvelopes ? briskRests : slowRests))
    this.#cpuMicroseconds = cpuMicroseconds()
  }
}

/** Work that is done before a rest, milliseconds: less wakes the thread more often. */
const workMillisecondsMin = 10

/** Sequence, hash48, signature, its CRC, number of bodies, header. */
type EnvelopeColumns = readonly [number, number, Bytes | null, number | null, number | null, Bytes]

/** Of a body: the sequence of its envelope, and its columns. */
type PlacedBody = readonly [number, ...BodyColumns]

/** What this thread has had of a core so far: it shares the machine, so time that passed says less. */
function cpuMicroseconds(): number {
  const { system, user } = process.threadCpuUsage()
  return user + system
}

function lookThrough({ hurry, path }: ScrubData): ScrubAnswer {
  try {
    const database = openForReading(path)
    try {
      return { event: 'done', damages: new Pass(database, hurry).run() }
    } finally {
      database.close()
    }
  } catch (error) {
    const { code, message } = toStorageError(error)
    return { event: 'failed', code: code === 'storage-corrupt' ? code : 'storage-failed', reason: message }
  }
}

/** Answers each request with a pass. */
function serve(port: NonNullable<typeof parentPort>, data: ScrubData): void {
  const answer = (message: ScrubAnswer): void => port.postMessage(message)
  port.on('message', () => answer(lookThrough(data)))
  answer({ event: 'ready' })
}

if (parentPort !== null) serve(parentPort, workerData as ScrubData)
