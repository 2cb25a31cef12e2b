/**
 * The membership record: one signed statement about who belongs to the agent. Records name earlier records by hash and
 * live in a set of their own, outside all feeds. This file owns their format; what they amount to is `member-table.ts`.
 *
 * On the wire and on disk a record is `[statement bytes, signature]`, and the statement is
 * `[format, type, agent, author, key, parents, time, payload]`. The record's hash covers all of it.
 * `docs/PROTOCOL.md` has the format as a table.
 */
import {
  asListOf,
  asTuple,
  assert,
  bytesToId,
  decode,
  encode,
  hashToId,
  headerRecordsMax,
  idBytes,
  idToBytes,
  isBytes,
  isUint,
  ok,
  recordBytesMax,
  refuse,
  signatureBytes,
  verifySignature,
} from '../core/index.ts'
import type { AgentId, Encodable, InstanceId, PublicKey, RecordHash, Result, SigningKey } from '../core/index.ts'
import { claimFromWire, claimToWire, instanceIdOf, isClaimTo } from './claim.ts'
import type { Claim } from './claim.ts'
import { isMemberName } from './member-name.ts'

const recordFormat = 1
const signatureDomain = 'selfsame/record/1'
/** Type numbers are never used again for something else; a type that is not here is kept and forwarded, and has no effect. */
const recordTypes = { genesis: 1, admission: 2 } as const
const genesisNonceBytes = 16

/** Weakest first; the place in this list is the role's number on the wire. */
export const roles = ['reader', 'writer', 'admin'] as const
export type Role = (typeof roles)[number]

/** What every record says. */
interface Statement {
  readonly hash: RecordHash
  /** The record as received: what is stored and sent on, never a re-encoding. */
  readonly bytes: Uint8Array
  readonly agent: AgentId
  /** The instance that signed, or null: the root key did. */
  readonly author: InstanceId | null
  /** The key that signed. */
  readonly key: PublicKey
  /** Heads of the records that the author knew: sorted, empty in the genesis and only there. Their closure is the record's past. */
  readonly parents: readonly RecordHash[]
  /** Milliseconds since the Unix epoch, by the author's clock. For people; nothing is decided by it. */
  readonly time: number
}

/** The first record. Its hash is the agent id and its key the root key. */
export interface Genesis extends Statement {
  readonly kind: 'genesis'
  readonly name: string
  readonly nonce: Uint8Array
}

/** That an instance belongs to the agent from here on. */
export interface Admission extends Statement {
  readonly kind: 'admission'
  readonly claim: Claim
  /** The instance that is admitted: `instanceIdOf` the claim's key. */
  readonly instance: InstanceId
  readonly name: string
  readonly role: Role
  /** Counts the admissions of this author, from 1, always upwards: the author's earlier ones are senior. */
  readonly number: number
}

/** A record of a type that this version does not know. */
export interface UnknownRecord extends Statement {
  readonly kind: 'unknown'
  readonly type: number
}

export type MembershipRecord = Genesis | Admission | UnknownRecord

export function recordHash(bytes: Uint8Array): RecordHash {
  return hashToId('selfsame/record/1', bytes)
}

/** Makes the record that founds an agent. `nonce`: 16 random bytes. */
export function signGenesis(content: Pick<Genesis, 'name' | 'nonce' | 'time'>, rootKey: SigningKey): Genesis {
  const { name, nonce, time } = content
  assert(isMemberName(name), 'an agent is founded under a checked name')
  const bytes = sign(recordTypes.genesis, { agent: null, author: null, parents: [], time }, [name, nonce], rootKey)
  const hash = recordHash(bytes)
  return { kind: 'genesis', hash, bytes, agent: genesisToAgent(hash), author: null, key: rootKey.publicKey, parents: [], time, name, nonce }
}

/** Makes an admission, signed by the root key (`author` null) or by an admin instance's device key. */
export function signAdmission(
  content: Pick<Admission, 'agent' | 'author' | 'parents' | 'time' | 'claim' | 'name' | 'role' | 'number'>,
  key: SigningKey,
): Admission {
  const { claim, name, role, number } = content
  assert(isMemberName(name), 'an instance is admitted under a checked name')
  const bytes = sign(recordTypes.admission, content, [claimToWire(claim), name, roles.indexOf(role), number], key)
  return { ...content, kind: 'admission', hash: recordHash(bytes), bytes, key: key.publicKey, instance: instanceIdOf(claim.key) }
}

