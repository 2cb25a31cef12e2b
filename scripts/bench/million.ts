/**
 * What a home costs that holds up to a million log entries: a real daemon on its own. Appending at each size, the restart until the first answer,
 * and the daemon's memory, as a curve.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
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

/** Milliseconds of single appends, one after the other. */
async function timeAppends({ agent }: Instance, total: number): Promise<Quantiles> {
  const times: number[] = []
  for (let index = 0; index < total; index += 1)
    times.push((await secondsOf(() => agent.log(log).append({ text: thought(index) }))) * 1_000)
  return quantilesOf(times)
}

/** Milliseconds of a plain commit of as many bytes on this disk. */
function timeCommits(total: number): Quantiles {
  const directory = mkdtempSync(join(tmpdir(), 'selfsame-commits-'))
  const database = new DatabaseSync(join(directory, 'floor.sqlite'))
  database.exec('pragma journal_mode = wal; pragma synchronous = full; create table rows (id integer primary key, bytes blob)')
  const insert = database.prepare('insert into rows (bytes) values (?)')
  const bytes = new Uint8Array(600)
  const times: number[] = []
  for (let index = 0; index < total; index += 1) {
    const began = performance.now()
    insert.run(bytes)
    times.push(performance.now() - began)
  }
  database.close()
  rmSync(directory, { recursive: true, force: true })
  return quantilesOf(times)
}

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  const appends = scale(2_000, 50)
  const sizes = [scale(10_000, 100), scale(100_000, 200), scale(1_000_000, 300)]
  yield* withDaemons(1, async function* ([only]) {
    const instance = only as Instance
    const { agent } = instance
    let entries = 0
    /** The cost of an append against a plain commit in the same minute: comparable also where the machine is busy. */
    let first: number | undefined
    for (const size of sizes) {
      const more = size - entries
      const seconds = await secondsOf(() =>
        agent.log(log).import(Array.from({ length: more }, (_, index) => ({ text: thought(entries + index) }))),
      )
      const loadedBytes = residentBytes(instance.processId)
      await timeAppends(instance, appends)
      const [before, cost, after] = [timeCommits(appends), await timeAppends(instance, appends), timeCommits(appends)]
      entries = size + 2 * appends
      const floor = (before.p50 + after.p50) / 2
      const ratio = cost.p50 / floor
      yield {
        what: `append at ${count(size)} entries, one after the other: p50 / p99`,
        measured: `${inMilliseconds(cost.p50)} / ${inMilliseconds(cost.p99)}`,
        floor: `${inMilliseconds(floor)}, a commit`,
        ratio,
        ...(first === undefined ? {} : { goal: atMost(`1.2 times that at ${count(sizes[0] as number)}`, ratio / first, 1.2) }),
      }
      first ??= ratio

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
