/**
 * What a home costs that holds up to a million log entries: a real daemon on its own. Appending at each size, the restart until the first answer,
 * and the daemon's memory, as a curve. What an append costs is held against a small home, to which one is made in turn with it: so the machine
 * is the same to both.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Instance } from '../../test/e2e/group.ts'
import { withDaemons } from './daemons.ts'
import { thought } from './floor.ts'
import { atMost, count, inMebibytes, inMilliseconds, perSecond, quantilesOf, residentBytes, secondsOf } from './measure.ts'
import type { Quantiles, Row, Scale } from './measure.ts'

const log = 'memory'
/** Seconds and bytes to be reached with a million entries. */
const restartSecondsMax = 1
const idleBytesMax = 200 * 2 ** 20
const rebuildSecondsMax = 20

/** Milliseconds of single appends, one after the other, to each of the instances in turn. */
async function timeAppends(instances: readonly Instance[], total: number): Promise<readonly Quantiles[]> {
  const times = instances.map((): number[] => [])
  for (let index = 0; index < total; index += 1) {
    for (const [at, { agent }] of instances.entries())
      times[at]?.push((await secondsOf(() => agent.log(log).append({ text: thought(index) }))) * 1_000)
  }
  return times.map(quantilesOf)
}

function importTo({ agent }: Instance, from: number, to: number): Promise<number> {
  return secondsOf(() => agent.log(log).import(Array.from({ length: to - from }, (_, index) => ({ text: thought(from + index) }))))
}

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  const appends = scale(2_000, 50)
  const sizes = [scale(10_000, 100), scale(100_000, 200), scale(1_000_000, 300)]
  yield* withDaemons(1, async function* ([only], group) {
    const instance = only as Instance
    const reference = await group.found('small')
    let small = sizes[0] as number
    await importTo(reference, 0, small)
    const { agent } = instance
    let entries = 0
    for (const size of sizes) {
      const more = size - entries
      const seconds = await importTo(instance, entries, size)
      const loadedBytes = residentBytes(instance.processId)
      await timeAppends([instance, reference], appends)
      small += appends
      const [cost, least] = (await timeAppends([instance, reference], appends)) as [Quantiles, Quantiles]
      entries = size + 2 * appends
      const ratio = cost.p50 / least.p50
      small += appends
      yield {
        what: `append at ${count(size)} entries, one after the other: p50 / p99`,
        measured: `${inMilliseconds(cost.p50)} / ${inMilliseconds(cost.p99)}`,
        floor: `${inMilliseconds(least.p50)} at ${count(small)}, in turn with it`,
        ratio,
        goal: atMost('1.2 times that of the small home', ratio, 1.2),
      }

      await instance.stop()
      const restart = await secondsOf(async () => {
        await instance.up()
        if ((await agent.log(log).page({ order: 'newest', limit: 10 })).entries.length !== 10) throw new Error('the first read is short')
      })
      yield {
        what: `restart with ${count(size)} entries to first answer`,
        measured: inMilliseconds(restart * 1_000),
        goal: atMost(`${restartSecondsMax} s`, restart, restartSecondsMax),
      }
      const idleBytes = residentBytes(instance.processId)
      let read = 0
      for await (const _ of agent.log(log).read()) if (++read === Math.min(size, 20_000)) break
      yield {
        what: `memory with ${count(size)} entries: idle after a restart / after an import of ${count(more)} (${perSecond(more / seconds)}) / after reading ${count(read)}`,
        measured: [idleBytes, loadedBytes, residentBytes(instance.processId)].map(inMebibytes).join(' / '),
        goal: atMost(`idle ${inMebibytes(idleBytesMax)}`, idleBytes, idleBytesMax),
      }
      // As warm as the other when they are compared next.
      await reference.stop()
      await reference.up()
      const rebuild = await secondsOf(() => agent.rebuild())
      yield {
        what: `full rebuild of what is derived from ${count(size)} entries`,
        measured: `${rebuild.toFixed(1)} s`,
        goal: atMost(`${rebuildSecondsMax} s`, rebuild, rebuildSecondsMax),
      }
      yield {
        what: `disk for each of ${count(size)} entries`,
        measured: `${count(statSync(join(instance.home, 'memory.sqlite')).size / entries)} bytes`,
      }
    }
  })
}
