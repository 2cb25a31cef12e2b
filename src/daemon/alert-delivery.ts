/**
 * Telling somebody outside of alerts: a command that is run, an address that is posted to. One after the other, so that what was raised
 * is told before it is cleared; limited in time, so that nothing waits for long; and what fails is logged and not tried again.
 */
import { spawn } from 'node:child_process'
import type { Logger } from '../core/index.ts'
import type { AlertEvent } from '../health/index.ts'
import { isoOf } from './iso-time.ts'

/** Milliseconds that a command may run before it is killed. */
const commandMsMax = 30_000
/** Milliseconds for a webhook to answer. */
const webhookMsMax = 10_000
/** Alerts that wait to be told; further ones are dropped, and the log has them. */
const waitingMax = 64

export interface AlertDeliveryOptions {
  /** A program and its arguments; empty for none. */
  readonly command: readonly string[]
  /** Empty for none. It may hold a secret, so it is never logged. */
  readonly webhook: string
  /** Whose alerts these are. */
  readonly from: { readonly agent: string; readonly instance: string }
  readonly logger: Logger
}

export interface AlertDelivery {
  deliver(event: AlertEvent): void
  /** Ends what is under way, and tells nothing more. */
  stop(): Promise<void>
}

export function createAlertDelivery({ command, from, logger, webhook }: AlertDeliveryOptions): AlertDelivery {
  const stopping = new AbortController()
  let waiting = 0
  let last: Promise<void> = Promise.resolve()

  async function attempt(how: string, tell: () => Promise<void>): Promise<void> {
    if (stopping.signal.aborted) return
    try {
      await tell()
    } catch (error) {
      if (!stopping.signal.aborted) logger.warn({ reason: reasonOf(error) }, `an alert was not told by the ${how}`)
    }
  }

  async function tellAll(message: string): Promise<void> {
    const [program, ...args] = command
    if (program !== undefined) await attempt('command', () => runCommand(program, args, message, stopping.signal))
    if (webhook !== '') await attempt('webhook', () => post(webhook, message, stopping.signal))
    waiting -= 1
  }

  return {
    deliver({ alert, type }) {
      if (command.length === 0 && webhook === '') return
      if (waiting >= waitingMax) {
        logger.warn({ kind: alert.kind }, 'too many alerts wait to be told: one is dropped')
        return
      }
      waiting += 1
      const { detail, id, kind, raisedAt, since } = alert
      const message = JSON.stringify({ type, ...from, id, kind, detail, since: isoOf(since), raised: isoOf(raisedAt) })
      last = last.then(() => tellAll(message))
    },
    async stop() {
      stopping.abort()
      await last
    },
  }
}

function runCommand(program: string, args: readonly string[], message: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'], timeout: commandMsMax, killSignal: 'SIGKILL', signal })
    child.once('error', reject)
    child.once('exit', (code, killedBy) => {
      if (code === 0) resolve()
      else reject(new Error(killedBy === null ? `it ended with ${code}` : `it was ended by ${killedBy}`))
    })
    // A command that does not read its input is none the worse for it.
    child.stdin.on('error', () => {})
    child.stdin.end(`${message}\n`)
  })
}

async function post(address: string, message: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(address, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: message,
    signal: AbortSignal.any([signal, AbortSignal.timeout(webhookMsMax)]),
  })
  await response.body?.cancel()
  if (!response.ok) throw new Error(`it answered ${response.status}`)
}

/** Why it failed; of what the system says only the code, which names no address. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const { code } = (error.cause ?? error) as { readonly code?: unknown }
  if (typeof code === 'string') return code
  return error.message.startsWith('it ') ? error.message : error.name
}
