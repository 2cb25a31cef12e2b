/**
 * Looks at the event loop of a daemon from inside: loaded before it (`--import`), it writes a line to the file that LOOP_PROBE names every
 * tenth of a second. `busy` is the processor time that the loop's own thread spent between two turns of a timer, so how long it was blocked
 * by work of its own; `late` is the time that passed, which on a shared machine is also everybody else's work. What the daemon died of goes to a file beside it.
 */
import { appendFileSync } from 'node:fs'
import process from 'node:process'
import { isMainThread } from 'node:worker_threads'

const turnMs = 5
const lineMs = 100

const path = process.env['LOOP_PROBE']
if (isMainThread && path !== undefined) {
  process.on('uncaughtExceptionMonitor', (error) => appendFileSync(`${path}.died`, `${error.stack}\n`))
  let turnedAt = performance.now()
  let spent = process.threadCpuUsage()
  let wroteAt = turnedAt
  let late = 0
  let busy = 0
  setInterval(() => {
    const now = performance.now()
    const { user, system } = process.threadCpuUsage(spent)
    late = Math.max(late, now - turnedAt - turnMs)
    busy = Math.max(busy, (user + system) / 1_000)
    if (now - wroteAt >= lineMs) {
      appendFileSync(path, `${JSON.stringify({ at: Date.now(), late, busy, resident: process.memoryUsage.rss() })}\n`)
      wroteAt = now
      late = 0
      busy = 0
    }
    turnedAt = performance.now()
    spent = process.threadCpuUsage()
  }, turnMs).unref()
}
