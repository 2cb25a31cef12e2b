/**
 * Who belongs to the agent: a pure function of the set of its records. Order of arrival, repetition and batching change
 * nothing. Here records are found lawful or void, and the table is read; what a set of lawful records amounts to is
 * `settlement.ts`, and the rules with their reasons are in `docs/MEMBERSHIP.md`.
 */
import { headerRecordsMax, hashOf, idToBytes } from '../core/index.ts'
import type { AgentId, InstanceId, PublicKey, RecordHash } from '../core/index.ts'
import { createRecordGraph, isBefore, reaches } from './record-graph.ts'
import type { Judge, Quota, RecordNode, Standing } from './record-graph.ts'
import { decodeRecord } from './record.ts'
import type { CutPlace, Genesis, MembershipRecord, Rename, Role, RoleRecord, Rotation, UnknownRecord } from './record.ts'
import { createRecordIndex, indexRecord, levelOf, needOf, roleOf, settle } from './settlement.ts'
import type { ActRecord, Entry, Settlement } from './settlement.ts'

/** What is known of an instance that has, or had, a place. */
interface Known {
  readonly instance: InstanceId
  /** As last named; two can have the same. */
  readonly name: string
  /** The name, made unique in this table: whoever is not the most senior of that name gets `#` and the first digits of its instance id. */
  readonly label: string
  /** Who brought it in first, null: the root key. Where someone more senior did so again, its seniority is by that one. */
  readonly admittedBy: InstanceId | null
  /** The admission, or the clone record. */
  readonly record: RecordHash
  /** The invite that it joined with. */
  readonly invite: PublicKey | null
  /** When it was admitted, milliseconds since the Unix epoch by its admitter's clock. */
  readonly time: number
}

/** An instance that the rules accept. */
export interface Member extends Known {
  readonly role: Role
  /** The key that it brought in last. */
  readonly key: PublicKey
  /** The keys that it may use, sorted: one, unless it rotated its key twice at once. */
  readonly keys: readonly PublicKey[]
}

/** An instance that lost its place. */
export interface FormerMember extends Known {
  /** `suspended`: nobody removed it; it fell with whoever admitted it, and an admin can give it a role again. */
  readonly state: 'removed' | 'suspended'
  /** Of the removal, where it was removed: by whom (null: the root key), why, and when by their clock. */
  readonly removal: { readonly by: InstanceId | null; readonly reason: string; readonly time: number } | null
}

/** `unknown-records`: this cannot be told before a record arrives that is missing here, or at all by this version. Wait. */
export type WriteVerdict = 'yes' | 'no' | 'unknown-records'

/**
 * Null: all that it writes. Else what lies, in each of these lists, at or before one of its places: of the cuts of whoever took its right to write, and of
 * its own that retired the key. A place says something only where the envelope of that hash is there.
 */
export type WriteLimit = readonly (readonly CutPlace[])[] | null

/** Reading side. Answers always follow the records added so far. */
export interface MemberTable {
  readonly agent: AgentId
  /** Null until it arrives; nothing counts before. */
  readonly genesis: Genesis | null
  /** By seniority. */
  readonly members: readonly Member[]
  /** Who lost its place, by seniority. */
  readonly former: readonly FormerMember[]
  member(instance: InstanceId): Member | undefined
  formerMember(instance: InstanceId): FormerMember | undefined
  memberByKey(key: PublicKey): Member | undefined
  /** Whether the key is, or was, that of an instance of the agent. */
  isKnownKey(key: PublicKey): boolean
  /** What somebody with that key has to know to see how it stands: the records that curbed it or whoever admitted it, with their pasts. */
  explaining(key: PublicKey): readonly MembershipRecord[]
  /** Whether the key is, or was, one of the instance's. */
  isKeyOf(instance: InstanceId, key: PublicKey): boolean
  /** The last of its line, which operation ids are keyed by. */
  lineageOf(instance: InstanceId): InstanceId
  /** The line of an instance: itself, and those that it is a clone of, up to the one that was admitted. */
  lineOf(instance: InstanceId): readonly InstanceId[]
  /**
   * Whether `instance` with `key` might write, as far as the records that an envelope names say: never by what else
   * is known here, so the answer, once it is yes or no, is the same everywhere and for ever.
   */
  mayWrite(instance: InstanceId, key: PublicKey, recordHeads: readonly RecordHash[]): WriteVerdict
  /** What counts of the feeds of `instance` under `key`, by the table alone. */
  writeLimit(instance: InstanceId, key: PublicKey): WriteLimit
  /** What a new record of this author (null: the root key) names: the heads, sorted, at most `headerRecordsMax`;
   * where there are more, first those that hold what made the author, and the target, what they are. */
  citedBy(author: InstanceId | null, target?: InstanceId | null): readonly RecordHash[]
  /**
   * What an envelope of the instance under `key` names to show its right to write: the last of the records that gave it its place and its key, or, where
   * these alone do not tell, what `citedBy` gives. So an envelope waits for no records that do not concern its author.
   */
  rightOf(instance: InstanceId, key: PublicKey): readonly RecordHash[]
  /** The number of the author's next admission, clone or role record. */
  nextNumber(author: InstanceId | null): number
  /** `waiting`: here, but a parent is missing. Undefined: not here. */
  standingOf(hash: RecordHash): Standing | 'waiting' | undefined
  /** What to keep and send on: all judged records that are not void, parents before children. */
  records(): readonly MembershipRecord[]
  /** One hash of `records()` as a set: 32 bytes, equal at two instances exactly when they hold the same. */
  digest(): Uint8Array
}

