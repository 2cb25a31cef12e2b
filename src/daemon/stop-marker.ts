/**
 * Tells the next start that the last stop was clean and that the home lies where it lay: else its database is checked first. A file in the run
 * directory, there only while no daemon runs.
 */
import { existsSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { syncDirectory } from './home.ts'

export interface StopMarker {
  isClean(): boolean
  /** A daemon runs now. Durable when it returns: after a power loss an earlier clean stop must not speak for this run. */
  remove(): void
  write(): void
}

/** `run`: the run directory of the home in `directory`. Both exist. Methods throw what the file system throws. */
export function stopMarkerOf(run: string, directory: string): StopMarker {
  const path = join(run, 'stopped')
  const place = realpathSync(directory)
  return {
    isClean: () => existsSync(path) && readFileSync(path, 'utf8') === place,
    remove() {
      rmSync(path, { force: true })
      syncDirectory(run)
    },
    write: () => writeFileSync(path, place, { mode: 0o600 }),
  }
}
