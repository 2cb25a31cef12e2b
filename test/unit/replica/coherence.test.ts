/** Coherence: what differs from what its envelopes say is noticed, told and mended, with writes going on; what is attested is believed of nobody else. */
import * as Y from 'yjs'
import { describe, expect, it } from 'vitest'
import { gossipBytesMax, hashToId } from '../../../src/core/index.ts'
import type { DocumentId, VersionKey } from '../../../src/core/index.ts'
import type { LocalOperation, Replica } from '../../../src/replica/index.ts'
import {
  attestationPartsMax,
  attestedPerMessageMax,
  bucketsMax,
  signAttestation,
  signAttestRequest,
  sumBytes,
} from '../../../src/replica/attestation.ts'
import type { Attestation, AttestRequest } from '../../../src/replica/attestation.ts'
import { encodeGossip } from '../../../src/replica/messages.ts'
import type { MemoryStore } from '../../../src/storage/index.ts'
import { openGroup } from './group.ts'
import type { Group } from './group.ts'

const entry = (text: string): LocalOperation => ({ type: 'append', name: 'memory', entry: { text } })
const count = (name: string): LocalOperation => ({
  type: 'edit',
  kind: 'counter',
  name,
  edit: { type: 'counter.add', key: 'a', amount: 1n },
})

async function openCoherent(size: number, commitVia?: (apply: () => void) => Promise<void>): Promise<Group> {
  const roles = ['admin' as const, ...Array.from({ length: size - 1 }, () => 'writer' as const)]
  const group = await openGroup(roles, commitVia === undefined ? {} : { commitVia })
  for (const replica of group.replicas) {
    await replica.startNetwork()
    replica.coherence.start()
  }
  await group.pass(5_000)
  return group
}

const verdicts = ({ instances }: Awaited<ReturnType<Replica['coherence']['verify']>>): string[] => instances.map(({ verdict }) => verdict)

const documentOf = (replica: Replica, kind: string): DocumentId =>
  replica.reader.documents().find((each) => each.kind === kind)?.document as DocumentId

/** Takes entries out of the index of the log. */
const withoutEntries = (replica: Replica, store: MemoryStore): Promise<void> =>
  store.commit({ entriesRemoved: store.entries({ document: documentOf(replica, 'log'), limit: 2 }) })

/** A snapshot that holds nothing, as if everything were in it. */
const withEmptySnapshot = (replica: Replica, store: MemoryStore): Promise<void> =>
  store.commit({
    snapshots: [{ document: documentOf(replica, 'counter'), position: store.lastPosition(), state: Y.encodeStateAsUpdate(new Y.Doc()) }],
  })

/** A time after all that the members attest themselves. */
const later = 2_000_000_000_000

function attestationOf({ identity }: Replica, given: Partial<Attestation>): Attestation {
  const empty = {
    time: 1,
    nonce: null,
    part: 0,
    parts: 1,
    documents: 1,
    root: new Uint8Array(32),
    buckets: new Uint8Array(),
    omitted: 0,
    attested: [],
  }
  return signAttestation(identity.key, identity.agent, { ...empty, instance: identity.instance, ...given })
}

function requestOf({ identity }: Replica, given: Partial<AttestRequest>): AttestRequest {
  const plain = {
    time: 1,
    nonce: Uint8Array.from({ length: 16 }, () => (given.time ?? 1) % 251),
    asked: null,
    sums: new Uint8Array(bucketsMax * sumBytes),
  }
  return signAttestRequest(identity.key, identity.agent, { ...plain, instance: identity.instance, ...given })
}

