import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bytesToId, SelfsameError, systemRandom } from '../../../src/core/index.ts'
import type { ErrorCode, PublicKey } from '../../../src/core/index.ts'
import {
  createHome,
  holdsInstance,
  keepDatabase,
  keepIdentity,
  openHome,
  readJoiningSeed,
  readRootSeed,
  removeRootSeed,
  writeIdentity,
  writeJoiningSeed,
  writeRootSeed,
} from '../../../src/daemon/home.ts'
import type { Identity } from '../../../src/daemon/home.ts'

const identity: Identity = {
  agent: bytesToId(systemRandom.bytes(32)),
  agentName: 'kevin',
  instance: bytesToId(systemRandom.bytes(16)),
  name: 'laptop ☕',
  deviceSeed: systemRandom.bytes(32),
}

let parent: string
let directory: string

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'selfsame-home-'))
  directory = join(parent, 'home')
})

afterEach(() => {
  chmodSync(parent, 0o700)
  rmSync(parent, { recursive: true, force: true })
})

function makeHome(): void {
  writeIdentity(createHome(directory, 'a = 1\n'), identity)
}

function expectRefusal(action: () => unknown, code: ErrorCode, words: string): void {
  let refusal: unknown
  try {
    action()
  } catch (error) {
    refusal = error
  }
  expect(refusal).toBeInstanceOf(SelfsameError)
  expect((refusal as SelfsameError).code).toBe(code)
  expect((refusal as SelfsameError).message).toContain(words)
}

describe('a home', () => {
  test('gives back the identity that was written to it', () => {
    makeHome()
    expect(openHome(directory).identity).toEqual(identity)
    expect(readRootSeed(openHome(directory).paths)).toBeNull()
  })

  test('is closed to others, with everything in it', () => {
    const mask = process.umask(0)
    try {
      makeHome()
    } finally {
      process.umask(mask)
    }
    expect(statSync(directory).mode & 0o777).toBe(0o700)
    for (const name of readdirSync(directory)) expect(statSync(join(directory, name)).mode & 0o077).toBe(0)
  })

  test('is made with the directories above it', () => {
    directory = join(parent, 'a', 'b', 'home')
    makeHome()
    expect(openHome(directory).identity.name).toBe(identity.name)
  })

  test('can be copied', () => {
    makeHome()
    cpSync(directory, join(parent, 'copy'), { recursive: true })
    chmodSync(join(parent, 'copy'), 0o700)
    expect(openHome(join(parent, 'copy')).identity).toEqual(identity)
  })

  test('gets its run directory again where it was deleted', () => {
    makeHome()
    rmSync(join(directory, 'run'), { recursive: true })
    expect(statSync(openHome(directory).paths.run).mode & 0o777).toBe(0o700)
  })
})

/** Every file of the home that holds these bytes in hexadecimal. */
function filesWith(bytes: Uint8Array): readonly string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isFile() && readFileSync(join(directory, entry.name), 'utf8').includes(Buffer.from(bytes).toString('hex')))
    .map((entry) => entry.name)
}

