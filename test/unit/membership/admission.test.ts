import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SelfsameError, decode, encode } from '../../../src/core/index.ts'
import type { Encodable, PublicKey, SigningKey } from '../../../src/core/index.ts'
import {
  createInvite,
  createMemberSet,
  decodeInvites,
  encodeInvites,
  encodeJoinRequest,
  encodeJoinResponse,
  foundAgent,
  instanceIdOf,
  inviteMillisecondsMax,
  inviteUsesMax,
  isOpenInvite,
  joinRefusals,
  judgeJoinRequest,
  readJoinResponse,
  roles,
} from '../../../src/membership/index.ts'
import type { Invite, JoinRefusal, JoinVerdict, MemberSet, Role } from '../../../src/membership/index.ts'
import { admit, agent, first, firstAdmission, firstKey, foundedAt, founding, keyOf, randomOf } from './world.ts'

const hour = 3_600_000
const now = foundedAt + hour
const pi = keyOf(2)
const server = keyOf(3)

/** An instance that can invite, as its daemon would hold it. */
class Issuer {
  readonly table: MemberSet = createMemberSet(agent)
  readonly invites = new Map<PublicKey, Invite>()
  readonly key: SigningKey

  constructor(key: SigningKey = firstKey) {
    this.key = key
    this.table.add(founding)
  }

  invite(request: { role?: Role; uses?: number; name?: string } = {}): { readonly agent: typeof agent; readonly seed: Uint8Array } {
    const { role = 'writer', uses = 1, name = null } = request
    const { invite, key } = createInvite({ role, durationMilliseconds: hour, uses, name }, now, randomOf(this.invites.size + 10))
    this.invites.set(invite.key, invite)
    return { agent, seed: key.seed }
  }

  judge(request: Uint8Array, from: SigningKey, at: number = now): JoinVerdict {
    const issuer = { instance: instanceIdOf(this.key.publicKey), key: this.key }
    const verdict = judgeJoinRequest(request, { table: this.table, invites: this.invites, issuer, from: from.publicKey, now: at })
    if (verdict.type === 'admitted') {
      this.table.add([verdict.admission])
      this.invites.set(verdict.invite.key, verdict.invite)
    }
    return verdict
  }
}

function refusalOf(verdict: JoinVerdict): JoinRefusal | undefined {
  return verdict.type === 'refused' ? verdict.refusal : undefined
}

describe('founding an agent', () => {
  test('gives records that make the first instance its admin', () => {
    const founded = foundAgent({ agentName: 'kevin', instanceName: 'laptop', rootKey: keyOf(8), deviceKey: pi }, now, randomOf(3))
    const table = createMemberSet(founded.agent)
    table.add(founded.records)
    expect(table.members).toMatchObject([{ key: pi.publicKey, role: 'admin', name: 'laptop', label: 'laptop' }])
  })
})

