import { mkdtempSync, openSync, closeSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/index.ts'
import { CommitFailure, openSqliteStore } from '../../../src/storage/index.ts'
import type { SqliteStoreOptions, Store } from '../../../src/storage/index.ts'
import { migrations } from '../../../src/storage/migrations.ts'
import { appendedBy, batchesArbitrary, documentOf, envelopeRow, feedOf, readAll } from '../../contract/store-rows.ts'
import { startProcess } from './process.ts'

let directory: string
let path: string
let stores: Store[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-store-'))
  path = join(directory, 'store.sqlite')
  stores = []
})

afterEach(async () => {
  for (const store of stores) await store.close()
  rmSync(directory, { recursive: true })
})

async function open(options: Partial<SqliteStoreOptions> = {}): Promise<Store> {
  const store = await openSqliteStore({ path, logger: silentLogger, checkFirst: false, ...options })
  stores.push(store)
  return store
}

function changeFile(sql: string): void {
  const database = new DatabaseSync(path)
  database.exec(sql)
  database.close()
}

const feed = feedOf(0)
const document = documentOf(0)

describe('a store that is closed and opened again', () => {
  test('answers everything as before', async () => {
    await fc.assert(
      fc.asyncProperty(batchesArbitrary, async (batches) => {
        const store = await open()
        for (const batch of batches) await store.commit(batch)
        const before = readAll(store)
        await store.close()
        const again = await open({ checkFirst: true })
        expect(readAll(again)).toEqual(before)
        await again.close()
        rmSync(path)
      }),
      { numRuns: 5 },
    )
  })

  test('has nothing of a commit that broke an invariant, and goes on', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 3))
    const broken = store.commit({ ...appendedBy(4, 1), envelopes: [envelopeRow(feed, 4), envelopeRow(feed, 2)] })
    await expect(broken).rejects.toThrow(expect.objectContaining({ outcome: 'unknown' }))
    const again = await open()
    expect(again.envelopes(feed, 1, 9, Infinity)).toHaveLength(3)
    await again.commit(appendedBy(4, 1))
    expect(again.lastPosition()).toBe(4)
  })

  test('is read until whoever commits hears that it failed, and then no more', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 3))
    let isHeard = false
    const broken = store.commit({ ...appendedBy(4, 1), envelopes: [envelopeRow(feed, 4), envelopeRow(feed, 2)] })
    broken.catch(() => (isHeard = true))
    while (!isHeard) {
      expect(store.feeds()).toHaveLength(1)
      await new Promise(setImmediate)
    }
    expect(() => store.feeds()).toThrow(expect.objectContaining({ code: 'storage-failed' }))
  })

  test('left no write-ahead log behind', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 10))
    await store.close()
    expect(() => statSync(`${path}-wal`)).toThrow('ENOENT')
  })
})

describe('a process that is killed while it commits', () => {
  test('left every commit that it had acknowledged, and each whole', { timeout: 60_000 }, async () => {
    let acknowledged = 0
    for (const kills of [1, 2, 3]) {
      const child = startProcess('./committer.ts', path)
      for await (const line of child.lines) {
        expect(Number(line)).toBe(acknowledged + 1)
        acknowledged = Number(line)
        if (acknowledged === kills * 150) void child.kill()
      }
      const store = await open({ checkFirst: true })
      const last = store.lastPosition()
      expect(last).toBeGreaterThanOrEqual(acknowledged)
      expect(last).toBeLessThanOrEqual(acknowledged + 1)
      const sequences = store.envelopes(feed, 1, 0xffff, Infinity).map((envelope) => envelope.sequence)
      expect(sequences).toEqual(Array.from({ length: last }, (_, index) => index + 1))
      expect(store.feeds()[0]).toMatchObject({ have: last, applied: last })
      expect(store.touchesAfter(document, 0, 0xffff)).toHaveLength(last)
      await store.close()
      acknowledged = last
    }
  })
})

