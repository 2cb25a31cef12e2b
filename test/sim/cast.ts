/** The cast of a run: its instances, founded, joined or copied, and who of them share a home by copying. */
import { createSigningKey } from '../../src/core/index.ts'
import type { PublicKey, SigningKey } from '../../src/core/index.ts'
import { SelfsameError } from '../../src/core/index.ts'
import {
  decodeTicket,
  encodeJoinRequest,
  foundAgent,
  instanceIdOf,
  memberTableOf,
  readJoinResponse,
  signAdmission,
  signClaim,
} from '../../src/membership/index.ts'
import type { MembershipRecord, Role } from '../../src/membership/index.ts'
import { SimNode } from './node.ts'
import type { Act } from './plan.ts'
import type { World } from './world.ts'

type Member = Extract<Act, { type: 'member' }>

/** Homes that were one before somebody copied it. */
interface Family {
  readonly nodes: SimNode[]
  /** Whether several may run at once; else one runs at a time. */
  both: boolean
}

/** Virtual milliseconds between tries to join, and how many there are. */
const joinRetryMs = 1_000
const joinTriesMax = 6

export class Cast {
  readonly #world: World
  readonly #families = new Map<SimNode, Family>()

  constructor(world: World) {
    this.#world = world
  }

  /** In the order in which they came. */
  get nodes(): readonly SimNode[] {
    return [...this.#families.keys()]
  }

  get families(): Iterable<readonly SimNode[]> {
    return new Set([...this.#families.values()].map(({ nodes }) => nodes))
  }

  named(name: string): SimNode | undefined {
    return this.nodes.find((node) => node.name === name)
  }

  /** Founds the agent: the first admits the others. */
  async found(members: readonly Member[]): Promise<void> {
    const { random, time } = this.#world
    const now = time.clock().now()
    const rootKey = createSigningKey(random.fork('root key'))
    const keys = new Map(members.map(({ node }) => [node, createSigningKey(random.fork(`key ${node}`))]))
    const [first] = members
    if (first === undefined) return
    const founder = keys.get(first.node) as SigningKey
    const { agent, records } = foundAgent(
      { agentName: 'sim', instanceName: first.node, rootKey, deviceKey: founder },
      now,
      random.fork('founding'),
    )
    const all: MembershipRecord[] = [...records]
    const author = instanceIdOf(founder.publicKey)
    for (const { node, role } of members.slice(1)) {
      const table = memberTableOf(agent, all)
      const claim = signClaim(agent, keys.get(node) as SigningKey, null)
      const number = table.nextNumber(author)
      all.push(signAdmission({ agent, author, parents: table.citedBy(author), time: now, claim, name: node, role, number }, founder))
    }
    const addresses = new Map(members.map(({ node }) => [(keys.get(node) as SigningKey).publicKey, [`/memory/${node}`]]))
    for (const { node, rootKey: holdsRootKey, skewMs } of members) {
      const key = keys.get(node) as SigningKey
      const identity = { agent, instance: instanceIdOf(key.publicKey), key }
      await this.#admit({ name: node, identity, skewMs, rootKey: holdsRootKey ? rootKey : null }, all, addresses)
    }
  }

  async #admit(
    options: ConstructorParameters<typeof SimNode>[1],
    records: readonly MembershipRecord[],
    addresses: ReadonlyMap<PublicKey, readonly string[]>,
  ): Promise<void> {
    const node = new SimNode(this.#world, options)
    await node.found(records, addresses)
    this.#families.set(node, { nodes: [node], both: false })
    await node.start()
  }

  /** Starts a node, unless the plan has another copy of its home run now. */
  async start(node: SimNode): Promise<void> {
    const family = this.#families.get(node)
    if (family?.both === false && family.nodes.some((other) => other !== node && other.isUp)) return
    await node.start()
  }

  /** The home is copied to another machine, as it is on the disk now. */
  async copy(node: SimNode, name: string, both: boolean): Promise<void> {
    const family = this.#families.get(node) as Family
    const copy = new SimNode(this.#world, { name, identity: node.identity, skewMs: 0, rootKey: null }, node.disk.copy())
    family.nodes.push(copy)
    family.both ||= both
    this.#families.set(copy, family)
    this.#world.note(both ? 'copy:both' : 'copy:turns')
    await this.takeTurn(copy)
  }

  /** Another copy of the home is the one that is used now. */
  async takeTurn(node: SimNode): Promise<void> {
    const family = this.#families.get(node) as Family
    if (!family.both) for (const other of family.nodes) if (other !== node) other.crash()
    await this.start(node)
  }

  /** Has an instance join by a ticket of another, as `selfsame join` does: again and again, with one key, where nobody answers. */
  join(issuer: SimNode, name: string, role: Role): void {
    const random = this.#world.random.fork(`join ${name}`)
    const key = createSigningKey(random)
    const address = `/memory/${name}`
    const transport = this.#world.network.attach(key.publicKey, { address })
    issuer.ask((replica) => {
      const { agent } = replica.identity
      const issuerKey = replica.identity.key.publicKey
      const attempt = async (request: Uint8Array, tries: number): Promise<void> => {
        try {
          const response = readJoinResponse(await transport.requestJoin(issuerKey, [issuer.address], request), agent, key.publicKey)
          if (!response.ok) return this.#world.note('join-refused')
          this.#world.note('joined')
          const { addresses, member, records } = response.value
          const options = { name, identity: { agent, instance: member.instance, key }, skewMs: 0, rootKey: null }
          await this.#admit(options, records, new Map([...addresses, [issuerKey, [issuer.address]]]))
        } catch (error) {
          this.#checkOperating(error)
          if (tries < joinTriesMax) this.#world.time.after(joinRetryMs, () => void attempt(request, tries + 1))
        }
      }
      transport
        .start(deafHandlers)
        .then(() => replica.membership.invite({ role, durationMilliseconds: 600_000, uses: 1, name: null }))
        .then(({ ticket: text }) => {
          const ticket = decodeTicket(text)
          if (!ticket.ok) throw new Error(ticket.reason)
          return attempt(encodeJoinRequest(ticket.value, key, name), 1)
        })
        .catch((error: unknown) => this.#checkOperating(error))
    })
  }

  #checkOperating(error: unknown): void {
    if (!(error instanceof SelfsameError))
      this.#world.fault(`a join failed as none may: ${error instanceof Error ? error.stack : String(error)}`)
  }
}

/** Of a joiner, who is nobody yet. */
const deafHandlers = {
  mayConnect: () => false,
  mayGossip: () => false,
  linkOpened() {},
  linkClosed() {},
  message() {},
  drained() {},
  gossip: () => 'ignore' as const,
  join: () => Promise.resolve(null),
  addressFound() {},
}
