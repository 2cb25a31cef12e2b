/** The API's port on the replica: turns JSON-shaped requests into operations, and what the replica answers into JSON-shaped values. */
import { createMatcher, integerToBigint, bigintToInteger, timeToMilliseconds } from '../api/index.ts'
import type { AgentPort, Alert, Attention, Author, Change, Evidence, LogEntry, Operation, Peer, Receipt } from '../api/index.ts'
import { SelfsameError, signingKeyOf, stampToMilliseconds } from '../core/index.ts'
import type { DocumentId, InstanceId, Stamp } from '../core/index.ts'
import type { DocumentKind, Edit, EntryContent, RegisterCell } from '../document/index.ts'
import type {
  Change as ReplicaChange,
  Evidence as ReplicaEvidence,
  LocalOperation,
  LogEntry as ReplicaLogEntry,
  PeerState,
  Proof,
  Replica,
  Shortfall,
} from '../replica/index.ts'
import { signalKinds } from '../health/index.ts'
import { attentionOf, rebuildText } from './attention.ts'
import type { HealthWatch } from './health-watch.ts'
import { createCoherencePort } from './coherence-port.ts'
import { isoOf } from './iso-time.ts'
import type { Identity } from './home.ts'
import type { KeyChange } from './key-change.ts'
import { conflictTotal } from './metrics.ts'
import type { Metrics } from './metrics.ts'
import { createMembershipPort } from './membership-port.ts'

export interface AgentPortOptions {
  readonly replica: Replica
  readonly watch: HealthWatch
  readonly metrics: Pick<Metrics, 'text'>
  readonly home: string
  readonly agentName: string
  readonly version: string
  readonly processId: number
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  readonly startedAt: number
  readonly requestShutdown: () => void
  /** Replaces the key, and begins anew. Gives who this instance then is. */
  readonly changeKey: (change: KeyChange) => Promise<Identity>
}

