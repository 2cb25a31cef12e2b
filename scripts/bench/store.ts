/**
 * Measures the store on disk: `node scripts/bench/store.ts [directory]`. Beside each figure stands its floor: the same
 * bytes committed by plain node:sqlite in one thread, into one table without an index. The ratio is what the schema, the
 * thread and the checks cost.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { silentLogger } from '../../src/core/index.ts'
import type { DocumentId, FeedId, InstanceId, PublicKey, Stamp } from '../../src/core/index.ts'
import { headerHash } from '../../src/feed/index.ts'
import type { OperationId } from '../../src/feed/index.ts'
import { openSqliteStore } from '../../src/storage/index.ts'
import type { Store, WriteBatch } from '../../src/storage/index.ts'

const singles = 5_000
const batches = 200
const envelopesInBatch = 500

const hex = (value: number, bytes: number): string => value.toString(16).padStart(bytes * 2, '0')
/** Spreads numbers like hashes, so that indexes are hit at random places. */
const scattered = (value: number, bytes: number): string =>
  (hex((value * 2_654_435_761) % 2 ** 32, 4) + hex((value * 40_503) % 2 ** 32, 4)).repeat(bytes / 8)

const feed = scattered(7, 16) as FeedId
const document = scattered(9, 32) as DocumentId
const instance = scattered(11, 16) as InstanceId
const key = scattered(13, 32) as PublicKey

