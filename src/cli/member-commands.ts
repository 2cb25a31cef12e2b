/** The commands on membership: who belongs to the agent, and the tickets that let others in. */
import { createInterface } from 'node:readline'
import type { Author, FormerMember, Invitation, Invite, InviteInput, Member, MemberList, MembershipChange, Role } from '../api/client.ts'
import { countOf, durationToMilliseconds, refusal } from './arguments.ts'
import type { AgentContext, Doors } from './command.ts'
import { amountText, columnsOf, localTime, printable } from './output.ts'
import type { Streams } from './output.ts'

export function addMemberCommands({ program, command, onAgent }: Doors): void {
  const members = command(program, 'members', 'List the instances of the agent, and those that have lost their place', 'members').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      const list = await agent.members.list()
      await output.answer(list, listText(list))
    }),
  )

  command(members, 'role <name> <role>', 'Give an instance a role: admin, writer or reader', 'members role phone reader')
    .addHelpText('after', `\n${whoText}\nAn instance that was removed or suspended gets its place back in this way.`)
    .option('--reason <text>', 'why; all instances keep it')
    .action(
      onAgent(async (context: AgentContext<ReasonOption>, name: string, given: string) => {
        const { agent, options } = context
        const role = roleOf(given, 'the role')
        const { id, name: called } = await agent.members.find(name)
        const change = await agent.members.giveRole(id, role, options.reason)
        await answerChange(context, change, `${called} is ${role} now`)
      }),
    )

  command(members, 'remove <name>', 'Remove an instance; this one: leave the agent', 'members remove phone --reason "lost on a train"')
    .addHelpText('after', `\n${whoText}\nWhat this cannot undo is said before it is done; at a terminal it asks.`)
    .option('--reason <text>', 'why; all instances keep it')
    .option('-y, --yes', 'do not ask')
    .action(
      onAgent(async (context: AgentContext<ReasonOption & { yes?: boolean }>, name: string) => {
        const { agent, options, output, streams } = context
        const target = await agent.members.find(name)
        const consequences = consequencesOf(target, await agent.members.list())
        if (options.yes === true || streams.stdin.isTTY !== true) output.remark(consequences)
        else await confirm(streams, consequences)
        const change = await agent.members.remove(target.id, options.reason)
        await answerChange(context, change, target.self ? `${target.name} has left` : `${target.name} is removed`)
      }),
    )

  command(members, 'rename <name> <new-name>', 'Call an instance something else', 'members rename phone tablet')
    .addHelpText('after', `\n${whoText}`)
    .action(
      onAgent(async (context: AgentContext<object>, name: string, newName: string) => {
        const { agent } = context
        const { id, name: called } = await agent.members.find(name)
        const change = await agent.members.rename(id, newName)
        await answerChange(context, change, `${called} is ${(await agent.members.find(id)).name} now`)
      }),
    )
}

interface ReasonOption {
  readonly reason?: string
}

const whoText = "NAME is one as 'selfsame members' lists it, or the id of an instance, or its first digits, at least 4."

function listText({ former, members }: MemberList): string {
  const present = columnsOf(members.map(memberCells))
  return former.length === 0 ? present : `${present}\n\nno members any more:\n${columnsOf(former.map(formerCells))}`
}

function memberCells(member: Member): readonly string[] {
  const seen = member.lastSeen === null ? 'not seen yet' : `seen ${localTime(member.lastSeen)}`
  const state = member.self ? 'this one' : member.connected ? 'connected' : seen
  return [member.name, member.role, state, `since ${admissionOf(member)}`, member.program ?? 'version unknown', shortId(member)]
}

function formerCells(former: FormerMember): readonly string[] {
  const { admittedBy, removal } = former
  const reason = removal === null || removal.reason === '' ? '' : `: ${removal.reason}`
  const end =
    removal === null
      ? `with ${nameOrRoot(admittedBy)}, which had admitted it`
      : `since ${localTime(removal.time)}, by ${removal.by?.id === former.id ? 'itself' : nameOrRoot(removal.by)}${reason}`
  return [former.name, former.state, ...(former.self ? [`this one, ${end}`] : [end]), `admitted ${admissionOf(former)}`, shortId(former)]
}

function admissionOf({ admitted, admittedBy }: Member | FormerMember): string {
  return `${localTime(admitted)}, by ${nameOrRoot(admittedBy)}`
}

function nameOrRoot(author: Author | null): string {
  return author?.name ?? 'the root key'
}

/** As many digits of an id as tell it from others at a glance. */
function shortId({ id }: { readonly id: string }): string {
  return id.slice(0, 8)
}

