/** Which statements a batch is: the one place that knows how rows of the port become rows of the database. */
import { crc32 } from 'node:zlib'
import type { DocumentId, FeedId } from '../core/index.ts'
import { hash48Of, hash48OfBody, hash48OfState } from './hash48.ts'
import { newMap, obtain } from './nested-map.ts'
import { clearingStatements, entriesAtOnce, statementIndex } from './sqlite-statements.ts'
import { textVersionsMax } from './store.ts'
import type { EntryRow, EnvelopeRow, TouchRow, WriteBatch } from './store.ts'
import { ProgramBuilder } from './writer-program.ts'

const run = statementIndex

/** The program that writes all of a batch, in a buffer that can be transferred. */
export function batchToProgram(batch: WriteBatch): Uint8Array<ArrayBuffer> {
  const program = new ProgramBuilder()
  // Before the first name: the numbers of documents and lineages are forgotten too.
  if (batch.derivedCleared === true) for (const statement of clearingStatements) program.run(statement)
  for (const [name, value] of batch.meta ?? []) {
    if (value === null) program.text(name).run(run.deleteMeta)
    else program.text(name).bytes(value).run(run.putMeta)
  }
  for (const hash of batch.recordsRemoved ?? []) program.hex(hash).run(run.removeRecord)
  for (const row of batch.records ?? []) program.hex(row.hash).bytes(row.bytes).run(run.putRecord)
  addEnvelopes(program, batch)
  addIndexes(program, batch)
  addDocuments(program, batch)
  for (const id of batch.evidenceRemoved ?? []) program.text(id).run(run.removeEvidence)
  for (const row of batch.evidence ?? []) {
    program.text(row.id).text(row.kind).number(row.at).text(row.detail).bytes(row.proof).run(run.addEvidence)
  }
  return program.finish()
}

function addEnvelopes(program: ProgramBuilder, batch: WriteBatch): void {
  for (const row of batch.feeds ?? []) {
    program.name('feed', row.feed).hex(row.instance).hex(row.key).hex(row.parent)
    program.number(row.have).hex(row.head).hex(row.headStamp).number(row.applied).run(run.putFeed)
  }
  for (const row of batch.envelopes ?? []) addEnvelope(program, row, run.addEnvelope)
  const replaced = batch.envelopesReplaced ?? []
  if (replaced.length > 0) program.run(run.indexEnvelopes)
  for (const row of replaced) {
    program.name('feed', row.feed).number(row.sequence).run(run.removeBodies)
    addEnvelope(program, row, run.replaceEnvelope)
  }
  for (const row of batch.signatures ?? []) {
    program.name('feed', row.feed).number(row.sequence).bytes(row.signature).number(crc32(row.signature)).run(run.sign)
  }
  for (const row of batch.positions ?? []) {
    program.name('feed', row.feed).number(row.sequence).number(row.position).bytes(row.changed).number(row.history).run(run.place)
  }
}

function addEnvelope(program: ProgramBuilder, row: EnvelopeRow, statement: number): void {
  program.name('feed', row.feed).number(row.sequence).number(hash48Of(row.hash)).bytes(row.signature)
  program
    .number(row.signature === null ? null : crc32(row.signature))
    .number(row.bodies.length)
    .bytes(row.headerBytes)
    .run(statement)
  for (const [index, body] of row.bodies.entries()) {
    program.name('feed', row.feed).number(row.sequence).number(index)
    program.number(hash48OfBody(body)).bytes(body.salt).bytes(body.bytes).run(run.addBody)
  }
}

function addIndexes(program: ProgramBuilder, batch: WriteBatch): void {
  for (const row of batch.past ?? []) {
    program.name('feed', row.feed).name('feed', row.other).number(row.sequence).number(row.otherSequence).run(run.putPast)
  }
  const heads = new Map<DocumentId, Map<FeedId, TouchRow>>()
  for (const row of batch.touches ?? []) {
    program.name('document', row.document).number(row.position).run(run.addTouch)
    const head = obtain(heads, row.document, newMap<FeedId, TouchRow>)
    if (row.sequence >= (head.get(row.feed)?.sequence ?? 0)) head.set(row.feed, row)
  }
  for (const rows of heads.values())
    for (const row of rows.values()) inFeed(program, row).number(row.sequence).hex(row.hash).run(run.raiseHead)
  for (const row of batch.operations ?? []) {
    program.name('lineage', row.lineage).hex(row.id).hex(row.fingerprint)
    program.name('feed', row.feed).number(row.sequence).hex(row.entry).run(run.putOperation)
  }
}

function addDocuments(program: ProgramBuilder, batch: WriteBatch): void {
  for (const row of batch.documents ?? []) program.name('document', row.document).text(row.kind).text(row.name).run(run.putDocument)
  for (const row of batch.clocks ?? []) inFeed(program, row).number(row.sequence).number(row.clock).run(run.putClock)
  for (const row of batch.segments ?? []) {
    inFeed(program, row).number(row.segment.day).number(row.segment.number).number(row.entries).number(row.sequence).run(run.putSegment)
  }
  for (const [document, rows] of Map.groupBy(batch.entries ?? [], (row) => row.document)) addEntries(program, document, rows)
  for (const row of batch.entriesRemoved ?? []) {
    program.name('document', row.document).number(row.time).hex(row.id).run(run.removeEntry)
    program.name('document', row.document).run(run.countRemoved)
  }
  for (const row of batch.snapshots ?? []) {
    program.name('document', row.document).number(row.position).number(hash48OfState(row.state)).bytes(row.state).run(run.putSnapshot)
  }
  for (const row of batch.quarantine ?? []) inFeed(program, row).number(row.sequence).text(row.reason).run(run.lowerQuarantine)
  for (const row of batch.textVersionsRemoved ?? []) program.name('document', row.document).hex(row.version).run(run.removeTextVersion)
  for (const row of batch.textVersions ?? []) {
    program.name('document', row.document).hex(row.version).number(row.position).text(row.content).run(run.putTextVersion)
    program.name('document', row.document).number(textVersionsMax).run(run.dropTextVersions)
  }
}

function addEntries(program: ProgramBuilder, document: DocumentId, rows: readonly EntryRow[]): void {
  for (let at = 0; at < rows.length;) {
    const isFull = rows.length - at >= entriesAtOnce
    const end = at + (isFull ? entriesAtOnce : 1)
    program.name('document', document)
    for (; at < end; at += 1) {
      const { id, time } = rows[at] as EntryRow
      program.number(time).hex(id)
    }
    program.run(isFull ? run.addEntries : run.addEntry)
    program.name('document', document).run(run.countAdded)
  }
}

function inFeed(program: ProgramBuilder, row: { readonly document: DocumentId; readonly feed: FeedId }): ProgramBuilder {
  return program.name('document', row.document).name('feed', row.feed)
}
