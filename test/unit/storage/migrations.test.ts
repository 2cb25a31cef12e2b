import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/index.ts'
import { openSqliteStore } from '../../../src/storage/index.ts'
import type { Store } from '../../../src/storage/index.ts'
import { applicationId, migrations } from '../../../src/storage/migrations.ts'
import { batchesArbitrary, readAll } from '../../contract/store-rows.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-schema-'))
})

afterEach(() => rmSync(directory, { recursive: true }))

const open = (path: string): Promise<Store> => openSqliteStore({ path, logger: silentLogger, checkFirst: true })

/** Makes a database of the first version that holds what the one at `source` does, which forgets what later versions forget. */
function writeFirstVersion(path: string, source: string): void {
  const database = new DatabaseSync(path)
  database.exec(`pragma journal_mode = wal; ${migrations[0]} pragma application_id = ${applicationId}; pragma user_version = 1`)
  database.exec(`
    attach '${source}' as source;
    delete from source.snapshot where document in (select number from source.document where kind = 'json');
    insert into envelope (id, hash48, position, changed, signature, header)
      select id, hash48, position, changed, signature, header from source.envelope left join source.applied on envelope = id;
    insert into document (number, document, kind, name) select number, document, kind, name from source.document`)
  const unchanged =
    'meta record feed body touch document_head past clock segment entry lineage operation snapshot quarantine text_version evidence'
  for (const table of unchanged.split(' ')) database.exec(`insert into ${table} select * from source.${table}`)
  database.close()
}

/** All but what stands for the order of what was applied: the first version did not keep that. */
function readable(store: Store): object {
  const { histories: _, ...others } = readAll(store)
  return others
}

test('a database of the first version answers everything as before, and goes on', async () => {
  await fc.assert(
    fc.asyncProperty(batchesArbitrary, async (batches) => {
      const [newest, first] = ['newest.sqlite', 'first.sqlite'].map((name) => join(directory, name)) as [string, string]
      const store = await open(newest)
      const half = Math.floor(batches.length / 2)
      for (const batch of batches.slice(0, half)) await store.commit(batch)
      await store.close()
      writeFirstVersion(first, newest)
      const stores = [await open(newest), await open(first)] as const
      expect(readable(stores[1])).toEqual(readable(stores[0]))
      for (const batch of batches.slice(half)) for (const each of stores) await each.commit(batch)
      expect(readable(stores[1])).toEqual(readable(stores[0]))
      for (const each of stores) await each.close()
      for (const path of [newest, first]) rmSync(path)
    }),
    { numRuns: 8 },
  )
}, 60_000)
