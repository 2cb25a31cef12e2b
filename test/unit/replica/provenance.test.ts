import { describe, expect, it } from 'vitest'
import { createSigningKey, stampOf, stampToMilliseconds } from '../../../src/core/index.ts'
import type { DocumentId, FeedId, InstanceId } from '../../../src/core/index.ts'
import { documentIdOf } from '../../../src/document/index.ts'
import type { LiveKind } from '../../../src/document/index.ts'
import { bodyTypeUpdate, encodeUpdateBody, feedIdOf, mainSpace, referenceTo, sealEnvelope } from '../../../src/feed/index.ts'
import type { TransportHandlers } from '../../../src/network/index.ts'
import type { BlamedPart, LocalOperation, LogEntry, Replica } from '../../../src/replica/index.ts'
import type { EnvelopeRow, FeedRow } from '../../../src/storage/index.ts'
import { seededRandom } from '../../sim/virtual-time.ts'
import { createDice, seeds } from '../document/group.ts'
import { openGroup } from './group.ts'

const entry = (text: string, operationId?: string): LocalOperation => ({ type: 'append', name: 'memory', entry: { text }, operationId })

function entriesOf(replica: Replica): readonly LogEntry[] {
  return replica.reader.log('memory', { newestFirst: false, limit: 1_000 }).entries
}

const placeOf = ({ feed, sequence }: { readonly feed: FeedId; readonly sequence: number }): string => `${feed}:${sequence}`

/** What a stranger does with what it is told: nothing. */
const strangerHandlers: TransportHandlers = {
  mayConnect: () => true,
  mayGossip: () => true,
  linkOpened() {},
  linkClosed() {},
  message() {},
  drained() {},
  gossip: () => 'ignore',
  join: () => Promise.resolve(null),
  addressFound() {},
}

/** A feed of one envelope as a store would hold it, signed by a key that no member has, with a body for each document: all of one name. */
function forge(
  replica: Replica,
  name: string,
  documents: readonly DocumentId[],
): { readonly envelope: EnvelopeRow; readonly row: FeedRow } {
  const key = createSigningKey(seededRandom(name))
  const { agent, instance } = replica.identity
  const opening = { instance, key: key.publicKey, nonce: new Uint8Array(16) }
  const feed = feedIdOf(agent, opening)
  const stamp = stampOf(Date.UTC(2026, 10, 2), 0)
  const body = {
    salt: new Uint8Array(16),
    bytes: encodeUpdateBody({ kind: 'counter', name: 'never shown', segment: null, update: Uint8Array.of(1), operations: [] }),
  }
  const bodies = documents.map((document) => referenceTo(body, { type: bodyTypeUpdate, schema: 1, critical: true, document }))
  const header = {
    format: 1,
    rules: 1,
    agent,
    space: mainSpace,
    feed,
    sequence: 1,
    previous: null,
    stamp,
    deps: [],
    records: [],
    bodies,
    opening,
  }
  const carried = documents.map(() => body)
  const { hash, headerBytes, signature } = sealEnvelope(header, carried, key)
  return {
    envelope: { feed, sequence: 1, hash, headerBytes, signature, bodies: carried },
    row: { feed, instance, key: key.publicKey, parent: null, have: 1, head: hash, headStamp: stamp, applied: 0 },
  }
}

