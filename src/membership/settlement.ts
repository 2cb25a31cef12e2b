/**
 * What a closed set of records amounts to: which removals, demotions and rotations are settled, which records stand, and
 * what level and keys each instance has. `docs/MEMBERSHIP.md` has the rules and their reasons, in the words used here. A
 * pure function of the set: nothing here depends on the order of arrival.
 */
import type { InstanceId, PublicKey } from '../core/index.ts'
import { isBefore } from './record-graph.ts'
import type { RecordNode } from './record-graph.ts'
import { roles } from './record.ts'
import type { Admission, Clone, Rename, Role, RoleRecord, Rotation } from './record.ts'

/** None, reader, writer, admin. */
export type Level = 0 | 1 | 2 | 3

export function levelOf(role: Role | null): Level {
  return (role === null ? 0 : roles.indexOf(role) + 1) as Level
}

export function roleOf(level: Level): Role | null {
  return level === 0 ? null : (roles[level - 1] as Role)
}

/** An admission or a clone record: what brings an instance in. */
export type Entry = RecordNode<Admission | Clone>
/** What gives an instance a level: an entry, or a role record above level 0. */
type Grant = RecordNode<Admission | Clone | RoleRecord>
type Numbered = RecordNode<Admission | Clone | RoleRecord>
type Curb = RecordNode<RoleRecord>
/** A record that somebody may have had no right to. */
export type Act = RecordNode<ActRecord>
export type ActRecord = Admission | Clone | RoleRecord | Rotation | Rename

/** The lawful records of a growing set, by what is asked for. */
export interface RecordIndex {
  readonly entries: Map<InstanceId, Entry[]>
  readonly grants: Map<InstanceId, Grant[]>
  readonly renames: Map<InstanceId, RecordNode<Rename>[]>
  /** By author; null: the root key. */
  readonly acts: Map<InstanceId | null, Act[]>
  /** Those of an author that have a number, the greatest last. */
  readonly numbered: Map<InstanceId | null, Numbered[]>
  /** What the walk may settle: role records and rotations. */
  readonly curbing: (Curb | RecordNode<Rotation>)[]
  /** By every key that they ever had. */
  readonly instancesByKey: Map<PublicKey, InstanceId[]>
  /** Of clones. */
  readonly parents: Map<InstanceId, InstanceId>
}

export function createRecordIndex(): RecordIndex {
  return {
    entries: new Map(),
    grants: new Map(),
    renames: new Map(),
    acts: new Map(),
    numbered: new Map(),
    curbing: [],
    instancesByKey: new Map(),
    parents: new Map(),
  }
}

/** Adds a judged record, if it is lawful, after all in its past. */
export function indexRecord(index: RecordIndex, node: RecordNode): void {
  if (node.standing !== 'valid' || !isAct(node)) return
  append(index.acts, node.record.author, node)
  if (isNumbered(node)) insertNumbered(index.numbered, node)
  if (isEntry(node)) append(index.entries, node.record.instance, node)
  if (isEntry(node)) append(index.instancesByKey, node.record.claim.key, node.record.instance)
  if (isRotation(node)) append(index.instancesByKey, node.record.claim.key, node.record.author)
  if (isGrant(node)) append(index.grants, node.record.instance, node)
  if (isRename(node)) append(index.renames, node.record.instance, node)
  if (isCurb(node) || isRotation(node)) index.curbing.push(node)
  if (node.record.kind === 'clone') index.parents.set(node.record.instance, node.record.author)
}

export interface Settlement {
  /** The instances as the walk took them. */
  readonly seniority: readonly InstanceId[]
  level(instance: InstanceId): Level
  /** Those that it may use, sorted. */
  keys(instance: InstanceId): readonly PublicKey[]
  stands(node: Act): boolean
  entries(instance: InstanceId): readonly Entry[]
  grants(instance: InstanceId): readonly Grant[]
  /** The rename records of the instance that stand. */
  renames(instance: InstanceId): readonly RecordNode<Rename>[]
  /** All lawful records of an author (null: the root key). */
  acts(author: InstanceId | null): readonly Act[]
  /** The last number that an author (null: the root key) gave, 0 where it gave none. */
  lastNumber(author: InstanceId | null): number
  /** The settled role records whose target is in the line of the instance. */
  curbs(instance: InstanceId): readonly Curb[]
  /** The settled rotations of the instance. */
  rotations(instance: InstanceId): readonly RecordNode<Rotation>[]
}

