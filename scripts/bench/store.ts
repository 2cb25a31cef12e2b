/**
 * The store on disk by itself, filled with envelopes of one log entry each. The floor is the same bytes committed by plain node:sqlite in one thread,
 * into one table without an index, so the ratio is what the schema, the thread and the checks cost. Both take turns, so that a busy machine slows both.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { silentLogger } from '../../src/core/index.ts'
import type { DocumentId, EnvelopeHash, FeedId, InstanceId, PublicKey, Stamp } from '../../src/core/index.ts'
import { headerHash } from '../../src/feed/index.ts'
import type { OperationId } from '../../src/feed/index.ts'
import { openSqliteStore } from '../../src/storage/index.ts'
import type { Store, WriteBatch } from '../../src/storage/index.ts'
import { count, inMebibytes, inMilliseconds, perSecond, quantilesOf, secondsOf } from './measure.ts'
import type { Quantiles, Row, Scale } from './measure.ts'

const envelopesInBatch = 500

const hex = (value: number, bytes: number): string => value.toString(16).padStart(bytes * 2, '0')
/** Spreads numbers like hashes, so that indexes are hit at random places. */
const scattered = (value: number, bytes: number): string =>
  (hex((value * 2_654_435_761) % 2 ** 32, 4) + hex((value * 40_503) % 2 ** 32, 4)).repeat(bytes / 8)

const feed = scattered(7, 16) as FeedId
const document = scattered(9, 32) as DocumentId
const instance = scattered(11, 16) as InstanceId
const key = scattered(13, 32) as PublicKey

const entryTime = (sequence: number): number => 1_700_000_000_000 + sequence

function headerAt(sequence: number): Uint8Array {
  const headerBytes = new Uint8Array(270).fill(7)
  new DataView(headerBytes.buffer).setUint32(0, sequence)
  return headerBytes
}

/** `count` envelopes of one log entry each, as the engine writes them. */
function batchAt(sequence: number, count: number): WriteBatch {
  const envelopes = Array.from({ length: count }, (_, index) => {
    const headerBytes = headerAt(sequence + index)
    const bodies = [{ salt: new Uint8Array(16).fill(3), bytes: new Uint8Array(180).fill(5) }]
    return { feed, sequence: sequence + index, hash: headerHash(headerBytes), headerBytes, signature: new Uint8Array(64).fill(9), bodies }
  })
  const last = envelopes.at(-1) as (typeof envelopes)[number]
  const entryOf = (at: number): string => hex(entryTime(at), 8) + feed + hex(at, 4) + '0000'
  return {
    feeds: [
      {
        feed,
        instance,
        key,
        parent: null,
        have: last.sequence,
        head: last.hash,
        headStamp: hex(last.sequence, 8) as Stamp,
        applied: last.sequence,
      },
    ],
    envelopes,
    positions: envelopes.map(({ sequence: at }) => ({ feed, sequence: at, position: at, changed: null, history: 0 })),
    touches: envelopes.map(({ sequence: at, hash }) => ({ document, feed, sequence: at, hash, position: at })),
    documents: [{ document, kind: 'log', name: 'memory' }],
    segments: [{ document, feed, segment: { day: 20_000, number: 0 }, entries: last.sequence, sequence: last.sequence }],
    entries: envelopes.map(({ sequence: at }) => ({ document, time: entryTime(at), id: entryOf(at) })),
    operations: envelopes.map(({ sequence: at }) => ({
      lineage: instance,
      id: scattered(at, 16) as OperationId,
      fingerprint: scattered(at, 8),
      feed,
      sequence: at,
      entry: entryOf(at),
    })),
  }
}

function rowsOf(batch: WriteBatch): number {
  return Object.values(batch).reduce(
    (sum: number, rows: unknown) => sum + (Array.isArray(rows) ? rows.length : 0),
    batch.envelopes?.length ?? 0,
  )
}

interface Timing extends Quantiles {
  readonly perSecond: number
}

/** Times `rounds` rounds of each action, in turns, on what `prepare` made for the round. The figures are of each action's own time. */
async function timed<Input>(
  rounds: number,
  itemsPerRound: number,
  prepare: (round: number) => Input,
  ...actions: readonly ((input: Input) => Promise<void> | void)[]
): Promise<readonly Timing[]> {
  const times = actions.map((): number[] => [])
  for (let round = 0; round < rounds; round += 1) {
    const input = prepare(round)
    for (const [index, action] of actions.entries()) {
      const start = performance.now()
      await action(input)
      times[index]?.push(performance.now() - start)
    }
  }
  return times.map((own) => {
    const seconds = own.reduce((sum, time) => sum + time, 0) / 1_000
    return { perSecond: (rounds * itemsPerRound) / seconds, ...quantilesOf(own) }
  })
}

