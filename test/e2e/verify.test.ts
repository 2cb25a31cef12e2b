/** Coherence of real daemons: proven, and where the database of one is changed behind its back noticed, told and mended. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { AlertEvent } from '../../src/api/client.ts'
import { hash48OfState } from '../../src/storage/hash48.ts'
import { agreed, connected, createGroup, until } from './group.ts'
import type { Group, Instance } from './group.ts'

let group: Group
let laptop: Instance
let server: Instance
let phone: Instance

beforeAll(async () => {
  group = await createGroup()
  laptop = await group.found('laptop')
  server = await group.join('server', laptop)
  phone = await group.join('phone', laptop)
  await connected(laptop, server, phone)
})

afterAll(() => group.close())

/** Changes the database of an instance behind the back of whoever uses it. */
function tamper({ home }: Instance, change: (database: DatabaseSync) => void): void {
  const database = new DatabaseSync(join(home, 'memory.sqlite'), { timeout: 5_000 })
  try {
    change(database)
  } finally {
    database.close()
  }
}

/** Gives a document a snapshot that holds nothing, with a hash that fits. */
function emptySnapshot(database: DatabaseSync, kind: string): void {
  const state = Y.encodeStateAsUpdate(new Y.Doc())
  const change = database.prepare(
    `insert or replace into snapshot (document, position, hash48, state)
     select number, (select max(position) from applied), ?, ? from document where kind = ? limit 1`,
  )
  expect(change.run(hash48OfState(state), state, kind).changes).toBe(1)
}

test('what is changed behind the back of a daemon is noticed, told and mended while it goes on writing', async () => {
  for (let index = 0; index < 20; index += 1) await laptop.agent.log('memory').append({ text: `entry ${index}` })
  await phone.agent.set('tags').add('red')
  await agreed(laptop, server, phone)
  const proven = await laptop.selfsame('verify')
  expect([proven.code, proven.out]).toEqual([0, expect.stringMatching(/^the same 2 documents on 3 of 3 instances as of 2/)])

  const events: AlertEvent[] = []
  const following = (async () => {
    for await (const event of server.agent.alerts()) events.push(event)
  })().catch(() => {})
  const raised = (kind: string): string[] =>
    events.flatMap(({ alert, type }) => (type === 'raised' && alert.kind === kind ? alert.detail : []))
  let writes = 0
  let isWriting = true
  const writing = (async () => {
    while (isWriting) {
      await server.agent.counter('busy').add('turns', 1, { operationId: `turn ${writes}` })
      writes += 1
      // As an agent that thinks in between: as fast as it can it leaves a slow machine no time to look at anything else.
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  try {
    tamper(server, (database) => database.exec('delete from entry'))
    await until('the index is mended', async () => raised('repaired').length === 1, 240)
    tamper(server, (database) => emptySnapshot(database, 'set'))
    await until('the snapshot is mended', async () => raised('repaired').length === 2, 240)
  } finally {
    isWriting = false
    await writing
  }
  expect(raised('divergence').join('\n')).toMatch(/log\/memory: it (shows 0 entries and has 20|does not show all entries that it has)/)
  expect(raised('repaired')).toEqual([
    expect.stringMatching(/^log\/memory had become wrong here and was built anew from the envelopes in /),
    expect.stringMatching(/^set\/tags had become wrong here/),
  ])

  const again = await server.selfsame('verify')
  expect([again.code, again.out]).toEqual([0, expect.stringMatching(/^the same 3 documents on 3 of 3 instances as of 2/)])
  await agreed(laptop, server, phone)
  expect(await laptop.agent.counter('busy').get('turns')).toBe(BigInt(writes))
  expect((await laptop.agent.status()).peers.map(({ digests }) => digests.state)).toEqual(['equal', 'equal'])
  expect((await server.agent.status()).signals.rebuildSeconds).toBeGreaterThan(0)
  expect(await server.selfsame('verify', '--deep')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^right: [\d,]+ envelopes, 3 documents and 20 log/),
  })
  await server.stop()
  await following
}, 600_000)

test('whoever is away is unknown, and what its database holds wrong is found without its daemon, and mended with it', async () => {
  await server.stop()
  const away = await laptop.selfsame('verify', '--timeout', '1s')
  expect([away.code, away.out]).toEqual([
    75,
    expect.stringMatching(/^unknown: the same 3 documents on 2 of 3 [^]*\n! server {2}unknown: it is away/),
  ])
  tamper(server, (database) => {
    database.exec('delete from entry where time = (select max(time) from entry); delete from operation')
    emptySnapshot(database, 'counter')
  })
  const found = await server.selfsame('verify', '--deep')
  expect(found).toMatchObject({ code: 1, err: expect.stringContaining('start the daemon') })
  expect(found.out).toMatch(/^wrong: [\d,]+ differences from what /)
  for (const line of ['! log/memory does not show 1 of its entries', '! counter/busy holds something else', 'operations of feed'])
    expect(found.out).toContain(line)
  await server.up()
  expect(await server.selfsame('verify', '--deep')).toMatchObject({
    code: 1,
    out: expect.stringMatching(/\nrepaired: the daemon built the memory anew in /),
  })
  expect(await server.selfsame('verify', '--deep')).toMatchObject({ code: 0 })
})