export function createAgentPort(options: AgentPortOptions): AgentPort {
  const { metrics, replica, watch } = options
  const { identity, reader } = replica

  const authorOf = (instance: InstanceId): Author => ({
    id: instance,
    name: (replica.members.member(instance) ?? replica.members.formerMember(instance))?.label ?? instance.slice(0, 8),
  })

  const { digestsOf: peerDigestsOf, ...coherencePort } = createCoherencePort({ replica, authorOf })

  const uptimeSeconds = (): number => Math.max(0, (options.now() - options.startedAt) / 1_000)

  /** The cases as they are now, and the signals as they were at the last look. */
  const attention = (): Attention[] => {
    const cases = attentionOf(replica, options.now(), (instance) => authorOf(instance).name)
    return [...cases, ...watch.raised.filter(({ kind }) => signalKinds.has(kind))].map(attentionToJson)
  }

  function peerToJson(peer: PeerState, lacking: Shortfall | undefined, places: ReadonlyMap<DocumentId, DocumentPlace>): Peer {
    const { ahead, behind, address, clockAheadMilliseconds, direction, instance, program, roundTripMilliseconds, state, toldAt } = peer
    const told = toldAt === null ? null : isoOf(toldAt)
    const first = lacking?.documents.slice(0, documentsNamedMax).flatMap((document) => places.get(document) ?? [])
    return {
      instance: authorOf(instance),
      state,
      address,
      direction,
      roundTripMilliseconds,
      clockAheadMilliseconds,
      program,
      lastSeen: told,
      behind,
      ahead,
      told,
      lacks: lacking === undefined || first === undefined ? null : { documents: lacking.documents.length, first },
      digests: peerDigestsOf(instance),
    }
  }

  function entryToJson(entry: ReplicaLogEntry, proof?: Proof): LogEntry {
    const { content, feed, id, sequence, stamp, time } = entry
    return {
      id,
      time: isoOf(time),
      author: authorOf(entry.author),
      ...(content.kind === undefined ? {} : { kind: content.kind }),
      ...(content.text === undefined ? {} : { text: content.text }),
      ...(content.data === undefined ? {} : { data: content.data }),
      ...(content.tags === undefined ? {} : { tags: content.tags }),
      envelope: { feed, sequence },
      ...(proof === undefined ? {} : { provenance: proofToJson(proof, stamp) }),
    }
  }

  function evidenceToJson({ at, author, ...found }: ReplicaEvidence): Evidence {
    return { ...found, time: at === null ? null : isoOf(at), ...(author === undefined ? {} : { author: authorOf(author) }) }
  }

  function changeToJson(change: ReplicaChange): Change {
    const { cursor, entries, feed, keys, kind, name, sequence, stamp } = change
    return {
      cursor,
      kind,
      name,
      time: isoOf(stampToMilliseconds(stamp)),
      author: authorOf(change.author),
      local: change.author === identity.instance,
      envelope: { feed, sequence },
      ...(kind === 'log' ? { entries: entries.map((entry) => entryToJson(entry)) } : {}),
      ...(keys.length > 0 ? { keys } : {}),
    }
  }

  const digestOf = async (kind: DocumentKind, name: string) => {
    await replica.whole()
    return { kind, name, ...(await reader.digest(kind, name)) }
  }

  return {
    async write(request) {
      const write = {
        operations: request.operations.flatMap(operationsOf),
        ...(request.operationId === undefined ? {} : { operationId: request.operationId }),
      }
      const receipt = await replica.write(write, request.replicas, request.timeoutMs)
      const appends = write.operations.some((operation) => operation.type === 'append')
      const answer: Receipt = {
        feed: receipt.place?.feed ?? null,
        sequence: receipt.place?.sequence ?? 0,
        time: isoOf(stampToMilliseconds(receipt.stamp)),
        replicas: { asked: receipt.asked, held: receipt.held },
        repeated: receipt.repeated,
        ...(appends
          ? { entries: receipt.entries, appended: receipt.entries.length - receipt.alreadyThere, alreadyThere: receipt.alreadyThere }
          : {}),
      }
      return answer
    },

    async readLog(name, query) {
      await replica.whole()
      const page = reader.log(name, {
        timeMin: query.since,
        timeMax: query.until,
        tag: query.tag,
        kind: query.kind,
        limit: query.limit,
        newestFirst: query.order === 'newest',
        after: query.cursor === undefined ? undefined : entryCursorOf(query.cursor),
      })
      const proofs = query.provenance ? await reader.provenance.proofs(page.entries) : []
      return {
        entries: page.entries.map((entry, index) => entryToJson(entry, proofs[index])),
        next: page.next === null ? null : `${page.next.time}-${page.next.id}`,
      }
    },

    async readEntry(name, id) {
      await replica.whole()
      const entry = reader.entry(name, id)
      const [proof] = await reader.provenance.proofs([entry])
      return entryToJson(entry, proof)
    },

    async readCounter(name) {
      await replica.whole()
      const { totals } = await reader.value('counter', name)
      return { totals: Object.fromEntries(Array.from(totals, ([key, total]) => [key, bigintToInteger(total)])) }
    },

    async readSet(name) {
      await replica.whole()
      return { members: (await reader.value('set', name)).members }
    },

    async readRegister(name) {
      await replica.whole()
      const cellToJson = ({ value, stamp, client }: RegisterCell) => ({
        value,
        time: isoOf(stampToMilliseconds(stamp)),
        author: authorOf(reader.authorOfClient(client)),
      })
      const { cells } = await reader.value('register', name)
      const entries = Array.from(cells, ([key, [winner, ...siblings]]) => [
        key,
        { ...cellToJson(winner as RegisterCell), siblings: siblings.map(cellToJson) },
      ])
      return { cells: Object.fromEntries(entries) as Awaited<ReturnType<AgentPort['readRegister']>>['cells'] }
    },

    async readText(name) {
      await replica.whole()
      const { text, version } = await reader.value('text', name)
      return { text, version }
    },

    async readJson(name) {
      await replica.whole()
      return { value: (await reader.value('json', name)).value }
    },

    async blame(kind, name) {
      await replica.whole()
      const parts = await reader.provenance.blame(kind, name)
      return {
        kind,
        name,
        parts: parts.map(({ origin: { author, feed, sequence, stamp }, value, ...part }) => ({
          ...part,
          ...(value === undefined ? {} : { value: typeof value === 'bigint' ? bigintToInteger(value) : value }),
          time: isoOf(stampToMilliseconds(stamp)),
          author: authorOf(author),
          envelope: { feed, sequence },
        })),
      }
    },

    async evidence() {
      const { evidence } = replica
      const quarantine = evidence.quarantine(evidencePerSortMax)
      const sorts = [evidence.cases(), quarantine.found, evidence.refusedFeeds(), evidence.refusedPeers()]
      const shown = sorts.flatMap((sort) => sort.slice(0, evidencePerSortMax))
      const total = sorts.reduce((sum, sort) => sum + sort.length, quarantine.total - quarantine.found.length)
      return { evidence: shown.map(evidenceToJson), omitted: total - shown.length }
    },

    async documents({ kind, prefix }) {
      await replica.whole()
      return reader
        .documents()
        .filter((document) => (kind === undefined || document.kind === kind) && (prefix === undefined || document.name.startsWith(prefix)))
        .map((document) => ({ kind: document.kind, name: document.name, versionKey: reader.versionKey(document.kind, document.name) }))
    },

    digest: digestOf,

    async digests() {
      await replica.whole()
      const digests = []
      for (const { kind, name } of reader.documents()) digests.push(await digestOf(kind, name))
      return digests
    },

    async changes({ patterns, cursor, limit }) {
      await replica.whole()
      if (cursor === 'now') return { changes: [], cursor: reader.cursorNow(), more: false }
      const page = reader.changes(cursor === 'start' ? reader.cursorStart : cursor, limit)
      const matches = createMatcher(patterns)
      const changes = page.changes.filter(({ kind, name }) => patterns.length === 0 || matches(kind, name))
      return { changes: changes.map(changeToJson), cursor: page.cursor, more: page.more }
    },

    onChange: (listener) => replica.onChange(listener),

    async setPresence(state) {
      replica.setPresence(state === null ? null : { state })
    },

    async presence() {
      return replica.presence().map(({ instance, state }) => ({
        instance: authorOf(instance),
        state: state['state'] ?? null,
        self: instance === identity.instance,
      }))
    },

    async pauseNetwork() {
      await replica.pause()
      return { paused: true }
    },

    async resumeNetwork() {
      await replica.resume()
      return { paused: false }
    },

    ...createMembershipPort({ replica, authorOf, program: `selfsame ${options.version}`, now: options.now }),

    ...coherencePort,

    async status() {
      const member = replica.members.member(identity.instance)
      const coverage = await replica.coverage(replica.standing())
      const shortfalls = new Map(coverage.members.map((shortfall) => [shortfall.instance, shortfall]))
      const documents = reader.documents()
      const places = new Map(documents.map(({ document, kind, name }) => [document, { kind, name }]))
      const { driftPercent, lagMilliseconds, rebuildMilliseconds, recoveryMilliseconds } = watch.signals
      const conflicted = [...replica.conflicts].toSorted(([, a], [, b]) => b - a).slice(0, documentsNamedMax)
      const lines = attention()
      return {
        state: lines.length === 0 ? 'healthy' : 'degraded',
        version: options.version,
        agent: { id: identity.agent, name: options.agentName },
        instance: { ...authorOf(identity.instance), role: member?.role ?? null, key: identity.key.publicKey },
        home: options.home,
        processId: options.processId,
        uptimeSeconds: uptimeSeconds(),
        network: { paused: !replica.isNetworkRunning, addresses: replica.addresses() },
        peers: replica.peers().map((peer) => peerToJson(peer, shortfalls.get(peer.instance), places)),
        documents: documents.length,
        entries: reader.entryTotal(),
        signals: {
          driftPercent,
          lagSeconds: secondsOf(lagMilliseconds),
          recoverySeconds: secondsOf(recoveryMilliseconds),
          rebuildSeconds: secondsOf(rebuildMilliseconds),
          conflicts: conflictTotal(replica),
          conflictedDocuments: conflicted.flatMap(([document, conflicts]) => {
            const place = places.get(document)
            return place === undefined ? [] : [{ ...place, conflicts }]
          }),
        },
        attention: lines,
      }
    },

    async health() {
      const { raised } = watch
      return { state: raised.length === 0 ? 'ok' : 'attention', uptimeSeconds: uptimeSeconds(), attention: raised.map(attentionToJson) }
    },

    async ready() {
      const { commitMilliseconds, isReadable } = replica.progress
      if (!isReadable) throw new SelfsameError('unavailable', 'the database is being opened anew: look at the disk and the log')
      if (replica.rebuildShare !== null) throw new SelfsameError('unavailable', rebuildText(replica.rebuildShare))
      if (replica.isReadOnly) throw new SelfsameError('read-only', 'there is no space left: reads only, until some is free')
      if (commitMilliseconds > commitMillisecondsMax)
        throw new SelfsameError(
          'unavailable',
          `a commit has been under way for ${Math.round(commitMilliseconds / 1_000)} s: look at the disk`,
        )
      if (watch.quietMilliseconds > quietMillisecondsMax)
        throw new SelfsameError('unavailable', 'the daemon has not been able to look after itself lately: look at its log')
      return { ready: true, uptimeSeconds: uptimeSeconds() }
    },

    metrics: () => metrics.text(),

    alerts: () =>
      watch.raised.map(({ detail, id, kind, raisedAt, since }): Alert => ({
        id,
        kind,
        detail,
        since: isoOf(since),
        raised: isoOf(raisedAt),
      })),

    onAlert: (listener) => watch.onChange(listener),

    async replaceKey({ name, newInstance = false }) {
      const next = await options.changeKey({ name, newInstance })
      return { instance: { id: next.instance, name: next.name }, key: signingKeyOf(next.deviceSeed).publicKey }
    },

    async shutdown() {
      options.requestShutdown()
    },
  }
}

