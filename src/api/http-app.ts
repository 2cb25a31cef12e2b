/**
 * The local API as an HTTP application: the routes of the contract on Fastify, and what holds for all of them: limits, checking,
 * problem details. Where it listens and when it closes is `server.ts`; who may ask for what, `gate.ts`; what routes do, `handlers.ts`.
 */
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import type { Readable } from 'node:stream'
import { fastify } from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import Type from 'typebox'
import type { TSchema } from 'typebox'
import { operationIdLengthMax, SelfsameError } from '../core/index.ts'
import type { Logger } from '../core/index.ts'
import { mediaTypes, routes } from './contract.ts'
import type { Route } from './contract.ts'
import type { Caller } from './gate.ts'
import { OtherAnswer } from './handlers.ts'
import type { Call } from './handlers.ts'
import { parseJson, utf8ToText } from './json-text.ts'
import type { RouteId } from './paths.ts'
import { codeOfStatus, problemOf } from './problem.ts'
import { entryInput } from './schemas.ts'
import type { EntryInput, Receipt } from './schemas.ts'
import { ajvOptions, queryToValues, validationError } from './validation.ts'

// Not by an import, as in `http-connection.ts`.
const { STATUS_CODES } = process.getBuiltinModule('node:http')

/** Bytes of one request's body, streams of lines excepted. Each request under way holds its body and what it was parsed to. */
const bodyBytesMax = 2 << 20
/** Bytes of one request's line and headers: names of 256 bytes, percent-encoded, and 64 patterns fit. */
const headerBytesMax = 64 << 10
/** UTF-16 units of a percent-encoded path parameter. */
const paramLengthMax = 1_024
/** Connections at once; each costs some tens of kilobytes. Further ones are hung up on. */
const connectionsMax = 256
/** How long request headers may take to arrive. */
const headersTimeoutMilliseconds = 10_000
/** Silence on a connection with a request under way before it is given up. Beyond the longest wait for replicas and several heartbeats. */
const silenceMillisecondsMax = 120_000
/** How long an idle connection is kept for the next request. */
const keepAliveMilliseconds = 30_000

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks. Set before anything else is looked at. */
    caller: Caller
  }
}

export interface HttpAppOptions {
  /** Who asks. Throws what refuses the request; answers undefined where it has answered it. */
  readonly admit: (request: FastifyRequest, reply: FastifyReply) => Caller | undefined
  /** Begins a watch that ends with the answer; the signal ends it earlier. Throws `too-many-requests`. */
  readonly openWatch: (reply: FastifyReply) => AbortSignal
  /** Whether new requests are refused, because the server stops. */
  readonly isClosing: () => boolean
  readonly logger: Logger
}