describe('blame', () => {
  it.each(seeds(8))('names the very write that brought each part, on every instance alike (seed %i)', async (seed) => {
    const dice = createDice(seed)
    const { pass, reopen, settle, stores, ...group } = await openGroup(['admin', 'writer', 'writer'])
    const replicas = [...group.replicas]
    /** What each write put everywhere, and where it stands. */
    const originsByToken = new Map<string, readonly [string, InstanceId]>()
    for (const replica of replicas) await replica.startNetwork()
    await pass(5_000)
    for (let step = 1; step <= 40; step++) {
      const replica = dice.pick(replicas)
      const token = `t${step}`
      const { text } = await settle(replica.reader.value('text', 'SOUL.md'))
      const lines = text.split('\n')
      lines.splice(dice.below(lines.length), dice.below(2), dice.chance(0.5) ? `one ${token} more` : token)
      const all: readonly LocalOperation[] = [
        { type: 'edit', kind: 'text', name: 'SOUL.md', edit: { type: 'text.put', text: lines.join('\n'), base: null } },
        { type: 'edit', kind: 'register', name: 'profile', edit: { type: 'register.set', key: `k${dice.below(4)}`, value: token } },
        { type: 'edit', kind: 'set', name: 'follows', edit: { type: 'set.add', member: token } },
        { type: 'edit', kind: 'json', name: 'tasks', edit: { type: 'json.merge', patch: { [`k${dice.below(4)}`]: { deep: [token] } } } },
      ]
      const operations = all.filter((_, index) => index === step % all.length || dice.chance(0.5))
      const { place } = await settle(replica.write({ operations }))
      originsByToken.set(token, [placeOf(place as NonNullable<typeof place>), replica.identity.instance])
      if (dice.chance(0.5)) await pass(dice.below(2_000))
      if (step !== 20) continue
      await settle((replicas[0] as Replica).close())
      replicas[0] = await reopen((stores[0] as (typeof stores)[number]).clone())
      await replicas[0].startNetwork()
    }
    await pass(60_000)

    const documents: readonly (readonly [LiveKind, string])[] = [
      ['text', 'SOUL.md'],
      ['register', 'profile'],
      ['set', 'follows'],
      ['json', 'tasks'],
    ]
    for (const [kind, name] of documents) {
      const blames: (readonly BlamedPart[])[] = []
      for (const replica of replicas) blames.push(await settle(replica.reader.provenance.blame(kind, name)))
      for (const blamed of blames) expect(blamed, `seed ${seed}`).toEqual(blames[0])
      const said = (blames[0] ?? []).map(({ key, origin, text, value }) => ({ origin, words: text ?? JSON.stringify(value ?? key) }))
      const traced = said.flatMap(({ origin, words }) => Array.from(words.matchAll(/t\d+/g), ([token]) => ({ token, origin })))
      expect(traced.length).toBeGreaterThan(0)
      for (const { origin, token } of traced) {
        expect([placeOf(origin), origin.author], `${kind} ${token}, seed ${seed}`).toEqual(originsByToken.get(token))
      }
      if (kind !== 'text') continue
      const { text } = await settle((replicas[1] as Replica).reader.value('text', name))
      expect(said.map(({ words }) => words).join('')).toBe(text)
    }
  })

  it('of a counter names what each run of an instance added up, and of nothing is nothing', async () => {
    const { replicas, settle } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    const add = (amount: bigint) =>
      replica.write({ operations: [{ type: 'edit', kind: 'counter', name: 'karma', edit: { type: 'counter.add', key: 'k', amount } }] })
    await settle(add(5n))
    const { place } = await settle(add(7n))
    const [part, ...others] = await settle(replica.reader.provenance.blame('counter', 'karma'))
    expect([part?.key, part?.value, part?.origin.sequence, others]).toEqual(['k', 12n, place?.sequence, []])
    expect(await settle(replica.reader.provenance.blame('text', 'nobody wrote this'))).toEqual([])
    await expect(settle(replica.reader.provenance.blame('text', '../x'))).rejects.toMatchObject({ code: 'invalid-name' })
  })
})

