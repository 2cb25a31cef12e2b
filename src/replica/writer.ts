/**
 * The writer: turns the requests of local clients into envelopes of this run. Requests that wait together share an
 * envelope and its commit. It changes live documents and stages rows; nothing of it is true before the commit.
 */
import {
  SelfsameError,
  assert,
  bodyBytesMax,
  envelopeBodiesMax,
  envelopeBytesMax,
  envelopeOperationsMax,
  gossipBytesMax,
  headerBytesMax,
  headerDepsMax,
  idToBytes,
  segmentEntriesMax,
  stampToMilliseconds,
} from '../core/index.ts'
import type {
  AgentId,
  DocumentId,
  EnvelopeHash,
  FeedId,
  HybridClock,
  InstanceId,
  Random,
  RecordHash,
  SigningKey,
  Stamp,
} from '../core/index.ts'
import { canonicalJson, checkDocumentName, checkEntryContent, documentIdOf, openSegmentWriter } from '../document/index.ts'
import type { DocumentKind, Edit, Json, JsonPatchOperation, LiveKind } from '../document/index.ts'
import {
  bodyTypeUpdate,
  clientIdOf,
  encodeUpdateBody,
  envelopeSize,
  feedIdOf,
  fingerprintOf,
  formatVersion,
  mainSpace,
  operationIdOf,
  referenceTo,
  rulesVersion,
  saltBytes,
  sealEnvelope,
} from '../feed/index.ts'
import type { Body, BodyReference, Envelope, Header, Opening, OperationId, OperationMark, SegmentName, UpdateBody } from '../feed/index.ts'
import type { Store } from '../storage/index.ts'
import { Draft } from './draft.ts'
import type { DraftLog, LocalOperation, PendingWrite, PlannedOperation } from './draft.ts'
import type { Ledger } from './ledger.ts'
import type { Materialiser, OwnBody } from './materialiser.ts'

export interface Identity {
  readonly agent: AgentId
  readonly instance: InstanceId
  readonly key: SigningKey
}

/** Bytes of content, by estimate, that requests may add to one shared envelope: what gossip carries, with room for framing. */
const sharedBytesTarget = gossipBytesMax - (32 << 10)
/** Bytes of content in one request: its body must stay within `bodyBytesMax` with framing. */
const requestBytesMax = bodyBytesMax - (256 << 10)
/** Documents that requests of one envelope may touch together; a single request may touch more. */
const sharedDocumentsMax = 64
const dayMilliseconds = 86_400_000
/** The name of the meta row that holds the feed of the last run. */
export const lastRunName = 'run'

interface Run {
  readonly feed: FeedId
  readonly client: number
  /** Until the first envelope is built. */
  opening: Opening | null
  readonly previous: EnvelopeHash | null
  readonly segments: Map<DocumentId, OpenSegment>
}

/** The segment of a log that this run appends to. */
interface OpenSegment {
  readonly name: SegmentName
  readonly entries: number
}

interface PlannedWrite {
  readonly pending: PendingWrite
  readonly operations: readonly PlannedOperation[]
  readonly bytes: number
}

/** What was built: an envelope if anything had to be written, and the outcomes to tell once it is durable. */
export interface BuiltWrites {
  readonly envelope: Envelope | null
  readonly settle: readonly (() => void)[]
}

/** A request that failed after its first edits were staged: the attempt starts anew without it. */
class AbandonedAttempt extends Error {
  readonly write: PlannedWrite

  constructor(write: PlannedWrite, cause: unknown) {
    super('a request failed half way', { cause })
    this.write = write
  }
}

export interface WriterOptions {
  readonly identity: Identity
  readonly store: Store
  readonly ledger: Ledger
  readonly materialiser: Materialiser
  readonly hybridClock: HybridClock
  readonly random: Random
  readonly recordHeads: () => readonly RecordHash[]
  readonly lineageOf: (instance: InstanceId) => InstanceId
}

export class Writer {
  readonly #options: WriterOptions
  #run: Run | null = null

  constructor(options: WriterOptions) {
    this.#options = options
  }

