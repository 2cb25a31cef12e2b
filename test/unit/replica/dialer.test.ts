/** How soon instances find each other again. */
import { expect, it } from 'vitest'
import { createSigningKey, silentLogger } from '../../../src/core/index.ts'
import type { PublicKey } from '../../../src/core/index.ts'
import {
  cloneIdOf,
  foundAgent,
  instanceIdOf,
  memberTableOf,
  signAdmission,
  signClaim,
  signClone,
  signRotation,
} from '../../../src/membership/index.ts'
import type { MembershipRecord } from '../../../src/membership/index.ts'
import { createMemoryNetwork } from '../../../src/network/index.ts'
import { addressBookToMeta } from '../../../src/replica/index.ts'
import type { Replica } from '../../../src/replica/index.ts'
import { Dialer } from '../../../src/replica/dialer.ts'
import { Engine } from '../../../src/replica/engine.ts'
import { createMemoryStore } from '../../../src/storage/index.ts'
import { VirtualTime, seededRandom } from '../../sim/virtual-time.ts'
import { openGroup } from './group.ts'

it('dials again within seconds also where a link broke that was young', async () => {
  const { network, pass, replicas, settle } = await openGroup(['admin', 'writer'])
  const [first, second] = replicas as [Replica, Replica]
  const isConnected = (): boolean => replicas.every((replica) => replica.peers().every((peer) => peer.state === 'connected'))
  await Promise.all(replicas.map((replica) => settle(replica.startNetwork())))
  await pass(3_000)
  expect(isConnected()).toBe(true)

  network.change({ linkReset: 1 })
  await settle(
    first.write({ operations: [{ type: 'append', name: 'memory', entry: { text: 'lost on the way' }, operationId: undefined }] }),
  )
  await pass(100)
  network.change({ linkReset: 0 })
  expect(isConnected()).toBe(false)

  await pass(5_000)
  expect(isConnected()).toBe(true)
  expect(second.reader.log('memory', { newestFirst: false, limit: 1 }).entries).toHaveLength(1)
  await Promise.all(replicas.map((replica) => settle(replica.close())))
})

it.each([50, 60, 70, 80, 90])('finds an instance again within ten seconds that was cut off for %i s', async (seconds) => {
  const { network, pass, replicas, settle } = await openGroup(['admin', 'writer'])
  const isConnected = (): boolean => replicas.every((replica) => replica.peers().every((peer) => peer.state === 'connected'))
  await Promise.all(replicas.map((replica) => settle(replica.startNetwork())))
  await pass(3_000)
  expect(isConnected()).toBe(true)

  network.setReachable('/memory/0', '/memory/1', false)
  await pass(seconds * 1_000)
  expect(isConnected()).toBe(false)
  network.setReachable('/memory/0', '/memory/1', true)
  await pass(10_000)
  expect(isConnected()).toBe(true)
  await Promise.all(replicas.map((replica) => settle(replica.close())))
})

it.each(['another key', 'another instance'])('looks where an instance was found before for what has become %s', async (what) => {
  const random = seededRandom('moved')
  const time = new VirtualTime()
  const clock = time.clock()
  const [rootKey, ownKey, oldKey, newKey] = [0, 1, 2, 3].map(() => createSigningKey(random)) as [
    ReturnType<typeof createSigningKey>,
    ReturnType<typeof createSigningKey>,
    ReturnType<typeof createSigningKey>,
    ReturnType<typeof createSigningKey>,
  ]
  const { agent, records } = foundAgent({ agentName: 'kevin', instanceName: 'laptop', rootKey, deviceKey: ownKey }, 0, random)
  const [own, other] = [instanceIdOf(ownKey.publicKey), instanceIdOf(oldKey.publicKey)]
  const all: MembershipRecord[] = [...records]
  const parents = () => memberTableOf(agent, all).citedBy(null)
  const claim = signClaim(agent, oldKey, null)
  all.push(signAdmission({ agent, author: own, parents: parents(), time: 0, claim, name: 'desk', role: 'writer', number: 1 }, ownKey))
  const becoming = { agent, author: other, parents: parents(), time: 0 }
  all.push(
    what === 'another key'
      ? signRotation({ ...becoming, claim: signClaim(agent, newKey, null, other), cut: [] }, oldKey)
      : signClone(
          {
            ...becoming,
            claim: signClaim(agent, newKey, null, cloneIdOf(other, newKey.publicKey)),
            name: 'desk 2',
            role: 'writer',
            number: 1,
          },
          oldKey,
        ),
  )
  const store = createMemoryStore()
  const committed = store.commit({
    records: all.map(({ bytes, hash }) => ({ bytes, hash })),
    meta: addressBookToMeta(new Map([[oldKey.publicKey, ['/memory/desk']]]), []),
  })
  await time.run(10)
  await committed
  const identity = { agent, instance: own, key: ownKey }
  const options = { clock, random, logger: silentLogger, identity }
  const fatal = (error: unknown): never => {
    throw error
  }
  const engine = await Engine.open({ ...options, openStore: async () => store, cacheBytes: 1 << 20, fatal })
  const transport = createMemoryNetwork({ clock, random }).attach(ownKey.publicKey, { address: '/memory/own' })
  const dialed = new Map<PublicKey | null, readonly string[]>()
  transport.dial = async (key, addresses) => void dialed.set(key, addresses)
  const dialer = new Dialer({ ...options, engine, transport, announce: [], bootstrap: [], isConnected: () => false, sendCards: () => {} })
  dialer.start()
  await time.run(time.elapsed + 5_000)
  dialer.stop()
  expect(dialed.get(newKey.publicKey)).toEqual(['/memory/desk'])
})

it('finds the others at once where it starts, whichever of two has the greater key', async () => {
  const { pass, replicas, settle } = await openGroup(['admin', 'writer'])
  for (const starting of replicas) {
    const other = replicas.find((replica) => replica !== starting) as Replica
    await settle(other.startNetwork())
    // By then the other waits for a minute between its tries.
    await pass(3_600_000)
    await settle(starting.startNetwork())
    await pass(300)
    for (const replica of replicas) expect(replica.peers()).toMatchObject([{ state: 'connected' }])
    for (const replica of replicas) await settle(replica.stopNetwork())
  }
})
