/** Sends malformed requests to a server, many connections at a time, and holds every answer to the contract. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { errorTable } from '../../src/core/index.ts'
import type { ErrorCode } from '../../src/core/index.ts'
import { createDice } from '../unit/fuzz/dice.ts'
import { createConversation } from './malformed-requests.ts'
import type { Conversation } from './malformed-requests.ts'

/** Where the server listens. */
export type Place = { readonly path: string } | { readonly host: string; readonly port: number }

export interface FuzzOptions {
  readonly place: Place
  readonly seed: number
  /** Number of the first case, from 0. */
  readonly from?: number
  readonly cases: number
  /** Sent with almost all requests. */
  readonly token?: string
  /** Asked before each case: whether it is enough. */
  readonly isOver?: () => boolean
}

export interface FuzzReport {
  readonly cases: number
  /** Answers by status; `none` counts connections that ended without one. */
  readonly answersByStatus: ReadonlyMap<string, number>
  /** What broke a promise: the number of the case and what was wrong. */
  readonly faults: readonly string[]
}

/** Connections at a time. */
const workers = 128
/** Silence after which no further answer is expected. */
const quietMilliseconds = 25
/** How long one conversation may go on, so that a watch ends. */
const conversationMillisecondsMax = 500
/** How long the server may take to hang up once the other side has. */
const hangUpMillisecondsMax = 10_000
/** Cases after which the server is asked something reasonable. */
const casesPerCheck = 1_000
/** Faults after which it is enough. */
const faultsMax = 20

export async function fuzzApi({ place, seed, from = 0, cases, token, isOver = () => false }: FuzzOptions): Promise<FuzzReport> {
  const answersByStatus = new Map<string, number>()
  const faults: string[] = []
  let next = from

  async function work(): Promise<void> {
    while (next < from + cases && faults.length < faultsMax && !isOver()) {
      const index = next++
      const outcome = await converse(place, createConversation(createDice(`${seed}:${index}`), token))
      const answers = readAnswers(outcome.bytes, outcome.bodiless)
      for (const status of answers.length === 0 ? ['none'] : answers.map((answer) => String(answer.status)))
        answersByStatus.set(status, (answersByStatus.get(status) ?? 0) + 1)
      const wrong = outcome.fault ?? answers.map(faultOf).find((fault) => fault !== undefined)
      if (wrong !== undefined) faults.push(`case ${index}: ${wrong}`)
      if (index % casesPerCheck === 0) await check(index)
    }
  }

  /** Whether the server still does what it is there for. */
  async function check(index: number): Promise<void> {
    const authorization = token === undefined ? '' : `authorization: Bearer ${token}\r\n`
    const request = Buffer.from(`GET /v1/health HTTP/1.1\r\nhost: ${hostOf(place)}\r\n${authorization}connection: close\r\n\r\n`)
    const { bytes } = await converse(place, { pieces: [request], ending: 'wait', answersMax: 1, bodiless: false }, hangUpMillisecondsMax)
    const [answer] = readAnswers(bytes, false)
    if (answer?.status !== 200) faults.push(`after case ${index} a good request is answered with ${answer?.status ?? 'nothing'}`)
  }

  await Promise.all(Array.from({ length: Math.min(workers, cases) }, work))
  await check(next - 1)
  return { cases: next - from, answersByStatus, faults }
}

function hostOf(place: Place): string {
  return 'path' in place ? 'localhost' : `${place.host}:${place.port}`
}

interface Outcome {
  readonly bytes: Buffer
  readonly bodiless: boolean
  readonly fault?: string
}

