/**
 * The file of a backup: two lines that say what it is, the files of a home one after the other, and a hash over all of that. Whoever takes
 * something out of it has read the whole of it first. The format is in `docs/STORAGE.md`.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, fsyncSync, fstatSync, openSync, readSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import Type from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { idBytes, memberNameLengthMax, ok, refuse, SelfsameError } from '../core/index.ts'
import type { Result } from '../core/index.ts'
import { databaseFile, homeFiles } from './home.ts'

const formatVersion = 1
const firstLine = `selfsame-backup-${formatVersion}\n`
/** Bytes of the two lines at the head: the second names a handful of files. */
const headBytesMax = 16 << 10
/** Bytes read and written at once: large enough that calls cost nothing. */
const chunkBytes = 1 << 20
/** The hash at the end: 64 digits and a newline. */
const hashLineBytes = 65

const named = (idLength: number) =>
  Type.Object(
    { id: Type.String({ pattern: `^[0-9a-f]{${idLength * 2}}$` }), name: Type.String({ minLength: 1, maxLength: memberNameLengthMax }) },
    { additionalProperties: false },
  )

const head = Type.Object(
  {
    agent: named(idBytes.agent),
    instance: named(idBytes.instance),
    /** ISO 8601, by the clock of the machine. */
    made: Type.String({ format: 'date-time' }),
    /** Name and version of what made it. */
    program: Type.String({ maxLength: 256 }),
    /** Whether the home that it was made of was given up for it. */
    moved: Type.Boolean(),
    files: Type.Array(Type.Object({ name: Type.String(), bytes: Type.Integer({ minimum: 0 }) }, { additionalProperties: false })),
  },
  { additionalProperties: false },
)
const headShape = Compile(head)

/** What a backup says of itself. */
export type BackupHead = Static<typeof head>

/** A file that goes into a backup. */
export interface Packed {
  readonly name: string
  readonly content: Uint8Array | { readonly path: string }
}

/** A backup whose hash fits what it holds. */
export interface Backup {
  readonly head: BackupHead
  readonly sha256: string
  /** Takes out all files into a directory, of mode 0600 and durable. */
  unpack(directory: string): void
}

/** Writes a backup to a new file of mode 0600; durable when it returns. Throws `storage-failed`. */
export function writeBackup(
  path: string,
  about: Omit<BackupHead, 'files'>,
  packed: readonly Packed[],
): { readonly bytes: number; readonly sha256: string } {
  return withFile(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, (file) => {
    const hash = createHash('sha256')
    let bytes = 0
    const write = (chunk: Uint8Array): void => {
      hash.update(chunk)
      bytes += writeAll(file, chunk)
    }
    const sizeOf = ({ content }: Packed): number => (content instanceof Uint8Array ? content.length : statSync(content.path).size)
    const files = packed.map((each) => ({ name: each.name, bytes: sizeOf(each) }))
    write(Buffer.from(`${firstLine}${JSON.stringify({ ...about, files })}\n`))
    for (const { content } of packed) {
      if (content instanceof Uint8Array) write(content)
      else withFile(content.path, constants.O_RDONLY, (source) => readRange(source, 0, Infinity, write))
    }
    const sha256 = hash.digest('hex')
    bytes += writeAll(file, Buffer.from(`${sha256}\n`))
    fsyncSync(file)
    return { bytes, sha256 }
  })
}

/**
 * Reads the whole of a backup and holds it against its hash. Throws `not-found` where there is no such file, `backup-refused` where it is no
 * backup or a damaged one, `storage-version` where a newer selfsame made it.
 */
