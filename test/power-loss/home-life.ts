/**
 * The life of a home that is recorded: everything that writes its small files, one step after the other. A line is printed after each step: from
 * then on somebody may rely on it.
 */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { silentLogger, createSigningKey, systemRandom } from '../../src/core/index.ts'
import { backupHome } from '../../src/daemon/backup.ts'
import {
  homePathsOf,
  keepIdentity,
  openTokenShelf,
  removeNextIdentity,
  removeRootSeed,
  writeIdentity,
  writeJoiningSeed,
  writeNextIdentity,
  writeRootSeed,
} from '../../src/daemon/home.ts'
import { moveOut, undoMove } from '../../src/daemon/move.ts'
import { initHome } from '../../src/daemon/new-home.ts'
import { stopMarkerOf } from '../../src/daemon/stop-marker.ts'

const [root] = process.argv.slice(2) as [string]
const directory = join(root, 'agents', 'kevin')
const paths = homePathsOf(directory)

async function step(name: string, act: () => unknown): Promise<void> {
  await act()
  writeSync(1, `${name}\n`)
}

const logs = { logger: () => silentLogger, close: () => undefined }
const identity = await initHome({ home: directory, agentName: 'kevin', name: 'laptop', logs, sealed: null })
writeSync(1, 'begun\n')
const next = { ...identity, deviceSeed: createSigningKey(systemRandom).seed }
const tokens = openTokenShelf(paths)
const marker = stopMarkerOf(paths.run, directory)
for (let round = 1; round <= 2; round += 1) {
  await step('tokens written', () => tokens.write(JSON.stringify({ round, tokens: [] })))
  await step('next identity written', () => writeNextIdentity(paths, next))
  await step('identity written', () => writeIdentity(paths, round % 2 === 1 ? next : identity))
  await step('next identity removed', () => removeNextIdentity(paths))
  await step('identity kept', () => keepIdentity(paths, identity))
  await step('join begun', () => writeJoiningSeed(paths, createSigningKey(systemRandom).publicKey, next.deviceSeed))
  await step('join ended', () => writeIdentity(paths, identity))
  await step('root key removed', () => removeRootSeed(paths))
  await step('root key written', () => writeRootSeed(paths, systemRandom.bytes(32)))
  await step('stopped', () => marker.write())
  await step('started', () => marker.remove())
  const backup = { home: directory, file: join(root, 'agents', 'kevin.backup'), force: true, program: 'power-loss' }
  await step('backed up', () => backupHome({ ...backup, withoutIdentity: false }))
  await step('moved out', () => moveOut({ ...backup, file: join(root, 'agents', `kevin.move-${round}`) }))
  await step('moved back', () => undoMove(directory))
}
