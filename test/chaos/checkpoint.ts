/**
 * What must be true of a group whose trouble is over: all daemons come to hold the same, quickly, and what each of them shows is what the history
 * of the clients makes it. Looks at everything from outside, through the API, and at the store of the founder for where operations stand.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Agent, DocumentDigest } from '../../src/api/client.ts'
import { silentLogger } from '../../src/core/index.ts'
import { openSqliteStore, pinDatabase } from '../../src/storage/index.ts'
import { until } from '../e2e/group.ts'
import { judge, Pasts } from './history.ts'
import type { Expected, Judgement } from './history.ts'
import type { Daemon, World } from './world.ts'

export interface Checker {
  /** Heals the network and waits until all daemons hold and show the same; the clients are quiet. Throws where they never do. */
  heal(secondsMax: number): Promise<Healing>
  /** Judges what was asked since the last time, after `heal`. What must not be goes to the faults of the world. */
  check(): Promise<Pick<Judgement, 'carriedOut'>>
  readonly envelopes: number
  /** Of all daemons at all checkpoints, the most memory that one had had; 0 where the system does not tell. */
  readonly memoryMib: number
}

export interface Healing {
  /** Until all held the same versions, and those documents had the same digests that were written to since the last checkpoint. */
  readonly milliseconds: number
  /** Until all held the same versions. */
  readonly sameVersionsMs: number
  /** Until the digests of all documents were equal, too: whoever was restarted has to read its whole memory for that. */
  readonly provenMs: number
  /** Who lacked what where that was more than the seconds that it may take; else null. */
  readonly late: string | null
}

/** Milliseconds between two looks at whether all hold the same: looking takes the daemons' time. */
const lookEachMs = 200
/** Kinds of attention that nothing which is done here may cause. */
const neverExpected = new Set(['fork', 'stale-stamp', 'quarantine'])
/** Seconds after which a group that does not heal is given up. */
const giveUpSeconds = 180
/** MiB of memory that no daemon at a checkpoint may ever have had: whatever waits, or is remembered, is bounded. */
const memoryMibMax = 600
/** Seconds in which a watcher is shown what its daemon holds. */
const shownSecondsMax = 20

export function createChecker(world: World): Checker {
  const pasts = new Pasts()
  /** Of documents that nobody writes to any more. */
  const settledDigests = new Map<string, string>()
  /** Every entry that was ever there. */
  const knownTexts = new Set<string>()
  let memoryMib = 0
  const fault = (what: string): void => void world.faults.push(what)

  /** Whether all hold the same versions: all that anybody wrote. */
  async function haveSame(): Promise<boolean> {
    const versions = await Promise.all(world.daemons.map(async ({ instance }) => JSON.stringify(await instance.agent.documents())))
    return new Set(versions).size === 1
  }

  /** Digests of the documents that were written to since the last checkpoint. */
  async function digestsOfEpoch(agent: Agent): Promise<readonly DocumentDigest[]> {
    const written = (await agent.documents()).filter(({ name }) => name.endsWith(`/${world.epoch}`))
    if (written.length === 0) throw new Error(`no document has a name that ends with /${world.epoch}`)
    return Promise.all(written.map(({ kind, name }) => agent.digest(kind, name)))
  }

  /** Whether all that hold the same versions show the same. */
  async function showSame(digestsOf: (agent: Agent) => Promise<readonly DocumentDigest[]>): Promise<boolean> {
    const all = await Promise.all(world.daemons.map(({ instance }) => digestsOf(instance.agent)))
    // What came in since the versions were asked for.
    if (new Set(all.map((rows) => rows.map(({ versionKey }) => versionKey).join(' '))).size > 1) return false
    const digests = all.map((rows) => JSON.stringify(rows))
    if (new Set(digests).size === 1) return true
    throw new Error(`equal versions have other digests:\n${digests.join('\n')}`)
  }

  /** Who lacks what, by what each knows of the others. */
  async function describe(): Promise<string> {
    const all = await Promise.all(
      world.daemons.map(async ({ instance, name }) => {
        const { attention, peers } = await instance.agent.status()
        const words = peers.map(
          ({ ahead, behind, instance: { name: other }, state }) => `${other} ${state} behind ${behind} ahead ${ahead}`,
        )
        return `${name}: ${[...words, ...attention.map(({ kind }) => kind)].join(', ')}`
      }),
    )
    return all.join('; ')
  }

  async function judgement(): Promise<Judgement> {
    const { group, requests } = world
    const [founder] = world.daemons as readonly [Daemon]
    const path = join(group.directory, 'judged.sqlite')
    const pinned = pinDatabase(join(founder.instance.home, 'memory.sqlite'))
    await pinned.copyTo(path).finally(() => pinned.close())
    const store = await openSqliteStore({ path, logger: silentLogger, checkFirst: false })
    try {
      pasts.readOn(store)
      return judge(requests, store, pasts)
    } finally {
      await store.close()
      for (const end of ['', '-wal', '-shm']) rmSync(`${path}${end}`, { force: true })
    }
  }

  async function checkDaemon({ instance, name }: Daemon, expected: ReadonlyMap<string, Expected>): Promise<void> {
    for (const [document, wanted] of expected) {
      const read = await readDocument(instance.agent, document, wanted)
      const right = normal(wanted)
      if (read !== right) fault(`${name}: ${document} reads ${differenceOf(read, right)}`)
    }
    const mib = peakMemoryMib(instance.processId)
    memoryMib = Math.max(memoryMib, mib)
    if (mib > memoryMibMax) fault(`${name} had ${mib} MiB of memory, more than ${memoryMibMax}`)
    const { attention } = await instance.agent.status()
    for (const { detail, kind } of attention) if (neverExpected.has(kind)) fault(`${name}: ${kind}: ${detail}`)
  }

  async function checkWatcher({ name, watcher }: Daemon, texts: ReadonlySet<string>): Promise<void> {
    const isComplete = async (): Promise<boolean> => [...texts].every((text) => watcher.shown.has(text))
    if (!watcher.hadGap) {
      await until(`the watcher of ${name} has seen all entries`, isComplete, shownSecondsMax).catch((error: unknown) =>
        fault(String(error)),
      )
    }
    for (const [text, times] of watcher.shown) {
      if (!knownTexts.has(text)) fault(`${name} showed the entry ${text}, and no log has it`)
      else if (!watcher.hadGap && (times > 1 || !texts.has(text))) fault(`${name} showed the entry ${text} again`)
    }
    watcher.forget()
  }

  async function checkSettled(): Promise<void> {
    const [founder] = world.daemons as readonly [Daemon]
    const now = new Map((await founder.instance.agent.digests()).map((row) => [`${row.kind}/${row.name}`, digestText(row)]))
    for (const [document, digest] of settledDigests)
      if (now.get(document) !== digest) fault(`${document} changed after its last write: ${digest} became ${now.get(document)}`)
    for (const [document, digest] of now) settledDigests.set(document, digest)
  }

  return {
    async heal(secondsMax) {
      const began = performance.now()
      world.relay.heal()
      const elapsed = (): number => performance.now() - began
      let lacking: string | null = null
      /** Milliseconds until it was so. */
      const waitFor = async (isSo: () => Promise<boolean>): Promise<number> => {
        while (!(await isSo())) {
          if (elapsed() > giveUpSeconds * 1_000) throw new Error(`not healed after ${giveUpSeconds} s: ${await describe()}`)
          if (elapsed() > secondsMax * 1_000) lacking ??= await describe()
          await sleep(lookEachMs)
        }
        return elapsed()
      }
      const sameVersionsMs = await waitFor(haveSame)
      const milliseconds = await waitFor(() => showSame(digestsOfEpoch))
      const isLate = milliseconds > secondsMax * 1_000
      const late = isLate ? `not healed within ${secondsMax} s: ${lacking ?? 'one look took long'}` : null
      const provenMs = await waitFor(() => showSame((agent) => agent.digests()))
      return { milliseconds, sameVersionsMs, provenMs, late }
    },
    async check() {
      const { carriedOut, expected, faults } = await judgement()
      for (const what of faults) fault(what)
      const texts = new Set([...expected.values()].flatMap((wanted) => (wanted.kind === 'log' ? wanted.items : [])))
      for (const text of texts) knownTexts.add(text)
      for (const daemon of world.daemons) {
        await checkDaemon(daemon, expected)
        await checkWatcher(daemon, texts)
      }
      await checkSettled()
      return { carriedOut }
    },
    get envelopes() {
      return pasts.envelopes
    },
    get memoryMib() {
      return memoryMib
    },
  }
}

