import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { headerRecordsMax } from '../../../src/core/index.ts'
import type { InstanceId, PublicKey, RecordHash } from '../../../src/core/index.ts'
import { createMemberSet, foundAgent, instanceIdOf, memberTableOf } from '../../../src/membership/index.ts'
import type { Admission, Genesis, MemberTable, MembershipRecord } from '../../../src/membership/index.ts'
import { everyone, history, modelOf } from './history.ts'
import {
  admit,
  agent,
  decoded,
  first,
  firstAdmission,
  firstKey,
  founding,
  foundedAt,
  genesis,
  keyOf,
  randomOf,
  recordOfType,
  rootKey,
} from './world.ts'

const pi = keyOf(2)
const piId = instanceIdOf(pi.publicKey)
const server = keyOf(3)
const serverId = instanceIdOf(server.publicKey)

/** All that a table answers about these records, in a form to compare. */
function answersOf(table: MemberTable, records: readonly MembershipRecord[]): unknown {
  const hashes = [...new Set(records.map((record) => record.hash))].toSorted()
  const pairs: readonly (readonly RecordHash[])[] = hashes.flatMap((hash, index) => [
    [hash],
    [hash, hashes[(index * 7 + 1) % hashes.length] as RecordHash],
  ])
  return {
    genesis: table.genesis,
    members: table.members,
    byInstance: everyone.map(({ instance }) => table.member(instance)),
    byKey: everyone.map(({ key }) => table.memberByKey(key)),
    cited: [null, ...everyone.map(({ instance }) => instance)].map((author) => table.citedBy(author)),
    numbers: [null, ...everyone.map(({ instance }) => instance)].map((author) => table.nextNumber(author)),
    standings: hashes.map((hash) => table.standingOf(hash)),
    records: new Set(table.records()),
    digest: table.digest(),
    mayWrite: everyone.map(({ instance, key }) => pairs.map((heads) => table.mayWrite(instance, key, heads))),
  }
}

/** A history, and the same records again in another order, some of them more than once, cut into batches. */
const shuffledHistory = history.chain((records) =>
  fc.record({
    records: fc.constant(records),
    shuffled: fc
      .shuffledSubarray([...records, ...records], { minLength: records.length })
      .map((some) => [...some, ...records.toReversed()]),
    batch: fc.integer({ min: 1, max: 7 }),
  }),
)

describe('the member table is a function of the set of records', () => {
  test('whatever their order, repetition and batches', () => {
    fc.assert(
      fc.property(shuffledHistory, ({ records, shuffled, batch }) => {
        const set = createMemberSet(agent)
        const judged: MembershipRecord[] = []
        for (let at = 0; at < shuffled.length; at += batch) judged.push(...set.add(shuffled.slice(at, at + batch)))
        expect(answersOf(set, records)).toEqual(answersOf(memberTableOf(agent, records), records))
        expect(judged.map((record) => record.hash).toSorted()).toEqual([...new Set(records.map((record) => record.hash))].toSorted())
      }),
      { numRuns: 150 },
    )
  })

  test('equal to a model that follows the definitions, also while records are missing', () => {
    fc.assert(
      fc.property(history, fc.func(fc.integer({ min: 0, max: 9 })), (records, luck) => {
        const arrived = records.filter((record) => luck(record.hash) !== 0)
        const table = memberTableOf(agent, arrived)
        const model = modelOf(arrived)
        for (const [hash, standing] of model.standings) expect(table.standingOf(hash)).toBe(standing)
        expect(new Map(table.members.map((member) => [member.instance, member.role]))).toEqual(model.rolesByInstance)
        expect(table.citedBy(null)).toEqual(model.heads)
        for (const { instance, key } of everyone) {
          for (const record of records) expect(table.mayWrite(instance, key, [record.hash])).toBe(model.mayWrite(instance, [record.hash]))
          expect(table.mayWrite(instance, key, model.heads)).toBe(model.mayWrite(instance, model.heads))
        }
      }),
      { numRuns: 150 },
    )
  })

  test('and once it says whether an instance may write by some heads, it never says otherwise', () => {
    fc.assert(
      fc.property(shuffledHistory, ({ records, shuffled }) => {
        const set = createMemberSet(agent)
        const said = new Map<string, string>()
        for (const record of shuffled) {
          set.add([record])
          for (const { instance, key } of everyone) {
            for (const { hash } of records) {
              const verdict = set.mayWrite(instance, key, [hash])
              expect([verdict, 'unknown-records']).toContain(said.get(instance + hash) ?? verdict)
              if (verdict !== 'unknown-records') said.set(instance + hash, verdict)
            }
          }
        }
      }),
      { numRuns: 25 },
    )
  })

  test('in which parents come before children, and one of those who admitted a member before the member', () => {
    fc.assert(
      fc.property(shuffledHistory, ({ shuffled }) => {
        const table = memberTableOf(agent, shuffled)
        const seen = new Set<RecordHash>()
        for (const record of table.records()) {
          expect(record.parents.every((parent) => seen.has(parent))).toBe(true)
          seen.add(record.hash)
        }
        const members = new Set<InstanceId | null>([null])
        for (const { instance } of table.members) {
          const admissions = table
            .records()
            .filter((record): record is Admission => record.kind === 'admission' && record.instance === instance)
          expect(admissions.some(({ author }) => author !== instance && members.has(author))).toBe(true)
          members.add(instance)
        }
      }),
      { numRuns: 60 },
    )
  })
})

