/**
 * The records of one agent as a graph: which are here, which wait for a parent, what lies in each one's past. It knows
 * order and reach; what a record means is the judge's business. All it answers depends on the set of records alone,
 * but for the order of lists, where parents stand before children.
 */
import type { AgentId, InstanceId, RecordHash } from '../core/index.ts'
import type { MembershipRecord } from './record.ts'

/**
 * Records of one instance that are taken, and of all together, unless others rest on them: a hostile admin can sign records without end.
 * The root key may sign any number. Far above what honest instances make; where a hostile one makes more, members may hold different ones
 * of them until it is removed: from then on what its remover knew counts, and that is fetched whatever its number.
 */
const recordsPerAuthorMax = 1_000
const recordsMax = 20_000
/** Records that wait for a parent; the oldest go first. Whoever sent them sends them again with the next hello. */
const waitingMax = 4_096
/** Hashes of void records that are remembered: the last. */
const voidsMax = 4_096

/**
 * How a record stands by its own past, for ever: `valid` is lawful; `void` is not, nor is anything that names it;
 * `unknown` cannot be told by this version (its type, or a type in its past, is newer): kept, sent on, without effect.
 */
export type Standing = 'valid' | 'unknown' | 'void'

export interface RecordNode<R extends MembershipRecord = MembershipRecord> {
  readonly record: R
  readonly standing: Standing
  /** The longest way back to the genesis: greater than that of everything in its past. */
  readonly depth: number
  /** Whether it or something in its past stands as unknown. */
  readonly holdsUnknown: boolean
  /** Place among the nodes of this graph: depends on the order of arrival, so it is never compared. */
  readonly index: number
  /** One bit for each node that is this one or in its past, by index: n records take n²/16 bytes together (5,000: 1.6 MB). */
  readonly closure: Uint32Array
}

/** A record with its standing: kept as a node, or void. */
export interface Judged {
  readonly record: MembershipRecord
  readonly standing: Standing
}

export interface Judge {
  /** How a record stands whose parents are all here and none of them void. */
  readonly judge: (record: MembershipRecord, parents: readonly RecordNode[]) => Standing
  /** Told of each judged record that is not void before the next is judged. */
  readonly judged: (node: RecordNode) => void
}

export interface RecordGraph {
  /** The judged record of that hash, unless it is void. */
  node(hash: RecordHash): RecordNode | undefined
  /** Whether the record was found void, lately. */
  isVoid(hash: RecordHash): boolean
  /** Whether the record is here but lacks a parent. */
  isWaiting(hash: RecordHash): boolean
  /** The judged records that are not void, parents before children. */
  readonly nodes: readonly RecordNode[]
  /** Those that are in no other's past, sorted by hash. */
  heads(): readonly RecordNode[]
  /**
   * Adds a record and gives what was judged because of it: nothing, itself, or itself and what waited for it. `isStored`: it was
   * taken before, so no bound keeps it out.
   */
  add(record: MembershipRecord, isStored: boolean): readonly Judged[]
}

/** Whether `target` is one of `nodes` or in the past of one. */
export function reaches(nodes: readonly RecordNode[], target: RecordNode): boolean {
  return nodes.some((node) => hasBit(node.closure, target.index))
}

/** Whether `first` is in the past of `second`. */
export function isBefore(first: RecordNode, second: RecordNode): boolean {
  return first !== second && hasBit(second.closure, first.index)
}

export function createRecordGraph(agent: AgentId, { judge, judged }: Judge): RecordGraph {
  const nodes: RecordNode[] = []
  const nodesByHash = new Map<RecordHash, RecordNode>()
  const headsByHash = new Map<RecordHash, RecordNode>()
  /** In order of arrival, each with one parent that it lacks. */
  const waiting = new Map<RecordHash, { readonly record: MembershipRecord; readonly missing: RecordHash }>()
  const waitingByParent = new Map<RecordHash, Set<MembershipRecord>>()
  const voids = new Set<RecordHash>()
  const countByAuthor = new Map<InstanceId | null, number>()

  function place(record: MembershipRecord): Judged {
    const parents = record.parents.flatMap((hash) => nodesByHash.get(hash) ?? [])
    const standing = parents.length < record.parents.length ? 'void' : judge(record, parents)
    if (standing === 'void') {
      voids.add(record.hash)
      if (voids.size > voidsMax) voids.delete(voids.values().next().value as RecordHash)
      return { record, standing }
    }
    const index = nodes.length
    const node: RecordNode = {
      record,
      standing,
      depth: parents.reduce((depth, parent) => Math.max(depth, parent.depth + 1), 0),
      holdsUnknown: standing === 'unknown' || parents.some((parent) => parent.holdsUnknown),
      index,
      closure: closureOf(parents, index),
    }
    nodes.push(node)
    nodesByHash.set(record.hash, node)
    countByAuthor.set(record.author, (countByAuthor.get(record.author) ?? 0) + 1)
    for (const parent of record.parents) headsByHash.delete(parent)
    headsByHash.set(record.hash, node)
    judged(node)
    return node
  }

  function isTooMany({ author, hash }: MembershipRecord): boolean {
    if (waitingByParent.has(hash) || author === null) return false
    return nodes.length >= recordsMax || (countByAuthor.get(author) ?? 0) >= recordsPerAuthorMax
  }

  function wait(record: MembershipRecord, missing: RecordHash): void {
    waiting.set(record.hash, { record, missing })
    const together = waitingByParent.get(missing)
    if (together === undefined) waitingByParent.set(missing, new Set([record]))
    else together.add(record)
    if (waiting.size > waitingMax) stopWaiting(waiting.keys().next().value as RecordHash)
  }

  function stopWaiting(hash: RecordHash): void {
    const entry = waiting.get(hash)
    if (entry === undefined) return
    waiting.delete(hash)
    const together = waitingByParent.get(entry.missing)
    together?.delete(entry.record)
    if (together?.size === 0) waitingByParent.delete(entry.missing)
  }

  return {
    nodes,
    node: (hash) => nodesByHash.get(hash),
    isVoid: (hash) => voids.has(hash),
    isWaiting: (hash) => waiting.has(hash),
    heads: () => [...headsByHash.values()].toSorted((a, b) => (a.record.hash < b.record.hash ? -1 : 1)),
    add(record, isStored) {
      if (record.agent !== agent || nodesByHash.has(record.hash) || waiting.has(record.hash) || voids.has(record.hash)) return []
      if (!isStored && isTooMany(record)) return []
      const placed: Judged[] = []
      const ready = [record]
      for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
        const missing = next.parents.find((parent) => !nodesByHash.has(parent) && !voids.has(parent))
        stopWaiting(next.hash)
        if (missing !== undefined) {
          wait(next, missing)
          continue
        }
        placed.push(place(next))
        ready.push(...(waitingByParent.get(next.hash) ?? []))
      }
      return placed
    },
  }
}

function closureOf(parents: readonly RecordNode[], index: number): Uint32Array {
  const closure = new Uint32Array((index >>> 5) + 1)
  for (const parent of parents) {
    for (let word = 0; word < parent.closure.length; word++) closure[word] = (closure[word] as number) | (parent.closure[word] as number)
  }
  closure[index >>> 5] = (closure[index >>> 5] as number) | (1 << (index & 31))
  return closure
}

/** Bits past the end of a closure are zero. */
function hasBit(closure: Uint32Array, index: number): boolean {
  return (((closure[index >>> 5] ?? 0) >>> (index & 31)) & 1) === 1
}
