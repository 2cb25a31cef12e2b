/**
 * What the doctor knows: everything about a home, its daemon and its machine that a check judges, found out in one place. Looks and changes
 * nothing, but for a file beside the database by which the disk is timed. What cannot be found out is a reason, and no error.
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  lstatSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs'
import type { Stats } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { basename, dirname, join, relative, sep } from 'node:path'
import { connect, socketPathOf } from '../api/client.ts'
import type { Agent, Peer, Status } from '../api/client.ts'
import { ok, refuse, SelfsameError, systemClock, systemRandom } from '../core/index.ts'
import type { Result } from '../core/index.ts'
import { examineDatabase, lockStateOf } from '../storage/index.ts'
import type { DatabaseFindings, LockState } from '../storage/index.ts'
import { readConfiguration } from './configuration.ts'
import type { Configuration, Environment } from './configuration.ts'
import { homeMissing, homePathsOf, readIdentity, readMove } from './home.ts'
import type { HomePaths, Identity, Move } from './home.ts'
import { fileSystemOf, syncToolOf } from './home-surroundings.ts'
import { probeMulticast } from './multicast-probe.ts'
import type { MulticastFindings } from './multicast-probe.ts'
import { serviceTagOf } from './rendezvous.ts'
import { scanForSecrets } from './secret-scan.ts'
import type { SecretScan } from './secret-scan.ts'

/** A file or directory of a home, or the directory outside of it that its socket lies in. */
export interface HomeEntry {
  readonly path: string
  /** As `path`, for people: relative to the home, `.` for the home itself. */
  readonly name: string
  readonly kind: 'file' | 'directory' | 'socket' | 'link' | 'other'
  readonly mode: number
  /** User id. */
  readonly owner: number
}

/** What a daemon tells of itself, as far as it is judged here. */
export interface DaemonStatus extends Pick<Status, 'attention' | 'network' | 'processId' | 'version'> {
  readonly peers: readonly Pick<Peer, 'address' | 'clockAheadMilliseconds' | 'direction' | 'instance' | 'program'>[]
}

/** What is seen of a home from outside: enough to mend it. */
export interface HomeLook {
  readonly paths: HomePaths
  /** Our user id; null where there are no numbered users. */
  readonly user: number | null
  /** The parts of a home: none where the directory is none. */
  readonly entries: readonly HomeEntry[]
  readonly lock: Result<LockState>
  readonly socketPath: string
  /** Whether a daemon answers at the socket: `refuses` if it does, and does not tell how it is. */
  readonly daemon:
    | { readonly state: 'none' | 'silent' }
    | { readonly state: 'refuses'; readonly why: string }
    | { readonly state: 'answers'; readonly status: DaemonStatus }
  /** Processes that run as daemons on this home's database; null where the system does not tell. */
  readonly daemonProcesses: readonly number[] | null
}

export interface DoctorFacts extends HomeLook {
  readonly version: string
  readonly nodeVersion: string
  /** Milliseconds since the Unix epoch. */
  readonly now: number
  readonly identity: Result<Identity>
  readonly move: Move | null
  readonly configuration: Result<Configuration>
  readonly syncTool: ReturnType<typeof syncToolOf>
  readonly fileSystem: ReturnType<typeof fileSystemOf>
  readonly disk: Result<{ readonly freeBytes: number; readonly databaseBytes: number }>
  /** How long small synced writes took, milliseconds, the shortest first. */
  readonly syncs: Result<readonly number[]>
  readonly database: Result<DatabaseFindings>
  /** Addresses of this machine. */
  readonly hosts: readonly string[]
  readonly multicast: Result<MulticastFindings>
  readonly secrets: Result<SecretScan>
}

/** A daemon that does not answer for so long is silent. */
const answerMilliseconds = 5_000

