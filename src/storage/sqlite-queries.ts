/** The queries of the reading connection, prepared, with the columns that each row has. */
import type { DatabaseSync, SQLInputValue, SQLOutputValue } from 'node:sqlite'
import { SelfsameError } from '../core/index.ts'
import { toStorageError } from './storage-error.ts'

type Bytes = NodeJS.NonSharedUint8Array

/** A prepared query. Its methods throw `SelfsameError` `storage-corrupt` or `storage-failed`. */
interface Query<Row extends readonly SQLOutputValue[]> {
  first(...parameters: SQLInputValue[]): Row | undefined
  all(...parameters: SQLInputValue[]): Row[]
}

function prepare<Row extends readonly SQLOutputValue[]>(database: DatabaseSync, sql: string): Query<Row> {
  const statement = database.prepare(sql, { returnArrays: true })
  const guarded = <Answer>(read: () => unknown): Answer => {
    if (!database.isOpen)
      throw new SelfsameError('storage-failed', 'the store is not open: after the disk failed it is opened anew, so try again in a moment')
    try {
      return read() as Answer
    } catch (error) {
      throw toStorageError(error)
    }
  }
  return {
    first: (...parameters) => guarded<Row | undefined>(() => statement.get(...parameters)),
    all: (...parameters) => guarded<Row[]>(() => statement.all(...parameters)),
  }
}

/** Feed, id, sequence, hash48, position, changed, signature, its CRC, number of bodies, header. */
export type EnvelopeColumns = readonly [
  Bytes,
  number,
  number,
  number,
  number | null,
  Bytes | null,
  Bytes | null,
  number | null,
  number | null,
  Bytes,
]

const envelopeColumns = 'f.feed, e.id, e.id & 0xffffffff, e.hash48, a.position, a.changed, e.signature, e.signature_crc, e.bodies, e.header'
const feedNumber = '(select number from feed where feed = ?)'
const documentNumber = '(select number from document where document = ?)'

/** Entries of a document from a (time, id) to another, both exclusive, in either direction. */
const entriesBetween = `select time, id from entry where document = ${documentNumber} and (time, id) > (?, ?) and (time, id) < (?, ?)`

export type Queries = ReturnType<typeof prepareQueries>

