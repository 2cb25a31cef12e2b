/**
 * The client library: what a program or a command imports to reach the daemon beside it. It adds no logic to the API, and it is a
 * front of its own beside `index.ts` because it loads neither schemas nor server: a command starts in a tenth of the time.
 */
import type { ClientRequest } from 'node:http'
import { createParser } from 'eventsource-parser'
import type { EventSourceMessage } from 'eventsource-parser'
import { SelfsameError, systemClock } from '../core/index.ts'
import type { ErrorCode } from '../core/index.ts'
import type {
  Agent,
  AgentSet,
  AlertEvent,
  ConnectOptions,
  Counter,
  ImportOptions,
  JsonDocument,
  Log,
  PageOptions,
  ReadOptions,
  Register,
  TailOptions,
  Text,
  WatchOptions,
  WriteOptions,
} from './agent.ts'
import type { RouteBody, RouteQuery } from './contract.ts'
import { checkSocketDirectory, homePathOf, socketPathOf, tokenOf } from './home-path.ts'
import { abortReason, createConnection } from './http-connection.ts'
import type { Connection, Place, RequestOptions } from './http-connection.ts'
import { linesOf } from './lines.ts'
import { problemToError } from './problem.ts'
import type { Alert, Change, EntryInput, ImportProgress, LogEntry } from './schemas.ts'
import { loopbackOf } from './tcp.ts'
import { bigintToInteger, integerToBigint } from './values.ts'

export { SelfsameError } from '../core/index.ts'
export type { ErrorCode } from '../core/index.ts'
export type * from './agent.ts'
export { homePathOf, socketPathOf } from './home-path.ts'
export type * from './schemas.ts'
export { bigintToInteger, integerToBigint, timeToMilliseconds } from './values.ts'

/** Entries fetched at a time by `read`. */
const readPageEntries = 500
/** UTF-16 units of lines sent in one piece. */
const sendLengthMax = 64 << 10
/** Bytes of one line of progress: what the server sends is far smaller. */
const progressLineBytesMax = 64 << 10
/** UTF-16 units of one event: a change of a log carries at most an envelope of entries. */
const eventLengthMax = 16 << 20
/** How long a watch waits before it connects again: doubled at each failure up to the greatest. */
const reconnectMillisecondsMin = 50
const reconnectMillisecondsMax = 5_000

/**
 * Connects to the daemon of a home, and makes sure that it answers. Rejects with `daemon-not-running` where it does not, with
 * `unauthorized` where it does not take the token.
 */
export async function connect(options: ConnectOptions = {}): Promise<Agent> {
  const connection = createConnection(placeOf(options), tokenOf(options.token))
  try {
    await connection.call('health.read', { signal: options.signal })
  } catch (error) {
    connection.close()
    throw error
  }
  return createAgent(connection)
}

/** Throws `invalid-request` for a URL that a token must not go to, `home-unsafe` for a socket that cannot be trusted. */
function placeOf({ home, socketPath = socketPathOf(homePathOf(home)), url }: ConnectOptions): Place {
  if (url === undefined) {
    checkSocketDirectory(socketPath)
    return { socketPath }
  }
  const [, authority = ''] = /^http:\/\/([^/]+)\/?$/.exec(url) ?? []
  const address = loopbackOf(authority)
  if (address === undefined)
    throw new SelfsameError(
      'invalid-request',
      `'${url}' is not the URL of a daemon on this machine: give one such as http://127.0.0.1:7777`,
    )
  return address
}

