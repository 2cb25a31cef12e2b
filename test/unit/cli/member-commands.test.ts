/** What the commands on membership ask for, and what they say before and after. */
import { describe, expect, test } from 'vitest'
import { SelfsameError } from '../../../src/api/client.ts'
import type { Connect, FormerMember, Invite, Member, MemberList, MembershipChange } from '../../../src/api/client.ts'
import { run } from './console.ts'
import type { RunOptions, Said } from './console.ts'

const time = '2026-11-21T10:33:05.000Z'

function memberOf(name: string, extra: Partial<Member> = {}): Member {
  const id = Buffer.from(name.padEnd(16, '.')).toString('hex')
  const seen = { connected: true, lastSeen: time, program: 'selfsame 1.2.3' }
  return { id, name, role: 'writer', key: 'k', admitted: time, admittedBy: null, self: false, ...seen, ...extra }
}

const laptop = memberOf('laptop', { role: 'admin', self: true })
const author = { id: laptop.id, name: laptop.name }
const phone = memberOf('phone', { admittedBy: author, connected: false, role: 'reader' })
const boss = memberOf('boss', { role: 'admin' })
const lost: FormerMember = {
  id: '99'.repeat(16),
  name: 'lost',
  admitted: time,
  admittedBy: author,
  self: false,
  state: 'removed',
  removal: { time, by: author, reason: 'on a train' },
}

interface Asked extends Said {
  readonly asked: readonly (readonly unknown[])[]
}

/** Runs a command on an agent with these members; `change` is what each change is answered with. */
async function call(words: readonly string[], list: MemberList, change: MembershipChange, options: RunOptions = {}): Promise<Asked> {
  const asked: unknown[][] = []
  const ask =
    (what: string) =>
    (...args: unknown[]): Promise<MembershipChange> => {
      asked.push([what, ...args.filter((arg) => arg !== undefined)])
      return Promise.resolve(change)
    }
  const find = async (name: string): Promise<Member | FormerMember> => {
    const found = [...list.members, ...list.former].find((each) => each.name === name || each.id === name)
    if (found === undefined) throw new SelfsameError('not-found', `there is no instance '${name}'`)
    return found
  }
  const members = { list: async () => list, find, giveRole: ask('role'), remove: ask('remove'), rename: ask('rename') }
  const connect: Connect = () => Promise.resolve({ close: async () => {}, members } as never)
  return { ...(await run(words, connect, options)), asked }
}

const all: MemberList = { members: [boss, laptop, phone], former: [lost] }
const nobodyElse: MembershipChange = { told: [], untold: [] }

