/** Keeping and moving on real daemons: backups while writes go on, homes that were lost, machine moves that are killed on their way, plain files. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Json } from '../../src/api/client.ts'
import { agreed, connected, createGroup, daemonProgram, freePort, textsOf } from './group.ts'
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

const place = (name: string): string => join(group.directory, name)

async function succeeds(said: ReturnType<Instance['selfsame']>): Promise<string> {
  const { code, err, out } = await said
  expect([code, err]).toEqual([0, expect.any(String)])
  return out
}

describe('a backup', () => {
  test('made while writes go on is of one moment; the home it becomes has everything again, and nothing twice', async () => {
    const entries = 6_000
    const writing = server.agent.log('busy').import(Array.from({ length: entries }, (_, index) => ({ text: `entry ${index}` })))
    const counting = (async () => {
      for (let turn = 0; turn < 200; turn += 1) await server.agent.counter('busy').add('turns', 1)
    })()
    await succeeds(server.selfsame('backup', place('busy.backup')))
    await Promise.all([writing, counting])
    await agreed(laptop, server)

    await server.kill()
    rmSync(server.home, { recursive: true })
    await succeeds(server.selfsame('restore', place('busy.backup')))
    await server.up()
    expect((await server.agent.status()).instance.name).toBe('server')
    await connected(laptop, server)
    await server.agent.log('busy').append({ text: 'after the loss' })
    await server.agent.counter('busy').add('turns', 1)
    await agreed(laptop, server)
    expect(await textsOf(server, 'busy')).toHaveLength(entries + 1)
    expect(new Set(await textsOf(server, 'busy')).size).toBe(entries + 1)
    expect(await laptop.agent.counter('busy').get('turns')).toBe(201n)
    for (const { agent } of [laptop, server]) expect((await agent.status()).attention).toEqual([])
  })

  test('of a daemon that was killed has all that it acknowledged', async () => {
    await server.agent.log('killed').append({ text: 'acknowledged' })
    await agreed(laptop, server)
    await server.kill()
    await succeeds(server.selfsame('backup', place('killed.backup')))
    const copy = group.at(place('copy'), await freePort())
    await succeeds(copy.selfsame('restore', place('killed.backup')))
    await copy.up()
    expect(await textsOf(copy, 'killed')).toEqual(['acknowledged'])
    await copy.stop()
    await server.up()
    await connected(laptop, server)
    await server.agent.log('killed').append({ text: 'beside its copy' })
    await agreed(laptop, server)
  })

  test('put back over the home that went on loses nothing that it wrote', async () => {
    await succeeds(server.selfsame('backup', place('older.backup')))
    await server.agent.log('killed').append({ text: 'since the backup' })
    await agreed(laptop, server)
    expect(await server.selfsame('restore', place('older.backup'), '--force')).toMatchObject({ code: 75 })
    await server.stop()
    expect(await server.selfsame('restore', place('older.backup'))).toMatchObject({ code: 73 })
    const said = JSON.parse(await succeeds(server.selfsame('restore', place('older.backup'), '--force', '--json'))) as Json
    expect(said).toMatchObject({ kept: 'before-restore-1', keysKept: true })
    await server.up()
    await connected(laptop, server)
    await agreed(laptop, server)
    expect(await textsOf(server, 'killed')).toContain('since the backup')
  })
})

/** Runs the daemon's program and kills it as soon as `at` says so; answers whether it came to its end before. */
async function killed(args: readonly string[], at: () => boolean): Promise<boolean> {
  const child = spawn(process.execPath, [daemonProgram, ...args], { stdio: 'ignore' })
  group.adopt(child.pid ?? 0)
  const gone = once(child, 'exit')
  while (child.exitCode === null && !at()) await setImmediate()
  child.kill('SIGKILL')
  await gone
  return child.exitCode === 0
}

/** A moment some milliseconds from now. */
function after(milliseconds: number): () => boolean {
  const moment = performance.now() + milliseconds
  return () => performance.now() >= moment
}

