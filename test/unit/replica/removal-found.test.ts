/** Faults around removals that were found and mended, by name. */
import { expect, it } from 'vitest'
import { createSigningKey, hashToId, silentLogger, stampOf } from '../../../src/core/index.ts'
import type { EnvelopeHash } from '../../../src/core/index.ts'
import { feedIdOf, headerHash, mainSpace, referenceTo, sealEnvelope } from '../../../src/feed/index.ts'
import { foundAgent, instanceIdOf, signAdmission, signClaim, signRename, signRole, signRotation } from '../../../src/membership/index.ts'
import type { MembershipRecord } from '../../../src/membership/index.ts'
import type { LocalOperation, Replica } from '../../../src/replica/index.ts'
import { Engine } from '../../../src/replica/engine.ts'
import { encodeGossip } from '../../../src/replica/messages.ts'
import { createMemoryStore } from '../../../src/storage/index.ts'
import { VirtualTime, seededRandom } from '../../sim/virtual-time.ts'
import { createProbe } from '../network/probe.ts'
import { openGroup } from './group.ts'

const entry = (text: string): LocalOperation => ({ type: 'append', name: 'memory', entry: { text }, operationId: undefined })

function texts(replica: Replica): string[] {
  return replica.reader.log('memory', { newestFirst: false, limit: 1_000 }).entries.map((item) => item.content.text ?? '')
}

/** What a test reaches around the wire with: the records as they would come from a hostile peer. */
function give(replica: Replica, records: readonly MembershipRecord[]): void {
  ;(replica.members as unknown as { add(records: readonly MembershipRecord[]): void }).add(records)
}

it.each(['removed', 'a member'])('a cut that names a feed before it is written vouches for nothing, its author being %s', async (place) => {
  const random = seededRandom('cut')
  const time = new VirtualTime()
  const [rootKey, adminKey, oldKey, newKey] = [1, 2, 3, 4].map(() => createSigningKey(random)) as [
    ReturnType<typeof createSigningKey>,
    ReturnType<typeof createSigningKey>,
    ReturnType<typeof createSigningKey>,
    ReturnType<typeof createSigningKey>,
  ]
  const { agent, records } = foundAgent({ agentName: 'kevin', instanceName: 'laptop', rootKey, deviceKey: adminKey }, 0, random)
  const [admin, thief] = [instanceIdOf(adminKey.publicKey), instanceIdOf(oldKey.publicKey)]
  const claim = signClaim(agent, oldKey, null)
  const admission = signAdmission(
    { agent, author: admin, parents: [records[1].hash], time: 0, claim, name: 'x', role: 'writer', number: 1 },
    adminKey,
  )
  const opening = { instance: thief, key: oldKey.publicKey, nonce: random.bytes(16) }
  const feed = feedIdOf(agent, opening)
  const rotation = signRotation(
    {
      agent,
      author: thief,
      parents: [admission.hash],
      time: 0,
      claim: signClaim(agent, newKey, null, thief),
      cut: [{ feed, sequence: 0xffff_ffff, hash: '00'.repeat(32) as EnvelopeHash }],
    },
    oldKey,
  )
  const store = createMemoryStore()
  const settle = async <T>(promise: Promise<T>): Promise<T> => {
    await time.run(time.elapsed + 1_000)
    return promise
  }
  await settle(store.commit({ records: [...records, admission, rotation].map(({ hash, bytes }) => ({ hash, bytes })) }))
  const engine = await Engine.open({
    openStore: async () => store,
    clock: time.clock(),
    random,
    logger: silentLogger,
    identity: { agent, instance: admin, key: adminKey },
    cacheBytes: 1 << 20,
    fatal: (error) => {
      throw error
    },
  })
  const { members } = engine
  if (place === 'removed') {
    const removal = {
      agent,
      author: admin,
      parents: members.citedBy(admin),
      time: 0,
      number: members.nextNumber(admin),
      cut: [],
      reason: '',
    }
    await settle(engine.put({ records: [signRole({ ...removal, instance: thief, role: null }, adminKey)] }))
  }
  const body = { salt: new Uint8Array(16), bytes: new Uint8Array(8) }
  const reference = referenceTo(body, { type: 99, schema: 1, critical: false, document: hashToId('any', body.salt) })
  const header = { format: 1, rules: 1, agent, space: mainSpace, feed, sequence: 1, previous: null, deps: [], records: [admission.hash] }
  engine.offer([sealEnvelope({ ...header, stamp: stampOf(1_800_000_000_000, 0), bodies: [reference], opening }, [body], oldKey)])
  await time.run(time.elapsed + 1_000)
  expect(engine.ledger.feed(feed)?.applied ?? 0).toBe(0)
  expect(engine.frontier().has(feed)).toBe(false)
})

