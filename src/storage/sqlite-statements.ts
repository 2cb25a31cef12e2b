/** The statements of the writer, in SQL. The main thread names them, the writer thread runs them. */

interface Statement {
  readonly sql: string
  /** Whether it is a broken invariant when no row changes. */
  readonly mustChange?: true
}

/** Entries that one statement adds: a statement costs more than an entry does, and with more of them little is gained. */
export const entriesAtOnce = 16
const entriesSql = Array.from({ length: entriesAtOnce }, (_, index) => `(?1, ?${2 * index + 2}, ?${2 * index + 3})`).join(', ')

const table = {
  putMeta: { sql: 'insert into meta (name, value) values (?, ?) on conflict do update set value = excluded.value' },
  deleteMeta: { sql: 'delete from meta where name = ?' },
  removeRecord: { sql: 'delete from record where hash = ?' },
  putRecord: { sql: 'insert into record (hash, bytes) values (?, ?) on conflict (hash) do update set bytes = excluded.bytes' },
  putFeed: {
    sql: 'update feed set instance = ?2, key = ?3, parent = ?4, have = ?5, head = ?6, head_stamp = ?7, applied = ?8 where number = ?1',
  },
  addEnvelope: {
    sql: 'insert into envelope (id, hash48, signature, signature_crc, bodies, header) values ((?1 << 32) | ?2, ?3, ?4, ?5, ?6, ?7)',
  },
  // Where the hash in the table is what was damaged, its entry in the index does not belong to it, and SQLite refuses to change the row.
  indexEnvelopes: { sql: 'reindex envelope_by_hash' },
  replaceEnvelope: {
    sql: `insert into envelope (id, hash48, signature, signature_crc, bodies, header) values ((?1 << 32) | ?2, ?3, ?4, ?5, ?6, ?7)
      on conflict (id) do update set hash48 = excluded.hash48, signature = excluded.signature, signature_crc = excluded.signature_crc,
        bodies = excluded.bodies, header = excluded.header`,
  },
  removeBodies: { sql: 'delete from body where id between (?1 << 40) | (?2 << 8) and (?1 << 40) | (?2 << 8) | 255' },
  addBody: { sql: 'insert into body (id, hash48, salt, bytes) values ((?1 << 40) | (?2 << 8) | ?3, ?4, ?5, ?6)' },
  sign: { sql: 'update envelope set signature = ?3, signature_crc = ?4 where id = (?1 << 32) | ?2', mustChange: true },
  place: {
    sql: 'insert into applied (envelope, position, changed, history) select id, ?3, ?4, ?5 from envelope where id = (?1 << 32) | ?2',
    mustChange: true,
  },
  putPast: {
    sql: `insert into past (feed, other, sequence, other_sequence) values (?, ?, ?, ?)
      on conflict do update set other_sequence = excluded.other_sequence`,
  },
  putDocument: { sql: 'update document set kind = ?2, name = ?3 where number = ?1' },
  addTouch: { sql: 'insert into touch (document, position) values (?, ?) on conflict do nothing' },
  raiseHead: {
    sql: `insert into document_head (document, feed, sequence, hash) values (?, ?, ?, ?)
      on conflict do update set sequence = excluded.sequence, hash = excluded.hash where excluded.sequence >= sequence`,
  },
  putClock: {
    sql: 'insert into clock (document, feed, sequence, clock) values (?, ?, ?, ?) on conflict do update set clock = excluded.clock',
  },
  putSegment: {
    sql: `insert into segment (document, feed, day, number, entries, sequence) values (?, ?, ?, ?, ?, ?)
      on conflict do update set entries = excluded.entries, sequence = excluded.sequence`,
  },
  /** Of one document; then time and id of each. */
  addEntries: { sql: `insert into entry (document, time, id) values ${entriesSql} on conflict do nothing` },
  addEntry: { sql: 'insert into entry (document, time, id) values (?, ?, ?) on conflict do nothing' },
  removeEntry: { sql: 'delete from entry where document = ? and time = ? and id = ?' },
  // Right after one of those above: `changes()` says how many rows there were to add or to remove. A trigger would do the
  // same, and make `delete from entry` go through all rows.
  countAdded: { sql: 'update document set entries = entries + changes() where number = ?' },
  countRemoved: { sql: 'update document set entries = entries - changes() where number = ?' },
  putOperation: {
    sql: `insert into operation (lineage, id, fingerprint, feed, sequence, entry) values (?, ?, ?, ?, ?, ?)
      on conflict do update set fingerprint = excluded.fingerprint, feed = excluded.feed, sequence = excluded.sequence, entry = excluded.entry`,
  },
  putSnapshot: { sql: 'insert or replace into snapshot (document, position, hash48, state) values (?, ?, ?, ?)' },
  lowerQuarantine: {
    sql: `insert into quarantine (document, feed, sequence, reason) values (?, ?, ?, ?)
      on conflict do update set sequence = excluded.sequence, reason = excluded.reason where excluded.sequence < sequence`,
  },
  putTextVersion: {
    sql: `insert into text_version (document, version, position, content) values (?, ?, ?, ?)
      on conflict do update set position = excluded.position, content = excluded.content`,
  },
  removeTextVersion: { sql: 'delete from text_version where document = ? and version = ?' },
  dropTextVersions: {
    sql: `delete from text_version where document = ?1 and version in
      (select version from text_version where document = ?1 order by position desc, version desc limit -1 offset ?2)`,
  },
  removeEvidence: { sql: 'delete from evidence where id = ?' },
  addEvidence: { sql: 'insert into evidence (id, kind, at, detail, proof) values (?, ?, ?, ?, ?) on conflict do nothing' },
} as const satisfies Record<string, Statement>

export type StatementName = keyof typeof table

/** Tables of which every row is derived, or is named by derived rows alone; and `text_version`, whose rows age by position. */
const derivedTables = [
  'applied',
  'past',
  'document',
  'touch',
  'document_head',
  'clock',
  'segment',
  'entry',
  'lineage',
  'operation',
  'snapshot',
  'quarantine',
  'text_version',
] as const

/** They forget all that is derived. Without a condition and a trigger SQLite gives back the pages of a table and visits no row. */
const clearing: readonly Statement[] = [
  { sql: 'update feed set applied = 0 where applied > 0' },
  ...derivedTables.map((name) => ({ sql: `delete from ${name}` })),
]

/** The statements; a program names one by its place here. */
export const statements: readonly (Statement & { readonly name: string })[] = [
  ...Object.entries<Statement>(table).map(([name, statement]) => ({ name, ...statement })),
  ...clearing.map((statement) => ({ name: 'clear', ...statement })),
]

/** The place of each statement in `statements`. */
export const statementIndex = Object.fromEntries(Object.keys(table).map((name, index) => [name, index])) as Readonly<
  Record<StatementName, number>
>

/** The places of the statements that forget all that is derived. */
export const clearingStatements: readonly number[] = clearing.map((_, index) => Object.keys(table).length + index)
