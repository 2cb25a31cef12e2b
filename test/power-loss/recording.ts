/**
 * Records what a real process does to its files: runs it under strace and reads the system calls, with their data, as operations of a disk.
 * Nothing is mocked, so whatever a library does is there; and a call that is not understood cannot go unnoticed, because the
 * operations must lead to exactly the files that the process left.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { diskAt, filesOf, rootNode } from './disk.ts'
import type { DiskOperation, Entry, NodeNumber } from './disk.ts'

export interface Recording {
  /** Where it happened. */
  readonly root: string
  readonly operations: readonly DiskOperation[]
}

/** Calls that a file system has to know of. A question mark: not every processor has it. */
const calls =
  'openat,?open,close,write,pwrite64,writev,pwritev,?pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,' +
  '?rename,renameat,renameat2,?unlink,unlinkat,?rmdir,?mkdir,mkdirat,?link,linkat'
/** Bytes of one write that strace shows: far more than SQLite or this project write at once. */
const shownBytes = 64 << 20

/** SQLite maps its index of the log into memory, unseen by strace, and makes it anew when it is the first to open a database. */
const unseen = /-shm$/

/** Why nothing can be recorded here, undefined where it can. */
export function whyNotRecorded(): string | undefined {
  const { error, status, stderr } = spawnSync('strace', ['-f', '--seccomp-bpf', '-qq', '-o', '/dev/null', '-e', 'trace=write', 'true'], {
    encoding: 'utf8',
  })
  if (error !== undefined) return 'strace is not installed'
  return status === 0 ? undefined : `strace does not work here: ${stderr.split('\n')[0] ?? ''}`
}

/** Runs a program of this directory with an empty directory, which is made, and `words` as its arguments, until it ends. */
export function record(program: string, root: string, words: readonly string[]): Recording {
  mkdirSync(root, { mode: 0o700 })
  const options = `-f --seccomp-bpf -qq -xx -s ${shownBytes} -e trace=${calls} -e signal=none -o`.split(' ')
  const command = [process.execPath, join(import.meta.dirname, program), root, ...words]
  const { error, status, stderr } = spawnSync('strace', [...options, traceOf(root), ...command], { encoding: 'utf8' })
  if (error !== undefined || status !== 0)
    throw new Error(`${program} failed under strace (${String(status)}): ${error?.message ?? stderr}`)
  const recording = readRecording(root)
  checkAgainst(root, recording.operations)
  return recording
}

/** What was recorded of `root` before, and kept. */
export function readRecording(root: string): Recording {
  return { root, operations: readTrace(traceOf(root), root) }
}

function traceOf(root: string): string {
  return `${root}.trace`
}

/** What was recorded must lead to what is there. */
function checkAgainst(root: string, operations: readonly DiskOperation[]): void {
  const modelled = filesOf(diskAt(operations, operations.length))
  const real = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => statSync(join(root, path)).isFile())
  const wrong = [
    ...real.filter((path) => !unseen.test(path) && modelled.get(path)?.equals(readFileSync(join(root, path))) !== true),
    ...[...modelled.keys()].filter((path) => !real.includes(path)),
  ]
  if (wrong.length > 0) throw new Error(`the recording does not lead to what the process left of ${wrong.join(', ')}`)
}

/** A file that a process has open. */
interface OpenFile {
  readonly node: NodeNumber
  offset: number
}

/** Reads the lines of `strace -f -xx`. A call during which another thread had its turn stands on two of them. */
function readTrace(path: string, root: string): readonly DiskOperation[] {
  const reader = new CallReader(root)
  const begun = new Map<string, { readonly text: string; readonly at: number }>()
  for (const line of linesOf(readFileSync(path))) {
    const space = line.indexOf(' ')
    const thread = line.slice(0, space)
    const text = line.slice(space + 1).trimStart()
    const resumed = /^<\.\.\. \w+ resumed>/.exec(text)
    if (text.endsWith(' <unfinished ...>')) {
      const entered = text.slice(0, -' <unfinished ...>'.length)
      begun.set(thread, { text: entered, at: reader.operations.length })
      reader.enter(entered)
    } else if (resumed !== null) {
      const entry = begun.get(thread)
      begun.delete(thread)
      if (entry !== undefined) reader.leave(entry.text + text.slice(resumed[0].length), entry.at)
    } else {
      reader.enter(text)
      reader.leave(text, reader.operations.length)
    }
  }
  return reader.operations
}

function* linesOf(content: Buffer): Generator<string> {
  for (let from = 0; from < content.length;) {
    const end = content.indexOf(10, from)
    const to = end === -1 ? content.length : end
    yield content.toString('latin1', from, to)
    from = to + 1
  }
}

class CallReader {
  readonly operations: DiskOperation[] = []
  readonly #root: string
  readonly #open = new Map<number, OpenFile>()
  /** As the process sees it. */
  readonly #names = new Map<string, NodeNumber>([['', rootNode]])
  #nodes = 1

  constructor(root: string) {
    this.#root = root
  }

