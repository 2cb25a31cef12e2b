/**
 * The home of one instance: a directory of mode 0700 with its identity, here and there the agent's root key (the secrets), its
 * configuration, its database and what a running daemon leaves there. Only this file knows what is called how. It does not lock:
 * that is for whoever runs on it. The root key has a file of its own, so that it can come and go while a daemon runs.
 */
import {
  closeSync,
  constants,
  existsSync,
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
import { basename, dirname, join, resolve } from 'node:path'
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import type { TokenShelf } from '../api/index.ts'
import { idBytes, idToBytes, memberNameLengthMax, SelfsameError } from '../core/index.ts'
import type { AgentId, InstanceId, PublicKey } from '../core/index.ts'

/** The files of a home. */
export interface HomePaths {
  readonly directory: string
  /** The identity and its secret. It is written last: where it is, there is an instance. */
  readonly identity: string
  /** The identity that is about to take its place. */
  readonly nextIdentity: string
  /** The agent's root key, where this machine keeps it. */
  readonly rootKey: string
  /** The device key of a join that was begun: a second try with the same ticket is then the same instance. */
  readonly joining: string
  readonly configuration: string
  /** What the tokens of the local API allow, and their hashes. */
  readonly tokens: string
  /** That the instance has moved to another machine. */
  readonly moved: string
  readonly database: string
  /** What belongs to a running daemon: the socket, the log. Can be deleted when none runs. */
  readonly run: string
  readonly log: string
}

/** Who an instance is. */
export interface Identity {
  readonly agent: AgentId
  readonly agentName: string
  readonly instance: InstanceId
  readonly name: string
  /** A 32-byte Ed25519 secret. */
  readonly deviceSeed: Uint8Array
}

export function homePathsOf(directory: string): HomePaths {
  const absolute = resolve(directory)
  const run = join(absolute, 'run')
  return {
    directory: absolute,
    identity: join(absolute, 'identity.json'),
    nextIdentity: join(absolute, 'identity.json.next'),
    rootKey: join(absolute, 'root-key.json'),
    joining: join(absolute, joiningFile),
    configuration: join(absolute, 'config.toml'),
    tokens: join(absolute, 'tokens.json'),
    moved: join(absolute, 'moved.json'),
    database: join(absolute, databaseFile),
    run,
    log: join(run, 'daemon.log'),
  }
}

export const databaseFile = 'memory.sqlite'
/** The files of a home that hold a secret key. */
export const secretFiles = ['identity.json', 'identity.json.next', 'root-key.json'] as const
/** The files that, with the database, are what makes a home this one: what a backup holds. */
export const homeFiles = [...secretFiles, 'config.toml', 'tokens.json'] as const
export type HomeFile = (typeof homeFiles)[number]

/** What an instance that was begun and not finished leaves behind: nothing of it was ever acknowledged or sent. */
const unfinished =
  /^(config\.toml(\.new)?|(identity|root-key|joining)\.json\.new|root-key\.json|(memory|lock)\.sqlite(-wal|-shm|-journal)?|run|restore\.partial)$/
/** The key of an unfinished join: the issuer may have admitted it. */
const joiningFile = 'joining.json'

/** Whether there is an instance in `directory`. Throws `home-unsafe` where the directory cannot be trusted. */
export function holdsInstance(directory: string): boolean {
  const paths = homePathsOf(directory)
  if (onDisk(paths.directory, () => lstatSync(paths.directory, { throwIfNoEntry: false })) === undefined) return false
  checkDirectory(paths.directory)
  return onDisk(paths.directory, () => lstatSync(paths.identity, { throwIfNoEntry: false })) !== undefined
}

/**
 * Makes an empty home, or takes an empty directory, or clears one in which an earlier attempt ended half-way, and writes
 * the configuration. Throws `home-exists` where there is an instance, `home-unsafe` where the directory cannot be trusted
 * or holds something else.
 */
export function createHome(directory: string, configuration: string): HomePaths {
  const paths = homePathsOf(directory)
  onDisk(paths.directory, () => makeDirectory(paths.directory))
  if (holdsInstance(paths.directory)) {
    throw new SelfsameError(
      'home-exists',
      `${paths.directory} already holds an instance: start it with 'selfsame up', or choose another place with --home`,
    )
  }
  const present = readdirSync(paths.directory).filter((name) => name !== joiningFile)
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

/**
 * Completes a home, or replaces the identity in it: from here on it holds this instance. After a crash it holds the one or
 * the other. Durable when it returns.
 */
export function writeIdentity(paths: HomePaths, identity: Identity): void {
  writeSecret(paths.identity, identityToJson(identity))
  onDisk(paths.directory, () => {
    rmSync(paths.joining, { force: true })
    // After a power loss the key of a join that has ended must not be there again.
    syncDirectory(paths.directory)
  })
}

/** Keeps the identity that is to take the place of the present one, until it did. Durable when it returns. */
export function writeNextIdentity(paths: HomePaths, identity: Identity): void {
  writeSecret(paths.nextIdentity, identityToJson(identity))
}

/** The identity that was to take the place of the present one; null where none was. Throws as `openHome`. */
export function readNextIdentity(paths: HomePaths): Identity | null {
  const value = readSecret(paths.nextIdentity, identityFile, 'an identity')
  return value === undefined ? null : identityFromJson(value)
}

export function removeNextIdentity(paths: HomePaths): void {
  onDisk(paths.directory, () => {
    rmSync(paths.nextIdentity, { force: true })
    syncDirectory(paths.directory)
  })
}

function identityToJson({ agent, agentName, deviceSeed, instance, name }: Identity): object {
  return { version: 2, agent, agentName, instance, name, deviceSeed: Buffer.from(deviceSeed).toString('hex') }
}

function identityFromJson(value: { agent: string; agentName: string; instance: string; name: string; deviceSeed: string }): Identity {
  const { agent, agentName, deviceSeed, instance, name } = value
  return { agent: agent as AgentId, agentName, instance: instance as InstanceId, name, deviceSeed: idToBytes(deviceSeed) }
}

/** Which of its files a home has, with their contents. Throws as `openHome`. */
export function readHomeFiles(paths: HomePaths): ReadonlyMap<HomeFile, string> {
  const files = new Map<HomeFile, string>()
  for (const name of homeFiles) {
    const text = readPrivate(join(paths.directory, name))
    if (text !== undefined) files.set(name, text)
  }
  return files
}

/** That the instance of a home has moved to another machine. */
export interface Move {
  readonly instance: InstanceId
  /** ISO 8601. */
  readonly at: string
  /** Where the file was made that takes it there. */
  readonly file: string
  /** Where that file was complete before it took its name. */
  readonly partial: string
}

/** The move of the instance in this home; null where it has not moved, or another instance took its place since. Throws as `openHome`. */
export function readMove(paths: HomePaths, { instance }: Identity): Move | null {
  const value = readSecret(paths.moved, movedFile, 'a move')
  return value?.instance === instance ? { ...value, instance } : null
}

/** Gives the instance of a home up for another machine. Durable when it returns. */
export function writeMove(paths: HomePaths, move: Move): void {
  writeSecret(paths.moved, { version: 1, ...move })
}

/** Takes a move back. Durable when it returns. */
export function removeMove(paths: HomePaths): void {
  onDisk(paths.directory, () => {
    rmSync(paths.moved, { force: true })
    syncDirectory(paths.directory)
  })
}

/** Keeps a copy of the identity beside it, before another takes its place. Gives the name of the copy. */
export function keepIdentity(paths: HomePaths, { instance }: Identity): string {
  const name = `identity.json.old-${instance.slice(0, oldNameDigits)}`
  const text = readPrivate(paths.identity)
  if (text !== undefined) onDisk(paths.directory, () => writeDurably(join(paths.directory, name), text))
  return name
}

/** Moves a database that cannot be used any more out of the way. Gives the name that it has then. */
export function keepDatabase(paths: HomePaths, { instance }: Identity): string {
  const kept = `${paths.database}.old-${instance.slice(0, oldNameDigits)}`
  onDisk(paths.directory, () => {
    // The log and its index first: a database without them is refused, one beside those of another would be believed.
    for (const suffix of ['-wal', '-shm', '']) {
      if (existsSync(paths.database + suffix)) renameSync(paths.database + suffix, kept + suffix)
    }
    syncDirectory(paths.directory)
  })
  return basename(kept)
}

/** Digits of the instance id in the name of what it leaves behind. */
const oldNameDigits = 8

/**
 * Opens the home of an instance. Throws `home-missing` where there is none, `home-unsafe` where someone else could read or
 * change it, `invalid-configuration` where the identity is damaged.
 */
export function openHome(directory: string): { readonly paths: HomePaths; readonly identity: Identity } {
  const paths = homePathsOf(directory)
  checkDirectory(paths.directory)
  const value = readSecret(paths.identity, identityFile, 'an identity')
  if (value === undefined) throw homeMissing(paths.directory)
  onDisk(paths.directory, () => mkdirSync(paths.run, { recursive: true, mode: 0o700 }))
  const identity = identityFromJson(value)
  if (value.version === 1) {
    // Version 1 kept the root key in the same file.
    if (typeof value.rootSeed === 'string') writeRootSeed(paths, idToBytes(value.rootSeed))
    writeIdentity(paths, identity)
  }
  return { paths, identity }
}

/** Who the instance of a home is, without making anything in it. Throws as `openHome`. */
export function readIdentity(directory: string): Identity {
  const paths = homePathsOf(directory)
  checkDirectory(paths.directory)
  const value = readSecret(paths.identity, identityFile, 'an identity')
  if (value === undefined) throw homeMissing(paths.directory)
  return identityFromJson(value)
}

/** The seed of the agent's root key as it is on this machine now; null where it is not. Throws as `openHome`. */
export function readRootSeed(paths: HomePaths): Uint8Array | null {
  const value = readSecret(paths.rootKey, rootKeyFile, 'a root key')
  return value === undefined ? null : idToBytes(value.seed)
}

/** Keeps the seed of the agent's root key on this machine. Durable when it returns. */
export function writeRootSeed(paths: HomePaths, seed: Uint8Array): void {
  writeSecret(paths.rootKey, { version: 1, seed: Buffer.from(seed).toString('hex') })
}

/** Has this machine keep no root key any more, nor what an interrupted write left of one. */
export function removeRootSeed(paths: HomePaths): void {
  onDisk(paths.directory, () => {
    for (const path of [paths.rootKey, temporaryOf(paths.rootKey), temporaryOf(paths.identity)]) rmSync(path, { force: true })
    syncDirectory(paths.directory)
  })
}

/** The device seed with which a join by this invite was begun and not finished; null where none was. Throws as `openHome`. */
export function readJoiningSeed(paths: HomePaths, invite: PublicKey): Uint8Array | null {
  const value = readSecret(paths.joining, joiningSeedFile, 'a join')
  return value?.invite === invite ? idToBytes(value.deviceSeed) : null
}

/** Remembers with which device seed a join by this invite is begun, until `writeIdentity`. Durable when it returns. */
export function writeJoiningSeed(paths: HomePaths, invite: PublicKey, deviceSeed: Uint8Array): void {
  writeSecret(paths.joining, { version: 1, invite, deviceSeed: Buffer.from(deviceSeed).toString('hex') })
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

/** That nobody lives in a directory, and what to do. */
export function homeMissing(directory: string): SelfsameError {
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
    version: Type.Union([Type.Literal(1), Type.Literal(2)]),
    agent: hexadecimal(idBytes.agent),
    agentName: memberName,
    instance: hexadecimal(idBytes.instance),
    name: memberName,
    deviceSeed: hexadecimal(idBytes.key),
    /** In version 1 only. */
    rootSeed: Type.Optional(Type.Union([hexadecimal(idBytes.key), Type.Null()])),
  }),
)
const rootKeyFile = Compile(Type.Object({ version: Type.Literal(1), seed: hexadecimal(idBytes.key) }))
const joiningSeedFile = Compile(
  Type.Object({ version: Type.Literal(1), invite: hexadecimal(idBytes.key), deviceSeed: hexadecimal(idBytes.key) }),
)

const movedFile = Compile(
  Type.Object({
    version: Type.Literal(1),
    instance: hexadecimal(idBytes.instance),
    at: Type.String({ format: 'date-time' }),
    file: Type.String({ minLength: 1 }),
    partial: Type.String({ minLength: 1 }),
  }),
)

/** A checker of one of these files. */
interface Shape<T> {
  Check(value: unknown): value is T
  Errors(value: unknown): readonly { readonly instancePath: string; readonly message: string }[]
}

/** A file of secrets, checked; undefined where there is none. */
function readSecret<T>(path: string, shape: Shape<T>, what: string): T | undefined {
  const text = readPrivate(path)
  if (text === undefined) return undefined
  const value = parseJson(text)
  if (shape.Check(value)) return value
  const [fault] = shape.Errors(value)
  const where = fault === undefined || fault.instancePath === '' ? `it is not ${what}` : `'${fault.instancePath.slice(1)}' ${fault.message}`
  throw new SelfsameError('invalid-configuration', `${path} is damaged (${where}): restore it from a backup`)
}

function writeSecret(path: string, value: object): void {
  onDisk(dirname(path), () => writeDurably(path, `${JSON.stringify(value)}\n`))
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

/** Refuses, as `openHome` does, a directory that somebody else owns, can read or has put in place of ours. */
export function checkDirectory(directory: string): void {
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

/** Where a file is written before it takes its name. */
function temporaryOf(path: string): string {
  return `${path}.new`
}

/** Writes a file of mode 0600 so that after a crash there is the whole of it or what was there before. */
export function writeDurably(path: string, text: string): void {
  const temporary = temporaryOf(path)
  const file = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  syncDirectory(dirname(path))
}

/** Makes a directory of mode 0700, and those above it that are missing. `directory` is absolute. Durable when it returns. */
export function makeDirectory(directory: string): void {
  const first = mkdirSync(directory, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let made = directory; made.length >= first.length; made = dirname(made)) syncDirectory(dirname(made))
}

/** Has the disk keep what was made, renamed and removed in a directory. */
export function syncDirectory(directory: string): void {
  const file = openSync(directory, constants.O_RDONLY)
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

function unsafe(message: string): SelfsameError {
  return new SelfsameError('home-unsafe', message)
}

/** Runs `action`; what the disk refuses is told as a home that cannot be used. */
export function onDisk<T>(path: string, action: () => T): T {
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
