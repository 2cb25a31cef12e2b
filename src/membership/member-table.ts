/**
 * Who belongs to the agent: a pure function of the set of its records. Order of arrival, repetition and batching change nothing.
 *
 * A record is judged by its own past, the closure of its parents. An admission counts if the root key signed it, or an
 * instance that an admission in that past made an admin, with the key of that admission, and if its number is above
 * those of its author's admissions in that past. Everything else known is void. An instance admitted more than once
 * keeps the place that the first of them (least depth, then hash) gave it and has the strongest of their roles, so what counts
 * once always counts. Two keys cannot share an instance id, nor two instances a key (`instanceIdOf`).
 */
import { headerRecordsMax, hashOf, idToBytes } from '../core/index.ts'
import type { AgentId, InstanceId, PublicKey, RecordHash } from '../core/index.ts'
import { createRecordGraph, reaches } from './record-graph.ts'
import type { RecordNode, Standing } from './record-graph.ts'
import { roles } from './record.ts'
import type { Admission, Genesis, MembershipRecord, Role } from './record.ts'

/** An instance that the rules accept. */
export interface Member {
  readonly instance: InstanceId
  readonly key: PublicKey
  readonly role: Role
  /** As admitted; two members can have the same. */
  readonly name: string
  /** The name, made unique in this table: whoever is not the most senior of that name gets `#` and the first digits of its instance id. */
  readonly label: string
  /** Null: the root key. */
  readonly admittedBy: InstanceId | null
  /** The admission. */
  readonly record: RecordHash
  /** The invite that it joined with. */
  readonly invite: PublicKey | null
  /** When it was admitted, milliseconds since the Unix epoch by its admitter's clock. */
  readonly time: number
}

/** `unknown-records`: this cannot be told before a record arrives that is missing here, or at all by this version. Wait. */
export type WriteVerdict = 'yes' | 'no' | 'unknown-records'

/** Reading side. Answers always follow the records added so far. */
export interface MemberTable {
  readonly agent: AgentId
  /** Null until it arrives; nothing counts before. */
  readonly genesis: Genesis | null
  /** By seniority: an admitter before those it admitted, those by admission number. */
  readonly members: readonly Member[]
  member(instance: InstanceId): Member | undefined
  memberByKey(key: PublicKey): Member | undefined
  /** The instance at the root of a lineage, which operation ids are keyed by. */
  lineageOf(instance: InstanceId): InstanceId
  /**
   * Whether `instance` with `key` might write, as far as the records that an envelope names say: never by what else
   * is known here, so the answer, once it is yes or no, is the same everywhere and for ever.
   */
  mayWrite(instance: InstanceId, key: PublicKey, recordHeads: readonly RecordHash[]): WriteVerdict
  /** What a new record or envelope of this author (null: the root key) names: the heads, sorted, at most `headerRecordsMax`;
   * where there are more, first those that hold the author's own admission. */
  citedBy(author: InstanceId | null): readonly RecordHash[]
  /** The number of the author's next admission. */
  nextAdmissionNumber(author: InstanceId | null): number
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
   * Gives the records that were judged because of it, those that had waited for a parent among them.
   */
  add(records: Iterable<MembershipRecord>): readonly MembershipRecord[]
}

type Grant = RecordNode<Admission>

/** The table of a set of records. */
export function memberTableOf(agent: AgentId, records: Iterable<MembershipRecord>): MemberTable {
  const set = createMemberSet(agent)
  set.add(records)
  return set
}