describe('an admission counts', () => {
  test('when the root key signed it', () => {
    const table = memberTableOf(agent, founding)
    expect(table.members).toMatchObject([
      {
        instance: first,
        key: firstKey.publicKey,
        role: 'admin',
        name: 'laptop',
        admittedBy: null,
        record: firstAdmission.hash,
        time: foundedAt,
      },
    ])
    expect(table.genesis?.name).toBe('kevin')
  })

  test('when an admin in its past signed it', () => {
    const byFirst = admit({ by: firstKey, of: pi, parents: [firstAdmission] })
    const table = memberTableOf(agent, [...founding, byFirst])
    expect(table.memberByKey(pi.publicKey)).toMatchObject({ instance: piId, role: 'writer', admittedBy: first })
    expect(table.member(piId)).toBe(table.memberByKey(pi.publicKey))
  })

  test.each(['reader', 'writer'] as const)('not when a %s signed it', (role) => {
    const piAdmission = admit({ by: firstKey, of: pi, parents: [firstAdmission], role })
    const byPi = admit({ by: pi, of: server, parents: [piAdmission] })
    const table = memberTableOf(agent, [...founding, piAdmission, byPi])
    expect(table.member(serverId)).toBeUndefined()
    expect(table.standingOf(byPi.hash)).toBe('void')
  })

  test('not when a stranger signed it, in whoever’s name', () => {
    const inOwnName = admit({ by: pi, of: server, parents: [firstAdmission] })
    const asRoot = admit({ by: pi, author: null, of: server, parents: [firstAdmission] })
    const asFirst = admit({ by: pi, author: first, of: server, parents: [firstAdmission], role: 'admin' })
    expect(memberTableOf(agent, [...founding, inOwnName, asRoot, asFirst]).members).toHaveLength(1)
  })

  test('not when it is backdated to before its author was admitted', () => {
    const piAdmission = admit({ by: firstKey, of: pi, parents: [firstAdmission], role: 'admin' })
    const backdated = admit({ by: pi, of: server, parents: [firstAdmission] })
    const table = memberTableOf(agent, [...founding, piAdmission, backdated])
    expect(table.member(serverId)).toBeUndefined()
    expect(table.citedBy(first)).toEqual([piAdmission.hash])
  })

  test('not when its author became an admin only beside it', () => {
    const asWriter = admit({ by: firstKey, of: pi, parents: [firstAdmission], role: 'writer' })
    const asAdmin = admit({ by: firstKey, of: pi, parents: [asWriter], role: 'admin', number: 2 })
    const beside = admit({ by: pi, of: server, parents: [asWriter] })
    const table = memberTableOf(agent, [...founding, asWriter, asAdmin, beside])
    expect(table.member(piId)?.role).toBe('admin')
    expect(table.member(serverId)).toBeUndefined()
  })

  test('not when its number is not above those its author gave before', () => {
    const second = admit({ by: firstKey, of: pi, parents: [firstAdmission], number: 2 })
    const repeated = admit({ by: firstKey, of: server, parents: [second], number: 2 })
    const table = memberTableOf(agent, [...founding, second, repeated])
    expect(table.standingOf(repeated.hash)).toBe('void')
    expect(table.nextNumber(first)).toBe(3)
    expect(table.nextNumber(null)).toBe(2)
  })

  test('not when it names a record that is void', () => {
    const stranger = admit({ by: pi, of: pi, parents: [firstAdmission] })
    const upon = admit({ by: firstKey, of: server, parents: [stranger] })
    expect(memberTableOf(agent, [...founding, stranger, upon]).standingOf(upon.hash)).toBe('void')
  })

  test('not when it belongs to another agent', () => {
    const other = foundAgent({ agentName: 'kevin', instanceName: 'laptop', rootKey, deviceKey: firstKey }, foundedAt, randomOf(2))
    const elsewhere = admit({ by: firstKey, of: pi, parents: other.records, agent: other.agent })
    const set = createMemberSet(agent)
    expect(set.add([...other.records, ...founding, elsewhere])).toEqual(founding)
    expect(set.members).toHaveLength(1)
    expect(set.standingOf(elsewhere.hash)).toBeUndefined()
  })

  test('only from when its parents are here', () => {
    const piAdmission = admit({ by: firstKey, of: pi, parents: [firstAdmission], role: 'admin' })
    const serverAdmission = admit({ by: pi, of: server, parents: [piAdmission] })
    const set = createMemberSet(agent)
    expect(set.add([serverAdmission, firstAdmission, genesis])).toEqual([genesis, firstAdmission])
    expect(set.standingOf(serverAdmission.hash)).toBe('waiting')
    expect(set.member(serverId)).toBeUndefined()
    expect(set.records()).toEqual(founding)
    expect(set.add([piAdmission])).toEqual([piAdmission, serverAdmission])
    expect(set.member(serverId)?.role).toBe('writer')
  })
})