describe('a verification', () => {
  it('says of how many documents all show the same', async () => {
    const { pass, replicas, settle } = await openCoherent(3)
    const [first, second] = replicas as [Replica, Replica]
    await settle(first.write({ operations: [entry('one'), count('karma')] }))
    await settle(second.write({ operations: [count('karma')] }))
    await pass(1_000)
    const verification = await settle(first.coherence.verify(10_000))
    expect([verification.documents, verdicts(verification), verification.undigested]).toEqual([2, ['same', 'same'], 0])
  })

  it('counts what cannot be read for damage as not looked at, whether it was seen before or not', async () => {
    const { pass, replicas, settle, stores, reopen } = await openCoherent(1)
    const [first] = replicas as [Replica]
    const [store] = stores as [MemoryStore]
    await settle(first.write({ operations: [entry('one')] }))
    await pass(10_000)
    store.damage({ kind: 'envelope', feed: store.feeds()[0]!.feed, sequence: 1, part: 'body' })
    await settle(first.write({ operations: [entry('two'), count('karma')] }))
    const seen = await settle(first.coherence.verify(3_000))
    expect([seen.documents, seen.undigested]).toEqual([2, 1])
    const again = await reopen(store.clone())
    again.coherence.start()
    const unseen = await settle(again.coherence.verify(3_000))
    expect([unseen.documents, unseen.undigested]).toEqual([1, 1])
  })

  it('hears of whoever is writing, without an end to that', async () => {
    const held = Promise.withResolvers<void>()
    let isHeld = false
    const { pass, replicas, settle } = await openCoherent(2, async (apply) => {
      if (isHeld) await held.promise
      apply()
    })
    const [first, second] = replicas as [Replica, Replica]
    await settle(first.write({ operations: [count('karma')] }))
    await pass(10_000)
    await settle(first.write({ operations: [count('karma')] }))
    isHeld = true
    const write = first.write({ operations: [count('karma')] })
    await pass(1_000)
    expect(verdicts(await settle(second.coherence.verify(3_000)))).toEqual(['behind'])
    held.resolve()
    await settle(write)
    expect(verdicts(await settle(second.coherence.verify(10_000)))).toEqual(['same'])
  })

  it('says of whoever is away that it is unknown, and as of when it is known, never that it is the same', async () => {
    const { pass, replicas, settle } = await openCoherent(3)
    const [first, , third] = replicas as [Replica, Replica, Replica]
    await settle(first.write({ operations: [count('karma')] }))
    await pass(10_000)
    await settle(third.stopNetwork())
    await pass(70_000)
    const away = await settle(first.coherence.verify(3_000))
    expect(verdicts(away)).toEqual(['same', 'unknown'])
    expect(away.instances[1]?.at).not.toBeNull()
  })

  it('says of whoever shows other versions that it is behind, naming them, and asks again while there is time', async () => {
    const held = Promise.withResolvers<void>()
    let isHeld = false
    const { pass, replicas, settle } = await openCoherent(2, async (apply) => {
      if (isHeld) await held.promise
      apply()
    })
    const [first, second] = replicas as [Replica, Replica]
    await settle(first.write({ operations: [count('karma')] }))
    await pass(10_000)
    isHeld = true
    await settle(second.write({ operations: [count('karma'), entry('only there')] }))
    const early = await settle(first.coherence.verify(4_000))
    expect(verdicts(early)).toEqual(['behind'])
    expect(early.instances[0]?.otherVersions.toSorted()).toEqual(
      second.reader
        .documents()
        .map(({ document }) => document)
        .toSorted(),
    )
    const patient = first.coherence.verify(20_000)
    await pass(4_000)
    held.resolve()
    expect(verdicts(await settle(patient))).toEqual(['same'])
  })
})

