/** What each route does: reads the checked request, asks the port, shapes the answer. No logic of its own beyond HTTP. */
import { PassThrough, Readable } from 'node:stream'
import type { Clock } from '../core/index.ts'
import { SelfsameError } from '../core/index.ts'
import { appendInBulk } from './bulk-append.ts'
import type { RouteAnswer, RouteBody, RouteParams, RouteQuery } from './contract.ts'
import { mediaTypes } from './contract.ts'
import { contractToOpenapi } from './openapi.ts'
import type { RouteId } from './paths.ts'
import type { AgentPort, LogQuery } from './port.ts'
import { problemOf } from './problem.ts'
import { pageEntriesMax, replicaWaitMillisecondsMax } from './schemas.ts'
import type { EntryInput, ImportProgress, JsonPatchOperation, Operation, Receipt } from './schemas.ts'
import type { Tokens } from './tokens.ts'
import { timeToMilliseconds } from './values.ts'
import { watchAlerts, watchEvents } from './watch.ts'

/** A request to a route, checked against the contract. */
export interface Call<Id extends RouteId> {
  readonly params: RouteParams<Id>
  readonly query: RouteQuery<Id>
  readonly body: RouteBody<Id>
  /** Media type of the body, without parameters. */
  readonly mediaType: string | undefined
  header(name: string): string | undefined
  /** The body as bytes, for a route that takes a stream. */
  stream(): Readable
  /** Checks a line of that stream. */
  readonly checkEntry: (value: unknown) => EntryInput
  /** Aborted when the client has gone or, for a watch, when the server closes. */
  watching(): AbortSignal
}

/** An answer that is not the route's JSON. */
export class OtherAnswer {
  readonly mediaType: string
  readonly payload: string | Readable
  readonly headers: Readonly<Record<string, string>>

  constructor(mediaType: string, payload: string | Readable, headers: Readonly<Record<string, string>> = {}) {
    this.mediaType = mediaType
    this.payload = payload
    this.headers = headers
  }
}

export type Handlers = { readonly [Id in RouteId]: (call: Call<Id>) => Promise<RouteAnswer<Id> | OtherAnswer> }