describe('an instance that was admitted more than once', () => {
  test('keeps its first place and has the strongest of its roles', () => {
    const asReader = admit({ by: firstKey, of: pi, parents: [firstAdmission], role: 'reader', name: 'before' })
    const asWriter = admit({ by: firstKey, of: pi, parents: [asReader], role: 'writer', name: 'after', number: 2 })
    expect(memberTableOf(agent, [...founding, asReader, asWriter]).member(piId)).toMatchObject({
      role: 'writer',
      name: 'before',
      record: asReader.hash,
    })
  })

  test('cannot become its own ancestor', () => {
    const piAdmission = admit({ by: firstKey, of: pi, parents: [firstAdmission], role: 'admin' })
    const back = admit({ by: pi, of: firstKey, parents: [piAdmission] })
    expect(memberTableOf(agent, [...founding, piAdmission, back]).members.map((member) => member.admittedBy)).toEqual([null, first])
  })
})

describe('members are listed', () => {
  test('by seniority: the admitter first, then by its count, each followed by its own', () => {
    const a = admit({ by: firstKey, of: keyOf(2), parents: [firstAdmission], role: 'admin', number: 1, name: 'a' })
    const b = admit({ by: firstKey, of: keyOf(3), parents: [a], role: 'admin', number: 2, name: 'b' })
    const ofB = admit({ by: keyOf(3), of: keyOf(4), parents: [b], name: 'of b' })
    const ofA = admit({ by: keyOf(2), of: keyOf(5), parents: [ofB], name: 'of a' })
    expect(memberTableOf(agent, [...founding, a, b, ofB, ofA]).members.map((member) => member.name)).toEqual([
      'laptop',
      'a',
      'of a',
      'b',
      'of b',
    ])
  })

  test('under labels of which no two are equal: the most senior of a name keeps it', () => {
    const records: MembershipRecord[] = [...founding]
    for (const [index, name] of ['pi', 'pi', 'laptop', 'pi'].entries()) {
      records.push(admit({ by: firstKey, of: keyOf(index + 2), parents: [records.at(-1) as MembershipRecord], number: index + 1, name }))
    }
    const digits = (number: number) => instanceIdOf(keyOf(number).publicKey).slice(0, 4)
    const labels = memberTableOf(agent, records).members.map((member) => member.label)
    expect(labels).toEqual(['laptop', 'pi', `pi#${digits(3)}`, `laptop#${digits(4)}`, `pi#${digits(5)}`])
  })

  test('under longer labels where the first digits are the same', () => {
    const [, base] = founding
    const records = ['a1b2c3', 'a1b2c4', 'a1b2c5'].map((start, index): Admission => {
      const key = index.toString(16).padStart(64, '0') as PublicKey
      const instance = start.padEnd(32, '0') as typeof base.instance
      return {
        ...base,
        hash: key as string as RecordHash,
        claim: { ...base.claim, key },
        instance,
        name: 'pi',
        number: index + 1,
        parents: [genesis.hash],
      }
    })
    expect(memberTableOf(agent, [genesis, ...records]).members.map((member) => member.label)).toEqual(['pi', 'pi#a1b2', 'pi#a1b2c'])
  })
})

