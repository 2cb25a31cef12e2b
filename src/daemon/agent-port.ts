/** The API's port on the replica: turns JSON-shaped requests into operations, and what the replica answers into JSON-shaped values. */
import { createMatcher, integerToBigint, bigintToInteger, timeToMilliseconds } from '../api/index.ts'
import type { AgentPort, Author, Change, Evidence, LogEntry, Operation, Receipt } from '../api/index.ts'
import { SelfsameError, signingKeyOf, stampToMilliseconds } from '../core/index.ts'
import type { InstanceId, Stamp } from '../core/index.ts'
import type { DocumentKind, Edit, EntryContent, RegisterCell } from '../document/index.ts'
import type {
  Change as ReplicaChange,
  Evidence as ReplicaEvidence,
  LocalOperation,
  LogEntry as ReplicaLogEntry,
  Proof,
  Replica,
} from '../replica/index.ts'
import { attentionOf } from './attention.ts'
import { isoOf } from './iso-time.ts'
import type { Identity } from './home.ts'
import type { KeyChange } from './key-change.ts'
import { createMembershipPort } from './membership-port.ts'

export interface AgentPortOptions {
  readonly replica: Replica
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
  const { replica } = options
  const { identity, reader } = replica

  const authorOf = (instance: InstanceId): Author => ({
    id: instance,
    name:
      (replica.members.member(instance) ?? replica.members.former.find((former) => former.instance === instance))?.label ??
      instance.slice(0, 8),
  })

  const uptimeSeconds = (): number => Math.max(0, (options.now() - options.startedAt) / 1_000)

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

  const digestOf = async (kind: DocumentKind, name: string) => ({ kind, name, ...(await reader.digest(kind, name)) })

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
      const entry = reader.entry(name, id)
      const [proof] = await reader.provenance.proofs([entry])
      return entryToJson(entry, proof)
    },

    async readCounter(name) {
      const { totals } = await reader.value('counter', name)
      return { totals: Object.fromEntries(Array.from(totals, ([key, total]) => [key, bigintToInteger(total)])) }
    },

    async readSet(name) {
      return { members: (await reader.value('set', name)).members }
    },

    async readRegister(name) {
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
      const { text, version } = await reader.value('text', name)
      return { text, version }
    },

    async readJson(name) {
      return { value: (await reader.value('json', name)).value }
    },

    async blame(kind, name) {
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
      return reader
        .documents()
        .filter((document) => (kind === undefined || document.kind === kind) && (prefix === undefined || document.name.startsWith(prefix)))
        .map((document) => ({ kind: document.kind, name: document.name, versionKey: reader.versionKey(document.kind, document.name) }))
    },

    digest: digestOf,

    async digests() {
      const digests = []
      for (const { kind, name } of reader.documents()) digests.push(await digestOf(kind, name))
      return digests
    },

    async changes({ patterns, cursor, limit }) {
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

    async status() {
      const member = replica.members.member(identity.instance)
      return {
        version: options.version,
        agent: { id: identity.agent, name: options.agentName },
        instance: { ...authorOf(identity.instance), role: member?.role ?? null, key: identity.key.publicKey },
        home: options.home,
        processId: options.processId,
        uptimeSeconds: uptimeSeconds(),
        network: { paused: !replica.isNetworkRunning, addresses: replica.addresses() },
        peers: replica.peers().map((peer) => ({
          instance: authorOf(peer.instance),
          state: peer.state,
          address: peer.address,
          lastSeen: peer.toldAt === null ? null : isoOf(peer.toldAt),
          behind: peer.behind,
          ahead: peer.ahead,
          told: peer.toldAt === null ? null : isoOf(peer.toldAt),
        })),
        documents: reader.documents().length,
        entries: reader.entryTotal(),
        attention: attentionOf(replica, options.now(), (instance) => authorOf(instance).name),
      }
    },

    async health() {
      const attention = attentionOf(replica, options.now(), (instance) => authorOf(instance).name)
      return { state: attention.length === 0 ? 'ok' : 'attention', uptimeSeconds: uptimeSeconds(), attention }
    },

    async replaceKey({ name, newInstance = false }) {
      const next = await options.changeKey({ name, newInstance })
      return { instance: { id: next.instance, name: next.name }, key: signingKeyOf(next.deviceSeed).publicKey }
    },

    async shutdown() {
      options.requestShutdown()
    },
  }
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

/** Cases of one sort in one answer: there can be as many as a hostile member makes. */
const evidencePerSortMax = 1_000
