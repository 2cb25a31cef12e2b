/** What the nemesis does to daemons, their disks, clocks and homes. Each fault ends by itself, with everything running again. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Receipt, WriteOptions } from '../../src/api/client.ts'
import { freePort, until } from '../e2e/group.ts'
import type { Said } from '../e2e/group.ts'
import type { SeededRandom } from '../sim/virtual-time.ts'
import { carryOut, passOver } from './clients.ts'
import type { Edit, Request } from './history.ts'
import { isHeldBy } from './world.ts'
import type { Daemon, World } from './world.ts'

export interface DaemonFault {
  readonly name: string
  /** How often it is chosen, beside the others. */
  readonly weight: number
  /** Whether it needs the founder, too: there is one, so these come one after the other, and no two instances go back in time at once. */
  readonly takesFounder?: boolean
  /** Why it cannot be had here; null where it can. */
  readonly unavailable: (world: World) => string | null
  /** Which daemons it can be done to. */
  readonly suits: (daemon: Daemon, world: World) => boolean
  readonly run: (daemon: Daemon, world: World, random: SeededRandom) => Promise<void>
}

/** Seconds in which a member hears of a change of its place: network faults end before. */
const heardSecondsMax = 120
/** Instances that hold what must not be lost with a disk, the one with that disk included. */
const holders = 2
/** Instances that join in one run. */
const joinsMax = 2

const always = (): null => null
const anyone = (): boolean => true
const seconds = (random: SeededRandom, least: number, most: number): Promise<void> =>
  sleep((least + (most - least) * random.unit()) * 1_000)
const notFounder = (daemon: Daemon, { daemons }: World): boolean => daemon !== daemons[0]

async function succeeds(said: Promise<Said>): Promise<void> {
  const { code, err } = await said
  if (code !== 0) throw new Error(`a command ended with ${code}: ${err}`)
}

/** Stops writing at a daemon, waits until others hold all that it acknowledged, and goes on with it afterwards. */
async function withNothingOfItsOwn(daemon: Daemon, body: () => Promise<void>): Promise<void> {
  await daemon.clients.pause()
  await daemon.heldBy(holders)
  await body()
  daemon.clients.resume()
}

