/**
 * The daemon: the one place that constructs the parts, in the order in which they depend on each other, and stops them in
 * reverse. Whatever cannot be gone on from ends it with an exit code of the error table.
 */
import { existsSync } from 'node:fs'
import { openServer, openTokens, socketPathOf } from '../api/index.ts'
import { SelfsameError, signingKeyOf, systemClock, systemRandom } from '../core/index.ts'
import type { Logger } from '../core/index.ts'
import { createLibp2pTransport, listenAddresses } from '../network/index.ts'
import { Replica } from '../replica/index.ts'
import { damageAdvice, lockHome, openSqliteStore } from '../storage/index.ts'
import { createAgentPort } from './agent-port.ts'
import { createAlertDelivery } from './alert-delivery.ts'
import { durationToMilliseconds, readConfiguration } from './configuration.ts'
import type { Environment } from './configuration.ts'
import { createHealthWatch } from './health-watch.ts'
import { openHome, openTokenShelf, readRootSeed } from './home.ts'
import type { Identity } from './home.ts'
import { changeKey, settledIdentity } from './key-change.ts'
import { openLogs } from './logging.ts'
import { createMetrics } from './metrics.ts'
import { checkNotMoved } from './move.ts'
import { createNetworkInstruments } from './network-instruments.ts'
import { stopMarkerOf } from './stop-marker.ts'
import { gossipTopicOf, serviceTagOf } from './rendezvous.ts'

export interface DaemonOptions {
  readonly home: string
  readonly environment: Environment
  /** In the background: the log goes to the home. */
  readonly detached: boolean
  readonly version: string
  readonly processId: number
}

export interface Daemon {
  readonly identity: Identity
  readonly addresses: readonly string[]
  /** Resolves when the daemon has stopped, with whether it is to be opened again; rejects with what it could not go on from. */
  readonly ended: Promise<'stopped' | 'again'>
  /** Stops in an orderly way. Idempotent. */
  stop(): void
}

