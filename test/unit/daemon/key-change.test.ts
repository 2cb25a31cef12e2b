/** Which identity a home holds after a change of key that was interrupted, or that is begun again, without a daemon. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SelfsameError, createSigningKey, signingKeyOf, silentLogger } from '../../../src/core/index.ts'
import type { Random, SigningKey } from '../../../src/core/index.ts'
import { openHome, readNextIdentity, writeNextIdentity } from '../../../src/daemon/home.ts'
import type { HomePaths, Identity } from '../../../src/daemon/home.ts'
import { changeKey, settledIdentity } from '../../../src/daemon/key-change.ts'
import { initHome } from '../../../src/daemon/new-home.ts'
import { cloneIdOf, instanceIdOf, memberTableFrom, signClaim, signRotation } from '../../../src/membership/index.ts'
import type { Replica } from '../../../src/replica/index.ts'
import { openSqliteStore, readStoredRecords } from '../../../src/storage/index.ts'
import { seededRandom } from '../../sim/virtual-time.ts'

const change = { newInstance: false, name: undefined }
const logs = { logger: () => silentLogger, close: () => {} }

let directory: string
let paths: HomePaths
let identity: Identity
let random: Random

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-key-'))
  const home = join(directory, 'home')
  await initHome({ home, agentName: 'kevin', name: 'laptop', sealed: null, logs })
  ;({ identity, paths } = openHome(home))
  random = seededRandom('keys')
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** A replica of which only the change of key is used: it stores the record and then says so, or says `error`. */
function replicaThat(error: SelfsameError | null, isStored: boolean): Replica {
  return {
    async replaceKey(key: SigningKey) {
      if (isStored) await storeRotation(key)
      if (error !== null) throw error
    },
  } as unknown as Replica
}

async function storeRotation(key: SigningKey): Promise<void> {
  const own = signingKeyOf(identity.deviceSeed)
  const table = memberTableFrom(identity.agent, readStoredRecords(paths.database))
  const claim = signClaim(identity.agent, key, null, identity.instance)
  const parents = table.citedBy(identity.instance)
  const { bytes, hash } = signRotation({ agent: identity.agent, author: identity.instance, parents, time: 1, claim, cut: [] }, own)
  const store = await openSqliteStore({ path: paths.database, logger: silentLogger, checkFirst: false })
  await store.commit({ records: [{ hash, bytes }] })
  await store.close()
}

const seedOf = (of: Identity | null): string => Buffer.from(of?.deviceSeed ?? []).toString('hex')
const now = (): Identity => openHome(paths.directory).identity

describe('a change of key', () => {
  test('leaves the new key and nothing of the old one', async () => {
    const next = await changeKey(paths, identity, replicaThat(null, true), change)
    expect([seedOf(now()), readNextIdentity(paths)]).toEqual([seedOf(next), null])
    expect(seedOf(next)).not.toBe(seedOf(identity))
  })

  test('that was refused leaves the old key and nothing of the new one', async () => {
    const refusal = new SelfsameError('unavailable', 'nobody is connected')
    await expect(changeKey(paths, identity, replicaThat(refusal, false), change)).rejects.toBe(refusal)
    expect([seedOf(now()), readNextIdentity(paths)]).toEqual([seedOf(identity), null])
  })

  test.each([true, false])(
    'of unknown outcome is settled by what the database holds, and none is begun before (stored: %s)',
    async (isStored) => {
      const unknown = new SelfsameError('outcome-unknown', 'the disk failed')
      await expect(changeKey(paths, identity, replicaThat(unknown, isStored), change)).rejects.toBe(unknown)
      const next = readNextIdentity(paths)
      expect(next).not.toBeNull()
      await expect(changeKey(paths, identity, replicaThat(null, true), change)).rejects.toMatchObject({ code: 'unavailable' })
      expect(seedOf(readNextIdentity(paths))).toBe(seedOf(next))

      const settled = settledIdentity(paths, now())
      expect(seedOf(settled)).toBe(seedOf(isStored ? next : identity))
      expect([seedOf(now()), readNextIdentity(paths)]).toEqual([seedOf(settled), null])
    },
  )
})

describe('a new identity that was left behind', () => {
  test('by another instance does not take the place of this one', async () => {
    const key = createSigningKey(random)
    writeNextIdentity(paths, { ...identity, instance: instanceIdOf(key.publicKey), deviceSeed: key.seed })
    expect(seedOf(settledIdentity(paths, identity))).toBe(seedOf(identity))
    expect([seedOf(now()), readNextIdentity(paths)]).toEqual([seedOf(identity), null])
  })

  test('by a clone that nobody heard of does not either', () => {
    const key = createSigningKey(random)
    writeNextIdentity(paths, { ...identity, instance: cloneIdOf(identity.instance, key.publicKey), deviceSeed: key.seed })
    expect(seedOf(settledIdentity(paths, identity))).toBe(seedOf(identity))
    expect(readNextIdentity(paths)).toBeNull()
  })
})