  /** A number is free for others as soon as closing it begins. */
  enter(text: string): void {
    const closed = /^close\((\d+)/.exec(text)
    if (closed !== null) this.#open.delete(Number(closed[1]))
  }

  /** A call has ended. `begunAt`: how many operations there were when it began. */
  leave(text: string, begunAt: number): void {
    const name = text.slice(0, text.indexOf('('))
    const answer = Number(/= (-?\d+)[^=]*$/.exec(text.slice(-200))?.[1] ?? Number.NaN)
    if (answer < 0 || Number.isNaN(answer)) return
    const numbers = (): number[] => [...text.slice(text.lastIndexOf('"') + 1, text.lastIndexOf(')')).matchAll(/\d+/g)].map(Number)
    switch (name) {
      case 'openat':
      case 'open':
        return this.#opened(text, answer)
      case 'write':
      case 'pwrite64':
        return this.#written(text, name === 'write' ? null : (numbers()[1] as number), answer)
      case 'ftruncate': {
        const [, file, length] = /\((\d+), (\d+)/.exec(text) ?? []
        const open = this.#open.get(Number(file))
        if (open !== undefined) this.operations.push({ type: 'resize', node: open.node, length: Number(length) })
        return
      }
      case 'fsync':
      case 'fdatasync': {
        const open = this.#open.get(Number(/\((\d+)/.exec(text)?.[1]))
        if (open !== undefined) this.operations.push({ type: 'sync', node: open.node, covers: begunAt })
        return
      }
      case 'rename':
      case 'renameat':
      case 'renameat2':
        return this.#renamed(...(pathsOf(text) as [string, string]))
      case 'unlink':
      case 'unlinkat':
      case 'rmdir':
        return this.#removed(pathsOf(text)[0] as string)
      case 'mkdir':
      case 'mkdirat': {
        const made = this.#inside(pathsOf(text)[0] as string)
        if (made !== undefined) this.#make(made, true)
        return
      }
      case 'writev':
      case 'pwritev':
      case 'pwritev2':
      case 'fallocate':
        if (this.#open.has(Number(/\((\d+)/.exec(text)?.[1]))) throw new Error(`${name} is not known to the simulated disk`)
        return
      case 'truncate':
      case 'link':
      case 'linkat':
        if (pathsOf(text).some((path) => this.#inside(path) !== undefined)) throw new Error(`${name} is not known to the simulated disk`)
    }
  }

  #inside(path: string): string | undefined {
    return path === this.#root ? '' : path.startsWith(`${this.#root}/`) ? relative(this.#root, path) : undefined
  }

  #make(path: string, isDirectory: boolean): NodeNumber {
    const node = this.#nodes++
    this.operations.push({ type: 'make', node, isDirectory, as: this.#entry(path) })
    this.#names.set(path, node)
    return node
  }

  #entry(path: string): Entry {
    const directory = this.#names.get(dirname(path) === '.' ? '' : dirname(path))
    if (directory === undefined) throw new Error(`nothing is known of the directory of ${path}`)
    return { directory, name: path.slice(path.lastIndexOf('/') + 1) }
  }

  #opened(text: string, file: number): void {
    const path = this.#inside(pathsOf(text)[0] as string)
    if (path === undefined) {
      this.#open.delete(file)
      return
    }
    const node = this.#names.get(path) ?? this.#make(path, false)
    if (text.includes('O_TRUNC')) this.operations.push({ type: 'resize', node, length: 0 })
    if (text.includes('O_APPEND')) throw new Error('a file that is appended to is not known to the simulated disk')
    this.#open.set(file, { node, offset: 0 })
  }

  #written(text: string, position: number | null, count: number): void {
    const file = Number(/\((\d+)/.exec(text)?.[1])
    const bytes = (): Buffer => bytesOf(text.slice(text.indexOf('"') + 1, text.lastIndexOf('"'))).subarray(0, count)
    const open = this.#open.get(file)
    if (open !== undefined) {
      this.operations.push({ type: 'write', node: open.node, offset: position ?? open.offset, bytes: bytes() })
      if (position === null) open.offset += count
    } else if (file === 1) {
      for (const line of bytes().toString('utf8').trim().split('\n')) this.operations.push({ type: 'mark', text: line })
    }
  }

  #renamed(from: string, to: string): void {
    const [source, target] = [this.#inside(from), this.#inside(to)]
    if (source === undefined || target === undefined) return
    this.operations.push({ type: 'rename', from: this.#entry(source), to: this.#entry(target) })
    for (const [path, node] of Array.from(this.#names)) {
      if (path !== source && !path.startsWith(`${source}/`)) continue
      this.#names.delete(path)
      this.#names.set(target + path.slice(source.length), node)
    }
  }

  #removed(path: string): void {
    const inside = this.#inside(path)
    if (inside === undefined) return
    this.operations.push({ type: 'remove', from: this.#entry(inside) })
    this.#names.delete(inside)
  }
}

/** The strings among the arguments of a call. */
function pathsOf(text: string): string[] {
  return [...text.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex]) => bytesOf(hex as string).toString('utf8'))
}

/** What strace shows as `\x01\x02`. */
function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll('\\x', ''), 'hex')
}
