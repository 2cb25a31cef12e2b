/**
 * Histories of a group under partitions, honest and hostile. A history is a list of acts, each with a seed of its own, so that
 * leaving some out leaves the others what they were; playing it gives the records, signed for real.
 */
import type { EnvelopeHash, FeedId, InstanceId, PublicKey, RecordHash, SigningKey } from '../../../src/core/index.ts'
import {
  cloneIdOf,
  createInvite,
  createMemberSet,
  decodeRecord,
  encodeJoinRequest,
  instanceIdOf,
  judgeJoinRequest,
  memberTableOf,
  roles,
  signClaim,
} from '../../../src/membership/index.ts'
import type { Claim, CutPlace, Invite, MembershipRecord, MemberSet, Role } from '../../../src/membership/index.ts'
import type { Act, ActKind } from './acts.ts'
import { signAny } from './any-record.ts'
import type { Payload, Signer } from './any-record.ts'
import { Dice } from './dice.ts'
import { agent, first, firstKey, foundedAt, founding, keyOf, rootKey } from './world.ts'

export interface History {
  /** Founding first, parents before children. */
  readonly records: readonly MembershipRecord[]
  /** How often each act came to something. */
  readonly done: ReadonlyMap<ActKind, number>
  /** What the instances ended up with, each knowing what it had heard. */
  readonly tables: readonly MemberSet[]
  /** Join verdicts and decoder refusals, by word. */
  readonly answers: ReadonlyMap<string, number>
  /** Every key that a record brings in, by the instance that it is to be a key of. */
  readonly keysByInstance: ReadonlyMap<InstanceId, readonly PublicKey[]>
}

/** One place where an instance runs; a copied home is another of the same instance. */
interface Home {
  readonly instance: InstanceId
  /** The last is the present one. */
  readonly keys: SigningKey[]
  readonly table: MemberSet
  readonly invites: Map<PublicKey, Invite>
}

interface Ticket {
  readonly issuer: Home
  readonly seed: Uint8Array
  readonly requests: { readonly bytes: Uint8Array; readonly key: SigningKey }[]
}

const hour = 3_600_000
/** Levels as the document counts them. */
const roleOfLevel = [null, ...roles] as const
const names = ['pi', 'server', 'desk', 'phone']

class Group {
  readonly records: MembershipRecord[] = [...founding]
  readonly homes: Home[] = []
  readonly done = new Map<ActKind, number>()
  readonly answers = new Map<string, number>()
  readonly #seen = new Set<RecordHash>(founding.map((record) => record.hash))
  readonly #tickets: Ticket[] = []
  readonly #keys: SigningKey[] = [firstKey]
  /** What it knows is everything. */
  readonly #everything: MemberSet = createMemberSet(agent)
  #dice = new Dice(0)
  #now = foundedAt + hour

  constructor() {
    this.#everything.add(founding)
    this.#open(first, [firstKey], founding)
  }