  /** The feed of the run under way, null before its first write. */
  get feed(): FeedId | null {
    return this.#run?.feed ?? null
  }

  /** Ends the run: the next write opens a new feed. */
  endRun(): void {
    this.#run = null
  }

  /**
   * Takes requests from the front of `queue` and builds one envelope of them. Requests that cannot be done are rejected
   * at once and leave no trace. Leaves in the queue what did not fit.
   */
  build(queue: PendingWrite[]): BuiltWrites {
    let writes = this.#take(queue)
    while (writes.length > 0) {
      const attempt = this.#attempt(writes)
      if (attempt.type === 'built') return attempt.built
      if (attempt.type === 'too-large' && writes.length > 1) {
        queue.unshift(...writes.slice(1).map((write) => write.pending))
        writes = writes.slice(0, 1)
        continue
      }
      attempt.write.pending.reject(attempt.error)
      writes = writes.filter((write) => write !== attempt.write)
    }
    return { envelope: null, settle: [] }
  }

  #take(queue: PendingWrite[]): PlannedWrite[] {
    const taken: PlannedWrite[] = []
    const documents = new Set<DocumentId>()
    const ids = new Set<OperationId>()
    let bytes = 0
    let operations = 0
    while (queue.length > 0) {
      const pending = queue[0] as PendingWrite
      let planned: PlannedWrite
      try {
        planned = this.#plan(pending)
      } catch (error) {
        queue.shift()
        pending.reject(error)
        continue
      }
      bytes += planned.bytes
      operations += planned.operations.length
      for (const { document } of planned.operations) documents.add(document)
      const fits = bytes <= sharedBytesTarget && operations <= envelopeOperationsMax && documents.size <= sharedDocumentsMax
      // A request that repeats an id of this envelope waits for its commit, then finds it.
      const repeats = planned.operations.some(({ id }) => id !== null && ids.has(id))
      if (taken.length > 0 && (!fits || repeats)) break
      for (const { id } of planned.operations) if (id !== null) ids.add(id)
      queue.shift()
      taken.push(planned)
    }
    return taken
  }

  /** Checks what can be checked without the documents. Throws `SelfsameError`. */
  #plan(pending: PendingWrite): PlannedWrite {
    const { operations, operationId } = pending.write
    let bytes = 0
    const seen = new Set<string>()
    const planned = operations.map((operation, index): PlannedOperation => {
      const kind: DocumentKind = operation.type === 'append' ? 'log' : operation.kind
      checkDocumentName(kind, operation.name)
      if (operation.type === 'append') checkEntryContent(operation.entry)
      bytes += contentBytes(operation)
      const own = operation.type === 'append' ? operation.operationId : undefined
      const idText = own ?? (operationId === undefined ? undefined : operations.length === 1 ? operationId : `${operationId}/${index}`)
      if (idText !== undefined && seen.has(idText)) {
        throw new SelfsameError(
          'invalid-request',
          `the operation id ${JSON.stringify(idText)} stands twice in one request: give each operation its own`,
        )
      }
      if (idText !== undefined) seen.add(idText)
      return {
        document: documentIdOf(mainSpace, kind, operation.name),
        operation,
        id: idText === undefined ? null : operationIdOf(idText),
        fingerprint: idText === undefined ? '' : fingerprintOf(canonicalJson(requestToJson(kind, operation))),
      }
    })
    if (bytes > requestBytesMax)
      throw new SelfsameError(
        'too-large',
        `a request may hold ${requestBytesMax} bytes of content and this one has about ${bytes}: send it in parts`,
      )
    if (operations.length > envelopeOperationsMax)
      throw new SelfsameError('too-large', `a request may hold ${envelopeOperationsMax} operations: send it in parts`)
    return { pending, operations: planned, bytes }
  }

  #attempt(
    writes: readonly PlannedWrite[],
  ):
    | { readonly type: 'built'; readonly built: BuiltWrites }
    | { readonly type: 'failed' | 'too-large'; readonly write: PlannedWrite; readonly error: unknown } {
    const { materialiser, hybridClock } = this.#options
    const run = (this.#run ??= this.#openRun())
    this.#declareHeads(run)
    const stamp = hybridClock.next()
    const draft = new Draft(stamp)
    const edited = new Map<DocumentId, LiveKind>()
    for (const write of writes) {
      for (const { document, operation } of write.operations) if (operation.type === 'edit') edited.set(document, operation.kind)
    }
    try {
      this.#editAll([...edited], run.client, stamp, draft, (apply) => {
        for (const write of writes) this.#applyWrite(write, apply, draft)
      })
      return { type: 'built', built: this.#seal(run, draft) }
    } catch (error) {
      // Edits are staged until the transaction ends: a request given up half way has changed nothing.
      if (error instanceof AbandonedAttempt) return { type: 'failed', write: error.write, error: error.cause }
      if (!(error instanceof SelfsameError)) throw error
      // Together, or one of them alone, they make more than an envelope may hold.
      materialiser.discard(edited.keys())
      return { type: 'too-large', write: writes[0] as PlannedWrite, error }
    }
  }

  /** Opens one transaction on each document, nested, runs `body` inside, and puts the updates into the draft. */
  #editAll(
    documents: readonly (readonly [DocumentId, LiveKind])[],
    client: number,
    stamp: Stamp,
    draft: Draft,
    body: (apply: ReadonlyMap<DocumentId, (edit: Edit) => void>) => void,
  ): void {
    const { materialiser, store } = this.#options
    const appliers = new Map<DocumentId, (edit: Edit) => void>()
    const enter = (index: number): void => {
      const next = documents[index]
      if (next === undefined) {
        body(appliers)
        return
      }
      const [document, kind] = next
      // Asked for where the text was written against another version than the present one.
      const textVersion = (version: string): string | undefined => {
        const content = store.textVersion(document, version)
        if (content !== undefined) materialiser.noteConflict(document, version)
        return content
      }
      const context = { client, stamp, textVersion }
      const update = materialiser.live(document, kind).edit(context, (apply) => {
        appliers.set(document, apply)
        enter(index + 1)
      })
      if (update !== null) draft.updates.set(document, update)
    }
    enter(0)
  }

  #applyWrite(write: PlannedWrite, apply: ReadonlyMap<DocumentId, (edit: Edit) => void>, draft: Draft): void {
    const { identity, lineageOf, materialiser } = this.#options
    const lineage = lineageOf(identity.instance)
    const fresh: PlannedOperation[] = []
    /** Per log entry of the request: its id where it was there before, else its place among the fresh appends. */
    const entries: (number | string)[] = []
    let appends = 0
    let changed = false
    let first: { readonly feed: FeedId; readonly sequence: number } | null = null
    try {
      for (const planned of write.operations) {
        const { document, operation, id, fingerprint } = planned
        const known = id === null ? undefined : materialiser.operation(lineage, id)
        if (known !== undefined) {
          if (known.fingerprint !== fingerprint)
            throw new SelfsameError('operation-mismatch', 'this operation id was used for another request: use a new one')
          first ??= { feed: known.feed, sequence: known.sequence }
          if (known.entry !== null) entries.push(known.entry)
          continue
        }
        if (operation.type === 'edit') {
          ;(apply.get(document) as (edit: Edit) => void)(operation.edit)
          changed = true
        } else {
          entries.push(appends)
          appends += 1
        }
        fresh.push(planned)
      }
    } catch (error) {
      if (changed || !(error instanceof SelfsameError)) throw new AbandonedAttempt(write, error)
      write.pending.reject(error)
      return
    }
    draft.add(write.pending, fresh, entries, write.operations.length - fresh.length, first)
  }

  /** Builds the envelope of a draft and takes it in. Throws `too-large`, with nothing changed, for what no peer would accept. */
  #seal(run: Run, draft: Draft): BuiltWrites {
    const { materialiser, random } = this.#options
    const day = Math.floor(stampToMilliseconds(draft.stamp) / dayMilliseconds)
    const own: OwnBody[] = []
    for (const [document, { kind, name, keys, marks }] of draft.edits) {
      const update = draft.updates.get(document)
      if (update === undefined && marks.length === 0) continue
      const body: UpdateBody = { kind, name, segment: null, update: update ?? new Uint8Array(), operations: marks }
      own.push({ document, body, entries: [], keys: update === undefined ? [] : [...keys] })
    }
    const segments = new Map<DocumentId, OpenSegment>()
    for (const [document, log] of draft.logs) {
      const { bodies, segment } = appendToSegments(run, document, log, day)
      own.push(...bodies)
      segments.set(document, segment)
    }
    if (own.length === 0) return { envelope: null, settle: draft.settlements(null, []) }
    const bodies: Body[] = own.map(({ body }) => ({ salt: random.bytes(saltBytes), bytes: encodeUpdateBody(body) }))
    const references = own.map(({ document }, index) =>
      referenceTo(bodies[index] as Body, { type: bodyTypeUpdate, schema: 1, critical: true, document }),
    )
    const envelope = this.#admit(run, draft.stamp, this.#newDeps(run), references, bodies)
    materialiser.recordOwn(envelope, own)
    for (const [document, segment] of segments) run.segments.set(document, segment)
    return { envelope, settle: draft.settlements(envelope, own) }
  }

  /**
   * Names, in envelopes of its own, all that was applied here and not named yet: what this instance rests on, nobody's removal
   * takes away. Only if `isNeeded`, given what the run has named so far, and the run's feed.
   */
  declareApplied(isNeeded: (past: ReadonlyMap<FeedId, number>, feed: FeedId) => boolean): void {
    const { hybridClock, ledger, materialiser } = this.#options
    const run = (this.#run ??= this.#openRun())
    const state = ledger.feed(run.feed)
    if (!isNeeded(state === undefined ? ledger.pastAfter(run.previous) : ledger.pastAt(run.feed, state.applied), run.feed)) return
    for (let deps = this.#newDeps(run); deps.length > 0; deps = this.#newDeps(run)) {
      materialiser.recordOwn(this.#admit(run, hybridClock.next(), deps.slice(0, headerDepsMax), [], []), [])
    }
  }

  /** More heads than one header may name go ahead in envelopes of their own: whatever is referred to must be declared. */
  #declareHeads(run: Run): void {
    const { hybridClock, materialiser } = this.#options
    for (let deps = this.#newDeps(run); deps.length > headerDepsMax; deps = this.#newDeps(run)) {
      materialiser.recordOwn(this.#admit(run, hybridClock.next(), deps.slice(0, headerDepsMax), [], []), [])
    }
  }

  #newDeps(run: Run): EnvelopeHash[] {
    const { ledger } = this.#options
    const state = ledger.feed(run.feed)
    return ledger.newDeps(run.feed, state === undefined ? ledger.pastAfter(run.previous) : ledger.pastAt(run.feed, state.applied))
  }

  /** Seals the next envelope of the run and stores it. */
  #admit(run: Run, stamp: Stamp, deps: readonly EnvelopeHash[], references: readonly BodyReference[], bodies: readonly Body[]): Envelope {
    const { identity, ledger, recordHeads } = this.#options
    const state = ledger.feed(run.feed)
    const header: Header = {
      format: formatVersion,
      rules: rulesVersion,
      agent: identity.agent,
      space: mainSpace,
      feed: run.feed,
      sequence: (state?.have ?? 0) + 1,
      previous: state?.head ?? run.previous,
      stamp,
      deps,
      records: recordHeads(),
      bodies: references,
      opening: run.opening,
    }
    const envelope = sealEnvelope(header, bodies, identity.key)
    if (!isWithinLimits(envelope)) {
      throw new SelfsameError(
        'too-large',
        'the request makes more than one envelope may hold: send it in parts, with fewer documents in each',
      )
    }
    assert(ledger.admit(envelope) === 'stored', 'the next envelope of the own run was not taken')
    if (run.opening !== null) {
      ledger.rows.meta.set(lastRunName, idToBytes(run.feed))
      run.opening = null
    }
    return envelope
  }

  #openRun(): Run {
    const { identity, ledger, random, store } = this.#options
    const last = store.meta(lastRunName)
    const lastFeed = last === undefined ? undefined : (Buffer.from(last).toString('hex') as FeedId)
    for (;;) {
      const opening: Opening = { instance: identity.instance, key: identity.key.publicKey, nonce: random.bytes(16) }
      const feed = feedIdOf(identity.agent, opening)
      const client = clientIdOf(feed)
      if (ledger.feedOfClient(client) !== undefined) continue
      const lastState = lastFeed === undefined ? undefined : ledger.feed(lastFeed)
      // What came back of the last run and is not applied yet is no part of what this one has seen.
      return { feed, client, opening, previous: lastState === undefined ? null : ledger.appliedHead(lastState), segments: new Map() }
    }
  }
}