function createAgent(connection: Connection): Agent {
  const closed = new AbortController()
  const { call } = connection
  const watch = (patterns: readonly string[] = [], options: WatchOptions = {}): AsyncIterableIterator<Change> =>
    watchChanges(connection, closed.signal, patterns, options)
  const changes: Agent['changes'] = ({ patterns, ...query } = {}) =>
    call('changes.read', { query: { ...query, ...(patterns === undefined ? {} : { pattern: patterns }) } })

  return {
    log: (name) => logOf(connection, name, watch, changes),
    counter: (name) => counterOf(connection, name),
    set: (name) => setOf(connection, name),
    register: (name) => registerOf(connection, name),
    text: (name) => textOf(connection, name),
    json: (name) => jsonOf(connection, name),
    batch: (operations, options) => call('operations.write', { body: { operations }, ...writing(options) }),
    watch,
    changes,
    presence: {
      get: async () => (await call('presence.read')).presence,
      set: (state) => call('presence.set', { body: { state } }),
      clear: () => call('presence.clear'),
    },
    network: { pause: () => call('network.pause'), resume: () => call('network.resume') },
    documents: async (filter = {}) => (await call('documents.list', { query: filter })).documents,
    digest: (kind, name) => call('digests.read', { params: { kind, name } }),
    digests: async () => (await call('digests.list')).digests,
    blame: async (kind, name) => (await call('blame.read', { params: { kind, name } })).parts,
    evidence: () => call('evidence.list'),
    members: {
      list: () => call('members.list'),
      find: (name) => call('members.find', { params: { id: name } }),
      giveRole: (id, role, reason) =>
        call('members.giveRole', { params: { id }, body: { role, ...(reason === undefined ? {} : { reason }) } }),
      rename: (id, name) => call('members.rename', { params: { id }, body: { name } }),
      remove: (id, reason) => call('members.remove', { params: { id }, query: reason === undefined ? {} : { reason } }),
    },
    invite: (input = {}) => call('invites.create', { body: input }),
    invites: {
      list: async () => (await call('invites.list')).invites,
      revoke: (id) => call('invites.revoke', { params: { id } }),
    },
    tokens: {
      create: (input) => call('tokens.create', { body: input }),
      list: async () => (await call('tokens.list')).tokens,
      revoke: (name) => call('tokens.revoke', { params: { name } }),
    },
    replaceKey: (input = {}) => call('key.replace', { body: input }),
    status: () => call('status.read'),
    health: () => call('health.read'),
    ready: () => call('ready.read'),
    verify: ({ timeoutMs } = {}) => call('verification.run', { query: timeoutMs === undefined ? {} : { timeout: `${timeoutMs}ms` } }),
    rebuild: () => call('rebuild.run'),
    metrics: () => metricsOf(connection),
    alerts: ({ signal } = {}) => watchAlerts(connection, signal === undefined ? closed.signal : AbortSignal.any([closed.signal, signal])),
    shutdown: () => call('daemon.shutdown'),
    async close() {
      closed.abort()
      connection.close()
    },
  }
}

function logOf(connection: Connection, name: string, watch: Agent['watch'], changes: Agent['changes']): Log {
  const params = { name }
  const page: Log['page'] = (options = {}) => connection.call('log.read', { params, query: queryOf(options), signal: options.signal })

  async function* read(options: ReadOptions = {}): AsyncGenerator<LogEntry> {
    let query: PageOptions = { ...options, limit: readPageEntries }
    for (;;) {
      const { entries, next } = await page(query)
      yield* entries
      if (next === null) return
      query = { ...query, cursor: next }
    }
  }

  async function* tail({ last = 0, tag, kind, signal }: TailOptions = {}): AsyncGenerator<LogEntry> {
    const filter = {
      ...(tag === undefined ? {} : { tag }),
      ...(kind === undefined ? {} : { kind }),
      ...(signal === undefined ? {} : { signal }),
    }
    // The cursor first, the entries second: what arrives in between is in both, and shown once.
    const { cursor } = await changes({ cursor: 'now', limit: 1 })
    const earlier = last === 0 ? [] : (await page({ ...filter, limit: last, order: 'newest' })).entries.toReversed()
    yield* earlier
    const shown = new Set(earlier.map((entry) => entry.id))
    for await (const change of watch([`log/${name}`], { cursor, ...(signal === undefined ? {} : { signal }) })) {
      if (change.name !== name) continue
      for (const entry of change.entries ?? []) {
        const wanted = (tag === undefined || entry.tags?.includes(tag) === true) && (kind === undefined || entry.kind === kind)
        if (wanted && !shown.has(entry.id)) yield entry
      }
    }
  }

  return {
    name,
    append: (entry, options) => connection.call('log.append', { params, body: entry, ...writing(options) }),
    appendAll: (entries, options) =>
      connection.call('operations.write', { body: { operations: [{ type: 'log.append', name, entries }] }, ...writing(options) }),
    import: (entries, options) => importEntries(connection, name, entries, options),
    read,
    page,
    entry: (id) => connection.call('log.entry', { params: { name, id } }),
    tail,
  }
}