export function createHandlers(port: AgentPort, tokens: Tokens, clock: Clock, version: string): Handlers {
  let openapi: object | undefined
  return {
    'operations.write': (call) => write(port, call, call.body.operations),
    'log.append': (call) =>
      call.mediaType === mediaTypes.lines
        ? appendLines(port, call)
        : write(port, call, [{ type: 'log.append', name: call.params.name, entries: [call.body] }]),
    'log.read': async (call) => {
      const { name } = call.params
      const query = logQueryOf(call.query)
      return accepts(call, mediaTypes.lines)
        ? new OtherAnswer(
            mediaTypes.lines,
            streamOf(entryLines(port, name, query), (line) => `${line}\n`),
          )
        : port.readLog(name, query)
    },
    'log.entry': (call) => port.readEntry(call.params.name, call.params.id),
    'counter.read': (call) => port.readCounter(call.params.name),
    'counter.add': (call) => write(port, call, [{ type: 'counter.add', name: call.params.name, ...call.body }]),
    'set.read': (call) => port.readSet(call.params.name),
    'set.add': (call) => write(port, call, [{ type: 'set.add', name: call.params.name, ...call.body }]),
    'set.remove': (call) => write(port, call, [{ type: 'set.remove', name: call.params.name, ...call.body }]),
    'register.read': (call) => port.readRegister(call.params.name),
    'register.set': (call) => write(port, call, [{ type: 'register.set', name: call.params.name, ...call.body }]),
    'register.delete': (call) => write(port, call, [{ type: 'register.delete', name: call.params.name, ...call.body }]),
    'text.read': async (call) => {
      const value = await port.readText(call.params.name)
      const headers = { etag: `"${value.version}"`, vary: 'accept' }
      return accepts(call, mediaTypes.text)
        ? new OtherAnswer(`${mediaTypes.text}; charset=utf-8`, value.text, headers)
        : new OtherAnswer(`${mediaTypes.json}; charset=utf-8`, JSON.stringify(value), headers)
    },
    'text.put': (call) =>
      write(port, call, [
        { type: 'text.put', name: call.params.name, ...(typeof call.body === 'string' ? rawText(call, call.body) : call.body) },
      ]),
    'json.read': (call) => port.readJson(call.params.name),
    'json.edit': (call) => {
      const { name } = call.params
      const operation: Operation =
        call.mediaType === mediaTypes.jsonPatch
          ? { type: 'json.patch', name, patch: call.body as readonly JsonPatchOperation[] }
          : { type: 'json.merge', name, patch: call.body }
      return write(port, call, [operation])
    },
    'documents.list': async (call) => ({ documents: await port.documents(call.query) }),
    'digests.list': async () => ({ digests: await port.digests() }),
    'digests.read': (call) => port.digest(call.params.kind, call.params.name),
    'blame.read': (call) => port.blame(call.params.kind, call.params.name),
    'changes.read': ({ query }) =>
      port.changes({ patterns: query.pattern ?? [], cursor: query.cursor ?? 'now', limit: query.limit ?? 100 }),
    'changes.watch': async (call) => {
      const cursor = call.header('last-event-id') ?? call.query.cursor ?? 'now'
      const events = watchEvents({ port, clock, patterns: call.query.pattern ?? [], cursor, signal: call.watching() })
      return new OtherAnswer(
        mediaTypes.events,
        streamOf(events, (data) => `event: problem\ndata: ${data}\n\n`),
        { 'cache-control': 'no-store' },
      )
    },
    'presence.read': async () => ({ presence: await port.presence() }),
    'presence.set': (call) => port.setPresence(call.body.state),
    'presence.clear': () => port.setPresence(null),
    'network.pause': () => port.pauseNetwork(),
    'network.resume': () => port.resumeNetwork(),
    'members.list': () => port.members(),
    'members.find': ({ params }) => port.findMember(params.id),
    'members.giveRole': ({ params, body }) => port.giveRole(params.id, body.role, body.reason ?? ''),
    'members.rename': ({ params, body }) => port.renameMember(params.id, body.name),
    'members.remove': ({ params, query }) => port.removeMember(params.id, query.reason ?? ''),
    'invites.create': ({ body }) => port.invite({ role: 'writer', expiresSeconds: 3_600, uses: 1, ...body }),
    'invites.list': async () => ({ invites: await port.invites() }),
    'invites.revoke': ({ params }) => port.revokeInvite(params.id),
    'tokens.list': async () => ({ tokens: tokens.list() }),
    'tokens.create': async ({ body }) => tokens.create(body),
    'tokens.revoke': async ({ params }) => tokens.revoke(params.name),
    'key.replace': ({ body }) => port.replaceKey(body),
    'evidence.list': () => port.evidence(),
    'alerts.watch': async (call) => {
      const events = watchAlerts({ port, clock, signal: call.watching() })
      return new OtherAnswer(
        mediaTypes.events,
        streamOf(events, (data) => `event: problem\ndata: ${data}\n\n`),
        { 'cache-control': 'no-store' },
      )
    },
    'status.read': () => port.status(),
    'health.read': () => port.health(),
    'ready.read': () => port.ready(),
    'verification.run': ({ query }) => port.verify(waitMsOf(query.timeout ?? '30s')),
    'rebuild.run': () => port.rebuild(),
    'metrics.read': async () => new OtherAnswer(`${mediaTypes.text}; version=0.0.4; charset=utf-8`, await port.metrics()),
    'openapi.read': async () => (openapi ??= contractToOpenapi(version)),
    'daemon.shutdown': () => port.shutdown(),
  }
}

type WriteCall = Pick<Call<'operations.write'>, 'query' | 'header'>

function write(port: AgentPort, call: WriteCall, operations: readonly Operation[]): Promise<Receipt> {
  const operationId = call.header('idempotency-key')
  return port.write({ operations, ...waitOf(call.query), ...(operationId === undefined ? {} : { operationId }) })
}

function waitOf(query: WriteCall['query']): { readonly replicas: number; readonly timeoutMs: number } {
  return { replicas: query.replicas ?? 1, timeoutMs: waitMsOf(query.timeout ?? '5s') }
}

