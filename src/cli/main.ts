/** The `selfsame` command as a process. `scripts/selfsame.js` finds a Node for it. */
import { readFileSync } from 'node:fs'
import { connect } from '../api/client.ts'
import { runCommandLine } from './program.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

// Whoever reads our output may stop early (`| head`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

// Not `process.exit`: what was written to a pipe has to arrive.
process.exitCode = await runCommandLine(process.argv.slice(2), { streams: process, connect, version })
