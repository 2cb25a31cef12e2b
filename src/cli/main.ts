/** The `selfsame` command as a process. `scripts/selfsame.js` finds a Node for it. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { connect } from '../api/client.ts'
import { runCommandLine } from './program.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

const daemonProgram = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../daemon/main.ts' : '../daemon/main.js', import.meta.url))

// Whoever reads our output may stop early (`| head`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

// Not `process.exit`: what was written to a pipe has to arrive.
process.exitCode = await runCommandLine(process.argv.slice(2), { streams: process, connect, version, daemonProgram })
