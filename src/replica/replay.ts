/**
 * A replay: everything that is derived is computed anew from the envelopes and records of a store, through the same engine and into a store that
 * is thrown away, and held against what the store holds. It changes nothing there.
 */
import { silentLogger } from '../core/index.ts'
import type { Clock, DocumentId, FeedId, Random } from '../core/index.ts'
import type { DocumentKind } from '../document/index.ts'
import { DamagedEnvelope } from '../storage/index.ts'
import type { EntryCursor, EnvelopeRow, FeedRow, Store, StoreReads } from '../storage/index.ts'
import { Digests, versionKeyOf } from './digests.ts'
import type { DocumentDigest } from './digests.ts'
import { Engine } from './engine.ts'
import { storedToEnvelope } from './ledger.ts'
import { updateBodiesOf } from './materialiser.ts'
import { Rebuild, rebuildName } from './rebuild.ts'
import type { Identity } from './writer.ts'

/** Bytes of envelopes that are read and written at once. */
const pageBytes = 4 << 20
/** Rows of the index that are compared at once. */
const indexPage = 1_000
/** Envelopes whose operations are compared at once. */
const operationsPage = 256
/** Differences that are told, one line each. */
const differencesMax = 200
/** Bytes that live documents may take. */
const cacheBytes = 64 << 20

export interface ReplayOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly random: Random
  /** An empty store, for the replay alone. */
  readonly scratch: Store
}

export interface ReplayFacts {
  /** Envelopes that are applied in the store, and were replayed. */
  readonly envelopes: number
  readonly documents: number
  /** Log entries. */
  readonly entries: number
  /** What the store holds otherwise than its envelopes say, a line for a person each; the first of them. */
  readonly differences: readonly string[]
  /** Those that are not told. */
  readonly omitted: number
}

/**
 * Replays what `stored` has applied, and compares. The store must not change meanwhile. Null where it is being rebuilt: there is nothing to
 * compare with yet.
 */
export async function replay(stored: StoreReads, options: ReplayOptions): Promise<ReplayFacts | null> {
  if (stored.meta(rebuildName) !== undefined) return null
  const { clock, identity, random, scratch } = options
  const found = createFindings()
  const envelopes = await copyApplied(stored, scratch, clock, found)
  if (found.count === 0) {
    const failed = Promise.withResolvers<never>()
    const engine = await Engine.open({
      openStore: async () => scratch,
      clock,
      random,
      logger: silentLogger,
      identity,
      cacheBytes,
      fatal: failed.reject,
    })
    const whole = engine.readDurably(
      () => false,
      () => {},
    )
    await Promise.race([whole, failed.promise])
    compareFeeds(stored, scratch, found)
    compareDocuments(stored, scratch, found)
    compareOperations(stored, engine, found)
    compareQuarantine(stored, scratch, found)
    await engine.close()
  }
  const documents = stored.documents()
  return {
    envelopes,
    documents: documents.length,
    entries: documents.reduce((sum, { document, kind }) => sum + (kind === 'log' ? stored.entryCount(document) : 0), 0),
    differences: found.lines,
    omitted: found.count - found.lines.length,
  }
}

interface Findings {
  readonly lines: readonly string[]
  readonly count: number
  add(line: string): void
}

function createFindings(): Findings {
  const lines: string[] = []
  let count = 0
  return {
    lines,
    get count() {
      return count
    },
    add(line) {
      count += 1
      if (lines.length < differencesMax) lines.push(line)
    },
  }
}

/** Copies records, and the envelopes that are applied, as a store that is about to apply them. Returns how many envelopes. */
async function copyApplied(stored: StoreReads, scratch: Store, clock: Clock, found: Findings): Promise<number> {
  const begun = new Rebuild(clock).begin('replay')
  await scratch.commit({ records: stored.records(), meta: new Map([[rebuildName, begun]]) })
  let count = 0
  for (const row of stored.feeds()) {
    let unplaced = 0
    for (let next = 1; next <= row.applied;) {
      const page = pageOf(stored, row.feed, next, row.applied, found)
      const last = page.at(-1)
      if (last === undefined) break
      const { header } = storedToEnvelope(last)
      const feed: FeedRow = { ...row, have: last.sequence, head: last.hash, headStamp: header.stamp, applied: 0 }
      const envelopes: EnvelopeRow[] = page.map(({ changed: _changed, position: _position, ...envelope }) => envelope)
      await scratch.commit({ feeds: [feed], envelopes })
      unplaced += page.filter(({ position }) => position === null).length
      count += page.length
      next = last.sequence + 1
    }
    if (unplaced > 0)
      found.add(`${unplaced} envelopes of feed ${row.feed} are counted as applied and have no place in the order of applying`)
  }
  return count
}

function pageOf(stored: StoreReads, feed: FeedId, from: number, to: number, found: Findings): ReturnType<StoreReads['envelopes']> {
  try {
    const page = stored.envelopes(feed, from, to, pageBytes)
    if (page.length === 0) found.add(`envelope ${from} of feed ${feed} is counted as stored and is not there`)
    return page
  } catch (error) {
    if (!(error instanceof DamagedEnvelope)) throw error
    found.add(error.message)
    return []
  }
}

function compareFeeds(stored: StoreReads, scratch: StoreReads, found: Findings): void {
  const replayed = new Map(scratch.feeds().map((row) => [row.feed, row.applied]))
  for (const { applied, feed } of stored.feeds()) {
    const counts = replayed.get(feed) ?? 0
    if (counts < applied) found.add(`envelopes ${counts + 1} to ${applied} of feed ${feed} are shown and do not count`)
  }
}

