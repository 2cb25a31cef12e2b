/** A few disks as a power loss can leave them; `npm run power-loss` looks at as many as are wanted. And proof that the simulated disk loses what it may. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../sim/virtual-time.ts'
import { diskAfterPowerLoss, diskAt, filesOf, rootNode } from './disk.ts'
import type { DiskOperation } from './disk.ts'
import { recordLife } from './lives.ts'
import type { Life } from './lives.ts'
import { whyNotRecorded } from './recording.ts'

const seeds = Array.from({ length: 200 }, (_, seed) => seed)
const why = whyNotRecorded()

describe('the simulated disk', () => {
  const make: DiskOperation = { type: 'make', node: 1, isDirectory: false, as: { directory: rootNode, name: 'file' } }
  const write = (text: string): DiskOperation => ({ type: 'write', node: 1, offset: 0, bytes: Buffer.from(text.repeat(512)) })
  const sync = (node: number, covers: number): DiskOperation => ({ type: 'sync', node, covers })
  const contents = (operations: readonly DiskOperation[]): Set<string | undefined> =>
    new Set(
      seeds.map((seed) =>
        filesOf(diskAfterPowerLoss(operations, operations.length, seededRandom(`disk ${seed}`)))
          .get('file')
          ?.toString(),
      ),
    )
  const [a, b] = ['a'.repeat(512), 'b'.repeat(512)]

  it('keeps what was synced, and the name once its directory was', () => {
    expect(contents([make, write('a'), sync(1, 2), sync(rootNode, 3)])).toEqual(new Set([a]))
  })

  it('may lose the name of a file that was synced', () => {
    expect(contents([make, write('a'), sync(1, 2)])).toEqual(new Set([a, undefined]))
  })

  it('may lose a write that came after the sync, or that the sync did not cover', () => {
    expect(contents([make, write('a'), sync(1, 2), sync(rootNode, 3), write('b')])).toEqual(new Set([a, b]))
    expect(contents([make, sync(rootNode, 1), write('a'), sync(1, 2)])).toEqual(new Set(['', a]))
  })

  it('tears a write at sectors, in any order', () => {
    const long: DiskOperation = { type: 'write', node: 1, offset: 0, bytes: Buffer.from(a + b) }
    expect(contents([make, sync(rootNode, 1), long])).toEqual(new Set(['', a, a + b, '\0'.repeat(512) + b]))
  })

  it('holds either name of a file that was renamed, unless the directory was synced', () => {
    const rename: DiskOperation = { type: 'rename', from: { directory: rootNode, name: 'new' }, to: { directory: rootNode, name: 'file' } }
    const fresh: DiskOperation = { type: 'make', node: 2, isDirectory: false, as: { directory: rootNode, name: 'new' } }
    const replacing = [make, write('a'), sync(1, 2), sync(rootNode, 3), fresh, sync(rootNode, 5), rename]
    expect(contents(replacing)).toEqual(new Set([a, '']))
    expect(contents([...replacing, sync(rootNode, 7)])).toEqual(new Set(['']))
  })

  it('loses nothing when only the process dies', () => {
    expect(
      filesOf(diskAt([make, write('a')], 2))
        .get('file')
        ?.toString(),
    ).toBe(a)
  })
})

describe.skipIf(why !== undefined)(`a power loss${why === undefined ? '' : ` (skipped: ${why})`}`, () => {
  let work = ''
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'selfsame-power-loss-'))
  })
  afterAll(() => rmSync(work, { recursive: true, force: true }))

  const faultsOf = async (life: Life, states: number): Promise<string[]> => {
    const disks = join(work, `${life}.disks`)
    mkdirSync(disks)
    const powerLoss = recordLife(life, join(work, life), disks)
    const faults: string[] = []
    for (let seed = 1; seed <= states; seed += 1) {
      const fault = await powerLoss.fault(seed)
      if (fault !== undefined) faults.push(`seed ${seed}: ${fault}`)
    }
    return faults
  }

  it('leaves every commit that was confirmed whole, nothing half, and an instance that can go on', async () => {
    expect(await faultsOf('short', 15)).toEqual([])
  })

  it('leaves each small file of a home as it was told to be, and a home that is whole or can be begun', async () => {
    expect(await faultsOf('home', 20)).toEqual([])
  })
})
