/**
 * Watching changes as server-sent events. A watcher holds a cursor and reads the store from there, woken by commits: nothing is
 * queued for it, so a slow one costs no more than a fast one, and one that comes back goes on where it was.
 */
import type { Clock } from '../core/index.ts'
import type { AgentPort } from './port.ts'
import type { Change } from './schemas.ts'

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
