/** Backups, restoring and moving of a real home, without a daemon: what is refused, and what a crash leaves. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import type * as Fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { SelfsameError, silentLogger } from '../../../src/core/index.ts'
import { backupHome } from '../../../src/daemon/backup.ts'
import { readBackup } from '../../../src/daemon/backup-file.ts'
import { openHome, readRootSeed, removeRootSeed, writeIdentity } from '../../../src/daemon/home.ts'
import type { Logs } from '../../../src/daemon/logging.ts'
import { checkNotMoved, moveOut, undoMove } from '../../../src/daemon/move.ts'
import { initHome } from '../../../src/daemon/new-home.ts'
import { restoreHome } from '../../../src/daemon/restore.ts'
import { lockHome, openSqliteStore, readStoredRecords } from '../../../src/storage/index.ts'
import { dyingAt } from './crashing-disk.ts'

vi.mock('node:fs', async (original) => (await import('./crashing-disk.ts')).crashingFs(await original<typeof Fs>()))

const logs: Logs = { logger: () => silentLogger, close: () => {} }
const choices = { force: false, withoutIdentity: false, program: 'selfsame 1.2.3' }

let directory: string
let home: string
let file: string

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-keep-'))
  home = join(directory, 'home')
  file = join(directory, 'kevin.backup')
  await initHome({ home, agentName: 'kevin', name: 'laptop', sealed: null, logs })
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

const restore = (into: string, force = false): ReturnType<typeof restoreHome> => restoreHome({ home: into, file, force, logs })
const elsewhere = (): string => join(directory, 'elsewhere')

describe('a backup', () => {
  test('holds all that makes the home this one, for its owner alone, and is told of', async () => {
    const { facts } = await backupHome({ ...choices, home, file })
    expect(facts).toMatchObject({ file, holdsIdentity: true, holdsRootKey: true, bytes: statSync(file).size })
    expect(readBackup(file).head).toMatchObject({
      agent: { name: 'kevin' },
      instance: { name: 'laptop' },
      moved: false,
      program: 'selfsame 1.2.3',
    })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readdirSync(directory).toSorted()).toEqual(['home', 'kevin.backup'])
  })

  test('becomes a home like the first', async () => {
    await backupHome({ ...choices, home, file })
    const restored = await restore(elsewhere())
    expect(restored).toMatchObject({ identity: { name: 'laptop' }, kept: null, keysKept: false })
    const [one, other] = [openHome(home), openHome(elsewhere())]
    expect(other.identity).toEqual(one.identity)
    expect(readRootSeed(other.paths)).toEqual(readRootSeed(one.paths))
    expect(readFileSync(other.paths.configuration)).toEqual(readFileSync(one.paths.configuration))
    expect(readStoredRecords(other.paths.database)).toEqual(readStoredRecords(one.paths.database))
  })

  test('takes the place of a file only where that is asked', async () => {
    writeFileSync(file, 'precious')
    await expect(backupHome({ ...choices, home, file })).rejects.toMatchObject({ code: 'invalid-request' })
    expect(readFileSync(file, 'utf8')).toBe('precious')
    await backupHome({ ...choices, home, file, force: true })
    expect(readBackup(file).head.instance.name).toBe('laptop')
  })

  test.each([
    ['in the home itself', () => join(home, 'kevin.backup'), 'lies in the home'],
    ['in the place of a directory', () => home, 'is a directory'],
    ['in a directory that is not there', () => join(directory, 'nowhere', 'x'), 'there is no directory'],
  ])('is not made %s', async (_, place, words) => {
    await expect(backupHome({ ...choices, home, file: place() })).rejects.toThrow(words)
    expect(readdirSync(directory)).toEqual(['home'])
  })

  test('is not made of a damaged database', async () => {
    truncateSync(join(home, 'memory.sqlite'), 5_000)
    await expect(backupHome({ ...choices, home, file })).rejects.toMatchObject({ code: 'storage-corrupt' })
    expect(readdirSync(directory)).toEqual(['home'])
  })

  test('without the identity holds no secret, and fits only the home of that instance', async () => {
    const { facts } = await backupHome({ ...choices, home, file, withoutIdentity: true })
    expect(facts).toMatchObject({ holdsIdentity: false, holdsRootKey: false })
    const secret = Buffer.from(openHome(home).identity.deviceSeed).toString('hex')
    expect(readFileSync(file, 'latin1')).not.toContain(secret)
    await expect(restore(elsewhere())).rejects.toMatchObject({ code: 'backup-refused' })
    expect(await restore(home, true)).toMatchObject({ keysKept: true, kept: 'before-restore-1' })
    expect(openHome(home).identity.name).toBe('laptop')
  })
})

describe('a restored home', () => {
  test('has ended the tickets of its time: they may have been used since', async () => {
    const { database } = openHome(home).paths
    const store = await openSqliteStore({ path: database, logger: silentLogger, checkFirst: false })
    await store.commit({ meta: new Map([['invites', new Uint8Array([1])]]) })
    await store.close()
    await backupHome({ ...choices, home, file })
    await restore(elsewhere())
    const restored = await openSqliteStore({ path: join(elsewhere(), 'memory.sqlite'), logger: silentLogger, checkFirst: false })
    expect(restored.meta('invites')).toBeUndefined()
    await restored.close()
  })

  test('of the same instance keeps its keys: a new one since the backup, and a root key that was brought back', async () => {
    const { paths, identity } = openHome(home)
    await backupHome({ ...choices, home, file })
    const rotated = { ...identity, deviceSeed: new Uint8Array(32).fill(7) }
    writeIdentity(paths, rotated)
    expect(await restore(home, true)).toMatchObject({ keysKept: true })
    expect(openHome(home).identity).toEqual(rotated)
  })

  test('has the keys of the backup where its own are damaged', async () => {
    const { identity } = openHome(home)
    await backupHome({ ...choices, home, file })
    writeFileSync(join(home, 'identity.json'), '{}')
    expect(await restore(home, true)).toMatchObject({ keysKept: false, kept: 'before-restore-1' })
    expect(openHome(home).identity).toEqual(identity)
  })

  test('of another agent is moved aside, and not mixed with', async () => {
    await backupHome({ ...choices, home, file })
    await initHome({ home: elsewhere(), agentName: 'other', name: 'desk', sealed: null, logs })
    removeRootSeed(openHome(elsewhere()).paths)
    await expect(restore(elsewhere())).rejects.toMatchObject({ code: 'home-exists' })
    expect(await restore(elsewhere(), true)).toMatchObject({ keysKept: false, kept: 'before-restore-1' })
    expect(openHome(elsewhere()).identity.agentName).toBe('kevin')
    expect(readFileSync(join(elsewhere(), 'before-restore-1', 'identity.json'), 'utf8')).toContain('other')
  })
})

describe('a move', () => {
  const out = (): ReturnType<typeof moveOut> => moveOut({ home, file, force: false, program: 'selfsame 1.2.3' })
  const livesHere = (): boolean => {
    const { paths, identity } = openHome(home)
    try {
      checkNotMoved(paths, identity)
      return true
    } catch (error) {
      if (error instanceof SelfsameError && error.code === 'home-moved') return false
      throw error
    }
  }

  test('gives the home up, says so, and can be taken back', async () => {
    await out()
    expect(livesHere()).toBe(false)
    expect(readBackup(file).head.moved).toBe(true)
    expect(await out()).toMatchObject({ facts: null, file })
    await expect(moveOut({ home, file: `${file}2`, force: false, program: 'x' })).rejects.toMatchObject({ code: 'home-moved' })
    expect(undoMove(home).file).toBe(file)
    expect(livesHere()).toBe(true)
    expect(() => undoMove(home)).toThrow('has not moved')
  })

  test('is not begun where a daemon runs', async () => {
    const lock = lockHome(home)
    await expect(out()).rejects.toMatchObject({ code: 'daemon-running' })
    lock.release()
    expect(livesHere()).toBe(true)
  })

  test('does not count for another instance that took the place since', async () => {
    await out()
    const { paths, identity } = openHome(home)
    writeIdentity(paths, { ...identity, instance: 'ef'.repeat(16) as typeof identity.instance })
    expect(livesHere()).toBe(true)
  })

  test('wherever a crash comes, the instance lives here or in the file, in one of the two', async () => {
    const outcomes = new Set<string>()
    for (let at = 1, done = false; !done; at += 1) {
      done = await dyingAt(at, out)
      const here = livesHere()
      outcomes.add(here ? 'here' : 'there')
      expect(existsSync(file)).toBe(!here)
      if (!here) {
        const into = join(directory, `machine-${at}`)
        expect(await restore(into)).toMatchObject({ backup: { moved: true } })
        undoMove(home)
        rmSync(file)
      }
      for (const name of readdirSync(directory)) if (name.includes('partial')) rmSync(join(directory, name), { recursive: true })
    }
    expect([...outcomes].toSorted()).toEqual(['here', 'there'])
  })
})
