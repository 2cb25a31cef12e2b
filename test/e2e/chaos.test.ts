/** Real daemons under a nemesis, for as long as tests may take (`npm run chaos` has hours), and that its judge and its network are what they say. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { expect, test } from 'vitest'
import type { FeedId, InstanceId } from '../../src/core/index.ts'
import { operationIdOf } from '../../src/feed/index.ts'
import { createMemoryStore } from '../../src/storage/index.ts'
import { judge, Pasts } from '../chaos/history.ts'
import type { Request } from '../chaos/history.ts'
import { openRelay } from '../chaos/relay.ts'
import { runChaos } from '../chaos/run.ts'
import { seededRandom } from '../sim/virtual-time.ts'

/** Milliseconds: some 45 s on a quiet machine, many times that on one that does other things, too. */
const chaosMsMax = 400_000

test(
  'three daemons under kills, freezes, failing disks and partitions lose nothing that they acknowledged, and come to hold the same',
  async () => {
    const { faults, healingMs, late, requests, restarts } = await runChaos({
      seed: '3',
      seconds: 22,
      daemons: 3,
      paceMs: 150,
      troubleSeconds: 22,
      // A loaded machine may take its time: what it comes to is what is asked here.
      healSecondsMax: 60,
      mayMount: false,
      signal: new AbortController().signal,
      say: () => {},
    })
    expect([...faults, ...late]).toEqual([])
    expect(requests.acknowledged).toBeGreaterThan(0)
    console.log(
      `${requests.acknowledged} acknowledged, ${restarts} restarts, healed in ${healingMs.map((ms) => ms.toFixed(0)).join(', ')} ms`,
    )
  },
  chaosMsMax,
)

test('the judge tells what was lost, half done, done though refused, and done elsewhere than was told', async () => {
  const instance = 'aa'.repeat(16) as InstanceId
  const feed = 'bb'.repeat(32) as FeedId
  const store = createMemoryStore()
  const row = { lineage: instance, fingerprint: '', feed, sequence: 3, entry: null }
  await store.commit({ operations: ['refused', 'elsewhere', 'half/0', 'unknown'].map((id) => ({ ...row, id: operationIdOf(id) })) })
  const edit = { kind: 'counter', name: 'karma', key: 'a', amount: 1 } as const
  const request = (id: string, more: Partial<Request>): Request => ({
    id,
    instance,
    edits: [edit],
    outcome: 'acknowledged',
    place: null,
    ...more,
  })
  const { carriedOut, expected, faults } = judge(
    [
      request('lost', {}),
      request('refused', { outcome: 'refused' }),
      request('elsewhere', { place: { feed, sequence: 4 } }),
      request('half', { edits: [edit, edit] }),
      request('unknown', { outcome: 'unknown' }),
      request('never came', { outcome: 'unknown' }),
    ],
    store,
    new Pasts(),
  )
  expect(faults).toEqual([
    'lost (counter) was acknowledged and is gone',
    'refused (counter) was refused and is there',
    `elsewhere (counter) stands at ${feed}:3, and its receipt said ${feed}:4`,
    'half (counter, counter) is there in part',
  ])
  expect(carriedOut).toBe(1)
  expect(expected.get('counter/karma')).toEqual({ kind: 'counter', totals: new Map([['a', 4n]]) })
})

test('what is sent while a way is closed comes when it opens, in order, and the other way stays open', async () => {
  const relay = await openRelay(seededRandom('relay'))
  const arrivals: Socket[] = []
  const server = createServer((socket) => void arrivals.push(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  relay.place('b', port)
  const caller = connect(Number(relay.environmentOf('a')['CHAOS_RELAY']), '127.0.0.1')
  caller.write(`a ${port}\none `)
  const heardBy = (socket: Socket, end: string): Promise<string> =>
    new Promise((resolve) => {
      let heard = ''
      socket.on('data', (chunk) => {
        heard += chunk.toString()
        if (heard.endsWith(end)) resolve(heard)
      })
    })
  if (arrivals.length === 0) await once(server, 'connection')
  const [callee] = arrivals as [Socket]
  const all = heardBy(callee, 'three')
  const answer = heardBy(caller, 'answer')

  relay.change('a', 'b', { open: false })
  caller.write('two ')
  caller.write('three')
  callee.write('answer')
  expect(await answer).toBe('answer')
  expect(callee.bytesRead).toBeLessThan('one two three'.length)
  relay.heal()
  expect(await all).toBe('one two three')
  caller.destroy()
  callee.destroy()
  server.close()
  await relay.close()
})
