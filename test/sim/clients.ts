/** The clients: what they ask of the instances, of all kinds of documents, and what they were told of each request. */
import { SelfsameError } from '../../src/core/index.ts'
import type { InstanceId } from '../../src/core/index.ts'
import type { Json } from '../../src/document/index.ts'
import type { LocalOperation, Replica, WriteReceipt } from '../../src/replica/index.ts'
import type { SimNode } from './node.ts'
import type { Place } from './model.ts'
import type { SeededRandom } from './virtual-time.ts'
import type { World } from './world.ts'

/** One request of a client. */
export interface Request {
  readonly id: string
  readonly operations: readonly LocalOperation[]
  readonly instance: InstanceId
  /**
   * `lost`: told done, but the disk that held it went back to an older copy before anyone else had it. `refused`: told that
   * nothing was done.
   */
  state: 'asked' | 'acknowledged' | 'refused' | 'lost'
  place: Place | null
}

/** How often a client asks again that was told that the outcome is unknown. */
const triesMax = 4

export class Clients {
  readonly #world: World
  readonly requests: Request[] = []

  constructor(world: World) {
    this.#world = world
  }

  /** `number`: of the step, which alone decides what is asked for. */
  write(node: SimNode, number: number, operations: number): void {
    const id = `op${number}`
    const random = this.#world.random.fork(id)
    node.ask((replica) => {
      compose(id, operations, replica, random)
        .then(async (composed) => {
          const request: Request = { id, operations: composed, instance: replica.identity.instance, state: 'asked', place: null }
          this.requests.push(request)
          await this.#carryOut(node, replica, request, random.chance(0.1) ? 2 : 1)
        })
        .catch((error: unknown) => this.#unlessOperating(error))
    })
  }

  /** A client asks another copy of the home for what one copy did already: an entry of a log must not appear twice. */
  repeat(node: SimNode, number: number): void {
    const random = this.#world.random.fork(`repeat ${number}`)
    node.ask((replica) => {
      const { instance } = replica.identity
      const asked = this.requests.filter(
        (request) => request.instance === instance && request.operations.every(({ type }) => type === 'append'),
      )
      if (asked.length === 0) return
      const request = random.pick(asked)
      replica
        .write({ operations: request.operations, operationId: request.id })
        .then(() => {
          this.#world.note('repeated')
          // What was refused there may be done here.
          if (request.state !== 'acknowledged') request.state = 'asked'
        })
        .catch((error: unknown) => this.#unlessOperating(error))
      if (request.state === 'refused') request.state = 'asked'
    })
  }

  async #carryOut(node: SimNode, replica: Replica, request: Request, replicas: number): Promise<void> {
    const { id, operations } = request
    for (let tries = 1; ; tries += 1) {
      try {
        this.#acknowledged(node, request, await replica.write({ operations, operationId: id }, replicas, 200))
        return
      } catch (error) {
        if (!(error instanceof SelfsameError)) throw error
        if (error.code !== 'outcome-unknown') {
          // An earlier try of it may have been carried out.
          if (tries === 1) request.state = 'refused'
          this.#world.note(`refused:${error.code}`)
          return
        }
        this.#world.note('outcome-unknown')
        if (tries === triesMax) return
      }
    }
  }

  #acknowledged(node: SimNode, request: Request, receipt: WriteReceipt): void {
    // A process that died told nobody.
    if (node.replica === null) return
    request.state = 'acknowledged'
    request.place = receipt.place
    const { place } = receipt
    // Not by reading it: an envelope may have rotted since.
    const stored = node.disk.readable.feeds().find(({ feed }) => feed === place?.feed)
    if (place !== null && (stored?.have ?? 0) < place.sequence)
      this.#world.fault(`${request.id} was acknowledged by ${node.name} before it was durable`)
  }

  #unlessOperating(error: unknown): void {
    if (!(error instanceof SelfsameError))
      this.#world.fault(`a request failed as none may: ${String(error instanceof Error ? error.stack : error)}`)
  }
}

async function compose(id: string, count: number, replica: Replica, random: SeededRandom): Promise<readonly LocalOperation[]> {
  const operations: LocalOperation[] = []
  for (let index = 0; index < count; index += 1) {
    const operation = await operationOf(count === 1 ? id : `${id}.${index}`, replica, random)
    // One request edits a text or json once: the model could not tell its parts apart.
    if (!operations.some((other) => kindOf(other) === kindOf(operation))) operations.push(operation)
  }
  return operations
}

async function operationOf(id: string, replica: Replica, random: SeededRandom): Promise<LocalOperation> {
  switch (random.below(9)) {
    case 0:
    case 1: {
      const time = random.chance(0.1) ? { time: Date.UTC(2026, 9, 1) + random.below(1_000_000) } : {}
      return { type: 'append', name: random.pick(['memory', 'people/ada']), entry: { text: id, tags: ['sim'], ...time } }
    }
    case 2: {
      const edit = { type: 'counter.add', key: random.pick(['a', 'b']), amount: BigInt(random.below(9) - 3) } as const
      return { type: 'edit', kind: 'counter', name: random.pick(['karma', 'visits']), edit }
    }
    case 3: {
      const edit = { type: random.chance(0.6) ? 'set.add' : 'set.remove', member: random.pick(['ada', 'bob', 'eve']) } as const
      return { type: 'edit', kind: 'set', name: 'follows', edit }
    }
    case 4:
    case 5: {
      const key = random.pick(['city', 'mood'])
      const edit = random.chance(0.8) ? ({ type: 'register.set', key, value: id } as const) : ({ type: 'register.delete', key } as const)
      return { type: 'edit', kind: 'register', name: 'profile', edit }
    }
    case 6: {
      const { text, version } = await replica.reader.value('text', 'SOUL.md')
      const lines = text.split(/(?<=\n)/)
      lines.splice(random.below(lines.length + 1), 0, `${id}\n`)
      return { type: 'edit', kind: 'text', name: 'SOUL.md', edit: { type: 'text.put', text: lines.join(''), base: version } }
    }
    case 7: {
      // Also takes away: what becomes of it is told by no model, but it is the same everywhere.
      const { text, version } = await replica.reader.value('text', 'scratch')
      const [from, to] = [random.below(text.length + 1), random.below(text.length + 1)].toSorted((a, b) => a - b) as [number, number]
      const edit = { type: 'text.put', text: `${text.slice(0, from)}${id} ${text.slice(to)}`, base: version } as const
      return { type: 'edit', kind: 'text', name: 'scratch', edit }
    }
    default: {
      const { value } = await replica.reader.value('json', 'tasks')
      const known = Object.keys(value as Record<string, Json>).filter((key) => key !== 'last')
      const patch = random.chance(0.3) && known.length > 0 ? { [random.pick(known)]: null } : { [id]: { status: 'open' }, last: id }
      return { type: 'edit', kind: 'json', name: 'tasks', edit: { type: 'json.merge', patch } }
    }
  }
}

function kindOf(operation: LocalOperation): string {
  return operation.type === 'append' ? `log ${operation.name}` : `${operation.kind} ${operation.name}`
}