function compareDocuments(stored: StoreReads, scratch: StoreReads, found: Findings): void {
  const here = new Map(stored.documents().map((row) => [row.document, row]))
  const [digests, digestsAnew] = [new Digests(() => stored), new Digests(() => scratch)]
  for (const { document, kind, name } of scratch.documents()) {
    const place = `${kind}/${name}`
    const row = here.get(document)
    here.delete(document)
    if (row === undefined) {
      found.add(`${place} is not in the list of documents`)
      continue
    }
    if (row.kind !== kind || row.name !== name) found.add(`${place} is listed as ${row.kind}/${row.name}`)
    if (versionKeyOf(stored, document) !== versionKeyOf(scratch, document))
      found.add(`${place} has another version than its envelopes give it`)
    if (kind === 'log') compareIndex(stored, scratch, document, place, found)
    const [held, made] = [digests, digestsAnew].map((each) => digestOf(each, document, kind as DocumentKind))
    if (held?.digest !== made?.digest) found.add(`${place} holds something else than its envelopes say`)
  }
  for (const { kind, name } of here.values()) found.add(`${kind}/${name} is listed, and no envelope made it`)
}

function digestOf(digests: Digests, document: DocumentId, kind: DocumentKind): DocumentDigest | undefined {
  if (kind !== 'log') return digests.ofStored(document, kind)
  const steps = digests.ofLog(document)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** Both indexes are in one order: what is only in one of the two is found by going along both. */
function compareIndex(stored: StoreReads, scratch: StoreReads, document: DocumentId, place: string, found: Findings): void {
  const held = entriesOf(stored, document)
  const made = entriesOf(scratch, document)
  let [lacking, surplus] = [0, 0]
  let [a, b] = [held.next(), made.next()]
  while (a.done !== true || b.done !== true) {
    const order =
      a.done === true
        ? 1
        : b.done === true
          ? -1
          : a.value.time - b.value.time || Buffer.compare(Buffer.from(a.value.id), Buffer.from(b.value.id))
    if (order < 0) surplus += 1
    if (order > 0) lacking += 1
    if (order <= 0) a = held.next()
    if (order >= 0) b = made.next()
  }
  if (lacking > 0) found.add(`${place} does not show ${lacking} of its entries`)
  if (surplus > 0) found.add(`${place} shows ${surplus} entries that it does not have`)
  const segments = (store: StoreReads): string =>
    JSON.stringify(
      store.segments(document).map(({ entries, feed, segment, sequence }) => [feed, segment.day, segment.number, entries, sequence]),
    )
  if (segments(stored) !== segments(scratch)) found.add(`${place} has other segments than its envelopes give it`)
}

function* entriesOf(store: StoreReads, document: DocumentId): Generator<EntryCursor, undefined> {
  for (let after: EntryCursor | undefined; ;) {
    const page = store.entries({ document, limit: indexPage, ...(after === undefined ? {} : { after }) })
    yield* page
    if (page.length < indexPage) return
    after = page.at(-1)
  }
}

/** Every operation id is known, for the request that it was given to and with the entry that it made. */
function compareOperations(stored: StoreReads, { ledger, members, store }: Engine, found: Findings): void {
  const wrong = new Map<FeedId, number>()
  for (let position = 0; ;) {
    const page = store.appliedAfter(position, operationsPage)
    for (const each of page) {
      position = each.position ?? position
      const envelope = storedToEnvelope(each)
      const { bodies, feed, sequence } = envelope.header
      const instance = ledger.feed(feed)?.instance
      if (instance === undefined) continue
      const lineage = members.lineageOf(instance)
      for (const document of new Set(bodies.map((body) => body.document))) {
        if ((store.quarantined(document, feed)?.sequence ?? Infinity) <= sequence) continue
        for (const { id } of updateBodiesOf(envelope, document).flatMap(({ operations }) => operations)) {
          const [held, made] = [stored.operation(lineage, id), store.operation(lineage, id)]
          // Of two copies that gave one id to different requests the first keeps it, so that is a matter of order.
          if (held !== undefined && held.fingerprint !== made?.fingerprint && held.feed !== made?.feed) continue
          if (held?.fingerprint === made?.fingerprint && held?.entry === made?.entry) continue
          wrong.set(feed, (wrong.get(feed) ?? 0) + 1)
        }
      }
    }
    if (page.length < operationsPage) break
  }
  for (const [feed, count] of wrong)
    found.add(`${count} operations of feed ${feed} are forgotten, or remembered otherwise than it made them`)
}

function compareQuarantine(stored: StoreReads, scratch: StoreReads, found: Findings): void {
  const key = ({ document, feed, sequence }: ReturnType<StoreReads['quarantine']>[number]): string => `${document}:${feed}:${sequence}`
  const made = new Map(scratch.quarantine().map((row) => [key(row), row]))
  for (const row of stored.quarantine()) {
    if (!made.delete(key(row)))
      found.add(
        `what feed ${row.feed} wrote to document ${row.document} from envelope ${row.sequence} on is in quarantine without a reason`,
      )
  }
  for (const { document, feed, reason, sequence } of made.values()) {
    found.add(`what feed ${feed} wrote to document ${document} from envelope ${sequence} on is not in quarantine: ${reason}`)
  }
}