export function readBackup(path: string): Backup {
  const refusal = (reason: string): SelfsameError => new SelfsameError('backup-refused', `${path} is not accepted: ${reason}`)
  const isThere = statSync(path, { throwIfNoEntry: false })
  if (isThere === undefined) throw new SelfsameError('not-found', `${path} cannot be read: there is no such file`)
  if (!isThere.isFile()) throw refusal('it is not a file')
  return withFile(path, constants.O_RDONLY, (file) => {
    const { size } = fstatSync(file)
    const begin: Uint8Array[] = []
    readRange(file, 0, Math.min(headBytesMax, size), (chunk) => void begin.push(Buffer.from(chunk)))
    const text = Buffer.concat(begin)
    const madeBy = /^selfsame-backup-(\d{1,9})\n/.exec(text.subarray(0, 64).toString('latin1'))?.[1]
    if (madeBy === undefined) throw refusal('it is not a backup of selfsame')
    if (Number(madeBy) !== formatVersion) {
      throw new SelfsameError(
        'storage-version',
        `${path} is a backup of format ${madeBy}, and this selfsame knows ${formatVersion}: install the version that made it, or a newer one`,
      )
    }
    const headEnd = text.indexOf('\n', firstLine.length) + 1
    const decoded = decodeHead(text.subarray(firstLine.length, headEnd))
    if (!decoded.ok) throw refusal(decoded.reason)
    const contentEnd = decoded.value.files.reduce((sum, { bytes }) => sum + bytes, headEnd)
    if (contentEnd + hashLineBytes !== size) {
      throw refusal(`it is damaged: it has ${size} bytes and should have ${contentEnd + hashLineBytes}. Copy it again, whole`)
    }
    const hash = createHash('sha256')
    readRange(file, 0, contentEnd, (chunk) => hash.update(chunk))
    const sha256 = hash.digest('hex')
    const said = Buffer.alloc(hashLineBytes)
    readSync(file, said, 0, hashLineBytes, contentEnd)
    if (said.toString('latin1') !== `${sha256}\n`) throw refusal('it is damaged: its content does not fit its hash. Copy it again')
    return { head: decoded.value, sha256, unpack: (directory) => unpack(path, decoded.value, headEnd, directory) }
  })
}

/** What the second line says: only files that a home has, each once, the database among them. */
function decodeHead(line: Uint8Array): Result<BackupHead> {
  const damaged = 'its head is damaged. Copy it again'
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(line).toString())
  } catch {
    return refuse(damaged)
  }
  if (!headShape.Check(value)) return refuse(damaged)
  const names = value.files.map(({ name }) => name)
  const known: readonly string[] = [...homeFiles, databaseFile]
  if (new Set(names).size < names.length || names.some((name) => !known.includes(name)) || !names.includes(databaseFile)) {
    return refuse('it does not hold the files of a home')
  }
  return ok(value)
}

function unpack(path: string, { files }: BackupHead, contentStart: number, directory: string): void {
  withFile(path, constants.O_RDONLY, (source) => {
    let from = contentStart
    for (const { name, bytes } of files) {
      withFile(join(directory, name), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, (file) => {
        readRange(source, from, bytes, (chunk) => void writeAll(file, chunk))
        fsyncSync(file)
      })
      from += bytes
    }
  })
}

/** Hands on what stands in a file from `start`, `bytes` of it or up to its end. */
function readRange(file: number, start: number, bytes: number, take: (chunk: Uint8Array) => void): void {
  const buffer = Buffer.alloc(chunkBytes)
  for (let done = 0; done < bytes;) {
    const read = readSync(file, buffer, 0, Math.min(chunkBytes, bytes - done), start + done)
    if (read === 0) return
    take(buffer.subarray(0, read))
    done += read
  }
}

function writeAll(file: number, chunk: Uint8Array): number {
  for (let done = 0; done < chunk.length;) done += writeSync(file, chunk, done)
  return chunk.length
}

function withFile<T>(path: string, flags: number, action: (file: number) => T): T {
  try {
    const file = openSync(path, flags, 0o600)
    try {
      return action(file)
    } finally {
      closeSync(file)
    }
  } catch (error) {
    if (error instanceof SelfsameError) throw error
    throw new SelfsameError('storage-failed', `${path} cannot be used: ${(error as Error).message}`, { cause: error })
  }
}
