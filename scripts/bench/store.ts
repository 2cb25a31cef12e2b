/**
 * Measures the store on disk, filled with so many envelopes of one log entry each: `node scripts/bench/store.ts [100000]`.
 * Beside a figure stands its floor: the same bytes committed by plain node:sqlite in one thread, into one table without an
 * index. The ratio is what the schema, the thread and the checks cost. Both take turns, so that a busy machine slows both.
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

const singles = 3_000
const envelopesInBatch = 500
const envelopesToFill = Number(process.argv[2] ?? 100_000)

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
    positions: envelopes.map(({ sequence: at }) => ({ feed, sequence: at, position: at, changed: null })),
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

interface Timing {
  readonly perSecond: number
  readonly p50Milliseconds: number
  readonly p99Milliseconds: number
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
    own.sort((a, b) => a - b)
    const quantile = (part: number): number => own[Math.floor((own.length - 1) * part)] ?? 0
    return { perSecond: (rounds * itemsPerRound) / seconds, p50Milliseconds: quantile(0.5), p99Milliseconds: quantile(0.99) }
  })
}

function print(name: string, unit: string, [timing, floor]: readonly Timing[]): void {
  if (timing === undefined) return
  const ratio =
    floor === undefined
      ? ''
      : `, ${(timing.p50Milliseconds / floor.p50Milliseconds).toFixed(1)} times the floor (${floor.p50Milliseconds.toFixed(3)} ms)`
  const rate = Math.round(timing.perSecond).toLocaleString('en')
  console.log(
    `${name.padEnd(34)} ${rate} ${unit}/s, p50 ${timing.p50Milliseconds.toFixed(3)} ms, p99 ${timing.p99Milliseconds.toFixed(2)} ms${ratio}`,
  )
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

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

async function measure(directory: string): Promise<void> {
  const path = join(directory, 'store.sqlite')
  const floor = openFloor(join(directory, 'floor.sqlite'))
  const open = async (checkFirst: boolean): Promise<Store> => {
    const start = performance.now()
    const opened = await openSqliteStore({ path, logger: silentLogger, checkFirst })
    console.log(
      `opened ${mebibytes(statSync(path).size)} ${checkFirst ? 'with' : 'without'} a check in ${(performance.now() - start).toFixed(0)} ms`,
    )
    return opened
  }
  let store = await open(false)
  let sequence = 1
  const next = (count: number) => (): WriteBatch => {
    const batch = batchAt(sequence, count)
    sequence += count
    return batch
  }
  const commit = (batch: WriteBatch): Promise<void> => store.commit(batch)
  await timed(200, 1, next(1), commit)
  print('one envelope, one commit', 'commits', await timed(singles, 1, next(1), commit, () => floor(1)))

  const fillings = envelopesToFill / envelopesInBatch
  const filling = await timed(fillings, envelopesInBatch, next(envelopesInBatch), commit, () => floor(envelopesInBatch))
  print(`${envelopesInBatch} envelopes, one commit`, 'envelopes', filling)
  const rows = rowsOf(batchAt(sequence, envelopesInBatch)) / envelopesInBatch
  console.log(
    `${''.padEnd(34)} ${Math.round((filling[0]?.perSecond ?? 0) * rows).toLocaleString('en')} rows/s at ${rows.toFixed(1)} rows an envelope`,
  )
  await store.close()
  console.log(`${(statSync(path).size / sequence).toFixed(0)} bytes on disk an envelope, 530 of them its own`)

  await (await open(true)).close()
  store = await open(false)
  const start = performance.now()
  store.entries({ document, newestFirst: true, limit: 100 })
  console.log(`first read in ${(performance.now() - start).toFixed(1)} ms`)
  print('one envelope, one commit, full', 'commits', await timed(singles, 1, next(1), commit, () => floor(1)))
  const spread = (round: number): number => 1 + ((round * 7_919) % (envelopesToFill - 100))
  const readEnvelopes = (from: number): void => void store.envelopes(feed, from, from + 99, Infinity)
  print('read 100 envelopes of a feed', 'envelopes', await timed(500, 100, spread, readEnvelopes))
  const readEntries = (from: number): void => void store.entries({ document, timeMin: entryTime(from), limit: 100 })
  print('read 100 entries', 'entries', await timed(500, 100, spread, readEntries))
  const hashOfEnvelope = (round: number): EnvelopeHash => headerHash(headerAt(spread(round)))
  print('locate an envelope', 'envelopes', await timed(1_000, 1, hashOfEnvelope, (hash) => void store.locate(hash)))
  console.log(`resident memory ${mebibytes(process.memoryUsage.rss())}`)
  await store.close()
}

const directory = mkdtempSync(join(tmpdir(), 'selfsame-bench-'))
try {
  await measure(directory)
} finally {
  rmSync(directory, { recursive: true })
}
