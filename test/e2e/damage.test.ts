/** A disk that changes what it holds, under a daemon that runs: noticed, named, lived with, repaired from another instance, and told of. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { agreed, connected, createGroup, textsOf, until } from './group.ts'
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

const databaseOf = ({ home }: Instance): string => join(home, 'memory.sqlite')

/** Flips a bit of the one byte that follows `marker` in the file. */
function flipBehind(path: string, marker: string): void {
  const at = readFileSync(path).indexOf(marker) + marker.length
  expect(at).toBeGreaterThan(marker.length)
  const file = openSync(path, 'r+')
  writeSync(file, Uint8Array.of(readFileSync(path)[at]! ^ 1), 0, 1, at)
  closeSync(file)
}

function change(path: string, sql: string): void {
  const database = new DatabaseSync(path)
  database.exec(sql)
  database.close()
}

test('three things that change on the disk of one of two are named, and whole again when the other is there', async () => {
  const notes = laptop.agent.log('notes')
  await laptop.agent.log('memory').append({ text: 'to be remembered: 7 and nothing else' })
  await notes.append({ text: 'one' })
  await notes.append({ text: 'two' })
  await agreed(laptop, server)
  // Stopped cleanly, all is in the database file, and nothing of it in the log or in a cache.
  await server.stop()
  await server.up()
  await server.agent.network.pause()
  const path = databaseOf(server)
  flipBehind(path, 'to be remembered: ')
  change(path, `update envelope set header = cast(substr(header, 1, 40) || x'ff' || substr(header, 42) as blob) where id & 4294967295 = 3`)
  change(path, `update record set bytes = cast(substr(bytes, 1, 30) || x'ff00' || substr(bytes, 33) as blob) where number = 1`)

  const kindsOf = async ({ agent }: Instance): Promise<readonly string[]> =>
    (await agent.status()).attention.map(({ kind }) => kind).toSorted()
  await until('all three are named', async () => (await kindsOf(server)).join() === 'damage,damage,repaired', 120)
  const { code, out } = await server.selfsame('status')
  expect(code).toBe(1)
  expect(out).toMatch(/the body of envelope 1 of feed [0-9a-f]{32} by laptop \(in log\/memory\) is damaged on this disk/)
  expect(out).toMatch(/the header of envelope 3 of feed [0-9a-f]{32} by laptop \(in log\/notes\) is damaged on this disk/)
  expect(out).toMatch(/the membership record [0-9a-f]{64} was damaged on this disk[^]*written again from memory/)
  // What needs them says so; all else is read and written.
  await expect(textsOf(server, 'memory')).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }))
  await server.agent.log('memory').append({ text: 'written on a damaged disk' })
  expect(await server.agent.log('notes').append({ text: 'three' })).toMatchObject({ repeated: false })
  expect(await server.agent.metrics()).toMatch(/^selfsame_damaged 2$/m)

  await server.agent.network.resume()
  await until('all three are repaired', async () => (await kindsOf(server)).join() === 'repaired', 120)
  await agreed(laptop, server)
  expect(await textsOf(server, 'memory')).toEqual(['to be remembered: 7 and nothing else', 'written on a damaged disk'])
  const metrics = await server.agent.metrics()
  for (const line of ['selfsame_damage_noticed_total 3', 'selfsame_damage_repaired_total 3', 'selfsame_damaged 0'])
    expect(metrics).toContain(`\n${line}\n`)
  const evidence = await server.selfsame('evidence')
  expect(
    evidence.out.match(/repaired .* was damaged on this disk, as was noticed at \S+: it was written again as laptop sent it/g),
  ).toHaveLength(2)
  // It stays repaired over a restart, and the file is sound.
  await server.stop()
  const database = new DatabaseSync(path, { readOnly: true })
  expect(database.prepare('pragma integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
  database.close()
})
