/**
 * The local API's server: on a Unix socket, and on TCP where that is asked for. Here is who is let in by which way, what watches
 * there are, and closing; the application itself is `http-app.ts`.
 */
import type { AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { SelfsameError } from '../core/index.ts'
import type { Clock, Logger } from '../core/index.ts'
import { createGate } from './gate.ts'
import { createHandlers } from './handlers.ts'
import { createHttpApp } from './http-app.ts'
import type { HttpAppOptions } from './http-app.ts'
import type { AgentPort } from './port.ts'
import { claimSocket, protectSocket } from './socket-file.ts'
import { checkNames, loopbackOf } from './tcp.ts'
import type { TcpAddress, TcpOptions } from './tcp.ts'
import type { Tokens } from './tokens.ts'

/** Watches at once; each reads the store after every commit. */
const watchersMaxDefault = 64
/** How long requests under way may take to finish when the server closes. */
const closeMillisecondsMax = 5_000

export interface ServerOptions {
  readonly port: AgentPort
  readonly tokens: Tokens
  readonly socketPath: string
  /** Whether a request over the socket needs a token, too; not unless told. */
  readonly socketTokenRequired?: boolean
  /** Serves TCP besides, where every request needs a token. */
  readonly tcp?: TcpOptions | undefined
  readonly logger: Logger
  readonly clock: Clock
  /** Of the program, for the OpenAPI document. */
  readonly version: string
  /** Watches at once; 64 unless told. */
  readonly watchersMax?: number
}

export interface Server {
  readonly socketPath: string
  /** Where TCP is served; null where it is not. */
  readonly tcpAddress: TcpAddress | null
  /** Accepts nothing new, ends watches, lets requests finish for a few seconds, and removes the socket. Idempotent. */
  close(): Promise<void>
}

/**
 * Serves the local API. Replaces the socket of a dead daemon. Throws `daemon-running` where another one answers, `home-unsafe`
 * where the socket's place cannot be trusted, `unavailable` where the socket cannot be made; of TCP `invalid-configuration` where the
 * address is not one of this machine alone, `address-in-use` where it cannot be had.
 */
export async function openServer(options: ServerOptions): Promise<Server> {
  const { port, tokens, socketPath, tcp, logger, clock } = options
  const watchersMax = options.watchersMax ?? watchersMaxDefault
  const watchers = new Set<AbortController>()
  const gate = createGate({ port, tokens, handlersOn: (agent) => createHandlers(agent, tokens, clock, options.version) })
  const apps: FastifyInstance[] = []
  let closing: Promise<void> | undefined

  /** An application of its own for each way in, so that connections on TCP cannot use up those of the socket. */
  function openApp(admit: HttpAppOptions['admit']): FastifyInstance {
    const app = createHttpApp({ admit, openWatch, isClosing: () => closing !== undefined, logger })
    apps.push(app)
    return app
  }

  function openWatch(reply: FastifyReply): AbortSignal {
    if (watchers.size >= watchersMax) throw new SelfsameError('too-many-requests', `${watchersMax} watches are open already: close one`)
    const watcher = new AbortController()
    watchers.add(watcher)
    reply.raw.once('close', () => {
      watchers.delete(watcher)
      watcher.abort()
    })
    return watcher.signal
  }

  async function listenOnSocket(): Promise<void> {
    await claimSocket(socketPath)
    const app = openApp(({ headers }) => gate.admit(headers.authorization, options.socketTokenRequired ?? false))
    await app.listen({ path: socketPath }).catch((error: unknown) => {
      throw new SelfsameError('unavailable', `cannot listen on ${socketPath}: ${messageOf(error)}`, { cause: error })
    })
    protectSocket(socketPath)
  }

  async function listenOnTcp(names: TcpOptions): Promise<TcpAddress> {
    const address = loopbackOf(names.listen)
    if (address === undefined) throw new SelfsameError('invalid-configuration', `${names.listen} is not an address of this machine alone`)
    const app = openApp((request, reply) => {
      const { headers, method, socket } = request
      void reply.headers(checkNames(names, { host: address.host, port: socket.localPort ?? address.port }, headers))
      if (method !== 'OPTIONS' || headers.origin === undefined) return gate.admit(headers.authorization, true)
      // A browser asks, without the token, whether it may send it.
      void reply.status(204).send()
      return undefined
    })
    await app.listen(address).catch((error: unknown) => {
      throw new SelfsameError('address-in-use', `cannot listen on ${names.listen}: ${messageOf(error)}`, { cause: error })
    })
    return { host: address.host, port: (app.server.address() as AddressInfo).port }
  }

  async function close(): Promise<void> {
    for (const watcher of watchers) watcher.abort()
    const cancel = clock.after(closeMillisecondsMax, () => {
      for (const app of apps) app.server.closeAllConnections()
    })
    await Promise.all(apps.map((app) => app.close()))
    cancel()
  }

  try {
    await listenOnSocket()
    const tcpAddress = tcp === undefined ? null : await listenOnTcp(tcp)
    logger.info({ socketPath, tcpAddress }, 'serving the local api')
    return { socketPath, tcpAddress, close: () => (closing ??= close()) }
  } catch (error) {
    await close()
    throw error
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
