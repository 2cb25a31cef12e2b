/** New keys for instances that go on: what they wrote stays theirs, the old key is of no use, and a copy becomes an instance of its own. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { agreed, connected, createGroup, freePort, textsOf, until } from './group.ts'
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

async function keyOf(instance: Instance): Promise<string> {
  return (await instance.agent.status()).instance.key
}

test('an instance goes on under a new key: same id, same memory, and what it wrote before is its own', async () => {
  await server.agent.log('memory').append({ text: 'under the old key' })
  const before = await server.agent.status()
  const said = await server.selfsame('key', 'rotate', '--json')
  expect(said).toMatchObject({ code: 0, err: '' })
  const { instance, key } = JSON.parse(said.out) as { instance: { id: string }; key: string }
  expect(instance.id).toBe(before.instance.id)
  expect(key).not.toBe(before.instance.key)
  await connected(laptop, server)
  await server.agent.log('memory').append({ text: 'under the new key' })
  await agreed(laptop, server)
  const { entries } = await laptop.agent.log('memory').page()
  expect(entries.map(({ author, text }) => [author.name, text])).toEqual([
    ['server', 'under the old key'],
    ['server', 'under the new key'],
  ])
  expect((await laptop.agent.members.list()).members.map(({ name, key: known }) => [name, known])).toContainEqual(['server', key])
})

test('a home with the old key is turned away, hears why, and adds nothing', async () => {
  const stolen = group.at(join(group.directory, 'stolen'), await freePort())
  await server.stop()
  execFileSync('cp', ['-a', server.home, stolen.home])
  await server.up()
  await connected(laptop, server)
  expect((await server.selfsame('key', 'rotate')).code).toBe(0)
  await connected(laptop, server)
  await stolen.up()
  await until('the copy to hear of the new key', async () => (await stolen.agent.status()).attention.length > 0)
  await expect(stolen.agent.log('memory').append({ text: 'with the old key' })).rejects.toMatchObject({ code: 'forbidden' })
  await stolen.stop()
  await agreed(laptop, server)
  expect(await textsOf(laptop, 'memory')).not.toContain('with the old key')
})

test('a copy becomes an instance of its own, and both go on at once', async () => {
  const copy = group.at(join(group.directory, 'copy'), await freePort())
  await server.stop()
  execFileSync('cp', ['-a', server.home, copy.home])
  await copy.up()
  await connected(laptop, copy)
  const said = await copy.selfsame('key', 'rotate', '--new-instance', '--name', 'copy')
  expect(said.code).toBe(0)
  await server.up()
  await connected(laptop, server, copy)
  const [one, other] = [(await server.agent.status()).instance, (await copy.agent.status()).instance]
  expect([one.name, other.name]).toEqual(['server', 'copy'])
  expect(one.id).not.toBe(other.id)
  await Promise.all([server.agent.counter('karma').add('a', 1), copy.agent.counter('karma').add('a', 10)])
  await agreed(laptop, server, copy)
  expect(await laptop.agent.counter('karma').get('a')).toBe(11n)
})

test('a key is not replaced where nobody could hear of it', async () => {
  await server.agent.network.pause()
  const before = await keyOf(server)
  const said = await server.selfsame('key', 'rotate')
  expect(said.code).toBe(75)
  expect(said.err).toContain('no other instance is connected')
  expect(await keyOf(server)).toBe(before)
  await server.agent.network.resume()
})