interface DocumentPlace {
  readonly kind: DocumentKind
  readonly name: string
}

function attentionToJson({ detail, kind, since }: { readonly kind: string; readonly detail: string; readonly since: number }): Attention {
  return { kind, detail, since: isoOf(since) }
}

function secondsOf(milliseconds: number | null): number | null {
  return milliseconds === null ? null : milliseconds / 1_000
}

function operationsOf(operation: Operation): LocalOperation[] {
  const { name } = operation
  if (operation.type === 'log.append') {
    return operation.entries.map(({ operationId, text, data, kind, tags, time }) => {
      const entry: EntryContent = {
        ...(text === undefined ? {} : { text }),
        ...(data === undefined ? {} : { data }),
        ...(kind === undefined ? {} : { kind }),
        ...(tags === undefined ? {} : { tags }),
        ...(time === undefined ? {} : { time: timeToMilliseconds(time) }),
      }
      return { type: 'append', name, entry, operationId }
    })
  }
  const edit = (kind: Extract<LocalOperation, { type: 'edit' }>['kind'], change: Edit): LocalOperation[] => [
    { type: 'edit', kind, name, edit: change },
  ]
  switch (operation.type) {
    case 'counter.add':
      return edit('counter', { type: 'counter.add', key: operation.key, amount: integerToBigint(operation.amount) })
    case 'set.add':
      return edit('set', { type: 'set.add', member: operation.member })
    case 'set.remove':
      return edit('set', { type: 'set.remove', member: operation.member })
    case 'register.set':
      return edit('register', { type: 'register.set', key: operation.key, value: operation.value })
    case 'register.delete':
      return edit('register', { type: 'register.delete', key: operation.key })
    case 'text.put':
      return edit('text', { type: 'text.put', text: operation.text, base: operation.base ?? null })
    case 'json.merge':
      return edit('json', { type: 'json.merge', patch: operation.patch })
    case 'json.patch':
      return edit('json', { type: 'json.patch', patch: operation.patch })
  }
}

function entryCursorOf(cursor: string): { time: number; id: string } {
  const parts = /^(-?\d{1,15})-([0-9a-f]{60})$/.exec(cursor)
  if (parts === null)
    throw new SelfsameError('invalid-request', `${JSON.stringify(cursor)} is not a cursor: give back the 'next' of an earlier page`)
  return { time: Number(parts[1]), id: parts[2] as string }
}

function proofToJson({ hash, isVerified, key, signedAt }: Proof, stamp: Stamp): NonNullable<LogEntry['provenance']> {
  return { hash, key, written: isoOf(stampToMilliseconds(stamp)), signedAt, verified: isVerified }
}

/** Documents that an answer names where it counts all. */
const documentsNamedMax = 10
/** How long a commit may take before the daemon is not ready any more: far beyond any fsync of a disk that works. */
const commitMillisecondsMax = 30_000
/** How long the health may go without a look: several of them. */
const quietMillisecondsMax = 60_000

/** Cases of one sort in one answer: there can be as many as a hostile member makes. */
const evidencePerSortMax = 1_000
