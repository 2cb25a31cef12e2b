/** The life of a daemon among others: offline and back, stopping in good order, who may join, who is let in, and watching through a restart. */
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { socketPathOf } from '../../src/api/client.ts'
import type { Change } from '../../src/api/client.ts'
import { createSigningKey, systemClock, systemRandom } from '../../src/core/index.ts'
import type { PublicKey } from '../../src/core/index.ts'
import { createLibp2pTransport } from '../../src/network/index.ts'
import type { TransportHandlers } from '../../src/network/index.ts'
import { agreed, connected, createGroup, textsOf, until } from './group.ts'
import type { Group, Instance, Said } from './group.ts'

let group: Group
let laptop: Instance
let server: Instance

beforeAll(async () => {
  group = await createGroup()
  laptop = await group.found('laptop')
  server = await group.join('server', laptop)
  await connected(laptop, server)
})

afterAll(() => group.close())

test('an instance that is offline on purpose goes on alone, also through a restart, and catches up when it is back', async () => {
  expect((await server.selfsame('network', 'pause', '--json')).out).toBe('{"paused":true}\n')
  await until('the laptop sees it go', async () => (await laptop.agent.status()).peers.every((peer) => peer.state !== 'connected'))
  await laptop.agent.register('profile').set('city', 'Lisbon')
  await server.agent.register('profile').set('city', 'Porto')
  await laptop.agent.text('SOUL.md').put('I am kevin.\n')
  expect(await server.stop()).toBe(0)
  await server.up()
  expect((await server.agent.status()).network).toMatchObject({ paused: true, addresses: [] })
  const held = await server.agent.log('memory').append({ text: 'written alone' }, { replicas: 2, timeoutMs: 50 })
  expect(held.replicas).toEqual({ asked: 2, held: 1 })

  expect((await server.selfsame('network', 'resume')).out).toBe('online\n')
  const began = performance.now()
  await connected(laptop, server)
  await agreed(laptop, server)
  console.log(`back and agreed ${(performance.now() - began).toFixed(0)} ms after the resume`)
  for (const { agent } of [laptop, server]) {
    const city = await agent.register('profile').get('city')
    expect([city?.value, city?.siblings.map((sibling) => sibling.value)]).toEqual(['Porto', ['Lisbon']])
    expect((await agent.text('SOUL.md').get()).text).toBe('I am kevin.\n')
  }
})

test('a daemon that is told to stop finishes what it acknowledged, hangs up, and leaves no socket', async () => {
  const writes = Array.from({ length: 200 }, (_, turn) =>
    server.agent.log('last').append({ text: `${turn}` }, { operationId: `last-${turn}` }),
  )
  const outcomes = Promise.allSettled(writes)
  await writes[0]
  const began = performance.now()
  expect(await server.stop()).toBe(0)
  console.log(`stopped in ${(performance.now() - began).toFixed(0)} ms`)
  expect(existsSync(socketPathOf(server.home))).toBe(false)
  await expect(server.agent.status()).rejects.toMatchObject({ code: 'daemon-not-running' })

  const acknowledged = (await outcomes).flatMap((outcome, turn) => (outcome.status === 'fulfilled' ? [`${turn}`] : []))
  await server.up()
  const there = new Set(await textsOf(server, 'last'))
  expect(acknowledged.filter((text) => !there.has(text))).toEqual([])
  await connected(laptop, server)
  await agreed(laptop, server)
})

test('up in the foreground ends the daemon when it is told to stop', async () => {
  await server.stop()
  const command = group.start(['up', '--json', '--home', server.home], { environment: { SELFSAME_NETWORK_PORT: String(server.port) } })
  command.stderr?.resume()
  const [line] = (await once(command.stdout!, 'data')) as [Buffer]
  const { processId } = JSON.parse(String(line)) as { processId: number }
  group.adopt(processId)
  expect((await server.agent.status()).processId).toBe(processId)
  command.kill('SIGTERM')
  await once(command, 'exit')
  expect(command.exitCode).toBe(0)
  expect(() => process.kill(processId, 0)).toThrow('ESRCH')
  await server.up()
})