export const daemonFaults: readonly DaemonFault[] = [
  {
    name: 'kill',
    weight: 6,
    unavailable: always,
    suits: anyone,
    async run(daemon, _, random) {
      await daemon.instance.kill()
      await seconds(random, 0, random.chance(0.3) ? 15 : 1)
      await daemon.up()
    },
  },
  {
    name: 'restart',
    weight: 3,
    unavailable: always,
    suits: anyone,
    async run(daemon, _, random) {
      const code = await daemon.instance.stop()
      if (code !== 0) throw new Error(`${daemon.name} was stopped and ended with ${code}`)
      await seconds(random, 0, random.chance(0.3) ? 15 : 1)
      await daemon.up()
    },
  },
  {
    name: 'freeze',
    weight: 4,
    unavailable: always,
    suits: anyone,
    async run({ instance: { processId } }, _, random) {
      process.kill(processId, 'SIGSTOP')
      await seconds(random, 1, random.chance(0.2) ? 40 : 8)
      process.kill(processId, 'SIGCONT')
    },
  },
  {
    name: 'clock jump',
    weight: 3,
    unavailable: always,
    suits: anyone,
    async run(daemon, _, random) {
      const aheadMs = Math.round((random.chance(0.5) ? 1 : -1) * (random.chance(0.5) ? 5_000 : 600_000) * random.unit())
      daemon.setClock(aheadMs)
      await seconds(random, 3, 15)
      daemon.setClock(0)
    },
  },
  {
    name: 'full disk',
    weight: 3,
    unavailable: ({ daemons }) => (daemons.some(({ disk }) => disk !== null) ? null : 'only root can mount a file system to fill'),
    suits: ({ disk }) => disk !== null,
    async run({ disk, instance }, _, random) {
      const ballast = join(disk ?? '', 'ballast')
      // It ends where nothing more goes in.
      await once(spawn('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=64k'], { stdio: 'ignore' }), 'exit')
      await seconds(random, 2, 12)
      rmSync(ballast)
      await until('it writes again', () => instance.agent.ready().then(Boolean, () => false), 30)
    },
  },
  {
    name: 'failing fsync',
    weight: 3,
    unavailable: ({ fsyncCanFail }) => (fsyncCanFail ? null : 'gcc is not there to make a library that fails'),
    suits: anyone,
    async run(daemon, _, random) {
      daemon.failFsync(true)
      await seconds(random, 2, 6)
      daemon.failFsync(false)
    },
  },
  {
    name: 'restored backup',
    weight: 2,
    takesFounder: true,
    unavailable: always,
    suits: notFounder,
    async run(daemon, { group }, random) {
      const { instance } = daemon
      const file = join(group.directory, `${daemon.name}.backup`)
      await succeeds(instance.selfsame('backup', file, '--force'))
      await seconds(random, 2, 10)
      await withNothingOfItsOwn(daemon, async () => {
        await (random.chance(0.5) ? instance.kill() : instance.stop())
        await succeeds(instance.selfsame('restore', file, '--force'))
        await daemon.up()
      })
      for (const name of readdirSync(instance.home))
        if (name.startsWith('before-restore-')) rmSync(join(instance.home, name), { recursive: true })
      rmSync(file)
    },
  },
  {
    name: 'copy beside its original',
    weight: 1,
    takesFounder: true,
    unavailable: always,
    suits: notFounder,
    run: copyBeside,
  },
  {
    name: 'removal and return',
    weight: 1,
    takesFounder: true,
    unavailable: always,
    suits: notFounder,
    async run(daemon, { daemons }, random) {
      const admin = daemons[0] as Daemon
      const roleOf = async (): Promise<string | null> => (await daemon.instance.agent.status()).instance.role
      await withNothingOfItsOwn(daemon, async () => {
        await admin.heldBy(holders)
        const { members } = admin.instance.agent
        await until('it is removed', () => members.remove(daemon.id, 'chaos').then(Boolean, passOver))
        if (random.chance(0.7))
          await until(`${daemon.name} knows that it was removed`, async () => (await roleOf()) === null, heardSecondsMax)
        await until('it has its role back', () => members.giveRole(daemon.id, 'writer', 'chaos').then(Boolean, passOver))
        await until(`${daemon.name} is a writer again`, async () => (await roleOf()) === 'writer', heardSecondsMax)
      })
    },
  },
  {
    name: 'join',
    weight: 1,
    takesFounder: true,
    unavailable: always,
    suits: (daemon, { daemons, founded }) => daemon === daemons[0] && daemons.length < founded + joinsMax,
    async run(_, world) {
      const { clients } = await world.join()
      clients.resume()
    },
  },
]

/** A copy of a home starts while the original runs, writes, is noticed, and goes away once others hold what it wrote. */
async function copyBeside(original: Daemon, world: World, random: SeededRandom): Promise<void> {
  const { group } = world
  const name = `${original.name}copy`
  const file = join(group.directory, `${name}.backup`)
  const copy = group.at(join(group.directory, name), await freePort())
  await succeeds(original.instance.selfsame('backup', file, '--force'))
  await succeeds(copy.selfsame('restore', file))
  await copy.up(world.environmentAt(name, copy.port))
  const serial = random.below(2 ** 32)
  const write = async (index: number, edit: Edit, send: (options: WriteOptions) => Promise<Receipt>): Promise<void> => {
    const request: Request = { id: `${name}-${serial}-${index}`, instance: original.id, edits: [edit], outcome: 'asked', place: null }
    world.requests.push(request)
    await carryOut(request, send, () => true)
  }
  const log = `memory/${world.epoch}`
  const counter = `karma/${world.epoch}`
  for (let index = 0; index < 20; index += 1) {
    const text = `${name}-${serial}-${index}`
    await (index % 2 === 0
      ? write(index, { kind: 'log', name: log, text }, (options) => copy.agent.log(log).append({ text }, options))
      : write(index, { kind: 'counter', name: counter, key: 'a', amount: 1 }, (options) =>
          copy.agent.counter(counter).add('a', 1, options),
        ))
  }
  const noticed = async (): Promise<boolean> => {
    const all = await Promise.all([original.instance, copy].map(async ({ agent }) => (await agent.status()).attention))
    return all.flat().some(({ kind }) => kind === 'second-copy')
  }
  await until('a second copy is noticed', noticed, heardSecondsMax)
  const text = `${name}-${serial}-last`
  const request: Request = { id: text, instance: original.id, edits: [{ kind: 'log', name: log, text }], outcome: 'asked', place: null }
  world.requests.push(request)
  await until('others hold what the copy wrote', () => isHeldBy(copy, request, log, text, holders), heardSecondsMax)
  await copy.kill()
  rmSync(copy.home, { recursive: true })
  rmSync(file)
}