/** How a home looks. The agent, where its daemon answers, is the caller's to close. */
export async function lookAt(home: string): Promise<{ readonly look: HomeLook; readonly agent: Agent | null }> {
  const paths = homePathsOf(home)
  const socketPath = socketPathOf(paths.directory)
  const { agent, daemon } = await reach(paths.directory, socketPath)
  const look: HomeLook = {
    paths,
    user: process.getuid?.() ?? null,
    entries: entriesOf(paths, socketPath),
    lock: attempt(() => lockStateOf(paths.directory)),
    socketPath,
    daemon,
    daemonProcesses: daemonProcessesOn(paths.database),
  }
  return { look, agent }
}

/** Everything else. */
export async function factsOf(
  look: HomeLook,
  agent: Agent | null,
  { environment, version }: { readonly environment: Environment; readonly version: string },
): Promise<DoctorFacts> {
  const { daemon, paths } = look
  const identity = attempt(() => {
    // Somebody's other directory is not told to be closed to others.
    if (look.entries.length === 0 && childrenOf(paths.directory).length > 0) throw homeMissing(paths.directory)
    return readIdentity(paths.directory)
  })
  const configuration = identity.ok ? attempt(() => readConfiguration(paths.configuration, environment)) : identity
  const move = attempt(() => (identity.ok ? readMove(paths, identity.value) : null))
  const real = attempt(() => realpathSync(paths.directory))
  const place = real.ok ? real.value : paths.directory
  return {
    ...look,
    version,
    nodeVersion: process.versions.node,
    now: systemClock.now(),
    identity,
    move: move.ok ? move.value : null,
    configuration,
    syncTool: syncToolOf(ancestorsOf(place)),
    fileSystem: existsSync(mountsFile) ? fileSystemOf(place, readFileSync(mountsFile, 'utf8')) : null,
    disk: attempt(() => {
      const { bavail, bsize } = statfsSync(paths.directory)
      return { freeBytes: bavail * bsize, databaseBytes: statSync(paths.database, { throwIfNoEntry: false })?.size ?? 0 }
    }),
    syncs: identity.ok ? attempt(() => timeSyncs(join(paths.run, 'doctor.partial'))) : identity,
    database: identity.ok ? attempt(() => examineDatabase(paths.database)) : identity,
    hosts: Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map(({ address }) => address)),
    multicast: await multicastOf(identity, configuration),
    secrets: await secretsOf(daemon, agent),
  }
}

const mountsFile = '/proc/self/mounts'

async function reach(
  directory: string,
  socketPath: string,
): Promise<{ readonly agent: Agent | null; readonly daemon: HomeLook['daemon'] }> {
  if (entryAt(socketPath) === undefined) return { agent: null, daemon: { state: 'none' } }
  let agent: Agent | null = null
  try {
    agent = await connect({ home: directory, signal: AbortSignal.timeout(answerMilliseconds) })
    return { agent, daemon: { state: 'answers', status: await agent.status() } }
  } catch (error) {
    await agent?.close()
    const isRefusal = error instanceof SelfsameError && error.code !== 'daemon-not-running'
    return { agent: null, daemon: isRefusal ? { state: 'refuses', why: error.message } : { state: 'silent' } }
  }
}

/** What this program puts into a home, finished or not. */
const parts =
  /^((identity|root-key|joining|tokens|moved)\.json([.-].+)?|config\.toml([.-].+)?|(memory|lock)\.sqlite([.-].+)?|run|restore\..+|before-restore-\d+|.+\.partial(-.+)?)$/
/** What tells a home from any other directory. */
const marks = /^(identity\.json|restore\.(ready|entering)-\d+)$/

/**
 * The home, its parts, what lies in its directory of what belongs to a daemon, and the socket's directory. Nothing where the directory is
 * no home: it is named on a command line, and what is listed here may be mended.
 */