test('a watch that resumes by its cursor through restarts, kills among them, sees every change once', async () => {
  const { cursor } = await server.agent.changes({ cursor: 'now', limit: 1 })
  const seen: Change[] = []
  const ended = new AbortController()
  const watching = (async () => {
    for await (const change of server.agent.watch(['log/watched', 'counter/*'], { cursor, signal: ended.signal })) seen.push(change)
  })()
  const turns = 60
  for (let turn = 0; turn < turns; turn += 1) {
    const writer = turn % 2 === 0 ? laptop : server
    await writer.agent.log('watched').append({ text: `${turn}` }, { operationId: `watched-${turn}` })
    await laptop.agent.set('unwatched').add(`${turn}`)
    if (turn === 20) await server.stop()
    if (turn === 40) await server.kill()
    if (turn === 20 || turn === 40) await server.up()
  }
  await server.agent.counter('watched').add('end')
  const texts = (): (string | undefined)[] => seen.flatMap((change) => change.entries ?? []).map((entry) => entry.text)
  await until('the watch has seen everything', async () => texts().length >= turns && seen.some((change) => change.kind === 'counter'), 30)
  ended.abort()
  await watching
  expect(
    texts()
      .map(Number)
      .toSorted((a, b) => a - b),
  ).toEqual(Array.from({ length: turns }, (_, turn) => turn))
  expect(new Set(seen.map((change) => change.cursor)).size).toBe(seen.length)

  // The same once more, from where it began and all at once.
  const page = await server.agent.changes({ patterns: ['log/watched', 'counter/*'], cursor, limit: 1_000 })
  expect(page.changes.map((change) => change.cursor)).toEqual(seen.map((change) => change.cursor))
})

/** `selfsame join` into a home of its own. */
async function joinWith(ticket: string, name: string): Promise<Said> {
  const place = ['--home', join(group.directory, name), '--name', name, '--listen', 'loopback']
  return group.selfsame(['join', '--quiet', ...place], { input: `${ticket}\n` })
}

test('a ticket admits once, within its time, and only where its issuer is', async () => {
  // Made at once, each is good for itself.
  const [first, other] = await Promise.all([laptop.agent.invite(), laptop.agent.invite()])
  expect((await joinWith(first.ticket, 'first')).code).toBe(0)
  const again = await joinWith(first.ticket, 'second')
  expect([again.code, again.err]).toEqual([77, 'selfsame: the ticket has been used already: ask for a new one\n'])

  const short = await laptop.agent.invite({ expiresSeconds: 1 })
  await until('the ticket has expired', async () => Date.now() > Date.parse(short.expires))
  const late = await joinWith(short.ticket, 'second')
  expect([late.code, late.err]).toEqual([77, 'selfsame: the ticket has expired: ask for a new one\n'])

  const mistyped = await joinWith(`${first.ticket.slice(0, -1)}${first.ticket.endsWith('a') ? 'b' : 'a'}`, 'second')
  expect([mistyped.code, mistyped.err]).toEqual([65, 'selfsame: the ticket is mistyped or a part is missing: copy it again, whole\n'])

  const notAdmin = await server.selfsame('invite')
  expect([notAdmin.code, notAdmin.err]).toEqual([77, 'selfsame: only an admin can invite: ask one for a ticket\n'])

  await laptop.stop()
  const nobody = await joinWith(other.ticket, 'second')
  expect(nobody.code).toBe(69)
  expect(nobody.err).toContain('check that it is running and reachable')
  await laptop.up()
  // The ticket outlives a restart, and the home of the failed tries can be used.
  expect((await joinWith(other.ticket, 'second')).code).toBe(0)
  expect((await laptop.agent.members.list()).members.map((member) => member.name).toSorted()).toEqual([
    'first',
    'laptop',
    'second',
    'server',
  ])
})

test('a stranger gets nothing: no link, no gossip, and no answer to a join unless an invite is open', async () => {
  const strangers = await createGroup()
  try {
    // An agent of its own, which never invited anyone.
    const closed = await strangers.found('closed')
    await closed.agent.log('memory').append({ text: 'a secret' })
    const heard: string[] = []
    const key = createSigningKey(systemRandom)
    const transport = createLibp2pTransport({
      key,
      listen: () => ['/ip4/127.0.0.1/tcp/0'],
      serviceTag: 'stranger',
      gossipTopic: 'stranger',
      mdns: false,
      joinOpen: () => false,
      clock: systemClock,
      random: systemRandom,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    })
    const handlers: TransportHandlers = {
      mayConnect: () => true,
      mayGossip: () => true,
      linkOpened: () => void heard.push('link'),
      linkClosed() {},
      message: () => void heard.push('message'),
      drained() {},
      gossip: () => {
        heard.push('gossip')
        return 'accept'
      },
      join: () => Promise.resolve(null),
      addressFound() {},
    }
    await transport.start(handlers)
    const issuer = (await closed.agent.status()).instance.key as PublicKey
    const addresses = [`/ip4/127.0.0.1/tcp/${closed.port}`]
    try {
      await transport.dial(issuer, addresses)
      await expect(transport.requestJoin(issuer, addresses, new Uint8Array(64))).rejects.toMatchObject({ code: 'join-refused' })
      // While an invite is open a stranger can ask to join, and nothing else.
      await closed.agent.invite()
      const answer = await transport.requestJoin(issuer, addresses, new Uint8Array(64))
      expect(Buffer.from(answer).includes('malformed')).toBe(true)
      await transport.dial(issuer, addresses)
      await closed.agent.log('memory').append({ text: 'another secret' })
      const { peers, attention } = await closed.agent.status()
      expect([peers, attention, heard]).toEqual([[], [], []])
    } finally {
      await transport.stop()
    }
  } finally {
    await strangers.close()
  }
})
