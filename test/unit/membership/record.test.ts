import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decode, encode, headerRecordsMax, recordBytesMax } from '../../../src/core/index.ts'
import type { Encodable, RecordHash } from '../../../src/core/index.ts'
import {
  claimToWire,
  decodeRecord,
  instanceIdOf,
  isMemberName,
  recordHash,
  roles,
  signAdmission,
  signClaim,
} from '../../../src/membership/index.ts'
import type { Claim } from '../../../src/membership/index.ts'
import { admit, agent, decoded, first, firstAdmission, firstKey, genesis, keyOf, recordOfType, rootKey } from './world.ts'

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex') as RecordHash)
const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 64 }).filter(isMemberName)

/** An admission by the first instance whose payload is given as it stands on the wire. */
function admissionOf(payload: Encodable): Uint8Array {
  return recordOfType(2, firstKey, [firstAdmission], payload)
}

const claim = signClaim(agent, keyOf(2), keyOf(100))

describe('a record', () => {
  test('is read as it was signed, whatever it says', () => {
    fc.assert(
      fc.property(
        fc.record({
          author: fc.constantFrom(null, first),
          parents: fc.uniqueArray(hash, { minLength: 1, maxLength: headerRecordsMax }).map((list) => list.toSorted()),
          time: fc.maxSafeNat(),
          claim: fc
            .tuple(fc.integer({ min: 0, max: 50 }), fc.boolean())
            .map(([of, invited]) => signClaim(agent, keyOf(of), invited ? keyOf(99) : null)),
          name,
          role: fc.constantFrom(...roles),
          number: fc.maxSafeNat().map((number) => Math.max(1, number)),
        }),
        (content) => {
          const signed = signAdmission({ agent, ...content }, firstKey)
          expect(signed.instance).toBe(instanceIdOf(content.claim.key))
          expect(decodeRecord(signed.bytes)).toEqual({ ok: true, value: signed })
        },
      ),
      { numRuns: 100 },
    )
    expect(decoded(genesis.bytes)).toEqual(genesis)
    expect(genesis.agent).toBe(recordHash(genesis.bytes))
  })

  test('keeps its format: the genesis of fixed keys has a known hash', () => {
    expect(genesis.hash).toBe('48fe11e0cca5eadfb0976bb42291d7af4f413c6872b91b18e31f2ef2babb433e')
    expect(firstAdmission.hash).toBe('2f81f04de4bd9dbbf1716f5a7db2be2af8ab00de9b206df0e36d90432f9745d2')
  })

  test('is refused with any byte changed, and never makes the decoder throw', () => {
    const bytes = admit({ by: firstKey, of: keyOf(2), parents: [firstAdmission] }).bytes
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ change : byte))
        expect(decodeRecord(changed).ok).toBe(false)
      }),
      { numRuns: 500 },
    )
    for (let length = 0; length < bytes.length; length++) expect(decodeRecord(bytes.subarray(0, length)).ok).toBe(false)
  })

  test('is refused, without throwing, where it is made of anything', () => {
    const anything: fc.Arbitrary<Encodable> = fc.letrec<{ value: Encodable }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3, withCrossShrink: true },
        fc.constant(null),
        fc.boolean(),
        fc.integer(),
        fc.string(),
        fc.uint8Array({ maxLength: 40 }),
        fc.array(tie('value'), { maxLength: 9 }),
      ),
    })).value
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(decodeRecord(bytes).ok).toBe(false)
      }),
    )
    fc.assert(
      fc.property(anything, (value) => {
        expect(decodeRecord(encode(value)).ok).toBe(false)
      }),
    )
    fc.assert(
      fc.property(anything, (payload) => {
        expect(decodeRecord(admissionOf(payload)).ok).toBe(false)
      }),
    )
  })

  test('of an unknown type is kept with its bytes', () => {
    const bytes = recordOfType(4_711, firstKey, [firstAdmission], [1, 'two', [null]])
    expect(decoded(bytes)).toMatchObject({
      kind: 'unknown',
      type: 4_711,
      agent,
      author: first,
      key: firstKey.publicKey,
      bytes,
      parents: [firstAdmission.hash],
    })
  })

  test.each<[string, readonly [number, Encodable][], RegExp]>([
    ['another format', [[0, 2]], /format 2 is not known/u],
    ['no agent', [[2, null]], /agent id/u],
    ['no parents', [[5, []]], /parents/u],
    ['parents out of order', [[5, [new Uint8Array(32).fill(2), new Uint8Array(32).fill(1)]]], /parents/u],
    ['a parent twice', [[5, [new Uint8Array(32), new Uint8Array(32)]]], /parents/u],
    ['too many parents', [[5, Array.from({ length: headerRecordsMax + 1 }, (_, index) => new Uint8Array(32).fill(index))]], /parents/u],
    ['a time before 1970', [[6, -1]], /time/u],
  ])('with %s is refused though it is signed', (_, changes, reason) => {
    const outer = decode(firstAdmission.bytes)
    const statement = outer.ok ? decode((outer.value as Uint8Array[])[0] as Uint8Array) : outer
    if (!statement.ok) throw new Error(statement.reason)
    const fields = [...(statement.value as Encodable[])]
    for (const [index, value] of changes) fields[index] = value
    const statementBytes = encode(fields)
    const result = decodeRecord(encode([statementBytes, rootKey.sign('selfsame/record/1', statementBytes)]))
    expect(result.ok ? '' : result.reason).toMatch(reason)
  })

  test('longer than the limit is refused', () => {
    expect(decodeRecord(recordOfType(77, firstKey, [firstAdmission], new Uint8Array(recordBytesMax)))).toEqual({
      ok: false,
      reason: 'record too long',
    })
  })
})

