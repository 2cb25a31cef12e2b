/**
 * The daemon's program: makes a home (`init`, `join`), runs one (`run`), keeps and moves it (`backup`, `restore`, `move-...`), examines it
 * (`doctor`, `verify`), or shows and moves its keys (`key-...`). Says lines of JSON on
 * standard output: what it is about to do, then what it did or that it is ready. A failure is problem details on standard error
 * and an exit code of the error table. A secret (a ticket, a passphrase) is read from standard input. Started by the command line.
 */
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { homePathOf } from '../api/index.ts'
import { SelfsameError, errorTable, exitCodeOfBug } from '../core/index.ts'
import { openHome } from './home.ts'
import type { Identity } from './home.ts'
import { openLogs } from './logging.ts'

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
      'home': { type: 'string' },
      'agent': { type: 'string' },
      'name': { type: 'string' },
      'port': { type: 'string' },
      'listen': { type: 'string', multiple: true },
      'file': { type: 'string' },
      'new-instance': { type: 'boolean', default: false },
      'detached': { type: 'boolean', default: false },
      'force': { type: 'boolean', default: false },
      'fix': { type: 'boolean', default: false },
      'without-identity': { type: 'boolean', default: false },
    },
  })
  const home = homePathOf(values.home)
  const { file, force, 'without-identity': withoutIdentity } = values
  const program = `selfsame ${version}`
  const port = values.port === undefined ? undefined : Number(values.port)
  const create = { home, name: values.name, port, listen: values.listen }
  // Each part is loaded where it is needed: a command that only looks at a key does not wait for the network's code.
  if (positionals[0] === 'doctor') {
    // Before anything that was left half done is finished: it is asked to look, or to say what it does.
    const { examine } = await import('./doctor.ts')
    return say({ ready: true, ...(await examine({ home, fix: values.fix, environment: process.env, version })) })
  }
  const { settleSwap } = await import('./home-swap.ts')
  settleSwap(home)
  switch (positionals[0]) {
    case 'init': {
      if (values.agent === undefined) throw new SelfsameError('invalid-request', 'init needs --agent NAME')
      const sealed = file === undefined ? null : { file, passphrase: await secret() }
      const { initHome } = await import('./new-home.ts')
      return done(home, await initHome({ ...create, agentName: values.agent, sealed, logs: quietLogs() }))
    }
    case 'join': {
      const ticket = await secret()
      const { joinHome } = await import('./join-home.ts')
      const planned = (plan: object): void => say({ plan })
      const { identity, role, kept } = await joinHome({
        ...create,
        ticket,
        newInstance: values['new-instance'],
        planned,
        logs: quietLogs(),
      })
      return done(home, identity, { joined: role !== null, role, kept })
    }
    case 'run':
      return run(home, values.detached)
    case 'backup': {
      const { backupHome } = await import('./backup.ts')
      const { facts, identity } = await backupHome({ home, file: named('backup', file), force, withoutIdentity, program })
      return done(home, identity, facts)
    }
    case 'verify': {
      const { verifyHome } = await import('./deep-verify.ts')
      const { facts, identity } = await verifyHome(home, quietLogs())
      return done(home, identity, facts)
    }
    case 'restore': {
      const { restoreHome } = await import('./restore.ts')
      const { identity, ...restored } = await restoreHome({ home, file: named('restore', file), force, logs: quietLogs() })
      return done(home, identity, restored)
    }
    case 'move-out': {
      const { moveOut } = await import('./move.ts')
      const moved = await moveOut({ home, file: named('move-out', file), force, program })
      return done(home, moved.identity, { file: moved.file, facts: moved.facts })
    }
    case 'move-undo': {
      const { undoMove } = await import('./move.ts')
      const undone = undoMove(home)
      return done(home, undone.identity, { file: undone.file })
    }
    default:
      return keys(positionals[0] ?? '', home, file)
  }
}

async function keys(command: string, directory: string, file: string | undefined): Promise<void> {
  const { exportRootKey, forgetRootKey, importRootKey, keyFactsOf } = await import('./root-key.ts')
  const home = openHome(directory)
  switch (command) {
    case 'key-show':
      return done(directory, home.identity, keyFactsOf(home))
    case 'key-export':
      exportRootKey(home, named(command, file), await secret())
      return done(directory, home.identity, { file })
    case 'key-import':
      importRootKey(home, named(command, file), await secret())
      return done(directory, home.identity, { file })
    case 'key-forget': {
      const forgotten = forgetRootKey(home, file === undefined ? null : { file, passphrase: await secret() })
      return done(directory, home.identity, { forgotten })
    }
    default:
      throw new SelfsameError(
        'invalid-request',
        `${JSON.stringify(command)} is not init, join, run, backup, verify, restore, move-..., doctor or key-...: this program is started by selfsame`,
      )
  }
}

function named(command: string, file: string | undefined): string {
  if (file === undefined) throw new SelfsameError('invalid-request', `${command} needs --file FILE`)
  return file
}

async function run(home: string, detached: boolean): Promise<void> {
  const { openDaemon } = await import('./daemon.ts')
  const open = (): ReturnType<typeof openDaemon> =>
    openDaemon({ home, environment: process.env, detached, version, processId: process.pid })
  let daemon = await open()
  let stopped = false
  const stop = (): void => {
    stopped = true
    daemon.stop()
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop)
  done(home, daemon.identity, { processId: process.pid, addresses: daemon.addresses })
  while ((await daemon.ended) === 'again' && !stopped) {
    daemon = await open()
    if (stopped) daemon.stop()
  }
  process.exit(0)
}

/** A ticket or a passphrase: standard input up to its end, without the newline there. */
async function secret(): Promise<string> {
  return (await text(process.stdin)).replace(/\r?\n$/, '')
}

function quietLogs(): ReturnType<typeof openLogs> {
  return openLogs({ kind: 'stderr' }, { level: 'warn', rooms: {} })
}

/** The last word of what was asked, and for a daemon that it is ready. */
function done(home: string, identity: Identity, more: object = {}): void {
  const agent = { id: identity.agent, name: identity.agentName }
  const instance = { id: identity.instance, name: identity.name }
  say({ ready: true, home, agent, instance, ...more })
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
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
