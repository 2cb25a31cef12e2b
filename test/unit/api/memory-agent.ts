/** A small agent in memory behind the API's port (one instance, every write durable at once, the semantics of one writer), and tokens that nothing keeps. */
import { createHash } from 'node:crypto'
import { SelfsameError, systemClock, systemRandom } from '../../../src/core/index.ts'
import type { Clock } from '../../../src/core/index.ts'
import { bigintToInteger, createMatcher, integerToBigint, openTokens, timeToMilliseconds } from '../../../src/api/index.ts'
import type {
  AgentPort,
  Alert,
  Change,
  EntryInput,
  Json,
  LogEntry,
  Member,
  MembershipChange,
  Operation,
  Presence,
  Receipt,
  Tokens,
  TokenShelf,
  WriteRequest,
} from '../../../src/api/index.ts'

const author = { id: 'ab'.repeat(16), name: 'laptop' }
const feed = 'cd'.repeat(16)
const epoch = 'e1'
const proof = {
  hash: 'ef'.repeat(32),
  key: '12'.repeat(32),
  written: new Date(1_800_000_000_000).toISOString(),
  signedAt: 1,
  verified: true,
}

const member: Member = {
  ...author,
  role: 'admin',
  key: '12'.repeat(32),
  admitted: proof.written,
  admittedBy: null,
  self: true,
  connected: true,
  lastSeen: proof.written,
  program: 'selfsame 0.0.0',
}

interface Stored {
  readonly time: number
  readonly entry: LogEntry
}

export interface MemoryAgent extends AgentPort {
  /** Requests as they came to `write`. */
  readonly requests: WriteRequest[]
  /** What was asked of the membership: what it was, the id, and the rest. */
  readonly membershipRequests: (readonly string[])[]
  /** What `write` waits for before it commits: a slow disk. */
  slow: () => Promise<void>
  /** Called before each write; may throw. */
  fail: (request: WriteRequest) => void
  readonly listeners: number
  entriesOf(name: string): readonly LogEntry[]
  stopped: boolean
  raised: readonly Alert[]
  /** Why it is not ready. */
  unready: string | null
  readonly alertListeners: number
  /** These alerts are raised from now on, and no others. */
  raise(alerts: readonly Alert[]): void
}