function sign(
  type: number,
  statement: { agent: AgentId | null } & Pick<Statement, 'author' | 'parents' | 'time'>,
  payload: Encodable,
  key: SigningKey,
): Uint8Array {
  const statementBytes = encode([
    recordFormat,
    type,
    statement.agent === null ? null : idToBytes(statement.agent),
    statement.author === null ? null : idToBytes(statement.author),
    idToBytes(key.publicKey),
    statement.parents.map(idToBytes),
    statement.time,
    payload,
  ])
  const bytes = encode([statementBytes, key.sign(signatureDomain, statementBytes)])
  assert(bytes.length <= recordBytesMax, 'a record of ours is within its limit')
  return bytes
}

const isHash = (value: unknown): value is Uint8Array => isBytes(value, idBytes.hash)

/**
 * Reads a record from untrusted bytes: shape, limits and every signature in it. Whether its author had the right to
 * write it is not decided here.
 */
export function decodeRecord(bytes: Uint8Array): Result<MembershipRecord> {
  if (bytes.length > recordBytesMax) return refuse('record too long')
  const outer = decode(bytes)
  if (!outer.ok) return outer
  const signed = asTuple(outer.value, 2)
  if (signed === undefined || !isBytes(signed[0]) || !isBytes(signed[1], signatureBytes))
    return refuse('a record is a statement and a signature')
  const [statementBytes, signature] = signed
  const inner = decode(statementBytes)
  if (!inner.ok) return inner
  const fields = asTuple(inner.value, 8)
  if (fields === undefined) return refuse('a record has 8 fields')
  const [format, type, agent, author, key, parentList, time, payload] = fields
  if (format !== recordFormat) return refuse(`record format ${String(format)} is not known`)
  if (!isUint(type)) return refuse('bad record type')
  const isGenesis = type === recordTypes.genesis
  if (isGenesis ? agent !== null : !isBytes(agent, idBytes.agent)) return refuse('bad agent id')
  if (author !== null && (isGenesis || !isBytes(author, idBytes.instance))) return refuse('bad author')
  if (!isBytes(key, idBytes.key)) return refuse('bad key')
  const parents = asListOf(parentList, headerRecordsMax, isHash)?.map((parent) => bytesToId<RecordHash>(parent))
  if (parents === undefined || !isSortedSet(parents)) return refuse('bad parents')
  if ((parents.length === 0) !== isGenesis) return refuse('every record but the genesis names its parents')
  if (!isUint(time)) return refuse('bad time')
  const hash = recordHash(bytes)
  const statement: Statement = {
    hash,
    bytes,
    agent: agent === null ? genesisToAgent(hash) : bytesToId(agent as Uint8Array),
    author: author === null ? null : bytesToId(author),
    key: bytesToId(key),
    parents,
    time,
  }
  if (!verifySignature(statement.key, signatureDomain, statementBytes, signature)) return refuse('the signature of the record is not valid')
  if (isGenesis) return decodeGenesis(statement, payload)
  if (type === recordTypes.admission) return decodeAdmission(statement, payload)
  return ok({ ...statement, kind: 'unknown', type })
}

function decodeGenesis(statement: Statement, payload: unknown): Result<Genesis> {
  const fields = asTuple(payload, 2)
  if (fields === undefined || !isMemberName(fields[0]) || !isBytes(fields[1], genesisNonceBytes)) return refuse('bad genesis')
  return ok({ ...statement, kind: 'genesis', name: fields[0], nonce: fields[1] })
}

function decodeAdmission(statement: Statement, payload: unknown): Result<Admission> {
  const fields = asTuple(payload, 4)
  if (fields === undefined) return refuse('an admission has 4 fields')
  const [claimField, name, roleNumber, number] = fields
  const claim = claimFromWire(claimField)
  if (claim === undefined) return refuse('bad claim')
  if (!isMemberName(name)) return refuse('bad instance name')
  const role = isUint(roleNumber) ? roles[roleNumber] : undefined
  if (role === undefined) return refuse('bad role')
  if (!isUint(number) || number === 0) return refuse('bad admission number')
  if (!isClaimTo(statement.agent, claim)) return refuse('the claim of the admission is not signed by its keys')
  return ok({ ...statement, kind: 'admission', claim, instance: instanceIdOf(claim.key), name, role, number })
}

/** The agent id that a genesis record makes: its hash. */
function genesisToAgent(hash: RecordHash): AgentId {
  return hash as string as AgentId
}

function isSortedSet(ids: readonly string[]): boolean {
  return ids.every((id, index) => index === 0 || (ids[index - 1] as string) < id)
}
