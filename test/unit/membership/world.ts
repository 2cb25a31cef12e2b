/** Material for the tests of this room: keys and randomness under a seed, an agent with its records, hand-made records. */
import { encode, idToBytes, signingKeyOf } from '../../../src/core/index.ts'
import type { AgentId, Encodable, InstanceId, Random, RecordHash, SigningKey } from '../../../src/core/index.ts'
import { decodeRecord, foundAgent, instanceIdOf, signAdmission, signClaim } from '../../../src/membership/index.ts'
import type { Admission, MembershipRecord, Role } from '../../../src/membership/index.ts'

/** The key of a number: the same in every run. */
export function keyOf(number: number): SigningKey {
  const seed = new Uint8Array(32)
  new DataView(seed.buffer).setUint32(0, number)
  return signingKeyOf(seed)
}

export function randomOf(seed: number): Random {
  let state = seed
  const unit = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  return { unit, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(unit() * 256)) }
}

export const foundedAt = 1_750_000_000_000
export const rootKey = keyOf(0)
/** Device key of the first instance. */
export const firstKey = keyOf(1)
export const first = instanceIdOf(firstKey.publicKey)

export const { agent, records: founding } = foundAgent(
  { agentName: 'kevin', instanceName: 'laptop', rootKey, deviceKey: firstKey },
  foundedAt,
  randomOf(1),
)
export const [genesis, firstAdmission] = founding

interface AdmissionRequest {
  readonly by: SigningKey
  /** Null: the root key. Absent: the instance whose key signs. */
  readonly author?: InstanceId | null
  readonly of: SigningKey
  readonly parents: readonly MembershipRecord[]
  readonly role?: Role
  readonly number?: number
  readonly name?: string
  readonly agent?: AgentId
}

/** An admission as anyone might sign it, entitled or not. */
export function admit(request: AdmissionRequest): Admission {
  const to = request.agent ?? agent
  return signAdmission(
    {
      agent: to,
      author: request.author === undefined ? instanceIdOf(request.by.publicKey) : request.author,
      parents: hashesOf(request.parents),
      time: foundedAt + 1_000,
      claim: signClaim(to, request.of, null),
      name: request.name ?? 'pi',
      role: request.role ?? 'writer',
      number: request.number ?? 1,
    },
    request.by,
  )
}

/** A well-signed record of any type, made from the format alone. */
export function recordOfType(type: number, by: SigningKey, parents: readonly MembershipRecord[], payload: Encodable): Uint8Array {
  const author = by === rootKey ? null : idToBytes(instanceIdOf(by.publicKey))
  const statement = encode([
    1,
    type,
    idToBytes(agent),
    author,
    idToBytes(by.publicKey),
    hashesOf(parents).map(idToBytes),
    foundedAt,
    payload,
  ])
  return encode([statement, by.sign('selfsame/record/1', statement)])
}

export function decoded(bytes: Uint8Array): MembershipRecord {
  const record = decodeRecord(bytes)
  if (!record.ok) throw new Error(record.reason)
  return record.value
}

function hashesOf(records: readonly MembershipRecord[]): readonly RecordHash[] {
  return [...new Set(records.map((record) => record.hash))].toSorted()
}
