/**
 * Random histories of records, honest and hostile, made under partitions, and an independent model of what they amount
 * to: it follows the definitions, recursively, over sets of hashes.
 */
import * as fc from 'fast-check'
import type { InstanceId, PublicKey, RecordHash } from '../../../src/core/index.ts'
import { instanceIdOf, roles } from '../../../src/membership/index.ts'
import type { Admission, MembershipRecord, Role } from '../../../src/membership/index.ts'
import { admit, decoded, founding, keyOf, recordOfType, rootKey } from './world.ts'

/** Device keys that take part; 1 is the first instance's. */
const actors = [1, 2, 3, 4, 5, 6]
const actor = fc.constantFrom(...actors)

const step = fc.record({
  /** `honest`: by somebody entitled; `unknown`: a record of a type that this version does not know. */
  act: fc.constantFrom('honest', 'honest', 'honest', 'wild', 'wild', 'unknown'),
  /** 0: the root key. */
  by: fc.constantFrom(0, ...actors),
  of: actor,
  role: fc.constantFrom<Role>(...roles, 'admin'),
  number: fc.integer({ min: 1, max: 6 }),
  /** What the author knew: picks among the records made before, counted back from the latest. Their closure is its view. */
  seen: fc.array(fc.nat({ max: 8 }), { minLength: 1, maxLength: 3 }),
})
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** Records of one agent, parents before children, now and then one of them twice; the first two found it. */
export const history: fc.Arbitrary<readonly MembershipRecord[]> = fc.array(step, { minLength: 1, maxLength: 14 }).map((steps) => {
  const records: MembershipRecord[] = [...founding]
  for (const next of steps) records.push(recordOf(next, records))
  return records
})

function recordOf(next: Step, earlier: readonly MembershipRecord[]): MembershipRecord {
  const seen = next.seen.map((back) => earlier[Math.max(0, earlier.length - 1 - back)] as MembershipRecord)
  if (next.act === 'honest') {
    const { standings } = modelOf(earlier)
    const admins = earlier.filter(
      (record) => record.kind === 'admission' && record.role === 'admin' && standings.get(record.hash) === 'valid',
    )
    const own = admins[next.by % admins.length] as Admission
    const by = keyOf(actors.find((number) => keyOf(number).publicKey === own.claim.key) as number)
    const standing = seen.filter((record) => standings.get(record.hash) !== 'void')
    return admit({ by, of: keyOf(next.of), role: next.role, number: earlier.length, parents: [own, ...standing] })
  }
  const by = next.by === 0 ? rootKey : keyOf(next.by)
  if (next.act === 'unknown') return decoded(recordOfType(99, by, seen, [next.number]))
  return admit({ by, ...(next.by === 0 ? { author: null } : {}), of: keyOf(next.of), role: next.role, number: next.number, parents: seen })
}

/** All instances that a history can speak of, with their keys. */
export const everyone: readonly { readonly instance: InstanceId; readonly key: PublicKey }[] = actors.map((number) => {
  const key = keyOf(number).publicKey
  return { instance: instanceIdOf(key), key }
})

export interface Model {
  readonly standings: ReadonlyMap<RecordHash, 'valid' | 'unknown' | 'void' | 'waiting'>
  readonly rolesByInstance: ReadonlyMap<InstanceId, Role>
  readonly heads: readonly RecordHash[]
  mayWrite(instance: InstanceId, heads: readonly RecordHash[]): 'yes' | 'no' | 'unknown-records'
}

export function modelOf(all: readonly MembershipRecord[]): Model {
  const byHash = new Map(all.map((record) => [record.hash, record]))
  const records = [...byHash.values()]

  const isComplete = (hash: RecordHash): boolean => {
    const record = byHash.get(hash)
    return record !== undefined && record.parents.every(isComplete)
  }
  const closure = (hashes: readonly RecordHash[]): ReadonlySet<RecordHash> =>
    new Set(hashes.flatMap((hash) => [hash, ...closure(byHash.get(hash)?.parents ?? [])]))

  const standings = new Map<RecordHash, 'valid' | 'unknown' | 'void' | 'waiting'>()
  const standing = (hash: RecordHash): 'valid' | 'unknown' | 'void' | 'waiting' => {
    const known = standings.get(hash) ?? (isComplete(hash) ? judge(byHash.get(hash) as MembershipRecord) : 'waiting')
    standings.set(hash, known)
    return known
  }
  const grantsIn = (past: ReadonlySet<RecordHash>): readonly Admission[] =>
    [...past]
      .map((hash) => byHash.get(hash))
      .filter((record): record is Admission => record?.kind === 'admission' && standing(record.hash) === 'valid')
  const judge = (record: MembershipRecord): 'valid' | 'unknown' | 'void' => {
    if (record.kind === 'genesis') return 'valid'
    const past = closure(record.parents)
    if ([...past].some((hash) => standing(hash) === 'void')) return 'void'
    const otherwise = [...past].some((hash) => standing(hash) === 'unknown') ? 'unknown' : 'void'
    const grants = grantsIn(past)
    const isRoot = record.author === null && record.key === rootKey.publicKey
    const ofAuthor = grants.filter((grant) => grant.instance === record.author && grant.claim.key === record.key)
    if (record.kind === 'unknown') return isRoot || ofAuthor.length > 0 ? 'unknown' : otherwise
    if (!isRoot && !ofAuthor.some((grant) => grant.role === 'admin')) return otherwise
    if (record.kind !== 'admission') throw new Error('this model knows admissions only')
    return grants.some((grant) => grant.author === record.author && grant.number >= record.number) ? otherwise : 'valid'
  }

  const kept = records.map((record) => record.hash).filter((hash) => ['valid', 'unknown'].includes(standing(hash)))
  const strongest = (grants: readonly Admission[], instance: InstanceId) =>
    roles.findLast((role) => grants.some((grant) => grant.instance === instance && grant.role === role))
  const grantsKept = grantsIn(new Set(kept))
  return {
    standings: new Map(records.map((record) => [record.hash, standing(record.hash)])),
    rolesByInstance: new Map(
      everyone.flatMap(({ instance }) => {
        const role = strongest(grantsKept, instance)
        return role === undefined ? [] : [[instance, role] as const]
      }),
    ),
    heads: kept.filter((hash) => !kept.some((other) => other !== hash && closure([other]).has(hash))).toSorted(),
    mayWrite(instance, heads) {
      if (heads.some((hash) => standing(hash) === 'void')) return 'no'
      if (heads.some((hash) => standing(hash) === 'waiting')) return 'unknown-records'
      const past = closure(heads)
      const role = strongest(grantsIn(past), instance)
      if (role === 'writer' || role === 'admin') return 'yes'
      return [...past].some((hash) => standing(hash) === 'unknown') ? 'unknown-records' : 'no'
    },
  }
}