export function createMemoryAgent(): MemoryAgent {
  const logs = new Map<string, Stored[]>()
  const counters = new Map<string, Map<string, bigint>>()
  const sets = new Map<string, Set<string>>()
  const registers = new Map<string, Map<string, { value: Json; time: string }>>()
  const texts = new Map<string, { text: string; readonly versions: Set<string> }>()
  const jsons = new Map<string, Json>()
  const receipts = new Map<string, { readonly body: string; readonly receipt: Receipt }>()
  const entryIds = new Map<string, string>()
  const changes: Change[] = []
  const listeners = new Set<() => void>()
  const alertListeners = new Set<() => void>()
  const requests: WriteRequest[] = []
  let sequence = 0
  let presence: Json = null
  let paused = false

  const at = <K, V>(map: Map<K, V>, key: K, make: () => V): V => {
    const found = map.get(key) ?? make()
    map.set(key, found)
    return found
  }

  function append(name: string, inputs: readonly EntryInput[], time: string): { ids: string[]; fresh: LogEntry[] } {
    const log = at(logs, name, () => [])
    const fresh: LogEntry[] = []
    const ids = inputs.map(({ time: given, operationId, ...content }, index) => {
      const known = operationId === undefined ? undefined : entryIds.get(operationId)
      if (known !== undefined) return known
      const id = `${sequence.toString(16).padStart(8, '0')}${index.toString(16).padStart(4, '0')}`.padStart(60, '0')
      const milliseconds = given === undefined ? Date.parse(time) : timeToMilliseconds(given)
      const entry: LogEntry = { id, time: new Date(milliseconds).toISOString(), author, ...content, envelope: { feed, sequence } }
      log.push({ time: milliseconds, entry })
      fresh.push(entry)
      if (operationId !== undefined) entryIds.set(operationId, id)
      return id
    })
    log.sort((a, b) => a.time - b.time || (a.entry.id < b.entry.id ? -1 : 1))
    return { ids, fresh }
  }

  function apply(operation: Operation, time: string): { keys?: string[]; fresh?: LogEntry[]; ids?: string[] } {
    const { name } = operation
    switch (operation.type) {
      case 'log.append':
        return append(name, operation.entries, time)
      case 'counter.add': {
        const counter = at(counters, name, () => new Map<string, bigint>())
        counter.set(operation.key, (counter.get(operation.key) ?? 0n) + integerToBigint(operation.amount))
        return { keys: [operation.key] }
      }
      case 'set.add':
        at(sets, name, () => new Set<string>()).add(operation.member)
        return { keys: [operation.member] }
      case 'set.remove':
        at(sets, name, () => new Set<string>()).delete(operation.member)
        return { keys: [operation.member] }
      case 'register.set':
        at(registers, name, () => new Map<string, { value: Json; time: string }>()).set(operation.key, { value: operation.value, time })
        return { keys: [operation.key] }
      case 'register.delete':
        registers.get(name)?.delete(operation.key)
        return { keys: [operation.key] }
      case 'text.put': {
        const document = at(texts, name, () => ({ text: '', versions: new Set([versionOf('')]) }))
        document.text = operation.text
        document.versions.add(versionOf(operation.text))
        return {}
      }
      case 'json.merge':
        jsons.set(name, merge(jsons.get(name) ?? {}, operation.patch))
        return {}
      case 'json.patch':
        for (const step of operation.patch) {
          const root = { ...(jsons.get(name) as Record<string, Json> | undefined) }
          const key = step.path.slice(1)
          if (step.op === 'add' || step.op === 'replace') root[key] = step.value
          jsons.set(name, root)
        }
        return {}
    }
  }

  /** Refuses before anything is applied, so that a batch is atomic. */
  function check(operation: Operation): void {
    if (operation.name.split('/').some((part) => part === '' || part === '.' || part === '..')) {
      throw new SelfsameError('invalid-name', `${JSON.stringify(operation.name)} has an empty, "." or ".." segment`)
    }
    if (operation.type === 'counter.add') {
      const total = (counters.get(operation.name)?.get(operation.key) ?? 0n) + integerToBigint(operation.amount)
      if (total !== BigInt.asIntN(64, total)) throw new SelfsameError('overflow', 'the counter would leave the range of 64 bits')
    }
    if (operation.type === 'text.put' && operation.base !== undefined && operation.base !== versionOf('')) {
      if (texts.get(operation.name)?.versions.has(operation.base) !== true)
        throw new SelfsameError('base-unknown', 'that version is not known here')
    }
    if (operation.type === 'json.patch') {
      for (const step of operation.patch) {
        if (step.op === 'test') throw new SelfsameError('patch-failed', `operation 0: ${step.path} is something else`)
      }
    }
  }

  const membershipRequests: (readonly string[])[] = []
  function changeMembership(...request: readonly string[]): MembershipChange {
    membershipRequests.push(request)
    if (request[1] !== author.id) throw new SelfsameError('not-found', `there is no instance ${request[1]}`)
    return { told: [author], untold: [] }
  }

  const agent: MemoryAgent = {
    requests,
    membershipRequests,
    slow: async () => {},
    fail: () => {},
    stopped: false,
    get listeners() {
      return listeners.size
    },
    entriesOf: (name) => (logs.get(name) ?? []).map(({ entry }) => entry),

    async write(request) {
      requests.push(request)
      agent.fail(request)
      await agent.slow()
      const { operations, operationId, replicas } = request
      const body = JSON.stringify(operations)
      const known = operationId === undefined ? undefined : receipts.get(operationId)
      if (known !== undefined) {
        if (known.body !== body) throw new SelfsameError('operation-mismatch', 'that operation id was used for another request')
        return { ...known.receipt, repeated: true }
      }
      for (const operation of operations) check(operation)
      sequence += 1
      const time = new Date(1_800_000_000_000 + sequence).toISOString()
      const ids: string[] = []
      let appended = 0
      for (const operation of operations) {
        const done = apply(operation, time)
        ids.push(...(done.ids ?? []))
        appended += done.fresh?.length ?? 0
        changes.push({
          cursor: `${epoch}:${changes.length + 1}`,
          kind: operation.type.split('.')[0] as Change['kind'],
          name: operation.name,
          time,
          author,
          local: true,
          envelope: { feed, sequence },
          ...(done.fresh === undefined ? {} : { entries: done.fresh }),
          ...(done.keys === undefined ? {} : { keys: done.keys }),
        })
      }
      const logged = operations.some((operation) => operation.type === 'log.append')
      const receipt: Receipt = {
        feed,
        sequence,
        time,
        replicas: { asked: replicas, held: 1 },
        repeated: false,
        ...(logged ? { entries: ids, appended, alreadyThere: ids.length - appended } : {}),
      }
      if (operationId !== undefined) receipts.set(operationId, { body, receipt })
      for (const listener of listeners) listener()
      return receipt
    },

    async readLog(name, { since = 0, until = Infinity, tag, kind, limit, cursor, order, provenance }) {
      const matching = (logs.get(name) ?? []).filter(
        ({ time, entry }) =>
          time >= since &&
          time < until &&
          (tag === undefined || entry.tags?.includes(tag) === true) &&
          (kind === undefined || entry.kind === kind),
      )
      const ordered = order === 'oldest' ? matching : matching.toReversed()
      const from = cursor === undefined ? 0 : ordered.findIndex(({ entry }) => entry.id === cursor) + 1
      if (cursor !== undefined && from === 0) throw new SelfsameError('cursor-expired', 'read again from the start')
      const page = ordered.slice(from, from + limit).map(({ entry }) => entry)
      return {
        entries: provenance ? page.map((entry) => ({ ...entry, provenance: proof })) : page,
        next: from + limit < ordered.length ? (page.at(-1)?.id ?? null) : null,
      }
    },
    async readEntry(name, id) {
      const found = logs.get(name)?.find(({ entry }) => entry.id === id)
      if (found === undefined) throw new SelfsameError('not-found', `there is no entry ${id}`)
      return { ...found.entry, provenance: proof }
    },
    blame: async (kind, name) => ({
      kind,
      name,
      parts: kind === 'text' ? [{ text: texts.get(name)?.text ?? '', time: proof.written, author, envelope: { feed, sequence: 1 } }] : [],
    }),
    replaceKey: async () => ({ instance: author, key: '12'.repeat(32) }),
    evidence: async () => ({
      evidence: [{ kind: 'refused-peer', reason: 'no member has its key', time: proof.written, key: '34'.repeat(32) }],
      omitted: 0,
    }),
    readCounter: async (name) => ({
      totals: Object.fromEntries([...(counters.get(name) ?? [])].map(([key, total]) => [key, bigintToInteger(total)])),
    }),
    readSet: async (name) => ({ members: [...(sets.get(name) ?? [])].sort() }),
    readRegister: async (name) => ({
      cells: Object.fromEntries([...(registers.get(name) ?? [])].map(([key, cell]) => [key, { ...cell, author, siblings: [] }])),
    }),
    async readText(name) {
      const text = texts.get(name)?.text ?? ''
      return { text, version: versionOf(text) }
    },
    readJson: async (name) => ({ value: jsons.get(name) ?? {} }),

    async documents({ kind, prefix = '' }) {
      const found = (documentKind: Change['kind'], names: Iterable<string>) =>
        [...names].map((name) => ({ kind: documentKind, name, versionKey: versionOf(name) }))
      const namesByKind = { log: logs, counter: counters, set: sets, register: registers, text: texts, json: jsons }
      return (Object.keys(namesByKind) as Change['kind'][])
        .flatMap((each) => found(each, namesByKind[each].keys()))
        .filter((document) => (kind === undefined || document.kind === kind) && document.name.startsWith(prefix))
    },
    async digest(kind, name) {
      const found = (await agent.digests()).find((digest) => digest.kind === kind && digest.name === name)
      if (found === undefined) throw new SelfsameError('not-found', `there is no ${kind} ${name}`)
      return found
    },
    digests: async () => (await agent.documents({})).map((document) => ({ ...document, digest: `1:${versionOf(document.name)}` })),

    async changes({ patterns, cursor, limit }) {
      const from = cursor === 'now' ? changes.length : cursor === 'start' ? 0 : positionOf(cursor)
      const matches = createMatcher(patterns)
      // Looks at a bounded stretch, so that pages without a match occur.
      const stretch = changes.slice(from, from + limit)
      return {
        changes: stretch.filter(({ kind, name }) => matches(kind, name)),
        cursor: `${epoch}:${from + stretch.length}`,
        more: from + stretch.length < changes.length,
      }
    },
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },

    async setPresence(state) {
      presence = state
    },
    presence: async (): Promise<readonly Presence[]> => (presence === null ? [] : [{ instance: author, state: presence, self: true }]),
    async pauseNetwork() {
      paused = true
      return { paused }
    },
    async resumeNetwork() {
      paused = false
      return { paused }
    },
    invite: async ({ expiresSeconds, role }) => ({
      ticket: `selfsame-${role}`,
      expires: new Date(1_800_000_000_000 + expiresSeconds * 1_000).toISOString(),
      addresses: ['/ip4/127.0.0.1/tcp/1'],
      reach: 'loopback',
    }),
    invites: async () => [{ id: '56'.repeat(32), role: 'writer', name: null, usesLeft: 1, expires: proof.written }],
    async revokeInvite(id) {
      if (!'56'.repeat(32).startsWith(id)) throw new SelfsameError('not-found', 'there is no such invite')
    },
    members: async () => ({ members: [member], former: [] }),
    async findMember(name) {
      if (name !== author.name && name !== author.id) throw new SelfsameError('not-found', `there is no instance ${name}`)
      return member
    },
    giveRole: async (id, role, reason) => changeMembership('role', id, role, reason),
    renameMember: async (id, name) => changeMembership('rename', id, name),
    removeMember: async (id, reason) => changeMembership('remove', id, reason),
    status: async () => ({
      state: paused ? 'degraded' : 'healthy',
      version: '0.0.0',
      agent: { id: 'aa', name: 'kevin' },
      instance: { ...author, role: 'admin', key: '12'.repeat(32) },
      home: '/somewhere',
      processId: 1,
      uptimeSeconds: 1.5,
      network: { paused, addresses: [] },
      peers: [
        {
          instance: author,
          state: 'offline',
          address: null,
          direction: null,
          roundTripMilliseconds: null,
          clockAheadMilliseconds: null,
          program: null,
          lastSeen: null,
          behind: null,
          ahead: null,
          told: null,
          lacks: null,
          digests: { state: 'unknown', documents: 0, first: [], time: null },
        },
      ],
      documents: logs.size,
      entries: [...logs.values()].reduce((sum, log) => sum + log.length, 0),
      signals: { driftPercent: null, lagSeconds: null, recoverySeconds: 0.5, rebuildSeconds: null, conflicts: 0, conflictedDocuments: [] },
      attention: paused ? [{ kind: 'paused', detail: 'the network is paused', since: new Date(1_800_000_000_000).toISOString() }] : [],
    }),
    async health() {
      const { attention, uptimeSeconds } = await agent.status()
      return { state: attention.length === 0 ? 'ok' : 'attention', uptimeSeconds, attention }
    },
    async ready() {
      if (agent.unready !== null) throw new SelfsameError('unavailable', agent.unready)
      return { ready: true, uptimeSeconds: 1.5 }
    },
    unready: null,
    get alertListeners() {
      return alertListeners.size
    },
    verify: async () => ({ state: 'same', time: proof.written, documents: 1, undigested: 0, findings: [], instances: [] }),
    rebuild: async () => ({ began: proof.written, seconds: 0.5 }),
    metrics: async () => 'selfsame_documents 0\n',
    alerts: () => agent.raised,
    onAlert(listener) {
      alertListeners.add(listener)
      return () => void alertListeners.delete(listener)
    },
    raise(alerts) {
      agent.raised = alerts
      for (const listener of alertListeners) listener()
    },
    raised: [],
    async shutdown() {
      agent.stopped = true
    },
  }
  return agent
}

export function createMemoryTokens(clock: Clock = systemClock): Tokens {
  return openTokens({ shelf: createMemoryShelf(), clock, random: systemRandom })
}

/** A shelf that holds `text`, and what is written to it. */
export function createMemoryShelf(text?: string): TokenShelf {
  let held = text
  return {
    read: () => held,
    write(next) {
      held = next
    },
  }
}

function positionOf(cursor: string): number {
  const [state, position] = cursor.split(':')
  if (state !== epoch || position === undefined)
    throw new SelfsameError('cursor-expired', 'read again: the cursor is from another state of this home')
  return Number(position)
}

function versionOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function merge(target: Json, patch: Json): Json {
  if (!isObject(patch)) return patch
  const result: Record<string, Json> = isObject(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = merge(result[key] ?? null, value)
  }
  return result
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
