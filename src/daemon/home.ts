/**
 * The home of one instance: a directory of mode 0700 with its identity (the secrets), its configuration, its database and what
 * a running daemon leaves there. Only this file knows what is called how. It does not lock: that is for whoever runs on it.
 */
import {
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import type { TokenShelf } from '../api/index.ts'
import { idBytes, idToBytes, memberNameLengthMax, SelfsameError } from '../core/index.ts'
import type { AgentId, InstanceId } from '../core/index.ts'

/** The files of a home. */
export interface HomePaths {
  readonly directory: string
  /** The identity and its secrets. It is written last: where it is, there is an instance. */
  readonly identity: string
  readonly configuration: string
  /** What the tokens of the local API allow, and their hashes. */
  readonly tokens: string
  readonly database: string
  /** What belongs to a running daemon: the socket, the log. Can be deleted when none runs. */
  readonly run: string
  readonly log: string
}

/** Who an instance is. The seeds are 32-byte Ed25519 secrets. */
export interface Identity {
  readonly agent: AgentId
  readonly agentName: string
  readonly instance: InstanceId
  readonly name: string
  readonly deviceSeed: Uint8Array
  /** Of the agent's root key; null where it is not kept on this machine. */
  readonly rootSeed: Uint8Array | null
}

function homePathsOf(directory: string): HomePaths {
  const absolute = resolve(directory)
  const run = join(absolute, 'run')
  return {
    directory: absolute,
    identity: join(absolute, 'identity.json'),
    configuration: join(absolute, 'config.toml'),
    tokens: join(absolute, 'tokens.json'),
    database: join(absolute, 'memory.sqlite'),
    run,
    log: join(run, 'daemon.log'),
  }
}

/** What an instance that was begun and not finished leaves behind: nothing of it was ever acknowledged or sent. */
const unfinished = /^(config\.toml(\.new)?|identity\.json\.new|(memory|lock)\.sqlite(-wal|-shm|-journal)?|run)$/

/**
 * Makes an empty home, or takes an empty directory, or clears one in which an earlier attempt ended half-way, and writes
 * the configuration. Throws `home-exists` where there is an instance, `home-unsafe` where the directory cannot be trusted
 * or holds something else.
 */
export function createHome(directory: string, configuration: string): HomePaths {
  const paths = homePathsOf(directory)
  onDisk(paths.directory, () => mkdirSync(paths.directory, { recursive: true, mode: 0o700 }))
  checkDirectory(paths.directory)
  const present = readdirSync(paths.directory)
  if (present.includes('identity.json')) {
    throw new SelfsameError(
      'home-exists',
      `${paths.directory} already holds an instance: start it with 'selfsame up', or choose another place with --home`,
    )
  }
  const foreign = present.find((name) => !unfinished.test(name))
  if (foreign !== undefined) {
    throw new SelfsameError('home-unsafe', `${paths.directory} is not empty (it holds '${foreign}'): choose an empty directory with --home`)
  }
  onDisk(paths.directory, () => {
    for (const name of present) rmSync(join(paths.directory, name), { recursive: true })
    mkdirSync(paths.run, { mode: 0o700 })
    writeDurably(paths.configuration, configuration)
  })
  return paths
}

/** Completes a home: from here on it holds an instance. Durable when it returns. */
export function writeIdentity(paths: HomePaths, identity: Identity): void {
  const text = JSON.stringify({
    version: 1,
    agent: identity.agent,
    agentName: identity.agentName,
    instance: identity.instance,
    name: identity.name,
    deviceSeed: Buffer.from(identity.deviceSeed).toString('hex'),
    rootSeed: identity.rootSeed === null ? null : Buffer.from(identity.rootSeed).toString('hex'),
  })
  onDisk(paths.directory, () => writeDurably(paths.identity, `${text}\n`))
}

/**
 * Opens the home of an instance. Throws `home-missing` where there is none, `home-unsafe` where someone else could read or
 * change it, `invalid-configuration` where the identity is damaged.
 */
export function openHome(directory: string): { readonly paths: HomePaths; readonly identity: Identity } {
  const paths = homePathsOf(directory)
  checkDirectory(paths.directory)
  const text = readPrivate(paths.identity)
  if (text === undefined) throw homeMissing(paths.directory)
  onDisk(paths.directory, () => mkdirSync(paths.run, { recursive: true, mode: 0o700 }))
  return { paths, identity: parseIdentity(text, paths.identity) }
}

/** Where the tokens of a home are kept. Writing throws `storage-failed`, reading `home-unsafe` where others could read them, too. */
export function openTokenShelf(paths: HomePaths): TokenShelf {
  return {
    read: () => readPrivate(paths.tokens),
    write(text) {
      try {
        writeDurably(paths.tokens, text)
      } catch (error) {
        throw new SelfsameError('storage-failed', `${paths.tokens} could not be written: ${(error as Error).message}`, { cause: error })
      }
    },
  }
}

function homeMissing(directory: string): SelfsameError {
  return new SelfsameError(
    'home-missing',
    `there is no instance in ${directory}: begin a new agent with 'selfsame init --agent NAME', or join one with 'selfsame join TICKET'`,
  )
}

function hexadecimal(bytes: number) {
  return Type.String({ pattern: `^[0-9a-f]{${bytes * 2}}$` })
}

const memberName = Type.String({ minLength: 1, maxLength: memberNameLengthMax })

const identityFile = Compile(
  Type.Object({
    version: Type.Literal(1),
    agent: hexadecimal(idBytes.agent),
    agentName: memberName,
    instance: hexadecimal(idBytes.instance),
    name: memberName,
    deviceSeed: hexadecimal(idBytes.key),
    rootSeed: Type.Union([hexadecimal(idBytes.key), Type.Null()]),
  }),
)

function parseIdentity(text: string, path: string): Identity {
  const value = parseJson(text)
  if (!identityFile.Check(value)) {
    const [fault] = identityFile.Errors(value)
    const where =
      fault === undefined || fault.instancePath === '' ? 'it is not an identity' : `'${fault.instancePath.slice(1)}' ${fault.message}`
    throw new SelfsameError('invalid-configuration', `${path} is damaged (${where}): restore it from a backup`)
  }
  return {
    agent: value.agent as AgentId,
    agentName: value.agentName,
    instance: value.instance as InstanceId,
    name: value.name,
    deviceSeed: idToBytes(value.deviceSeed),
    rootSeed: value.rootSeed === null ? null : idToBytes(value.rootSeed),
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Permission bits of group and others. */
const othersMask = 0o077

/** Refuses a directory that somebody else owns, can read or has put in place of ours. */
function checkDirectory(directory: string): void {
  const entry = onDisk(directory, () => lstatSync(directory, { throwIfNoEntry: false }))
  if (entry === undefined) throw homeMissing(directory)
  if (entry.isSymbolicLink()) throw unsafe(`${directory} is a symbolic link: give the directory itself with --home`)
  if (!entry.isDirectory()) throw unsafe(`${directory} is not a directory: choose another place with --home`)
  checkOwner(directory, entry)
  if (isOpenToOthers(entry)) throw unsafe(`others can use ${directory}, and the agent's keys are in it: chmod 700 '${directory}'`)
}

interface Entry {
  readonly uid: number
  readonly mode: number
}

function checkOwner(path: string, entry: Entry): void {
  // Where there are no numbered users (Windows) the directory's inherited access list decides.
  if (process.getuid === undefined || entry.uid === process.getuid()) return
  throw unsafe(`${path} belongs to another user (id ${entry.uid}): run selfsame as that user, or choose another place with --home`)
}

function isOpenToOthers(entry: Entry): boolean {
  return process.getuid !== undefined && (entry.mode & othersMask) !== 0
}

/** A file that only we can read, or undefined where there is none. */
function readPrivate(path: string): string | undefined {
  const entry = onDisk(path, () => lstatSync(path, { throwIfNoEntry: false }))
  if (entry === undefined) return undefined
  if (!entry.isFile()) throw unsafe(`${path} is not a plain file: restore it from a backup`)
  checkOwner(path, entry)
  if (isOpenToOthers(entry)) throw unsafe(`others can read ${path}, and the agent's keys are in it: chmod 600 '${path}'`)
  return onDisk(path, () => readFileSync(path, 'utf8'))
}

/** Writes a file of mode 0600 so that after a crash there is the whole of it or nothing. */
function writeDurably(path: string, text: string): void {
  const temporary = `${path}.new`
  const file = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  const parent = openSync(dirname(path), constants.O_RDONLY)
  try {
    fsyncSync(parent)
  } finally {
    closeSync(parent)
  }
}

function unsafe(message: string): SelfsameError {
  return new SelfsameError('home-unsafe', message)
}

/** Runs `action`; what the disk refuses is told as a home that cannot be used. */
function onDisk<T>(path: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    const reason =
      code === 'ENOTDIR' || code === 'EEXIST'
        ? 'a part of the path is a file, not a directory'
        : code === 'EACCES'
          ? 'access is denied'
          : message
    throw new SelfsameError('home-unsafe', `${path} cannot be used: ${reason}; choose another place with --home`, { cause: error })
  }
}
