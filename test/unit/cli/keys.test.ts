/** The commands on keys, against a program that says what the test wants. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { noDaemon, run } from './console.ts'
import type { RunOptions, Said } from './console.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-keys-'))
})

afterEach(() => rmSync(directory, { recursive: true }))

/** Runs a command; the program keeps what it was given and answers with `more`. */
function call(words: readonly string[], more: object, options: RunOptions = {}): Promise<Said> {
  const daemonProgram = join(directory, 'main.mjs')
  const answer = { ready: true, home: 'h', agent: { id: 'a1', name: 'kevin' }, instance: { id: 'b2', name: 'laptop' }, ...more }
  writeFileSync(
    daemonProgram,
    `import { readFileSync, writeFileSync } from 'node:fs'
writeFileSync(${JSON.stringify(join(directory, 'given.json'))}, JSON.stringify({ args: process.argv.slice(2), input: readFileSync(0, 'utf8') }))
console.log(${JSON.stringify(JSON.stringify(answer))})`,
  )
  return run(['key', ...words, '--home', '/h'], noDaemon, { daemonProgram, ...options })
}

function given(): { args: readonly string[]; input: string } {
  return JSON.parse(readFileSync(join(directory, 'given.json'), 'utf8')) as ReturnType<typeof given>
}

const words = { input: 'some good words\n' }

describe('key', () => {
  test.each([
    [[], true, 'kept on this machine'],
    [['show'], false, 'not on this machine'],
  ])('%j shows which keys there are (root key here: %s)', async (command, rootKeyHere, shown) => {
    const { code, out } = await call(command, { deviceKey: 'd4', rootKey: 'c3', rootKeyHere })
    expect([code, out]).toEqual([0, `agent       kevin  a1\nroot key    c3  ${shown}\ninstance    laptop  b2\ndevice key  d4\n`])
    expect(given()).toEqual({ args: ['key-show', '--home', '/h'], input: '' })
  })

  test.each([
    [
      ['export', '--root', 'f', '--passphrase-stdin'],
      'key-export',
      'the root key of kevin is in f, sealed\n',
      'selfsame key forget-root f --home /h',
    ],
    [
      ['import', 'f', '--passphrase-stdin'],
      'key-import',
      'the root key of kevin is on this machine\n',
      'selfsame key forget-root f --home /h',
    ],
    [['forget-root', 'f', '--passphrase-stdin'], 'key-forget', 'the root key of kevin is not on this machine any more\n', ''],
  ])('%j hands the passphrase over by standard input, and says how to go on', async (command, asked, answer, remark) => {
    const { code, err, out } = await call(command, { forgotten: true }, words)
    expect([code, out]).toEqual([0, answer])
    expect(err).toContain(remark)
    expect(given()).toEqual({ args: [asked, '--home', '/h', '--file', 'f'], input: 'some good words\n' })
  })

  test('asks once at a terminal for the passphrase of a file that is there', async () => {
    const { code, err, out } = await call(['import', 'f'], {}, { ...words, isTTY: true })
    expect([code, given().input]).toEqual([0, 'some good words\n'])
    expect(err).toMatch(/^passphrase of f: \n/)
    expect(err + out).not.toContain('words')
  })

  test('asks nothing where the caller vouches for the key', async () => {
    const { code, out } = await call(['forget-root', '--yes-i-have-it'], { forgotten: false })
    expect([code, out]).toEqual([0, 'the root key of kevin was not on this machine\n'])
    expect(given()).toEqual({ args: ['key-forget', '--home', '/h'], input: '' })
  })

  test.each([
    [['forget-root'], '--yes-i-have-it'],
    [['forget-root', 'f'], '--passphrase-stdin'],
    [['export', '--root', 'f', '--passphrase-stdin'], 'no passphrase on standard input'],
    [['export'], '--root <file>'],
  ])('%j does nothing without what it needs', async (command, said) => {
    const { code, err } = await call(command, {})
    expect([code, err]).toEqual([64, expect.stringContaining(said)])
    expect(existsSync(join(directory, 'given.json'))).toBe(false)
  })
})
