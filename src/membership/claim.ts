/**
 * What a new key signs: that it wants to be an instance's, and that it holds an invite to the agent. The claim of a joiner
 * travels in the join request and then, unchanged, inside the admission, so that anyone can check both offline.
 */
import { asTuple, bytesToId, encode, hashToId, idBytes, idToBytes, isBytes, signatureBytes, verifySignature } from '../core/index.ts'
import type { AgentId, Encodable, InstanceId, PublicKey, SigningKey } from '../core/index.ts'

const consentDomain = 'selfsame/consent/1'
const inviteDomain = 'selfsame/invite-proof/1'

export interface Claim {
  /** The new device key. */
  readonly key: PublicKey
  /** That key's signature: nobody is admitted without wanting it. 64 bytes. */
  readonly consent: Uint8Array
  /** The invite that the joiner holds, proven by the invite key's signature (64 bytes); null where none was needed. */
  readonly invite: { readonly key: PublicKey; readonly proof: Uint8Array } | null
}

/**
 * The id of the instance that was admitted with this first device key. Deriving it means that no two keys can ever claim one
 * instance, in any order of arrival; the id stays when the key is later replaced.
 */
export function instanceIdOf(firstKey: PublicKey): InstanceId {
  return hashToId('selfsame/instance/1', idToBytes(firstKey)).slice(0, idBytes.instance * 2) as InstanceId
}

/** The id of the instance that `parent` made of a copy of its home, with this first device key. */
export function cloneIdOf(parent: InstanceId, firstKey: PublicKey): InstanceId {
  return hashToId('selfsame/clone/1', idToBytes(parent), idToBytes(firstKey)).slice(0, idBytes.instance * 2) as InstanceId
}

/**
 * Makes and signs the claim of `deviceKey` to be a key of `instance`, with the key of an invite where there is one. A joiner's
 * instance is `instanceIdOf` its key, a clone's `cloneIdOf` its parent and its key, a rotation's the instance that rotates.
 */
export function signClaim(agent: AgentId, deviceKey: SigningKey, inviteKey: SigningKey | null, instance?: InstanceId): Claim {
  const message = claimMessage(agent, instance ?? instanceIdOf(deviceKey.publicKey), deviceKey.publicKey)
  return {
    key: deviceKey.publicKey,
    consent: deviceKey.sign(consentDomain, message),
    invite: inviteKey === null ? null : { key: inviteKey.publicKey, proof: inviteKey.sign(inviteDomain, message) },
  }
}

/** Whether all signatures of the claim hold for `instance` of `agent`. */
export function isClaimTo(agent: AgentId, instance: InstanceId, claim: Claim): boolean {
  const message = claimMessage(agent, instance, claim.key)
  if (!verifySignature(claim.key, consentDomain, message, claim.consent)) return false
  return claim.invite === null || verifySignature(claim.invite.key, inviteDomain, message, claim.invite.proof)
}

export function claimToWire(claim: Claim): Encodable {
  return [idToBytes(claim.key), claim.consent, claim.invite === null ? null : [idToBytes(claim.invite.key), claim.invite.proof]]
}

/** Reads the shape of a claim from a decoded message, not its signatures; undefined where it is none. */
export function claimFromWire(value: unknown): Claim | undefined {
  const fields = asTuple(value, 3)
  if (fields === undefined) return undefined
  const [key, consent, inviteField] = fields
  if (!isBytes(key, idBytes.key) || !isBytes(consent, signatureBytes)) return undefined
  if (inviteField === null) return { key: bytesToId(key), consent, invite: null }
  const invite = asTuple(inviteField, 2)
  if (invite === undefined || !isBytes(invite[0], idBytes.key) || !isBytes(invite[1], signatureBytes)) return undefined
  return { key: bytesToId(key), consent, invite: { key: bytesToId(invite[0]), proof: invite[1] } }
}

function claimMessage(agent: AgentId, instance: InstanceId, key: PublicKey): Uint8Array {
  return encode([idToBytes(agent), idToBytes(instance), idToBytes(key)])
}
