/** The file of the daemon's socket: claimed before listening, so that a dead daemon's is replaced and a living one's never. */
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { SelfsameError } from '../core/index.ts'
import { checkSocketDirectory } from './home-path.ts'

/**
 * Makes sure that one can listen at `socketPath`: its directory exists, 0700, and belongs to this user; nobody answers there.
 * Throws `daemon-running` where somebody does, `home-unsafe` where the place cannot be trusted or holds something else than a socket.
 */
export async function claimSocket(socketPath: string): Promise<void> {
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o700 })
  checkSocketDirectory(socketPath)
  const found = lstatSync(socketPath, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw new SelfsameError('home-unsafe', `${socketPath} is not a socket: move it away`)
  if (await answers(socketPath))
    throw new SelfsameError('daemon-running', `a daemon is already answering on ${socketPath}: stop it with selfsame down`)
  unlinkSync(socketPath)
}

/** Keeps the socket to this user, where the directory's own mode should ever be loosened. */
export function protectSocket(socketPath: string): void {
  chmodSync(socketPath, 0o600)
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