/** Sends the pieces, and gathers what comes back until the connection has ended. */
function converse(place: Place, { pieces, ending, answersMax, bodiless }: Conversation, quiet = quietMilliseconds): Promise<Outcome> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let fault: string | undefined
    const socket: Socket = connect(place)
    const hangUp = (): void => {
      socket.end()
      clearTimeout(silence)
      hung ??= setTimeout(() => {
        fault = 'the connection stays open after the client has ended it'
        socket.destroy()
      }, hangUpMillisecondsMax)
    }
    let hung: NodeJS.Timeout | undefined
    let silence: NodeJS.Timeout | undefined
    const whole = setTimeout(hangUp, Math.max(quiet, conversationMillisecondsMax))
    const listen = (): void => {
      clearTimeout(silence)
      silence = setTimeout(hangUp, quiet)
    }
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      if (silence === undefined) return
      if (chunks.length < answersMax + 2 && readAnswers(Buffer.concat(chunks), bodiless).filter(({ whole }) => whole).length === answersMax)
        hangUp()
      else listen()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') fault = `nobody listens any more (${error.code})`
    })
    socket.on('close', () => {
      for (const timer of [hung, silence, whole]) clearTimeout(timer)
      resolve({ bytes: Buffer.concat(chunks), bodiless, ...(fault === undefined ? {} : { fault }) })
    })
    const send = (index: number): void => {
      const piece = pieces[index]
      if (piece !== undefined && !socket.destroyed) {
        socket.write(piece)
        setImmediate(send, index + 1)
      } else if (ending === 'destroy') socket.destroy()
      else if (ending === 'end') hangUp()
      else listen()
    }
    socket.once('connect', () => send(0))
  })
}

interface Answer {
  readonly status: number
  readonly mediaType: string
  readonly body: string
  /** Whether it came to its end. */
  readonly whole: boolean
}

/** The answers in what came back, interim ones left out. */
function readAnswers(bytes: Buffer, bodiless: boolean): readonly Answer[] {
  const answers: Answer[] = []
  let rest = bytes
  for (;;) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) return answers
    const head = rest.subarray(0, end).toString('latin1')
    rest = rest.subarray(end + 4)
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? 0)
    const header = (name: string): string => new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trim() ?? ''
    if (status >= 100 && status < 200) continue
    const body =
      bodiless || status === 204 ? { text: '', rest, whole: true } : bodyOf(rest, header('transfer-encoding'), header('content-length'))
    answers.push({ status, mediaType: header('content-type').split(';')[0] ?? '', body: body.text, whole: body.whole })
    if (!body.whole) return answers
    rest = body.rest
  }
}

function bodyOf(
  bytes: Buffer,
  encoding: string,
  length: string,
): { readonly text: string; readonly rest: Buffer; readonly whole: boolean } {
  if (encoding !== 'chunked') {
    const end = Number(length)
    return { text: bytes.subarray(0, end).toString(), rest: bytes.subarray(end), whole: bytes.length >= end }
  }
  const parts: Buffer[] = []
  let rest = bytes
  for (;;) {
    const line = rest.indexOf('\r\n')
    const size = line < 0 ? Number.NaN : Number.parseInt(rest.subarray(0, line).toString('latin1'), 16)
    const part = rest.subarray(line + 2, line + 2 + size)
    if (Number.isNaN(size) || part.length < size) return { text: Buffer.concat(parts).toString(), rest, whole: false }
    rest = rest.subarray(line + 2 + size + 2)
    if (size === 0) return { text: Buffer.concat(parts).toString(), rest, whole: true }
    parts.push(part)
  }
}

/** What is wrong with an answer, if anything is. */
function faultOf({ status, mediaType, body, whole }: Answer): string | undefined {
  if (status >= 200 && status < 300) return undefined
  if (mediaType !== 'application/problem+json')
    return `answered ${status} as ${JSON.stringify(mediaType)}, which is no problem details: ${body.slice(0, 200)}`
  if (!whole || body === '') return undefined
  const problem = JSON.parse(body) as { readonly code: ErrorCode; readonly status: number; readonly detail: string }
  const row = Object.hasOwn(errorTable, problem.code) ? errorTable[problem.code] : undefined
  if (row?.status !== status) return `answered ${status} with the code ${problem.code}`
  if (problem.code === 'internal') return `answered with a fault: ${problem.detail}`
  return undefined
}
