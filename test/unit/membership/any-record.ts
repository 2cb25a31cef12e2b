/** Records as anyone might sign them: who signs, what it knew and what it says are free. */
import { encode, idToBytes } from '../../../src/core/index.ts'
import type { InstanceId, RecordHash, SigningKey } from '../../../src/core/index.ts'
import { recordHash, signAdmission, signClone, signRename, signRole, signRotation } from '../../../src/membership/index.ts'
import type { Claim, CutPlace, MembershipRecord, Role, UnknownRecord } from '../../../src/membership/index.ts'
import { agent } from './world.ts'

/** Who signs a record, and what it knew. */
export interface Signer {
  readonly author: InstanceId | null
  readonly key: SigningKey
  readonly parents: readonly RecordHash[]
  readonly number: number
  /** Milliseconds since the Unix epoch. */
  readonly time: number
}

export type Payload =
  | { readonly kind: 'admission' | 'clone'; readonly claim: Claim; readonly role: Role; readonly name: string }
  | { readonly kind: 'role'; readonly instance: InstanceId; readonly role: Role | null; readonly cut: readonly CutPlace[] }
  | { readonly kind: 'rotation'; readonly claim: Claim; readonly cut: readonly CutPlace[] }
  | { readonly kind: 'rename'; readonly instance: InstanceId; readonly name: string }
  | { readonly kind: 'unknown' }

/** Signs that payload for that signer, entitled or not. What comes of it need not pass the decoder. */
export function signAny({ author, key, parents, number, time }: Signer, payload: Payload): MembershipRecord {
  const statement = { agent, author, parents, time }
  // Only an instance clones and rotates: the payloads of the root key are none of these.
  const ofInstance = { ...statement, author: author as InstanceId }
  switch (payload.kind) {
    case 'admission':
      return signAdmission({ ...statement, ...payload, number }, key)
    case 'clone':
      return signClone({ ...ofInstance, ...payload, number }, key)
    case 'role':
      return signRole({ ...statement, ...payload, number, reason: '' }, key)
    case 'rotation':
      return signRotation({ ...ofInstance, ...payload }, key)
    case 'rename':
      return signRename({ ...statement, ...payload }, key)
    case 'unknown':
      return unknown(statement, key)
  }
}

const unknownType = 99

/** A record of a type that nobody knows. */
function unknown(statement: Pick<UnknownRecord, 'agent' | 'author' | 'parents' | 'time'>, key: SigningKey): UnknownRecord {
  const { author, parents, time } = statement
  const authorBytes = author === null ? null : idToBytes(author)
  const signed = encode([1, unknownType, idToBytes(agent), authorBytes, idToBytes(key.publicKey), parents.map(idToBytes), time, []])
  const bytes = encode([signed, key.sign('selfsame/record/1', signed)])
  return { ...statement, kind: 'unknown', type: unknownType, hash: recordHash(bytes), bytes, key: key.publicKey }
}
