/** Signals and alerts of real daemons: one is cut off for a while, with thresholds lowered, and everything that tells of it is looked at. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AlertEvent } from '../../src/api/client.ts'
import { agreed, connected, createGroup, until } from './group.ts'
import type { Group, Instance } from './group.ts'

let group: Group
let laptop: Instance
let server: Instance
let phone: Instance

beforeAll(async () => {
  group = await createGroup()
  laptop = await group.found('laptop')
  server = await group.join('server', laptop)
  phone = await group.join('phone', laptop)
  await connected(laptop, server, phone)
})

afterAll(() => group.close())

const metricOf = async ({ agent }: Instance, name: string): Promise<number | undefined> => {
  const [, value] = new RegExp(`^${name} (.+)$`, 'm').exec(await agent.metrics()) ?? []
  return value === undefined ? undefined : Number(value)
}

test('an agent whose instances hold the same is healthy, and a wait for that ends', async () => {
  await laptop.agent.log('memory').append({ text: 'all is well' })
  const { code, out } = await laptop.selfsame('wait', '--synced', '--timeout', '20s')
  expect([code, out]).toEqual([0, 'in sync\n'])
  expect(await laptop.selfsame('status')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/server +connected +in sync as of[^]*healthy: /),
  })
  expect(await laptop.agent.ready()).toMatchObject({ ready: true })
  expect(await metricOf(laptop, 'selfsame_peers\\{state="connected"\\}')).toBe(2)
  expect(await metricOf(laptop, 'selfsame_entries')).toBe(1)
  expect(await metricOf(laptop, 'selfsame_commit_seconds_count')).toBeGreaterThan(0)
  expect(await metricOf(laptop, 'process_cpu_seconds_total')).toBeGreaterThan(0)
})

test('of one that is cut off an alert is raised once, told everywhere, and cleared by itself', async () => {
  const posted: unknown[] = []
  const hook = createServer((request, response) => {
    void text(request).then((body) => {
      posted.push(JSON.parse(body))
      response.end()
    })
  })
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
  const told = join(group.directory, 'told')
  mkdirSync(told)
  const script = join(told, 'on-alert.mjs')
  writeFileSync(
    script,
    `import { appendFileSync, readFileSync } from 'node:fs'\nappendFileSync(${JSON.stringify(join(told, 'lines'))}, readFileSync(0))\n`,
  )
  const configuration = readFileSync(join(laptop.home, 'config.toml'), 'utf8')
  writeFileSync(
    join(laptop.home, 'config.toml'),
    configuration.replace('on_alert = []', `on_alert = ${JSON.stringify([process.execPath, script])}`),
  )
  await laptop.stop()
  await laptop.up({
    SELFSAME_HEALTH_LAG: '2s',
    SELFSAME_HEALTH_WEBHOOK: `http://127.0.0.1:${(hook.address() as AddressInfo).port}/secret`,
  })
  await connected(laptop, server, phone)

  const events: AlertEvent[] = []
  const following = (async () => {
    for await (const event of laptop.agent.alerts()) events.push(event)
  })().catch(() => {})

  await phone.agent.network.pause()
  await until('the phone is away', async () => (await laptop.agent.status()).peers.some(({ state }) => state !== 'connected'))
  for (const entry of ['one', 'two', 'three']) await laptop.agent.log('memory').append({ text: entry })
  await laptop.agent.counter('karma').add('post-17')
  await until('the alert is raised', async () => events.length > 0)
  expect(events).toMatchObject([
    { type: 'raised', alert: { kind: 'lag', detail: expect.stringMatching(/^phone lacks what was written /) } },
  ])

  const { attention, peers, signals } = await laptop.agent.status()
  expect(attention).toMatchObject([{ kind: 'lag' }])
  expect(signals.lagSeconds).toBeGreaterThan(2)
  expect(signals.driftPercent).toBe(0)
  const names = Object.fromEntries(peers.map((peer) => [peer.instance.name, peer]))
  expect(names['server']).toMatchObject({ state: 'connected', behind: 0, ahead: 0, lacks: { documents: 0 } })
  expect(names['phone']).toMatchObject({
    behind: 4,
    ahead: 0,
    lacks: {
      documents: 2,
      first: [
        { kind: 'counter', name: 'karma' },
        { kind: 'log', name: 'memory' },
      ],
    },
  })
  const shown = await laptop.selfsame('status')
  expect(shown.code).toBe(1)
  expect(shown.out).toMatch(/phone .*unknown \(behind 4, in counter\/karma, log\/memory when it last told\)/)
  expect(shown.out).toMatch(/degraded: 1 case wants attention\n! lag: phone lacks /)
  expect(await laptop.agent.health()).toMatchObject({ state: 'attention', attention: [{ kind: 'lag' }] })
  expect(await metricOf(laptop, 'selfsame_alerts\\{kind="lag"\\}')).toBe(1)
  expect((await laptop.selfsame('wait', '--peer', 'phone', '--timeout', '200ms')).code).toBe(75)
  expect((await laptop.selfsame('wait', '--synced', '--peer', 'server', '--timeout', '10s')).code).toBe(0)

  await phone.agent.network.resume()
  await until('the alert is cleared', async () => events.length > 1, 60)
  expect(events.map(({ type }) => type)).toEqual(['raised', 'cleared'])
  await agreed(laptop, server, phone)
  expect((await laptop.agent.status()).state).toBe('healthy')
  await until('the webhook has heard both', async () => posted.length === 2)
  expect(posted).toMatchObject([
    { type: 'raised', agent: 'kevin', instance: 'laptop', kind: 'lag' },
    { type: 'cleared', kind: 'lag' },
  ])
  const lines = readFileSync(join(told, 'lines'), 'utf8').trimEnd().split('\n')
  expect(lines.map((line) => (JSON.parse(line) as { type: string }).type)).toEqual(['raised', 'cleared'])
  const log = readFileSync(join(laptop.home, 'run', 'daemon.log'), 'utf8')
  expect(log.match(/"level":"warn".*"alert: phone lacks/g)).toHaveLength(1)
  expect(log.match(/"level":"info".*"alert cleared: phone lacks/g)).toHaveLength(1)
  expect(log).not.toContain('/secret')

  await laptop.stop()
  await following
  expect(await laptop.selfsame('status')).toMatchObject({ code: 2, out: expect.stringMatching(/^down: no daemon runs on /) })
  expect(JSON.parse((await laptop.selfsame('status', '--json')).out)).toEqual({
    state: 'down',
    reason: 'daemon-not-running',
    home: laptop.home,
  })
  await new Promise((resolve) => hook.close(resolve))
})
