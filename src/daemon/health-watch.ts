/**
 * The health watch: looks at the replica every few seconds, works out the signals, and tells of each alert when it is raised and when
 * it is cleared: to the log, to whoever listens, and to what the configuration names.
 */
import { Allowance } from '../core/index.ts'
import type { Clock, InstanceId, Logger } from '../core/index.ts'
import { AlertBook, crossings, noSignals, signalsOf } from '../health/index.ts'
import type { Alert, AlertEvent, Signals, Thresholds } from '../health/index.ts'
import type { Replica, Standing } from '../replica/index.ts'
import { attentionOf } from './attention.ts'

/** Milliseconds between two looks. Alerts are told that much late; what a member lacks counts once it lacked it for so long. */
const lookMs = 5_000

/** Looks besides, where something differs or does no more, at once and in a second: others may attest what they like. */
const extraLooksMost = 5
const extraLooksPerSecond = 0.1

export interface HealthWatchOptions {
  readonly replica: Replica
  readonly thresholds: Thresholds
  readonly clock: Clock
  readonly logger: Logger
  readonly nameOf: (instance: InstanceId) => string
  /** Tells somebody outside; must neither wait nor throw. */
  readonly deliver: (event: AlertEvent) => void
}

export interface HealthWatch {
  /** Of the last look. */
  readonly signals: Signals
  /** The alerts that are raised, the oldest first. */
  readonly raised: readonly Alert[]
  /** Milliseconds since the last look that succeeded. */
  readonly quietMilliseconds: number
  /** Looks from now on, at once and then time and again. `recoveryMilliseconds`: how long it took until this daemon was ready. */
  start(recoveryMilliseconds: number): void
  /** Calls `listener` after each look that raised or cleared an alert. The returned function ends it. */
  onChange(listener: () => void): () => void
  /** Resolves once a look under way has ended. */
  stop(): Promise<void>
}

export function createHealthWatch({ clock, deliver, logger, nameOf, replica, thresholds }: HealthWatchOptions): HealthWatch {
  const book = new AlertBook()
  const listeners = new Set<() => void>()
  let signals = noSignals
  let recovery: number | null = null
  let standing: Standing = replica.standing()
  let lookedAt = clock.monotonic()
  let cancel: (() => void) | null = null
  let looking: Promise<void> = Promise.resolve()
  let stopped = false
  const extraLooks = new Allowance(clock, extraLooksPerSecond, extraLooksMost)
  // What was found wrong is told at once: it may be mended before the next look.
  const endListening = replica.coherence.onChange(() => {
    if (cancel === null || !extraLooks.isLeft) return
    extraLooks.spend(1)
    cancel()
    cancel = clock.after(0, next)
  })

  async function look(): Promise<void> {
    const coverage = await replica.coverage(standing)
    standing = replica.standing()
    const now = Math.floor(clock.now())
    const connected = new Set(replica.peers().flatMap(({ instance, state }) => (state === 'connected' ? [instance] : [])))
    const rebuildMilliseconds = replica.lastRebuild?.milliseconds ?? null
    signals = signalsOf(coverage, connected, { recoveryMilliseconds: recovery, rebuildMilliseconds }, now)
    const conditions = [...attentionOf(replica, now, nameOf), ...crossings(signals, thresholds, nameOf, now)]
    const events = book.look(conditions, now)
    lookedAt = clock.monotonic()
    for (const event of events) tell(event)
    if (events.length > 0) for (const listener of listeners) listener()
  }

  function tell(event: AlertEvent): void {
    const { alert, type } = event
    if (type === 'raised') logger.warn({ kind: alert.kind }, `alert: ${alert.detail}`)
    else logger.info({ kind: alert.kind }, `alert cleared: ${alert.detail}`)
    deliver(event)
  }

  function next(): void {
    cancel = null
    // A store that is being opened anew cannot be read: the next look may.
    looking = look()
      .catch((error: unknown) => logger.debug({ error: String(error) }, 'a look at the health failed'))
      .then(() => {
        if (!stopped) cancel = clock.after(lookMs, next)
      })
  }

  return {
    get signals() {
      return signals
    },
    get raised() {
      return book.raised
    },
    get quietMilliseconds() {
      return clock.monotonic() - lookedAt
    },
    start(recoveryMilliseconds) {
      recovery = recoveryMilliseconds
      next()
    },
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async stop() {
      stopped = true
      endListening()
      cancel?.()
      await looking
    },
  }
}
