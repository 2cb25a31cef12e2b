/** The stage: does what the steps of a plan say to the instances, their disks and the network, and takes it back in its time. */
import { SelfsameError, bytesToId, stampOf } from '../../src/core/index.ts'
import type { DocumentId } from '../../src/core/index.ts'
import { feedIdOf, formatVersion, mainSpace, referenceTo, rulesVersion, sealEnvelope } from '../../src/feed/index.ts'
import type { Envelope } from '../../src/feed/index.ts'
import type { Replica } from '../../src/replica/index.ts'
import type { MemoryStore } from '../../src/storage/index.ts'
import { Cast } from './cast.ts'
import { Clients } from './clients.ts'
import type { SimNode } from './node.ts'
import type { Act, Plan, Step } from './plan.ts'
import { Sky } from './sky.ts'
import type { World } from './world.ts'

/** A type of body that no version knows. */
const foreignBodyType = 77

export class Stage {
  readonly #world: World
  readonly #sky: Sky
  readonly cast: Cast
  readonly clients: Clients
  readonly #backups = new Map<SimNode, MemoryStore>()

  constructor(world: World) {
    this.#world = world
    this.#sky = new Sky(world)
    this.cast = new Cast(world)
    this.clients = new Clients(world)
  }

  async play({ steps, troubleMs }: Plan): Promise<void> {
    const { faults, time } = this.#world
    if (steps.some(({ act }) => act.type === 'no-cache')) this.#world.cacheBytes = 0
    await this.cast.found(steps.flatMap(({ act }) => (act.type === 'member' ? [act] : [])))
    for (const step of steps) {
      if (faults.length > 0) return
      await time.run(step.at)
      await this.#do(step)
    }
    await time.run(troubleMs)
  }

  /** Ends all trouble: whoever is down starts, whoever is cut off is reached, all disks work. */
  async heal(): Promise<void> {
    this.#sky.clear()
    for (const node of this.cast.nodes) {
      node.disk.repair()
      node.resume()
      if (!node.isUp) await node.start()
      await node.replica?.startNetwork()
    }
  }

