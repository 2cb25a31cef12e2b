/** Holds the real member table against the model, over one history and several orders of arrival; and what of it a history reached. */
import type { InstanceId, PublicKey, RecordHash } from '../../../src/core/index.ts'
import { createMemberSet, memberTableOf, roles, signRole } from '../../../src/membership/index.ts'
import type { MembershipRecord, MemberTable } from '../../../src/membership/index.ts'
import { Dice } from './dice.ts'
import { modelOf } from './model.ts'
import type { Model, ModelRecord } from './model.ts'
import type { History } from './random-history.ts'
import { agent, foundedAt, rootKey } from './world.ts'

/** Orders in which one history arrives, besides that of its making. */
const ordersPerHistory = 2
/** Heads, instances and keys for which the right to write is asked. */
const questionsPerHistory = 8

function toModel(record: MembershipRecord): ModelRecord {
  const { author, hash: id, key, kind: type, parents } = record
  return {
    id,
    type,
    author,
    key,
    parents,
    target: 'instance' in record ? record.instance : null,
    level: 'role' in record && record.role !== null ? roles.indexOf(record.role) + 1 : 0,
    number: 'number' in record ? record.number : 0,
    brings: 'claim' in record ? record.claim.key : null,
    name: 'name' in record ? record.name : null,
    cut: 'cut' in record ? record.cut : [],
  }
}

export function modelOfRecords(records: readonly MembershipRecord[]): Model {
  return modelOf(records.map(toModel))
}

/** What is the same in the table and in the model, by what it is about. */
type View = Readonly<Record<string, unknown>>

function viewOfModel(model: Model, { keysByInstance, records }: History): View {
  const members = model.instances.filter(({ state }) => state === 'member')
  return {
    'members by seniority': members.map(({ instance, keys, level, name }) => [instance, roles[level - 1], keys, name]),
    'former members': model.instances
      .filter(({ state }) => state !== 'member')
      .map(({ instance, name, state }) => `${instance} ${state} ${name}`)
      .toSorted(),
    'standings': records.map(({ hash }) => [hash, model.verdictOf(hash)]),
    'records': model.kept.map(({ id }) => id).toSorted(),
    'write limits': [...keysByInstance].flatMap(([instance, keys]) =>
      keys.map((key) => [instance, key, sortedPlaces(model.writeLimit(instance, key))]),
    ),
    'lines': model.instances.map(({ instance }) => `${instance} ${model.lineOf(instance).join()}`).toSorted(),
    'next numbers': [null, ...keysByInstance.keys()].map((author) => model.lastNumberOf(author) + 1),
    'members by key': allKeys(keysByInstance).map((key) => [key, members.some(({ keys }) => keys.includes(key))]),
  }
}

function viewOfTable(table: MemberTable, { keysByInstance, records }: History): View {
  return {
    'members by seniority': table.members.map(({ instance, keys, name, role }) => [instance, role, keys, name]),
    'former members': table.former.map(({ instance, name, state }) => `${instance} ${state} ${name}`).toSorted(),
    'standings': records.map(({ hash }) => [hash, table.standingOf(hash)]),
    'records': table
      .records()
      .map(({ hash }) => hash)
      .toSorted(),
    'write limits': [...keysByInstance].flatMap(([instance, keys]) =>
      keys.map((key) => [instance, key, sortedPlaces(table.writeLimit(instance, key) ?? [])]),
    ),
    'lines': [...table.members, ...table.former].map(({ instance }) => `${instance} ${table.lineOf(instance).join()}`).toSorted(),
    'next numbers': [null, ...keysByInstance.keys()].map((author) => table.nextNumber(author)),
    'members by key': allKeys(keysByInstance).map((key) => [key, table.memberByKey(key)?.keys.includes(key) === true]),
  }
}

function allKeys(keysByInstance: History['keysByInstance']): readonly PublicKey[] {
  return [...new Set([...keysByInstance.values()].flat())]
}

/** All that two tables of one set of records share, to the last word. */
function wholeOf(table: MemberTable): View {
  const { former, members } = table
  return {
    members,
    former,
    digest: Buffer.from(table.digest()).toString('hex'),
    records: table
      .records()
      .map(({ hash }) => hash)
      .toSorted(),
    cited: [null, ...[...members, ...former].map(({ instance }) => instance)].map((author) => [
      table.citedBy(author),
      table.nextNumber(author),
    ]),
  }
}

function sortedPlaces(
  cuts: readonly (readonly { readonly feed: string; readonly sequence: number; readonly hash: string }[])[],
): readonly string[] {
  return cuts.map((places) => [...new Set(places.map(({ feed, hash, sequence }) => `${feed} ${sequence} ${hash}`))].toSorted().join())
}

