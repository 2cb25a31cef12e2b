/**
 * The part of the API's port that is about who belongs to the agent: lists, finding whom a person means, changes and who has
 * heard of them, invites. Whether something may be done is the membership desk's to decide.
 */
import type { AgentPort, Author, FormerMember, Member } from '../api/index.ts'
import { SelfsameError } from '../core/index.ts'
import type { InstanceId } from '../core/index.ts'
import type { FormerMember as FormerInstance, Member as PresentInstance } from '../membership/index.ts'
import { addressReach } from '../network/index.ts'
import type { Reach } from '../network/index.ts'
import type { Replica } from '../replica/index.ts'
import { isoOf } from './iso-time.ts'
import { nearestName } from './nearest-name.ts'

export interface MembershipPortOptions {
  readonly replica: Replica
  readonly authorOf: (instance: InstanceId) => Author
  /** Name and version of this program. */
  readonly program: string
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
}

export type MembershipPort = Pick<
  AgentPort,
  'members' | 'findMember' | 'giveRole' | 'renameMember' | 'removeMember' | 'invite' | 'invites' | 'revokeInvite'
>

export function createMembershipPort({ replica, authorOf, program, now }: MembershipPortOptions): MembershipPort {
  const { identity, membership } = replica
  const authorOrRoot = (instance: InstanceId | null): Author | null => (instance === null ? null : authorOf(instance))
  const connected = (): ReadonlySet<InstanceId> =>
    new Set(replica.peers().flatMap(({ instance, state }) => (state === 'connected' ? [instance] : [])))

  const knownToJson = ({ admittedBy, instance, label, time }: PresentInstance | FormerInstance) => ({
    id: instance,
    name: label,
    admitted: isoOf(time),
    admittedBy: authorOrRoot(admittedBy),
    self: instance === identity.instance,
  })

  function presentToJson(): readonly Member[] {
    const peers = new Map(replica.peers().map((peer) => [peer.instance, peer]))
    return replica.members.members.map((member) => {
      const isSelf = member.instance === identity.instance
      const peer = peers.get(member.instance)
      const isConnected = isSelf || peer?.state === 'connected'
      const seenAt = isConnected ? now() : (peer?.toldAt ?? null)
      return {
        ...knownToJson(member),
        role: member.role,
        key: member.key,
        connected: isConnected,
        lastSeen: seenAt === null ? null : isoOf(seenAt),
        program: isSelf ? program : (peer?.program ?? null),
      }
    })
  }

  function formerToJson(former: FormerInstance): FormerMember {
    const { removal, state } = former
    return {
      ...knownToJson(former),
      state,
      removal: removal === null ? null : { time: isoOf(removal.time), by: authorOrRoot(removal.by), reason: removal.reason },
    }
  }

  async function members(): ReturnType<AgentPort['members']> {
    return { members: presentToJson(), former: replica.members.former.map(formerToJson) }
  }

  /** Makes a change of the instance `id`, and tells to whom it went at once. */
  async function change(id: string, act: () => Promise<void>): ReturnType<AgentPort['giveRole']> {
    // Before: whoever leaves is hung up on by the others.
    const hearing = connected()
    await act()
    const removed = replica.members.former.filter(({ instance }) => instance === id)
    const concerned = [...replica.members.members, ...removed].filter(({ instance }) => instance !== identity.instance)
    const authorsWhere = (isMeant: (instance: InstanceId) => boolean): readonly Author[] =>
      concerned.flatMap(({ instance }) => (isMeant(instance) ? [authorOf(instance)] : []))
    return { told: authorsWhere((instance) => hearing.has(instance)), untold: authorsWhere((instance) => !hearing.has(instance)) }
  }

  return {
    members,

    async findMember(name) {
      const { former, members: present } = await members()
      return memberMeant(name, [...present, ...former])
    },

    giveRole: (id, role, reason) => change(id, () => membership.giveRole(id as InstanceId, role, reason)),
    renameMember: (id, name) => change(id, () => membership.rename(id as InstanceId, name)),
    removeMember: (id, reason) => change(id, () => membership.giveRole(id as InstanceId, null, reason)),

    async invite({ role, expiresSeconds, uses, name }) {
      const request = { role, durationMilliseconds: expiresSeconds * 1_000, uses, name: name ?? null }
      const { addresses, invite, ticket } = await membership.invite(request)
      return { ticket, expires: isoOf(invite.expiresAt), addresses, reach: farthestReach(addresses) }
    },

    async invites() {
      return membership
        .openInvites()
        .map(({ expiresAt, key, name, role, usesLeft }) => ({ id: key, role, name, usesLeft, expires: isoOf(expiresAt) }))
    },

    async revokeInvite(id) {
      const [meant, ...others] = membership.openInvites().filter(({ key }) => key.startsWith(id))
      if (meant === undefined) throw new SelfsameError('not-found', `there is no open invite ${id} here: see 'selfsame invites'`)
      if (others.length > 0) throw new SelfsameError('invalid-request', `several invites begin with ${id}: give more digits of the id`)
      await membership.revokeInvite(meant.key)
    },
  }
}

/** Digits of an id that may stand for the whole, where only one begins so. */
const idPrefix = /^[0-9a-f]{4,31}$/
/** Names that a refusal shows. */
const candidatesMax = 8

/** Whom `name` means: a name as listed, an id, or the first digits of one. Throws `not-found`, `invalid-request`. */
export function memberMeant<Known extends { readonly id: string; readonly name: string }>(name: string, known: readonly Known[]): Known {
  // Nobody takes another's place by taking its id as a name.
  const exact = known.find(({ id }) => id === name)
  if (exact !== undefined) return exact
  const [meant, ...others] = known.filter((each) => each.name === name || (idPrefix.test(name) && each.id.startsWith(name)))
  if (meant === undefined) throw new SelfsameError('not-found', `there is no instance '${name}': ${suggestion(name, known)}`)
  if (others.length > 0) {
    const candidates = [meant, ...others].map((each) => `${each.name} (${each.id})`)
    throw new SelfsameError('invalid-request', `'${name}' can be ${candidates.join(' or ')}: give its id`)
  }
  return meant
}

function suggestion(name: string, known: readonly { readonly name: string }[]): string {
  const names = known.map((each) => each.name)
  const nearest = nearestName(name, names)
  if (nearest !== undefined) return `did you mean '${nearest}'?`
  const more = names.length > candidatesMax ? `, and ${names.length - candidatesMax} more` : ''
  return `there are ${names.slice(0, candidatesMax).join(', ')}${more}`
}

/** From where a machine with these addresses can be reached. */
function farthestReach(addresses: readonly string[]): Reach | 'nowhere' {
  const found = new Set(addresses.map(addressReach))
  return (['public', 'private', 'loopback'] as const).find((reach) => found.has(reach)) ?? 'nowhere'
}