describe('joining', () => {
  test('ends with both sides holding the same table, for every role and name', () => {
    fc.assert(
      fc.property(fc.constantFrom(...roles), fc.option(fc.constant('given'), { nil: undefined }), (role, name) => {
        const issuer = new Issuer()
        const ticket = issuer.invite({ role, ...(name === undefined ? {} : { name }) })
        expect(issuer.judge(encodeJoinRequest(ticket, pi, 'own'), pi).type).toBe('admitted')
        const answer = readJoinResponse(encodeJoinResponse(issuer.table.records()), agent, pi.publicKey)
        if (!answer.ok) throw new Error(answer.reason)
        expect(answer.value.member).toMatchObject({
          instance: instanceIdOf(pi.publicKey),
          role,
          name: name ?? 'own',
          admittedBy: first,
          time: now,
        })
        expect(answer.value.records).toEqual(issuer.table.records())
      }),
    )
  })

  test('lets who joined as an admin invite the next, and counts on', () => {
    const issuer = new Issuer()
    issuer.judge(encodeJoinRequest(issuer.invite({ role: 'admin' }), pi, 'pi'), pi)
    const next = new Issuer(pi)
    next.table.add(issuer.table.records())
    expect(next.judge(encodeJoinRequest(next.invite(), server, 'server'), server)).toMatchObject({ admission: { number: 1 } })
    expect(issuer.judge(encodeJoinRequest(issuer.invite(), keyOf(4), 'fourth'), keyOf(4))).toMatchObject({ admission: { number: 2 } })
    issuer.table.add(next.table.records())
    expect(issuer.table.members.map((member) => member.name)).toEqual(['laptop', 'pi', 'server', 'fourth'])
  })

  test('twice with one request, because the answer was lost, uses up nothing and changes nothing', () => {
    const issuer = new Issuer()
    const request = encodeJoinRequest(issuer.invite(), pi, 'pi')
    issuer.judge(request, pi)
    const records = issuer.table.records()
    expect(issuer.judge(request, pi)).toEqual({ type: 'member' })
    expect(issuer.judge(request, pi, now + 2 * hour)).toEqual({ type: 'member' })
    expect(issuer.table.records()).toEqual(records)
  })

  test('admits exactly as many as the ticket has uses, whoever comes and however often', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(fc.integer({ min: 2, max: 8 }), { maxLength: 20 }), (uses, joiners) => {
        const issuer = new Issuer()
        const ticket = issuer.invite({ uses })
        const admitted = new Set<number>()
        for (const joiner of joiners) {
          const verdict = issuer.judge(encodeJoinRequest(ticket, keyOf(joiner), 'pi'), keyOf(joiner))
          const expected = admitted.has(joiner) ? 'member' : admitted.size < uses ? 'admitted' : 'refused'
          expect(verdict.type).toBe(expected)
          if (verdict.type === 'admitted') admitted.add(joiner)
          else if (verdict.type === 'refused') expect(verdict.refusal).toBe('used-up')
        }
        expect(issuer.table.members).toHaveLength(1 + admitted.size)
      }),
      { numRuns: 50 },
    )
  })
})

describe('a join request is refused', () => {
  test('when the ticket has expired by the issuer’s clock', () => {
    const issuer = new Issuer()
    const request = encodeJoinRequest(issuer.invite(), pi, 'pi')
    expect(refusalOf(issuer.judge(request, pi, now + hour))).toBe('expired')
    expect(issuer.judge(request, pi, now + hour - 1).type).toBe('admitted')
  })

  test('when it comes over a connection of another key', () => {
    const issuer = new Issuer()
    const request = encodeJoinRequest(issuer.invite(), pi, 'pi')
    expect(refusalOf(issuer.judge(request, server))).toBe('other-key')
    expect(issuer.table.members).toHaveLength(1)
  })

  test('when another joiner’s proof is put under one’s own key', () => {
    const issuer = new Issuer()
    const ticket = issuer.invite()
    const [version, to, [, , invite], name] = fieldsOf(encodeJoinRequest(ticket, pi, 'pi'))
    const [, , [key, consent]] = fieldsOf(encodeJoinRequest({ agent, seed: new Uint8Array(32) }, server, 'server'))
    const mixed = encode([version, to, [key, consent, invite], name])
    expect(refusalOf(issuer.judge(mixed, server))).toBe('bad-proof')
  })

  test('when it proves no invite', () => {
    const issuer = new Issuer()
    const [version, to, [key, consent], name] = fieldsOf(encodeJoinRequest(issuer.invite(), pi, 'pi'))
    expect(refusalOf(issuer.judge(encode([version, to, [key, consent, null], name]), pi))).toBe('bad-proof')
  })

  test('when the issuer never made that invite', () => {
    const issuer = new Issuer()
    expect(refusalOf(issuer.judge(encodeJoinRequest({ agent, seed: new Uint8Array(32).fill(9) }, pi, 'pi'), pi))).toBe('unknown-invite')
  })

  test('when it is for another agent', () => {
    const issuer = new Issuer()
    const { seed } = issuer.invite()
    expect(refusalOf(issuer.judge(encodeJoinRequest({ agent: '0'.repeat(64) as typeof agent, seed }, pi, 'pi'), pi))).toBe('other-agent')
  })

  test('when the issuer is no admin', () => {
    const issuer = new Issuer(server)
    issuer.table.add([admit({ by: firstKey, of: server, parents: [firstAdmission], role: 'writer' })])
    expect(refusalOf(issuer.judge(encodeJoinRequest(issuer.invite(), pi, 'pi'), pi))).toBe('not-admin')
  })

  test('when it is malformed, cut short, of another version, or anything at all', () => {
    const issuer = new Issuer()
    const request = encodeJoinRequest(issuer.invite(), pi, 'pi')
    const [, ...rest] = fieldsOf(request)
    const of = (bytes: Uint8Array) => refusalOf(issuer.judge(bytes, pi))
    for (let length = 0; length < request.length; length++) expect(of(request.subarray(0, length))).toBe('malformed')
    expect(of(encode([2, ...rest]))).toBe('malformed')
    expect(of(encode([1, rest[0], rest[1], 'a\u202eb']))).toBe('malformed')
    expect(of(new Uint8Array(1 << 20))).toBe('malformed')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(of(bytes)).toBe('malformed')
      }),
    )
  })

  test('and no refusal leaves a trace', () => {
    const issuer = new Issuer()
    const ticket = issuer.invite()
    const invites = new Map(issuer.invites)
    issuer.judge(encodeJoinRequest(ticket, pi, 'pi'), server)
    issuer.judge(encodeJoinRequest(ticket, pi, 'pi'), pi, now + hour)
    expect(issuer.invites).toEqual(invites)
    expect(issuer.table.records()).toEqual(founding)
  })
})