function row(what: string, unit: string, [timing, floor]: readonly Timing[]): Row {
  if (timing === undefined) throw new Error('nothing was timed')
  const measured = `${count(timing.perSecond)} ${unit}/s, p50 ${inMilliseconds(timing.p50)}, p99 ${inMilliseconds(timing.p99)}`
  return floor === undefined ? { what, measured } : { what, measured, floor: inMilliseconds(floor.p50), ratio: timing.p50 / floor.p50 }
}

/** One table, no index: as many rows of the bytes of an envelope and its entry. */
function openFloor(path: string): (rows: number) => void {
  const database = new DatabaseSync(path)
  database.exec('pragma journal_mode = wal; pragma synchronous = full; create table row (id integer primary key, bytes blob)')
  const insert = database.prepare('insert into row (bytes) values (?)')
  const bytes = new Uint8Array(700).fill(1)
  return (rows) => {
    database.exec('begin')
    for (let index = 0; index < rows; index += 1) insert.run(bytes)
    database.exec('commit')
  }
}

async function* rowsIn(directory: string, scale: Scale): AsyncGenerator<Row> {
  const singles = scale(3_000, 20)
  const toFill = scale(100_000, 1_000)
  const path = join(directory, 'store.sqlite')
  const floor = openFloor(join(directory, 'floor.sqlite'))
  const open = (checkFirst: boolean): Promise<Store> => openSqliteStore({ path, logger: silentLogger, checkFirst })
  let store = await open(false)
  let sequence = 1
  const next = (total: number) => (): WriteBatch => {
    const batch = batchAt(sequence, total)
    sequence += total
    return batch
  }
  const commit = (batch: WriteBatch): Promise<void> => store.commit(batch)
  await timed(scale(200, 10), 1, next(1), commit)
  yield row('store: one envelope, one commit', 'commits', await timed(singles, 1, next(1), commit, () => floor(1)))

  const filling = await timed(toFill / envelopesInBatch, envelopesInBatch, next(envelopesInBatch), commit, () => floor(envelopesInBatch))
  yield row(`store: ${envelopesInBatch} envelopes, one commit`, 'envelopes', filling)
  const rows = rowsOf(batchAt(sequence, envelopesInBatch)) / envelopesInBatch
  yield { what: `store: rows, ${rows.toFixed(1)} an envelope`, measured: perSecond((filling[0]?.perSecond ?? 0) * rows) }
  await store.close()
  yield {
    what: 'store: disk for each envelope, 530 bytes of which are its own',
    measured: `${count(statSync(path).size / sequence)} bytes`,
  }

  const size = inMebibytes(statSync(path).size)
  yield {
    what: `store: opened, ${size}, its database checked first`,
    measured: inMilliseconds((await secondsOf(async () => (await open(true)).close())) * 1_000),
  }
  yield {
    what: `store: opened, ${size}`,
    measured: inMilliseconds(
      (await secondsOf(async () => {
        store = await open(false)
      })) * 1_000,
    ),
  }
  yield row('store: one envelope, one commit, filled', 'commits', await timed(singles, 1, next(1), commit, () => floor(1)))
  const spread = (round: number): number => 1 + ((round * 7_919) % (toFill - 100))
  const reads = scale(500, 10)
  const readEnvelopes = (from: number): void => void store.envelopes(feed, from, from + 99, Infinity)
  yield row('store: read 100 envelopes of a feed', 'envelopes', await timed(reads, 100, spread, readEnvelopes))
  const readEntries = (from: number): void => void store.entries({ document, timeMin: entryTime(from), limit: 100 })
  yield row('store: read 100 entries', 'entries', await timed(reads, 100, spread, readEntries))
  const hashOfEnvelope = (round: number): EnvelopeHash => headerHash(headerAt(spread(round)))
  yield row('store: locate an envelope', 'envelopes', await timed(2 * reads, 1, hashOfEnvelope, (hash) => void store.locate(hash)))
  await store.close()
}

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  const directory = mkdtempSync(join(tmpdir(), 'selfsame-bench-'))
  try {
    yield* rowsIn(directory, scale)
  } finally {
    rmSync(directory, { recursive: true })
  }
}