it('a write that waits while the right to write goes is refused, and later ones are heard', async () => {
  const { pass, replicas, settle } = await openGroup(['admin', 'admin', 'writer'])
  const [first, second] = replicas as [Replica, Replica]
  for (const replica of replicas) await replica.startNetwork()
  await pass(5_000)
  await settle(second.write({ operations: [entry('before')] }))
  const demoted = second.membership.giveRole(second.identity.instance, 'reader', '')
  await Promise.resolve()
  const racing = second.write({ operations: [entry('racing')] }).then(
    () => 'acknowledged',
    () => 'refused',
  )
  await settle(demoted)
  const outcome = await settle(racing)
  await pass(10_000)
  await settle(first.membership.giveRole(second.identity.instance, 'writer', ''))
  await pass(5_000)
  await settle(second.write({ operations: [entry('later')] }))
  await pass(60_000)
  const expected = outcome === 'acknowledged' ? ['before', 'racing', 'later'] : ['before', 'later']
  for (const replica of replicas) expect(texts(replica)).toEqual(expected)
})

it('a removal that the disk did not confirm and kept is told', async () => {
  let isFailing = false
  const { network, pass, replicas, settle } = await openGroup(['admin', 'writer', 'writer'], {
    commitVia: async (apply) => {
      apply()
      if (!isFailing) return
      isFailing = false
      throw new Error('EIO')
    },
  })
  const [first, second, third] = replicas as [Replica, Replica, Replica]
  for (const replica of replicas) await replica.startNetwork()
  await pass(5_000)
  network.setReachable('/memory/1', '/memory/2', false)
  await pass(1_000)
  isFailing = true
  await expect(settle(first.membership.giveRole(third.identity.instance, null, ''))).rejects.toMatchObject({ code: 'outcome-unknown' })
  await pass(10_000)
  for (const replica of [first, second]) expect(replica.members.members.map(({ name }) => name)).toEqual(['i0', 'i1'])
  await settle(first.write({ operations: [entry('after')] }))
  await pass(10_000)
  expect(texts(second)).toEqual(['after'])
  expect(texts(third)).toEqual([])
})

it('what was told of a feed is taken back once nothing of it counts: nobody waits for it, and all are seen to be in step', async () => {
  const group = await openGroup(['admin', 'writer', 'writer'])
  const [first, second, third] = group.replicas as [Replica, Replica, Replica]
  const random = seededRandom('told')
  const { agent, instance, key } = third.identity
  // What it rests on only the instance had that is removed.
  const body = { salt: random.bytes(16), bytes: random.bytes(8) }
  const opening = { instance, key: key.publicKey, nonce: random.bytes(16) }
  const envelope = sealEnvelope(
    {
      format: 1,
      rules: 1,
      agent,
      space: mainSpace,
      feed: feedIdOf(agent, opening),
      sequence: 1,
      previous: null,
      stamp: stampOf(1_800_000_000_000, 0),
      deps: [headerHash(random.bytes(8))],
      records: third.members.rightOf(instance, key.publicKey),
      bodies: [referenceTo(body, { type: 99, schema: 1, critical: false, document: hashToId('any', body.salt) })],
      opening,
    },
    [body],
    key,
  )
  const probe = createProbe(key.publicKey, group.network.attach(key.publicKey, { address: '/memory/probe' }))
  probe.admits = () => true
  for (const replica of [first, second]) await replica.startNetwork()
  await probe.transport.start(probe.handlers)
  await group.settle(probe.transport.dial(null, ['/memory/0']))
  probe.transport.publish(encodeGossip({ type: 'envelopes', envelopes: [envelope] }))
  await group.pass(5_000)
  const waiting = () => [first, second].map((replica) => replica.waitingFeeds)
  expect(waiting()).toEqual([1, 1])
  await group.settle(first.membership.giveRole(instance, null, 'lost'))
  await group.pass(5_000)
  expect(waiting()).toEqual([0, 0])
  for (const replica of [first, second]) expect(replica.peers()).toMatchObject([{ behind: 0, ahead: 0 }])
})

