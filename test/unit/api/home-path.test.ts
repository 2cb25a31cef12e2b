import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { checkSocketDirectory, homePathOf, socketPathOf, tokenOf } from '../../../src/api/home-path.ts'

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'selfsame-path-'))
})

afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(root, { recursive: true })
})

describe('the home', () => {
  test('is the one given, else that of the environment, else the one in the user’s directory', () => {
    vi.stubEnv('SELFSAME_HOME', '')
    expect(homePathOf()).toBe(join(homedir(), '.selfsame'))
    vi.stubEnv('SELFSAME_HOME', '/elsewhere/agent')
    expect(homePathOf()).toBe('/elsewhere/agent')
    expect(homePathOf('relative')).toBe(join(process.cwd(), 'relative'))
  })
})

describe('the socket of a home', () => {
  test('lies in the home', () => {
    expect(socketPathOf(root)).toBe(join(root, 'run', 'api.sock'))
  })

  test('is the same by whatever path the home is reached', () => {
    const link = `${root}-link`
    symlinkSync(root, link)
    expect(socketPathOf(link)).toBe(socketPathOf(root))
    rmSync(link)
  })

  test('is short enough for a kernel in a home of any depth, and another one for each home', () => {
    const deep = join(root, 'd'.repeat(90))
    mkdirSync(deep)
    const path = socketPathOf(deep)
    expect(Buffer.byteLength(path)).toBeLessThanOrEqual(100)
    expect(path).not.toBe(socketPathOf(`${deep}2`))
    vi.stubEnv('TMPDIR', '/another')
    expect(socketPathOf(deep)).toBe(path)
  })
})

describe('the directory of a socket', () => {
  test('is refused where others may write, or it is no directory', () => {
    const directory = join(root, 'run')
    expect(() => checkSocketDirectory(join(directory, 'api.sock'))).not.toThrow()
    mkdirSync(directory, { mode: 0o700 })
    expect(() => checkSocketDirectory(join(directory, 'api.sock'))).not.toThrow()
    chmodSync(directory, 0o777)
    expect(() => checkSocketDirectory(join(directory, 'api.sock'))).toThrow(expect.objectContaining({ code: 'home-unsafe' }))
    writeFileSync(join(root, 'file'), '')
    expect(() => checkSocketDirectory(join(root, 'file', 'api.sock'))).toThrow(expect.objectContaining({ code: 'home-unsafe' }))
    symlinkSync(directory, join(root, 'link'))
    expect(() => checkSocketDirectory(join(root, 'link', 'api.sock'))).toThrow(expect.objectContaining({ code: 'home-unsafe' }))
  })
})

describe('the token of a client', () => {
  test('is the one given, else that of the environment, and none where it is empty', () => {
    vi.stubEnv('SELFSAME_TOKEN', 'from-environment')
    expect([tokenOf('given'), tokenOf(), tokenOf('')]).toEqual(['given', 'from-environment', undefined])
    vi.stubEnv('SELFSAME_TOKEN', '')
    expect(tokenOf()).toBeUndefined()
  })
})
