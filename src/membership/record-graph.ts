/**
 * The records of one agent as a graph: which are here, which wait for a parent, what lies in each one's past. It knows
 * order and reach; what a record means is the judge's business. All it answers depends on the set of records alone,
 * but for the order of lists, where parents stand before children.
 */
import type { AgentId, RecordHash } from '../core/index.ts'
import type { MembershipRecord } from './record.ts'

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

export interface Judge {
  /** How a record stands whose parents are all here and none of them void. */
  readonly judge: (record: MembershipRecord, parents: readonly RecordNode[]) => Standing
  /** Told of each judged record before the next is judged. */
  readonly judged: (node: RecordNode) => void
}

export interface RecordGraph {
  /** The judged record of that hash. */
  node(hash: RecordHash): RecordNode | undefined
  /** Whether the record is here but lacks a parent. */
  isWaiting(hash: RecordHash): boolean
  /** The judged records, parents before children. */
  readonly nodes: readonly RecordNode[]
  /** Those that are not void and in no such record's past, sorted by hash. */
  heads(): readonly RecordNode[]
  /** Adds a record and gives what was judged because of it: nothing, itself, or itself and what waited for it. */
  add(record: MembershipRecord): readonly RecordNode[]
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
  const waiting = new Set<RecordHash>()
  /** Waiting records by one parent that they lack. */
  const waitingByParent = new Map<RecordHash, MembershipRecord[]>()

  function place(record: MembershipRecord): RecordNode {
    const parents = record.parents.map((hash) => nodesByHash.get(hash) as RecordNode)
    const standing = parents.some((parent) => parent.standing === 'void') ? 'void' : judge(record, parents)
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
    if (standing !== 'void') {
      for (const parent of record.parents) headsByHash.delete(parent)
      headsByHash.set(record.hash, node)
    }
    judged(node)
    return node
  }

  return {
    nodes,
    node: (hash) => nodesByHash.get(hash),
    isWaiting: (hash) => waiting.has(hash),
    heads: () => [...headsByHash.values()].toSorted((a, b) => (a.record.hash < b.record.hash ? -1 : 1)),
    add(record) {
      if (record.agent !== agent || nodesByHash.has(record.hash) || waiting.has(record.hash)) return []
      const placed: RecordNode[] = []
      const ready = [record]
      for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
        const missing = next.parents.find((parent) => !nodesByHash.has(parent))
        if (missing === undefined) {
          waiting.delete(next.hash)
          placed.push(place(next))
          for (const child of waitingByParent.get(next.hash) ?? []) ready.push(child)
          waitingByParent.delete(next.hash)
        } else {
          waiting.add(next.hash)
          const waitingHere = waitingByParent.get(missing)
          if (waitingHere === undefined) waitingByParent.set(missing, [next])
          else waitingHere.push(next)
        }
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
