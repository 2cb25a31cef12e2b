/** The file of the daemon's socket: claimed before listening, so that a dead daemon's is replaced and a living one's never. */
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { SelfsameError } from '../core/index.ts'
import { checkSocketDirectory } from './home-path.ts'

/**
 * Makes sure that one can listen at `socketPath`: its directory exists, 0700, and is this user's; what is there already is a socket of
 * this user, and nobody answers at it. Throws `daemon-running` where somebody does, `home-unsafe` where the place cannot be trusted.
 */
export async function claimSocket(socketPath: string): Promise<void> {
  const directory = dirname(socketPath)
  makeDirectory(directory)
  checkSocketDirectory(socketPath)
  // Stricter than for a client: root may call any user's daemon, but must not serve from where another user can put something else in place.
  checkOwner(directory, lstatSync(directory))
  const found = lstatSync(socketPath, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket())
    throw unsafe(`${socketPath} is ${found.isSymbolicLink() ? 'a symbolic link' : 'not a socket'}: move it away, the daemon makes its own`)
  checkOwner(socketPath, found)
  if (await answers(socketPath))
    throw new SelfsameError('daemon-running', `a daemon is already answering on ${socketPath}: stop it with selfsame down`)
  unlinkSync(socketPath)
}

/** Keeps the socket to this user, where the directory's own mode should ever be loosened. */
export function protectSocket(socketPath: string): void {
  chmodSync(socketPath, 0o600)
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw unsafe(`${directory} cannot be made: ${(error as Error).message}; move away what is in its place`, error)
  }
}

function checkOwner(path: string, { uid }: Stats): void {
  // Where there are no numbered users (Windows) the directory's inherited access list decides.
  if (process.geteuid === undefined || uid === process.geteuid()) return
  throw unsafe(`${path} belongs to another user (id ${uid}): move it away, or run selfsame as that user`)
}

function unsafe(message: string, cause?: unknown): SelfsameError {
  return new SelfsameError('home-unsafe', message, { cause })
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    // EAGAIN: its queue of connections is full, so somebody lives there.
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN'))
  })
}
