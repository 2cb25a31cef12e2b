/** The commands on membership: who belongs to the agent, and the tickets that let others in. */
import type { Invitation, InviteInput, Role } from '../api/client.ts'
import { countOf, durationToMilliseconds, refusal } from './arguments.ts'
import type { AgentContext, Doors } from './command.ts'
import { columnsOf, localTime } from './output.ts'

export function addMemberCommands({ program, command, onAgent }: Doors): void {
  command(program, 'members', 'List the instances of the agent', 'members').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      const members = await agent.members()
      const rows = members.map((member) => {
        const state = member.self ? 'this one' : member.connected ? 'connected' : 'offline'
        return [member.name, member.role, state, `since ${localTime(member.admitted)}`, member.id]
      })
      await output.answer(members, columnsOf(rows))
    }),
  )

  command(
    program,
    'invite',
    'Print a ticket that admits an instance; whoever holds it can join',
    'invite --expires 1h | ssh server selfsame join -',
  )
    .option('--role <role>', 'admin, writer or reader (default: writer)')
    .option('--expires <duration>', 'how long it can be used (default: 1h)')
    .option('--uses <count>', 'how many instances it admits (default: 1)')
    .option('--name <name>', 'what the new instance is called')
    .action(
      onAgent(
        async ({ agent, options, output, streams }: AgentContext<{ role?: string; expires?: string; uses?: string; name?: string }>) => {
          const invitation = await agent.invite(inviteOf(options))
          await output.answer(invitation, invitation.ticket)
          output.remark(invitationText(invitation, streams.stdout.isTTY === true))
        },
      ),
    )
}

/** How to use a ticket. It stands in there only where it is shown on a terminal anyway: remarks end in logs. */
function invitationText({ addresses, expires, reach, ticket }: Invitation, shown: boolean): string {
  const until = `On the other machine, until ${localTime(expires)}`
  const how = shown
    ? [
        `${until}, run`,
        '',
        `  selfsame join ${ticket}`,
        '',
        'or selfsame join alone, and paste the ticket: it then stands in no list of processes.',
      ]
    : [`${until}: selfsame join, then paste the ticket.`]
  const where = addresses.length === 0 ? [] : ['This instance is there at', ...addresses.map((address) => `  ${address}`)]
  return [...how, 'It is a secret: whoever holds it can join.', ...where, ...reachWarnings[reach]].join('\n')
}

/** What the addresses of a ticket are not good for. */
const reachWarnings: Readonly<Record<Invitation['reach'], readonly string[]>> = {
  nowhere: [
    "! The ticket names no address: nobody can join with it. This instance is offline ('selfsame network resume') or listens nowhere.",
  ],
  loopback: [
    "! These are loopback addresses: only this machine itself can reach them. Listen on 'lan', or name an address that others reach under network.announce, in config.toml.",
  ],
  private: [
    '! These are private or link-local addresses: only machines on the same network or VPN can reach them. For others open a port, and name its address under network.announce in config.toml.',
  ],
  public: [],
}

const roles: readonly Role[] = ['admin', 'writer', 'reader']

function inviteOf(options: { role?: string; expires?: string; uses?: string; name?: string }): InviteInput {
  const role = roles.find((each) => each === options.role)
  if (options.role !== undefined && role === undefined) throw refusal(`--role is one of ${roles.join(', ')}, not '${options.role}'`)
  return {
    ...(role === undefined ? {} : { role }),
    ...(options.expires === undefined ? {} : { expiresSeconds: Math.ceil(durationToMilliseconds(options.expires) / 1_000) }),
    ...(options.uses === undefined ? {} : { uses: countOf(options.uses, 1) }),
    ...(options.name === undefined ? {} : { name: options.name }),
  }
}
