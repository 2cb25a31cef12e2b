/**
 * The API on TCP: on which addresses it can be served, and what is refused before a token is looked at. Every program of every user of the machine
 * reaches it there, and so does a browser on behalf of any page.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { isIPv4 } from 'node:net'
import { SelfsameError } from '../core/index.ts'

export interface TcpOptions {
  /** As `loopbackOf` reads it. */
  readonly listen: string
  /** What `Host` may say besides the loopback names with the port. Exact, but for the case of letters. */
  readonly hosts: readonly string[]
  /** Origins of the pages that may use the API, such as `http://localhost:3000`. */
  readonly origins: readonly string[]
}

export interface TcpAddress {
  readonly host: string
  readonly port: number
}

/** The address that `host:port` means, where it is one of this machine alone: 127.0.0.0/8, `[::1]`, `localhost`. Port 0 leaves the choice to the system. */
export function loopbackOf(text: string): TcpAddress | undefined {
  const [, host = '', digits = ''] = /^(.*):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (digits === '' || port > 65_535) return undefined
  // Not looked up: what a name means can be changed, and one socket is enough.
  if (host === 'localhost') return { host: '127.0.0.1', port }
  if (host === '[::1]') return { host: '::1', port }
  return isIPv4(host) && host.startsWith('127.') ? { host, port } : undefined
}

/** What a page may send and see, told to its browser before it does. */
const crossOriginHeaders = {
  'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE',
  'access-control-allow-headers': 'authorization, content-type, idempotency-key, if-match, last-event-id',
  'access-control-expose-headers': 'etag',
  'access-control-max-age': '600',
  // An answer to one origin is not to be given to another.
  'cache-control': 'no-store',
}

/**
 * Holds a request on TCP to its names: a page that got its own name to mean this machine (DNS rebinding) sends a foreign `Host`; a
 * page of any other site an `Origin`. Answers the headers that the answer is to carry. Throws `forbidden`.
 */
export function checkNames(
  { hosts, origins }: TcpOptions,
  { host: listening, port }: TcpAddress,
  { host, origin }: IncomingHttpHeaders,
): Readonly<Record<string, string>> {
  const own = ['localhost', '127.0.0.1', '[::1]', listening].map((name) => `${name}:${port}`)
  if (host === undefined || ![...own, ...hosts].some((allowed) => allowed.toLowerCase() === host.toLowerCase()))
    throw new SelfsameError('forbidden', "the request's Host is not one of this API: list it as api.hosts in config.toml if it should be")
  if (origin === undefined) return {}
  if (!origins.includes(origin))
    throw new SelfsameError('forbidden', 'pages of that origin may not use this API: list it as api.origins in config.toml if they should')
  return { ...crossOriginHeaders, 'access-control-allow-origin': origin }
}