/** What a removal does not do, and what it costs: before it is done. */
function consequencesOf(target: Member | FormerMember, { members }: MemberList): string {
  const { name, self } = target
  const who = `${name} (${'role' in target ? target.role : target.state}, instance ${shortId(target)})`
  if (self) {
    return [
      `This instance, ${who}, leaves the agent.`,
      '- It keeps the memory that it has, gets nothing more, and cannot write.',
      '- What it wrote and others have stays in the memory. What nobody has received yet is lost to the group.',
      '- To come back it needs an admin, who gives it a role, or a ticket, with which it joins as a new instance.',
    ].join('\n')
  }
  const rank = (isMeant: (member: Member) => boolean): number => members.findIndex(isMeant)
  const isSenior = 'role' in target && target.role === 'admin' && rank(({ id }) => id === target.id) < rank((member) => member.self)
  return [
    `Removing ${who} ends its part in the agent wherever that is heard of. It cannot undo what was:`,
    `- What ${name} has copied stays copied: it keeps the memory that it has.`,
    `- What ${name} wrote and others have stays in the memory. What nobody has received yet is lost to the group.`,
    ...(isSenior
      ? [
          `- ${name} is more senior than this instance. If its key is in hostile hands it can remove this one in turn:`,
          "  then bring the root key here first, which nobody can overrule ('selfsame key import FILE'): the removal is then signed with it.",
        ]
      : []),
  ].join('\n')
}

/** Tells what is about to happen, and goes on when it is agreed to. Throws `invalid-request` where it is not. */
async function confirm({ stdin, stderr }: Streams, consequences: string): Promise<void> {
  stderr.write(printable(`${consequences}\nGo on? [y/N] `))
  const terminal = createInterface({ input: stdin })
  try {
    for await (const line of terminal) {
      if (/^y(es)?$/i.test(line.trim())) return
      break
    }
  } finally {
    terminal.close()
  }
  throw refusal('nothing was done')
}

async function answerChange({ output }: AgentContext<object>, change: MembershipChange, done: string): Promise<void> {
  const { told, untold } = change
  await output.answer(change, done)
  if (told.length > 0) output.remark(`sent to ${amountText(told.length, 'other', 'others')}, connected now: ${namesOf(told)}`)
  if (untold.length > 0) output.remark(`not yet to ${namesOf(untold)}: they hear of it when they connect to any that knows`)
}

function namesOf(authors: readonly Author[]): string {
  return authors.map(({ name }) => name).join(', ')
}

interface InviteOptions {
  readonly role?: string
  readonly expires?: string
  readonly uses?: string
  readonly name?: string
}

export function addInviteCommands({ program, command, onAgent }: Doors): void {
  const invite = command(
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
      onAgent(async ({ agent, options, output, streams }: AgentContext<InviteOptions>) => {
        const invitation = await agent.invite(inviteOf(options))
        await output.answer(invitation, invitation.ticket)
        output.remark(invitationText(invitation, streams.stdout.isTTY === true))
      }),
    )

  command(invite, 'revoke <id>', 'End a ticket of this instance: it admits nobody any more', 'invite revoke 1a2b3c4d')
    .addHelpText('after', "\nID is one as 'selfsame invites' lists it. Whoever joined with the ticket stays.")
    .action(
      onAgent(async ({ agent, output }: AgentContext<object>, id: string) => {
        await agent.invites.revoke(id)
        await output.answer({ revoked: id }, `${id} is revoked`)
      }),
    )

  command(program, 'invites', 'List the tickets of this instance that can still be used', 'invites').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      const invites = await agent.invites.list()
      await output.answer(invites, invites.length === 0 ? 'no open invites' : columnsOf(invites.map(inviteCells)))
    }),
  )
}

function inviteCells({ expires, id, name, role, usesLeft }: Invite): readonly string[] {
  const left = `${amountText(usesLeft, 'use', 'uses')} left`
  return [shortId({ id }), role, name === null ? 'any name' : `as ${name}`, left, `until ${localTime(expires)}`]
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

function roleOf(given: string, what: string): Role {
  const role = roles.find((each) => each === given)
  if (role === undefined) throw refusal(`${what} is one of ${roles.join(', ')}, not '${given}'`)
  return role
}

function inviteOf({ expires, name, role, uses }: InviteOptions): InviteInput {
  return {
    ...(role === undefined ? {} : { role: roleOf(role, '--role') }),
    ...(expires === undefined ? {} : { expiresSeconds: Math.ceil(durationToMilliseconds(expires) / 1_000) }),
    ...(uses === undefined ? {} : { uses: countOf(uses, 1) }),
    ...(name === undefined ? {} : { name }),
  }
}
