/** Begins a new agent: its founding instance, in an empty home. */
import { hostname } from 'node:os'
import { SelfsameError, createSigningKey, systemClock, systemRandom } from '../core/index.ts'
import { foundAgent, instanceIdOf, isMemberName } from '../membership/index.ts'
import { lockHome, openSqliteStore } from '../storage/index.ts'
import { newConfiguration } from './configuration.ts'
import { createHome, writeIdentity, writeRootSeed } from './home.ts'
import type { HomePaths, Identity } from './home.ts'
import type { Logs } from './logging.ts'
import { writeRootKeyFile } from './root-key.ts'

export interface NewHomeOptions {
  readonly home: string
  /** What the instance is called; the machine's name unless told. */
  readonly name?: string | undefined
  readonly port?: number | undefined
  readonly listen?: readonly string[] | undefined
  readonly logs: Logs
}

export interface InitOptions extends NewHomeOptions {
  readonly agentName: string
  /** Where the root key goes instead of into the home, sealed with the passphrase: then it is never on this machine's disk in the open. */
  readonly sealed: { readonly file: string; readonly passphrase: string } | null
}

/** Ports that new homes choose from: outside those that systems hand out for outgoing connections. */
const portMin = 20_000
const portMax = 32_000

/** Begins a new agent in an empty home. Throws `SelfsameError`. */
export async function initHome(options: InitOptions): Promise<Identity> {
  const { agentName, logs, sealed } = options
  const name = checkedName(options.name)
  if (!isMemberName(agentName)) throw nameError('the agent', agentName)
  return withNewHome(options, async (paths) => {
    const key = createSigningKey(systemRandom)
    const deviceKey = createSigningKey(systemRandom)
    const { agent, records } = foundAgent({ agentName, instanceName: name, rootKey: key, deviceKey }, systemClock.now(), systemRandom)
    const store = await openSqliteStore({ path: paths.database, logger: logs.logger('storage'), checkFirst: false })
    await store.commit({ records: records.map(({ hash, bytes }) => ({ hash, bytes })) })
    await store.close()
    if (sealed === null) writeRootSeed(paths, key.seed)
    else writeRootKeyFile(sealed.file, { key, genesis: records[0] }, sealed.passphrase)
    return { agent, agentName, instance: instanceIdOf(deviceKey.publicKey), name, deviceSeed: deviceKey.seed }
  })
}

/** Makes a home and locks it while `make` fills it. The identity is written last: a home that was begun and not finished can be begun again. */
export async function withNewHome(options: NewHomeOptions, make: (paths: HomePaths) => Promise<Identity>): Promise<Identity> {
  const port = options.port ?? portMin + Math.floor(systemRandom.unit() * (portMax - portMin))
  const paths = createHome(options.home, newConfiguration({ port, ...(options.listen === undefined ? {} : { listen: options.listen }) }))
  const lock = lockHome(paths.directory)
  try {
    const identity = await make(paths)
    writeIdentity(paths, identity)
    return identity
  } finally {
    lock.release()
  }
}

/** What a new instance is called: as told, else after the machine. Throws `invalid-request`. */
export function checkedName(given: string | undefined): string {
  const name = given ?? (isMemberName(hostname()) ? hostname() : 'instance')
  if (!isMemberName(name)) throw nameError('the instance', name)
  return name
}

function nameError(whose: string, name: string): SelfsameError {
  return new SelfsameError(
    'invalid-request',
    `${JSON.stringify(name)} cannot be the name of ${whose}: 1 to 64 visible characters, no # and no space at either end`,
  )
}