describe('a move', () => {
  const file = (): string => place('server.move')
  const partials = (): readonly string[] => readdirSync(group.directory).filter((name) => name.startsWith('server.move.partial-'))
  const size = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? -1
  /** Stages of the way out, by what can be seen of them. */
  const outStages: readonly (readonly [string, () => () => boolean])[] = [
    ['before it has begun', () => after(0)],
    ['when it begins to copy', () => () => partials().length > 0],
    ['while the database is copied', () => () => partials().some((name) => size(join(place(name), 'memory.sqlite')) > 0)],
    ['while the file is written', () => () => partials().some((name) => size(join(place(name), 'backup')) > 0)],
    ['when the home is given up', () => () => existsSync(join(server.home, 'moved.json'))],
    ['when the file is there', () => () => existsSync(file())],
    ...[300, 900].map((milliseconds) => [`after ${milliseconds} ms`, () => after(milliseconds)] as const),
  ]

  test.each(outStages)('killed on its way out %s lives here or in the file, and says so', async (_, stage) => {
    await server.stop()
    await killed(['move-out', '--home', server.home, '--file', file()], stage())
    const said = await server.selfsame('up', '--detach')
    if (said.code === 0) {
      expect(existsSync(file())).toBe(false)
      await succeeds(server.selfsame('down'))
    } else {
      expect(said).toMatchObject({ code: 66, err: expect.stringContaining('selfsame move undo') as string })
      expect(existsSync(file())).toBe(true)
      await succeeds(server.selfsame('move', 'undo'))
      rmSync(file())
    }
    for (const name of partials()) rmSync(place(name), { recursive: true })
  })

  test('brings the instance to another machine: it goes on there, and the old home says where it is', async () => {
    await server.up()
    await connected(laptop, server)
    await server.agent.log('moves').append({ text: 'before' })
    const said = await server.selfsame('move', 'out', file())
    expect(said).toMatchObject({ code: 0, err: expect.stringContaining('laptop has all') as string })
    expect(await server.selfsame('up', '--detach')).toMatchObject({ code: 66, err: expect.stringContaining('has moved away') as string })

    // The way in is killed at several places: the file stays, and the home holds nothing or all of it.
    const there = group.at(place('there'), server.port)
    const stages = [
      after(0),
      () => existsSync(join(there.home, 'restore.partial')),
      () => existsSync(join(there.home, 'restore.partial', 'memory.sqlite')),
      () => existsSync(there.home) && readdirSync(there.home).some((name) => /^restore\.(ready|entering)/.test(name)),
      () => existsSync(join(there.home, 'identity.json')),
      after(200),
      after(300),
      after(400),
    ]
    for (const stage of stages) {
      await killed(['restore', '--home', there.home, '--file', file()], stage)
      const { code } = await there.selfsame('restore', file())
      expect([0, 73]).toContain(code)
      expect(existsSync(join(there.home, 'identity.json'))).toBe(true)
      rmSync(there.home, { recursive: true })
    }
    await succeeds(there.selfsame('restore', file()))
    await there.up()
    await connected(laptop, there)
    expect((await there.agent.status()).instance.name).toBe('server')
    await there.agent.log('moves').append({ text: 'after' })
    await agreed(laptop, there)
    expect(await textsOf(laptop, 'moves')).toEqual(['before', 'after'])
    expect((await laptop.agent.status()).attention).toEqual([])
    await there.stop()
  })
})

/** All files below a directory. */
function filesOf(directory: string): Readonly<Record<string, string>> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(directory, name)).isFile())
  return Object.fromEntries(names.toSorted().map((name) => [name, readFileSync(join(directory, name), 'latin1')]))
}

describe('an export', () => {
  test('imported into another agent, twice, and exported again has the same bytes', async () => {
    const other = await group.found('other')
    const { agent } = laptop
    const names = ['SOUL.md', 'soul.md', 'notes/2026/Lisbon', 'tägliches', 'con', 'x'.repeat(250), '%2F', '...a']
    const long = '𝄞 line\r\n\tand one more\n'.repeat(40)
    for (const [index, name] of names.entries()) {
      await agent.text(name).put(`${long}${name}${index % 2 === 0 ? '' : '\n'}`)
      await agent.json(name).merge({ [name]: { list: [1, null, { deep: [name, -0.5e-7] }], 10: 'ten', 9: 'nine' } })
      await agent.counter(name).add(name, index % 2 === 0 ? -index - 1 : 2n ** 62n)
      for (const member of [name, 'b', 'a']) await agent.set(name).add(member)
      await agent.register(name).set(name, { name, index })
      for (let turn = 0; turn < 3; turn += 1) await agent.log(name).append({ text: `${long}${turn}`, time: `2026-0${turn + 1}-01` })
      await agent.log(name).append({ data: [name, { mood: 'warm' }], tags: ['b', 'a'], kind: 'note', time: '2026-01-01' })
      await agent.log(name).append({ text: '', data: {}, time: 0 })
    }
    // What holds nothing is in no export.
    await agent.set('emptied').add('a')
    await agent.set('emptied').remove('a')
    await agent.text('emptied').put('')
    const large = Object.fromEntries(Array.from({ length: 3_000 }, (_, index) => [`key ${index}`, 'y'.repeat(400)]))
    for (const half of [0, 1])
      await agent.json('large').merge(Object.fromEntries(Object.entries(large).filter((_, index) => index % 2 === half)))

    await succeeds(laptop.selfsame('export', place('one')))
    await succeeds(other.selfsame('import', place('one')))
    const documents = await other.agent.documents()
    const again = JSON.parse(await succeeds(other.selfsame('import', place('one'), '--json'))) as {
      entries: { written: number }
      edits: { written: number }
    }
    expect([again.entries.written, again.edits.written]).toEqual([0, 0])
    expect(await other.agent.documents()).toEqual(documents)
    await succeeds(other.selfsame('export', place('two')))
    expect(filesOf(place('two'))).toEqual(filesOf(place('one')))
    const exported = Object.keys(filesOf(place('one')))
    expect(exported).toEqual(
      expect.arrayContaining(
        ['memory/soul.md/2026-01-01.md', 'texts/%63on', 'json/soul.md.json'].map((begin) => expect.stringContaining(begin) as string),
      ),
    )
    expect(exported.filter((name) => name.includes('emptied'))).toEqual([])

    expect(await laptop.selfsame('import', place('one'))).toMatchObject({
      code: 64,
      err: expect.stringContaining('of this very agent') as string,
    })
    expect(await other.selfsame('export', place('two'))).toMatchObject({ code: 64, err: expect.stringContaining('is not empty') as string })
    const { out } = await other.selfsame('log', 'read', 'con', '--kind', 'note')
    expect(out).toContain('laptop (imported by other)')
  })
})
