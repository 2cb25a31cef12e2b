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
import type { AgentId, Encodable, EnvelopeHash, FeedId, InstanceId, PublicKey, RecordHash, Result, SigningKey } from '../core/index.ts'
import { claimFromWire, claimToWire, cloneIdOf, instanceIdOf, isClaimTo } from './claim.ts'
import type { Claim } from './claim.ts'
import { isMemberName } from './member-name.ts'

const recordFormat = 1
const signatureDomain = 'selfsame/record/1'
/** Type numbers are never used again for something else; a type that is not here is kept and forwarded, and has no effect. */
const recordTypes = { genesis: 1, admission: 2, role: 3, rotation: 4, rename: 5, clone: 6 } as const
const genesisNonceBytes = 16
/** Places in one cut: a record has room for no more. The remover's own envelopes name the rest. */
export const cutPlacesMax = 48
/** UTF-16 units of the reason of a role record. */
export const reasonLengthMax = 200

/** Weakest first; the place in this list is the role's number on the wire. */
export const roles = ['reader', 'writer', 'admin'] as const
export type Role = (typeof roles)[number]

/** Up to where something of a feed counts. */
export interface CutPlace {
  readonly feed: FeedId
  /** The last sequence that does. */
  readonly sequence: number
  readonly hash: EnvelopeHash
}

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
  /** Counts the author's admissions, clones and role records, from 1, always upwards: the earlier ones are senior. */
  readonly number: number
}

/** That a copy of the author's home is an instance of its own from here on. */
export interface Clone extends Omit<Admission, 'kind'> {
  readonly kind: 'clone'
  /** The parent. */
  readonly author: InstanceId
}

/** Which role an instance has from here on, whatever its author knew of. */
export interface RoleRecord extends Statement {
  readonly kind: 'role'
  readonly instance: InstanceId
  /** Null: none, it is removed. */
  readonly role: Role | null
  /** As in an admission. */
  readonly number: number
  /** What of the instance's feeds counts, where it may not write any more: how far the author had applied them. Sorted by feed. */
  readonly cut: readonly CutPlace[]
  /** For people; may be empty. */
  readonly reason: string
}

/** That an instance has a new key. */
export interface Rotation extends Statement {
  readonly kind: 'rotation'
  readonly author: InstanceId
  readonly claim: Claim
  /** What counts of the feeds under the key that signed. */
  readonly cut: readonly CutPlace[]
}

/** What an instance is called from here on. */
export interface Rename extends Statement {
  readonly kind: 'rename'
  readonly instance: InstanceId
  readonly name: string
}

/** A record of a type that this version does not know. */
export interface UnknownRecord extends Statement {
  readonly kind: 'unknown'
  readonly type: number
}

export type MembershipRecord = Genesis | Admission | Clone | RoleRecord | Rotation | Rename | UnknownRecord

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

type Content<R extends MembershipRecord> = Pick<R, 'agent' | 'author' | 'parents' | 'time'>

/** Makes an admission, signed by the root key (`author` null) or by an admin instance's device key. */
export function signAdmission(
  content: Content<Admission> & Pick<Admission, 'claim' | 'name' | 'role' | 'number'>,
  key: SigningKey,
): Admission {
  const bytes = sign(recordTypes.admission, content, admissionToWire(content), key)
  return { ...content, kind: 'admission', hash: recordHash(bytes), bytes, key: key.publicKey, instance: instanceIdOf(content.claim.key) }
}

/** Makes a clone record, signed by the parent's device key. The claim is one to `cloneIdOf` the parent and the new key. */
export function signClone(content: Content<Clone> & Pick<Clone, 'claim' | 'name' | 'role' | 'number'>, key: SigningKey): Clone {
  const bytes = sign(recordTypes.clone, content, admissionToWire(content), key)
  const instance = cloneIdOf(content.author, content.claim.key)
  return { ...content, kind: 'clone', hash: recordHash(bytes), bytes, key: key.publicKey, instance }
}