function counterOf({ call }: Connection, name: string): Counter {
  const params = { name }
  const totals = async (): Promise<Record<string, number | string>> => (await call('counter.read', { params })).totals
  return {
    name,
    add: async (key, amount = 1, options?) => {
      const whole = typeof amount === 'bigint' ? amount : integerToBigint(amount)
      return call('counter.add', { params, body: { key, amount: bigintToInteger(whole) }, ...writing(options) })
    },
    get: async (key) => integerToBigint(ownOf(await totals(), key) ?? 0),
    all: async () => new Map(Object.entries(await totals()).map(([key, total]) => [key, integerToBigint(total)])),
  }
}

function setOf({ call }: Connection, name: string): AgentSet {
  const params = { name }
  const list = async (): Promise<readonly string[]> => (await call('set.read', { params })).members
  return {
    name,
    add: (member, options) => call('set.add', { params, body: { member }, ...writing(options) }),
    remove: (member, options) => call('set.remove', { params, body: { member }, ...writing(options) }),
    has: async (member) => (await list()).includes(member),
    list,
  }
}

function registerOf({ call }: Connection, name: string): Register {
  const params = { name }
  return {
    name,
    set: (key, value, options) => call('register.set', { params, body: { key, value }, ...writing(options) }),
    delete: (key, options) => call('register.delete', { params, body: { key }, ...writing(options) }),
    get: async (key) => ownOf((await call('register.read', { params })).cells, key),
    all: async () => new Map(Object.entries((await call('register.read', { params })).cells)),
  }
}

function textOf({ call }: Connection, name: string): Text {
  const params = { name }
  return {
    name,
    get: () => call('text.read', { params }),
    put: (text, options = {}) =>
      call('text.put', { params, body: { text, ...(options.base === undefined ? {} : { base: options.base }) }, ...writing(options) }),
  }
}

function jsonOf({ call }: Connection, name: string): JsonDocument {
  const params = { name }
  return {
    name,
    get: async () => (await call('json.read', { params })).value,
    merge: (patch, options) => call('json.edit', { params, body: patch, mediaType: 'application/merge-patch+json', ...writing(options) }),
    patch: (patch, options) =>
      call('json.edit', { params, body: patch as RouteBody<'json.edit'>, mediaType: 'application/json-patch+json', ...writing(options) }),
  }
}

function writing({ replicas, timeoutMs, operationId, signal }: WriteOptions = {}): Pick<
  RequestOptions<'operations.write'>,
  'query' | 'headers' | 'signal'
> {
  return {
    query: { ...(replicas === undefined ? {} : { replicas }), ...(timeoutMs === undefined ? {} : { timeout: `${timeoutMs}ms` }) },
    headers: operationId === undefined ? {} : { 'idempotency-key': operationId },
    signal,
  }
}

function queryOf(options: PageOptions): RouteQuery<'log.read'> {
  const { signal: _signal, since, until, ...query } = options
  return {
    ...query,
    ...(since === undefined ? {} : { since: instantToText(since) }),
    ...(until === undefined ? {} : { until: instantToText(until) }),
  }
}

function instantToText(instant: string | number | Date): string {
  return instant instanceof Date ? instant.toISOString() : String(instant)
}

function ownOf<Value>(record: Readonly<Record<string, Value>>, key: string): Value | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}

async function importEntries(
  connection: Connection,
  name: string,
  entries: AsyncIterable<EntryInput> | Iterable<EntryInput>,
  options: ImportOptions = {},
): Promise<ImportProgress> {
  const { signal } = options
  const headers = options.operationId === undefined ? {} : { 'idempotency-key': options.operationId }
  let sourceFailure: Error | undefined
  const send = (request: ClientRequest): Promise<void> =>
    sendEntries(request, entries).catch((error: unknown) => {
      sourceFailure = error instanceof Error ? error : new Error('the entries could not be read', { cause: error })
      throw sourceFailure
    })
  const response = await connection.exchange('log.append', { params: { name }, headers, mediaType: 'application/x-ndjson', signal }, send)
  try {
    for await (const lines of linesOf(response, progressLineBytesMax)) {
      for (const line of lines) {
        const progress = JSON.parse(line.toString('utf8')) as ImportProgress | { readonly code: string }
        if ('code' in progress) throw problemToError(progress, 200)
        options.onProgress?.(progress)
        if (progress.done) return progress
      }
    }
  } catch (error) {
    if (error instanceof SelfsameError) throw error
    throw sourceFailure ?? (signal?.aborted === true ? abortReason(signal) : hungUp(error))
  }
  throw hungUp(undefined)
}