/** The table with its writing side. */
export interface MemberSet extends MemberTable {
  /**
   * Takes decoded records, signatures checked, in any order. Those of another agent, and known ones, are passed over.
   * Gives the records that were judged because of it, those that had waited for a parent among them. `areStored`: they were
   * taken before, and no bound on their number keeps them out.
   */
  add(records: Iterable<MembershipRecord>, areStored?: boolean): readonly MembershipRecord[]
}

/**
 * Records that one author can make others keep: as an admin; of its own affairs (new keys, names, clones), with all its clones; and of all whose
 * signer is not known to be a member, where only a newer version could tell. Far above what honest instances make. The root key may sign any
 * number. What an admin's records rest on is taken whatever its number.
 */
const adminActsMax = 1_000
const ownActsMax = 256
const quotaOfOthers: Quota = { name: 'others', most: 256 }
/** By how much an author's numbers may go up at once. */
const numberStepMax = 1 << 20
/** Pasts whose settlement is kept: what envelopes and records name is nearly always one of the last few. */
const pastsKeptMax = 64

/** The table of a set of records. */
export function memberTableOf(agent: AgentId, records: Iterable<MembershipRecord>): MemberTable {
  const set = createMemberSet(agent)
  set.add(records, true)
  return set
}

/** The table, with its writing side, of records as stored; those that cannot be read are left out. */
export function memberTableFrom(agent: AgentId, rows: Iterable<{ readonly bytes: Uint8Array }>): MemberSet {
  const set = createMemberSet(agent)
  set.add(
    Array.from(rows, ({ bytes }) => decodeRecord(bytes)).flatMap((record) => (record.ok ? [record.value] : [])),
    true,
  )
  return set
}