function admissionToWire({ claim, name, role, number }: Pick<Admission, 'claim' | 'name' | 'role' | 'number'>): Encodable {
  assert(isMemberName(name), 'an instance is admitted under a checked name')
  return [claimToWire(claim), name, roles.indexOf(role), number]
}

/** Makes a role record, signed by the root key (`author` null) or an instance's device key. */
export function signRole(
  content: Content<RoleRecord> & Pick<RoleRecord, 'instance' | 'role' | 'number' | 'cut' | 'reason'>,
  key: SigningKey,
): RoleRecord {
  const { cut, instance, number, reason, role } = content
  assert(isReason(reason), 'a role is given for a checked reason')
  const payload = [idToBytes(instance), role === null ? null : roles.indexOf(role), number, cutToWire(cut), reason]
  const bytes = sign(recordTypes.role, content, payload, key)
  return { ...content, kind: 'role', hash: recordHash(bytes), bytes, key: key.publicKey }
}

/** Makes a rotation, signed by the key that is retired. The claim is the new key's to the author. */
export function signRotation(content: Content<Rotation> & Pick<Rotation, 'claim' | 'cut'>, key: SigningKey): Rotation {
  const bytes = sign(recordTypes.rotation, content, [claimToWire(content.claim), cutToWire(content.cut)], key)
  return { ...content, kind: 'rotation', hash: recordHash(bytes), bytes, key: key.publicKey }
}

/** Makes a rename record, signed by the root key (`author` null) or an instance's device key. */
export function signRename(content: Content<Rename> & Pick<Rename, 'instance' | 'name'>, key: SigningKey): Rename {
  const { instance, name } = content
  assert(isMemberName(name), 'an instance is renamed to a checked name')
  const bytes = sign(recordTypes.rename, content, [idToBytes(instance), name], key)
  return { ...content, kind: 'rename', hash: recordHash(bytes), bytes, key: key.publicKey }
}

// oxlint-disable-next-line no-control-regex -- controls are what is looked for
const controls = /[\u0000-\u001f\u007f-\u009f]/u

/** Whether `value` can be the reason of a role record: well-formed text of one line, at most `reasonLengthMax`; may be empty. */
export function isReason(value: unknown): value is string {
  return typeof value === 'string' && value.length <= reasonLengthMax && value.isWellFormed() && !controls.test(value)
}

function cutToWire(cut: readonly CutPlace[]): Encodable {
  return cut.map(({ feed, sequence, hash }) => [idToBytes(feed), sequence, idToBytes(hash)])
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
  if (!isUint(format)) return refuse('bad record format')
  if (format !== recordFormat) return refuse(`record format ${format} is not known`)
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
  switch (type) {
    case recordTypes.genesis:
      return decodeGenesis(statement, payload)
    case recordTypes.admission:
      return decodeAdmission(statement, payload)
    case recordTypes.clone:
      return decodeClone(statement, payload)
    case recordTypes.role:
      return decodeRole(statement, payload)
    case recordTypes.rotation:
      return decodeRotation(statement, payload)
    case recordTypes.rename:
      return decodeRename(statement, payload)
    default:
      return ok({ ...statement, kind: 'unknown', type })
  }
}

function decodeGenesis(statement: Statement, payload: unknown): Result<Genesis> {
  const fields = asTuple(payload, 2)
  if (fields === undefined || !isMemberName(fields[0]) || !isBytes(fields[1], genesisNonceBytes)) return refuse('bad genesis')
  return ok({ ...statement, kind: 'genesis', name: fields[0], nonce: fields[1] })
}

function decodeAdmission(statement: Statement, payload: unknown): Result<Admission> {
  const fields = admissionFromWire(payload)
  if (!fields.ok) return fields
  const { claim } = fields.value
  const instance = instanceIdOf(claim.key)
  if (!isClaimTo(statement.agent, instance, claim)) return refuse(badClaim)
  return ok({ ...statement, ...fields.value, kind: 'admission', instance })
}

