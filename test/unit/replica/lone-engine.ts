/** One engine of an agent that has another member, whose key the test has: to be given what an honest author would never write. */
import { createSigningKey, silentLogger } from '../../../src/core/index.ts'
import type { AgentId, Random, SigningKey } from '../../../src/core/index.ts'
import { foundAgent, instanceIdOf, signAdmission, signClaim } from '../../../src/membership/index.ts'
import type { MembershipRecord } from '../../../src/membership/index.ts'
import { Engine } from '../../../src/replica/engine.ts'
import { createMemoryStore } from '../../../src/storage/index.ts'
import type { Store } from '../../../src/storage/index.ts'
import { VirtualTime, seededRandom } from '../../sim/virtual-time.ts'

export interface LoneEngine {
  readonly agent: AgentId
  readonly hostileKey: SigningKey
  /** By which the hostile member may write. */
  readonly admission: MembershipRecord
  /** The store of the engine that was opened last. */
  readonly store: Store
  readonly random: Random
  /** Opens the engine, again where it was open: as it would be after a restart. */
  readonly open: () => Promise<Engine>
  readonly pass: (milliseconds: number) => Promise<void>
}

export async function createLoneEngine(seed: string): Promise<LoneEngine> {
  const random = seededRandom(seed)
  const [rootKey, deviceKey, hostileKey] = [createSigningKey(random), createSigningKey(random), createSigningKey(random)]
  const { agent, records } = foundAgent({ agentName: 'kevin', instanceName: 'laptop', rootKey, deviceKey }, 0, random)
  const author = instanceIdOf(deviceKey.publicKey)
  const claim = signClaim(agent, hostileKey, null)
  const admission = signAdmission(
    { agent, author, parents: [records[1].hash], time: 0, claim, name: 'hostile', role: 'writer', number: 1 },
    deviceKey,
  )
  const time = new VirtualTime()
  let disk = createMemoryStore()
  const commit = disk.commit({ records: [...records, admission].map(({ hash, bytes }) => ({ hash, bytes })) })
  await time.run(time.elapsed + 10)
  await commit
  return {
    agent,
    hostileKey,
    admission,
    random,
    get store() {
      return disk
    },
    open: () =>
      Engine.open({
        openStore: async () => (disk = disk.clone()),
        clock: time.clock(),
        random,
        logger: silentLogger,
        identity: { agent, instance: author, key: deviceKey },
        cacheBytes: 1 << 20,
        fatal: (error) => {
          throw error
        },
      }),
    pass: (milliseconds) => time.run(time.elapsed + milliseconds),
  }
}