export function createMemberSet(agent: AgentId): MemberSet {
  const graph = createRecordGraph(agent, { judge, judged, vouches })
  /** By the heads whose closure it is, in order of last use; a closure never changes. */
  const pasts = new Map<string, Settlement>()
  const index = createRecordIndex()
  let derived: Derived | undefined

  function genesis(): Genesis | null {
    const record = graph.node(agent as string as RecordHash)?.record
    return record?.kind === 'genesis' ? record : null
  }

  /** What the closure of `heads` amounts to. */
  function settlementOf(heads: readonly RecordNode[]): Settlement {
    const name = heads.map((head) => head.index).join()
    const settlement = pasts.get(name) ?? settle(index, (node) => reaches(heads, node), false)
    pasts.delete(name)
    pasts.set(name, settlement)
    if (pasts.size > pastsKeptMax) pasts.delete(pasts.keys().next().value as string)
    return settlement
  }

  function judge(record: MembershipRecord, parentNodes: readonly RecordNode[]): ReturnType<Judge['judge']> {
    if (record.kind === 'genesis') return { standing: 'valid', quota: null }
    const holdsUnknown = parentNodes.some((parent) => parent.holdsUnknown)
    const past = isKnownSigner(record) ? settlementOf(parentNodes) : null
    if (past === null || !isByMember(record, past)) {
      return holdsUnknown ? { standing: 'unknown', quota: quotaOfOthers } : { standing: 'void', quota: null }
    }
    const quota = quotaOf(record)
    if (record.kind === 'unknown') return { standing: 'unknown', quota }
    return { standing: isAllowed(record, past) ? 'valid' : holdsUnknown ? 'unknown' : 'void', quota }
  }

  /** Cheap, and so first: whether the key was ever the author's. */
  function isKnownSigner({ author, key }: MembershipRecord): boolean {
    return author === null ? genesis()?.key === key : index.instancesByKey.get(key)?.includes(author) === true
  }

  /** Whether the record is signed with a key of a member, or the root key, as its past knows them. */
  function isByMember({ author, key }: MembershipRecord, past: Settlement): boolean {
    return author === null || (past.level(author) > 0 && past.keys(author).includes(key))
  }

  function quotaOf(record: ActRecord | UnknownRecord): Quota | null {
    const { author, kind } = record
    if (author === null) return null
    if (kind !== 'unknown' && needOf(record) === levelOf('admin') && kind !== 'clone')
      return { name: `acts of ${author}`, most: adminActsMax }
    return { name: `own acts of ${lineOf(author).at(-1)}`, most: ownActsMax }
  }

  function vouches(record: MembershipRecord): boolean {
    if (record.author === null) return isKnownSigner(record)
    const member = table().byInstance.get(record.author)
    return member?.role === 'admin' && member.keys.includes(record.key)
  }

  function judged(node: RecordNode): void {
    derived = undefined
    indexRecord(index, node)
  }

  function lineOf(instance: InstanceId): readonly InstanceId[] {
    const line = [instance]
    for (let parent = index.parents.get(instance); parent !== undefined; parent = index.parents.get(parent)) line.push(parent)
    return line
  }

  function keptRecords(): readonly MembershipRecord[] {
    return graph.nodes.map((node) => node.record)
  }

  function table(): Derived {
    derived ??= derive(
      settle(index, () => true, true),
      [...index.entries.keys()],
      keptRecords(),
    )
    return derived
  }

  function mayWrite(instance: InstanceId, key: PublicKey, recordHeads: readonly RecordHash[]): WriteVerdict {
    if (recordHeads.some((hash) => graph.isVoid(hash))) return 'no'
    const known = recordHeads.flatMap((hash) => graph.node(hash) ?? [])
    if (known.length < recordHeads.length) return 'unknown-records'
    const past = settlementOf(known)
    if (past.level(instance) >= levelOf('writer') && past.keys(instance).includes(key)) return 'yes'
    return known.some((head) => head.holdsUnknown) ? 'unknown-records' : 'no'
  }

  /** The records that gave an instance its place and its keys, the deepest first. */
  function basisOf(instance: InstanceId | null): readonly RecordNode[] {
    if (instance === null) return []
    const rotations = (index.acts.get(instance) ?? []).filter(({ record }) => record.kind === 'rotation')
    return [...(index.grants.get(instance) ?? []), ...rotations].toSorted(
      (a, b) => b.depth - a.depth || (a.record.hash < b.record.hash ? -1 : 1),
    )
  }

  function citedBy(author: InstanceId | null, target: InstanceId | null = null): readonly RecordHash[] {
    const heads = graph.heads()
    if (heads.length <= headerRecordsMax) return heads.map((head) => head.record.hash)
    const chosen: RecordNode[] = []
    for (const node of [...basisOf(author), ...basisOf(target)]) {
      const head = reaches(chosen, node) ? undefined : heads.find((each) => reaches([each], node))
      if (head !== undefined) chosen.push(head)
    }
    return [...new Set([...chosen, ...heads])]
      .slice(0, headerRecordsMax)
      .map((head) => head.record.hash)
      .toSorted()
  }

  return {
    agent,
    get genesis() {
      return genesis()
    },
    get members() {
      return table().members
    },
    get former() {
      return table().former
    },
    member: (instance) => table().byInstance.get(instance),
    formerMember: (instance) => table().formerByInstance.get(instance),
    memberByKey: (key) => table().byKey.get(key),
    isKnownKey: (key) => index.instancesByKey.has(key),
    explaining(key) {
      const { settlement } = table()
      const concerned = new Set<InstanceId>()
      const ahead: (InstanceId | null)[] = [...(index.instancesByKey.get(key) ?? [])]
      for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
        if (next === null || concerned.has(next)) continue
        concerned.add(next)
        for (const { record } of settlement.entries(next)) ahead.push(record.author)
      }
      const causes = [...concerned].flatMap((instance) => [...settlement.curbs(instance), ...settlement.rotations(instance)])
      return graph.nodes.filter((node) => reaches(causes, node)).map((node) => node.record)
    },
    isKeyOf: (instance, key) => index.instancesByKey.get(key)?.includes(instance) === true,
    lineOf,
    lineageOf: (instance) => lineOf(instance).at(-1) as InstanceId,
    mayWrite,
    writeLimit(instance, key) {
      const { settlement, writeLimits } = table()
      const name = `${instance}:${key}`
      let limit = writeLimits.get(name)
      if (limit === undefined) writeLimits.set(name, (limit = writeLimitOf(settlement, instance, key, lineOf(instance))))
      return limit
    },
    citedBy,
    rightOf(instance, key) {
      const basis = basisOf(instance)
      const last = basis.filter((node) => !basis.some((other) => isBefore(node, other))).slice(0, headerRecordsMax)
      const hashes = last.map((node) => node.record.hash).toSorted()
      return mayWrite(instance, key, hashes) === 'yes' ? hashes : citedBy(instance)
    },
    nextNumber: (author) => table().settlement.lastNumber(author) + 1,
    standingOf: (hash) => graph.node(hash)?.standing ?? (graph.isVoid(hash) ? 'void' : graph.isWaiting(hash) ? 'waiting' : undefined),
    records: keptRecords,
    digest: () => table().digest,
    add(records, areStored = false) {
      const judged: MembershipRecord[] = []
      // What a quota kept out may be needed by one that came after it.
      for (let offered = [...records], before = 0; offered.length !== before;) {
        before = offered.length
        offered = offered.filter((record) => {
          const judgements = graph.add(record, areStored)
          if (judgements !== null) judged.push(...judgements.map((judgement) => judgement.record))
          return judgements === null
        })
      }
      return judged
    },
  }
}