describe('the answer to a join request', () => {
  const issuer = new Issuer()
  issuer.judge(encodeJoinRequest(issuer.invite(), pi, 'pi'), pi)
  const records = issuer.table.records()
  const read = (bytes: Uint8Array, key: SigningKey = pi) => readJoinResponse(bytes, agent, key.publicKey)

  test('says in words why not', () => {
    for (const [refusal, words] of Object.entries(joinRefusals)) {
      expect(read(encodeJoinResponse(refusal as JoinRefusal))).toEqual({ ok: false, reason: words })
    }
    expect(read(encode([1, 'toString']))).toEqual({ ok: false, reason: 'the other instance refused for a reason of a newer version' })
  })

  test('is not believed where a record is missing, forged, or of another agent', () => {
    for (const missing of records) expect(read(encodeJoinResponse(records.filter((record) => record !== missing))).ok).toBe(false)
    const byStranger = admit({ by: server, of: server, parents: [firstAdmission] })
    expect(read(encodeJoinResponse([...founding, byStranger]), server).ok).toBe(false)
    expect(readJoinResponse(encodeJoinResponse(records), '0'.repeat(64) as typeof agent, pi.publicKey).ok).toBe(false)
    const forged = records.map((record) => ({
      ...record,
      bytes: record.bytes.map((byte, index) => (index === record.bytes.length - 1 ? byte ^ 1 : byte)),
    }))
    expect(read(encodeJoinResponse(forged))).toEqual({ ok: false, reason: expect.stringMatching(/signature/u) })
  })

  test('says where other members are, and where nobody else is', () => {
    const places = new Map([
      [firstKey.publicKey, ['/ip4/192.0.2.1/tcp/4001', 'no address']],
      [pi.publicKey, ['/ip4/192.0.2.2/tcp/4001']],
      [server.publicKey, ['/ip4/192.0.2.3/tcp/4001']],
    ])
    const answer = read(encodeJoinResponse(records, places))
    expect(answer.ok && answer.value.addresses).toEqual(new Map([[firstKey.publicKey, ['/ip4/192.0.2.1/tcp/4001']]]))
    const bytes = records.map((record) => record.bytes)
    expect(read(encode([1, bytes])).ok).toBe(true)
    for (const told of [null, 'x', [[firstKey.publicKey, []]], [[new Uint8Array(32), ['x']]], [[new Uint8Array(31), []]]])
      expect(read(encode([1, bytes, told])).ok).toBe(false)
  })

  test('is not believed where it admits another', () => {
    expect(read(encodeJoinResponse(records), server).ok).toBe(false)
  })

  test('is refused without throwing where it is anything at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(read(bytes).ok).toBe(false)
      }),
    )
    for (const value of [[1, [1]], [1, null], [1, []], [2, []], [], null]) expect(read(encode(value as Encodable)).ok).toBe(false)
  })
})