describe('the root key', () => {
  const seed = systemRandom.bytes(32)

  test('comes and goes beside the identity, and is read anew each time', () => {
    makeHome()
    const { paths } = openHome(directory)
    writeRootSeed(paths, seed)
    expect(readRootSeed(paths)).toEqual(seed)
    expect(filesWith(seed)).toEqual(['root-key.json'])
    expect(statSync(paths.rootKey).mode & 0o777).toBe(0o600)
    removeRootSeed(paths)
    expect(readRootSeed(paths)).toBeNull()
    expect(openHome(directory).identity).toEqual(identity)
  })

  test('is gone with what an interrupted write left of it', () => {
    makeHome()
    const { paths } = openHome(directory)
    writeFileSync(`${paths.rootKey}.new`, Buffer.from(seed).toString('hex'), { mode: 0o600 })
    writeFileSync(`${paths.identity}.new`, Buffer.from(seed).toString('hex'), { mode: 0o600 })
    removeRootSeed(paths)
    expect(filesWith(seed)).toEqual([])
  })

  test('that others could read is refused', () => {
    makeHome()
    const { paths } = openHome(directory)
    writeRootSeed(paths, seed)
    chmodSync(paths.rootKey, 0o640)
    expectRefusal(() => readRootSeed(paths), 'home-unsafe', 'chmod 600')
  })

  test('that is damaged is refused', () => {
    makeHome()
    const { paths } = openHome(directory)
    writeFileSync(paths.rootKey, '{"version":1,"seed":"00"}', { mode: 0o600 })
    expectRefusal(() => readRootSeed(paths), 'invalid-configuration', "'seed'")
  })

  test.each([null, seed])('of a home of the first version moves out of its identity (%s)', (rootSeed) => {
    makeHome()
    const path = join(directory, 'identity.json')
    const value = JSON.parse(readFileSync(path, 'utf8')) as object
    const hex = rootSeed === null ? null : Buffer.from(rootSeed).toString('hex')
    writeFileSync(path, JSON.stringify({ ...value, version: 1, rootSeed: hex }))
    const { paths, identity: opened } = openHome(directory)
    expect([opened, readRootSeed(paths)]).toEqual([identity, rootSeed])
    expect(filesWith(seed)).toEqual(rootSeed === null ? [] : ['root-key.json'])
    expect(openHome(directory).identity).toEqual(identity)
  })
})

describe('the device key of a join', () => {
  const invite = bytesToId<PublicKey>(systemRandom.bytes(32))
  const seed = systemRandom.bytes(32)

  test('outlives a try that failed, for the same ticket alone, and ends with the identity', () => {
    writeJoiningSeed(createHome(directory, ''), invite, seed)
    const paths = createHome(directory, '')
    expect(readJoiningSeed(paths, invite)).toEqual(seed)
    expect(readJoiningSeed(paths, bytesToId<PublicKey>(systemRandom.bytes(32)))).toBeNull()
    writeIdentity(paths, identity)
    expect(readJoiningSeed(paths, invite)).toBeNull()
  })
})

describe('a home that becomes another instance', () => {
  const other: Identity = { ...identity, instance: bytesToId(systemRandom.bytes(16)), deviceSeed: systemRandom.bytes(32) }

  test('keeps the old identity beside the new one', () => {
    makeHome()
    const { paths } = openHome(directory)
    const before = readFileSync(paths.identity, 'utf8')
    const kept = keepIdentity(paths, identity)
    writeIdentity(paths, other)
    expect(kept).toBe(`identity.json.old-${identity.instance.slice(0, 8)}`)
    expect(readFileSync(join(directory, kept), 'utf8')).toBe(before)
    expect(statSync(join(directory, kept)).mode & 0o777).toBe(0o600)
    expect(openHome(directory).identity).toEqual(other)
  })

  test('has a damaged database moved aside with what belongs to it', () => {
    makeHome()
    const { paths } = openHome(directory)
    for (const suffix of ['', '-wal', '-shm']) writeFileSync(paths.database + suffix, `old${suffix}`)
    const kept = keepDatabase(paths, identity)
    expect(existsSync(paths.database)).toBe(false)
    for (const suffix of ['', '-wal', '-shm']) expect(readFileSync(join(directory, kept + suffix), 'utf8')).toBe(`old${suffix}`)
  })
})