describe('a damaged database', () => {
  test('is seen in the file, not in what the store has read of it before', async () => {
    await (await open()).commit(appendedBy(1, 50))
    await stores[0]!.close()
    const store = await open()
    const before = store.envelopes(feed, 1, 50, Infinity)
    const at = readFileSync(path).indexOf(before[20]!.bodies[0]!.bytes)
    const file = openSync(path, 'r+')
    writeSync(file, Uint8Array.of(before[20]!.bodies[0]!.bytes[0]! ^ 1), 0, 1, at)
    closeSync(file)
    expect(store.envelopes(feed, 1, 50, Infinity)).toEqual(before)
    expect(await store.scrub()).toEqual([{ kind: 'envelope', feed, sequence: 21, part: 'body' }])
    await store.commit({ envelopesReplaced: [envelopeRow(feed, 21)] })
    expect(await store.scrub()).toEqual([])
  })

  test('has whatever is wrong with an envelope named, and takes it again', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 5))
    const before = readAll(store)
    const cases = [
      ['an envelope that is gone', 'delete from envelope where id & 0xff = 3', 'header'],
      ['the last envelope gone', 'delete from envelope where id & 0xff = 5', 'header'],
      ['a body that is gone', 'delete from body where id >> 8 & 0xff = 3', 'body'],
      ['a damaged salt', "update body set salt = x'00112233445566778899aabbccddeeff' where id >> 8 & 0xff = 3", 'body'],
      ['a lost signature', 'update envelope set signature = null where id & 0xff = 3', 'signature'],
      ['another number of bodies', 'update envelope set bodies = 2 where id & 0xff = 3', 'body'],
      ['a damaged hash beside a body', 'update body set hash48 = hash48 + 1 where id >> 8 & 0xff = 3', 'body'],
    ] as const
    for (const [what, sql, part] of cases) {
      changeFile(sql)
      const sequence = sql.includes('= 5') ? 5 : 3
      expect([what, await store.scrub()]).toEqual([what, [{ kind: 'envelope', feed, sequence, part }]])
      await store.commit({ envelopesReplaced: [envelopeRow(feed, sequence)] })
      expect([what, await store.scrub()]).toEqual([what, []])
      expect([what, readAll(store)]).toEqual([what, before])
    }
  })

  test('takes an envelope again whose hash is what was damaged, in the file alone and not in its index', async () => {
    const first = await open()
    await first.commit(appendedBy(1, 5))
    await first.close()
    // The six bytes of the hash, in the table and again in the index: one of the two is changed.
    const { hash } = envelopeRow(feed, 3)
    const sound = readFileSync(path)
    const places = [sound.indexOf(hash.slice(0, 12), 0, 'hex'), sound.lastIndexOf(hash.slice(0, 12), undefined, 'hex')]
    expect(new Set(places).size).toBe(2)
    for (const at of places) {
      writeFileSync(
        path,
        sound.map((byte, index) => (index === at + 5 ? byte ^ 1 : byte)),
      )
      const store = await open()
      await store.commit({ envelopesReplaced: [envelopeRow(feed, 3)] })
      expect(await store.scrub()).toEqual([])
      expect(store.locate(hash)).toEqual({ feed, sequence: 3, position: 3 })
      await store.close()
      const database = new DatabaseSync(path)
      expect(database.prepare('pragma integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
      database.close()
    }
  })

  test('that SQLite itself cannot read any more is told of by a look through it, and what is elsewhere is still read', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 400))
    await store.close()
    const sound = readFileSync(path)
    const again = await open()
    expect(again.meta('nothing')).toBeUndefined()
    // A page in the middle of the bodies.
    const page = Math.floor(sound.indexOf(envelopeRow(feed, 200).bodies[0]!.bytes) / 4_096)
    const file = openSync(path, 'r+')
    writeSync(file, Buffer.alloc(4_096, 0xa5), 0, 4_096, page * 4_096)
    closeSync(file)
    await expect(again.scrub()).rejects.toThrow(expect.objectContaining({ code: 'storage-corrupt' }))
    expect(again.envelopes(feed, 1, 5, Infinity)).toHaveLength(5)
  })

  test('of before signatures and bodies were counted is looked through as far as it can be', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 5))
    changeFile('update envelope set signature_crc = null, bodies = null')
    expect(await store.scrub()).toEqual([])
    expect(store.envelopes(feed, 1, 5, Infinity)).toHaveLength(5)
    changeFile("update body set bytes = x'00' where id >> 8 & 0xff = 3")
    expect(await store.scrub()).toEqual([{ kind: 'envelope', feed, sequence: 3, part: 'body' }])
  })

  test('is found out by the check, wherever the damage is', async () => {
    const store = await open()
    await store.commit(appendedBy(1, 400))
    await store.close()
    const sound = readFileSync(path)
    const pages = sound.length / 4_096
    expect(pages).toBeGreaterThan(20)
    for (const page of [1, Math.floor(pages / 2), pages - 1]) {
      writeFileSync(path, sound)
      const file = openSync(path, 'r+')
      writeSync(file, Buffer.alloc(4_096, 0xa5), 0, 4_096, page * 4_096)
      closeSync(file)
      await expect(open({ checkFirst: true })).rejects.toThrow(expect.objectContaining({ code: 'storage-corrupt' }))
    }
    writeFileSync(path, sound)
    expect((await open({ checkFirst: true })).lastPosition()).toBe(400)
  })

  test('is refused without a check where it is no database at all, with what to do', async () => {
    writeFileSync(path, 'this is not a database, nor has it ever been one '.repeat(100))
    await expect(open()).rejects.toThrow(expect.objectContaining({ code: 'storage-corrupt' }))
    await expect(open()).rejects.toThrow('restore the home from a backup')
  })

  test('is refused where it belongs to another program', async () => {
    changeFile('create table theirs (a); pragma user_version = 1')
    await expect(open()).rejects.toThrow(expect.objectContaining({ code: 'storage-corrupt' }))
  })
})