it('an act after one that was lost with the store rests on nothing of it', async () => {
  let isFailing = false
  let openings = 0
  const { pass, replicas, settle } = await openGroup(['admin', 'writer'], {
    commitVia: async (apply) => {
      if (!isFailing) return apply()
      isFailing = false
      throw new Error('EIO')
    },
    reopening: () => {
      openings += 1
      if (openings < 3) throw new Error('EIO')
    },
  })
  const [first, second] = replicas as [Replica, Replica]
  const { instance } = second.identity
  isFailing = true
  await expect(settle(first.membership.giveRole(instance, 'reader', ''))).rejects.toMatchObject({ code: 'outcome-unknown' })
  expect(first.progress.isReadable).toBe(false)
  await settle(first.membership.rename(instance, 'desk'))
  for (const replica of replicas) await replica.startNetwork()
  await pass(10_000)
  for (const { members } of replicas) expect(members.member(instance)).toMatchObject({ role: 'writer', name: 'desk' })
})

it('hundreds of records by a reader keep no writer from being heard, and no admin from acting', async () => {
  const { pass, replicas, settle } = await openGroup(['admin', 'reader', 'reader'])
  const [admin, writer, hostile] = replicas as [Replica, Replica, Replica]
  const parents = admin.members.citedBy(null)
  await settle(admin.membership.giveRole(writer.identity.instance, 'writer', ''))
  const { agent, instance, key } = hostile.identity
  const records = Array.from({ length: 400 }, (_, time) => signRename({ agent, author: instance, parents, time, instance, name: 'x' }, key))
  // Some here, others there: neither takes them all.
  give(admin, records.slice(0, 200))
  give(writer, records.slice(200))
  for (const replica of [admin, writer]) await replica.startNetwork()
  await pass(5_000)
  await settle(writer.write({ operations: [entry('heard')] }))
  await pass(60_000)
  expect(texts(admin)).toEqual(['heard'])
  await settle(admin.membership.giveRole(writer.identity.instance, 'reader', ''))
  await pass(30_000)
  expect(writer.members.member(writer.identity.instance)?.role).toBe('reader')
})

it('no cut is signed before the memory that is built anew is whole: it would leave out what is not applied again yet', async () => {
  const group = await openGroup(['admin', 'writer'])
  const [first, second] = group.replicas as [Replica, Replica]
  for (const replica of group.replicas) await group.settle(replica.startNetwork())
  await group.settle(second.write({ operations: [entry('one')] }))
  await group.pass(2_000)
  const rebuilt = first.coherence.rebuild()
  while (first.rebuildShare === null) await Promise.resolve()
  const removed = first.membership.giveRole(second.identity.instance, null, 'stolen')
  await group.settle(rebuilt)
  await group.settle(removed)
  expect(first.members.writeLimit(second.identity.instance, second.identity.key.publicKey)).toMatchObject([[{ sequence: 1 }]])
  expect(texts(first)).toEqual(['one'])
})

it('who has its place back is ready for those, too, whom it met while it had none', async () => {
  const held = Promise.withResolvers<void>()
  let isHeld = false
  const commitVia = async (apply: () => void): Promise<void> => {
    if (isHeld) await held.promise
    apply()
  }
  const { pass, replicas, settle } = await openGroup(['admin', 'admin', 'writer'], { commitVia })
  const [slow, admin, removed] = replicas as [Replica, Replica, Replica]
  for (const replica of replicas) await replica.startNetwork()
  await pass(5_000)
  // Hears of the removal and of the return at once, once its disk goes on.
  isHeld = true
  const waiting = slow.write({ operations: [entry('on its way to the disk')] })
  await settle(admin.membership.giveRole(removed.identity.instance, null, ''))
  await pass(1_000)
  await removed.stopNetwork()
  await removed.startNetwork()
  await pass(10_000)
  await settle(admin.membership.giveRole(removed.identity.instance, 'writer', ''))
  await pass(1_000)
  held.resolve()
  isHeld = false
  await settle(waiting)
  await pass(5_000)
  for (const replica of replicas) expect(replica.peers().map(({ state }) => state)).toEqual(['connected', 'connected'])
})
