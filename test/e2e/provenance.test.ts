/** Who wrote what, what proves it, and who was turned away, as two daemons and their commands tell it. */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { agreed, connected, createGroup, freePort } from './group.ts'
import type { Group, Instance } from './group.ts'

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

/** The output of a command, which must succeed. */
async function said(instance: Instance, ...args: string[]): Promise<string> {
  const { code, out, err } = await instance.selfsame(...args)
  expect([code, code === 0 ? '' : err]).toEqual([0, ''])
  return out
}

test('each line of a text, and each value, is traced to who wrote it, also after a restart', async () => {
  await laptop.agent.text('SOUL.md').put('# Soul\n\nI am kevin.\nLast line.\n')
  await laptop.agent.register('profile').set('city', 'Lisbon')
  await agreed(laptop, server)
  const { text, version } = await server.agent.text('SOUL.md').get()
  await server.agent.text('SOUL.md').put(text.replace('I am', 'We are'), { base: version })
  await server.agent.register('profile').set('city', 'Porto')
  await agreed(laptop, server)

  const lines = (await said(laptop, 'blame', 'text', 'SOUL.md')).trimEnd().split('\n')
  expect(lines.map((line) => line.replace(/ +\d{4}-\d\d-\d\d \S+ +[0-9a-f]{8}:\d+ +\|/, ' |'))).toEqual([
    'laptop | # Soul',
    'laptop |',
    'server | We are kevin.',
    'laptop | Last line.',
  ])
  expect(await said(server, 'blame', 'register', 'profile')).toMatch(/^city = Porto +server .*\n$/)

  const parts = await laptop.agent.blame('text', 'SOUL.md')
  await laptop.stop()
  await laptop.up()
  expect(await laptop.agent.blame('text', 'SOUL.md')).toEqual(parts)
  expect(await server.agent.blame('text', 'SOUL.md')).toEqual(parts)
})

test('an entry is shown with its proof, the same facts on every instance', async () => {
  await laptop.agent.log('memory').append({ text: 'Met Ada', time: '2026-01-05' })
  await agreed(laptop, server)
  const { instance } = await laptop.agent.status()
  const entry = JSON.parse(await said(laptop, 'log', 'read', 'memory', '--provenance', '--json')) as { id: string }
  expect(entry).toMatchObject({ author: { id: instance.id }, provenance: { key: instance.key, verified: true } })
  expect(JSON.parse(await said(server, 'log', 'show', 'memory', entry.id, '--json'))).toEqual(entry)
  expect(await said(server, 'log', 'read', 'memory', '--provenance')).toMatch(
    /\n {4}written .* by laptop, instance [0-9a-f]{32}\n {4}envelope \d+ of feed [0-9a-f]{32}, hash [0-9a-f]{64}\n {4}key [0-9a-f]{64}: verified by /,
  )
})

test('whoever is refused is listed with the reason; who was let in is not', async () => {
  const { ticket } = await laptop.agent.invite()
  const tryToJoin = async (name: string) =>
    group.selfsame(
      ['join', '--home', join(group.directory, name), '--name', name, '--port', String(await freePort()), '--listen', 'loopback'],
      { input: ticket },
    )
  expect((await tryToJoin('pi')).code).toBe(0)
  expect((await laptop.agent.evidence()).evidence).toEqual([])
  expect((await tryToJoin('eve')).code).toBe(77)
  const { evidence } = await laptop.agent.evidence()
  expect(evidence.filter(({ kind }) => kind === 'refused-join')).toMatchObject([{ reason: 'used-up', key: expect.any(String) as string }])
  expect(await said(laptop, 'evidence')).toMatch(/refused-join {2}key [0-9a-f]{64}: used-up\n/)
})