function decodeClone(statement: Statement, payload: unknown): Result<Clone> {
  const fields = admissionFromWire(payload)
  if (!fields.ok) return fields
  const { claim } = fields.value
  const { author } = statement
  if (author === null) return refuse('only an instance can be cloned')
  const instance = cloneIdOf(author, claim.key)
  if (claim.invite !== null || !isClaimTo(statement.agent, instance, claim)) return refuse(badClaim)
  return ok({ ...statement, ...fields.value, kind: 'clone', author, instance })
}

const badClaim = 'the claim is not signed by its keys'

function admissionFromWire(payload: unknown): Result<Pick<Admission, 'claim' | 'name' | 'role' | 'number'>> {
  const fields = asTuple(payload, 4)
  if (fields === undefined) return refuse('an admission has 4 fields')
  const [claimField, name, roleNumber, number] = fields
  const claim = claimFromWire(claimField)
  if (claim === undefined) return refuse('bad claim')
  if (!isMemberName(name)) return refuse('bad instance name')
  const role = roleFromWire(roleNumber)
  if (role === undefined) return refuse('bad role')
  if (!isUint(number) || number === 0) return refuse('bad number')
  return ok({ claim, name, role, number })
}

function decodeRole(statement: Statement, payload: unknown): Result<RoleRecord> {
  const fields = asTuple(payload, 5)
  if (fields === undefined) return refuse('a role record has 5 fields')
  const [instance, roleNumber, number, cutField, reason] = fields
  if (!isBytes(instance, idBytes.instance)) return refuse('bad instance id')
  const role = roleNumber === null ? null : roleFromWire(roleNumber)
  if (role === undefined) return refuse('bad role')
  if (!isUint(number) || number === 0) return refuse('bad number')
  const cut = cutFromWire(cutField)
  if (cut === undefined) return refuse('bad cut')
  if (!isReason(reason)) return refuse('bad reason')
  return ok({ ...statement, kind: 'role', instance: bytesToId(instance), role, number, cut, reason })
}

function decodeRotation(statement: Statement, payload: unknown): Result<Rotation> {
  const fields = asTuple(payload, 2)
  const claim = fields === undefined ? undefined : claimFromWire(fields[0])
  const cut = fields === undefined ? undefined : cutFromWire(fields[1])
  const { author } = statement
  if (author === null || claim === undefined || cut === undefined) return refuse('bad rotation')
  if (claim.invite !== null || !isClaimTo(statement.agent, author, claim)) return refuse(badClaim)
  return ok({ ...statement, kind: 'rotation', author, claim, cut })
}

function decodeRename(statement: Statement, payload: unknown): Result<Rename> {
  const fields = asTuple(payload, 2)
  if (fields === undefined || !isBytes(fields[0], idBytes.instance) || !isMemberName(fields[1])) return refuse('bad rename')
  return ok({ ...statement, kind: 'rename', instance: bytesToId(fields[0]), name: fields[1] })
}

function roleFromWire(value: unknown): Role | undefined {
  return isUint(value) ? roles[value] : undefined
}

function cutFromWire(value: unknown): readonly CutPlace[] | undefined {
  if (!Array.isArray(value) || value.length > cutPlacesMax) return undefined
  const cut: CutPlace[] = []
  for (const item of value as readonly unknown[]) {
    const place = asTuple(item, 3)
    if (place === undefined || !isBytes(place[0], idBytes.feed) || !isUint(place[1], 0xffff_ffff) || !isHash(place[2])) return undefined
    cut.push({ feed: bytesToId(place[0]), sequence: place[1], hash: bytesToId(place[2]) })
  }
  return isSortedSet(cut.map(({ feed }) => feed)) ? cut : undefined
}

/** The agent id that a genesis record makes: its hash. */
function genesisToAgent(hash: RecordHash): AgentId {
  return hash as string as AgentId
}

function isSortedSet(ids: readonly string[]): boolean {
  return ids.every((id, index) => index === 0 || (ids[index - 1] as string) < id)
}
