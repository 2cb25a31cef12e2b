/**
 * Appending a stream of entries to a log: lines become batches, a few batches are being written at a time, and the stream is read
 * no faster than that. A batch goes out when it is full, or when nothing else is being written: so a fast stream makes large
 * batches, a slow one is written as it comes, and neither waits for a timer.
 */
import type { Readable } from 'node:stream'
import { SelfsameError } from '../core/index.ts'
import { parseJson, utf8ToText } from './json-text.ts'
import { linesOf } from './lines.ts'
import type { AgentPort } from './port.ts'
import { LineError } from './problem.ts'
import type { EntryInput, ImportProgress } from './schemas.ts'

/** A batch is one envelope and one commit. Larger ones gain little and make others wait longer; the byte bound keeps it one gossip message. */
const batchEntriesMax = 500
const batchBytesMax = 128 << 10
/** Batches being written at a time: enough that the disk never waits for parsing. */
const batchesInFlightMax = 4
/** Bytes of one line: what one append may hold. */
const lineBytesMax = 1 << 20

export interface BulkAppend {
  readonly port: Pick<AgentPort, 'write'>
  readonly name: string
  /** The bytes of the request. Destroyed where a write fails; left unread after a line that is refused. */
  readonly source: Readable
  /** An entry without an operation id of its own gets this one and its line's number. */
  readonly operationId: string | undefined
  readonly replicas: number
  readonly timeoutMs: number
  /** Checks the shape of an entry; throws `invalid-request`. */
  readonly check: (value: unknown) => EntryInput
  /** Takes note of progress, after each batch and in order. Nothing more is written until it resolves. */
  readonly report: (progress: ImportProgress) => Promise<void>
}

interface Batch {
  readonly firstLine: number
  lastLine: number
  bytes: number
  readonly entries: EntryInput[]
}

/**
 * Writes the whole stream; the last report is `done`. Throws a `LineError` at the first line that is refused: every line before it
 * was written by then, and none after it. Where the writing itself failed it names the first line of the batch that failed;
 * batches that were under way after it may stand, so a retry needs operation ids.
 */
export async function appendInBulk(bulk: BulkAppend): Promise<void> {
  const inFlight: Promise<void>[] = []
  const totals = { lines: 0, written: 0, alreadyThere: 0 }
  let reported: Promise<void> = Promise.resolve()
  let broken = false
  /** The reader waits for the client. */
  let idle = true
  let line = 0
  let batch = emptyBatch(1)

  const start = (batch: Batch): void => {
    const receipt = bulk.port.write({
      operations: [{ type: 'log.append', name: bulk.name, entries: batch.entries }],
      replicas: bulk.replicas,
      timeoutMs: bulk.timeoutMs,
    })
    const before = reported
    reported = (async () => {
      const [outcome] = await Promise.allSettled([receipt, before])
      await before
      if (outcome.status === 'rejected') throw atLine(batch.firstLine, outcome.reason)
      totals.lines = batch.lastLine
      totals.written += outcome.value.appended ?? batch.entries.length
      totals.alreadyThere += outcome.value.alreadyThere ?? 0
      await bulk.report({ ...totals, done: false })
    })()
    inFlight.push(reported)
    void reported.then(
      () => {
        void inFlight.shift()
        if (idle && inFlight.length === 0) flush()
      },
      () => {
        broken = true
        bulk.source.destroy()
      },
    )
  }
  const flush = (): void => {
    if (broken || batch.entries.length === 0) return
    start(batch)
    batch = emptyBatch(line + 1)
  }
  const take = async (bytes: Buffer): Promise<void> => {
    line += 1
    const entry = readEntry(bulk, bytes, line)
    if (entry === undefined) return
    batch.entries.push(entry)
    batch.bytes += bytes.length
    batch.lastLine = line
    if (batch.entries.length < batchEntriesMax && batch.bytes < batchBytesMax) return
    if (inFlight.length >= batchesInFlightMax) await inFlight[0]
    flush()
  }

  let failure: LineError | undefined
  try {
    for await (const lines of linesOf(bulk.source, lineBytesMax)) {
      idle = false
      for (const bytes of lines) await take(bytes)
      idle = true
      if (inFlight.length === 0) flush()
    }
  } catch (error) {
    failure = error instanceof LineError ? error : atLine(line + 1, error)
  }
  flush()
  await reported
  if (failure !== undefined) throw failure
  await bulk.report({ ...totals, lines: line, done: true })
}

function emptyBatch(firstLine: number): Batch {
  return { firstLine, lastLine: firstLine, bytes: 0, entries: [] }
}

/** The entry of a line; undefined for a blank one. */
function readEntry(bulk: BulkAppend, bytes: Buffer, line: number): EntryInput | undefined {
  try {
    const text = utf8ToText(bytes)
    if (text.trim() === '') return undefined
    const entry = bulk.check(parseJson(text))
    return bulk.operationId === undefined || entry.operationId !== undefined
      ? entry
      : { ...entry, operationId: `${bulk.operationId}:${line}` }
  } catch (error) {
    throw atLine(line, error)
  }
}

function atLine(line: number, error: unknown): LineError {
  if (error instanceof LineError) return error
  return new LineError(
    line,
    error instanceof SelfsameError ? error : new SelfsameError('internal', 'the entry could not be written', { cause: error }),
  )
}