/** Opens a home and runs its daemon. Throws `SelfsameError`. */
export async function openDaemon(options: DaemonOptions): Promise<Daemon> {
  const { environment, version } = options
  const { paths, identity: lastIdentity } = openHome(options.home)
  const configuration = readConfiguration(paths.configuration, environment)
  const beganAt = systemClock.monotonic()
  /** What to undo, the last first. */
  const undo: (() => void | Promise<void>)[] = []
  const unwind = async (): Promise<void> => {
    const failures: unknown[] = []
    for (const step of undo.splice(0).toReversed()) {
      try {
        await step()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
  const ending = Promise.withResolvers<'stopped' | 'again'>()
  ending.promise.catch(() => {})
  let stopping = false
  const end = (how: 'stopped' | 'again'): void => {
    if (stopping) return
    stopping = true
    unwind().then(() => ending.resolve(how), ending.reject)
  }

  try {
    const lock = lockHome(paths.directory)
    undo.push(() => lock.release())
    const identity = settledIdentity(paths, lastIdentity)
    checkNotMoved(paths, identity)
    const logs = openLogs(options.detached ? { kind: 'file', path: paths.log } : { kind: 'stderr' }, configuration.log)
    undo.push(() => logs.close())
    const logger = logs.logger('daemon')
    const marker = stopMarkerOf(paths.run, paths.directory)
    let checkFirst = !marker.isClean()
    if (checkFirst && existsSync(paths.database))
      logger.info({}, 'the home was moved, copied or not stopped cleanly: checking the database')

    const fatal = (error: unknown): void => {
      logger.error({ error }, 'the daemon cannot go on')
      stopping = true
      ending.reject(error)
    }
    const key = signingKeyOf(identity.deviceSeed)
    const instruments = createNetworkInstruments()
    const transport = createLibp2pTransport({
      key,
      listen: () => listenAddresses(configuration.network.listen, configuration.network.port),
      serviceTag: serviceTagOf(identity.agent),
      gossipTopic: gossipTopicOf(identity.agent),
      mdns: configuration.network.mdns,
      instruments,
      joinOpen: () => replica.membership.isJoinOpen(),
      clock: systemClock,
      random: systemRandom,
      logger: logs.logger('network'),
    })
    const replica: Replica = await Replica.open({
      openStore: async () => {
        const store = await openSqliteStore({ path: paths.database, logger: logs.logger('storage'), checkFirst })
        checkFirst = true
        return store
      },
      transport,
      clock: systemClock,
      random: systemRandom,
      logger: (room) => (room === 'storage' || room === 'network' ? logs.logger(room) : logs.logger('replica')),
      identity: { agent: identity.agent, instance: identity.instance, key },
      program: `selfsame ${version}`,
      cacheBytes: configuration.storage.cache_bytes,
      bootstrap: configuration.network.bootstrap,
      announce: configuration.network.announce,
      rootKey: () => {
        const seed = readRootSeed(paths)
        return seed === null ? null : signingKeyOf(seed)
      },
      fatal,
    })
    if (replica.members.genesis === null) {
      await replica.close()
      throw new SelfsameError('storage-corrupt', `${paths.database} is missing or empty: ${damageAdvice}`)
    }
    marker.remove()
    undo.push(async () => {
      await replica.close()
      marker.write()
    })
    if (!replica.isPaused) await replica.startNetwork()
    const { health } = configuration
    const delivery = createAlertDelivery({
      command: health.on_alert,
      webhook: health.webhook,
      from: { agent: identity.agentName, instance: identity.name },
      logger,
    })
    undo.push(() => delivery.stop())
    const watch = createHealthWatch({
      replica,
      thresholds: {
        driftPercent: health.drift_percent,
        lagMilliseconds: durationToMilliseconds(health.lag),
        recoveryMilliseconds: durationToMilliseconds(health.recovery),
      },
      clock: systemClock,
      logger,
      nameOf: (instance) => replica.members.member(instance)?.label ?? instance.slice(0, 8),
      deliver: (event) => delivery.deliver(event),
    })
    undo.push(() => watch.stop())
    const metrics = createMetrics({ replica, watch, version, network: instruments.registry })
    undo.push(() => metrics.stop())
    const server = await openServer({
      port: createAgentPort({
        replica,
        watch,
        metrics,
        home: paths.directory,
        agentName: identity.agentName,
        version,
        processId: options.processId,
        now: () => systemClock.now(),
        startedAt: systemClock.now(),
        changeKey: async (change) => {
          const next = await changeKey(paths, identity, replica, change)
          systemClock.after(shutdownDelayMs, () => end('again'))
          return next
        },
        requestShutdown: () => systemClock.after(shutdownDelayMs, () => end('stopped')),
      }),
      tokens: openTokens({ shelf: openTokenShelf(paths), clock: systemClock, random: systemRandom }),
      socketPath: socketPathOf(paths.directory),
      socketTokenRequired: configuration.api.socket_token_required,
      tcp: configuration.api.listen === '' ? undefined : configuration.api,
      logger: logs.logger('api'),
      clock: systemClock,
      version,
      watchersMax: configuration.api.watchers_max,
    })
    undo.push(() => server.close())
    replica.coherence.start()
    watch.start(systemClock.monotonic() - beganAt)
    logReady(logger, identity, replica.addresses())
    return { identity, addresses: replica.addresses(), ended: ending.promise, stop: () => end('stopped') }
  } catch (error) {
    // What fails while stopping says less than why it had to stop.
    await unwind().catch(() => {})
    throw error
  }
}

/** Milliseconds between the answer to a request to stop and the stop: the answer is still delivered. */
const shutdownDelayMs = 50

function logReady(logger: Logger, identity: Identity, addresses: readonly string[]): void {
  logger.info({ agent: identity.agentName, instance: identity.name, addresses }, 'ready')
}