function entriesOf({ directory, run }: HomePaths, socketPath: string): readonly HomeEntry[] {
  const children = childrenOf(directory)
  if (!children.some((path) => marks.test(basename(path)))) return []
  const socketDirectory = dirname(socketPath)
  const isOutside = relative(run, socketDirectory) !== ''
  const own = children.filter((path) => parts.test(basename(path)))
  const paths = [directory, ...own, ...childrenOf(run), ...(isOutside ? [socketDirectory, socketPath] : [])]
  return paths.flatMap((path) => {
    const found = entryAt(path)
    if (found === undefined) return []
    const inside = relative(directory, path)
    const name = inside === '' ? '.' : inside.startsWith('..') ? path : inside
    return [{ path, name, kind: kindOf(found), mode: found.mode & 0o7777, owner: found.uid }]
  })
}

/** What lies at a path; undefined where nothing does, or where we may not look. */
function entryAt(path: string): Stats | undefined {
  const found = attempt(() => lstatSync(path, { throwIfNoEntry: false }))
  return found.ok ? found.value : undefined
}

function kindOf(found: Stats): HomeEntry['kind'] {
  if (found.isSymbolicLink()) return 'link'
  if (found.isDirectory()) return 'directory'
  if (found.isSocket()) return 'socket'
  return found.isFile() ? 'file' : 'other'
}

function childrenOf(directory: string): readonly string[] {
  const names = attempt(() => readdirSync(directory))
  return names.ok ? names.value.toSorted().map((name) => join(directory, name)) : []
}

/** By what each process has open: also a daemon whose lock and socket somebody deleted. */
function daemonProcessesOn(database: string): readonly number[] | null {
  const path = attempt(() => realpathSync(database))
  const names = attempt(() => readdirSync('/proc'))
  if (!names.ok) return null
  if (!path.ok) return []
  return names.value
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      const words = attempt(() => readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0'))
      if (!words.ok || !words.value.includes('run')) return false
      return childrenOf(`/proc/${name}/fd`).some((file) => {
        const target = attempt(() => readlinkSync(file))
        return target.ok && target.value === path.value
      })
    })
    .map(Number)
}

function ancestorsOf(path: string): { readonly path: string; readonly names: readonly string[] }[] {
  const parts = path.split(sep)
  return parts.map((_, index) => {
    const ancestor = parts.slice(0, parts.length - index).join(sep) || sep
    const names = attempt(() => readdirSync(ancestor))
    return { path: ancestor, names: names.ok ? names.value : [] }
  })
}

/** Enough for a 99th percentile that is not the worst of all. */
const syncCount = 128
/** Milliseconds after which a slow disk is known well enough. */
const syncMillisecondsMax = 2_000
const syncBytes = 512

function timeSyncs(path: string): readonly number[] {
  const file = openSync(path, 'w', 0o600)
  try {
    const block = Buffer.alloc(syncBytes)
    const began = systemClock.monotonic()
    const times: number[] = []
    while (times.length < syncCount && systemClock.monotonic() - began < syncMillisecondsMax) {
      const before = systemClock.monotonic()
      writeSync(file, block)
      fdatasyncSync(file)
      times.push(systemClock.monotonic() - before)
    }
    return times.toSorted((a, b) => a - b)
  } finally {
    closeSync(file)
    rmSync(path)
  }
}

async function multicastOf(identity: Result<Identity>, configuration: Result<Configuration>): Promise<Result<MulticastFindings>> {
  if (!identity.ok) return identity
  if (!configuration.ok) return refuse('the configuration cannot be read')
  if (!configuration.value.network.mdns) return refuse('network.mdns is off')
  return ok(await probeMulticast(serviceTagOf(identity.value.agent), systemClock, systemRandom))
}

async function secretsOf(daemon: HomeLook['daemon'], agent: Agent | null): Promise<Result<SecretScan>> {
  if (agent === null) return refuse(daemon.state === 'refuses' ? daemon.why : 'no daemon answers that reads the memory')
  try {
    return ok(await scanForSecrets(agent, systemClock))
  } catch (error) {
    return refuse((error as Error).message)
  }
}

/** What the system or this program refuses is a reason. */
function attempt<T>(action: () => T): Result<T> {
  try {
    return ok(action())
  } catch (error) {
    return refuse((error as Error).message)
  }
}
