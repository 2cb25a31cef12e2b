/** The daemons of a chaos run: their homes, the relay between them, the programs beside them, and what was asked since the last checkpoint. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join as pathOf } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import type { InstanceId } from '../../src/core/index.ts'
import { createGroup, freePort, until } from '../e2e/group.ts'
import type { Environment, Group, Instance } from '../e2e/group.ts'
import type { SeededRandom } from '../sim/virtual-time.ts'
import { carryOut, createClients, passOver, startWatcher } from './clients.ts'
import type { Clients, Watcher } from './clients.ts'
import type { Request } from './history.ts'
import { openRelay } from './relay.ts'
import type { Relay } from './relay.ts'

/** One instance of the agent. */
export interface Daemon {
  readonly name: string
  readonly id: InstanceId
  readonly instance: Instance
  readonly clients: Clients
  readonly watcher: Watcher
  /** A file system of its own, that can be filled; null where that is not possible. */
  readonly disk: string | null
  /** A fault has it: nobody else may touch it. */
  taken: boolean
  /** Starts its process. */
  up(): Promise<void>
  /** Puts its wall clock so many milliseconds ahead. */
  setClock(aheadMs: number): void
  /** Makes some of the calls fail that make its data durable, or none any more. Only where `fsyncCanFail`. */
  failFsync(fails: boolean): void
  /** Resolves once so many instances, itself included, hold all that it wrote so far. */
  heldBy(count: number): Promise<void>
}

export interface World {
  readonly group: Group
  readonly relay: Relay
  readonly random: SeededRandom
  /** The first is the founder, an admin, from whose store all is judged: it never goes back to a backup. */
  readonly daemons: readonly Daemon[]
  readonly fsyncCanFail: boolean
  /** How many there were at the beginning. */
  readonly founded: number
  /** What was asked since the last checkpoint. */
  requests: Request[]
  epoch: number
  restarts: number
  /** What must not be. The run goes on to its next checkpoint. */
  readonly faults: string[]
  /** Another instance of the agent, admitted by the founder. Its clients wait for `resume`. */
  join(): Promise<Daemon>
  /** Where something else than a daemon's own processes runs: its name in the network, and what makes its connections go there. */
  environmentAt(name: string, port: number): Environment
  /** Kills everything. With `keepIn` homes and logs are copied there first. */
  close(keepIn?: string): Promise<void>
}

export interface WorldOptions {
  readonly random: SeededRandom
  readonly daemons: number
  readonly paceMs: number
  /** Whether file systems may be mounted: one daemon gets a small disk then. */
  readonly mayMount: boolean
}

/** The disk that can be filled: room for what an hour writes. */
const diskSize = '800m'
/** Which daemon has it. */
const diskIndex = 2
/** Seconds to wait for others to hold what an instance wrote: network faults end before. */
const heldSecondsMax = 120

/** The library that makes fsync fail, at `path`; null where it cannot be built. */
function buildLibrary(path: string): string | null {
  const source = fileURLToPath(new URL('failing-fsync.c', import.meta.url))
  return process.platform === 'linux' && spawnSync('gcc', ['-shared', '-fPIC', '-O1', '-o', path, source, '-ldl']).status === 0
    ? path
    : null
}

export interface NewInstance {
  readonly name: string
  readonly port: number
  readonly environment: Environment
  /** Whose agent it joins; without one it begins an agent. */
  readonly inviter: Instance | undefined
}

/** Makes an instance and starts its daemon, all under one environment. */
export async function makeInstance(group: Group, { environment, inviter, name, port }: NewInstance): Promise<Instance> {
  const home = pathOf(group.directory, name)
  const place = ['--home', home, '--name', name, '--port', String(port), '--listen', 'loopback']
  const invite = { role: 'writer', expiresSeconds: 86_400 } as const
  const invitation = inviter && (await until('there is an invitation', () => inviter.agent.invite(invite).catch(passOver)))
  const command = invitation === undefined ? ['init', '--agent', 'kevin'] : ['join']
  const { code, err } = await group.selfsame([...command, ...place], { input: invitation?.ticket ?? '', environment })
  if (code !== 0) throw new Error(`${name} could not be made: ${err}`)
  const instance = group.at(home, port)
  await instance.up(environment)
  return instance
}

