/** How soon instances find each other again. */
import { expect, it } from 'vitest'
import type { Replica } from '../../../src/replica/index.ts'
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