describe('an invite', () => {
  const request = { role: 'writer', durationMilliseconds: hour, uses: 1, name: null } as const

  test('is open until it expires or is used up', () => {
    const { invite } = createInvite(request, now, randomOf(5))
    expect(isOpenInvite(invite, now)).toBe(true)
    expect(isOpenInvite(invite, now + hour)).toBe(false)
    expect(isOpenInvite({ ...invite, usesLeft: 0 }, now)).toBe(false)
  })

  test.each([
    { durationMilliseconds: 0 },
    { durationMilliseconds: inviteMillisecondsMax + 1 },
    { durationMilliseconds: Number.NaN },
    { uses: 0 },
    { uses: inviteUsesMax + 1 },
    { uses: 1.5 },
    { name: '' },
    { name: 'a\nb' },
  ])('is not made with %j', (wrong) => {
    expect(() => createInvite({ ...request, ...wrong }, now, randomOf(5))).toThrow(SelfsameError)
  })

  test('is stored and read again, without its secret', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            seed: fc.integer({ min: 1, max: 1_000_000 }),
            role: fc.constantFrom(...roles),
            durationMilliseconds: fc.integer({ min: 1, max: inviteMillisecondsMax }),
            uses: fc.integer({ min: 1, max: inviteUsesMax }),
            name: fc.option(fc.constant('pi')),
          }),
          { maxLength: 10 },
        ),
        (requests) => {
          const made = requests.map(({ seed, ...rest }) => createInvite(rest, now, randomOf(seed)))
          const invites = new Map(made.map(({ invite }) => [invite.key, invite]))
          const bytes = encodeInvites(invites.values(), now)
          expect(decodeInvites(bytes)).toEqual({ ok: true, value: invites })
          for (const { key } of made) expect(Buffer.from(bytes).includes(Buffer.from(key.seed))).toBe(false)
        },
      ),
      { numRuns: 50 },
    )
  })

  test('that is closed is forgotten first when there are too many', () => {
    const { invite } = createInvite(request, now, randomOf(5))
    const many = Array.from({ length: 1_200 }, (_, index): Invite => {
      const key = index.toString(16).padStart(64, '0') as PublicKey
      return { ...invite, key, usesLeft: index < 600 ? 0 : 1, expiresAt: now + hour + index }
    })
    const kept = decodeInvites(encodeInvites(many, now))
    expect(kept.ok && kept.value.size).toBe(1_000)
    expect(kept.ok && many.slice(600).every((open) => kept.value.has(open.key))).toBe(true)
  })

  test('list that is damaged is refused without throwing', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => void decodeInvites(bytes)))
    expect(decodeInvites(encode([[1]])).ok).toBe(false)
    expect(decodeInvites(encode(null)).ok).toBe(false)
  })
})

type Fields = [version: Encodable, agent: Encodable, claim: [key: Encodable, consent: Encodable, invite: Encodable], name: Encodable]

/** The fields of a join request, to put together wrongly. */
function fieldsOf(request: Uint8Array): Fields {
  const value = decode(request)
  if (!value.ok) throw new Error(value.reason)
  return value.value as Fields
}