test('reads see nothing of a commit that is on disk while its promise has not resolved', async () => {
  const store = await open()
  await store.commit(appendedBy(1, 3))
  let resolved = false
  const commit = store.commit(appendedBy(4, 1)).then(() => (resolved = true))
  // The batch is sent within a few microtasks; the answer cannot come before this test gives the loop free.
  for (let tick = 0; tick < 10; tick += 1) await Promise.resolve()
  const other = new DatabaseSync(path, { readOnly: true })
  const lastPosition = other.prepare('select max(position) as position from applied')
  const deadline = performance.now() + 10_000
  while (lastPosition.get()?.position !== 4 && performance.now() < deadline);
  expect(lastPosition.get()?.position).toBe(4)
  other.close()
  expect([resolved, store.lastPosition(), store.touchesAfter(document, 3, 9)]).toEqual([false, 3, []])
  await commit
  expect(store.lastPosition()).toBe(4)
})

test('only the owner may read the database and what lies beside it', async () => {
  const store = await open()
  await store.commit(appendedBy(1, 1))
  for (const suffix of ['', '-wal', '-shm']) expect(statSync(path + suffix).mode & 0o777).toBe(0o600)
})

test('a database of a newer schema is refused and left as it is', async () => {
  await (await open()).close()
  changeFile('pragma user_version = 999')
  await expect(open()).rejects.toThrow(expect.objectContaining({ code: 'storage-version' }))
  await expect(open()).rejects.toThrow('schema version 999')
  changeFile(`pragma user_version = ${migrations.length}`)
  await open()
})

test('a database in a directory that is not there is an error of its own', async () => {
  await expect(open({ path: join(directory, 'nowhere', 'store.sqlite') })).rejects.toThrow(
    expect.objectContaining({ code: 'storage-failed' }),
  )
})

test('a commit for which there is no space leaves nothing, and the store goes on', async () => {
  const store = await open({ pagesMax: 120 })
  const large = new Map([['large', new Uint8Array(400_000)]])
  await store.commit(appendedBy(1, 5))
  const failure: unknown = await store.commit({ ...appendedBy(6, 5), meta: large }).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(CommitFailure)
  expect(failure).toMatchObject({ outcome: 'rolled-back' })
  expect([store.lastPosition(), store.meta('large'), store.envelopes(feed, 1, 99, Infinity).length]).toEqual([5, undefined, 5])
  await store.commit(appendedBy(6, 1))
  expect(store.lastPosition()).toBe(6)
  await store.close()
  const roomier = await open({ checkFirst: true })
  await roomier.commit({ ...appendedBy(7, 5), meta: large })
  expect(roomier.lastPosition()).toBe(11)
})

test('a commit that forgets what is derived and finds no space leaves it as it was', async () => {
  const store = await open({ pagesMax: 200 })
  await store.commit(appendedBy(1, 200))
  const before = readAll(store)
  const failure: unknown = await store
    .commit({ derivedCleared: true, meta: new Map([['large', new Uint8Array(800_000)]]) })
    .catch((error: unknown) => error)
  expect(failure).toMatchObject({ outcome: 'rolled-back' })
  expect(readAll(store)).toEqual(before)
  await store.commit({ derivedCleared: true })
  expect(store.lastPosition()).toBe(0)
})

test('forgetting what is derived writes next to nothing, and its pages are used again', async () => {
  const store = await open()
  await store.commit(appendedBy(1, 5_000))
  await store.close()
  const size = statSync(path).size
  const again = await open()
  await again.commit({ derivedCleared: true })
  expect(statSync(`${path}-wal`).size).toBeLessThan(100 << 10)
  await again.commit({ ...appendedBy(1, 5_000), envelopes: [] })
  await again.close()
  expect(statSync(path).size).toBeLessThanOrEqual(size)
  const database = new DatabaseSync(path)
  expect(database.prepare('pragma integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
  database.close()
})

test('the write-ahead log stays bounded under commits without a pause', async () => {
  const store = await open()
  let largest = 0
  for (let round = 0; round < 100; round += 1) {
    await store.commit({ meta: new Map([['value', new Uint8Array(1 << 20).fill(round)]]) })
    largest = Math.max(largest, statSync(`${path}-wal`).size)
  }
  expect(largest).toBeGreaterThan(16 << 20)
  expect(largest).toBeLessThan(20 << 20)
})