/** The level that the author of a record must have. */
export function needOf(record: ActRecord): number {
  if (record.kind === 'clone') return levelOf(record.role)
  // Of oneself only downwards.
  if (record.kind === 'role' && record.instance === record.author) return levelOf(record.role) + 1
  if (record.kind === 'admission') return 3
  if (record.kind === 'rotation') return 1
  return record.instance === record.author ? 1 : 3
}

function isAct(node: RecordNode): node is Act {
  return node.record.kind !== 'genesis' && node.record.kind !== 'unknown'
}

function isGrant(node: RecordNode): node is Grant {
  const { kind } = node.record
  return kind === 'admission' || kind === 'clone' || (kind === 'role' && node.record.role !== null)
}

/**
 * What the records of the index that are in a closed set amount to. With `everyone` the walk takes all instances; without,
 * only those whose turn can settle something, and those that they descend from: the outcome is the same but for `seniority`.
 */
export function settle(index: RecordIndex, isIn: (node: RecordNode) => boolean, everyone: boolean): Settlement {
  const within = <Key, Node extends RecordNode>(lists: ReadonlyMap<Key, readonly Node[]>, key: Key): readonly Node[] =>
    (lists.get(key) ?? []).filter(isIn)

  // The settled curbs: role records by their target, rotations by their author.
  const curbsOnTarget = new Map<InstanceId, Curb[]>()
  const rotations = new Map<InstanceId, RecordNode<Rotation>[]>()
  /** What stands by the curbs settled so far. */
  const verdicts = new Map<Act, boolean>()

  function curbsOf(instance: InstanceId): readonly Curb[] {
    const found: Curb[] = []
    for (let next: InstanceId | undefined = instance; next !== undefined; next = index.parents.get(next)) {
      found.push(...(curbsOnTarget.get(next) ?? []))
    }
    return found
  }

  /** The level of an instance as of a record in whose past only what is counted lies; of the whole set where that is null. */
  function levelAsOf(instance: InstanceId, act: Act | null): Level {
    const counts = (node: RecordNode): boolean => act === null || isBefore(node, act)
    const curbs = curbsOf(instance).filter(counts)
    let level: Level = 0
    for (const grant of within(index.grants, instance)) {
      let granted = levelOf(grant.record.role)
      if (granted <= level || !counts(grant) || !(verdicts.get(grant) ?? stands(grant))) continue
      for (const curb of curbs) {
        const curbed = levelOf(curb.record.role)
        if (curbed < granted && curb !== grant && !isBefore(curb, grant)) granted = curbed
      }
      if (granted > level) level = granted
    }
    return level
  }

  function judge(act: Act): boolean {
    const { author, key, kind } = act.record
    if (author === null) return true
    const isFirst = (node: RecordNode, nodes: readonly RecordNode[]): boolean => !nodes.some((other) => isBefore(other, node))
    const isBlocked = (blocking: readonly RecordNode[]): boolean =>
      blocking.length > 0 && !blocking.some((node) => isBefore(act, node) && isFirst(node, blocking))
    const isNews = (node: RecordNode): boolean => node !== act && !isBefore(node, act)
    if (kind !== 'rotation' && isBlocked((rotations.get(author) ?? []).filter((node) => node.record.key === key && isNews(node)))) {
      return false
    }
    const need = needOf(act.record)
    if (isBlocked(curbsOf(author).filter((curb) => levelOf(curb.record.role) < need && isNews(curb)))) return false
    return levelAsOf(author, act) >= need
  }

  /** Judges what the record rests on first, without recursion: a chain of admissions can be as long as someone likes. */
  function stands(act: Act): boolean {
    // Where nothing can be settled, all that is lawful stands.
    if (curbingByAuthor.size === 0) return true
    const ahead = [act]
    for (let next = ahead.at(-1); next !== undefined; next = ahead.at(-1)) {
      const current = next
      const { author } = current.record
      const open = author === null ? [] : within(index.grants, author).filter((grant) => !verdicts.has(grant) && isBefore(grant, current))
      if (verdicts.has(current) || open.length === 0) {
        if (!verdicts.has(current)) verdicts.set(current, judge(current))
        ahead.pop()
      } else {
        ahead.push(...open)
      }
    }
    return verdicts.get(act) as boolean
  }

  /** Settles those of an author's records that `isMeant` picks and that stand, all judged before any is settled. */
  function settleSome(author: InstanceId | null, isMeant: (act: Curb | RecordNode<Rotation>) => boolean): void {
    const settled = (curbingByAuthor.get(author) ?? []).filter((act) => isMeant(act) && stands(act))
    for (const act of settled) {
      if (isCurb(act)) append(curbsOnTarget, act.record.instance, act)
      else append(rotations, act.record.author, act)
    }
    if (settled.length > 0) verdicts.clear()
  }

  /** The targets of an author's standing grants to others, the most senior last. */
  function heirs(author: InstanceId | null): readonly InstanceId[] {
    const standing = (grantsByAuthor.get(author) ?? []).filter((grant) => grant.record.instance !== author && stands(grant))
    return standing.toSorted(byJuniority).map((grant) => grant.record.instance)
  }

  const curbingByAuthor = new Map<InstanceId | null, (Curb | RecordNode<Rotation>)[]>()
  for (const act of index.curbing) if (isIn(act)) append(curbingByAuthor, act.record.author, act)
  const grantsByAuthor = new Map<InstanceId | null, Grant[]>()
  const walked = new Set<InstanceId | null>(everyone ? index.entries.keys() : curbingByAuthor.keys())
  // A set takes what is added while it is gone through.
  for (const instance of walked) {
    for (const grant of instance === null ? [] : within(index.grants, instance)) {
      append(grantsByAuthor, grant.record.author, grant)
      walked.add(grant.record.author)
    }
  }

  // The walk in preorder is the order of the paths.
  const seniority: InstanceId[] = []
  const taken = new Set<InstanceId>()
  settleSome(null, isCurb)
  const queue = [...heirs(null)]
  for (let instance = queue.pop(); instance !== undefined; instance = queue.pop()) {
    if (taken.has(instance)) continue
    const self = instance
    taken.add(self)
    seniority.push(self)
    settleSome(self, isRotation)
    settleSome(self, (act) => isCurb(act) && act.record.instance === self)
    settleSome(self, (act) => isCurb(act) && act.record.instance !== self)
    queue.push(...heirs(self))
  }

  function keysOf(instance: InstanceId): readonly PublicKey[] {
    const keys = new Set<PublicKey>(within(index.entries, instance).map((entry) => entry.record.claim.key))
    const settled = rotations.get(instance) ?? []
    for (const { record } of settled) keys.add(record.claim.key)
    for (const { record } of settled) keys.delete(record.key)
    return [...keys].toSorted()
  }

  return {
    seniority,
    level: (instance) => levelAsOf(instance, null),
    keys: keysOf,
    stands,
    entries: (instance) => within(index.entries, instance),
    grants: (instance) => within(index.grants, instance),
    renames: (instance) => within(index.renames, instance).filter(stands),
    acts: (author) => within(index.acts, author),
    lastNumber: (author) => index.numbered.get(author)?.findLast(isIn)?.record.number ?? 0,
    curbs: curbsOf,
    rotations: (instance) => rotations.get(instance) ?? [],
  }
}

function isEntry(node: Act): node is Entry {
  return node.record.kind === 'admission' || node.record.kind === 'clone'
}

function isNumbered(node: Act): node is Numbered {
  return 'number' in node.record
}

/** An honest author's come in order, so nearly always at the end. */
function insertNumbered(lists: Map<InstanceId | null, Numbered[]>, node: Numbered): void {
  const { author, number } = node.record
  const list = lists.get(author) ?? []
  lists.set(author, list)
  let place = list.length
  while (place > 0 && (list[place - 1] as Numbered).record.number > number) place -= 1
  list.splice(place, 0, node)
}

function isCurb(node: Act): node is Curb {
  return node.record.kind === 'role'
}

function isRename(node: Act): node is RecordNode<Rename> {
  return node.record.kind === 'rename'
}

function isRotation(node: Act): node is RecordNode<Rotation> {
  return node.record.kind === 'rotation'
}

/** Of two grants by one author. It gives a number twice only when its home went back to a backup, or on purpose. */
function byJuniority({ record: a }: Grant, { record: b }: Grant): number {
  if (a.number !== b.number) return b.number - a.number
  if (a.instance !== b.instance) return a.instance < b.instance ? 1 : -1
  return a.hash < b.hash ? 1 : -1
}

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}
