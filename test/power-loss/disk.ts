/**
 * A disk that can lose its power: what a file system may still hold of a recorded sequence of operations when it dies between two of them. What was
 * synced is there. Of everything else each sector of each write, each change of a length and each change of a directory is there or not,
 * in any combination: the page cache promises no order.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SeededRandom } from '../sim/virtual-time.ts'

/** A file or directory, whatever it is called at the moment. */
export type NodeNumber = number

/** The directory in which everything happens; it was there before. */
export const rootNode: NodeNumber = 0

/** A name in a directory. */
export interface Entry {
  readonly directory: NodeNumber
  readonly name: string
}

export type DiskOperation =
  | { readonly type: 'make'; readonly node: NodeNumber; readonly isDirectory: boolean; readonly as: Entry }
  | { readonly type: 'write'; readonly node: NodeNumber; readonly offset: number; readonly bytes: Buffer }
  | { readonly type: 'resize'; readonly node: NodeNumber; readonly length: number }
  | { readonly type: 'rename'; readonly from: Entry; readonly to: Entry }
  | { readonly type: 'remove'; readonly from: Entry }
  /** Answered: everything that was done to the node in operations before `covers` is on the disk. */
  | { readonly type: 'sync'; readonly node: NodeNumber; readonly covers: number }
  /** What the process told the world. */
  | { readonly type: 'mark'; readonly text: string }

/** What a disk holds. */
export interface DiskState {
  readonly directories: ReadonlyMap<NodeNumber, ReadonlyMap<string, NodeNumber>>
  readonly files: ReadonlyMap<NodeNumber, Buffer>
}

/** What a disk writes whole or not at all. */
const sectorBytes = 512

/** Decides what of the operations that no sync covers reached the disk. */
interface Chance {
  /** Of an operation as a whole. */
  has(index: number): boolean
  /** Of one sector of a write that did not reach it as a whole. */
  hasSector(): boolean
}

/** The disk as the running system sees it after `moment` operations: what is left when only the process dies. */
export function diskAt(operations: readonly DiskOperation[], moment: number): DiskState {
  return replay(operations, moment, { has: () => true, hasSector: () => true })
}

/** One disk that can be left where the power fails after `moment` operations. */
export function diskAfterPowerLoss(operations: readonly DiskOperation[], moment: number, random: SeededRandom): DiskState {
  // Some disks lose nearly nothing, some all that they may; some keep an order, so that the last operations alone are missing.
  const whole = random.pick([0, 0.1, 0.5, 0.9])
  const sectors = random.pick([0, 0, 0.5])
  const orderedUpTo = random.chance(0.25) ? Math.floor(random.unit() * (moment + 1)) : 0
  return replay(operations, moment, {
    has: (index) => index < orderedUpTo || random.chance(whole),
    hasSector: () => random.chance(sectors),
  })
}

function replay(operations: readonly DiskOperation[], moment: number, chance: Chance): DiskState {
  const synced = new Map<NodeNumber, number>()
  for (const operation of operations.slice(0, moment)) {
    if (operation.type === 'sync') synced.set(operation.node, Math.max(operation.covers, synced.get(operation.node) ?? 0))
  }
  const directories = new Map<NodeNumber, Map<string, NodeNumber>>([[rootNode, new Map()]])
  const files = new Map<NodeNumber, GrowingFile>()
  const entries = (node: NodeNumber): Map<string, NodeNumber> => directories.get(node) as Map<string, NodeNumber>
  /** Every name that was ever given, whether or not it reached the disk: a later rename of it can reach it alone. */
  const given = new Map<string, NodeNumber>()
  for (const [index, operation] of operations.slice(0, moment).entries()) {
    const isThere = (node: NodeNumber): boolean => index < (synced.get(node) ?? 0) || chance.has(index)
    switch (operation.type) {
      case 'make': {
        const { as, isDirectory, node } = operation
        if (isDirectory) directories.set(node, new Map())
        else files.set(node, new GrowingFile())
        given.set(keyOf(as), node)
        if (isThere(as.directory)) entries(as.directory).set(as.name, node)
        break
      }
      case 'rename': {
        const { from, to } = operation
        const node = given.get(keyOf(from)) as NodeNumber
        given.set(keyOf(to), node)
        // It is one change, also between two directories.
        if (!isThere(to.directory)) break
        entries(from.directory).delete(from.name)
        entries(to.directory).set(to.name, node)
        break
      }
      case 'remove':
        if (isThere(operation.from.directory)) entries(operation.from.directory).delete(operation.from.name)
        break
      case 'write': {
        const file = files.get(operation.node) as GrowingFile
        if (isThere(operation.node)) file.write(operation.offset, operation.bytes)
        else file.writeTorn(operation.offset, operation.bytes, () => chance.hasSector())
        break
      }
      case 'resize':
        if (isThere(operation.node)) (files.get(operation.node) as GrowingFile).resize(operation.length)
        break
      case 'sync':
      case 'mark':
        break
    }
  }
  return { directories, files: new Map([...files].map(([node, file]) => [node, file.content()])) }
}

function keyOf({ directory, name }: Entry): string {
  return `${directory}/${name}`
}

class GrowingFile {
  #bytes = Buffer.alloc(0)
  #length = 0

  content(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  write(offset: number, bytes: Buffer): void {
    if (offset + bytes.length > this.#length) this.resize(offset + bytes.length)
    this.#bytes.set(bytes, offset)
  }

  /** Each sector reaches the disk or not. A file that grew by one that did has a hole before it. */
  writeTorn(offset: number, bytes: Buffer, hasSector: () => boolean): void {
    for (let from = 0; from < bytes.length;) {
      const to = Math.min(bytes.length, from + sectorBytes - ((offset + from) % sectorBytes))
      if (hasSector()) this.write(offset + from, bytes.subarray(from, to))
      from = to
    }
  }

  resize(length: number): void {
    if (length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(length, this.#bytes.length * 2))
      larger.set(this.content())
      this.#bytes = larger
    } else if (length < this.#length) {
      this.#bytes.fill(0, length, this.#length)
    }
    this.#length = length
  }
}

/** The files of a disk by their paths below the root. */
export function filesOf(disk: DiskState, directory: NodeNumber = rootNode, prefix: string = ''): Map<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const [name, node] of disk.directories.get(directory) ?? []) {
    const content = disk.files.get(node)
    if (content !== undefined) found.set(prefix + name, content)
    else for (const [path, inside] of filesOf(disk, node, `${prefix}${name}/`)) found.set(path, inside)
  }
  return found
}

/** Puts what a disk holds into an empty directory, open to nobody else. */
export function writeDisk(disk: DiskState, target: string, directory: NodeNumber = rootNode): void {
  for (const [name, node] of disk.directories.get(directory) ?? []) {
    const path = join(target, name)
    const content = disk.files.get(node)
    if (content !== undefined) writeFileSync(path, content, { mode: 0o600 })
    else {
      mkdirSync(path, { mode: 0o700 })
      writeDisk(disk, path, node)
    }
  }
}