describe('an instance whose derived state was changed', () => {
  it.each([
    ['entries are gone from the index of a log', withoutEntries, 'index'],
    ['a snapshot holds something else', withEmptySnapshot, 'content'],
  ] as const)('notices within a minute that %s, tells it, and mends it while all go on writing', async (_, damage, kind) => {
    const { pass, replicas, settle, stores } = await openCoherent(3)
    const [first, second, third] = replicas as [Replica, Replica, Replica]
    const store = stores[1] as MemoryStore
    for (let index = 0; index < 5; index += 1) await settle(first.write({ operations: [entry(`entry ${index}`), count('karma')] }))
    await pass(15_000)
    const told: number[] = []
    second.coherence.onChange(() => told.push(second.coherence.findings.length))
    await damage(second, store)
    let writes = 0
    for (let waited = 0; waited < 60_000 && second.coherence.repairs.length === 0; waited += 1_000) {
      await settle(Promise.all(replicas.map((replica) => replica.write({ operations: [count('busy')] }))))
      writes += replicas.length
      await pass(1_000)
    }
    expect(second.coherence.repairs).toMatchObject([{ kind, facts: { milliseconds: expect.any(Number) as number } }])
    expect(told[0]).toBe(1)
    await pass(20_000)
    expect(second.coherence.findings).toEqual([])
    expect(verdicts(await settle(first.coherence.verify(10_000)))).toEqual(['same', 'same'])
    for (const replica of [first, second, third]) {
      const values = await settle(Promise.all([replica.reader.value('counter', 'karma'), replica.reader.value('counter', 'busy')]))
      expect(values.map(({ totals }) => totals.get('a'))).toEqual([5n, BigInt(writes)])
      expect(replica.reader.log('memory', { newestFirst: false, limit: 10 }).entries).toHaveLength(5)
      expect(replica.coherence.repairs).toHaveLength(replica === second ? 1 : 0)
    }
  })

  it('mends what is of another sort right after', async () => {
    const { pass, replicas, settle, stores } = await openCoherent(2)
    const [first, second] = replicas as [Replica, Replica]
    await settle(first.write({ operations: [entry('one'), count('karma')] }))
    await pass(15_000)
    await withoutEntries(second, stores[1] as MemoryStore)
    // Until the documents rest that were built anew: their snapshots would be written over what comes now.
    await pass(60_000)
    expect(second.coherence.repairs).toHaveLength(1)
    await withEmptySnapshot(second, stores[1] as MemoryStore)
    await pass(20_000)
    expect(second.coherence.repairs.map(({ kind }) => kind)).toEqual(['content', 'index'])
  })

  it('builds anew for one sort of cause once an hour, says meanwhile that it is not right, and is not taken for the same', async () => {
    const { pass, replicas, settle, stores } = await openCoherent(2)
    const [first, second] = replicas as [Replica, Replica]
    const store = stores[1] as MemoryStore
    for (let index = 0; index < 5; index += 1) await settle(first.write({ operations: [entry(`entry ${index}`)] }))
    await pass(15_000)
    await withoutEntries(second, store)
    await pass(60_000)
    expect(second.coherence.repairs).toHaveLength(1)
    await withoutEntries(second, store)
    await pass(60_000)
    expect([second.coherence.repairs.length, second.coherence.findings.length]).toEqual([1, 1])
    const verification = await settle(first.coherence.verify(5_000))
    expect(verdicts(verification)).toEqual(['differs'])
    expect(verification.instances[0]?.differences).toMatchObject([{ document: documentOf(first, 'log'), isAdmitted: true }])
    // The other has nothing to look for in itself.
    expect(first.lastRebuild).toBeNull()
    await pass(3_600_000)
    expect([second.coherence.repairs.length, second.coherence.findings.length]).toEqual([2, 0])
    await pass(10_000)
    expect(first.coherence.of(second.identity.instance)).toMatchObject({ differences: [], isEqual: true })
  })

  it('that begins with what is wrong hears it from the others: who stands alone looks for the fault in itself', async () => {
    const { pass, reopen, replicas, settle, stores } = await openCoherent(3)
    const [first, second, third] = replicas as [Replica, Replica, Replica]
    for (let index = 0; index < 3; index += 1) await settle(first.write({ operations: [count('karma')] }))
    await pass(10_000)
    await settle(first.close())
    const disk = (stores[0] as MemoryStore).clone()
    await settle(withEmptySnapshot(second, disk))
    const again = await reopen(disk)
    expect((await settle(again.reader.value('counter', 'karma'))).totals.get('a')).toBeUndefined()
    await again.startNetwork()
    again.coherence.start()
    await pass(60_000)
    expect(again.coherence.repairs).toMatchObject([{ kind: 'peers', documents: [documentOf(second, 'counter')] }])
    expect((await settle(again.reader.value('counter', 'karma'))).totals.get('a')).toBe(3n)
    for (const replica of [second, third]) expect(replica.lastRebuild).toBeNull()
    expect(verdicts(await settle(again.coherence.verify(5_000)))).toEqual(['same', 'same'])
  })
})