/** `count` envelopes of one log entry each, as the engine writes them. */
function batchAt(sequence: number, count: number): WriteBatch {
  const envelopes = Array.from({ length: count }, (_, index) => {
    const headerBytes = new Uint8Array(270).fill(7)
    new DataView(headerBytes.buffer).setUint32(0, sequence + index)
    const bodies = [{ salt: new Uint8Array(16).fill(3), bytes: new Uint8Array(180).fill(5) }]
    return { feed, sequence: sequence + index, hash: headerHash(headerBytes), headerBytes, signature: new Uint8Array(64).fill(9), bodies }
  })
  const last = envelopes.at(-1) as (typeof envelopes)[number]
  const entryOf = (at: number): string => hex(1_700_000_000_000 + at, 8) + feed + hex(at, 4) + '0000'
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
    positions: envelopes.map(({ sequence: at }) => ({ feed, sequence: at, position: at, changed: null })),
    touches: envelopes.map(({ sequence: at, hash }) => ({ document, feed, sequence: at, hash, position: at })),
    documents: [{ document, kind: 'log', name: 'memory' }],
    segments: [{ document, feed, segment: { day: 20_000, number: 0 }, entries: last.sequence, sequence: last.sequence }],
    entries: envelopes.map(({ sequence: at }) => ({ document, time: 1_700_000_000_000 + at, id: entryOf(at) })),
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

interface Timing {
  readonly perSecond: number
  readonly p50Milliseconds: number
  readonly p99Milliseconds: number
}

async function timed(rounds: number, itemsPerRound: number, round: (index: number) => Promise<void> | void): Promise<Timing> {
  const times: number[] = []
  const start = performance.now()
  for (let index = 0; index < rounds; index += 1) {
    const began = performance.now()
    await round(index)
    times.push(performance.now() - began)
  }
  const seconds = (performance.now() - start) / 1_000
  times.sort((a, b) => a - b)
  const quantile = (part: number): number => times[Math.floor((times.length - 1) * part)] ?? 0
  return { perSecond: (rounds * itemsPerRound) / seconds, p50Milliseconds: quantile(0.5), p99Milliseconds: quantile(0.99) }
}

function print(name: string, unit: string, timing: Timing, floor?: Timing): void {
  const figures = `${Math.round(timing.perSecond).toLocaleString('en')} ${unit}/s, p50 ${timing.p50Milliseconds.toFixed(3)} ms, p99 ${timing.p99Milliseconds.toFixed(2)} ms`
  const ratio = floor === undefined ? '' : `, ${(timing.p50Milliseconds / floor.p50Milliseconds).toFixed(1)} times the floor`
  console.log(`${name.padEnd(34)} ${figures}${ratio}`)
}

/** One table, no index, the bytes of a batch in as many rows. */
async function floorOf(directory: string, rounds: number, envelopesPerRound: number): Promise<Timing> {
  const path = join(directory, `floor-${envelopesPerRound}.sqlite`)
  const database = new DatabaseSync(path)
  database.exec('pragma journal_mode = wal; pragma synchronous = full; create table row (id integer primary key, bytes blob)')
  const insert = database.prepare('insert into row (bytes) values (?)')
  const bytes = new Uint8Array(700).fill(1)
  const timing = await timed(rounds, envelopesPerRound, () => {
    database.exec('begin')
    for (let index = 0; index < envelopesPerRound; index += 1) insert.run(bytes)
    database.exec('commit')
  })
  database.close()
  return timing
}

async function measure(directory: string): Promise<void> {
  const path = join(directory, 'store.sqlite')
  let store: Store = await openSqliteStore({ path, logger: silentLogger, checkFirst: false })
  let sequence = 1
  const write = async (count: number): Promise<void> => {
    const batch = batchAt(sequence, count)
    sequence += count
    await store.commit(batch)
  }
  await timed(200, 1, () => write(1))

  const singleFloor = await floorOf(directory, singles, 1)
  print('floor: one row, one commit', 'commits', singleFloor)
  print('one envelope, one commit', 'commits', await timed(singles, 1, () => write(1)), singleFloor)

  const batchFloor = await floorOf(directory, batches, envelopesInBatch)
  print(`floor: ${envelopesInBatch} rows, one commit`, 'rows', batchFloor)
  const rows = rowsOf(batchAt(sequence, envelopesInBatch)) / envelopesInBatch
  const prepared = Array.from({ length: batches }, (_, index) => batchAt(sequence + index * envelopesInBatch, envelopesInBatch))
  sequence += batches * envelopesInBatch
  const inBatches = await timed(batches, envelopesInBatch, (index) => store.commit(prepared[index] as WriteBatch))
  print(`${envelopesInBatch} envelopes, one commit`, 'envelopes', inBatches, batchFloor)
  console.log(
    `${''.padEnd(34)} ${Math.round(inBatches.perSecond * rows).toLocaleString('en')} rows/s at ${rows.toFixed(1)} rows an envelope`,
  )

  const envelopesStored = sequence - 1
  print(
    'read 100 envelopes of a feed',
    'envelopes',
    await timed(500, 100, (index) => void store.envelopes(feed, index * 100 + 1, index * 100 + 100, Infinity)),
  )
  print(
    'read 100 entries',
    'entries',
    await timed(500, 100, (index) => void store.entries({ document, timeMin: 1_700_000_000_000 + index * 100, limit: 100 })),
  )
  const hashes = store.envelopes(feed, 1, 1_000, Infinity).map((row) => row.hash)
  print(
    'locate an envelope',
    'envelopes',
    await timed(hashes.length, 1, (index) => void store.locate(hashes[index] as (typeof hashes)[number])),
  )
  const closing = performance.now()
  await store.close()
  console.log(
    `closed in ${(performance.now() - closing).toFixed(0)} ms; ${(statSync(path).size / envelopesStored).toFixed(0)} bytes on disk an envelope, of which 530 are its own`,
  )
  const opening = performance.now()
  store = await openSqliteStore({ path, logger: silentLogger, checkFirst: true })
  console.log(`opened with a check of ${(statSync(path).size / 2 ** 20).toFixed(0)} MiB in ${(performance.now() - opening).toFixed(0)} ms`)
  await store.close()
}

const directory = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'selfsame-bench-'))
try {
  await measure(directory)
} finally {
  rmSync(directory, { recursive: true })
}
