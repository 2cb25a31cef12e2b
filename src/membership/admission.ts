/**
 * Founding and joining as pure functions: who signs what, and what each side checks before it believes the other.
 *
 * The joiner sends a request to the issuer of its ticket, over a connection that has proven its device key. The issuer
 * judges it, commits the admission and the used invite in one transaction, and answers with all records, or with why not.
 * A request that is repeated, because the answer was lost, gets the records again and uses up nothing.
 */
import {
  asListOf,
  asTuple,
  bytesToId,
  decode,
  encode,
  idBytes,
  idToBytes,
  isBytes,
  ok,
  recordBytesMax,
  refuse,
  signingKeyOf,
} from '../core/index.ts'
import type { AgentId, InstanceId, PublicKey, Random, Result, SigningKey } from '../core/index.ts'
import { claimFromWire, claimToWire, instanceIdOf, isClaimTo, signClaim } from './claim.ts'
import type { Claim } from './claim.ts'
import type { Invite } from './invite.ts'
import { isMemberName } from './member-name.ts'
import { memberTableOf } from './member-table.ts'
import type { Member, MemberTable } from './member-table.ts'
import { decodeRecord, signAdmission, signGenesis } from './record.ts'
import type { Admission, Genesis, MembershipRecord } from './record.ts'
import { isAddress, ticketAddressesMax } from './ticket.ts'
import type { Ticket } from './ticket.ts'

const joinVersion = 1
/** Members whose addresses a joiner is told: enough to find the others from, whoever is away by then. */
const membersToldMax = 64

/** Why an issuer says no, and what the joiner's person can do. The words on the left are on the wire. */
export const joinRefusals = {
  'malformed': 'the other instance did not understand the request: use the same version of selfsame on both sides',
  'other-agent': 'the other instance belongs to another agent: ask for a new ticket',
  'other-key': 'the request was not made by the machine that sent it',
  'bad-proof': 'the ticket does not prove itself: ask for a new one',
  'not-admin': 'the other instance may not admit anyone (any more): ask an admin for a ticket',
  'unknown-invite': 'the other instance does not know this ticket (any more): ask for a new one',
  'expired': 'the ticket has expired: ask for a new one',
  'used-up': 'the ticket has been used already: ask for a new one',
  'former':
    'this instance lost its place in the agent: an admin can give it a role again, or it joins with a new key (selfsame join TICKET --new-instance)',
} as const
export type JoinRefusal = keyof typeof joinRefusals

/** A new agent: its genesis, and the admission of the first instance as an admin, both signed by the root key. */
export function foundAgent(
  request: { agentName: string; instanceName: string; rootKey: SigningKey; deviceKey: SigningKey },
  now: number,
  random: Random,
): { readonly agent: AgentId; readonly records: readonly [Genesis, Admission] } {
  const { agentName, instanceName, rootKey, deviceKey } = request
  const genesis = signGenesis({ name: agentName, nonce: random.bytes(16), time: now }, rootKey)
  const { agent } = genesis
  const admission = signAdmission(
    {
      agent,
      author: null,
      parents: [genesis.hash],
      time: now,
      claim: signClaim(agent, deviceKey, null),
      name: instanceName,
      role: 'admin',
      number: 1,
    },
    rootKey,
  )
  return { agent, records: [genesis, admission] }
}

/** The joiner's request. `name`: what it calls itself; the invite may know better. */
export function encodeJoinRequest(ticket: Pick<Ticket, 'agent' | 'seed'>, deviceKey: SigningKey, name: string): Uint8Array {
  const claim = signClaim(ticket.agent, deviceKey, signingKeyOf(ticket.seed))
  return encode([joinVersion, idToBytes(ticket.agent), claimToWire(claim), name])
}

interface JoinRequest {
  readonly agent: AgentId
  readonly claim: Claim
  readonly name: string
}

function decodeJoinRequest(bytes: Uint8Array): JoinRequest | undefined {
  const decoded = bytes.length <= recordBytesMax ? decode(bytes) : undefined
  const fields = decoded?.ok === true ? asTuple(decoded.value, 4) : undefined
  if (fields === undefined) return undefined
  const [version, agent, claimField, name] = fields
  const claim = claimFromWire(claimField)
  if (version !== joinVersion || !isBytes(agent, idBytes.agent) || claim === undefined || !isMemberName(name)) return undefined
  return { agent: bytesToId(agent), claim, name }
}

/** What the issuer knows while it judges a request. */
export interface JoinContext {
  readonly table: MemberTable
  readonly invites: ReadonlyMap<PublicKey, Invite>
  readonly issuer: { readonly instance: InstanceId; readonly key: SigningKey }
  /** The key that the connection has proven. */
  readonly from: PublicKey
  /** The issuer's clock, milliseconds since the Unix epoch. */
  readonly now: number
}

export type JoinVerdict =
  | { readonly type: 'admitted'; readonly admission: Admission; /** With one use less. */ readonly invite: Invite }
  /** It is a member already: answer with the records, there is nothing to commit. */
  | { readonly type: 'member' }
  | { readonly type: 'refused'; readonly refusal: JoinRefusal }