/** The most that a process had in memory so far; 0 where the system does not tell. */
function peakMemoryMib(processId: number): number {
  if (process.platform !== 'linux') return 0
  const [, kibibytes = '0'] = /VmHWM:\s+(\d+)/u.exec(readFileSync(`/proc/${processId}/status`, 'utf8')) ?? []
  return Math.round(Number(kibibytes) / 1_024)
}

function digestText({ digest, versionKey }: DocumentDigest): string {
  return `${versionKey} ${digest}`
}

/** What a document reads like, in the form that `normal` gives to what it should read like. */
async function readDocument(agent: Agent, document: string, { kind }: Expected): Promise<string> {
  const name = document.slice(kind.length + 1)
  switch (kind) {
    case 'log': {
      const items: string[] = []
      for await (const { text = '' } of agent.log(name).read()) items.push(text)
      return normal({ kind, items })
    }
    case 'counter':
      return normal({ kind, totals: await agent.counter(name).all() })
    case 'set':
      return normal({ kind, items: await agent.set(name).list() })
    case 'register': {
      const cells = Array.from(await agent.register(name).all(), ([key, { siblings, value }]): [string, string[]] => [
        key,
        [value, ...siblings.map((sibling) => sibling.value)].map(String),
      ])
      return normal({ kind, cells: new Map(cells) })
    }
    case 'text':
      return normal({ kind, items: (await agent.text(name).get()).text.split('\n').filter((line) => line !== '') })
    case 'json':
      return normal({ kind, items: Object.keys((await agent.json(name).get()) as object).filter((key) => key !== 'last') })
  }
}

/** One line for each item. The order of items says nothing; that of a register's values does. */
function normal(expected: Expected): string {
  const lines =
    expected.kind === 'counter'
      ? Array.from(expected.totals, ([key, total]) => `${key} ${total}`)
      : expected.kind === 'register'
        ? Array.from(expected.cells, ([key, values]) => `${key} ${values.join(' ')}`)
        : [...expected.items]
  return lines.toSorted().join('\n')
}

function differenceOf(read: string, right: string): string {
  const [there, wanted] = [read.split('\n'), right.split('\n')]
  const missing = wanted.filter((line) => !there.includes(line))
  const extra = there.filter((line) => !wanted.includes(line))
  if (missing.length + extra.length === 0) return `${there.length} lines, not ${wanted.length}: some more than once`
  return `without ${JSON.stringify(missing.slice(0, 10))} (${missing.length}) and with ${JSON.stringify(extra.slice(0, 10))} (${extra.length})`
}
