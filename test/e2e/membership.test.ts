/** Membership among real daemons: roles, removals, connected and cut off, tickets that are of no use any more, a place given back. */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { agreed, connected, createGroup, freePort, textsOf, until } from './group.ts'
import type { Group, Instance, Said } from './group.ts'

/** How long a change of the membership may take to hold at an instance that is connected. */
const holdsMilliseconds = 2_000

let group: Group
let laptop: Instance
let server: Instance
let phone: Instance

beforeAll(async () => {
  group = await createGroup()
  laptop = await group.found('laptop')
  server = await group.join('server', laptop)
  phone = await group.join('phone', laptop, { role: 'reader' })
  await connected(laptop, server, phone)
})

afterAll(() => group.close())

/** The output of a command that must succeed. */
async function done(instance: Instance, ...args: string[]): Promise<string> {
  const { code, out, err } = await instance.selfsame(...args)
  expect([code, code === 0 ? '' : err]).toEqual([0, ''])
  return out
}

/** Who belongs to the agent and who did, by what every instance has to say alike. */
async function standing({ agent }: Instance): Promise<readonly unknown[]> {
  const { former, members } = await agent.members.list()
  return [
    ...members.map(({ id, name, role, admitted, admittedBy }) => ({ id, name, role, admitted, admittedBy })),
    ...former.map(({ id, name, state, admitted, admittedBy, removal }) => ({ id, name, state, admitted, admittedBy, removal })),
  ]
}

/** Waits until an instance lists another in such a state: the state of a former member, or the role of a member. */
function lists(instance: Instance, name: string, state: string): Promise<true> {
  return until(`${instance.home} lists ${name} as ${state}`, async () => {
    const { former, members } = await instance.agent.members.list()
    const found = [...members.map((each) => [each.name, each.role]), ...former.map((each) => [each.name, each.state])]
    return found.some(([called, is]) => called === name && is === state)
  })
}

/** Waits until an instance is connected to that one, or is not any more. */
function linked(instance: Instance, other: string, isLinked = true): Promise<true> {
  return until(`${instance.home} is ${isLinked ? '' : 'not '}connected to ${other}`, async () => {
    const { peers } = await instance.agent.status()
    return peers.some((peer) => peer.instance.name === other && peer.state === 'connected') === isLinked
  })
}

async function millisecondsOf(act: Promise<unknown>): Promise<number> {
  const began = performance.now()
  await act
  return performance.now() - began
}

test('a reader reads and cannot write; made a writer it can, and everybody has what it writes', async () => {
  await laptop.agent.log('memory').append({ text: 'by laptop' }, { replicas: 3, timeoutMs: 30_000 })
  expect(await textsOf(phone, 'memory')).toEqual(['by laptop'])
  const refused = await phone.selfsame('log', 'append', 'memory', 'by a reader')
  expect([refused.code, refused.err]).toEqual([77, expect.stringContaining('this instance is a reader')])
  const notAdmin = await phone.selfsame('members', 'role', 'phone', 'writer')
  expect([notAdmin.code, notAdmin.err]).toEqual([77, expect.stringContaining('only an admin can do this')])

  const change = JSON.parse(await done(laptop, 'members', 'role', 'phone', 'writer', '--json')) as { told: { name: string }[] }
  expect(change).toMatchObject({ untold: [] })
  expect(change.told.map(({ name }) => name).toSorted()).toEqual(['phone', 'server'])
  const milliseconds = await millisecondsOf(lists(phone, 'phone', 'writer'))
  expect(milliseconds).toBeLessThan(holdsMilliseconds)
  await phone.agent.log('memory').append({ text: 'by a writer' }, { replicas: 3, timeoutMs: 30_000 })
  await agreed(laptop, server, phone)
  expect(await textsOf(server, 'memory')).toEqual(['by laptop', 'by a writer'])
})

test('an instance is called something else everywhere', async () => {
  expect(await done(laptop, 'members', 'rename', 'server', 'rack')).toBe('server is rack now\n')
  for (const instance of [laptop, server, phone]) await lists(instance, 'rack', 'writer')
  const id = (await server.agent.status()).instance.id
  expect(await done(laptop, 'members', 'rename', id.slice(0, 8), 'server')).toBe('rack is server now\n')
  for (const instance of [laptop, server, phone]) await lists(instance, 'server', 'writer')
  const unknown = await laptop.selfsame('members', 'rename', 'rak', 'x')
  expect([unknown.code, unknown.err]).toEqual([66, expect.stringContaining("there is no instance 'rak': there are laptop, server, phone")])
})

