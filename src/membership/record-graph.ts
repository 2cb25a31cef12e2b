/**
 * The records of one agent as a graph: which are here, which wait for a parent, what lies in each one's past. It knows
 * order and reach; what a record means is the judge's business. All it answers depends on the set of records alone,
 * but for the order of lists, where parents stand before children.
 */
import type { AgentId, RecordHash } from '../core/index.ts'
import type { MembershipRecord } from './record.ts'

/** Records of all authors together, beyond which each may add only `recordsEach`. */
const recordsMax = 20_000
const recordsEach = 32
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

/** What somebody may make others keep: so many records under one name. */
export interface Quota {
  readonly name: string
  readonly most: number
}

export interface Judge {
  /** How a record stands whose parents are all here and none of them void, and the quota that it counts against; null: none. */
  readonly judge: (
    record: MembershipRecord,
    parents: readonly RecordNode[],
  ) => { readonly standing: Standing; readonly quota: Quota | null }
  /** Whether what this record rests on has to be kept, however much there is of it: it is an admin's, as far as is known. */
  readonly vouches: (record: MembershipRecord) => boolean
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
   * taken before, so no quota keeps it out. Null: a quota does.
   */
  add(record: MembershipRecord, isStored: boolean): readonly Judged[] | null
}

const voidVerdict = { standing: 'void', quota: null } as const

/** Whether `target` is one of `nodes` or in the past of one. */
export function reaches(nodes: readonly RecordNode[], target: RecordNode): boolean {
  return nodes.some((node) => hasBit(node.closure, target.index))
}

/** Whether `first` is in the past of `second`. */
export function isBefore(first: RecordNode, second: RecordNode): boolean {
  return first !== second && hasBit(second.closure, first.index)
}

export function createRecordGraph(agent: AgentId, { judge, judged, vouches }: Judge): RecordGraph {
  const nodes: RecordNode[] = []
  const nodesByHash = new Map<RecordHash, RecordNode>()
  const headsByHash = new Map<RecordHash, RecordNode>()
  /** In order of arrival. */
  const waiting = new Map<RecordHash, MembershipRecord>()
  /** By each parent that they lack. */
  const waitingByParent = new Map<RecordHash, Set<MembershipRecord>>()
  const voids = new Set<RecordHash>()
  const countByQuota = new Map<string, number>()

  /** Null: a quota keeps it out. */
  function place(record: MembershipRecord, isExempt: boolean): Judged | null {
    const parents = record.parents.flatMap((hash) => nodesByHash.get(hash) ?? [])
    const { quota, standing } = parents.length < record.parents.length ? voidVerdict : judge(record, parents)
    if (standing === 'void') {
      voids.add(record.hash)
      if (voids.size > voidsMax) voids.delete(voids.values().next().value as RecordHash)
      return { record, standing }
    }
    if (quota !== null) {
      const count = countByQuota.get(quota.name) ?? 0
      const most = nodes.length < recordsMax ? quota.most : Math.min(quota.most, recordsEach)
      if (count >= most && !isExempt && !isNeeded(record.hash)) return null
      countByQuota.set(quota.name, count + 1)
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
    for (const parent of record.parents) headsByHash.delete(parent)
    headsByHash.set(record.hash, node)
    judged(node)
    return node
  }

  /** Whether something waits for the record that vouches for it, or is needed itself. */
  function isNeeded(hash: RecordHash): boolean {
    const asked = [hash]
    for (let next = asked.pop(); next !== undefined; next = asked.pop()) {
      for (const record of waitingByParent.get(next) ?? []) {
        if (vouches(record)) return true
        asked.push(record.hash)
      }
    }
    return false
  }

  const isMissing = (hash: RecordHash): boolean => !nodesByHash.has(hash) && !voids.has(hash)

  function wait(record: MembershipRecord): void {
    waiting.set(record.hash, record)
    for (const parent of record.parents.filter(isMissing)) {
      const together = waitingByParent.get(parent)
      if (together === undefined) waitingByParent.set(parent, new Set([record]))
      else together.add(record)
    }
    const [oldest] = waiting.values()
    if (waiting.size > waitingMax && oldest !== undefined) stopWaiting(oldest)
  }

  function stopWaiting(record: MembershipRecord): void {
    if (!waiting.delete(record.hash)) return
    for (const parent of record.parents) {
      const together = waitingByParent.get(parent)
      together?.delete(record)
      if (together?.size === 0) waitingByParent.delete(parent)
    }
  }

  return {
    nodes,
    node: (hash) => nodesByHash.get(hash),
    isVoid: (hash) => voids.has(hash),
    isWaiting: (hash) => waiting.has(hash),
    heads: () => [...headsByHash.values()].toSorted((a, b) => (a.record.hash < b.record.hash ? -1 : 1)),
    add(record, isStored) {
      if (record.agent !== agent || nodesByHash.has(record.hash) || waiting.has(record.hash) || voids.has(record.hash)) return []
      const placed: Judged[] = []
      const ready = [record]
      for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
        // A record that had waited for several parents can be woken by each of them.
        if (!isMissing(next.hash)) continue
        const children = [...(waitingByParent.get(next.hash) ?? [])]
        stopWaiting(next)
        if (next.parents.some(isMissing)) {
          wait(next)
          continue
        }
        const judgement = place(next, isStored)
        if (judgement === null) {
          if (next === record) return null
          continue
        }
        placed.push(judgement)
        ready.push(...children)
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