function writeLimitOf(settlement: Settlement, instance: InstanceId, key: PublicKey, line: readonly InstanceId[]): WriteLimit {
  const limit: (readonly CutPlace[])[] = []
  if (settlement.level(instance) < levelOf('writer')) {
    const curbs = settlement.curbs(instance).filter(({ record }) => levelOf(record.role) < levelOf('writer'))
    // What it says of itself counts only as long as nobody else has spoken.
    const byOthers = curbs.filter(({ record }) => record.author === null || !line.includes(record.author))
    limit.push((byOthers.length > 0 ? byOthers : curbs).flatMap(({ record }) => record.cut))
  }
  if (!settlement.keys(instance).includes(key)) {
    limit.push(settlement.rotations(instance).flatMap(({ record }) => (record.key === key ? record.cut : [])))
  }
  return limit.length === 0 ? null : limit
}

/** Whether the author, a member or the root key, may say this. `past`: what the author knew. */
function isAllowed(record: ActRecord, past: Settlement): boolean {
  const { author, kind } = record
  if (author === null) {
    if (kind === 'clone' || kind === 'rotation') return false
  } else {
    const level = past.level(author)
    if (level < needOf(record)) return false
  }
  switch (kind) {
    case 'rotation':
      return !hasHad(past, record.author, record.claim.key)
    case 'rename':
      return past.entries(record.instance).length > 0
    case 'role':
      return past.entries(record.instance).length > 0 && isNextNumber(record.number, past.lastNumber(author))
    case 'clone':
      return past.entries(record.instance).length === 0 && isNextNumber(record.number, past.lastNumber(author))
    default:
      return isNextNumber(record.number, past.lastNumber(author))
  }
}

/** Numbers go upwards, and not so fast that somebody who has the key for a while could use them up. */
function isNextNumber(number: number, last: number): boolean {
  return number > last && number <= last + numberStepMax
}

function hasHad(past: Settlement, instance: InstanceId, key: PublicKey): boolean {
  if (past.entries(instance).some(({ record }) => record.claim.key === key)) return true
  return past.acts(instance).some(({ record }) => record.kind === 'rotation' && record.claim.key === key)
}

/** What is computed from the whole set at once, again after each change. */
interface Derived {
  readonly settlement: Settlement
  readonly members: readonly Member[]
  readonly former: readonly FormerMember[]
  readonly byInstance: ReadonlyMap<InstanceId, Member>
  readonly formerByInstance: ReadonlyMap<InstanceId, FormerMember>
  readonly byKey: ReadonlyMap<PublicKey, Member>
  readonly digest: Uint8Array
  /** By instance and key, as far as they were asked for. */
  readonly writeLimits: Map<string, WriteLimit>
}

