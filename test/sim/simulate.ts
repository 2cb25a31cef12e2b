/**
 * One simulated run under a seed: 3 to 7 instances of one agent on a bad network, with clients that write to all of them,
 * crashes, partitions, copied homes and restored backups. Then everything heals, and what must be true is checked.
 */
import { createSigningKey } from '../../src/core/index.ts'
import { foundAgent, instanceIdOf, memberTableOf, signAdmission, signClaim } from '../../src/membership/index.ts'
import type { MembershipRecord } from '../../src/membership/index.ts'
import { createMemoryNetwork } from '../../src/network/index.ts'
import type { LocalOperation, WriteReceipt } from '../../src/replica/index.ts'
import { SelfsameError } from '../../src/core/index.ts'
import type { MemoryStore } from '../../src/storage/index.ts'
import { holds, judge } from './history.ts'
import type { Expected, Request } from './history.ts'
import { SimNode } from './node.ts'
import type { World } from './node.ts'
import { VirtualTime, seededRandom } from './virtual-time.ts'
import type { SeededRandom } from './virtual-time.ts'

/** Virtual milliseconds of trouble. */
const troubleMs = 4_000
/** Virtual milliseconds within which a healed group must have converged. Dial backoff alone may take one minute. */
const healMsMax = 600_000
/** Half seconds without convergence after which copies of homes run in turn. */
const roundsBeforeTurns = 120
/** Virtual milliseconds of quiet after convergence in which no data may be sent again. */
const quietMs = 11_000

export interface RunResult {
  readonly seed: string
  readonly faults: readonly string[]
  readonly instances: number
  readonly requests: number
  readonly acknowledged: number
  /** Virtual milliseconds from healing to convergence. */
  readonly healedMs: number
  /** Digest of everything read at the end: equal for equal seeds. */
  readonly trace: string
}

export async function simulate(seed: string): Promise<RunResult> {
  return new Simulation(seed).run()
}

class Simulation {
  readonly #seed: string
  readonly #random: SeededRandom
  readonly #time = new VirtualTime()
  readonly #nodes: SimNode[] = []
  readonly #requests: Request[] = []
  readonly #backups = new Map<SimNode, { readonly disk: MemoryStore; readonly at: number }[]>()
  /** Nodes that share one home by copying; only one of a family runs at a time, unless the seed says otherwise. */
  readonly #families = new Map<SimNode, SimNode[]>()
  readonly #cuts = new Set<string>()
  readonly #world: World
  #serial = 0