/** Where the two differ, in words. */
function differenceOf(what: string, actual: View, expected: View): readonly string[] {
  const listed = (value: unknown) => (Array.isArray(value) ? value : [value]).map((item) => JSON.stringify(item))
  return Object.keys(expected).flatMap((topic) => {
    const [is, should] = [listed(actual[topic]), listed(expected[topic])]
    if (is.join() === should.join()) return []
    const only = (these: readonly string[], those: readonly string[]) => these.filter((item) => !those.includes(item)).join('\n           ')
    return [`${what}: ${topic}\n    is     ${only(is, should) || 'in another order'}\n    not    ${only(should, is)}`]
  })
}

/** Everything that the table gets wrong; empty is what should be. `seed`: of the orders and the questions. */
export function faultsOf(history: History, seed: number): readonly string[] {
  const dice = new Dice(seed)
  const { records } = history
  const model = modelOfRecords(records)
  const inOrder = memberTableOf(agent, records)
  const faults = [...differenceOf('in the order of making', viewOfTable(inOrder, history), viewOfModel(model, history))]
  for (let order = 1; order <= ordersPerHistory; order += 1) {
    faults.push(...faultsOfArrival(history, inOrder, dice).map((fault) => `order ${order}: ${fault}`))
  }
  faults.push(...faultsOfWriting(history, model, inOrder, dice))
  faults.push(...faultsOfVoids(history, model, inOrder))
  faults.push(...faultsOfPasts(history, model, inOrder, dice))
  faults.push(...faultsOfRootRemoval(inOrder, dice))
  faults.push(...faultsOfSelfMadeRoles(model))
  const lived = dice.pick(history.tables)
  if (lived !== undefined) {
    const fresh = memberTableOf(agent, lived.records())
    faults.push(...differenceOf('a table that grew, against one made of its records', wholeOf(lived), wholeOf(fresh)))
  }
  return faults
}

/** Records come before their parents, in batches, some of them twice. */
function faultsOfArrival(history: History, inOrder: MemberTable, dice: Dice): readonly string[] {
  const { records } = history
  const arriving = dice.some([...records, ...dice.some(records, dice.below(4))])
  const batchMax = 1 + dice.below(arriving.length)
  const pauseAfter = dice.chance(0.3) ? dice.below(arriving.length) : -1
  const table = createMemberSet(agent)
  const faults: string[] = []
  for (let at = 0; at < arriving.length;) {
    const next = at + 1 + dice.below(batchMax)
    table.add(arriving.slice(at, next))
    if (at <= pauseAfter && pauseAfter < next) {
      const half = modelOfRecords(arriving.slice(0, next))
      // Of records that have not come the table knows nothing; the model is asked of those that have.
      const arrived = { ...history, records: arriving.slice(0, next) }
      faults.push(
        ...differenceOf(`after ${Math.min(next, arriving.length)} arrivals`, viewOfTable(table, arrived), viewOfModel(half, arrived)),
      )
    }
    at = next
  }
  faults.push(...differenceOf('compared to the order of making', wholeOf(table), wholeOf(inOrder)))
  faults.push(...differenceOf('compared to the order of making', viewOfTable(table, history), viewOfTable(inOrder, history)))
  return faults
}

function faultsOfWriting({ keysByInstance, records }: History, model: Model, table: MemberTable, dice: Dice): readonly string[] {
  const pairs = [...keysByInstance].flatMap(([instance, keys]) => keys.map((key) => [instance, key] as const))
  return Array.from({ length: questionsPerHistory }, () => {
    const [instance, key] = dice.pick(pairs) as readonly [InstanceId, PublicKey]
    const heads = dice.chance(0.05) ? ['ff'.repeat(32) as RecordHash] : dice.some(records, 1 + dice.below(3)).map(({ hash }) => hash)
    const [actual, expected] = [table.mayWrite(instance, key, heads), model.mayWrite(instance, key, heads)]
    return actual === expected ? [] : [`${instance} with ${key} naming ${heads.join(' ')} may write: ${actual}, should be ${expected}`]
  }).flat()
}

/** Void records change nothing, and waiting ones neither. */
function faultsOfVoids({ records }: History, model: Model, table: MemberTable): readonly string[] {
  const kept = new Set<string>(model.kept.map(({ id }) => id))
  const without = memberTableOf(
    agent,
    records.filter(({ hash }) => kept.has(hash)),
  )
  return differenceOf('with void records, against without', wholeOf(table), wholeOf(without))
}

/** What a record's past said is what it says with all else here. */
function faultsOfPasts({ keysByInstance, records }: History, model: Model, table: MemberTable, dice: Dice): readonly string[] {
  const ids = new Set<string>(model.kept.map(({ id }) => id))
  const record = dice.pick(records.filter(({ hash }) => ids.has(hash))) as MembershipRecord
  const closure = new Set<string>([record.hash])
  for (const other of records.toReversed()) if (closure.has(other.hash)) for (const parent of other.parents) closure.add(parent)
  const past = records.filter(({ hash }) => closure.has(hash))
  const then = memberTableOf(agent, past)
  const changed = past.filter(({ hash }) => then.standingOf(hash) !== table.standingOf(hash))
  const turned = [...keysByInstance].flatMap(([instance, keys]) =>
    keys.filter((key) => then.mayWrite(instance, key, [record.hash]) !== table.mayWrite(instance, key, [record.hash])),
  )
  return [
    ...changed.map(({ hash }) => `${hash} was ${then.standingOf(hash)} in the past of ${record.hash}, and is ${table.standingOf(hash)}`),
    ...turned.map((key) => `what ${key} may write by ${record.hash} changed as more arrived`),
  ]
}