function derive(settlement: Settlement, everyone: readonly InstanceId[], records: readonly MembershipRecord[]): Derived {
  const taken = new Set(settlement.seniority)
  const instances = [...taken, ...everyone.filter((instance) => !taken.has(instance)).toSorted()]
  const isMember = (instance: InstanceId): boolean => settlement.level(instance) > 0
  const present = instances.filter(isMember)
  const gone = instances.filter((instance) => !isMember(instance))
  const names = new Map(instances.map((instance) => [instance, nameOf(settlement, instance)]))
  const labels = labelsOf([...present, ...gone], names)
  const known = (instance: InstanceId): Known => {
    const { record } = entryOf(settlement, instance)
    return {
      instance,
      name: names.get(instance) as string,
      label: labels.get(instance) as string,
      admittedBy: record.author,
      record: record.hash,
      invite: record.claim.invite?.key ?? null,
      time: record.time,
    }
  }
  const members = present.map((instance): Member => {
    const keys = settlement.keys(instance)
    return { ...known(instance), role: roleOf(settlement.level(instance)) as Role, key: lastKey(settlement, instance, keys), keys }
  })
  const former = gone.map((instance): FormerMember => ({ ...known(instance), ...endOf(settlement, instance) }))
  const byKey = new Map<PublicKey, Member>()
  for (const member of members) for (const key of member.keys) if (!byKey.has(key)) byKey.set(key, member)
  const hashes = records.map((record) => record.hash)
  return {
    settlement,
    members,
    former,
    byInstance: new Map(members.map((member) => [member.instance, member])),
    formerByInstance: new Map(former.map((each) => [each.instance, each])),
    byKey,
    digest: hashOf('selfsame/records/1', idToBytes(hashes.toSorted().join(''))),
    writeLimits: new Map(),
  }
}

/** The admission or clone record of an instance: one that stands, where one does; the least deep, then the least hash. */
function entryOf(settlement: Settlement, instance: InstanceId): Entry {
  return settlement.entries(instance).reduce((first, entry) => {
    const stands = settlement.stands(entry)
    if (stands !== settlement.stands(first)) return stands ? entry : first
    if (entry.depth !== first.depth) return entry.depth < first.depth ? entry : first
    return entry.record.hash < first.record.hash ? entry : first
  })
}

function nameOf(settlement: Settlement, instance: InstanceId): string {
  return (
    settlement.renames(instance).reduce<RecordNode<Rename> | null>(deeper, null)?.record.name ?? entryOf(settlement, instance).record.name
  )
}

function deeper<Node extends RecordNode>(last: Node | null, node: Node): Node {
  if (last === null || node.depth !== last.depth) return last === null || node.depth > last.depth ? node : last
  return node.record.hash > last.record.hash ? node : last
}

function lastKey(settlement: Settlement, instance: InstanceId, keys: readonly PublicKey[]): PublicKey {
  const live = settlement.rotations(instance).filter(({ record }) => keys.includes(record.claim.key))
  return live.reduce<RecordNode<Rotation> | null>(deeper, null)?.record.claim.key ?? (keys[0] as PublicKey)
}

function endOf(settlement: Settlement, instance: InstanceId): Pick<FormerMember, 'state' | 'removal'> {
  const removals = settlement.curbs(instance).filter(({ record }) => record.role === null)
  const removal = removals.reduce<RecordNode<RoleRecord> | null>(deeper, null)
  if (removal === null) return { state: 'suspended', removal: null }
  const { author, reason, time } = removal.record
  return { state: 'removed', removal: { by: author, reason, time } }
}

/** Digits of the instance id in a label; more where that is not enough. */
const labelDigitsMin = 4

/** A label for each, in their order: the name where it is the first of its name, else with digits of the id. No name holds a `#`. */
function labelsOf(instances: readonly InstanceId[], names: ReadonlyMap<InstanceId, string>): ReadonlyMap<InstanceId, string> {
  const taken = new Set<string>()
  return new Map(
    instances.map((instance) => {
      const name = names.get(instance) as string
      let label = name
      for (let digits = labelDigitsMin; taken.has(label); digits++) label = `${name}#${instance.slice(0, digits)}`
      taken.add(label)
      return [instance, label]
    }),
  )
}