  play({ kind, seed }: Act): void {
    this.#dice = new Dice(seed)
    this.#now += this.#dice.below(hour)
    if (this.#act(kind)) count(this.done, kind)
  }

  /** Gives whether it came to something. */
  #act(kind: ActKind): boolean {
    const dice = this.#dice
    switch (kind) {
      case 'meet':
        return this.#meet()
      case 'hear in part':
        return this.#hearInPart()
      case 'invite':
        return this.#invite()
      case 'join':
        return this.#join()
      case 'join again':
        return this.#joinAgain()
      case 'join at two':
        return this.#joinAtTwo()
      case 'admit by root':
        return this.#admitByRoot()
      case 'clone':
        return this.#clone()
      case 'copy a home': {
        const home = dice.pick(this.#present())
        if (home === undefined) return false
        this.#open(home.instance, home.keys, home.table.records())
        return true
      }
      case 'change a role':
        return this.#changeRole(this.#admin(), dice.pick(roles) as Role)
      case 'remove':
        return this.#changeRole(this.#admin(), null)
      case 'remove each other':
        return this.#removeInRing(2)
      case 'ring of removals':
        return this.#removeInRing(3 + dice.below(2))
      case 'leave':
        return this.#ofItself(null)
      case 'step down':
        return this.#ofItself(dice.pick(roles) as Role)
      case 'restore':
        return this.#restore()
      case 'rotate': {
        const home = dice.pick(this.#present())
        return home !== undefined && this.#rotate(home)
      }
      case 'rotate at once': {
        const [homes = []] = dice.some(
          [...Map.groupBy(this.#present(), ({ instance }) => instance).values()].filter((homes) => homes.length > 1),
          1,
        )
        return homes.length > 1 && homes.map((home) => this.#rotate(home)).every(Boolean)
      }
      case 'rename': {
        const home = dice.pick(this.#present())
        const target = home === undefined ? undefined : this.#isAdmin(home) ? dice.pick(home.table.members)?.instance : home.instance
        return (
          target !== undefined && this.#publish(home, this.#honest(home as Home), { kind: 'rename', instance: target, name: this.#name() })
        )
      }
      case 'role by root': {
        const role = dice.pick(roleOfLevel) as Role | null
        return this.#byRoot((table) => {
          const target = dice.pick([...table.members, ...table.former])
          return target === undefined ? undefined : this.#role(target.instance, role)
        })
      }
      case 'rename by root':
        return this.#byRoot((table) => {
          const target = dice.pick(table.members)
          return target === undefined ? undefined : { kind: 'rename', instance: target.instance, name: this.#name() }
        })
      case 'backdate':
        return this.#backdate()
      case 'use a stolen key':
        return this.#useStolenKey()
      case 'use a retired key': {
        const home = dice.pick(this.homes.filter(({ keys }) => keys.length > 1))
        if (home === undefined) return false
        const key = dice.pick(home.keys.slice(0, -1)) as SigningKey
        return this.#intrude({ ...this.#honest(home), key, ...(dice.chance(0.5) ? this.#earlier(home.instance) : {}) })
      }
      case 'forge an author': {
        const [victim, forger] = dice.some(this.homes, 2)
        if (victim === undefined || forger === undefined) return false
        return this.#intrude({ ...this.#honest(forger), author: dice.chance(0.2) ? null : victim.instance })
      }
      case 'repeat a number': {
        const home = this.#admin()
        if (home === undefined) return false
        const number = dice.chance(0.1) ? 1_000 : 1 + dice.below(home.table.nextNumber(home.instance) + 2)
        return this.#intrude({ ...this.#honest(home), number })
      }
      case 'replay a claim':
        return this.#replayClaim()
      case 'unknown type': {
        const home = dice.pick(this.homes) as Home
        const signer = dice.chance(0.3) ? this.#root(home.table) : this.#honest(home)
        return this.#publish(home, signer, { kind: 'unknown' })
      }
      case 'name a void record': {
        const bad = dice.pick(this.records.filter((record) => this.#everything.standingOf(record.hash) === 'void'))
        const home = dice.pick(this.#present())
        if (bad === undefined || home === undefined) return false
        const honest = this.#honest(home)
        return this.#intrude({ ...honest, parents: sortedSet([...honest.parents, bad.hash]) })
      }
      case 'anything': {
        const parents = sortedSet(dice.some(this.records, 1 + dice.below(3)).map((record) => record.hash))
        const author = dice.chance(0.2) ? null : (dice.pick(this.homes) as Home).instance
        const key = author === null && dice.chance(0.8) ? rootKey : (dice.pick(this.#keys) as SigningKey)
        return this.#intrude({ author, key, parents, number: 1 + dice.below(6), time: this.#now })
      }
    }
  }

  #open(instance: InstanceId, keys: readonly SigningKey[], records: readonly MembershipRecord[]): Home {
    const home: Home = { instance, keys: [...keys], table: createMemberSet(agent), invites: new Map() }
    home.table.add(records)
    this.homes.push(home)
    return home
  }

  /** Those that are members with their present key, as far as they know. */
  #present(): readonly Home[] {
    return this.homes.filter(({ instance, keys, table }) => table.member(instance)?.keys.includes((keys.at(-1) as SigningKey).publicKey))
  }

  #isAdmin(home: Home): boolean {
    return home.table.member(home.instance)?.role === 'admin'
  }

  #admin(): Home | undefined {
    return this.#dice.pick(this.#present().filter((home) => this.#isAdmin(home)))
  }

  #name(): string {
    return this.#dice.pick(names) as string
  }

  /** Half of those who come are admins: without several of them little happens. */
  #anyRole(): Role {
    return this.#dice.chance(0.5) ? 'admin' : (this.#dice.pick(roles) as Role)
  }

  #newKey(): SigningKey {
    const key = deviceKeyOf(this.#keys.length + 1)
    this.#keys.push(key)
    return key
  }

  #honest({ instance, keys, table }: Home): Signer {
    return {
      author: instance,
      key: keys.at(-1) as SigningKey,
      parents: table.citedBy(instance),
      number: table.nextNumber(instance),
      time: this.#now,
    }
  }

  /** The root key, with what `table` knows. */
  #root(table: MemberSet): Signer {
    return { author: null, key: rootKey, parents: table.citedBy(null), number: table.nextNumber(null), time: this.#now }
  }

  #meet(): boolean {
    const [one, other] = this.#dice.some(this.homes, 2)
    if (one === undefined || other === undefined) return false
    const fresh = one.table.add(other.table.records()).length
    return other.table.add(one.table.records()).length + fresh > 0
  }