/** Whom the root key removes, knowing everything, is gone, and its clones with it; nobody else gains or loses by it, removed before or not. */
function faultsOfRootRemoval(table: MemberTable, dice: Dice): readonly string[] {
  const target = dice.pick([...table.members, ...table.former])
  if (target === undefined) return []
  const { instance } = target
  const content = {
    agent,
    author: null,
    parents: table.citedBy(null),
    time: foundedAt,
    instance,
    role: null,
    cut: [],
    reason: '',
  }
  const removal = signRole({ ...content, number: table.nextNumber(null) }, rootKey)
  const after = memberTableOf(agent, [...table.records(), removal])
  if (after.standingOf(removal.hash) !== 'valid') return ['a removal by the root key is not lawful']
  const left = after.members.filter((member) => after.lineOf(member.instance).includes(instance))
  const others = (of: MemberTable) => [...of.members, ...of.former].filter((known) => !of.lineOf(known.instance).includes(instance))
  const placeOf = (of: MemberTable, known: InstanceId) =>
    JSON.stringify([of.member(known)?.role, of.member(known)?.keys, of.member(known)?.name])
  return [
    ...left.map((member) => `${member.instance} is still a member after the root key removed ${instance}`),
    ...others(table)
      .filter((known) => placeOf(table, known.instance) !== placeOf(after, known.instance))
      .map((known) => `the place of ${known.instance} changed as the root key removed ${instance}, knowing everything`),
  ]
}

/** Nobody is more than somebody else made it. */
function faultsOfSelfMadeRoles(model: Model): readonly string[] {
  const given = (instance: string) =>
    Math.max(0, ...[...model.standing].filter((g) => g.target === instance && g.author !== instance).map(({ level }) => level))
  return model.instances
    .filter(({ instance, level }) => level > given(instance))
    .map(({ instance, level }) => `${instance} has level ${level}, which nobody else gave it`)
}

/** What a history reached, for the summary: names are those of its lines. */
export function featuresOf(model: Model, records: readonly MembershipRecord[]): ReadonlySet<string> {
  const lawful = records.filter(({ hash }) => model.verdictOf(hash) === 'valid').map(toModel)
  const standing = new Set([...model.standing].map(({ id }) => id))
  const features = new Set<string>()
  const concurrent = (r: ModelRecord, s: ModelRecord) => r !== s && !model.isBefore(r, s) && !model.isBefore(s, r)
  const removals = lawful.filter((r) => r.type === 'role' && r.level === 0 && r.author !== null && r.author !== r.target)
  for (const r of removals)
    if (removals.some((s) => s.author === r.target && s.target === r.author && concurrent(r, s))) features.add('mutual removals')
  const isRing = (path: readonly ModelRecord[]): boolean =>
    removals.some((next) => {
      if (next.author !== path.at(-1)?.target || path.some((r) => !concurrent(r, next))) return false
      return next.target === path[0]?.author ? path.length >= 2 : path.length < 6 && isRing([...path, next])
    })
  if (removals.some((r) => isRing([r]))) features.add('rings of removals')
  const rotations = lawful.filter((r) => r.type === 'rotation')
  if (rotations.some((r) => rotations.some((s) => s.author === r.author && s.key === r.key && concurrent(r, s))))
    features.add('rotations at once')
  if (model.instances.some(({ keys, level }) => level > 0 && keys.length > 1)) features.add('members with several keys')
  if (model.instances.some(({ keys, level }) => level > 0 && keys.length === 0)) features.add('members without a key')
  for (const { state } of model.instances) features.add(`with ${state} instances`)
  if (model.instances.every(({ level }) => level < 3)) features.add('without an admin left')
  if (records.some(({ hash }) => model.verdictOf(hash) === 'void')) features.add('void records')
  if (records.some(({ hash, kind }) => model.verdictOf(hash) === 'unknown' && kind !== 'unknown'))
    features.add('records kept behind unknown ones')
  if (lawful.some((r) => !standing.has(r.id))) features.add('lawful records that do not stand')
  if (removals.some((r) => !standing.has(r.id))) features.add('removals that do not stand')
  if (lawful.some((r) => r.type === 'rename' && standing.has(r.id))) features.add('renames')
  const isRestored = (r: ModelRecord) =>
    r.type === 'role' &&
    r.level > 0 &&
    standing.has(r.id) &&
    [...model.settled].some((c) => c.level === 0 && c.target === r.target && model.isBefore(c, r))
  if (lawful.some(isRestored)) features.add('removed members taken back')
  return features
}
