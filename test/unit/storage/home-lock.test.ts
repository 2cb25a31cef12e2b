import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockHome } from '../../../src/storage/index.ts'
import { startProcess } from './process.ts'

let home: string

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'selfsame-home-'))
})

afterEach(() => rmSync(home, { recursive: true }))

const running: unknown = expect.objectContaining({ code: 'daemon-running' })

test('a home is held by one holder at a time, in one process too', () => {
  const lock = lockHome(home)
  expect(() => lockHome(home)).toThrow(running)
  lock.release()
  lock.release()
  const next = lockHome(home)
  expect(() => lockHome(home)).toThrow(running)
  next.release()
})

test('a home is free again as soon as its holder is killed', async () => {
  const holder = startProcess('./lock-holder.ts', home)
  for await (const line of holder.lines) {
    expect(line).toBe('locked')
    expect(() => lockHome(home)).toThrow(running)
    expect(() => lockHome(home)).toThrow('selfsame down')
    await holder.kill()
  }
  lockHome(home).release()
})

test('a home that is not there cannot be locked, and the error names the file', () => {
  expect(() => lockHome(join(home, 'nowhere'))).toThrow(expect.objectContaining({ code: 'storage-failed' }))
  expect(() => lockHome(join(home, 'nowhere'))).toThrow('lock.sqlite')
})