export async function createWorld({ daemons: count, mayMount, paceMs, random }: WorldOptions): Promise<World> {
  const group = await createGroup()
  const relay = await openRelay(random.fork('relay'))
  const daemons: Daemon[] = []
  const mounted: string[] = []
  const library = buildLibrary(pathOf(group.directory, 'failing-fsync.so'))

  const world: World = {
    group,
    relay,
    random,
    daemons,
    fsyncCanFail: library !== null,
    founded: count,
    requests: [],
    epoch: 0,
    restarts: 0,
    faults: [],
    join,
    environmentAt(name, port) {
      relay.place(name, port)
      return relay.environmentOf(name)
    },
    async close(keepIn) {
      for (const { clients, watcher } of daemons) {
        clients.end()
        watcher.end()
      }
      for (const { instance } of daemons) await instance.kill()
      if (keepIn !== undefined) execFileSync('cp', ['-a', group.directory, keepIn])
      for (const path of mounted) execFileSync('umount', ['--lazy', path])
      await group.close()
      await relay.close()
    },
  }

  async function join(): Promise<Daemon> {
    const name = `n${daemons.length}`
    const home = pathOf(group.directory, name)
    const port = await freePort()
    const clockFile = pathOf(group.directory, `${name}.clock`)
    writeFileSync(clockFile, '0')
    const disk = mayMount && daemons.length === diskIndex ? home : null
    if (disk !== null) {
      mkdirSync(disk, { mode: 0o700 })
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskSize},mode=0700`, 'tmpfs', disk])
      mounted.push(disk)
    }
    const fsyncFile = pathOf(group.directory, `${name}.fsync-fails`)
    const environment = {
      ...world.environmentAt(name, port),
      CHAOS_CLOCK: clockFile,
      ...(library === null ? {} : { CHAOS_FSYNC: fsyncFile, LD_PRELOAD: library }),
    }
    const instance = await makeInstance(group, { name, port, environment, inviter: daemons[0]?.instance })
    const id = (await instance.agent.status()).instance.id as InstanceId
    const fault = (what: string): void => void world.faults.push(what)
    const shared = { agent: instance.agent, name, fault }
    const options = {
      ...shared,
      instance: id,
      paceMs,
      epoch: () => world.epoch,
      record: (request: Request) => void world.requests.push(request),
    }
    let markers = 0
    const daemon: Daemon = {
      name,
      id,
      instance,
      disk,
      clients: createClients({ ...options, random: random.fork(`clients of ${name}`) }),
      watcher: startWatcher({ ...shared, random: random.fork(`watcher of ${name}`) }),
      taken: false,
      async up() {
        world.restarts += 1
        await instance.up(environment)
      },
      setClock: (aheadMs) => writeFileSync(clockFile, String(aheadMs)),
      failFsync: (fails) => (fails ? writeFileSync(fsyncFile, '') : rmSync(fsyncFile)),
      async heldBy(instances) {
        markers += 1
        const text = `${name}-marker-${markers}`
        const log = `markers/${world.epoch}`
        const request: Request = { id: text, instance: id, edits: [{ kind: 'log', name: log, text }], outcome: 'asked', place: null }
        world.requests.push(request)
        await until(
          `${instances} instances hold what ${name} wrote`,
          () => isHeldBy(instance, request, log, text, instances),
          heldSecondsMax,
        )
      },
    }
    daemons.push(daemon)
    return daemon
  }

  try {
    while (daemons.length < count) await join()
    return world
  } catch (error) {
    await world.close()
    throw error
  }
}

/** Writes `text` once, however often it is asked, and tells whether so many hold it. */
export async function isHeldBy({ agent }: Instance, request: Request, log: string, text: string, instances: number): Promise<boolean> {
  let held = 0
  await carryOut(
    request,
    async (options) => {
      const receipt = await agent.log(log).append({ text }, { ...options, replicas: instances, timeoutMs: 1_000 })
      held = receipt.replicas.held
      return receipt
    },
    () => true,
  )
  return held >= instances
}