describe('making a home', () => {
  test('is refused where an instance is, and changes nothing', () => {
    makeHome()
    const before = readFileSync(join(directory, 'identity.json'), 'utf8')
    expectRefusal(() => createHome(directory, 'b = 2'), 'home-exists', 'selfsame up')
    expect(readFileSync(join(directory, 'identity.json'), 'utf8')).toBe(before)
    expect(readFileSync(join(directory, 'config.toml'), 'utf8')).toBe('a = 1\n')
  })

  test('is refused in a directory with other things, and deletes none of them', () => {
    mkdirSync(directory, { mode: 0o700 })
    writeFileSync(join(directory, 'diary.txt'), 'dear diary')
    expectRefusal(() => createHome(directory, ''), 'home-unsafe', 'diary.txt')
    expect(existsSync(join(directory, 'diary.txt'))).toBe(true)
  })

  test('begins anew where an earlier attempt ended half-way', () => {
    const paths = createHome(directory, 'a = 1')
    writeFileSync(paths.database, 'half')
    writeFileSync(`${paths.database}-wal`, 'half')
    writeFileSync(`${paths.identity}.new`, '{')
    writeRootSeed(paths, systemRandom.bytes(32))
    expect(existsSync(createHome(directory, 'b = 2').database)).toBe(false)
    expect(readdirSync(directory).toSorted()).toEqual(['config.toml', 'run'])
  })

  test('is told from a home that holds an instance', () => {
    expect(holdsInstance(directory)).toBe(false)
    createHome(directory, '')
    expect(holdsInstance(directory)).toBe(false)
    makeHome()
    expect(holdsInstance(directory)).toBe(true)
  })

  test('takes an empty directory', () => {
    mkdirSync(directory, { mode: 0o700 })
    makeHome()
    expect(openHome(directory).identity).toEqual(identity)
  })
})

describe('a place is refused as a home', () => {
  test('that is not there', () => {
    expectRefusal(() => openHome(directory), 'home-missing', 'selfsame init')
  })

  test('that is empty', () => {
    mkdirSync(directory, { mode: 0o700 })
    expectRefusal(() => openHome(directory), 'home-missing', 'selfsame join')
  })

  test('that lies in a file', () => {
    writeFileSync(join(parent, 'file'), '')
    expectRefusal(() => openHome(join(parent, 'file', 'home')), 'home-unsafe', 'a part of the path is a file')
    expectRefusal(() => createHome(join(parent, 'file', 'home'), ''), 'home-unsafe', 'a part of the path is a file')
  })

  test('that is a file', () => {
    writeFileSync(directory, '')
    expectRefusal(() => openHome(directory), 'home-unsafe', 'is not a directory')
  })

  test('that is a symbolic link', () => {
    makeHome()
    symlinkSync(directory, join(parent, 'link'))
    expectRefusal(() => openHome(join(parent, 'link')), 'home-unsafe', 'symbolic link')
  })

  test.each([0o750, 0o705, 0o710])('that others can enter (mode %o)', (mode) => {
    makeHome()
    chmodSync(directory, mode)
    expectRefusal(() => openHome(directory), 'home-unsafe', 'chmod 700')
  })

  test.each([0o640, 0o604])('whose keys others can read (mode %o)', (mode) => {
    makeHome()
    chmodSync(join(directory, 'identity.json'), mode)
    expectRefusal(() => openHome(directory), 'home-unsafe', 'chmod 600')
  })

  test('that belongs to another user', () => {
    makeHome()
    if (process.getuid?.() === 0) chownSync(directory, 54_321, 54_321)
    else directory = '/'
    expectRefusal(() => openHome(directory), 'home-unsafe', 'belongs to another user')
  })

  test('whose keys belong to another user or are a link', () => {
    makeHome()
    cpSync(join(directory, 'identity.json'), join(parent, 'stolen'))
    rmSync(join(directory, 'identity.json'))
    symlinkSync(join(parent, 'stolen'), join(directory, 'identity.json'))
    expectRefusal(() => openHome(directory), 'home-unsafe', 'not a plain file')
  })
})

describe('a damaged identity is refused with what is wrong', () => {
  test.each([
    ['', 'not an identity'],
    ['{', 'not an identity'],
    ['[]', 'not an identity'],
  ])('%j', (text, words) => {
    makeHome()
    writeFileSync(join(directory, 'identity.json'), text)
    expectRefusal(() => openHome(directory), 'invalid-configuration', words)
  })

  test.each(['version', 'agent', 'agentName', 'instance', 'name', 'deviceSeed'])('a wrong %s', (field) => {
    makeHome()
    const path = join(directory, 'identity.json')
    const value = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    writeFileSync(path, JSON.stringify({ ...value, [field]: 7 }))
    expectRefusal(() => openHome(directory), 'invalid-configuration', field)
  })
})