describe('what proves an entry', () => {
  it('is its own signature, or that of a later envelope of its chain where it came in one piece with that', async () => {
    const { replicas, settle, pass } = await openGroup(['admin', 'writer'])
    const [writer, reader] = replicas as [Replica, Replica]
    for (let count = 0; count < 100; count++) await settle(writer.write({ operations: [entry(`note ${count}`)] }))
    for (const replica of replicas) await replica.startNetwork()
    await pass(10_000)

    const own = await settle(writer.reader.provenance.proofs(entriesOf(writer)))
    expect(own.map(({ signedAt, isVerified }) => [signedAt, isVerified])).toEqual(entriesOf(writer).map(({ sequence }) => [sequence, true]))

    const entries = entriesOf(reader)
    const proofs = await settle(reader.reader.provenance.proofs(entries))
    expect(proofs).toHaveLength(100)
    expect(proofs.every(({ isVerified, key }) => isVerified && key === writer.identity.key.publicKey)).toBe(true)
    expect(proofs.map(({ hash }) => hash)).toEqual(own.map(({ hash }) => hash))
    const vouchedFor = proofs.filter(({ signedAt }, index) => (signedAt ?? 0) > (entries[index]?.sequence ?? 0))
    expect(vouchedFor.length).toBeGreaterThan(50)
  })

  it('does not hold with a broken signature, without one, or with one by the key of no member', async () => {
    const { replicas, settle, pass, stores, reopen } = await openGroup(['admin', 'writer'])
    const [first, second] = replicas as [Replica, Replica]
    for (let count = 0; count < 3; count++) await settle(second.write({ operations: [entry(`note ${count}`)] }))
    for (const replica of replicas) await replica.startNetwork()
    await pass(10_000)
    await settle(first.close())
    const places = entriesOf(second).map(({ feed, sequence }) => ({ feed, sequence }))
    const signed = forge(first, 'mallory', [])
    const unsigned = forge(first, 'trent', [])
    const damaged = (stores[0] as (typeof stores)[number]).clone()
    await settle(
      damaged.commit({
        signatures: places.slice(-1).map((place) => ({ ...place, signature: new Uint8Array(64) })),
        feeds: [signed.row, unsigned.row],
        envelopes: [signed.envelope, { ...unsigned.envelope, signature: null }],
      }),
    )
    const again = await reopen(damaged)
    const proofs = await settle(again.reader.provenance.proofs([...places, signed.envelope, unsigned.envelope]))
    expect(proofs.map(({ signedAt, isVerified }) => [signedAt, isVerified])).toEqual([
      [3, false],
      [3, false],
      [3, false],
      [1, false],
      [null, false],
    ])
  })
})

describe('one entry', () => {
  it('is found by its id in its own log, and nowhere else', async () => {
    const { replicas, settle } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    const other: LocalOperation = { type: 'append', name: 'other', entry: { text: 'elsewhere' }, operationId: undefined }
    await settle(replica.write({ operations: [entry('one'), entry('two'), other] }))
    for (const shown of entriesOf(replica)) expect(replica.reader.entry('memory', shown.id)).toEqual(shown)
    const [one] = entriesOf(replica) as [LogEntry]
    for (const [name, id] of [
      ['other', one.id],
      ['memory', 'first'],
      ['memory', `${one.id.slice(0, -4)}ffff`],
      ['memory', `0000${one.id.slice(4)}`],
      ['memory', '0'.repeat(60)],
    ] as const) {
      expect(() => replica.reader.entry(name, id), `${name} ${id}`).toThrow(expect.objectContaining({ code: 'not-found' }))
    }
  })

  it('that a copy of the home made again for the same request is not shown by its id either', async () => {
    const { replicas, stores, settle, pass, reopen } = await openGroup(['admin', 'writer'])
    const [original, third] = replicas as [Replica, Replica]
    const copy = await reopen((stores[0] as (typeof stores)[number]).clone())
    const ids: string[] = []
    for (const replica of [original, copy]) {
      const { entries } = await settle(replica.write({ operations: [entry('once', 'request-1')] }))
      ids.push(...entries)
    }
    for (const replica of [original, third]) await replica.startNetwork()
    await pass(10_000)
    await settle(original.close())
    await copy.startNetwork()
    await pass(60_000)
    expect(new Set(ids).size).toBe(2)
    const [shown] = entriesOf(third) as [LogEntry]
    expect(entriesOf(third)).toHaveLength(1)
    const [hidden] = ids.filter((id) => id !== shown.id) as [string]
    expect(third.reader.entry('memory', shown.id)).toEqual(shown)
    expect(() => third.reader.entry('memory', hidden)).toThrow(expect.objectContaining({ code: 'not-found' }))
  })
})