export function createMemberSet(agent: AgentId): MemberSet {
  const graph = createRecordGraph(agent, { judge, judged })
  /** The valid admissions, by the instance admitted and by the author. */
  const grantsByInstance = new Map<InstanceId, Grant[]>()
  const grantsByAuthor = new Map<InstanceId | null, Grant[]>()
  let derived: Derived | undefined

  function genesis(): Genesis | null {
    const record = graph.node(agent as string as RecordHash)?.record
    return record?.kind === 'genesis' ? record : null
  }

  function judge(record: MembershipRecord, parents: readonly RecordNode[]): Standing {
    if (record.kind === 'genesis') return 'valid'
    const rolesOfAuthor = rolesBy(record.author, record.key, parents)
    if (record.kind === 'unknown') return rolesOfAuthor.length > 0 ? 'unknown' : orUnknown(parents)
    if (!rolesOfAuthor.includes('admin')) return orUnknown(parents)
    const earlier = grantsByAuthor.get(record.author) ?? []
    return earlier.some((grant) => grant.record.number >= record.number && reaches(parents, grant)) ? orUnknown(parents) : 'valid'
  }

  /** Roles that the key had for the author in the closure of `nodes`. The root key counts as an admin. */
  function rolesBy(author: InstanceId | null, key: PublicKey, nodes: readonly RecordNode[]): readonly Role[] {
    if (author === null) return genesis()?.key === key ? ['admin'] : []
    const grants = grantsByInstance.get(author) ?? []
    return grants.filter((grant) => grant.record.claim.key === key && reaches(nodes, grant)).map((grant) => grant.record.role)
  }

  /** What this version cannot place in a past that holds what it does not know may count for a newer one. */
  function orUnknown(parents: readonly RecordNode[]): Standing {
    return parents.some((parent) => parent.holdsUnknown) ? 'unknown' : 'void'
  }

  function judged(node: RecordNode): void {
    derived = undefined
    if (!isGrant(node)) return
    append(grantsByInstance, node.record.instance, node)
    append(grantsByAuthor, node.record.author, node)
  }

  function keptRecords(): readonly MembershipRecord[] {
    return graph.nodes.filter((node) => node.standing !== 'void').map((node) => node.record)
  }

  function table(): Derived {
    derived ??= derive(grantsByInstance, keptRecords())
    return derived
  }

  return {
    agent,
    get genesis() {
      return genesis()
    },
    get members() {
      return table().members
    },
    member: (instance) => table().byInstance.get(instance),
    memberByKey: (key) => table().byKey.get(key),
    lineageOf: (instance) => instance,
    mayWrite(instance, key, recordHeads) {
      const heads = recordHeads.map((hash) => graph.node(hash))
      if (heads.some((head) => head?.standing === 'void')) return 'no'
      const known = heads.filter((head) => head !== undefined)
      if (known.length < heads.length) return 'unknown-records'
      if (rolesBy(instance, key, known).some((role) => role !== 'reader')) return 'yes'
      return known.some((head) => head.holdsUnknown) ? 'unknown-records' : 'no'
    },
    citedBy(author) {
      const heads = graph.heads()
      if (heads.length <= headerRecordsMax) return heads.map((head) => head.record.hash)
      const grants = author === null ? [] : (grantsByInstance.get(author) ?? [])
      const holding = new Set(heads.filter((head) => grants.some((grant) => reaches([head], grant))))
      const holdingFirst = [...holding, ...heads.filter((head) => !holding.has(head))]
      return holdingFirst
        .slice(0, headerRecordsMax)
        .map((head) => head.record.hash)
        .toSorted()
    },
    nextAdmissionNumber(author) {
      return (grantsByAuthor.get(author) ?? []).reduce((number, grant) => Math.max(number, grant.record.number), 0) + 1
    },
    standingOf: (hash) => graph.node(hash)?.standing ?? (graph.isWaiting(hash) ? 'waiting' : undefined),
    records: keptRecords,
    digest: () => table().digest,
    add: (records) => Array.from(records, (record) => graph.add(record).map((node) => node.record)).flat(),
  }
}

/** What is computed from the whole set at once, again after each change. */
interface Derived {
  readonly members: readonly Member[]
  readonly byInstance: ReadonlyMap<InstanceId, Member>
  readonly byKey: ReadonlyMap<PublicKey, Member>
  readonly digest: Uint8Array
}

function derive(grantsByInstance: ReadonlyMap<InstanceId, readonly Grant[]>, records: readonly MembershipRecord[]): Derived {
  const founding = bySeniority(Array.from(grantsByInstance.values(), foundingGrant))
  const labels = labelsOf(founding)
  const members = founding.map((grant, index): Member => {
    const { instance, claim, name, author, hash, time } = grant.record
    const role = strongestRole(grantsByInstance.get(instance) as readonly Grant[])
    const label = labels[index] as string
    return { instance, key: claim.key, role, name, label, admittedBy: author, record: hash, invite: claim.invite?.key ?? null, time }
  })
  const hashes = records.map((record) => record.hash)
  return {
    members,
    byInstance: new Map(members.map((member) => [member.instance, member])),
    byKey: new Map(members.map((member) => [member.key, member])),
    digest: hashOf('selfsame/records/1', idToBytes(hashes.toSorted().join(''))),
  }
}

/** An admitter's own admission lies in the past of those it signs, so by least depth nobody descends from itself. */
function foundingGrant(grants: readonly Grant[]): Grant {
  return grants.reduce((first, grant) => {
    if (grant.depth !== first.depth) return grant.depth < first.depth ? grant : first
    return grant.record.hash < first.record.hash ? grant : first
  })
}

function strongestRole(grants: readonly Grant[]): Role {
  return roles[grants.reduce((strongest, grant) => Math.max(strongest, roles.indexOf(grant.record.role)), 0)] as Role
}

/** The tree of admissions in preorder, from the root key: the order of the paths of admission numbers. */
function bySeniority(grants: readonly Grant[]): readonly Grant[] {
  const grantsByAuthor = new Map<InstanceId | null, Grant[]>()
  for (const grant of grants) append(grantsByAuthor, grant.record.author, grant)
  const lastFirst = (author: InstanceId | null) => (grantsByAuthor.get(author) ?? []).toSorted((a, b) => (isSenior(a, b) ? 1 : -1))
  const ordered: Grant[] = []
  const ahead = lastFirst(null)
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    ordered.push(next)
    for (const grant of lastFirst(next.record.instance)) ahead.push(grant)
  }
  return ordered
}

/** Of two grants by one author. It gives a number twice only when its home went back to a backup, or on purpose. */
function isSenior(grant: Grant, other: Grant): boolean {
  if (grant.record.number !== other.record.number) return grant.record.number < other.record.number
  return grant.record.instance < other.record.instance
}

/** Digits of the instance id in a label; more where that is not enough. */
const labelDigitsMin = 4

/** A label for each, in their order: the name where it is the first of its name, else with digits of the id. No name holds a `#`. */
function labelsOf(grants: readonly Grant[]): readonly string[] {
  const taken = new Set<string>()
  return grants.map(({ record: { name, instance } }) => {
    let label = name
    for (let digits = labelDigitsMin; taken.has(label); digits++) label = `${name}#${instance.slice(0, digits)}`
    taken.add(label)
    return label
  })
}

function isGrant(node: RecordNode): node is Grant {
  return node.record.kind === 'admission' && node.standing === 'valid'
}

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}
