/** Replacing what a home holds: wherever a crash comes, the old or the new is there, and the old is never lost. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type * as Fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openSwap, settleSwap } from '../../../src/daemon/home-swap.ts'
import { lockHome } from '../../../src/storage/index.ts'
import { dyingAt } from './crashing-disk.ts'

vi.mock('node:fs', async (original) => (await import('./crashing-disk.ts')).crashingFs(await original<typeof Fs>()))

const files = ['config.toml', 'identity.json', 'identity.json.old-ab', 'memory.sqlite', 'memory.sqlite-wal', 'moved.json']

let parent: string
let home: string

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'selfsame-swap-'))
  home = join(parent, 'home')
})

afterEach(() => rmSync(parent, { recursive: true, force: true }))

function fill(directory: string, names: readonly string[], content: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  for (const name of names) writeFileSync(join(directory, name), content)
}

/** What each file of a directory says. */
function contentsOf(directory: string): Readonly<Record<string, string>> {
  const names = readdirSync(directory).filter((name) => files.includes(name))
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(directory, name), 'utf8')]))
}

const all = (names: readonly string[], content: string): Readonly<Record<string, string>> =>
  Object.fromEntries(names.map((name) => [name, content]))

const newFiles = ['config.toml', 'identity.json', 'memory.sqlite']

function swap(force: boolean): string | null {
  const opened = openSwap(home, force)
  try {
    fill(opened.stage, newFiles, 'new')
    return opened.commit()
  } finally {
    opened.close()
  }
}

describe('a home', () => {
  test('that is empty, or not there, is filled', () => {
    expect(swap(false)).toBeNull()
    expect(contentsOf(home)).toEqual(all(newFiles, 'new'))
    expect(statSync(home).mode & 0o777).toBe(0o700)
  })

  test('that holds something is left alone, unless told', () => {
    fill(home, ['memory.sqlite'], 'old')
    expect(() => swap(false)).toThrow("already holds 'memory.sqlite'")
    expect(readdirSync(home)).toEqual(['memory.sqlite'])
  })

  test('that holds what is no part of a home is left alone, whatever is told', () => {
    fill(home, ['identity.json', 'thesis.txt'], 'old')
    expect(() => swap(true)).toThrow("'thesis.txt'")
  })

  test('on which a daemon runs is left alone', () => {
    fill(home, ['identity.json'], 'old')
    const lock = lockHome(home)
    expect(() => swap(true)).toThrow('a daemon is running')
    lock.release()
    expect(contentsOf(home)).toEqual(all(['identity.json'], 'old'))
  })

  test('keeps what it held, each time apart', () => {
    fill(home, files, 'old')
    expect(swap(true)).toBe('before-restore-1')
    expect(swap(true)).toBe('before-restore-2')
    expect(contentsOf(home)).toEqual(all(newFiles, 'new'))
    expect(contentsOf(join(home, 'before-restore-1'))).toEqual(all(files, 'old'))
    expect(contentsOf(join(home, 'before-restore-2'))).toEqual(all(newFiles, 'new'))
  })

  test('is as it was where the new was not committed', () => {
    fill(home, files, 'old')
    const opened = openSwap(home, true)
    fill(opened.stage, newFiles, 'new')
    opened.close()
    expect(readdirSync(home).toSorted()).toEqual([...files, 'lock.sqlite'].toSorted())
  })
})

test('wherever a crash comes, also while it is finished, the home then holds all of the old or all of the new', async () => {
  const outcomes = new Set<string>()
  for (let first = 1, done = false; !done; first += 1) {
    for (let second = 1, settled = false; !settled && !done; second += 1) {
      rmSync(home, { recursive: true, force: true })
      fill(home, files, 'old')
      const opened = openSwap(home, true)
      fill(opened.stage, newFiles, 'new')
      done = await dyingAt(first, () => opened.commit())
      await dyingAt(1, () => opened.close())
      settled = await dyingAt(second, () => settleSwap(home))
      settleSwap(home)
      const isNew = contentsOf(home)['identity.json'] === 'new'
      outcomes.add(isNew ? 'new' : 'old')
      expect(contentsOf(home)).toEqual(isNew ? all(newFiles, 'new') : all(files, 'old'))
      if (isNew) expect(contentsOf(join(home, 'before-restore-1'))).toEqual(all(files, 'old'))
      expect(readdirSync(home).filter((name) => /restore\.(ready|entering)/.test(name))).toEqual([])
      lockHome(home).release()
    }
  }
  expect([...outcomes].toSorted()).toEqual(['new', 'old'])
})