describe('the right to write', () => {
  const piAdmission = admit({ by: firstKey, of: pi, parents: [firstAdmission] })
  const table = memberTableOf(agent, [...founding, piAdmission])

  test('is there from the admission on, by the heads that an envelope names', () => {
    expect(table.mayWrite(piId, pi.publicKey, [piAdmission.hash])).toBe('yes')
    expect(table.mayWrite(first, firstKey.publicKey, [piAdmission.hash])).toBe('yes')
    expect(table.mayWrite(piId, pi.publicKey, [firstAdmission.hash])).toBe('no')
    expect(table.mayWrite(piId, pi.publicKey, [])).toBe('no')
  })

  test('belongs to the key that was admitted', () => {
    expect(table.mayWrite(piId, server.publicKey, [piAdmission.hash])).toBe('no')
  })

  test('is not a reader’s', () => {
    const reader = admit({ by: firstKey, of: server, parents: [piAdmission], role: 'reader', number: 2 })
    expect(memberTableOf(agent, [...founding, piAdmission, reader]).mayWrite(serverId, server.publicKey, [reader.hash])).toBe('no')
  })

  test('cannot be told while a named record is missing', () => {
    const later = admit({ by: firstKey, of: server, parents: [piAdmission], number: 2 })
    expect(table.mayWrite(piId, pi.publicKey, [piAdmission.hash, later.hash].toSorted())).toBe('unknown-records')
  })
})

describe('a record of a type that this version does not know', () => {
  const future = decoded(recordOfType(77, firstKey, [firstAdmission], ['anything', 1]))

  test('is kept, sent on and named as a head, without effect', () => {
    const table = memberTableOf(agent, [...founding, future])
    expect(table.standingOf(future.hash)).toBe('unknown')
    expect(table.records()).toContain(future)
    expect(table.citedBy(first)).toEqual([future.hash])
    expect(table.members).toHaveLength(1)
  })

  test('leaves what stands on it open where it could matter', () => {
    const byStranger = admit({ by: pi, of: server, parents: [future] })
    const byFirst = admit({ by: firstKey, of: server, parents: [future] })
    const table = memberTableOf(agent, [...founding, future, byStranger, byFirst])
    expect(table.standingOf(byStranger.hash)).toBe('unknown')
    expect(table.standingOf(byFirst.hash)).toBe('valid')
    expect(table.mayWrite(piId, pi.publicKey, [future.hash])).toBe('unknown-records')
  })

  test('is void from a stranger', () => {
    const strange = decoded(recordOfType(77, pi, [firstAdmission], null))
    expect(memberTableOf(agent, [...founding, strange]).standingOf(strange.hash)).toBe('void')
  })
})

test('an author names no more heads than a header can hold, and its own admission is among what they cover', () => {
  const piAdmission = admit({ by: firstKey, of: pi, parents: [firstAdmission] })
  const crowd = Array.from({ length: headerRecordsMax + 10 }, (_, index) => decoded(recordOfType(77, firstKey, [firstAdmission], index)))
  const table = memberTableOf(agent, [...founding, piAdmission, ...crowd])
  const cited = table.citedBy(piId)
  expect(cited).toHaveLength(headerRecordsMax)
  expect(cited).toEqual(cited.toSorted())
  expect(table.mayWrite(piId, pi.publicKey, cited)).toBe('yes')
})

describe('a table of 4,000 records is made before the test runs out of time', () => {
  /** Signatures are not what is measured: one admission again and again, told apart by made-up hashes and keys. */
  function chain(authorOf: (previous: Admission) => Pick<Admission, 'author' | 'key' | 'number'>): readonly MembershipRecord[] {
    const records: [Genesis, Admission, ...Admission[]] = [...founding]
    for (let count = 1; records.length < 4_000; count++) {
      const previous = records.at(-1) as Admission
      const key = (count + 1_000_000).toString(16).padStart(64, '0') as PublicKey
      const hash = count.toString(16).padStart(64, '0') as RecordHash
      const claim = { ...previous.claim, key }
      records.push({ ...previous, ...authorOf(previous), hash, parents: [previous.hash], instance: instanceIdOf(key), claim })
    }
    return records
  }

  test.each([
    [
      'when one instance admits all',
      chain((previous) => ({ author: first, key: firstKey.publicKey, number: previous.author === null ? 1 : previous.number + 1 })),
    ],
    ['when each admits the next', chain((previous) => ({ author: previous.instance, key: previous.claim.key, number: 1 }))],
  ])('%s, in order and backwards', (_, records) => {
    for (const ordered of [records, records.toReversed()]) {
      expect(memberTableOf(agent, ordered).members).toHaveLength(3_999)
    }
  })
})
