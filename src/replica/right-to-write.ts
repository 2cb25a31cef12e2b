/** Whether this instance may write now, and what to tell whoever asks it to where it may not. */
import { SelfsameError } from '../core/index.ts'
import type { MemberTable } from '../membership/index.ts'
import type { Identity } from './writer.ts'

/** Whether an instance is a member that writes, under the key that it has now. */
export function mayWrite(members: MemberTable, { instance, key }: Identity): boolean {
  const member = members.member(instance)
  return member !== undefined && member.role !== 'reader' && member.keys.includes(key.publicKey)
}

/** Why it may not, and what helps. */
export function writeRefusal(members: MemberTable, { instance }: Identity): SelfsameError {
  const state = members.formerMember(instance)?.state
  const why =
    state !== undefined
      ? `this instance was ${state} from the agent: an admin can give it a role again`
      : members.member(instance)?.role === 'reader'
        ? 'this instance is a reader: an admin of the agent can make it a writer'
        : "this instance goes on elsewhere with a new key: what this home has is a copy; let it join anew ('selfsame join TICKET --new-instance')"
  return new SelfsameError('forbidden', why)
}
