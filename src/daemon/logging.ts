/**
 * The daemon's log: pino's JSON lines, to standard error or to a file of bounded size, with a level for each room.
 * Secrets have names that are redacted wherever they stand; the contents of the memory are nobody's to log.
 */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs'
import { pino } from 'pino'
import type { Logger } from '../core/index.ts'
import type { Configuration, LoggingRoom } from './configuration.ts'

/** Bytes of the log file before it becomes `daemon.log.1` in place of the one before: at most twice as much stays on disk. */
const logBytesMax = 8 << 20

/** Fields that must never be read, however deep they stand (pino looks at the levels that are named). */
const secretNames = ['seed', 'deviceSeed', 'rootSeed', 'secret', 'ticket', 'token']
const secretPaths = secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`])

export interface Logs {
  logger(room: LoggingRoom): Logger
  /** Writes nothing more; lines are on disk when they are logged, so there is nothing to flush. */
  close(): void
}

/** Where lines go: standard error, or a file that is rotated. */
export type LogDestination = { readonly kind: 'stderr' } | { readonly kind: 'file'; readonly path: string; readonly bytesMax?: number }

export function openLogs(destination: LogDestination, configuration: Configuration['log']): Logs {
  const sink = destination.kind === 'file' ? openRotatingFile(destination.path, destination.bytesMax ?? logBytesMax) : standardError
  const root = pino(
    {
      level: 'debug',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretPaths, censor: '[secret]' },
      serializers: { error: pino.stdSerializers.err },
    },
    sink,
  )
  return {
    logger: (room) => root.child({ room }, { level: configuration.rooms[room] ?? configuration.level }),
    close: () => sink.close(),
  }
}

interface Sink {
  write(line: string): void
  close(): void
}

const standardError: Sink = {
  write: (line) => void process.stderr.write(line),
  close() {},
}

/** A file that is written at once, so that a crash loses no line, and renamed to `.1` when it is full. */
function openRotatingFile(path: string, bytesMax: number): Sink {
  const open = (): number => openSync(path, 'a', 0o600)
  let file: number | null = open()
  let bytes = fstatSync(file).size
  return {
    write(line) {
      if (file === null) return
      try {
        if (bytes >= bytesMax) {
          renameSync(path, `${path}.1`)
          closeSync(file)
          file = open()
          bytes = 0
        }
        bytes += writeSync(file, line)
      } catch {
        // A full disk must not stop the daemon: it is told where it matters, by the database.
      }
    },
    close() {
      if (file !== null) closeSync(file)
      file = null
    },
  }
}