  /** What reached it stands for a link that broke off: some records of another with their past, or without. */
  #hearInPart(): boolean {
    const [to, from] = this.#dice.some(this.homes, 2)
    if (to === undefined || from === undefined) return false
    const heads = this.#dice.some(from.table.records(), 1 + this.#dice.below(3))
    return to.table.add(this.#dice.chance(0.7) ? this.#closure(heads.map(({ hash }) => hash)) : heads).length > 0
  }

  #closure(heads: readonly RecordHash[]): readonly MembershipRecord[] {
    const wanted = new Set(heads)
    return this.records
      .toReversed()
      .filter((record) => {
        if (wanted.has(record.hash)) for (const parent of record.parents) wanted.add(parent)
        return wanted.has(record.hash)
      })
      .toReversed()
  }

  #invite(): boolean {
    const issuer = this.#admin()
    if (issuer !== undefined) this.#tickets.push(this.#issue(issuer, this.#anyRole()))
    return issuer !== undefined
  }

  #issue(issuer: Home, role: Role): Ticket {
    const name = this.#dice.chance(0.5) ? this.#name() : null
    const request = { role, durationMilliseconds: hour * (1 + this.#dice.below(20)), uses: 1 + this.#dice.below(2), name }
    const { invite, key } = createInvite(request, this.#now, this.#dice.random)
    issuer.invites.set(invite.key, invite)
    return { issuer, seed: key.seed, requests: [] }
  }

  #join(): boolean {
    const dice = this.#dice
    if (this.#tickets.length === 0 || dice.chance(0.4)) this.#invite()
    const ticket = this.#tickets[this.#tickets.length - 1 - (dice.chance(0.6) ? 0 : dice.below(this.#tickets.length))]
    if (ticket === undefined) return false
    const key = dice.chance(0.85) ? this.#newKey() : (dice.pick(this.homes) as Home).keys.at(-1)
    const request = { key: key as SigningKey, bytes: encodeJoinRequest({ agent, seed: ticket.seed }, key as SigningKey, this.#name()) }
    ticket.requests.push(request)
    const joined = this.#judge(ticket, request)
    // The answer was lost, and the joiner asks again.
    if (joined && dice.chance(0.2)) this.#judge(ticket, request)
    return joined
  }

  #joinAgain(): boolean {
    const ticket = this.#dice.pick(this.#tickets.filter(({ requests }) => requests.length > 0))
    const request = this.#dice.pick(ticket?.requests ?? [])
    if (ticket === undefined || request === undefined) return false
    this.#judge(ticket, request)
    return true
  }

  /** One key, two tickets of issuers that do not know of each other's; the two may think differently of it. */
  #joinAtTwo(): boolean {
    const admins = this.#present().filter((home) => this.#isAdmin(home))
    const issuers = this.#dice.some(
      [...Map.groupBy(admins, ({ instance }) => instance).values()].map(([home]) => home as Home),
      2,
    )
    const key = this.#newKey()
    const joined = issuers.filter((issuer) => {
      const ticket = this.#issue(issuer, this.#anyRole())
      return this.#judge(ticket, { key, bytes: encodeJoinRequest({ agent, seed: ticket.seed }, key, this.#name()) })
    })
    return joined.length === 2
  }

  /** By the present key of the issuer, right as it may or may not be any more. Gives whether it was admitted. */
  #judge({ issuer }: Ticket, { bytes, key }: Ticket['requests'][number]): boolean {
    const { invites, table } = issuer
    const context = { table, invites, from: key.publicKey, now: this.#now }
    const verdict = judgeJoinRequest(bytes, { ...context, issuer: { instance: issuer.instance, key: issuer.keys.at(-1) as SigningKey } })
    count(this.answers, `join: ${verdict.type === 'refused' ? verdict.refusal : verdict.type}`)
    if (verdict.type !== 'admitted') return false
    invites.set(verdict.invite.key, verdict.invite)
    this.#take(verdict.admission, issuer)
    this.#open(verdict.admission.instance, [key], table.records())
    return true
  }

  #byRoot(payloadOf: (table: MemberSet) => Payload | undefined): boolean {
    // The root key is used where it lies: beside somebody's view.
    const { table } = this.#dice.pick(this.homes) as Home
    const payload = payloadOf(table)
    return (
      payload !== undefined &&
      this.#publish(
        this.homes.find((home) => home.table === table),
        this.#root(table),
        payload,
      )
    )
  }

  #admitByRoot(): boolean {
    const { homes } = this
    const key = this.#dice.chance(0.9) ? this.#newKey() : ((this.#dice.pick(homes) as Home).keys[0] as SigningKey)
    if (!this.#byRoot(() => ({ kind: 'admission', claim: claimOf(key), role: this.#anyRole(), name: this.#name() }))) return false
    this.#open(instanceIdOf(key.publicKey), [key], this.#closure([this.records.at(-1)?.hash as RecordHash]))
    return true
  }

  #clone(): boolean {
    const parent = this.#dice.pick(this.#present())
    if (parent === undefined) return false
    const own = parent.table.member(parent.instance)?.role as Role
    const key = this.#newKey()
    const instance = cloneIdOf(parent.instance, key.publicKey)
    const claim = claimOf(key, instance)
    const role = this.#dice.chance(0.6) ? own : (this.#dice.pick(roles) as Role)
    if (!this.#publish(parent, this.#honest(parent), { kind: 'clone', claim, role, name: this.#name() })) return false
    this.#open(instance, [key], parent.table.records())
    return true
  }

  #changeRole(by: Home | undefined, role: Role | null): boolean {
    const target = this.#dice.pick((by?.table.members ?? []).filter(({ instance }) => instance !== by?.instance))
    if (by === undefined || target === undefined) return false
    return this.#publish(by, this.#honest(by), this.#role(target.instance, role))
  }

  /** Each removes the next, none knowing of the others' records. */
  #removeInRing(length: number): boolean {
    const admins = new Map(this.#present().flatMap((home) => (this.#isAdmin(home) ? [[home.instance, home]] : [])))
    const ring = this.#dice.some([...admins.values()], length)
    const pairs = ring.map((home, index) => [home, ring[(index + 1) % ring.length] as Home] as const)
    if (ring.length < length || pairs.some(([home, { instance }]) => home.table.member(instance) === undefined)) return false
    return pairs.every(([home, { instance }]) => this.#publish(home, this.#honest(home), this.#role(instance, null)))
  }

  #ofItself(role: Role | null): boolean {
    const home = this.#dice.pick(this.#present())
    return home !== undefined && this.#publish(home, this.#honest(home), this.#role(home.instance, role))
  }

  /** Somebody who fell, or was removed, is given a role again. */
  #restore(): boolean {
    const home = this.#dice.pick(this.#present().filter((home) => this.#isAdmin(home) && home.table.former.length > 0))
    const target = this.#dice.pick(home?.table.former ?? [])
    if (home === undefined || target === undefined) return false
    return this.#publish(home, this.#honest(home), this.#role(target.instance, this.#anyRole()))
  }

  #rotate(home: Home): boolean {
    const key = this.#newKey()
    const claim = claimOf(key, home.instance)
    const rotated = this.#publish(home, this.#honest(home), { kind: 'rotation', claim, cut: this.#cut(home.instance) })
    if (rotated) home.keys.push(key)
    return rotated
  }

  /** A record of any kind that claims to have been made when less was known. */
  #backdate(): boolean {
    const home = this.#dice.pick(this.homes) as Home
    return this.#intrude({ ...this.#honest(home), ...this.#earlier(home.instance), key: this.#dice.pick(home.keys) as SigningKey })
  }

  /** A view of some time after the instance came to be, with the number that fits it, mostly. */
  #earlier(instance: InstanceId): Pick<Signer, 'parents' | 'number'> {
    const entry = this.records.filter((record) => (record.kind === 'admission' || record.kind === 'clone') && record.instance === instance)
    const kept = this.records.filter((record) => this.#everything.standingOf(record.hash) === 'valid')
    const heads = [...this.#dice.some(entry, 1), ...this.#dice.some(kept, this.#dice.below(3))].map((record) => record.hash)
    const view = memberTableOf(agent, this.#closure(heads))
    return { parents: view.citedBy(instance), number: view.nextNumber(instance) + (this.#dice.chance(0.2) ? this.#dice.below(3) : 0) }
  }

  /** Somebody senior's key in the wrong hands, with all that is known. */
  #useStolenKey(): boolean {
    const senior = this.#everything.members[this.#dice.below(Math.min(2, this.#everything.members.length))]
    const home = this.homes.find(({ instance }) => instance === senior?.instance)
    const key = home?.keys.find(({ publicKey }) => publicKey === senior?.key)
    if (home === undefined || key === undefined) return false
    return this.#intrude({
      author: home.instance,
      key,
      parents: this.#everything.citedBy(home.instance),
      number: this.#everything.nextNumber(home.instance),
      time: this.#now,
    })
  }

  #replayClaim(): boolean {
    const old = this.#dice.pick(this.records.filter((record) => 'claim' in record))
    const home = this.#dice.pick(this.#present())
    if (old === undefined || home === undefined) return false
    const kind = this.#dice.chance(0.6) ? 'admission' : this.#dice.chance(0.5) ? 'clone' : 'rotation'
    // A clone made anew by its own parent is the one replay whose consent holds.
    const by = kind === 'clone' ? (this.homes.find(({ instance }) => instance === old.author) ?? home) : home
    const { claim } = old
    const payload: Payload = kind === 'rotation' ? { kind, claim, cut: [] } : { kind, claim, role: this.#anyRole(), name: this.#name() }
    const record = decodeRecord(signAny(this.#honest(by), payload).bytes)
    if (!record.ok) count(this.answers, `decoder: ${record.reason}`)
    return record.ok && this.#plant(record.value)
  }

  /** Any kind of record by that signer. */
  #intrude(signer: Signer): boolean {
    return this.#plant(signAny(signer, this.#payload(signer)))
  }

  #payload({ author }: Signer): Payload {
    const dice = this.#dice
    const { instance } = dice.pick(this.homes) as Home
    switch (dice.below(author === null ? 4 : 7)) {
      case 0: {
        const key = dice.chance(0.5) ? this.#newKey() : (dice.pick(this.#keys) as SigningKey)
        return { kind: 'admission', claim: claimOf(key), role: this.#anyRole(), name: this.#name() }
      }
      case 1:
      case 2:
        return this.#role(instance, dice.pick(roleOfLevel) as Role | null)
      case 3:
        return { kind: 'rename', instance, name: this.#name() }
      case 4:
        return this.#role(author as InstanceId, dice.pick(roleOfLevel) as Role | null)
      case 5: {
        const key = dice.chance(0.7) ? this.#newKey() : (dice.pick(this.#keys) as SigningKey)
        return { kind: 'rotation', claim: claimOf(key, author as InstanceId), cut: this.#cut(author as InstanceId) }
      }
      default: {
        const key = dice.chance(0.8) ? this.#newKey() : (dice.pick(this.#keys) as SigningKey)
        const claim = claimOf(key, cloneIdOf(author as InstanceId, key.publicKey))
        return { kind: 'clone', claim, role: this.#anyRole(), name: this.#name() }
      }
    }
  }

  /** Signs what somebody honest says, and lets it know. Gives whether it is new. */
  #publish(to: Home | undefined, signer: Signer, payload: Payload): boolean {
    return this.#take(signAny(signer, payload), to)
  }

  /** What somebody hostile says comes to one home, or to nobody yet. */
  #plant(record: MembershipRecord): boolean {
    return this.#take(record, this.#dice.chance(0.8) ? this.#dice.pick(this.homes) : undefined)
  }

  #role(instance: InstanceId, role: Role | null): Payload {
    return { kind: 'role', instance, role, cut: this.#cut(instance) }
  }

  /** How far somebody had applied the feeds of the instance, of which it has three; sometimes of another's, too. */
  #cut(instance: InstanceId): readonly CutPlace[] {
    const owners = this.#dice.chance(0.1) ? [instance, (this.#dice.pick(this.homes) as Home).instance] : [instance]
    return sortedSet(owners.flatMap(feedsOf))
      .filter(() => this.#dice.chance(0.5))
      .map((feed) => ({ feed, sequence: this.#dice.below(20), hash: '0b'.repeat(32) as EnvelopeHash }))
  }

  #take(record: MembershipRecord, to: Home | undefined): boolean {
    to?.table.add([record])
    this.#everything.add([record])
    if (this.#seen.has(record.hash)) return false
    this.#seen.add(record.hash)
    this.records.push(record)
    return true
  }
}

/** Device keys by number, the same in all histories: making one costs as much as signing ten times. */
const deviceKeys = new Map<number, SigningKey>()

function deviceKeyOf(number: number): SigningKey {
  const key = deviceKeys.get(number) ?? keyOf(number)
  deviceKeys.set(number, key)
  return key
}

/** Claims without an invite, by key and instance: they, too, are the same in all histories. */
const claims = new Map<string, Claim>()

function claimOf(key: SigningKey, instance: InstanceId = instanceIdOf(key.publicKey)): Claim {
  const id = `${key.publicKey} ${instance}`
  const claim = claims.get(id) ?? signClaim(agent, key, null, instance)
  claims.set(id, claim)
  return claim
}

/** The feeds that cuts of an instance may name. */
function feedsOf(instance: InstanceId): readonly FeedId[] {
  return ['1', '2', '3'].map((digit) => (digit.repeat(4) + instance.slice(4)) as FeedId)
}

function sortedSet<Text extends string>(texts: readonly Text[]): readonly Text[] {
  return [...new Set(texts)].toSorted()
}

function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

/** What comes of these acts. */
export function play(acts: readonly Act[]): History {
  const group = new Group()
  for (const act of acts) group.play(act)
  const { answers, done, homes, records } = group
  const brought = records.filter((record) => 'claim' in record)
  const byInstance = Map.groupBy(brought, (record) => (record.kind === 'rotation' ? record.author : record.instance))
  const keysByInstance = new Map([...byInstance].map(([instance, of]) => [instance, [...new Set(of.map(({ claim }) => claim.key))]]))
  return { records, done, answers, keysByInstance, tables: homes.map(({ table }) => table) }
}