/** Appends to the log's open segment, and to new ones where it is full or of another day. Changes nothing: gives the bodies, and what is then open. */
function appendToSegments(run: Run, document: DocumentId, log: DraftLog, day: number): { bodies: OwnBody[]; segment: OpenSegment } {
  const bodies: OwnBody[] = []
  const last = run.segments.get(document)
  let segment: OpenSegment = last?.name.day === day ? last : { name: { day, number: 0 }, entries: 0 }
  let from = 0
  while (from < log.entries.length) {
    if (segment.entries === segmentEntriesMax) segment = { name: { day, number: segment.name.number + 1 }, entries: 0 }
    const entries = log.entries.slice(from, from + segmentEntriesMax - segment.entries)
    const operations: OperationMark[] = []
    for (const index of entries.keys()) {
      const mark = log.marks.get(from + index)
      if (mark !== undefined) operations.push({ ...mark, index })
    }
    const update = openSegmentWriter(run.client, segment.entries).append(entries)
    bodies.push({ document, body: { kind: 'log', name: log.name, segment: segment.name, update, operations }, entries, keys: [] })
    segment = { name: segment.name, entries: segment.entries + entries.length }
    from += entries.length
  }
  return { bodies, segment }
}

/** Whether every peer would accept the envelope: the limits of its decoder. */
function isWithinLimits(envelope: Envelope): boolean {
  const { bodies, headerBytes } = envelope
  if (bodies.length > envelopeBodiesMax || headerBytes.length > headerBytesMax) return false
  return bodies.every((body) => body.bytes.length <= bodyBytesMax) && envelopeSize(envelope) <= envelopeBytesMax
}

