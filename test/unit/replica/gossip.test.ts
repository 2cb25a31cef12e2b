import { expect, it } from 'vitest'
import { createSigningKey } from '../../../src/core/index.ts'
import { sealEnvelope } from '../../../src/feed/index.ts'
import type { Envelope } from '../../../src/feed/index.ts'
import type { Replica } from '../../../src/replica/index.ts'
import { storedToEnvelope } from '../../../src/replica/ledger.ts'
import { encodeGossip } from '../../../src/replica/messages.ts'
import type { StoredEnvelope } from '../../../src/storage/index.ts'
import { seededRandom } from '../../sim/virtual-time.ts'
import { createProbe } from '../network/probe.ts'
import { openGroup } from './group.ts'

it('an envelope that is gossiped is taken only with the signature of its author', async () => {
  const group = await openGroup(['admin', 'writer'])
  const [reader, author] = group.replicas as [Replica, Replica]
  await reader.startNetwork()
  await group.settle(author.write({ operations: [{ type: 'append', name: 'memory', entry: { text: 'mine' } }] }))
  const [stored] = author.store.appliedAfter(0, 1) as [StoredEnvelope]
  const envelope = storedToEnvelope(stored)
  // Somebody who has the author's place in the network, and passes on what it likes.
  const key = author.identity.key.publicKey
  const forwarder = createProbe(key, group.network.attach(key, { address: '/memory/forwarder' }))
  forwarder.admits = () => true
  await forwarder.transport.start(forwarder.handlers)
  await group.settle(forwarder.transport.dial(null, ['/memory/0']))
  const have = async (gossiped: Envelope): Promise<number | undefined> => {
    forwarder.transport.publish(encodeGossip({ type: 'envelopes', envelopes: [gossiped] }))
    await group.pass(100)
    return reader.store.feeds().find(({ feed }) => feed === stored.feed)?.have
  }
  expect(await have({ ...envelope, signature: seededRandom('forged').bytes(64) })).toBeUndefined()
  expect(await have({ ...envelope, signature: null })).toBeUndefined()
  expect(await have(envelope)).toBe(1)
})

it('envelopes that are gossiped together are refused together, also where only one is new here: others would take the rest', async () => {
  const group = await openGroup(['admin', 'writer'])
  const [reader, author] = group.replicas as [Replica, Replica]
  await reader.startNetwork()
  for (const text of ['one', 'two', 'three'])
    await group.settle(author.write({ operations: [{ type: 'append', name: 'memory', entry: { text } }] }))
  const [first, second, third] = author.store.appliedAfter(0, 3).map(storedToEnvelope) as [Envelope, Envelope, Envelope]
  const key = author.identity.key.publicKey
  const forwarder = createProbe(key, group.network.attach(key, { address: '/memory/forwarder' }))
  forwarder.admits = () => true
  await forwarder.transport.start(forwarder.handlers)
  await group.settle(forwarder.transport.dial(null, ['/memory/0']))
  const have = async (...envelopes: readonly Envelope[]): Promise<number | undefined> => {
    forwarder.transport.publish(encodeGossip({ type: 'envelopes', envelopes }))
    await group.pass(100)
    return reader.store.feeds().find(({ feed }) => feed === first.header.feed)?.have
  }
  expect(await have({ ...first, signature: null })).toBeUndefined()
  expect(await have(first)).toBe(1)
  const forged = sealEnvelope({ ...first.header, records: [] }, first.bodies, createSigningKey(seededRandom('forger')))
  expect(await have(forged, second)).toBe(1)
  expect(await have({ ...first, signature: null }, { ...second, signature: null }, third)).toBe(3)
})

it('what is gossiped while the store is opened anew is passed over, also where the store would tell whether it counts', async () => {
  let isFailing = false
  let openings = 0
  const group = await openGroup(['admin', 'writer'], {
    commitVia: async (apply) => {
      if (isFailing) throw new Error('EIO')
      apply()
    },
    reopening: () => {
      isFailing = false
      openings += 1
      if (openings < 3) throw new Error('EIO')
    },
  })
  const [reader, author] = group.replicas as [Replica, Replica]
  await reader.startNetwork()
  for (const text of ['one', 'two']) await group.settle(author.write({ operations: [{ type: 'append', name: 'memory', entry: { text } }] }))
  const [first, second] = author.store.appliedAfter(0, 2).map(storedToEnvelope) as [Envelope, Envelope]
  const { instance, key } = author.identity
  const forwarder = createProbe(key.publicKey, group.network.attach(key.publicKey, { address: '/memory/forwarder' }))
  forwarder.admits = () => true
  await forwarder.transport.start(forwarder.handlers)
  await group.settle(forwarder.transport.dial(null, ['/memory/0']))
  const gossip = async (envelope: Envelope): Promise<void> => {
    forwarder.transport.publish(encodeGossip({ type: 'envelopes', envelopes: [envelope] }))
    await group.pass(100)
  }
  await gossip(first)
  // Of its feed only what stands here counts from now on.
  await group.settle(reader.membership.giveRole(instance, 'reader', ''))
  isFailing = true
  const write = reader.write({ operations: [{ type: 'append', name: 'memory', entry: { text: 'lost' } }] })
  await expect(group.settle(write)).rejects.toMatchObject({ code: 'outcome-unknown' })
  expect(reader.progress.isReadable).toBe(false)
  await gossip(second)
  await group.pass(20_000)
  expect(reader.progress.isReadable).toBe(true)
  expect(reader.store.feeds().find(({ feed }) => feed === first.header.feed)?.have).toBe(1)
})

it('what gossip lost is fetched at once, long before peers next compare how far they are', async () => {
  const group = await openGroup(['admin', 'writer'])
  const [author, reader] = group.replicas as [Replica, Replica]
  for (const replica of group.replicas) await replica.startNetwork()
  await group.pass(15_000)
  group.network.change({ gossipLoss: 1 })
  for (const text of ['one', 'two', 'three', 'four']) {
    await group.settle(author.write({ operations: [{ type: 'append', name: 'memory', entry: { text } }] }))
    await group.pass(1_000)
    const { entries } = reader.reader.log('memory', { newestFirst: true, limit: 1 })
    expect(entries.map(({ content }) => content.text)).toEqual([text])
  }
})

it('what was gossiped and lost with a commit that failed is asked for at once', async () => {
  let disk: Promise<unknown> | null = null
  const group = await openGroup(['admin', 'writer'], {
    async commitVia(apply) {
      await disk
      apply()
    },
  })
  const [reader, author] = group.replicas as [Replica, Replica]
  for (const replica of group.replicas) await group.settle(replica.startNetwork())
  await group.pass(15_000)
  const failing = Promise.withResolvers<never>()
  disk = failing.promise
  await group.settle(author.write({ operations: [{ type: 'append', name: 'memory', entry: { text: 'lost' } }] }))
  // By now its author has told that it has it, too.
  await group.pass(500)
  disk = null
  failing.reject(new Error('EIO'))
  await group.pass(1_000)
  expect(reader.reader.entryTotal()).toBe(1)
})
