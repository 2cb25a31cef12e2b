/**
 * Where a home is and where its daemon's socket lies: shared by the daemon and every client, so both must come to the same
 * answer from the home alone. And with which token a client goes there. The only file outside the daemon and the commands that reads the environment.
 */
import { lstatSync, realpathSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { hashToId, SelfsameError } from '../core/index.ts'

/** Bytes of a socket's path: kernels refuse more than 104 (macOS) or 108 (Linux), the ending zero included. */
const socketPathBytesMax = 100

/** The home that is meant: the one given, else `SELFSAME_HOME`, else `~/.selfsame`. Absolute. */
export function homePathOf(home?: string): string {
  const chosen = home ?? process.env.SELFSAME_HOME
  return chosen === undefined || chosen === '' ? join(homedir(), '.selfsame') : resolve(chosen)
}

/** The token that a client sends: the one given, else `SELFSAME_TOKEN`; none where both are missing or empty. */
export function tokenOf(token = process.env.SELFSAME_TOKEN): string | undefined {
  return token === '' ? undefined : token
}

/**
 * The socket of a home's daemon: `run/api.sock` in it. Where that path is too long for a kernel, a short one under `/tmp`,
 * named by a hash of the home's real path: not `TMPDIR` or a runtime directory, because a service and a shell often see different ones.
 */
export function socketPathOf(home: string): string {
  const path = join(realPathOf(home), 'run', 'api.sock')
  if (Buffer.byteLength(path) <= socketPathBytesMax) return path
  return join('/tmp', `selfsame-${ownerOf(home)}`, `${hashToId('selfsame/home/1', Buffer.from(path)).slice(0, 32)}.sock`)
}

function realPathOf(home: string): string {
  try {
    return realpathSync(home)
  } catch {
    return resolve(home)
  }
}

function ownerOf(home: string): number | string {
  return statSync(home, { throwIfNoEntry: false })?.uid ?? process.getuid?.() ?? 'home'
}

/**
 * Refuses a socket whose directory others could have made or can write to: under `/tmp` anyone may lay a trap with the right name.
 * Throws `home-unsafe`; does nothing where there is no such directory.
 */
export function checkSocketDirectory(socketPath: string): void {
  const directory = dirname(socketPath)
  const found = lstatSync(directory, { throwIfNoEntry: false })
  const user = process.geteuid?.()
  if (found === undefined || user === undefined) return
  if (!found.isDirectory()) {
    const what = found.isSymbolicLink() ? 'a symbolic link' : 'not a directory'
    throw new SelfsameError('home-unsafe', `${directory} is ${what}: move it away, the daemon makes its own`)
  }
  if (found.uid !== user && user !== 0)
    throw new SelfsameError('home-unsafe', `${directory} belongs to another user: the daemon's socket cannot be trusted there`)
  if ((found.mode & 0o077) !== 0) throw new SelfsameError('home-unsafe', `${directory} is open to other users: chmod 700 ${directory}`)
}
