/**
 * Invites, as their issuer keeps them: the public half of an ephemeral key, with what whoever proves the secret half
 * may become. The secret itself is only in the ticket. Expiry and uses are enforced by the issuer, by its own clock.
 */
import {
  SelfsameError,
  asTuple,
  bytesToId,
  createSigningKey,
  decode,
  encode,
  idBytes,
  idToBytes,
  isBytes,
  isUint,
  ok,
  refuse,
} from '../core/index.ts'
import type { PublicKey, Random, Result, SigningKey } from '../core/index.ts'
import { isMemberName } from './member-name.ts'
import { roles } from './record.ts'
import type { Role } from './record.ts'

export interface Invite {
  readonly key: PublicKey
  readonly role: Role
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
  readonly usesLeft: number
  /** The name that the joiner gets; null: it names itself. */
  readonly name: string | null
}

/** Longer, and a ticket forgotten in a shell's history is a key under the mat. */
export const inviteMillisecondsMax = 30 * 24 * 60 * 60 * 1_000
/** Joiners that one ticket can admit. */
export const inviteUsesMax = 100
/** Invites that one issuer keeps; closed ones are forgotten to make room. */
const invitesMax = 1_000

/**
 * A new invite and its secret key, whose seed goes into the ticket and nowhere else. Only an admin's invite is honoured
 * (`judgeJoinRequest`). Throws `invalid-request` for a duration (milliseconds), a count or a name out of bounds.
 */
export function createInvite(
  request: { role: Role; durationMilliseconds: number; uses: number; name: string | null },
  now: number,
  random: Random,
): { readonly invite: Invite; readonly key: SigningKey } {
  const { role, durationMilliseconds, uses, name } = request
  if (!isUint(durationMilliseconds, inviteMillisecondsMax) || durationMilliseconds === 0) {
    throw new SelfsameError('invalid-request', 'an invite lasts at least a millisecond and at most 30 days: give a duration such as 1h')
  }
  if (!isUint(uses, inviteUsesMax) || uses === 0) throw new SelfsameError('invalid-request', `an invite has 1 to ${inviteUsesMax} uses`)
  if (name !== null && !isMemberName(name)) {
    throw new SelfsameError('invalid-request', 'the name is not valid: 1 to 64 visible characters, no # and no space at either end')
  }
  const key = createSigningKey(random)
  return { invite: { key: key.publicKey, role, expiresAt: now + durationMilliseconds, usesLeft: uses, name }, key }
}

/** Whether somebody can still join with it. */
export function isOpenInvite(invite: Invite, now: number): boolean {
  return invite.usesLeft > 0 && now < invite.expiresAt
}

/** For the issuer's own store. Of more than 1,000 the open ones that last longest are kept. */
export function encodeInvites(invites: Iterable<Invite>, now: number): Uint8Array {
  const kept = [...invites].toSorted((a, b) => Number(isOpenInvite(b, now)) - Number(isOpenInvite(a, now)) || b.expiresAt - a.expiresAt)
  return encode(
    kept
      .slice(0, invitesMax)
      .map((invite) => [idToBytes(invite.key), roles.indexOf(invite.role), invite.expiresAt, invite.usesLeft, invite.name]),
  )
}

/** What `encodeInvites` gave. */
export function decodeInvites(bytes: Uint8Array): Result<ReadonlyMap<PublicKey, Invite>> {
  const decoded = decode(bytes)
  if (!decoded.ok) return decoded
  if (!Array.isArray(decoded.value) || decoded.value.length > invitesMax) return refuse('bad invites')
  const invites = new Map<PublicKey, Invite>()
  for (const item of decoded.value as readonly unknown[]) {
    const fields = asTuple(item, 5)
    if (fields === undefined) return refuse('an invite has 5 fields')
    const [keyBytes, roleNumber, expiresAt, usesLeft, name] = fields
    const role = isUint(roleNumber) ? roles[roleNumber] : undefined
    if (!isBytes(keyBytes, idBytes.key) || role === undefined || !isUint(expiresAt) || !isUint(usesLeft, inviteUsesMax))
      return refuse('bad invite')
    if (name !== null && !isMemberName(name)) return refuse('bad invite name')
    const key = bytesToId<PublicKey>(keyBytes)
    invites.set(key, { key, role, expiresAt, usesLeft, name })
  }
  return ok(invites)
}