/** The application, not listening yet. */
export function createHttpApp({ admit, openWatch, isClosing, logger }: HttpAppOptions): FastifyInstance {
  const app = fastify({
    bodyLimit: bodyBytesMax,
    connectionTimeout: silenceMillisecondsMax,
    keepAliveTimeout: keepAliveMilliseconds,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    // Without a host Node itself would refuse, with an answer that is no problem: the first hook does.
    http: { maxHeaderSize: headerBytesMax, headersTimeout: headersTimeoutMilliseconds, requireHostHeader: false },
    routerOptions: { maxParamLength: paramLengthMax },
    ajv: { customOptions: ajvOptions },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => sendProblem(error, request, reply),
  })
  app.server.maxConnections = connectionsMax
  // What else a client expects is its own matter: Node would answer 417.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))

  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    [mediaTypes.json, mediaTypes.mergePatch, mediaTypes.jsonPatch],
    { parseAs: 'buffer' },
    async (_request: FastifyRequest, bytes: Buffer) => (bytes.length === 0 ? undefined : parseJson(utf8ToText(bytes))),
  )
  app.addContentTypeParser(mediaTypes.text, { parseAs: 'buffer' }, async (_request: FastifyRequest, bytes: Buffer) => utf8ToText(bytes))
  // Left unread: a stream of lines for its handler, any other type for the refusal.
  app.addContentTypeParser('*', async () => undefined)

  app.setErrorHandler(sendProblem)
  app.setNotFoundHandler((request, reply) => sendProblem(notFound(request.url), request, reply))
  app.decorateRequest('caller')
  app.addHook('onRequest', async (request, reply) => {
    if (isClosing()) throw new SelfsameError('unavailable', 'the daemon is stopping: try again when it is up')
    if (request.headers.host === undefined && request.raw.httpVersion !== '1.0')
      throw new SelfsameError('invalid-request', 'headers.host is missing: HTTP/1.1 asks for it')
    const caller = admit(request, reply)
    if (caller === undefined) return reply
    request.caller = caller
    return undefined
  })
  app.addHook('onResponse', (_request, _reply, done) => {
    if (isClosing()) app.server.closeIdleConnections()
    done()
  })

  for (const [id, route] of Object.entries(routes) as [RouteId, Route][]) {
    app.route({
      method: route.method,
      url: route.path,
      preValidation: (request, _reply, done) => {
        prepare(route, request)
        hold(route, request)
        done()
      },
      handler: async (request, reply) => {
        request.caller.authorise(route, request)
        const handler = request.caller.handlers[id] as (call: Call<RouteId>) => Promise<unknown>
        const answer = await handler(callOf(request, reply))
        if (answer instanceof OtherAnswer)
          return reply.status(route.status).headers(answer.headers).type(answer.mediaType).send(answer.payload)
        if (answer === undefined) return reply.status(route.status).send()
        return reply.status(route.writes === true && isShort(answer as Receipt) ? 202 : route.status).send(answer)
      },
    })
  }
  function callOf(request: FastifyRequest, reply: FastifyReply): Call<RouteId> {
    return {
      params: request.params as Call<RouteId>['params'],
      query: request.query as Call<RouteId>['query'],
      body: request.body as Call<RouteId>['body'],
      mediaType: request.mediaType,
      header: (name) => textOf(request.headers[name]),
      stream: () => streamOf(request),
      checkEntry(value) {
        check(request, entryInput, value, 'entry')
        return value as EntryInput
      },
      watching: () => openWatch(reply),
    }
  }

  function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const known = toSelfsameError(error)
    if (known.code === 'internal')
      logger.error({ method: request.method, route: request.routeOptions.url, fault: faultOf(known) }, 'request failed')
    const problem = problemOf(known)
    if (known.code === 'unauthorized') void reply.header('www-authenticate', 'Bearer')
    if (known.code === 'too-large') {
      // Fastify would hang up, and a client that is still sending would see that and not the answer: the rest is read and dropped.
      reply.removeHeader('connection')
      request.raw.resume()
    }
    void reply.status(problem.status).type(mediaTypes.problem).send(JSON.stringify(problem))
  }

  refuseOtherMethods(app)
  return app
}

/** What no schema says: that there is a body of a type that the route has a schema for; and the values of a query. */
function prepare(route: Route, request: FastifyRequest): void {
  const { body } = route
  if (body !== undefined && (request.mediaType === undefined || !Object.hasOwn(body, request.mediaType))) {
    throw new SelfsameError('unsupported-media-type', `send the body with content-type ${Object.keys(body).join(' or ')}`)
  }
  // A schema of any JSON holds for no JSON, too.
  if (body !== undefined && request.body === undefined && request.mediaType !== mediaTypes.lines)
    throw new SelfsameError('invalid-request', 'the body is empty')
  if (route.query !== undefined) request.query = queryToValues(route.query, request.query as Record<string, string | string[]>)
  const operationId = textOf(request.headers['idempotency-key'])
  if (operationId !== undefined && (operationId.length === 0 || operationId.length > operationIdLengthMax)) {
    throw new SelfsameError('invalid-request', `headers.idempotency-key must have 1 to ${operationIdLengthMax} characters`)
  }
}

const noQuery = Type.Object({}, { additionalProperties: false })

