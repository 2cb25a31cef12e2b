/**
 * An instance that comes late: how fast an empty one takes in what another has, what that costs on the wire, and what a member asks for
 * that was away for a while.
 */
import { join } from 'node:path'
import type { Replica } from '../../src/replica/index.ts'
import { freePort, until } from '../../test/e2e/group.ts'
import type { Group, Instance } from '../../test/e2e/group.ts'
import { appendSingly, withDaemons } from './daemons.ts'
import { openFloor, thought } from './floor.ts'
import type { Floor } from './floor.ts'
import { openMemoryGroup } from './memory-group.ts'
import { atLeast, atMost, count, inMebibytes, perSecond, secondsOf, wait, wireBytes } from './measure.ts'
import type { Row, Scale } from './measure.ts'

/** How a log is filled. One request at a time makes an envelope of each entry; many at a time share envelopes; so does a stream. */
type Filling = { readonly how: 'in bulk' } | { readonly how: string; readonly inFlight: number }
const inBulk: Filling = { how: 'in bulk' }
const oneByOne: Filling = { how: 'one by one', inFlight: 1 }
const manyAtOnce: Filling = { how: 'one by one, 64 in flight', inFlight: 64 }
const log = 'memory'
/** Entries in a millisecond that no instance takes in. */
const fastestPerMs = 200

const lineOf = (index: number): string => JSON.stringify({ text: thought(index) })

interface CatchUp {
  readonly seconds: number
  readonly bytes: number
}

/** A new instance joins, offline at first; from the moment at which it goes online until it shows all entries, which is when they are durable. */
async function catchUp(group: Group, from: Instance, name: string, entries: number): Promise<CatchUp> {
  const [home, port, { ticket }] = [join(group.directory, name), await freePort(), await from.agent.invite()]
  const place = ['--home', home, '--name', name, '--port', String(port), '--listen', 'loopback']
  const joined = await group.selfsame(['join', ...place], { input: ticket })
  if (joined.code !== 0) throw new Error(joined.err)
  await from.agent.network.pause()
  const instance = group.at(home, port)
  await instance.up()
  await instance.agent.network.pause()
  await from.agent.network.resume()
  const seconds = await secondsOf(async () => {
    await instance.agent.network.resume()
    // Not asked before it can be there: answering takes the instance's time.
    await wait(entries / fastestPerMs)
    await until('all has come', async () => (await instance.agent.status()).entries >= entries, 250)
  })
  const bytes = wireBytes(instance.processId)
  await instance.stop()
  return { seconds, bytes }
}

/** Fills a new agent with entries and lets new instances catch up at each of the sizes. */
async function* catchUpRows(filling: Filling, sizes: readonly number[], floor: Floor): AsyncGenerator<Row> {
  yield* withDaemons(1, async function* ([only], group) {
    const from = only as Instance
    let entries = 0
    let jsonBytes = 0
    for (const size of sizes) {
      const more = size - entries
      const entryOf = (index: number) => ({ text: thought(entries + index) })
      if ('inFlight' in filling) await appendSingly(from.home, log, filling.inFlight, more, entryOf)
      else await from.agent.log(log).import(Array.from({ length: more }, (_, index) => entryOf(index)))
      for (let index = 0; index < more; index += 1) jsonBytes += JSON.stringify(entryOf(index)).length
      entries = size
      const least = await floor.bulk(Math.min(entries, 300_000), lineOf)
      const { bytes, seconds } = await catchUp(group, from, `late${size}`, entries)
      const rate = entries / seconds
      const wanted = filling === inBulk ? 100_000 : 25_000
      const what = `catch-up of ${count(entries)} entries written ${filling.how}`
      yield {
        what,
        measured: perSecond(rate),
        floor: perSecond(least),
        ratio: least / rate,
        goal: atLeast(perSecond(wanted), rate, wanted),
      }
      yield {
        what: `${what}: bytes on the wire`,
        measured: inMebibytes(bytes),
        floor: `${inMebibytes(jsonBytes)} of JSON`,
        ratio: bytes / jsonBytes,
        ...(filling === inBulk ? { goal: atMost('half of the JSON', bytes / jsonBytes, 0.5) } : {}),
      }
    }
  })
}

/** Entries in one request, as an import makes them. */
const entriesPerRequest = 500

/** A member that was away while another wrote: counted message by message, in this process. */
async function* memberBack(scale: Scale): AsyncGenerator<Row> {
  const group = await openMemoryGroup(2)
  const [a, b] = group.replicas as [Replica, Replica]
  const append = async (from: number, to: number, perRequest: number): Promise<void> => {
    for (let index = from; index < to; index += perRequest) {
      const operations = Array.from({ length: Math.min(perRequest, to - index) }, (_, at) => ({
        type: 'append' as const,
        name: log,
        entry: { text: thought(index + at), tags: [] },
      }))
      await group.settle(a.write({ operations }))
    }
  }
  // What is planned depends on the feeds and on what was missed, not on how much is there: a fifth of a million stands for all of it.
  const total = scale(200_000, 20_000)
  const missed = scale(1_000, 100)
  await append(0, total - missed, entriesPerRequest)
  await group.pass(5_000)
  await group.settle(b.stopNetwork())
  const stored = a.stored.envelopes
  await append(total - missed, total, 1)
  group.takeTraffic()
  await group.settle(b.startNetwork())
  for (let waits = 0; b.reader.entryTotal() < total; waits += 1) {
    if (waits === 1_000) throw new Error('the member does not come to hold what it missed')
    await group.pass(50)
  }
  const { bulk, control } = group.takeTraffic()
  const wants = control.get('want')?.messages ?? 0
  const bytes = [...control.values()].reduce((sum, tally) => sum + tally.bytes, 0)
  const feeds = a.stored.feeds
  const what = `a member back after missing ${count(missed)} of ${count(total)} entries (${count(a.stored.envelopes - stored)} envelopes, ${feeds} feeds)`
  yield { what: `${what}: planning round trips`, measured: String(wants), goal: atMost('1', wants, 1) }
  const extra = bulk.envelopeBytes + bytes - 64 * feeds
  yield {
    what: `${what}: bytes before compression, against what was missed`,
    measured: `${count(bulk.envelopeBytes)} of envelopes, ${count(bytes)} of planning; ${count(bulk.bytes)} compressed`,
    floor: `${count(bulk.envelopeBytes)} bytes missed`,
    ratio: extra / bulk.envelopeBytes,
    goal: atMost('1.2 times and 64 bytes a feed', extra / bulk.envelopeBytes, 1.2),
  }
}

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  yield* memberBack(scale)
  const floor = await openFloor()
  try {
    yield* catchUpRows(inBulk, [scale(50_000, 500), scale(1_000_000, 1_000)], floor)
    yield* catchUpRows(oneByOne, [scale(50_000, 200)], floor)
    yield* catchUpRows(manyAtOnce, [scale(200_000, 400)], floor)
  } finally {
    floor.close()
  }
}
