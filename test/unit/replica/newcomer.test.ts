import { expect, it } from 'vitest'
import { createSigningKey } from '../../../src/core/index.ts'
import { envelopeToWire } from '../../../src/feed/index.ts'
import { instanceIdOf, memberTableOf, signAdmission, signClaim } from '../../../src/membership/index.ts'
import type { Replica } from '../../../src/replica/index.ts'
import { decodeControl, encodeChunk, encodeControl } from '../../../src/replica/messages.ts'
import { forgeEntry, forgeFeed } from '../../adversary/forge.ts'
import { seededRandom } from '../../sim/virtual-time.ts'
import { createProbe } from '../network/probe.ts'
import { openGroup } from './group.ts'

it('what a newcomer wrote is asked for again once its admission is taken in: it came while that waited for a commit', async () => {
  let disk = Promise.resolve()
  const { network, pass, replicas, settle } = await openGroup(['admin', 'admin'], {
    async commitVia(apply) {
      await disk
      apply()
    },
  })
  const [first, second] = replicas as [Replica, Replica]
  await settle(first.startNetwork())
  const random = seededRandom('newcomer')
  const key = createSigningKey(random)
  const { agent, instance: author, key: adminKey } = second.identity
  const table = second.members
  const admission = signAdmission(
    { agent, author, parents: table.citedBy(author), time: 1, claim: signClaim(agent, key, null), name: 'new', role: 'writer', number: 1 },
    adminKey,
  )
  const instance = instanceIdOf(key.publicKey)
  const cited = memberTableOf(agent, [...table.records(), admission]).citedBy(instance)
  const feed = forgeFeed({ agent, instance, key, records: cited })
  const envelope = feed.next([forgeEntry(feed, 'memory', 0, 'by the newcomer')])

  // The second instance, as far as this conversation needs it.
  const probe = createProbe(adminKey.publicKey, network.attach(adminKey.publicKey, { address: '/memory/probe' }))
  const say = (message: Parameters<typeof encodeControl>[0]): void =>
    void probe.transport.send(probe.links[0]!.id, 'control', encodeControl(message))
  let wants = 0
  probe.admits = () => true
  probe.onMessage = (link, _channel, bytes) => {
    const message = decodeControl(bytes)
    if (!message.ok) throw new Error(message.reason)
    if (message.value.type === 'hello')
      say({ type: 'hello', version: 1, agent, instance: author, boot: random.bytes(16), records: table.digest(), program: 'probe' })
    if (message.value.type !== 'want') return
    wants += 1
    probe.transport.send(link, 'bulk', encodeChunk(message.value.request, true, [envelopeToWire(envelope)]))
  }
  await probe.transport.start(probe.handlers)
  await settle(probe.transport.dial(null, ['/memory/0']))
  await pass(1_000)

  const slow = Promise.withResolvers<void>()
  disk = slow.promise
  const written = first.write({ operations: [{ type: 'append', name: 'own', entry: { text: 'held up' }, operationId: undefined }] })
  say({ type: 'records', records: [admission.bytes], last: true })
  say({ type: 'frontier', complete: true, entries: [{ feed: feed.id, have: 1, head: envelope.hash, applied: 1 }] })
  await pass(1_000)
  expect([wants, first.reader.documents()]).toEqual([1, []])
  slow.resolve()
  await settle(written)
  await pass(1_000)
  expect([wants, first.reader.documents().map(({ name }) => name)]).toEqual([2, ['memory', 'own']])
})