/** Holds a request to the schemas of its route. They are compiled when they are first used: all of them take a tenth of a daemon's start. */
function hold(route: Route, request: FastifyRequest): void {
  if (route.params !== undefined) check(request, route.params, request.params, 'params')
  const body = request.mediaType === undefined || request.mediaType === mediaTypes.lines ? undefined : route.body?.[request.mediaType]
  if (body !== undefined) check(request, body, request.body, 'body')
  check(request, route.query ?? noQuery, request.query, 'querystring')
}

/** Throws `invalid-request` where `value` is not what the schema says; puts defaults into it. */
function check(request: FastifyRequest, schema: TSchema, value: unknown, part: string): void {
  const validate = request.getValidationFunction(schema) ?? request.compileValidationSchema(schema)
  if (!validate(value)) throw validationError(validate.errors ?? [], part)
}

function refuseOtherMethods(app: FastifyInstance): void {
  for (const [path, group] of Map.groupBy(Object.values(routes) as Route[], (route) => route.path)) {
    const allowed: readonly HTTPMethods[] = group.map((route) => route.method)
    app.route({
      method: (app.supportedMethods as HTTPMethods[]).filter((method) => !allowed.includes(method)),
      url: path,
      handler: async (request, reply) => {
        void reply.header('allow', allowed.join(', '))
        throw new SelfsameError('method-not-allowed', `${request.method} does not exist here: use ${allowed.join(' or ')}`)
      },
    })
  }
}

/** The request's bytes, as a stream that can be left early without hanging up on the client. */
function streamOf(request: FastifyRequest): Readable {
  const source = new PassThrough()
  request.raw.pipe(source)
  // A client that goes away takes with it what was not read yet, also where it had sent everything.
  const breakOff = (): void => {
    if (!request.raw.readableEnded) source.destroy(new SelfsameError('invalid-request', 'the request broke off before its end'))
  }
  if (request.raw.destroyed) breakOff()
  else request.raw.once('close', breakOff)
  // What nobody reads any more is read and dropped, so that the client can finish sending and see the answer.
  source.once('close', () => request.raw.resume())
  return source
}

function isShort(receipt: Receipt): boolean {
  return receipt.replicas.held < receipt.replicas.asked
}

function textOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(', ') : header
}

function notFound(url: string): SelfsameError {
  const path = url.split('?')[0] as string
  const nested = /^\/v1\/(log|counter|set|register|text|json)\/[^/]+\/./.test(path)
  return new SelfsameError(
    'not-found',
    `there is no ${path.slice(0, 200)} in this API${nested ? ': write a slash in a document name as %2F' : '; GET /v1/openapi.json tells what there is'}`,
  )
}

function toSelfsameError(error: unknown): SelfsameError {
  if (error instanceof SelfsameError) return error
  // Fastify's account of a client that has gone before a streamed answer began: nobody hears this.
  if ((error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE')
    return new SelfsameError('invalid-request', 'the client has gone')
  const status = error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  const code = codeOfStatus(status)
  if (code === 'too-large')
    return new SelfsameError(code, `the body is larger than ${bodyBytesMax} bytes; log entries go in any number as ${mediaTypes.lines}`, {
      cause: error,
    })
  // Only what was refused is explained to the client: the message of a fault may hold anything.
  return new SelfsameError(
    code,
    code !== 'internal' && error instanceof Error ? error.message : 'a fault in selfsame; the log of the daemon tells more',
    { cause: error },
  )
}

function faultOf(error: SelfsameError): string {
  return error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : (error.stack ?? error.message)
}

/** Answers what the HTTP parser refused, where an answer can still be sent. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket & { readonly _httpMessage?: unknown }): void {
  if (error.code === 'ECONNRESET' || !socket.writable || (socket._httpMessage ?? null) !== null) {
    socket.destroy()
    return
  }
  const problem = problemOf(
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new SelfsameError('too-large', `the request's headers are larger than ${headerBytesMax} bytes`)
      : new SelfsameError(
          'invalid-request',
          error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'the request did not arrive in time' : 'this is not an HTTP/1.1 request',
        ),
  )
  const body = JSON.stringify(problem)
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `content-type: ${mediaTypes.problem}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