describe('members', () => {
  test('lists who belongs to the agent and who did, with all facts', async () => {
    const suspended: FormerMember = { ...lost, id: '88'.repeat(16), name: 'tab', state: 'suspended', removal: null }
    const list = { members: [laptop, memberOf('server'), phone, { ...phone, lastSeen: null, program: null }], former: [lost, suspended] }
    const { out } = await call(['members'], list, nobodyElse)
    const at = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`
    expect(out.split('\n').map((line) => line.replaceAll(/ {2,}/g, '  '))).toEqual([
      expect.stringMatching(`^laptop  admin  this one  since ${at}, by the root key  selfsame 1.2.3  6c617074$`),
      expect.stringMatching(`^server  writer  connected  since ${at}, by the root key  selfsame 1.2.3  73657276$`),
      expect.stringMatching(`^phone  reader  seen ${at}  since ${at}, by laptop  selfsame 1.2.3  70686f6e$`),
      expect.stringMatching(`^phone  reader  not seen yet  since ${at}, by laptop  version unknown  70686f6e$`),
      '',
      'no members any more:',
      expect.stringMatching(`^lost  removed  since ${at}, by laptop: on a train  admitted ${at}, by laptop  99999999$`),
      expect.stringMatching(`^tab  suspended  with laptop, which had admitted it  admitted ${at}, by laptop  88888888$`),
      '',
    ])
    expect(JSON.parse((await call(['members', '--json'], list, nobodyElse)).out)).toEqual(list)
  })

  test('says of one that left that it did', async () => {
    const left: FormerMember = { ...lost, self: true, removal: { time, by: { id: lost.id, name: lost.name }, reason: '' } }
    expect((await call(['members'], { members: [laptop], former: [left] }, nobodyElse)).out).toMatch(
      /lost {2}removed {2}this one, since \S+ \S+, by itself {2}/,
    )
  })

  test('role: by name, with the id of whom it means, and tells who has heard', async () => {
    const change = { told: [{ id: boss.id, name: 'boss' }], untold: [{ id: phone.id, name: 'phone' }] }
    const said = await call(['members', 'role', 'lost', 'writer', '--reason', 'found'], all, change)
    expect(said.asked).toEqual([['role', lost.id, 'writer', 'found']])
    expect(said.out).toBe('lost is writer now\n')
    expect(said.err).toBe('sent to 1 other, connected now: boss\nnot yet to phone: they hear of it when they connect to any that knows\n')
    expect(JSON.parse((await call(['members', 'role', 'lost', 'writer', '--json'], all, change)).out)).toEqual(change)
  })

  test('role: a role that is none is refused before anything is asked', async () => {
    const { code, err, asked } = await call(['members', 'role', 'phone', 'king'], all, nobodyElse)
    expect([code, err, asked]).toEqual([64, "selfsame: the role is one of admin, writer, reader, not 'king'\n", []])
  })

  test('rename: by name', async () => {
    expect((await call(['members', 'rename', 'phone', 'tablet'], all, nobodyElse)).asked).toEqual([['rename', phone.id, 'tablet']])
  })

  test.each(['role nobody writer', 'remove nobody', 'rename nobody x'])('%s: nobody of that name ends with 66', async (line) => {
    const { code, asked } = await call(['members', ...line.split(' ')], all, nobodyElse)
    expect([code, asked]).toEqual([66, []])
  })
})

describe('members remove', () => {
  const remove = (name: string, options: RunOptions = {}, ...more: string[]): Promise<Asked> =>
    call(['members', 'remove', name, ...more], all, nobodyElse, options)

  test('says what it cannot undo, and does not ask where there is no terminal', async () => {
    const { code, err, asked } = await remove('phone', {}, '--reason', 'stolen')
    expect([code, asked]).toEqual([0, [['remove', phone.id, 'stolen']]])
    expect(err).toContain('phone (reader, instance 70686f6e)')
    expect(err).toContain('What phone has copied stays copied')
    expect(err).toContain('What nobody has received yet is lost')
    expect(err).not.toMatch(/senior|Go on/)
  })

  test.each(['y\n', 'Yes\n', 'y'])('at a terminal goes on after %j', async (input) => {
    const { code, err, asked } = await remove('phone', { isTTY: true, input })
    expect([code, asked]).toEqual([0, [['remove', phone.id]]])
    expect(err).toMatch(/stays copied[^]*Go on\? \[y\/N\] /)
  })

  test.each(['n\n', '\n', '', 'yesterday\n', '\ny\n'])('at a terminal does nothing after %j', async (input) => {
    const { code, err, asked } = await remove('phone', { isTTY: true, input })
    expect([code, asked]).toEqual([64, []])
    expect(err).toMatch(/nothing was done\n$/)
  })

  test('with --yes does not ask', async () => {
    const { asked, err } = await remove('phone', { isTTY: true }, '--yes')
    expect(asked).toEqual([['remove', phone.id]])
    expect(err).not.toContain('Go on')
  })

  test('warns of an admin that is more senior: it could remove this instance in turn', async () => {
    expect((await remove('boss')).err).toMatch(/boss is more senior[^]*root key/)
  })

  test('of this instance itself is leaving, and says what that means', async () => {
    const { out, err } = await remove('laptop')
    expect(out).toBe('laptop has left\n')
    expect(err).toMatch(/leaves the agent[^]*keeps the memory[^]*To come back/)
  })
})

describe('invites', () => {
  const invite: Invite = { id: 'ab'.repeat(32), role: 'writer', name: null, usesLeft: 2, expires: time }
  const agentOf = (methods: object): Connect => {
    return () => Promise.resolve({ close: async () => {}, invites: methods } as never)
  }

  test('are listed without what makes them secret', async () => {
    const list = [invite, { ...invite, name: 'pi', usesLeft: 1 }]
    const { out } = await run(['invites'], agentOf({ list: async () => list }))
    expect(out).toMatch(
      /^abababab {2}writer {2}any name {2}2 uses left {2}until \S+ \S+\nabababab {2}writer {2}as pi {5}1 use left {3}until/,
    )
    expect(JSON.parse((await run(['invites', '--json'], agentOf({ list: async () => list }))).out)).toEqual(list)
    expect((await run(['invites'], agentOf({ list: async () => [] }))).out).toBe('no open invites\n')
  })

  test('are revoked by what the list shows', async () => {
    const revoked: string[] = []
    const { code } = await run(['invite', 'revoke', 'abababab'], agentOf({ revoke: async (id: string) => void revoked.push(id) }))
    expect([code, revoked]).toEqual([0, ['abababab']])
  })
})
