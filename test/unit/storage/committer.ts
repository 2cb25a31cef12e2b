/** A process for tests: commits one envelope after the other to the database at `argv[2]`, and prints the sequence of each once it is acknowledged. */
import { silentLogger } from '../../../src/core/index.ts'
import { openSqliteStore } from '../../../src/storage/index.ts'
import { appendedBy } from '../../contract/store-rows.ts'

const store = await openSqliteStore({ path: process.argv[2] ?? '', logger: silentLogger, checkFirst: false })
for (let sequence = store.lastPosition() + 1; ; sequence += 1) {
  await store.commit(appendedBy(sequence, 1))
  process.stdout.write(`${sequence}\n`)
}