/** Milliseconds of a timeout as the contract has it. Throws `invalid-request` where that is too long. */
function waitMsOf(timeout: string): number {
  const timeoutMs = Number.parseInt(timeout, 10) * (timeout.endsWith('s') && !timeout.endsWith('ms') ? 1_000 : 1)
  if (timeoutMs > replicaWaitMillisecondsMax)
    throw new SelfsameError('invalid-request', `query.timeout must be at most ${replicaWaitMillisecondsMax / 1_000}s`)
  return timeoutMs
}

function rawText(call: Pick<Call<'text.put'>, 'header'>, text: string): { readonly text: string; readonly base?: string } {
  const tag = call.header('if-match')
  return tag === undefined || tag === '*' ? { text } : { text, base: tag.replace(/^(?:W\/)?"(.*)"$/, '$1') }
}

function logQueryOf({ since, until, ...query }: RouteQuery<'log.read'>): LogQuery {
  return {
    limit: 100,
    order: 'oldest',
    provenance: false,
    ...query,
    ...(since === undefined ? {} : { since: instantOf(since) }),
    ...(until === undefined ? {} : { until: instantOf(until) }),
  }
}

/** In a query, digits alone are milliseconds. */
function instantOf(text: string): number {
  return timeToMilliseconds(/^\d+$/.test(text) ? Number(text) : text)
}

async function* entryLines(port: AgentPort, name: string, query: LogQuery): AsyncGenerator<string> {
  let cursor: string | null | undefined = query.cursor
  do {
    const page = await port.readLog(name, { ...query, limit: pageEntriesMax, ...(cursor === undefined ? {} : { cursor }) })
    if (page.entries.length > 0) yield page.entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')
    cursor = page.next
  } while (cursor !== null)
}

/** Answers with the first progress, so that a request refused at its first line is an ordinary refusal. */
function appendLines(port: AgentPort, call: Call<'log.append'>): Promise<OtherAnswer> {
  return new Promise((resolve, reject) => {
    const answer = new PassThrough()
    let answered = false
    const report = (progress: ImportProgress): Promise<void> => {
      if (!answered) resolve(new OtherAnswer(mediaTypes.lines, answer))
      answered = true
      return writeTo(answer, `${JSON.stringify(progress)}\n`)
    }
    const source = call.stream()
    const bulk = {
      port,
      name: call.params.name,
      source,
      operationId: call.header('idempotency-key'),
      ...waitOf(call.query),
      check: call.checkEntry,
      report,
    }
    appendInBulk(bulk)
      .then(
        () => answer.end(),
        (error: unknown) => (answered ? answer.end(`${problemText(error)}\n`) : reject(error as Error)),
      )
      .finally(() => source.destroy())
  })
}

/** Writes, and waits until there is room for more or nobody reads any longer. */
function writeTo(stream: PassThrough, text: string): Promise<void> {
  if (stream.destroyed || stream.write(text)) return Promise.resolve()
  return new Promise((resolve) => {
    stream.once('drain', resolve)
    stream.once('close', resolve)
  })
}

/**
 * A stream that is read no faster than the client takes it. A failure before the first piece becomes the status of the
 * answer; one after it, a last piece that `problemPiece` makes of the problem.
 */
function streamOf(pieces: AsyncIterable<string>, problemPiece: (problem: string) => string): Readable {
  async function* guarded(): AsyncGenerator<string> {
    let begun = false
    try {
      for await (const piece of pieces) {
        begun = true
        yield piece
      }
    } catch (error) {
      if (!begun) throw error
      yield problemPiece(problemText(error))
    }
  }
  return Readable.from(guarded(), { objectMode: true, highWaterMark: 1 })
}

function problemText(error: unknown): string {
  return JSON.stringify(
    problemOf(error instanceof SelfsameError ? error : new SelfsameError('internal', 'a fault in selfsame', { cause: error })),
  )
}

function accepts(call: { header(name: string): string | undefined }, mediaType: string): boolean {
  return call.header('accept')?.includes(mediaType) ?? false
}