test('a removed instance is out within two seconds: listed so, hung up on, and what it would write is refused', async () => {
  const before = await textsOf(phone, 'memory')
  const command = laptop.selfsame('members', 'remove', 'phone', '--reason', 'left on a train')
  await lists(laptop, 'phone', 'removed')
  const others = Promise.all([
    ...[server, phone].map((instance) => lists(instance, 'phone', 'removed')),
    ...['laptop', 'server'].map((name) => linked(phone, name, false)),
  ])
  const milliseconds = await millisecondsOf(others)
  console.log(`removed everywhere ${milliseconds.toFixed(0)} ms after the first instance`)
  expect(milliseconds).toBeLessThan(holdsMilliseconds)
  const said = await command
  expect([said.code, said.out]).toEqual([0, 'phone is removed\n'])
  expect(said.err).toMatch(/What phone has copied stays copied[^]*sent to 2 others, connected now: server, phone/)
  for (const { agent } of [laptop, server]) {
    expect((await agent.status()).peers.map((peer) => peer.instance.name)).not.toContain('phone')
    expect((await agent.members.list()).former).toMatchObject([
      { name: 'phone', state: 'removed', removal: { by: { name: 'laptop' }, reason: 'left on a train' } },
    ])
  }

  const status = (await phone.selfsame('status')).out
  expect(status).toContain('phone  removed: no member any more')
  expect(status).toMatch(/! removed: this instance was removed by laptop \(left on a train\): it keeps .*members role 'phone' writer/)
  const refused = await phone.selfsame('log', 'append', 'memory', 'from outside')
  expect([refused.code, refused.err]).toEqual([77, expect.stringContaining('was removed from the agent')])
  expect(await textsOf(phone, 'memory')).toEqual(before)

  await laptop.agent.log('memory').append({ text: 'after the removal' }, { replicas: 2, timeoutMs: 30_000 })
  await agreed(laptop, server)
  expect(await textsOf(server, 'memory')).toEqual([...before, 'after the removal'])
  expect(await textsOf(phone, 'memory')).toEqual(before)
  await phone.stop()
})

/** `selfsame join` with a ticket into a home of that name. */
async function joinWith(ticket: string, name: string, ...more: string[]): Promise<Said> {
  return group.selfsame(['join', '--home', join(group.directory, name), ...more], { input: `${ticket}\n` })
}

/** What a join with the ticket is refused with: the exit code and the last line. */
async function refusalOf(ticket: string, name = 'nobody'): Promise<readonly [number | null, string]> {
  const { code, err } = await joinWith(ticket, name)
  return [code, err.trimEnd().split('\n').at(-1) ?? '']
}

const unknownTicket = [77, 'selfsame: the other instance does not know this ticket (any more): ask for a new one']

test('an instance removed while it was away hears of it when it is back; with its ticket neither it nor anybody comes in again', async () => {
  const port = await freePort()
  const { ticket } = await laptop.agent.invite({ uses: 3, name: 'pi' })
  expect((await joinWith(ticket, 'pi', '--listen', 'loopback', '--port', String(port))).code).toBe(0)
  const pi = group.at(join(group.directory, 'pi'), port)
  await pi.up()
  await linked(pi, 'laptop')
  expect(await laptop.agent.invites.list()).toMatchObject([{ role: 'writer', name: 'pi', usesLeft: 2 }])
  await pi.agent.network.pause()
  await pi.agent.log('memory').append({ text: 'received by nobody' })
  const { err } = await laptop.selfsame('members', 'remove', 'pi')
  expect(err).toContain('not yet to pi: they hear of it when they connect')
  await pi.agent.network.resume()
  await lists(pi, 'pi', 'removed')
  await expect(pi.agent.log('memory').append({ text: 'no' })).rejects.toMatchObject({ code: 'forbidden' })
  await pi.stop()
  expect(await textsOf(laptop, 'memory')).not.toContain('received by nobody')
  expect(await laptop.agent.invites.list()).toEqual([])
  expect(await refusalOf(ticket, 'pi')).toEqual(unknownTicket)
  expect(await refusalOf(ticket)).toEqual(unknownTicket)
})

test('tickets that are used up, expired or revoked admit nobody, and say why', async () => {
  const once = await laptop.agent.invite({ name: 'once' })
  expect((await joinWith(once.ticket, 'once')).code).toBe(0)
  expect(await refusalOf(once.ticket)).toEqual([77, 'selfsame: the ticket has been used already: ask for a new one'])

  const revoked = await laptop.agent.invite({ role: 'reader', uses: 3 })
  const [id = ''] = (await done(laptop, 'invites')).split(' ')
  expect(await done(laptop, 'invite', 'revoke', id)).toBe(`${id} is revoked\n`)
  expect(await done(laptop, 'invites')).toBe('no open invites\n')
  expect(await refusalOf(revoked.ticket)).toEqual(unknownTicket)
  expect((await laptop.selfsame('invite', 'revoke', id)).code).toBe(66)

  const short = await laptop.agent.invite({ expiresSeconds: 1 })
  // Where no invite is open at all, nobody is told anything.
  await laptop.agent.invite()
  await until('the ticket has expired', async () => Date.now() > Date.parse(short.expires))
  expect(await refusalOf(short.ticket)).toEqual([77, 'selfsame: the ticket has expired: ask for a new one'])
  expect((await laptop.agent.members.list()).members.map(({ name }) => name)).toEqual(['laptop', 'server', 'once'])
})

