/**
 * The process that ends what a test leaves behind. It hears on standard input which processes run (`+id`) and which have ended
 * (`-id`). When that input ends, because the group was closed or the test process died, it kills what is left and removes the directory.
 */
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'

const [directory = ''] = process.argv.slice(2)
const running = new Set<number>()

for await (const line of createInterface({ input: process.stdin })) {
  const id = Number(line.slice(1))
  if (line.startsWith('+')) running.add(id)
  else running.delete(id)
}
for (const id of running) {
  try {
    process.kill(id, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
// A process that is just being killed may still make a file: try again for a while.
rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