  async #do({ act, number }: Step): Promise<void> {
    if (act.type === 'weather') return this.#until(act.forMs, this.#sky.addWeather(act.set))
    if (act.type === 'cut') {
      const addresses = this.cast.nodes.map(({ address }) => address)
      return this.#until(act.forMs, this.#sky.addCut(act.shape, addresses, this.#world.random.fork(`step ${number}`)))
    }
    const node = 'node' in act ? this.cast.named(act.node) : undefined
    if (node !== undefined) await this.#doTo(node, act, number)
  }

  async #doTo(node: SimNode, act: Act, number: number): Promise<void> {
    const { cast, clients } = this
    const startsAgain = (): void => void cast.start(node)
    switch (act.type) {
      case 'newer':
        node.isNewer = true
        return this.#world.note('newer')
      case 'write':
        return clients.write(node, number, act.operations)
      case 'repeat':
        return clients.repeat(node, number)
      case 'foreign':
        return node.ask((replica) => this.#publishForeign(node, replica, number))
      case 'crash':
        if (act.at === 'now') node.crash(act.power)
        else node.disk.dieAt(act.at, act.power)
        return this.#until(act.forMs, startsAgain)
      case 'stop':
        this.#world.note('stop')
        void node.stop()
        return this.#until(act.forMs, startsAgain)
      case 'offline':
        this.#world.note('offline')
        node.ask((replica) => void replica.stopNetwork())
        return this.#until(act.forMs, () => node.ask((replica) => void replica.startNetwork()))
      case 'pause':
        this.#world.note('pause')
        node.pause()
        return this.#until(act.forMs, () => node.resume())
      case 'jump':
        this.#world.note(act.byMs > 0 ? 'jump:forward' : 'jump:backward')
        return node.jump(act.byMs)
      case 'full':
        node.disk.fill(true)
        return this.#until(act.forMs, () => node.disk.fill(false))
      case 'unconfirmed':
        return node.disk.failNext(act.openFailures)
      case 'unreadable':
        return node.disk.failReads(act.reads)
      case 'rot': {
        const others = cast.nodes.filter((other) => other !== node).map(({ disk }) => disk)
        return node.disk.rot(others, this.#world.random.fork(`step ${number}`))
      }
      case 'backup':
        this.#backups.set(node, node.disk.copy())
        return
      case 'restore':
        return this.#restore(node, act.forMs)
      case 'copy':
        return cast.copy(node, act.as, act.both)
      case 'turn':
        return cast.takeTurn(node)
      case 'join':
        return cast.join(node, act.as, act.role)
      case 'role':
        return this.#giveRole(node, cast.named(act.of), act.role)
      case 'duel': {
        const other = cast.named(act.of)
        this.#giveRole(node, other, null)
        if (other !== undefined) this.#giveRole(other, node, null)
        return
      }
      case 'rotate':
        return this.#changeKey(node, null)
      case 'clone':
        return this.#changeKey(node, `clone ${node.name}`)
      default:
    }
  }

  #until(milliseconds: number, over: () => void): void {
    if (Number.isFinite(milliseconds)) this.#world.time.after(milliseconds, over)
  }

  /** The home goes back to an older copy. What only this disk held is gone: nobody can be asked to have it. */
  #restore(node: SimNode, forMs: number): void {
    const backup = this.#backups.get(node)
    if (backup === undefined) return
    node.crash()
    const before = node.disk.copy()
    node.disk.replace(backup)
    this.#world.note('restore')
    for (const request of this.clients.requests) {
      const { place, state } = request
      if (state !== 'acknowledged' || place === null) continue
      const isHeld = (store: MemoryStore): boolean => store.envelopes(place.feed, place.sequence, place.sequence, 1).length > 0
      if (isHeld(before) && !this.cast.nodes.some(({ disk }) => isHeld(disk.readable))) request.state = 'lost'
    }
    this.#until(forMs, () => void this.cast.start(node))
  }

  #giveRole(by: SimNode, of: SimNode | undefined, role: Parameters<Replica['membership']['giveRole']>[1]): void {
    if (of === undefined) return
    const { instance } = of.identity
    by.ask((replica) => {
      replica.membership
        .giveRole(instance, role, 'as the plan says')
        .then(() => this.#world.note(`role:${role ?? 'none'}`))
        .catch((error: unknown) => this.#unlessOperating(error))
    })
  }

  #changeKey(node: SimNode, cloneName: string | null): void {
    node.ask(() => void node.changeKey(cloneName).catch((error: unknown) => this.#unlessOperating(error)))
  }

  /** An instance of a newer version writes what this one does not know: it is stored and sent on. */
  #publishForeign(node: SimNode, { identity, members }: Replica, number: number): void {
    const random = this.#world.random.fork(`step ${number}`)
    const { agent, instance, key } = identity
    const opening = { instance, key: key.publicKey, nonce: random.bytes(16) }
    const body = { salt: random.bytes(16), bytes: random.bytes(40) }
    const document = bytesToId<DocumentId>(random.bytes(32))
    const envelope: Envelope = sealEnvelope(
      {
        format: formatVersion,
        rules: rulesVersion,
        agent,
        space: mainSpace,
        feed: feedIdOf(agent, opening),
        sequence: 1,
        previous: null,
        stamp: stampOf(Math.floor(this.#world.time.clock().now()), 0),
        deps: [],
        records: members.rightOf(instance, key.publicKey),
        bodies: [referenceTo(body, { type: foreignBodyType, schema: 1, critical: false, document })],
        opening,
      },
      [body],
      key,
    )
    this.#world.note('foreign')
    node.hearGossip(envelope)
  }

  #unlessOperating(error: unknown): void {
    if (!(error instanceof SelfsameError))
      this.#world.fault(`failed as nothing may: ${error instanceof Error ? error.stack : String(error)}`)
  }
}
