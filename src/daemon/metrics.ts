/** Metrics in the text format of Prometheus: of the process, and of the replica and its health. Worked out when they are asked for. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import type { Replica } from '../replica/index.ts'
import type { HealthWatch } from './health-watch.ts'

/** Milliseconds between two samples of how late the loop is. Each wakes the process: with the 10 that are usual an idle daemon did little else. */
const loopSampleMs = 100
/** Seconds: from a fast disk's fsync to one that is about to fail. */
const commitBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

const peerStates = ['connected', 'connecting', 'offline'] as const

/** Of the process, however often a daemon is opened in it: what collects them cannot be ended. */
const processRegistry = new Registry()
let isCollecting = false

export interface MetricsOptions {
  readonly replica: Replica
  readonly watch: HealthWatch
  readonly version: string
  /** What libp2p and gossip count. */
  readonly network: Registry
}

export interface Metrics {
  /** All metrics now, as `text/plain; version=0.0.4`. Rejects with a `SelfsameError` while the store cannot be read. */
  text(): Promise<string>
  /** Counts no more. */
  stop(): void
}

export function createMetrics({ network, replica, version, watch }: MetricsOptions): Metrics {
  if (!isCollecting) collectDefaultMetrics({ register: processRegistry, eventLoopMonitoringPrecision: loopSampleMs })
  isCollecting = true
  const registry = new Registry()

  const gauge = (name: string, help: string, read: () => number | null): void => {
    const metric = new Gauge({
      name: `selfsame_${name}`,
      help,
      registers: [],
      collect() {
        const value = read()
        // What is not known is not told: a gap, and no zero.
        if (value === null) this.remove()
        else this.set(value)
      },
    })
    registry.registerMetric(metric)
  }
  const counter = (name: string, help: string, read: () => number): void => {
    const metric = new Counter({
      name: `selfsame_${name}`,
      help,
      registers: [],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
    registry.registerMetric(metric)
  }
  const labelled = (name: string, help: string, label: string, read: () => Iterable<readonly [string, number]>): void => {
    const metric = new Gauge({
      name: `selfsame_${name}`,
      help,
      labelNames: [label],
      registers: [],
      collect() {
        this.reset()
        for (const [value, amount] of read()) this.set({ [label]: value }, amount)
      },
    })
    registry.registerMetric(metric)
  }
  const secondsOf = (milliseconds: number | null): number | null => (milliseconds === null ? null : milliseconds / 1_000)

  labelled('build_info', 'Version of the daemon; always 1', 'version', () => [[version, 1]])
  gauge('entries', 'Log entries shown', () => replica.reader.entryTotal())
  gauge('documents', 'Documents', () => replica.reader.documents().length)
  gauge('envelopes', 'Envelopes stored', () => replica.stored.envelopes)
  gauge('feeds', 'Feeds stored', () => replica.stored.feeds)
  gauge('feeds_waiting', 'Feeds stored and not wholly applied', () => replica.waitingFeeds)
  gauge('read_only', 'Whether there is no space left, so that only reads are served', () => Number(replica.isReadOnly))
  labelled('peers', 'Other members, by state', 'state', () => {
    const peers = replica.peers()
    return peerStates.map((state) => [state, peers.filter((peer) => peer.state === state).length])
  })
  gauge('drift_percent', 'Documents that differ from what connected members told, of all', () => watch.signals.driftPercent)
  gauge('lag_seconds', 'Age of the oldest envelope that a member lacks', () => secondsOf(watch.signals.lagMilliseconds))
  gauge('recovery_seconds', 'Time this daemon took to be ready', () => secondsOf(watch.signals.recoveryMilliseconds))
  gauge('rebuild_seconds', 'Time that what is shown took to be built anew, the last time', () =>
    secondsOf(watch.signals.rebuildMilliseconds),
  )
  gauge('documents_differing', 'Documents that are shown otherwise than envelopes say, here or at other members', () =>
    differingDocuments(replica),
  )
  labelled('alerts', 'Alerts that are raised, by kind', 'kind', () => countsOf(watch.raised.map(({ kind }) => kind)))
  counter('conflicts_total', 'Writes that had not seen each other and were merged, since the start', () => conflictTotal(replica))
  counter('repairs_total', 'How often something was wrong here and was built anew, since the start', () => replica.coherence.repairCount)
  const commits = new Histogram({
    name: 'selfsame_commit_seconds',
    help: 'Time that the store took for a commit, with its fsync',
    buckets: commitBuckets,
    registers: [],
  })
  gauge('damaged', 'Things stored that are damaged now', () => replica.repair.open.length)
  for (const [name, help] of [
    ['noticed', 'Things stored that were found damaged, since the start'],
    ['repaired', 'Those of them that are whole again'],
  ] as const) {
    const counter = new Counter({
      name: `selfsame_damage_${name}_total`,
      help,
      registers: [],
      collect() {
        this.reset()
        this.inc(replica.repair.counts[name])
      },
    })
    registry.registerMetric(counter)
  }
  registry.registerMetric(commits)
  const stop = replica.onCommit((milliseconds) => commits.observe(milliseconds / 1_000))

  return { text: () => Registry.merge([processRegistry, registry, network]).metrics(), stop }
}

/** Conflicts in all documents since the process started. */
export function conflictTotal({ conflicts }: Replica): number {
  return [...conflicts.values()].reduce((sum, count) => sum + count, 0)
}

function differingDocuments({ coherence, members }: Replica): number {
  const elsewhere = members.members.flatMap(({ instance }) => coherence.of(instance)?.differences ?? [])
  return new Set([...coherence.findings, ...elsewhere].map(({ document }) => document)).size
}

function countsOf(words: readonly string[]): Iterable<readonly [string, number]> {
  return Array.from(
    Map.groupBy(words, (word) => word),
    ([word, group]) => [word, group.length] as const,
  )
}