export function prepareQueries(database: DatabaseSync) {
  return {
    meta: prepare<[Bytes]>(database, 'select value from meta where name = ?'),
    records: prepare<[Bytes, Bytes]>(database, 'select hash, bytes from record order by number'),
    feeds: prepare<[Bytes, Bytes, Bytes, Bytes | null, number, Bytes, Bytes, number]>(
      database,
      'select feed, instance, key, parent, have, head, head_stamp, applied from feed where instance is not null order by feed',
    ),
    located: prepare<[Bytes, number, number | null, Bytes]>(
      database,
      `select f.feed, e.id & 0xffffffff, a.position, e.header from envelope e join feed f on f.number = e.id >> 32
        left join applied a on a.envelope = e.id where e.hash48 = ?`,
    ),
    /** From a sequence to another, inclusive, at most so many. Neither is beyond 32 bits. */
    envelopes: prepare<EnvelopeColumns>(
      database,
      `select ${envelopeColumns} from feed f join envelope e on e.id between (f.number << 32) | ?2 and (f.number << 32) | ?3
        left join applied a on a.envelope = e.id where f.feed = ?1 order by e.id limit ?4`,
    ),
    envelopesApplied: prepare<EnvelopeColumns>(
      database,
      `select ${envelopeColumns} from applied a cross join envelope e on e.id = a.envelope join feed f on f.number = e.id >> 32
        where a.position > ? order by a.position limit ?`,
    ),
    envelopesTouching: prepare<EnvelopeColumns>(
      database,
      `select ${envelopeColumns} from touch t cross join applied a on a.position = t.position cross join envelope e on e.id = a.envelope
        join feed f on f.number = e.id >> 32 where t.document = ${documentNumber} and t.position > ? order by t.position limit ?`,
    ),
    bodies: prepare<[number, number, Bytes, Bytes]>(
      database,
      'select id & 255, hash48, salt, bytes from body where id between ?1 << 8 and (?1 << 8) | 255 order by id',
    ),
    lastPosition: prepare<[number | null]>(database, 'select max(position) from applied'),
    history: prepare<[number]>(database, 'select history from applied where position = ?'),
    // Seeks once for each other feed, and not through all rows of the feed.
    past: prepare<[Bytes, number]>(
      database,
      `with recursive other (feed, number) as (
          select f.number, (select min(p.other) from past p where p.feed = f.number) from feed f where f.feed = ?1
          union all
          select o.feed, (select min(p.other) from past p where p.feed = o.feed and p.other > o.number) from other o where o.number is not null
        )
        select f.feed, (
            select p.other_sequence from past p
              where p.feed = o.feed and p.other = o.number and p.sequence <= ?2 order by p.sequence desc limit 1
          ) as reach
          from other o join feed f on f.number = o.number where reach is not null`,
    ),
    document: prepare<[string, string]>(database, 'select kind, name from document where document = ? and kind is not null'),
    documents: prepare<[Bytes, string, string]>(database, 'select document, kind, name from document where kind is not null'),
    heads: prepare<[Bytes, number, Bytes]>(
      database,
      `select f.feed, h.sequence, h.hash from document_head h join feed f on f.number = h.feed
        where h.document = ${documentNumber} order by f.feed`,
    ),
    clock: prepare<[number]>(
      database,
      `select clock from clock where document = ${documentNumber} and feed = ${feedNumber} and sequence <= ? order by sequence desc limit 1`,
    ),
    touchedBy: prepare<[Bytes]>(
      database,
      `select d.document from feed f join applied a on a.envelope = (f.number << 32) | ?2
        join document d on exists (select 1 from touch t where t.document = d.number and t.position = a.position) where f.feed = ?1`,
    ),
    segment: prepare<[number, number]>(
      database,
      `select entries, sequence from segment where document = ${documentNumber} and feed = ${feedNumber} and day = ? and number = ?`,
    ),
    segments: prepare<[Bytes, number, number, number, number]>(
      database,
      `select f.feed, s.day, s.number, s.entries, s.sequence from segment s join feed f on f.number = s.feed
        where s.document = ${documentNumber} order by f.feed, s.day, s.number`,
    ),
    entriesForward: prepare<[number, Bytes]>(database, `${entriesBetween} order by time, id limit ?`),
    entriesBackward: prepare<[number, Bytes]>(database, `${entriesBetween} order by time desc, id desc limit ?`),
    entryCount: prepare<[number]>(database, 'select entries from document where document = ?'),
    operation: prepare<[Bytes, Bytes, number, Bytes | null]>(
      database,
      `select o.fingerprint, f.feed, o.sequence, o.entry from operation o join feed f on f.number = o.feed
        where o.lineage = (select number from lineage where lineage = ?) and o.id = ?`,
    ),
    snapshot: prepare<[number, number, Bytes]>(database, `select position, hash48, state from snapshot where document = ${documentNumber}`),
    quarantined: prepare<[number, string]>(
      database,
      `select sequence, reason from quarantine where document = ${documentNumber} and feed = ${feedNumber}`,
    ),
    quarantine: prepare<[Bytes, Bytes, number, string]>(
      database,
      'select d.document, f.feed, q.sequence, q.reason from quarantine q join document d on d.number = q.document join feed f on f.number = q.feed',
    ),
    textVersion: prepare<[string]>(database, `select content from text_version where document = ${documentNumber} and version = ?`),
    evidence: prepare<[string, string, number, string, Bytes | null]>(database, 'select id, kind, at, detail, proof from evidence'),
    /** Begin a read transaction and pin it to the newest commit; end it. */
    begin: prepare<[]>(database, 'begin'),
    pin: prepare<[number]>(database, 'select 1 from meta limit 1'),
    unpin: prepare<[]>(database, 'commit'),
  }
}
