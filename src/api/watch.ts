/**
 * Watching changes, and alerts, as server-sent events. A watcher holds a cursor and reads the store from there, woken by commits: nothing is
 * queued for it, so a slow one costs no more than a fast one, and one that comes back goes on where it was.
 */
import type { Clock } from '../core/index.ts'
import type { AgentPort } from './port.ts'
import type { Alert, Change } from './schemas.ts'

/** Changes per read. A change of a log can carry an envelope full of entries, so this bounds what one watcher holds in memory. */
const changesPerRead = 32
/** A comment at least so often shows both sides that the other is there, and keeps the connection from being idle. */
const heartbeatMilliseconds = 15_000

export interface Watch {
  readonly port: Pick<AgentPort, 'changes' | 'onChange'>
  readonly clock: Clock
  readonly patterns: readonly string[]
  readonly cursor: string
  /** Ends the watch. */
  readonly signal: AbortSignal
}

/**
 * Yields server-sent events: `change` with a change as data, and `cursor` when the cursor moved without one (at the start, and with a
 * heartbeat), so that a watcher who saw nothing resumes where it began. The id of both is the cursor. Rejects like `AgentPort.changes`.
 */
export async function* watchEvents(watch: Watch): AsyncGenerator<string> {
  let cursor = watch.cursor
  let told: string | undefined
  const alarm = createAlarm(watch.clock)
  const unsubscribe = watch.port.onChange(alarm.ring)
  watch.signal.addEventListener('abort', alarm.ring, { once: true })
  try {
    while (!watch.signal.aborted) {
      const page = await watch.port.changes({ patterns: watch.patterns, cursor, limit: changesPerRead })
      cursor = page.cursor
      if (page.changes.length > 0) {
        yield page.changes.map((change, index) => changeToEvent(change, page.changes[index + 1])).join('')
        told = page.changes.at(-1)?.cursor
      } else if (told === undefined) {
        yield cursorToEvent(cursor)
        told = cursor
      }
      if (page.more || (await alarm.wait(heartbeatMilliseconds)) === 'rung') continue
      yield told === cursor ? ': heartbeat\n\n' : cursorToEvent(cursor)
      told = cursor
    }
  } finally {
    watch.signal.removeEventListener('abort', alarm.ring)
    unsubscribe()
  }
}

export interface AlertWatch {
  readonly port: Pick<AgentPort, 'alerts' | 'onAlert'>
  readonly clock: Clock
  /** Ends the watch. */
  readonly signal: AbortSignal
}

/**
 * Yields server-sent events: `raised` and `cleared`, with an alert as data. What is raised already comes first; after that, what
 * is different from what this watcher was told, so that nothing is queued for it either.
 */
export async function* watchAlerts({ clock, port, signal }: AlertWatch): AsyncGenerator<string> {
  let told = new Map<string, Alert>()
  const alarm = createAlarm(clock)
  const unsubscribe = port.onAlert(alarm.ring)
  signal.addEventListener('abort', alarm.ring, { once: true })
  try {
    // The answer begins at once, also where there is nothing to tell.
    yield ': alerts\n\n'
    while (!signal.aborted) {
      const raised = new Map(port.alerts().map((alert) => [alert.id, alert]))
      const cleared = [...told.values()].filter(({ id, raised: since }) => raised.get(id)?.raised !== since)
      const fresh = [...raised.values()].filter(({ id, raised: since }) => told.get(id)?.raised !== since)
      const events = [...cleared.map((alert) => alertToEvent('cleared', alert)), ...fresh.map((alert) => alertToEvent('raised', alert))]
      if (events.length > 0) yield events.join('')
      told = raised
      if ((await alarm.wait(heartbeatMilliseconds)) === 'timeout') yield ': heartbeat\n\n'
    }
  } finally {
    signal.removeEventListener('abort', alarm.ring)
    unsubscribe()
  }
}

function alertToEvent(type: 'raised' | 'cleared', alert: Alert): string {
  return `event: ${type}\ndata: ${JSON.stringify(alert)}\n\n`
}

/** Where the next change has the same cursor there is no id yet: a watcher that is cut off between the two must get the second one. */
function changeToEvent(change: Change, next: Change | undefined): string {
  const id = next?.cursor === change.cursor ? '' : `id: ${change.cursor}\n`
  return `event: change\n${id}data: ${JSON.stringify(change)}\n\n`
}

function cursorToEvent(cursor: string): string {
  return `event: cursor\nid: ${cursor}\ndata: ${JSON.stringify({ cursor })}\n\n`
}

/** Waits for the next ring; one that came while nobody waited is not lost, and many count as one. */
function createAlarm(clock: Clock): { readonly ring: () => void; readonly wait: (milliseconds: number) => Promise<'rung' | 'timeout'> } {
  let rung = false
  let wake: (() => void) | undefined
  return {
    ring() {
      rung = true
      wake?.()
    },
    async wait(milliseconds) {
      if (!rung) {
        await new Promise<void>((resolve) => {
          const cancel = clock.after(milliseconds, resolve)
          wake = () => {
            cancel()
            resolve()
          }
        })
        wake = undefined
      }
      const outcome = rung ? 'rung' : 'timeout'
      rung = false
      return outcome
    },
  }
}
