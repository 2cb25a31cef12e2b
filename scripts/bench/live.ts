/**
 * Writing at one instance until another holds it: real daemons, real disks, everything fsynced at both ends before it is told to anyone.
 */
import type { Instance } from '../../test/e2e/group.ts'
import { appendSingly, held, post, withDaemons } from './daemons.ts'
import { openFloor, thought } from './floor.ts'
import type { Floor } from './floor.ts'
import { atLeast, atMost, atRate, inMilliseconds, perSecond, quantilesOf, secondsOf } from './measure.ts'
import type { Quantiles, Row, Scale } from './measure.ts'

/** A pace that a busy agent has: what is measured is how long each write takes, not how many there can be. */
const appendsPerSecond = 200
const inFlight = 64
/** Operations in one request of the counters: as many as a batch may hold. */
const incrementsPerRequest = 256
const counterKeys = 1_000
const crowd = 20

/** Milliseconds from an append at `a` until a watcher at `b` sees it. */
async function latency(a: Instance, b: Instance, total: number, name: string): Promise<Quantiles> {
  const sentAt: number[] = []
  const times: number[] = []
  const ended = new AbortController()
  const started = Promise.withResolvers<void>()
  const seen = (async () => {
    for await (const { text } of b.agent.log(name).tail({ last: 1, signal: ended.signal })) {
      const now = performance.now()
      const index = Number(text)
      if (index >= 0) times.push(now - (sentAt[index] as number))
      else started.resolve()
      if (times.length === total) return
    }
  })()
  // The watcher is there once it has seen this.
  await a.agent.log(name).append({ text: '-1' })
  await started.promise
  const writes: Promise<unknown>[] = []
  await atRate(appendsPerSecond, total, (index) => {
    sentAt[index] = performance.now()
    writes.push(a.agent.log(name).append({ text: String(index) }))
  })
  await Promise.all(writes)
  await seen
  ended.abort()
  return quantilesOf(times)
}

async function* liveRows([a, b]: readonly [Instance, Instance], floor: Floor, scale: Scale): AsyncGenerator<Row> {
  const singles = scale(3_000, 60)
  await latency(a, b, scale(1_000, 20), 'warm')
  await appendSingly(a.home, 'warm', inFlight, scale(30_000, 100), (index) => ({ text: thought(index) }))
  await held(a, 2)

  const least = await floor.single(appendsPerSecond, singles)
  const { p50, p99 } = await latency(a, b, singles, 'live')
  const [ratio50, ratio99] = [p50 / least.p50, p99 / least.p99]
  const what = `append at A to event at B, ${appendsPerSecond} a second`
  yield {
    what: `${what}: p50`,
    measured: inMilliseconds(p50),
    floor: inMilliseconds(least.p50),
    ratio: ratio50,
    goal: atMost('2.5 times the floor', ratio50, 2.5),
  }
  yield {
    what: `${what}: p99`,
    measured: inMilliseconds(p99),
    floor: inMilliseconds(least.p99),
    ratio: ratio99,
    goal: atMost('5 times the floor', ratio99, 5),
  }

  const appends = scale(100_000, 200)
  const pipelined = await floor.pipelined(inFlight, appends)
  const appendRate =
    appends /
    (await secondsOf(async () => {
      await appendSingly(a.home, 'single', inFlight, appends, (index) => ({ text: thought(index) }))
      await held(a, 2)
    }))
  yield {
    what: `acknowledged single appends, ${inFlight} in flight, until held by B`,
    measured: perSecond(appendRate),
    floor: perSecond(pipelined),
    ratio: pipelined / appendRate,
    goal: atLeast('12,500 /s', appendRate, 12_500),
  }

  const lines = scale(300_000, 500)
  const stream = await floor.bulk(lines, (index) => JSON.stringify({ text: thought(index) }))
  const bulkRate =
    lines /
    (await secondsOf(async () => {
      await a.agent.log('bulk').import(Array.from({ length: lines }, (_, index) => ({ text: thought(index) })))
      await held(a, 2)
    }))
  yield {
    what: 'bulk append (NDJSON), until held by B',
    measured: perSecond(bulkRate),
    floor: perSecond(stream),
    ratio: stream / bulkRate,
    goal: atLeast('50,000 /s', bulkRate, 50_000),
  }

  const requests = scale(2_000, 2)
  const increments = requests * incrementsPerRequest
  const increment = (index: number) => ({ type: 'counter.add', name: 'posts', key: `post ${index % counterKeys}`, amount: 1 })
  const counted = await floor.bulk(increments, (index) => JSON.stringify(increment(index)))
  const counterRate = increments / (await secondsOf(() => post(a.home, '/v1/operations', 4, requestsOf(requests, increment))))
  yield {
    what: `counter increments, ${incrementsPerRequest} in a request, ${counterKeys} keys`,
    measured: perSecond(counterRate),
    floor: perSecond(counted),
    ratio: counted / counterRate,
    goal: atLeast('100,000 /s', counterRate, 100_000),
  }
}

function* requestsOf(total: number, operationOf: (index: number) => object): Generator<string> {
  for (let request = 0; request < total; request += 1) {
    const operations = Array.from({ length: incrementsPerRequest }, (_, index) => operationOf(request * incrementsPerRequest + index))
    yield JSON.stringify({ operations })
  }
}

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  const floor = await openFloor()
  try {
    yield* withDaemons(2, ([a, b]) => liveRows([a as Instance, b as Instance], floor, scale))
    yield* withDaemons(scale(crowd, 3), async function* (instances) {
      const total = scale(2_000, 30)
      await latency(instances[0] as Instance, instances[1] as Instance, total, 'warm')
      const least = await floor.single(appendsPerSecond, total)
      const { p50, p99 } = await latency(instances[0] as Instance, instances[1] as Instance, total, 'live')
      yield {
        what: `the same with ${instances.length} daemons on this machine: p50 / p99`,
        measured: `${inMilliseconds(p50)} / ${inMilliseconds(p99)}`,
        floor: inMilliseconds(least.p99),
        ratio: p99 / least.p99,
        goal: atMost('p99 100 ms', p99, 100),
      }
    })
  } finally {
    floor.close()
  }
}