test('a removal during a partition, healed: one listing, the same digests, and nothing that others had taken is lost', async () => {
  const tablet = await group.join('tablet', laptop)
  await Promise.all([linked(laptop, 'server'), linked(tablet, 'laptop'), linked(tablet, 'server')])
  await tablet.agent.log('trip').append({ text: 'before' }, { replicas: 3, timeoutMs: 30_000 })

  await done(laptop, 'network', 'pause')
  await done(laptop, 'members', 'remove', 'tablet', '--reason', 'sold')
  // On the other side nobody knows yet: the server takes what the tablet writes, and builds on it.
  const held = await tablet.agent.log('trip').append({ text: 'during' }, { replicas: 2, timeoutMs: 30_000 })
  expect(held.replicas.held).toBe(2)
  await tablet.agent.text('SOUL.md').put('I am kevin.\n', { replicas: 2, timeoutMs: 30_000 })
  const soul = await server.agent.text('SOUL.md').get()
  await server.agent.text('SOUL.md').put(`${soul.text}I like mornings.\n`, { base: soul.version })
  await laptop.agent.log('trip').append({ text: 'alone' })
  await server.agent.counter('karma').add('a', 2)

  await done(laptop, 'network', 'resume')
  await Promise.all([lists(server, 'tablet', 'removed'), lists(tablet, 'tablet', 'removed'), linked(tablet, 'server', false)])
  await linked(laptop, 'server')
  await agreed(laptop, server)
  expect(await standing(server)).toEqual(await standing(laptop))
  for (const instance of [laptop, server]) {
    expect((await textsOf(instance, 'trip')).toSorted()).toEqual(['alone', 'before', 'during'])
    expect((await instance.agent.text('SOUL.md').get()).text).toBe('I am kevin.\nI like mornings.\n')
  }
  await expect(tablet.agent.log('trip').append({ text: 'after' })).rejects.toMatchObject({ code: 'forbidden' })
  await tablet.stop()
})

test('whoever lost its place with its admitter says so, and gets it back with a role', async () => {
  const boss = await group.join('boss', laptop, { role: 'admin' })
  await linked(boss, 'server')
  await done(laptop, 'network', 'pause')
  await done(laptop, 'members', 'remove', 'boss')
  const guest = await group.join('guest', boss)
  // Without it the guest would know no address but its admitter's, and could not be told anything any more.
  await linked(guest, 'server')
  await done(laptop, 'network', 'resume')

  for (const instance of [laptop, server, guest]) {
    await lists(instance, 'guest', 'suspended')
    await lists(instance, 'boss', 'removed')
  }
  expect(await standing(server)).toEqual(await standing(laptop))
  expect(await done(laptop, 'members')).toMatch(/no member.*:[^]*guest +suspended +with boss, which had admitted it/)
  expect((await guest.selfsame('status')).out).toMatch(
    /! suspended: this instance lost its place with boss, which had admitted it: .*members role 'guest' writer/,
  )
  await expect(guest.agent.log('memory').append({ text: 'no' })).rejects.toMatchObject({ code: 'forbidden' })

  await done(laptop, 'members', 'role', 'guest', 'writer')
  const milliseconds = await millisecondsOf(lists(guest, 'guest', 'writer'))
  console.log(`a place given back was known there after ${milliseconds.toFixed(0)} ms`)
  await guest.agent.log('memory').append({ text: 'back again' })
  await agreed(laptop, server, guest)
  expect(await textsOf(server, 'memory')).toContain('back again')
  expect(await standing(guest)).toEqual(await standing(laptop))
  await boss.stop()
  await guest.stop()
})

test('an instance that leaves is gone everywhere, and says that it left', async () => {
  const only = await laptop.selfsame('members', 'remove', 'laptop')
  expect([only.code, only.err]).toEqual([77, expect.stringContaining('laptop is the only admin')])
  expect(await done(server, 'members', 'remove', 'server')).toBe('server has left\n')
  await lists(laptop, 'server', 'removed')
  expect(await done(laptop, 'members')).toMatch(/server +removed +since .*, by itself/)
  expect((await server.selfsame('status')).out).toContain('! removed: this instance left the agent: it keeps the memory')
  await expect(server.agent.log('memory').append({ text: 'no' })).rejects.toMatchObject({ code: 'forbidden' })
})
