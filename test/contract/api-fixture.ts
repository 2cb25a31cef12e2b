/** A server of the local API on a socket of its own, over an agent in memory, and raw ways to reach it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { connect as connectSocket } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Check } from 'typebox/schema'
import { expect } from 'vitest'
import { routes } from '../../src/api/contract.ts'
import type { Route } from '../../src/api/contract.ts'
import { connect, openServer } from '../../src/api/index.ts'
import type { Agent, Server, ServerOptions, Tokens } from '../../src/api/index.ts'
import { problem } from '../../src/api/schemas.ts'
import type { Problem } from '../../src/api/schemas.ts'
import { errorTable, systemClock } from '../../src/core/index.ts'
import type { ErrorCode, Logger } from '../../src/core/index.ts'
import { createMemoryAgent, createMemoryTokens } from '../unit/api/memory-agent.ts'
import type { MemoryAgent } from '../unit/api/memory-agent.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

export interface Ask {
  readonly body?: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
  /** Over TCP, and not over the socket. */
  readonly tcp?: boolean
}

export interface Fixture {
  readonly agent: MemoryAgent
  readonly tokens: Tokens
  readonly server: Server
  readonly client: Agent
  readonly faults: object[]
  readonly directory: string
  /** Asks, and holds a successful JSON answer to the contract. */
  ask(method: string, path: string, ask?: Ask): Promise<Answer>
  askJson(method: string, path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>
  /** Opens a request whose answer the test reads itself. */
  open(path: string, headers?: Readonly<Record<string, string>>): Promise<IncomingMessage>
  /** A connection of raw bytes. */
  raw(): Promise<Socket>
  close(): Promise<void>
}

export async function openFixture({ token, ...options }: Partial<ServerOptions> & { readonly token?: string } = {}): Promise<Fixture> {
  const directory = mkdtempSync(join(tmpdir(), 'selfsame-api-'))
  const socketPath = join(directory, 'run', 'api.sock')
  const agent = createMemoryAgent()
  const faults: object[] = []
  const logger: Logger = { debug() {}, info() {}, warn() {}, error: (fields) => void faults.push(fields) }
  const tokens = options.tokens ?? createMemoryTokens()
  const server = await openServer({ port: agent, tokens, socketPath, logger, clock: systemClock, version: '0.0.0', ...options })
  const client = await connect({ socketPath, ...(token === undefined ? {} : { token }) })

  const ask: Fixture['ask'] = (method, path, { body, headers = {}, tcp = false } = {}) =>
    new Promise((resolve, reject) => {
      const length = body === undefined || 'transfer-encoding' in headers ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      let answered = false
      const place = tcp ? server.tcpAddress : { socketPath }
      const request = httpRequest({ ...place, method, path, agent: false, headers: { ...length, ...headers } }, (response) => {
        answered = true
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const answer = { status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString('utf8') }
          try {
            expectContract(method, path, answer)
            resolve(answer)
          } catch (error) {
            reject(error)
          }
        })
      })
      // After an early refusal the rest of the body has nowhere to go.
      request.on('error', (error) => (answered ? undefined : reject(error)))
      request.end(body)
    })

  return {
    agent,
    tokens,
    server,
    client,
    faults,
    directory,
    ask,
    askJson: (method, path, body, headers = {}) =>
      ask(method, path, { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } }),
    open: (path, headers = {}) =>
      new Promise((resolve, reject) => {
        httpRequest({ socketPath, path, agent: false, headers }, resolve).on('error', reject).end()
      }),
    raw: () =>
      new Promise((resolve, reject) => {
        const socket = connectSocket(socketPath)
        socket.once('connect', () => resolve(socket))
        socket.once('error', reject)
      }),
    async close() {
      await client.close()
      await server.close()
      rmSync(directory, { recursive: true })
    },
  }
}

/** Every answer is what the contract says: a problem of a known code with its own status, or the route's shape. */
function expectContract(method: string, path: string, answer: Answer): void {
  const mediaType = answer.headers['content-type']?.split(';')[0]
  if (answer.status >= 400) {
    expect(mediaType).toBe('application/problem+json')
    problemIn(answer)
    return
  }
  const route = (Object.values(routes) as Route[]).find(
    (route) => route.method === method && pathPattern(route.path).test(path.split('?')[0] as string),
  )
  if (route?.response === undefined || mediaType !== 'application/json') return
  if (!Check(route.response, JSON.parse(answer.text)))
    throw new Error(`${method} ${path} does not answer what the contract says: ${answer.text}`)
}

function pathPattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`)
}

export function problemIn(answer: Answer): Problem {
  const found = JSON.parse(answer.text) as Problem
  expect(Check(problem, found)).toBe(true)
  expect(errorTable).toHaveProperty(found.code)
  const row = errorTable[found.code as ErrorCode]
  expect(found).toMatchObject({ type: `urn:selfsame:error:${found.code}`, title: row.title, status: row.status, retry: row.retry })
  expect(answer.status).toBe(row.status)
  expect(found.detail).not.toMatch(/\n\s+at /)
  return found
}

/** Lets everything that is ready happen, many times over. */
export async function turns(count = 50): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
