/**
 * How costs grow: with the instances of an agent, counted in this process on the in-memory network, and with the documents of a home, on a
 * real daemon. How they grow with the entries of a log is told by `million.ts`.
 */
import type { Replica } from '../../src/replica/index.ts'
import type { Instance } from '../../test/e2e/group.ts'
import { held, withDaemons } from './daemons.ts'
import { thought } from './floor.ts'
import { openMemoryGroup } from './memory-group.ts'
import type { MemoryGroup, Traffic } from './memory-group.ts'
import { count, inMebibytes, inMilliseconds, perSecond, quantilesOf, residentBytes, secondsOf } from './measure.ts'
import type { Row, Scale } from './measure.ts'

/** Virtual milliseconds for which a quiet group is watched: some rounds of pings. */
const quietMs = 60_000
/** Of a gossip message: as `D` of the transport. */
const copiesMax = 4

interface Sums {
  readonly messages: number
  readonly bytes: number
}

function sumsOf({ bulk, control }: Traffic): Sums {
  const tallies = [...control.values(), bulk]
  return {
    messages: tallies.reduce((sum, { messages }) => sum + messages, 0),
    bytes: tallies.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}

/** Traffic of writes made in turn by all instances, so many virtual milliseconds apart. */
async function trafficOf(group: MemoryGroup, writes: number, apartMs: number): Promise<Traffic> {
  group.takeTraffic()
  for (let index = 0; index < writes; index += 1) {
    const replica = group.replicas[index % group.replicas.length] as Replica
    await group.settle(replica.write({ operations: [{ type: 'append', name: 'memory', entry: { text: thought(index), tags: [] } }] }))
    await group.pass(apartMs)
  }
  await group.pass(2_000)
  return group.takeTraffic()
}

async function* instanceRows(total: number, scale: Scale): AsyncGenerator<Row> {
  const group = await openMemoryGroup(total)
  const writes = scale(100, 4)
  await trafficOf(group, total, 10)
  const pairs = total * (total - 1)
  await group.pass(quietMs)
  group.takeTraffic()
  await group.pass(quietMs)
  const quiet = sumsOf(group.takeTraffic())
  for (const [pace, apartMs] of [
    ['one at a time', 1_000],
    ['100 a second', 10],
  ] as const) {
    const traffic = await trafficOf(group, writes, apartMs)
    const told = sumsOf(traffic)
    const { gossip } = traffic
    yield {
      what: `${total} instances, writes ${pace}: sent by each instance for each write`,
      measured:
        `${(told.messages / total / writes).toFixed(2)} messages, ${count(told.bytes / total / writes)} bytes` +
        ` besides gossip of ${count((gossip.bytes / writes) * Math.min(copiesMax, total - 1))} bytes at most`,
    }
  }
  yield {
    what: `${total} instances, nobody writes: to each peer`,
    measured: `${((quiet.messages * 1_000) / pairs / quietMs).toFixed(2)} messages/s, ${((quiet.bytes * 1_000) / pairs / quietMs).toFixed(1)} bytes/s`,
  }
  for (const replica of group.replicas) await group.settle(replica.stopNetwork())
}

/** Operations in one request, as many as a batch may hold. */
const documentsPerRequest = 250

async function* documentRows(sizes: readonly number[], scale: Scale): AsyncGenerator<Row> {
  yield* withDaemons(1, async function* ([only]) {
    const instance = only as Instance
    const { agent } = instance
    let documents = 0
    for (const size of sizes) {
      const made = size - documents
      const making = await secondsOf(async () => {
        for (; documents < size; documents += documentsPerRequest) {
          const names = Array.from({ length: Math.min(documentsPerRequest, size - documents) }, (_, index) => `note/${documents + index}`)
          await agent.batch(names.map((name) => ({ type: 'register.set', name, key: 'title', value: name })))
        }
      })
      documents = size
      await held(instance, 1)
      await instance.stop()
      const restart = await secondsOf(async () => {
        await instance.up()
        await agent.register('note/0').get('title')
      })
      const times: number[] = []
      for (let index = 0; index < scale(1_000, 20); index += 1) {
        const name = `note/${(index * 7_919) % size}`
        times.push((await secondsOf(() => agent.register(name).set('title', String(index)))) * 1_000)
      }
      const { p50 } = quantilesOf(times)
      yield {
        what: `${count(size)} documents: restart to first answer, a write to any of them p50, memory, made a second`,
        measured: `${inMilliseconds(restart * 1_000)}, ${inMilliseconds(p50)}, ${inMebibytes(residentBytes(instance.processId))}, ${perSecond(made / making)}`,
      }
    }
  })
}

/** In a small run some sizes become the same. */
function sizesOf(full: readonly number[], scale: Scale, least: number): readonly number[] {
  return [...new Set(full.map((size) => scale(size, least)))]
}

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  for (const total of sizesOf([2, 5, 10, 20, 50], scale, 2)) yield* instanceRows(total, scale)
  yield* documentRows(sizesOf([10, 1_000, 10_000, 100_000], scale, 5), scale)
}