describe('what is attested', () => {
  it('by somebody else than the member, again, or by whoever is no member any more, is passed over', async () => {
    const { pass, replicas, settle, time: virtual } = await openCoherent(3)
    const [first, second, third] = replicas as [Replica, Replica, Replica]
    await settle(first.write({ operations: [count('karma')] }))
    await pass(10_000)
    const time = Math.floor(virtual.clock().now()) + 1
    const genuine = attestationOf(second, { time })
    // In the name of another, with one's own key; with a field changed; of another agent.
    const { agent, key } = third.identity
    expect(first.coherence.receiveAttestation(signAttestation(key, agent, { ...genuine, instance: second.identity.instance }))).toBe(false)
    expect(first.coherence.receiveAttestation({ ...genuine, documents: 7 })).toBe(false)
    expect(first.coherence.receiveAttestation(signAttestation(second.identity.key, hashToId('any', new Uint8Array()), genuine))).toBe(false)
    expect(first.coherence.receiveAttestation(genuine)).toBe(true)
    expect(first.coherence.of(second.identity.instance)).toMatchObject({ documents: 1, isEqual: false })
    // The same once more, and an older one.
    expect(first.coherence.receiveAttestation(genuine)).toBe(false)
    expect(first.coherence.receiveAttestation(attestationOf(second, { time: time - 1 }))).toBe(false)
    expect(first.coherence.receiveAttestation(attestationOf(first, { time: time + 1 }))).toBe(false)
    await settle(first.membership.giveRole(third.identity.instance, null, ''))
    expect(first.coherence.receiveAttestation(attestationOf(third, { time: time + 1 }))).toBe(false)
    expect(first.coherence.of(third.identity.instance)).toBeUndefined()
  })

  it('says nothing of other versions, and of equal ones that it differs, since when it was seen first', async () => {
    const { pass, replicas, settle } = await openCoherent(3)
    const [first, second] = replicas as [Replica, Replica, Replica]
    await settle(first.write({ operations: [count('karma')] }))
    await pass(10_000)
    const document = documentOf(first, 'counter')
    const versionKey = first.reader.versionKey('counter', 'karma')
    const other = { document, versionKey: 'ab'.repeat(32) as VersionKey, digest: '1:00' }
    const [seen, attest] = [
      () => first.coherence.of(second.identity.instance),
      (given: Partial<Attestation>) => first.coherence.receiveAttestation(attestationOf(second, given)),
    ]
    attest({ time: later + 1, attested: [other] })
    expect(seen()).toMatchObject({ differences: [], otherVersions: [document] })
    attest({ time: later + 2, attested: [{ document, versionKey, digest: '1:00' }] })
    const since = seen()?.differences[0]?.since
    expect(seen()).toMatchObject({ differences: [{ document, isAdmitted: false }], otherVersions: [] })
    await pass(3_000)
    attest({ time: later + 3, attested: [{ document, versionKey, digest: '1:01' }] })
    expect(seen()?.differences).toMatchObject([{ since }])
    // The third has the same as the first, which leaves the fault to the second.
    await pass(20_000)
    expect(first.lastRebuild).toBeNull()
    const digest = await settle(first.reader.digest('counter', 'karma'))
    attest({ time: later + 4, attested: [{ document, ...digest }] })
    expect(seen()).toMatchObject({ differences: [], otherVersions: [] })
  })

  it('otherwise by one of two has this instance look for the fault in itself, once: where nothing changes the difference stays', async () => {
    const { pass, replicas, settle } = await openCoherent(2)
    const [first, second] = replicas as [Replica, Replica]
    await settle(first.write({ operations: [count('karma')] }))
    await pass(10_000)
    const document = documentOf(first, 'counter')
    const versionKey = first.reader.versionKey('counter', 'karma')
    first.coherence.receiveAttestation(attestationOf(second, { time: later, attested: [{ document, versionKey, digest: '1:00' }] }))
    await pass(20_000)
    expect(first.lastRebuild).toMatchObject({ cause: 'counter/karma is another on other instances at the same version' })
    const once = first.lastRebuild
    await pass(120_000)
    expect(first.lastRebuild).toBe(once)
    expect(first.coherence.repairs).toEqual([])
    expect(first.coherence.of(second.identity.instance)?.differences).toMatchObject([{ document }])
  })

  it('is heard again once a clock that was far ahead is set right', async () => {
    const { pass, replicas, time } = await openCoherent(2)
    const [first, second] = replicas as [Replica, Replica]
    const now = Math.floor(time.clock().now())
    for (const given of [now + 86_400_000, now + 70_000]) {
      expect(first.coherence.receiveAttestation(attestationOf(second, { time: given }))).toBe(true)
      expect(first.coherence.receiveAttestation(attestationOf(second, { time: given }))).toBe(false)
      expect(first.coherence.receiveRequest(requestOf(second, { time: given }))).toBe(true)
      await pass(1_000)
    }
  })

  it('has less and less built anew where it is false and nobody is there to say so', async () => {
    const { pass, replicas, settle } = await openGroup(['admin', 'writer', 'writer'])
    const [first, second] = replicas as [Replica, Replica, Replica]
    first.coherence.start()
    await settle(first.write({ operations: [count('karma')] }))
    const document = documentOf(first, 'counter')
    const versionKey = first.reader.versionKey('counter', 'karma')
    const lie = (time: number): boolean =>
      first.coherence.receiveAttestation(attestationOf(second, { time, attested: [{ document, versionKey, digest: '1:00' }] }))
    expect(lie(later + 1)).toBe(true)
    await pass(30_000)
    expect(first.coherence.of(second.identity.instance)?.differences).toHaveLength(1)
    const rebuilt = first.lastRebuild
    expect(rebuilt).not.toBeNull()
    await pass(3_700_000)
    expect(lie(later + 2)).toBe(true)
    await pass(30_000)
    expect(first.lastRebuild).toBe(rebuilt)
    await pass(3_600_000)
    expect(first.lastRebuild).not.toBe(rebuilt)
    expect(first.coherence.repairCount).toBe(0)
  })

  it('cannot be asked for often enough to cost anything, nor by strangers', async () => {
    const { pass, replicas, sentBytes, settle } = await openCoherent(2)
    const [first, second] = replicas as [Replica, Replica]
    await settle(first.write({ operations: [count('karma')] }))
    await pass(10_000)
    let answers = 0
    const receive = second.coherence.receiveAttestation.bind(second.coherence)
    second.coherence.receiveAttestation = (attestation) => {
      answers += 1
      return receive(attestation)
    }
    const before = sentBytes(0)
    let taken = 0
    for (let index = 0; index < 1_000; index += 1) {
      if (first.coherence.receiveRequest(requestOf(second, { time: later + index + 1 }))) taken += 1
      await pass(10)
    }
    // Ten seconds: five at once and one a second are looked at, one a second at most is answered.
    expect(taken).toBeLessThanOrEqual(16)
    expect(answers).toBeGreaterThan(0)
    expect(answers).toBeLessThanOrEqual(11)
    expect(sentBytes(0) - before).toBeLessThan(10_000)
    const stranger = requestOf(second, { time: later + 10_000 })
    expect(first.coherence.receiveRequest({ ...stranger, instance: '00'.repeat(16) as AttestRequest['instance'] })).toBe(false)
    expect(first.coherence.receiveRequest({ ...stranger, nonce: new Uint8Array(16) })).toBe(false)
  })

  it('fits into what gossip carries, however much it is', async () => {
    const { replicas } = await openCoherent(1)
    const attested = Array.from({ length: attestedPerMessageMax }, (_, index) => ({
      document: index.toString(16).padStart(64, '0') as DocumentId,
      versionKey: 'ff'.repeat(32) as VersionKey,
      digest: `1:${'f'.repeat(64)}`,
    }))
    const greatest = attestationOf(replicas[0] as Replica, {
      nonce: new Uint8Array(16),
      part: attestationPartsMax - 1,
      parts: attestationPartsMax,
      documents: Number.MAX_SAFE_INTEGER,
      buckets: Uint8Array.from({ length: bucketsMax }, (_, bucket) => bucket),
      omitted: Number.MAX_SAFE_INTEGER,
      attested,
    })
    expect(encodeGossip({ type: 'attestation', attestation: greatest }).length).toBeLessThanOrEqual(gossipBytesMax)
  })
})