describe('an admission is refused', () => {
  const other = signClaim(agent, keyOf(3), keyOf(101))
  const inviteOf = (of: Claim) => of.invite as NonNullable<Claim['invite']>
  const elsewhere = signClaim('0'.repeat(64) as typeof agent, keyOf(2), keyOf(100))

  test.each<[string, Claim]>([
    ['when the joiner did not consent', { ...claim, consent: other.consent }],
    ['when the joiner consented to another agent', { ...elsewhere, invite: claim.invite }],
    ['when the invite was proven for another agent', { ...claim, invite: elsewhere.invite }],
    [
      'when the invite was proven for another joiner',
      { ...claim, invite: { key: inviteOf(claim).key, proof: inviteOf(signClaim(agent, keyOf(3), keyOf(100))).proof } },
    ],
    ['when the invite’s proof is of another key', { ...claim, invite: { key: inviteOf(other).key, proof: inviteOf(claim).proof } }],
    ['when consent and proof change places', { ...claim, consent: inviteOf(claim).proof }],
  ])('%s', (_, bad) => {
    expect(decodeRecord(admissionOf([claimToWire(claim), 'pi', 1, 1])).ok).toBe(true)
    expect(decodeRecord(admissionOf([claimToWire(bad), 'pi', 1, 1]))).toEqual({
      ok: false,
      reason: 'the claim is not signed by its keys',
    })
  })

  test.each<[string, Encodable]>([
    ['with a role that there is not', [claimToWire(claim), 'pi', 3, 1]],
    ['with the number zero', [claimToWire(claim), 'pi', 1, 0]],
    ['with a name that hides', [claimToWire(claim), 'p\u200bi', 1, 1]],
  ])('%s', (_, payload) => {
    expect(decodeRecord(admissionOf(payload)).ok).toBe(false)
  })
})

describe('a name', () => {
  test.each(['pi', 'Ada’s laptop', '機械', 'server-eu.1', 'x'.repeat(64), '🦊'])('can be %j', (value) => {
    expect(isMemberName(value)).toBe(true)
  })

  test.each(['', ' pi', 'pi ', 'a\nb', 'a\u0000', '\u202eip', 'p\u200di', '\ud800', 'pi#1', 'x'.repeat(65), 7, null])(
    'cannot be %j',
    (value) => {
      expect(isMemberName(value)).toBe(false)
    },
  )
})