function hungUp(cause: unknown): SelfsameError {
  return new SelfsameError(
    'outcome-unknown',
    'the daemon hung up: what progress told is written; import again with the same operation id',
    { cause },
  )
}

/** Sends one line per entry, no faster than the daemon reads. Lines that are ready together leave together. */
async function sendEntries(request: ClientRequest, entries: AsyncIterable<EntryInput> | Iterable<EntryInput>): Promise<void> {
  let ready = ''
  const flush = (): void => {
    if (ready !== '') request.write(ready)
    ready = ''
  }
  for await (const entry of entries) {
    if (request.destroyed) return
    // The tick comes when the source makes us wait.
    if (ready === '') process.nextTick(flush)
    ready += `${JSON.stringify(entry)}\n`
    if (ready.length >= sendLengthMax) flush()
    if (request.writableNeedDrain) await roomIn(request)
  }
  flush()
  request.end()
}

function roomIn(request: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      request.off('drain', done).off('close', done)
      resolve()
    }
    request.on('drain', done).on('close', done)
  })
}

async function* watchChanges(
  connection: Connection,
  closed: AbortSignal,
  patterns: readonly string[],
  options: WatchOptions,
): AsyncGenerator<Change> {
  const signal = options.signal === undefined ? closed : AbortSignal.any([closed, options.signal])
  let cursor = options.cursor
  /** Changes of an atomic write that came without its cursor, which the last of them carries: they come again where the connection is cut between. */
  const shown = new Set<string>()
  let connected = false
  let failures = 0
  while (!signal.aborted) {
    try {
      const response = await connection.open('changes.watch', {
        query: { pattern: patterns, ...(cursor === undefined ? {} : { cursor }) },
        signal,
      })
      connected = true
      for await (const event of eventsOf(response)) {
        failures = 0
        cursor = event.id ?? cursor
        if (event.event === 'change') {
          const change = JSON.parse(event.data) as Change
          const identity = `${change.envelope.feed}:${change.envelope.sequence}:${change.kind}/${change.name}`
          if (!shown.has(identity)) yield change
          if (event.id === undefined) shown.add(identity)
          else shown.clear()
        } else if (event.event === 'problem') throw problemToError(JSON.parse(event.data) as object, 500)
      }
    } catch (error) {
      if (signal.aborted) return
      if (!connected || (error instanceof SelfsameError && !passing.has(error.code))) throw error
    }
    await pause(Math.min(reconnectMillisecondsMin * 2 ** failures, reconnectMillisecondsMax), signal)
    failures += 1
  }
}

async function metricsOf(connection: Connection): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of (await connection.open('metrics.read')) as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

async function* watchAlerts(connection: Connection, signal: AbortSignal): AsyncGenerator<AlertEvent> {
  try {
    for await (const { data, event } of eventsOf(await connection.open('alerts.watch', { signal }))) {
      if (event === 'raised' || event === 'cleared') yield { type: event, alert: JSON.parse(data) as Alert }
      else if (event === 'problem') throw problemToError(JSON.parse(data) as object, 500)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** What a watch waits out: the daemon is being restarted, or busy. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['daemon-not-running', 'unavailable', 'too-many-requests'])

async function* eventsOf(response: AsyncIterable<Buffer>): AsyncGenerator<EventSourceMessage> {
  const events: EventSourceMessage[] = []
  const decoder = new TextDecoder()
  const parser = createParser({ onEvent: (event) => void events.push(event), maxBufferSize: eventLengthMax })
  for await (const chunk of response) {
    parser.feed(decoder.decode(chunk, { stream: true }))
    yield* events.splice(0)
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = systemClock.after(milliseconds, done)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}
