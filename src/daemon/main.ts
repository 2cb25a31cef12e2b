/**
 * The daemon's program: `init`, `join` or `run`, each on one home. Says one line of JSON on standard output when it is done
 * or ready; a failure is problem details on standard error and an exit code of the error table. Started by the command line.
 */
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { homePathOf } from '../api/index.ts'
import { SelfsameError, errorTable, exitCodeOfBug } from '../core/index.ts'
import { openDaemon } from './daemon.ts'
import type { Identity } from './home.ts'
import { openLogs } from './logging.ts'
import { initHome, joinHome } from './new-home.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)
try {
  await main()
} catch (error) {
  fail(error)
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      home: { type: 'string' },
      agent: { type: 'string' },
      name: { type: 'string' },
      port: { type: 'string' },
      listen: { type: 'string', multiple: true },
      detached: { type: 'boolean', default: false },
    },
  })
  const home = homePathOf(values.home)
  const port = values.port === undefined ? undefined : Number(values.port)
  const create = { home, name: values.name, port, listen: values.listen }
  switch (positionals[0]) {
    case 'init':
      if (values.agent === undefined) throw new SelfsameError('invalid-request', 'init needs --agent NAME')
      return say(home, await initHome({ ...create, agentName: values.agent, logs: quietLogs() }))
    case 'join':
      return say(home, await joinHome({ ...create, ticket: (await text(process.stdin)).trim(), logs: quietLogs() }))
    case 'run':
      return run(home, values.detached)
    default:
      throw new SelfsameError(
        'invalid-request',
        `${JSON.stringify(positionals[0] ?? '')} is not init, join or run: this program is started by selfsame`,
      )
  }
}

async function run(home: string, detached: boolean): Promise<void> {
  const daemon = await openDaemon({ home, environment: process.env, detached, version, processId: process.pid })
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => daemon.stop())
  say(home, daemon.identity, { processId: process.pid, addresses: daemon.addresses })
  await daemon.ended
  process.exit(0)
}

function quietLogs(): ReturnType<typeof openLogs> {
  return openLogs({ kind: 'stderr' }, { level: 'warn', rooms: {} })
}

function say(home: string, identity: Identity, more: object = {}): void {
  const agent = { id: identity.agent, name: identity.agentName }
  const instance = { id: identity.instance, name: identity.name }
  process.stdout.write(`${JSON.stringify({ ready: true, home, agent, instance, ...more })}\n`)
}

/** Ends the process: an operating error tells what to do, anything else is a bug and shows where. */
function fail(error: unknown): never {
  const known = error instanceof SelfsameError ? error : null
  const detail = known?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error))
  const code = known?.code ?? 'internal'
  const { status, title, retry } = errorTable[code]
  process.stderr.write(`${JSON.stringify({ type: 'about:blank', title, status, detail, code, retry })}\n`)
  process.exit(known === null ? exitCodeOfBug : errorTable[known.code].exit)
}
