/** Requests to the daemon, over its socket or TCP: kept-alive connections, typed routes, failures as `SelfsameError`. */
import type { ClientRequest, IncomingMessage } from 'node:http'
import { SelfsameError } from '../core/index.ts'
import type { RouteAnswer, RouteBody, RouteParams, RouteQuery } from './contract.ts'
import { paths } from './paths.ts'
import type { RouteId } from './paths.ts'
import { problemToError } from './problem.ts'
import type { TcpAddress } from './tcp.ts'

// Not by an import: what a module of Node's own exports is all loaded then, and this one has a web client that takes 60 ms.
const { Agent: ConnectionPool, request: httpRequest } = process.getBuiltinModule('node:http')

/** Connections of one client: more would only queue in the daemon. */
const connectionsMax = 64

export interface RequestOptions<Id extends RouteId> {
  readonly params?: RouteParams<Id>
  readonly query?: RouteQuery<Id>
  readonly body?: RouteBody<Id>
  /** Of the body; JSON unless told. */
  readonly mediaType?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

export interface Connection {
  /** The JSON answer. Where the connection was lost, a request that is safe to repeat is repeated once: a read, one with an operation id, one that did not get through. */
  readonly call: <Id extends RouteId>(id: Id, options?: RequestOptions<Id>) => Promise<RouteAnswer<Id>>
  /** The answer as it arrives. Whoever gets it reads it to the end or destroys it. */
  open<Id extends RouteId>(id: Id, options?: RequestOptions<Id>): Promise<IncomingMessage>
  /** As `open`, with a body that `write` sends; the answer may begin before the body has ended. What `write` rejects with ends the request. */
  exchange<Id extends RouteId>(
    id: Id,
    options: Omit<RequestOptions<Id>, 'body'>,
    write: (request: ClientRequest) => Promise<void>,
  ): Promise<IncomingMessage>
  close(): void
}

/** The connection ended before the answer did. */
class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
  /** The daemon may have acted on the request. It cannot have where the request itself could not be written to its end. */
  readonly mayHaveActed: boolean

  constructor(cause: NodeJS.ErrnoException) {
    super(cause.message, { cause })
    this.mayHaveActed = cause.code !== 'EPIPE'
  }
}

/** Where a daemon is reached. */
export type Place = { readonly socketPath: string } | TcpAddress

/** Connections to the daemon at a place, made when they are needed; `token` goes with every request. */
export function createConnection(place: Place, token?: string): Connection {
  const pool = new ConnectionPool({ keepAlive: true, maxSockets: connectionsMax })

  function exchange<Id extends RouteId>(
    id: Id,
    options: RequestOptions<Id>,
    write: (request: ClientRequest) => Promise<void>,
  ): Promise<IncomingMessage> {
    const { method, path } = paths[id]
    const { signal } = options
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        ...place,
        agent: pool,
        method,
        path: pathOf(path, options.params, options.query),
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(options.mediaType === undefined ? {} : { 'content-type': options.mediaType }),
          ...options.headers,
        },
        ...(signal === undefined ? {} : { signal }),
      })
      request.once('response', (response) => {
        if ((response.statusCode ?? 0) < 400) resolve(response)
        else problemIn(response).then(reject, reject)
      })
      // Stays: a request can fail again after its answer began.
      request.on('error', (error) => reject(signal?.aborted === true ? abortReason(signal) : failureOf(error, place)))
      write(request).catch((error: unknown) => {
        reject(error instanceof Error ? error : new Error(String(error)))
        request.destroy()
      })
    })
  }

  function open<Id extends RouteId>(id: Id, options: RequestOptions<Id> = {}): Promise<IncomingMessage> {
    const body = options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body))
    const headers = body === undefined ? options.headers : { 'content-length': String(body.length), ...options.headers }
    const mediaType = body === undefined ? undefined : (options.mediaType ?? 'application/json')
    return exchange(
      id,
      { ...options, ...(headers === undefined ? {} : { headers }), ...(mediaType === undefined ? {} : { mediaType }) },
      async (request) => void request.end(body),
    )
  }

  async function callOnce<Id extends RouteId>(id: Id, options: RequestOptions<Id>): Promise<RouteAnswer<Id>> {
    const response = await open(id, options)
    const text = await textOf(response, options.signal)
    return (text === '' ? undefined : JSON.parse(text)) as RouteAnswer<Id>
  }

  return {
    async call(id, options = {}) {
      const reads = paths[id].method === 'GET'
      const repeatable = reads || options.headers?.['idempotency-key'] !== undefined
      try {
        return await callOnce(id, options).catch((error: unknown) => {
          if (error instanceof ConnectionLost && (repeatable || !error.mayHaveActed)) return callOnce(id, options)
          throw error
        })
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error
        throw reads
          ? new SelfsameError('unavailable', 'the daemon hung up: is it stopping? selfsame status', { cause: error })
          : new SelfsameError('outcome-unknown', 'the daemon hung up before it answered: retry with the same operation id', {
              cause: error,
            })
      }
    },
    async open(id, options) {
      return open(id, options).catch((error: unknown) => {
        throw error instanceof ConnectionLost ? new SelfsameError('unavailable', 'the daemon hung up', { cause: error }) : error
      })
    },
    async exchange(id, options, write) {
      return exchange(id, options, write).catch((error: unknown) => {
        throw error instanceof ConnectionLost
          ? new SelfsameError('outcome-unknown', 'the daemon hung up: what progress told is written', { cause: error })
          : error
      })
    },
    close: () => pool.destroy(),
  }
}

/** What an aborted signal gives as its reason, as an error. */
export function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('aborted', { cause: signal.reason })
}

function pathOf(path: string, params: unknown, query: unknown): string {
  const values = (params ?? {}) as Readonly<Record<string, string>>
  const filled = path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name] ?? ''))
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const item of [value].flat() as unknown[]) search.append(name, String(item))
  }
  return search.size === 0 ? filled : `${filled}?${search.toString()}`
}

async function textOf(response: IncomingMessage, signal: AbortSignal | undefined): Promise<string> {
  try {
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk as Buffer)
    return Buffer.concat(chunks).toString('utf8')
  } catch (error) {
    throw signal?.aborted === true ? abortReason(signal) : new ConnectionLost(error as Error)
  }
}

async function problemIn(response: IncomingMessage): Promise<Error> {
  const status = response.statusCode ?? 500
  try {
    return problemToError(JSON.parse(await textOf(response, undefined)) as object, status)
  } catch {
    return problemToError({}, status)
  }
}

function failureOf(error: NodeJS.ErrnoException, place: Place): Error {
  const where = 'socketPath' in place ? place.socketPath : `${place.host}:${place.port}`
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new SelfsameError(
        'daemon-not-running',
        'socketPath' in place
          ? 'the daemon is not running: selfsame up'
          : `nothing answers at ${where}: selfsame up, with api.listen in its configuration`,
        { cause: error },
      )
    case 'EACCES':
    case 'EPERM':
      return new SelfsameError('home-unsafe', `this user may not use ${where}: the home belongs to another one`, { cause: error })
    default:
      return new ConnectionLost(error)
  }
}
