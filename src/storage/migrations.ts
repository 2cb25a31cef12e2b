/**
 * The schema, as numbered steps. A database says in `user_version` how many it has been through; a step that was
 * released is never edited, a new one is added below it. `docs/STORAGE.md` shows the result as tables.
 */
import type { DatabaseSync } from 'node:sqlite'
import { SelfsameError } from '../core/index.ts'

/** "SAME": marks the file as a database of this project, also for file(1). */
export const applicationId = 0x53_41_4d_45

/**
 * Feeds, documents and lineages are interned to small numbers. An envelope's id is its feed's number << 32 | sequence
 * (53 bits hold 2,000,000 feeds), a body's id is its envelope's id << 8 | index: one key each and no index beside it.
 * `hash48` is the first 48 bits of a blob's hash: enough to find a header and to notice a damaged blob.
 */
const first = `
  create table meta (name text primary key, value blob not null) strict, without rowid;
  create table record (number integer primary key, hash blob not null unique, bytes blob not null) strict;

  create table feed (
    number integer primary key, feed blob not null unique, instance blob, key blob, parent blob,
    have integer, head blob, head_stamp blob, applied integer
  ) strict;
  create table envelope (
    id integer primary key, hash48 integer not null, position integer, changed blob, signature blob, header blob not null
  ) strict;
  create index envelope_by_hash on envelope (hash48);
  create unique index envelope_by_position on envelope (position) where position is not null;
  create table body (id integer primary key, hash48 integer not null, salt blob not null, bytes blob not null) strict;

  create table document (
    number integer primary key, document blob not null unique, kind text, name text, entries integer not null default 0
  ) strict;
  create table touch (document integer not null, position integer not null, primary key (document, position)) strict, without rowid;
  create table document_head (
    document integer not null, feed integer not null, sequence integer not null, hash blob not null, primary key (document, feed)
  ) strict, without rowid;
  create table past (
    feed integer not null, other integer not null, sequence integer not null, other_sequence integer not null,
    primary key (feed, other, sequence)
  ) strict, without rowid;
  create table clock (
    document integer not null, feed integer not null, sequence integer not null, clock integer not null,
    primary key (document, feed, sequence)
  ) strict, without rowid;
  create table segment (
    document integer not null, feed integer not null, day integer not null, number integer not null,
    entries integer not null, sequence integer not null, primary key (document, feed, day, number)
  ) strict, without rowid;
  create table entry (
    document integer not null, time integer not null, id blob not null, primary key (document, time, id)
  ) strict, without rowid;
  create table lineage (number integer primary key, lineage blob not null unique) strict;
  create table operation (
    lineage integer not null, id blob not null, fingerprint blob not null, feed integer not null, sequence integer not null,
    entry blob, primary key (lineage, id)
  ) strict, without rowid;
  create table snapshot (document integer primary key, position integer not null, hash48 integer not null, state blob not null) strict;
  create table quarantine (
    document integer not null, feed integer not null, sequence integer not null, reason text not null, primary key (document, feed)
  ) strict, without rowid;
  create table text_version (
    document integer not null, position integer not null, version blob not null, content text not null,
    primary key (document, version)
  ) strict, without rowid;
  create table evidence (id text primary key, kind text not null, at integer not null, detail text not null, proof blob) strict, without rowid;

  create trigger entry_added after insert on entry begin
    update document set entries = entries + 1 where number = new.document;
  end;
  create trigger entry_removed after delete on entry begin
    update document set entries = entries - 1 where number = old.document;
  end;
`

/**
 * Keeps what is derived out of the tables of truth, and free of triggers: to forget it all is to empty tables, which takes
 * milliseconds. As columns of `envelope` the positions alone took a rewrite of the table.
 */
const second = `
  create table applied (envelope integer primary key, position integer not null unique, changed blob) strict;
  insert into applied (envelope, position, changed) select id, position, changed from envelope where position is not null;
  drop index envelope_by_position;
  alter table envelope drop column position;
  alter table envelope drop column changed;
  drop trigger entry_added;
  drop trigger entry_removed;
`

/**
 * Snapshots of json used to forget what deleted containers had held, by whose order updates are judged: those documents are
 * loaded from their envelopes once, and get new ones.
 */
const third = `delete from snapshot where document in (select number from document where kind = 'json');`

/**
 * What the hash of a header does not cover and a failing disk can change: the signature (its CRC-32) and how many bodies there are. Null where
 * an envelope was stored before this.
 */
const fourth = `
  alter table envelope add column signature_crc integer;
  alter table envelope add column bodies integer;
`

/** What stands for all that was applied up to a position: 0 where that was before this. */
const fifth = `alter table applied add column history integer not null default 0;`

/** In order; each is released with the version of the schema that is its number. */
export const migrations: readonly string[] = [first, second, third, fourth, fifth]

/**
 * Brings the database to the newest schema, in one transaction. Answers how many steps were taken.
 * Throws `SelfsameError` `storage-version` where a newer program wrote it and `storage-corrupt` where it is not of this project.
 */
export function migrate(database: DatabaseSync): number {
  const version = readPragma(database, 'user_version')
  const owner = readPragma(database, 'application_id')
  if (version > migrations.length) {
    throw new SelfsameError(
      'storage-version',
      `the database has schema version ${version} and this selfsame knows ${migrations.length}: install the version that wrote it, or a newer one`,
    )
  }
  if (version > 0 && owner !== applicationId) {
    throw new SelfsameError('storage-corrupt', 'the database file is not one of selfsame: restore the right file from a backup')
  }
  if (version === migrations.length) return 0
  const steps = migrations.slice(version).join('\n')
  database.exec(`begin immediate; ${steps} pragma application_id = ${applicationId}; pragma user_version = ${migrations.length}; commit`)
  return migrations.length - version
}

function readPragma(database: DatabaseSync, name: 'user_version' | 'application_id'): number {
  return Number(database.prepare(`pragma ${name}`).get()?.[name])
}
