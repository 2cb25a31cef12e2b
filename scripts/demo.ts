/**
 * `npm run demo`: three daemons on this machine are one agent. The story is in `demo/story.ts`; here is what surrounds it: a
 * directory for the homes, and an end that leaves no process and no file behind, however it comes.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProcesses } from './demo/processes.ts'
import { durationText, printFailure, printSuccess } from './demo/screen.ts'
import { tellStory } from './demo/story.ts'

/** Variables for the user's own instance would give all three one home or one port. Each is told of the others: none needs to search this network. */
const environment = {
  ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('SELFSAME_'))),
  SELFSAME_NETWORK_MDNS: 'false',
  SELFSAME_LOG_LEVEL: 'warn',
}

const began = performance.now()
const interruption = Promise.withResolvers<never>()
let exitCode = 0

function interrupt(code: number, reason: string): void {
  exitCode = code
  interruption.reject(new Error(reason))
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => interrupt(128 + constants.signals[signal], `stopped by ${signal}`))
}
// A closed pipe, as of `npm run demo | head`: nobody reads any more, and the processes still have to end.
process.stdout.on('error', () => interrupt(1, 'nobody reads what the demo prints'))

// Short, because the path of a socket below it has to fit into some 100 bytes.
const directory = mkdtempSync(join(tmpdir(), 'selfsame-'))
const processes = createProcesses(environment)
let failure: Error | null = null
try {
  await Promise.race([tellStory(processes, directory), interruption.promise])
} catch (error) {
  failure = error instanceof Error ? error : new Error('the demo failed', { cause: error })
  exitCode ||= 1
}
await processes.stop()
rmSync(directory, { recursive: true, force: true })

if (failure === null) {
  printSuccess(`Done in ${durationText(performance.now() - began)}. All daemons have stopped, and ${directory} is gone.`)
} else {
  printFailure([failure.message, ...processes.remarks(), 'The daemons have stopped, and their homes are gone.'].join('\n'))
}
process.exit(exitCode)