  constructor(seed: string) {
    this.#seed = seed
    this.#random = seededRandom(`run ${seed}`)
    const clock = this.#time.clock()
    const random = this.#random
    const network = createMemoryNetwork({
      clock,
      random: random.fork('network'),
      conditions: {
        latencyMsMin: 1,
        latencyMsMax: random.pick([2, 20, 200]),
        gossipLoss: random.pick([0, 0.1, 0.5, 1]),
        gossipDuplication: random.pick([0, 0.2]),
        gossipDelayMsMax: random.pick([0, 50, 500]),
        linkReset: random.pick([0, 0, 0.002]),
        detectionMsMax: random.pick([100, 10_000]),
        windowBytes: random.pick([4 << 10, 256 << 10]),
        discovery: random.chance(0.5),
      },
    })
    const founder = createSigningKey(random)
    const { agent, records } = foundAgent(
      { agentName: 'sim', instanceName: 'n0', rootKey: createSigningKey(random), deviceKey: founder },
      clock.now(),
      random,
    )
    const keys = [founder]
    const all: MembershipRecord[] = [...records]
    for (let index = 1; index < 3 + random.below(5); index += 1) {
      const key = createSigningKey(random)
      keys.push(key)
      const table = memberTableOf(agent, all)
      const author = instanceIdOf(founder.publicKey)
      const claim = signClaim(agent, key, null)
      all.push(
        signAdmission(
          {
            agent,
            author,
            parents: table.citedBy(author),
            time: clock.now(),
            claim,
            name: `n${index}`,
            role: 'writer',
            number: table.nextNumber(author),
          },
          founder,
        ),
      )
    }
    this.#world = {
      time: this.#time,
      random,
      network,
      records: all,
      addresses: new Map(keys.map((key, index) => [key.publicKey as string, [`/memory/node${index}`]])),
      places: new Map(),
      faults: [],
      commitFailure: random.pick([0, 0, 0.01]),
      cacheBytes: random.pick([0, 1 << 20]),
    }
    for (const [index, key] of keys.entries()) {
      const identity = { agent, instance: instanceIdOf(key.publicKey), key }
      const skewMs = random.chance(0.2) ? random.below(200_000) - 100_000 : random.below(100)
      this.#add(new SimNode(this.#world, { name: `n${index}`, identity, address: `/memory/node${index}`, skewMs }))
    }
  }

  async run(): Promise<RunResult> {
    for (const node of this.#nodes) {
      await node.found()
      await node.start()
    }
    while (this.#time.elapsed < troubleMs && this.#world.faults.length === 0) {
      await this.#step()
      await this.#time.run(this.#time.elapsed + this.#random.below(120))
    }
    const healedMs = await this.#heal()
    const trace = this.#world.faults.length === 0 ? await this.#check() : ''
    for (const node of this.#nodes) node.crash()
    const acknowledged = this.#requests.filter((request) => request.state === 'acknowledged').length
    return {
      seed: this.#seed,
      faults: this.#world.faults,
      instances: this.#nodes.length,
      requests: this.#requests.length,
      acknowledged,
      healedMs,
      trace,
    }
  }

  #add(node: SimNode): void {
    this.#nodes.push(node)
    this.#backups.set(node, [])
    this.#families.set(node, [node])
  }

  async #step(): Promise<void> {
    const random = this.#random
    const node = random.pick(this.#nodes)
    const action = random.unit()
    if (action < 0.84) this.#write(node)
    else if (action < 0.86) this.#repeat(node)
    else if (action < 0.89) await this.#toggle(node)
    else if (action < 0.93) this.#cut()
    else if (action < 0.95) this.#backups.get(node)?.push({ disk: node.copyOfDisk(), at: this.#requests.length })
    else if (action < 0.965) await this.#rollBack(node)
    else if (action < 0.975 && this.#nodes.length < 9) await this.#copy(node)
    else if (action < 0.99) await this.#takeTurns(node)
    else if (node.replica !== null) await (node.replica.isNetworkRunning ? node.replica.stopNetwork() : node.replica.startNetwork())
  }

  /** Crashes or stops a running node, starts one that is down. */
  async #toggle(node: SimNode): Promise<void> {
    if (!node.isUp) await this.#startAlone(node)
    else if (this.#random.chance(0.7)) node.crash()
    else await this.#settleWhile(node.stop())
  }

  /** Lets time pass until a promise that needs it settles. */
  async #settleWhile(promise: Promise<unknown>): Promise<void> {
    let settled = false
    promise.then(
      () => (settled = true),
      () => (settled = true),
    )
    for (let spent = 0; !settled && spent < 1_000; spent += 1) await this.#time.run(this.#time.elapsed + 1)
  }

  async #startAlone(node: SimNode): Promise<void> {
    const relatives = (this.#families.get(node) ?? []).filter((other) => other !== node && other.isUp)
    if (relatives.length > 0 && this.#random.chance(0.7)) for (const relative of relatives) relative.crash()
    await node.start()
  }

  #cut(): void {
    const [a, b] = [this.#random.pick(this.#nodes), this.#random.pick(this.#nodes)]
    if (a === b) return
    const direction = this.#random.chance(0.2) ? 'one-way' : 'both'
    const heal = this.#random.chance(0.5)
    if (heal) {
      for (const cut of this.#cuts) {
        const [from, to] = cut.split(' ') as [string, string]
        this.#world.network.setReachable(from, to, true)
      }
      this.#cuts.clear()
    } else {
      this.#world.network.setReachable(a.address, b.address, false, direction)
      this.#cuts.add(`${a.address} ${b.address}`)
    }
  }

  /** The home goes back to an older copy. What only this disk held is gone: nobody can be asked to have it. */
  async #rollBack(node: SimNode): Promise<void> {
    const backups = this.#backups.get(node) ?? []
    if (backups.length === 0) return
    node.crash()
    const { disk } = this.#random.pick(backups)
    const before = node.disk
    node.restore(disk)
    for (const request of this.#requests) {
      if (request.state !== 'acknowledged' || request.place === null || !holds(before, request.place)) continue
      if (!this.#nodes.some((other) => holds(other.disk, request.place as NonNullable<Request['place']>))) request.state = 'lost'
    }
    if (this.#random.chance(0.8)) await this.#startAlone(node)
  }

  /** The home is copied to another machine. */
  async #copy(node: SimNode): Promise<void> {
    const family = this.#families.get(node) ?? []
    const name = `${node.name}copy${family.length}`
    const copy = new SimNode(
      this.#world,
      { name, identity: node.identity, address: `/memory/${name}`, skewMs: this.#random.below(100) },
      node.copyOfDisk(),
    )
    this.#nodes.push(copy)
    this.#backups.set(copy, [])
    family.push(copy)
    this.#families.set(copy, family)
    await this.#takeTurns(copy)
  }

  /** Another copy of the home is the one that is used now. */
  async #takeTurns(node: SimNode): Promise<void> {
    if (!node.isUp) await this.#startAlone(node)
  }

  #write(node: SimNode): void {
    const { replica } = node
    if (replica === null) return
    this.#serial += 1
    const id = `op${this.#serial}`
    void this.#operation(id, replica)
      .then(async (operation) => {
        const request: Request = { id, operation, instance: node.identity.instance, state: 'asked', place: null }
        this.#requests.push(request)
        const receipt = await this.#ask(node, request, 0)
        if (receipt === null) return
        request.state = 'acknowledged'
        request.place = receipt.place
        this.#checkDurable(node, request)
      })
      .catch((error: unknown) => {
        if (!(error instanceof SelfsameError))
          this.#world.faults.push(`a request failed as none may: ${String(error instanceof Error ? error.stack : error)}`)
      })
  }

  /** A client asks another copy of the home for what one copy did already: an entry of a log must not appear twice. */
  #repeat(node: SimNode): void {
    const { replica } = node
    const asked = this.#requests.filter((request) => request.instance === node.identity.instance && request.operation.type === 'append')
    if (replica === null || asked.length === 0) return
    const request = this.#random.pick(asked)
    replica.write({ operations: [request.operation], operationId: request.id }).catch((error: unknown) => {
      if (!(error instanceof SelfsameError)) this.#world.faults.push(`a repeated request failed as none may: ${String(error)}`)
    })
  }

  /** A client that does not learn the outcome asks again with the same operation id. */
  async #ask(node: SimNode, request: Request, tries: number): Promise<WriteReceipt | null> {
    const { replica } = node
    if (replica === null) return null
    try {
      return await replica.write({ operations: [request.operation], operationId: request.id }, this.#random.chance(0.1) ? 2 : 1, 200)
    } catch (error) {
      if (!(error instanceof SelfsameError) || error.code !== 'outcome-unknown' || tries > 3) throw error
      return this.#ask(node, request, tries + 1)
    }
  }

  /** Nothing is acknowledged before it is on the disk. */
  #checkDurable(node: SimNode, request: Request): void {
    if (request.place !== null && !holds(node.disk, request.place))
      this.#world.faults.push(`${request.id} was acknowledged by ${node.name} before it was durable`)
  }

  async #operation(id: string, replica: NonNullable<SimNode['replica']>): Promise<LocalOperation> {
    const random = this.#random
    const kind = random.below(8)
    if (kind <= 1) {
      const time = random.chance(0.1) ? { time: Date.UTC(2026, 9, 1) + random.below(1_000_000) } : {}
      return { type: 'append', name: random.pick(['memory', 'people/ada']), entry: { text: id, tags: ['sim'], ...time } }
    }
    if (kind === 2)
      return {
        type: 'edit',
        kind: 'counter',
        name: 'karma',
        edit: { type: 'counter.add', key: random.pick(['a', 'b']), amount: BigInt(random.below(9) - 3) },
      }
    if (kind === 3)
      return {
        type: 'edit',
        kind: 'set',
        name: 'follows',
        edit: { type: random.chance(0.6) ? 'set.add' : 'set.remove', member: random.pick(['ada', 'bob', 'eve']) },
      }
    if (kind <= 5) {
      const key = random.pick(['city', 'mood'])
      const edit = random.chance(0.8) ? ({ type: 'register.set', key, value: id } as const) : ({ type: 'register.delete', key } as const)
      return { type: 'edit', kind: 'register', name: 'profile', edit }
    }
    if (kind === 6) {
      const { text, version } = await replica.reader.value('text', 'SOUL.md')
      const lines = text.split(/(?<=\n)/)
      lines.splice(random.below(lines.length + 1), 0, `${id}\n`)
      return {
        type: 'edit',
        kind: 'text',
        name: 'SOUL.md',
        edit: { type: 'text.put', text: lines.join(''), base: version },
      }
    }
    return { type: 'edit', kind: 'json', name: 'tasks', edit: { type: 'json.merge', patch: { [id]: { status: 'open' }, last: id } } }
  }

  /** Ends all trouble and waits until every instance holds and shows the same. Returns how long that took. */
  async #heal(): Promise<number> {
    const { network } = this.#world
    for (const a of this.#nodes) for (const b of this.#nodes) if (a !== b) network.setReachable(a.address, b.address, true)
    network.change({ gossipLoss: 0, gossipDuplication: 0, linkReset: 0, gossipDelayMsMax: 0, latencyMsMax: 20 })
    for (const node of this.#nodes) if (!node.isUp) await node.start()
    for (const node of this.#nodes) if (node.replica?.isNetworkRunning === false) await node.replica.startNetwork()
    const begin = this.#time.elapsed
    for (let round = 1; this.#time.elapsed - begin < healMsMax && this.#world.faults.length === 0; round += 1) {
      await this.#time.run(this.#time.elapsed + 500)
      if (this.#haveConverged()) {
        const healed = this.#time.elapsed - begin
        await this.#time.run(this.#time.elapsed + quietMs)
        return healed
      }
      if (round % roundsBeforeTurns === 0) await this.#runOneOfEachHome(round / roundsBeforeTurns)
    }
    if (this.#world.faults.length === 0) this.#world.faults.push(`no convergence within ${healMsMax / 1000} s: ${this.#describe()}`)
    return this.#time.elapsed - begin
  }

  /**
   * Where every home runs twice, each instance may be content with one process of each key, and two groups form that never
   * meet: what the daemons report as second copies. Does what they advise, for a while: one process for each home, another every time.
   */
  async #runOneOfEachHome(turn: number): Promise<void> {
    const families = new Set(this.#families.values())
    for (const family of families) for (const [index, node] of family.entries()) if (index !== turn % family.length) node.crash()
    for (const node of this.#nodes)
      if (!node.isUp && this.#families.get(node)?.[turn % (this.#families.get(node)?.length ?? 1)] === node) await node.start()
    await this.#time.run(this.#time.elapsed + 30_000)
    for (const node of this.#nodes) if (!node.isUp) await node.start()
  }

  #haveConverged(): boolean {
    const frontiers = this.#nodes.map((node) => frontierText(node.disk))
    return frontiers.every((frontier) => frontier === frontiers[0]) && this.#nodes.every((node) => node.replica?.waitingFeeds === 0)
  }

  #describe(): string {
    return this.#nodes
      .map(
        (node) =>
          `${node.name} ${node.disk
            .feeds()
            .map((row) => `${row.feed.slice(0, 6)}:${row.have}/${row.applied}`)
            .join(' ')}`,
      )
      .join('; ')
  }

  /** Everything that must be true of a converged group. Returns a digest of what is read. */
  async #check(): Promise<string> {
    const fault = (what: string): void => {
      this.#world.faults.push(what)
    }
    const [first] = this.#nodes
    if (first === undefined) return ''
    const { expected, faults } = judge(this.#requests, first.disk)
    for (const what of faults) fault(what)
    let trace: string | null = null
    for (const node of this.#nodes) {
      const { replica } = node
      if (replica === null) continue
      const digests: string[] = []
      for (const { kind, name } of replica.reader.documents()) {
        let digested: { versionKey: string; digest: string } | null = null
        const reading = replica.reader.digest(kind, name).then((value) => (digested = value))
        await this.#settleWhile(reading)
        digests.push(`${kind}/${name} ${JSON.stringify(digested)}`)
      }
      const text = digests.join('\n')
      if (trace !== null && text !== trace) fault(`${node.name} reads other digests than ${first.name}:\n${text}\n---\n${trace}`)
      trace ??= text
      await this.#compare(node, expected)
    }
    await this.#checkReload(first, trace ?? '')
    return trace ?? ''
  }

  async #compare(node: SimNode, expected: Expected): Promise<void> {
    const { replica } = node
    if (replica === null) return
    const differ = (what: string, read: unknown, wanted: unknown): void => {
      const [a, b] = [JSON.stringify(read), JSON.stringify(wanted)]
      if (a !== b) this.#world.faults.push(`${node.name}: ${what} reads ${a}, not ${b}`)
    }
    for (const [name, texts] of expected.logs) {
      const read: string[] = []
      for (let after: { time: number; id: string } | undefined, more = true; more;) {
        const page = replica.reader.log(name, { newestFirst: false, limit: 50, after })
        read.push(...page.entries.map((entry) => entry.content.text ?? ''))
        after = page.next ?? undefined
        more = page.next !== null
      }
      differ(`log ${name}`, read.toSorted(), [...texts].toSorted())
    }
    const counter = await replica.reader.value('counter', 'karma')
    for (const [key, total] of expected.counters) differ(`counter ${key}`, String(counter.totals.get(key) ?? 0n), String(total))
    differ('set', [...(await replica.reader.value('set', 'follows')).members].toSorted(), [...expected.members].toSorted())
    const registers = await replica.reader.value('register', 'profile')
    differ(
      'registers',
      [...registers.cells].map(([key, cells]) => [key, cells.map((cell) => JSON.stringify(cell.value))]).toSorted(byText),
      [...expected.registers].toSorted(byText),
    )
    const lines = (await replica.reader.value('text', 'SOUL.md')).text.split('\n').filter((line) => line !== '')
    differ('text', lines.toSorted(), [...expected.lines].toSorted())
    const { value } = await replica.reader.value('json', 'tasks')
    const keys = Object.keys(value as object).filter((key) => key !== 'last')
    differ('json', keys.toSorted(), [...expected.jsonKeys].toSorted())
  }

  /** A restart from the disk, and a rebuild of everything derived, read the same. */
  async #checkReload(node: SimNode, trace: string): Promise<void> {
    await this.#settleWhile(node.stop())
    await node.start()
    const { replica } = node
    if (replica === null) return
    const digests: string[] = []
    for (const { kind, name } of replica.reader.documents()) {
      let digested: { versionKey: string; digest: string } | null = null
      await this.#settleWhile(replica.reader.digest(kind, name).then((value) => (digested = value)))
      digests.push(`${kind}/${name} ${JSON.stringify(digested)}`)
    }
    if (digests.join('\n') !== trace)
      this.#world.faults.push(`${node.name} reads other digests after a restart:\n${digests.join('\n')}\n---\n${trace}`)
  }
}

function frontierText(store: MemoryStore): string {
  return store
    .feeds()
    .map((row) => `${row.feed}:${row.have}:${row.applied}`)
    .join(' ')
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}