/** Bytes of an operation's content, by estimate: exact for text, generous for JSON. */
function contentBytes(operation: LocalOperation): number {
  const overhead = 64 + operation.name.length
  if (operation.type === 'append') {
    const { text, data, kind, tags } = operation.entry
    const tagBytes = (tags ?? []).reduce((sum, tag) => sum + Buffer.byteLength(tag) + 4, 0)
    return overhead + Buffer.byteLength(text ?? '') + (data === undefined ? 0 : jsonBytes(data)) + tagBytes + Buffer.byteLength(kind ?? '')
  }
  const { edit } = operation
  switch (edit.type) {
    case 'text.put':
      return overhead + Buffer.byteLength(edit.text)
    case 'json.merge':
      return overhead + jsonBytes(edit.patch)
    case 'json.patch':
      return overhead + jsonBytes(edit.patch)
    case 'register.set':
      return overhead + Buffer.byteLength(edit.key) + jsonBytes(edit.value)
    case 'set.add':
    case 'set.remove':
      return overhead + Buffer.byteLength(edit.member)
    default:
      return overhead + Buffer.byteLength(edit.key)
  }
}

function jsonBytes(value: Json | readonly JsonPatchOperation[]): number {
  return Buffer.byteLength(JSON.stringify(value))
}

/** A request's operation as JSON, for its fingerprint: equal requests, equal text. */
function requestToJson(kind: DocumentKind, operation: LocalOperation): Json {
  if (operation.type === 'append') return { kind, name: operation.name, entry: operation.entry as unknown as Json }
  const edit = operation.edit.type === 'counter.add' ? { ...operation.edit, amount: operation.edit.amount.toString() } : operation.edit
  return { kind, name: operation.name, edit: edit as unknown as Json }
}
