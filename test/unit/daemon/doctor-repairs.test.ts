import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { factsOf, lookAt } from '../../../src/daemon/doctor-facts.ts'
import { mend } from '../../../src/daemon/doctor-repairs.ts'
import { lockHome } from '../../../src/storage/index.ts'

let root: string
let home: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'selfsame-doctor-'))
  home = join(root, 'home')
  mkdirSync(join(home, 'run'), { recursive: true, mode: 0o700 })
  writeFileSync(join(home, 'identity.json'), '{}', { mode: 0o600 })
  lockHome(home).release()
})

afterEach(() => rmSync(root, { recursive: true }))

const mendHome = async (): Promise<readonly string[]> => mend((await lookAt(home)).look)
const modeOf = (name: string): number => statSync(join(home, name)).mode & 0o777

/** A socket that nobody listens at any more. */
async function leaveSocket(path: string): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(join(root, 'socket'), resolve))
  // What closes a server deletes its socket, where that is still.
  renameSync(join(root, 'socket'), path)
  await new Promise((resolve) => server.close(resolve))
  chmodSync(path, 0o600)
}

test('a home in which all is well is left as it is', async () => {
  expect(await mendHome()).toEqual([])
})

test('a home that is not there is not made', async () => {
  rmSync(home, { recursive: true })
  expect(await mendHome()).toEqual([])
  expect(existsSync(home)).toBe(false)
})

test('rights of others are taken away, and those of the owner stay', async () => {
  chmodSync(home, 0o755)
  chmodSync(join(home, 'identity.json'), 0o644)
  writeFileSync(join(home, 'run', 'on-alert.sh'), '', { mode: 0o755 })
  expect(await mendHome()).toHaveLength(3)
  expect([modeOf('.'), modeOf('identity.json'), modeOf('run/on-alert.sh')]).toEqual([0o700, 0o600, 0o700])
})

test('a directory that is no home is left as it is, and so is in a home what is no part of one', async () => {
  chmodSync(root, 0o755)
  for (const path of [join(root, 'notes.txt'), join(home, 'notes.txt')]) writeFileSync(path, '', { mode: 0o644 })
  const { look } = await lookAt(root)
  expect(mend(look)).toEqual([])
  expect((await factsOf(look, null, { environment: {}, version: '1.2.3' })).identity).toMatchObject({
    reason: expect.stringMatching(/^there is no instance in/),
  })
  expect(await mendHome()).toEqual([])
  for (const path of [join(root, 'notes.txt'), join(home, 'notes.txt')]) expect(statSync(path).mode & 0o777).toBe(0o644)
  expect(statSync(root).mode & 0o777).toBe(0o755)
})

test('what a link points to keeps its rights', async () => {
  const outside = join(root, 'outside')
  writeFileSync(outside, '', { mode: 0o644 })
  symlinkSync(outside, join(home, 'config.toml'))
  expect(await mendHome()).toEqual([])
  expect(statSync(outside).mode & 0o777).toBe(0o644)
})

test('what was left half done is cleared away, and nothing else', async () => {
  await leaveSocket(join(home, 'run', 'api.sock'))
  mkdirSync(join(home, 'restore.partial'), { mode: 0o700 })
  for (const name of ['restore.partial/memory.sqlite', 'tokens.json.new', 'memory.sqlite', 'joining.json', 'run/doctor.partial'])
    writeFileSync(join(home, name), '', { mode: 0o600 })
  expect(await mendHome()).toHaveLength(4)
  expect(readdirSync(home).toSorted()).toEqual(['identity.json', 'joining.json', 'lock.sqlite', 'memory.sqlite', 'run'])
  expect(readdirSync(join(home, 'run'))).toEqual([])
})

test('a restore that was settled is finished', async () => {
  mkdirSync(join(home, 'restore.ready-1'), { mode: 0o700 })
  writeFileSync(join(home, 'restore.ready-1', 'memory.sqlite'), 'new', { mode: 0o600 })
  expect(await mendHome()).toEqual(['a restore that was begun is finished'])
  expect(readdirSync(home).toSorted()).toEqual(['before-restore-1', 'lock.sqlite', 'memory.sqlite'])
  expect(readdirSync(join(home, 'before-restore-1'))).toEqual(['identity.json'])
})

test('a lock that was overwritten is made anew', async () => {
  writeFileSync(join(home, 'lock.sqlite'), 'not a database at all '.repeat(100))
  expect(await mendHome()).toEqual([expect.stringContaining('lock.sqlite is removed')])
  lockHome(home).release()
})

test('while somebody holds the home nothing is cleared away', async () => {
  writeFileSync(join(home, 'tokens.json.new'), '', { mode: 0o600 })
  mkdirSync(join(home, 'restore.ready-1'), { mode: 0o700 })
  const look = (await lookAt(home)).look
  const lock = lockHome(home)
  try {
    expect(mend(look).join('\n')).toMatch(/a daemon is running/)
    expect(readdirSync(home)).toEqual(expect.arrayContaining(['identity.json', 'restore.ready-1', 'tokens.json.new']))
  } finally {
    lock.release()
  }
})