describe('evidence', () => {
  it('lists strangers that tried to connect, once each, the last 64, until they are members', async () => {
    const { replicas, network, pass } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    await replica.startNetwork()
    const dial = async (name: string) => {
      const key = createSigningKey(seededRandom(name)).publicKey
      const transport = network.attach(key, { address: `/memory/${name}` })
      await transport.start(strangerHandlers)
      void transport.dial(replica.identity.key.publicKey, ['/memory/0'])
      await pass(1_000)
      return key
    }
    const eve = await dial('eve')
    await dial('eve')
    expect(replica.evidence.refusedPeers()).toMatchObject([{ kind: 'refused-peer', reason: 'no member has its key', key: eve }])
    const keys: string[] = []
    for (let count = 0; count < 70; count++) keys.push(await dial(`stranger ${count}`))
    expect(replica.evidence.refusedPeers().map(({ key }) => key)).toEqual(keys.slice(-64))
  })

  it('says of a removed instance that it was, and why', async () => {
    const { replicas, settle, pass } = await openGroup(['admin', 'writer'])
    const [admin, removed] = replicas as [Replica, Replica]
    for (const replica of replicas) await replica.startNetwork()
    await pass(5_000)
    await settle(admin.membership.giveRole(removed.identity.instance, null, 'stolen'))
    await pass(120_000)
    expect(admin.evidence.refusedPeers()).toMatchObject([
      { kind: 'refused-peer', reason: 'it was removed: stolen', author: removed.identity.instance, key: removed.identity.key.publicKey },
    ])
  })

  it('names the document of an update in quarantine, by what is known or by the update itself', async () => {
    const { replicas, stores, settle } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    const [store] = stores as [(typeof stores)[number]]
    const put: LocalOperation = { type: 'edit', kind: 'text', name: 'SOUL.md', edit: { type: 'text.put', text: 'x', base: null } }
    const { place } = await settle(replica.write({ operations: [put] }))
    const { feed, sequence } = place as NonNullable<typeof place>

    const hidden = documentIdOf(mainSpace, 'counter', 'never shown')
    const misnamed = documentIdOf(mainSpace, 'counter', 'another')
    const { envelope, row } = forge(replica, 'mallory', [hidden, misnamed])
    await settle(
      store.commit({
        feeds: [row],
        envelopes: [envelope],
        quarantine: [
          { document: documentIdOf(mainSpace, 'text', 'SOUL.md'), feed, sequence, reason: 'made up' },
          { document: hidden, feed: row.feed, sequence: 1, reason: 'hostile' },
          { document: misnamed, feed: row.feed, sequence: 1, reason: 'the body names another document' },
        ],
        evidence: [
          { id: `fork:${feed}:7`, kind: 'fork', at: 5, detail: 'two envelopes in one place', proof: null },
          { id: `second-copy:${row.instance}`, kind: 'second-copy', at: 6, detail: 'a copy runs', proof: null },
        ],
      }),
    )
    const { found, total } = replica.evidence.quarantine(10)
    const byReason = Object.fromEntries(found.map((each) => [each.reason, each]))
    expect(total).toBe(3)
    expect(byReason['made up']).toMatchObject({
      author: replica.identity.instance,
      feed,
      sequence,
      document: { kind: 'text', name: 'SOUL.md' },
    })
    expect(byReason['hostile']).toMatchObject({
      at: stampToMilliseconds(row.headStamp),
      feed: row.feed,
      document: { id: hidden, kind: 'counter', name: 'never shown' },
    })
    expect(byReason['the body names another document']?.document).toEqual({ id: misnamed, kind: null, name: null })
    expect(replica.evidence.quarantine(1)).toMatchObject({ found: [{ kind: 'quarantine' }], total: 3 })
    expect(replica.evidence.ownKeyFound('/memory/copy')).toBe(true)
    expect(replica.evidence.ownKeyFound('/memory/copy')).toBe(false)
    expect(replica.evidence.cases().at(-1)).toMatchObject({
      kind: 'second-copy',
      reason: expect.stringContaining('/memory/copy') as string,
    })
    expect(replica.evidence.cases().slice(0, -1)).toEqual([
      { kind: 'fork', reason: 'two envelopes in one place', at: 5, author: replica.identity.instance, feed, sequence: 7 },
      { kind: 'second-copy', reason: 'a copy runs', at: 6, author: row.instance },
    ])
  })
})
