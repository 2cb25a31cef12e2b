/** What a group of real daemons costs while nobody writes, and while somebody writes now and then. */
import type { Instance } from '../../test/e2e/group.ts'
import { held, withDaemons } from './daemons.ts'
import { thought } from './floor.ts'
import { atMost, atRate, count, inMebibytes, processorSeconds, residentBytes, wait, wireBytes } from './measure.ts'
import type { Row, Scale } from './measure.ts'

const peers = 10
const writesPerSecond = 2

interface Use {
  /** Percent of one core. */
  readonly percent: number
  /** Of all connections, both directions, a second. */
  readonly bytesPerSecond: number
}

/** What a daemon uses while `body` runs. */
async function useDuring({ processId }: Instance, body: () => Promise<unknown>): Promise<Use> {
  const [processor, bytes, began] = [processorSeconds(processId), wireBytes(processId), performance.now()]
  await body()
  const seconds = (performance.now() - began) / 1_000
  return {
    percent: ((processorSeconds(processId) - processor) * 100) / seconds,
    bytesPerSecond: (wireBytes(processId) - bytes) / seconds,
  }
}

const inPercent = (value: number): string => `${value.toFixed(2)}%`

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  const seconds = scale(40, 1)
  /** Time in which what belongs to starting comes to its end. */
  const settleMs = scale(15, 1) * 1_000
  let alone: Use | undefined
  yield* withDaemons(1, async function* ([only]) {
    await wait(settleMs)
    const { processId } = only as Instance
    alone = await useDuring(only as Instance, () => wait(seconds * 1_000))
    yield { what: 'memory of a daemon alone, with nothing stored', measured: inMebibytes(residentBytes(processId)) }
  })
  const total = scale(peers, 2) + 1
  yield* withDaemons(total, async function* (instances) {
    const [first] = instances as [Instance]
    await wait(settleMs)
    const idle = await useDuring(first, () => wait(seconds * 1_000))
    const perPeer = idle.bytesPerSecond / (total - 1)
    yield {
      what: `idle, ${total - 1} peers: processor`,
      measured: inPercent(idle.percent),
      floor: `${inPercent(alone?.percent ?? Number.NaN)}, without peers`,
      goal: atMost('1% of a core', idle.percent, 1),
    }
    yield {
      what: `idle, ${total - 1} peers: traffic a peer, both directions`,
      measured: `${count(perPeer)} bytes/s`,
      goal: atMost('1,000 bytes/s', perPeer, 1_000),
    }
    yield { what: `memory of a daemon with ${total - 1} peers and nothing stored`, measured: inMebibytes(residentBytes(first.processId)) }

    const writes = scale(30, 2) * writesPerSecond
    const receipts: Promise<unknown>[] = []
    const busy = await useDuring(first, async () => {
      await atRate(writesPerSecond, writes, (index) => receipts.push(first.agent.log('seldom').append({ text: thought(index) })))
      await Promise.all(receipts)
      await held(first, total)
    })
    yield {
      what: `${writesPerSecond} appends a second at one of ${total}: its processor, its traffic for each append and peer`,
      measured: `${inPercent(busy.percent)}, ${count((busy.bytesPerSecond - idle.bytesPerSecond) / writesPerSecond / (total - 1))} bytes`,
    }
  })
}