/**
 * Judges a join request. The verdict holds for this table and these invites only: the caller takes both new rows into
 * them, and commits them, before it judges the next request, so that a single use stays single.
 */
export function judgeJoinRequest(bytes: Uint8Array, context: JoinContext): JoinVerdict {
  const { table, invites, issuer, from, now } = context
  const request = decodeJoinRequest(bytes)
  if (request === undefined) return refused('malformed')
  const { agent, claim } = request
  if (agent !== table.agent) return refused('other-agent')
  if (claim.key !== from) return refused('other-key')
  const instance = instanceIdOf(claim.key)
  if (claim.invite === null || !isClaimTo(agent, instance, claim)) return refused('bad-proof')
  if (table.member(instance) !== undefined) return { type: 'member' }
  if (table.formerMember(instance) !== undefined) return refused('former')
  if (table.member(issuer.instance)?.role !== 'admin') return refused('not-admin')
  const invite = invites.get(claim.invite.key)
  if (invite === undefined) return refused('unknown-invite')
  if (now >= invite.expiresAt) return refused('expired')
  if (invite.usesLeft === 0) return refused('used-up')
  const admission = signAdmission(
    {
      agent,
      author: issuer.instance,
      parents: table.citedBy(issuer.instance),
      time: now,
      claim,
      name: invite.name ?? request.name,
      role: invite.role,
      number: table.nextNumber(issuer.instance),
    },
    issuer.key,
  )
  return { type: 'admitted', admission, invite: { ...invite, usesLeft: invite.usesLeft - 1 } }
}

function refused(refusal: JoinRefusal): JoinVerdict {
  return { type: 'refused', refusal }
}

/**
 * The answer to a joiner: all that `records()` of the table gives, its admission among them, or why not. With the records go the addresses that are known of
 * members, by key, so that it finds the others also where the issuer is gone by then.
 */
export function encodeJoinResponse(
  answer: readonly MembershipRecord[] | JoinRefusal,
  addresses: ReadonlyMap<PublicKey, readonly string[]> = new Map(),
): Uint8Array {
  if (typeof answer === 'string') return encode([joinVersion, answer])
  const told = Array.from(addresses, ([key, known]) => [idToBytes(key), known.filter(isAddress).slice(0, ticketAddressesMax)])
  return encode([joinVersion, answer.map((record) => record.bytes), told.slice(0, membersToldMax)])
}

/** What an issuer answered to whom it admitted. */
export interface JoinAnswer {
  readonly records: readonly MembershipRecord[]
  /** Whoever asked, as the records make it. */
  readonly member: Member
  /** Multiaddrs of other members, by their keys. */
  readonly addresses: ReadonlyMap<PublicKey, readonly string[]>
}

/**
 * Reads the answer to a request of `ownKey` to join `agent`, and believes none of it: the records must be signed, lead
 * back to the genesis that the ticket named, and make `ownKey` a member. Gives them with that member, and where others of them are said to be:
 * whoever dials there finds out. The reason of a refusal is for a person.
 */
export function readJoinResponse(bytes: Uint8Array, agent: AgentId, ownKey: PublicKey): Result<JoinAnswer> {
  const decoded = decode(bytes)
  if (!decoded.ok) return decoded
  if (!Array.isArray(decoded.value) || decoded.value[0] !== joinVersion) return refuse(joinRefusals.malformed)
  const [, answer, told = []] = decoded.value as readonly unknown[]
  if (typeof answer === 'string') {
    return refuse(
      Object.hasOwn(joinRefusals, answer)
        ? joinRefusals[answer as JoinRefusal]
        : 'the other instance refused for a reason of a newer version',
    )
  }
  if (!Array.isArray(answer)) return refuse(joinRefusals.malformed)
  const received: MembershipRecord[] = []
  for (const item of answer as readonly unknown[]) {
    if (!isBytes(item)) return refuse('the answer holds what is no record')
    const record = decodeRecord(item)
    if (!record.ok) return refuse(`the answer holds a bad record: ${record.reason}`)
    received.push(record.value)
  }
  const table = memberTableOf(agent, received)
  const member = table.memberByKey(ownKey)
  if (member === undefined) return refuse('the answer does not prove that this instance was admitted: ask for a new ticket')
  const places = asListOf(told, membersToldMax, isPlace)
  if (places === undefined) return refuse('the answer holds addresses that are none')
  const addresses = places
    .map(([key, known]) => [bytesToId<PublicKey>(key), known] as const)
    .filter(([key, known]) => known.length > 0 && key !== ownKey && table.memberByKey(key) !== undefined)
  return ok({ records: table.records(), member, addresses: new Map(addresses) })
}

/** A key, and addresses of whoever has it. */
function isPlace(value: unknown): value is readonly [Uint8Array, readonly string[]] {
  const fields = asTuple(value, 2)
  return fields !== undefined && isBytes(fields[0], idBytes.key) && asListOf(fields[1], ticketAddressesMax, isAddress) !== undefined
}
