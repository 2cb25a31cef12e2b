/** Opens each kind of store for the tests of stores, with a way to damage what it holds. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { silentLogger } from '../../src/core/index.ts'
import { createMemoryStore, openSqliteStore } from '../../src/storage/index.ts'
import type { Damage, Store } from '../../src/storage/index.ts'

const cleanups: (() => Promise<void> | void)[] = []

/** Closes what was opened, and takes it from the disk. */
export async function closeStores(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
}

/** A store, and how to open what became of it. */
export interface Opened {
  readonly store: Store
  readonly again: () => Promise<Store>
  /** Damages what is stored, beside the open store. */
  readonly damage: (place: Damage) => void
}

export async function openMemory(): Promise<Opened> {
  const store = createMemoryStore()
  return { store, again: async () => store.clone(), damage: (place) => store.damage(place) }
}

export async function openOnDisk(): Promise<Opened> {
  const directory = mkdtempSync(join(tmpdir(), 'selfsame-store-'))
  const path = join(directory, 'store.sqlite')
  cleanups.push(() => rmSync(directory, { recursive: true }))
  const again = async (): Promise<Store> => {
    const store = await openSqliteStore({ path, logger: silentLogger, checkFirst: true })
    cleanups.push(() => store.close())
    return store
  }
  return { store: await again(), again, damage: (place) => damageRow(path, place) }
}

/** Flips a bit of one blob of a row, by a connection of its own. */
function damageRow(path: string, place: Damage): void {
  const database = new DatabaseSync(path)
  const flip = (table: string, column: string, where: string): void => {
    const row = database.prepare(`select cast(${column} as blob) as bytes from ${table} where ${where}`).get() as { bytes: Uint8Array }
    row.bytes[row.bytes.length >> 1]! ^= 1
    database
      .prepare(`update ${table} set ${column} = cast(? as ${table === 'text_version' ? 'text' : 'blob'}) where ${where}`)
      .run(row.bytes)
  }
  const documentIs = (id: string): string => `document = (select number from document where document = x'${id}')`
  if (place.kind === 'envelope') {
    const id = `(((select number from feed where feed = x'${place.feed}') << 32) | ${place.sequence})`
    if (place.part === 'body') flip('body', 'bytes', `id = ${id} << 8`)
    else flip('envelope', place.part, `id = ${id}`)
  } else if (place.kind === 'record') flip('record', 'bytes', `hash = x'${place.hash}'`)
  else if (place.kind === 'snapshot') flip('snapshot', 'state', documentIs(place.document))
  else flip('text_version', 'content', `${documentIs(place.document)} and version = x'${place.version}'`)
  database.close()
}
