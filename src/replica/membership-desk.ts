/**
 * The membership desk: what this instance does to the membership. Invites and judges who joins, gives and takes roles, renames,
 * replaces keys. Everything is done one after the other: each act holds for the table and the invites that the one before left.
 */
import { SelfsameError, assert } from '../core/index.ts'
import type { Clock, InstanceId, Logger, PublicKey, Random, SigningKey } from '../core/index.ts'
import {
  cloneIdOf,
  createInvite,
  cutPlacesMax,
  decodeInvites,
  encodeInvites,
  encodeJoinResponse,
  encodeTicket,
  isMemberName,
  isOpenInvite,
  isReason,
  judgeJoinRequest,
  reasonLengthMax,
  signClaim,
  signClone,
  signRename,
  signRole,
  signRotation,
} from '../membership/index.ts'
import type { CutPlace, FormerMember, Invite, JoinRefusal, Member, MemberTable, MembershipRecord, Role } from '../membership/index.ts'
import type { Engine } from './engine.ts'
import type { FeedState } from './ledger.ts'
import { lastRunName } from './writer.ts'
import type { Identity } from './writer.ts'

/** The name of the meta row that holds the invites of this instance. */
const invitesName = 'invites'

export interface MembershipDeskOptions {
  readonly engine: Engine
  readonly identity: Identity
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The agent's root key, where it is on this machine. */
  readonly rootKey: () => SigningKey | null
  /** Multiaddrs that a ticket names. */
  readonly addresses: () => readonly string[]
  /** Multiaddrs that are known of others, by their keys. */
  readonly addressesOfOthers: () => ReadonlyMap<PublicKey, readonly string[]>
  /** Resolves when the memory is whole. Rejects with `unavailable` where it is being built anew, and that takes long. */
  readonly whole: () => Promise<void>
  readonly joinRefused: (key: PublicKey, refusal: JoinRefusal) => void
}

export interface InviteRequest {
  readonly role: Role
  readonly durationMilliseconds: number
  readonly uses: number
  /** What the new instance is called; null leaves that to itself. */
  readonly name: string | null
}

export interface Invitation {
  readonly ticket: string
  readonly invite: Invite
  /** Multiaddrs that the ticket names. */
  readonly addresses: readonly string[]
}

export class MembershipDesk {
  readonly #options: MembershipDeskOptions
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: MembershipDeskOptions) {
    this.#options = options
    options.engine.onCommitted(({ records }) => {
      if (records.length > 0) this.#closeInvitesOfFormer()
    })
  }

  /** Makes an invite and its ticket. Throws `forbidden` unless this instance is an admin. */
  invite(request: InviteRequest): Promise<Invitation> {
    return this.#asked(async () => {
      const { addresses, clock, engine, identity, random } = this.#options
      if (this.#table.member(identity.instance)?.role !== 'admin') {
        throw new SelfsameError('forbidden', 'only an admin can invite: ask one for a ticket')
      }
      this.#demandMembership()
      const now = Math.floor(clock.now())
      const { invite, key } = createInvite(request, now, random)
      await this.#storeInvites(new Map(this.#invites()).set(invite.key, invite))
      const ticket = encodeTicket({
        agent: identity.agent,
        agentName: engine.members.genesis?.name ?? '',
        issuer: identity.key.publicKey,
        addresses: addresses(),
        seed: key.seed,
        expiresAt: invite.expiresAt,
      })
      return { ticket, invite, addresses: addresses() }
    })
  }

  /** Whether somebody may join: an invite is open, or was used up so lately that its answer may have to be repeated. Nobody while the store is opened anew. */
  isJoinOpen(): boolean {
    if (!this.#options.engine.isReadable) return false
    const now = this.#options.clock.now()
    for (const invite of this.#invites().values()) if (now < invite.expiresAt) return true
    return false
  }

  /** Invites of this instance that can still be used. */
  openInvites(): readonly Invite[] {
    const now = this.#options.clock.now()
    return [...this.#invites().values()].filter((invite) => isOpenInvite(invite, now))
  }

  /** Closes an invite of this instance: its ticket admits nobody any more. Throws `not-found`. */
  revokeInvite(key: PublicKey): Promise<void> {
    return this.#asked(async () => {
      const invites = new Map(this.#invites())
      if (!invites.delete(key)) throw new SelfsameError('not-found', "this instance has no such invite: see 'selfsame invites'")
      await this.#storeInvites(invites)
    })
  }

  /** Judges a request to join, and answers it. */
  judgeJoin(from: PublicKey, request: Uint8Array): Promise<Uint8Array> {
    return this.#asked(async () => {
      const { clock, engine, identity, joinRefused, logger } = this.#options
      const now = Math.floor(clock.now())
      this.#demandPresentKey()
      const verdict = judgeJoinRequest(request, { table: this.#table, invites: this.#invites(), issuer: identity, from, now })
      if (verdict.type === 'refused') {
        logger.warn({ from, refusal: verdict.refusal }, 'a join was refused')
        joinRefused(from, verdict.refusal)
        return encodeJoinResponse(verdict.refusal)
      }
      if (verdict.type === 'admitted') {
        const invites = new Map(this.#invites()).set(verdict.invite.key, verdict.invite)
        await engine.put({ records: [verdict.admission], meta: new Map([[invitesName, encodeInvites(invites.values(), now)]]) })
        logger.info({ instance: verdict.admission.instance, name: verdict.admission.name }, 'an instance was admitted')
      }
      return encodeJoinResponse(this.#table.records(), this.#options.addressesOfOthers())
    })
  }

  /**
   * Gives an instance a role, whatever it had; null removes it. Signed by this instance where it is an admin, or leaves by
   * itself, else with the root key. Throws `not-found`, `invalid-request`, `forbidden`; `unavailable` during a rebuild.
   */
  giveRole(instance: InstanceId, role: Role | null, reason: string): Promise<void> {
    return this.#asked(async () => {
      const target = this.#known(instance)
      if (!isReason(reason)) {
        throw new SelfsameError('invalid-request', `the reason is one line of at most ${reasonLengthMax} characters`)
      }
      if (('role' in target ? target.role : null) === role && !this.#isSuspended(target)) {
        throw new SelfsameError('invalid-request', `${target.label} ${role === null ? 'is removed' : `is ${role}`} already`)
      }
      const signer = this.#signerFor(instance, role === null)
      if (role !== 'admin' && signer.author !== null) this.#demandAnotherAdmin(target)
      const number = this.#table.nextNumber(signer.author)
      const cut = role === 'writer' || role === 'admin' ? [] : this.#cutOf((state) => this.#table.lineOf(state.instance).includes(instance))
      await this.#put(signRole({ ...this.#statement(signer.author, instance), instance, role, number, cut, reason }, signer.key))
    })
  }

  /** Calls an instance something else. Throws `not-found`, `invalid-request`, `forbidden`. */
  rename(instance: InstanceId, name: string): Promise<void> {
    return this.#asked(async () => {
      this.#known(instance)
      if (!isMemberName(name)) {
        throw new SelfsameError('invalid-request', 'the name is not valid: 1 to 64 visible characters, no # and no space at either end')
      }
      const signer = this.#signerFor(instance, true)
      await this.#put(signRename({ ...this.#statement(signer.author, instance), instance, name }, signer.key))
    })
  }

  /** Replaces the key of this instance by `key`; what it wrote stays its own. From here on nothing can be done with the old one. Throws `unavailable` during a rebuild. */
  rotateKey(key: SigningKey): Promise<void> {
    return this.#asked(async () => {
      const { identity } = this.#options
      this.#demandMembership()
      const claim = signClaim(identity.agent, key, null, identity.instance)
      const cut = this.#cutOf((state) => state.instance === identity.instance && state.key === identity.key.publicKey)
      await this.#put(signRotation({ ...this.#statement(identity.instance), author: identity.instance, claim, cut }, identity.key))
    })
  }

  /** Makes of this home, a copy, the instance `cloneIdOf(this one, key)`, under the role that it has. Its invites stay with the original. */
  clone(key: SigningKey, name: string): Promise<void> {
    return this.#asked(async () => {
      const { identity } = this.#options
      const { role } = this.#demandMembership()
      const claim = signClaim(identity.agent, key, null, cloneIdOf(identity.instance, key.publicKey))
      const number = this.#table.nextNumber(identity.instance)
      const content = { ...this.#statement(identity.instance), author: identity.instance, claim, name, role, number }
      // The run under way is the original's, too.
      await this.#put(
        signClone(content, identity.key),
        new Map([
          [invitesName, null],
          [lastRunName, null],
        ]),
      )
    })
  }

  get #table(): MemberTable {
    return this.#options.engine.members
  }

  #known(instance: InstanceId): Member | FormerMember {
    const known = this.#table.member(instance) ?? this.#table.formerMember(instance)
    if (known === undefined) throw new SelfsameError('not-found', "there is no such instance: see 'selfsame members'")
    return known
  }

  #isSuspended(target: Member | FormerMember): boolean {
    return 'state' in target && target.state === 'suspended'
  }

  #demandMembership(): Member {
    const member = this.#table.member(this.#options.identity.instance)
    if (member === undefined) throw new SelfsameError('forbidden', 'this instance is no member of the agent any more')
    this.#demandPresentKey()
    return member
  }

  /** Between the record of its new key and the moment in which it goes on with that, nothing that this instance signs would count. */
  #demandPresentKey(): void {
    const { identity } = this.#options
    if (this.#table.member(identity.instance)?.keys.includes(identity.key.publicKey) === false) {
      throw new SelfsameError('unavailable', 'this instance has just replaced its key: try again in a moment')
    }
  }

  /**
   * Who signs an act on an instance: an admin, or, of oneself where that is enough, anyone; else the root key. Against a more senior
   * instance, too: the root key has the last word, where an admin's could be answered by a removal at the same time.
   */
  #signerFor(instance: InstanceId, selfIsEnough: boolean): { readonly author: InstanceId | null; readonly key: SigningKey } {
    const { identity, rootKey } = this.#options
    const { genesis, members } = this.#table
    const own = members.findIndex((member) => member.instance === identity.instance)
    const target = members.findIndex((member) => member.instance === instance)
    const mayAlone = own >= 0 && (members[own]?.role === 'admin' || (selfIsEnough && own === target))
    const root = mayAlone && (target < 0 || target >= own) ? null : rootKey()
    if (root !== null && root.publicKey === genesis?.key) return { author: null, key: root }
    if (mayAlone) {
      this.#demandPresentKey()
      return { author: identity.instance, key: identity.key }
    }
    throw new SelfsameError(
      'forbidden',
      "only an admin can do this: do it on an admin's machine, or bring the root key here with 'selfsame key import'",
    )
  }

  /** Without the root key nobody could ever change the membership again once the last admin is gone. */
  #demandAnotherAdmin(target: Member | FormerMember): void {
    const admins = this.#table.members.filter(({ role }) => role === 'admin')
    if (admins.length === 1 && admins[0]?.instance === target.instance) {
      throw new SelfsameError('forbidden', `${target.label} is the only admin: make another one first`)
    }
  }

  #statement<Author extends InstanceId | null>(author: Author, target: InstanceId | null = null) {
    const { clock, identity } = this.#options
    return { agent: identity.agent, author, parents: this.#table.citedBy(author, target), time: Math.floor(clock.now()) }
  }

  async #put(record: MembershipRecord, meta: ReadonlyMap<string, null> = new Map()): Promise<void> {
    const { engine, logger } = this.#options
    await engine.put({ records: [record], meta })
    assert(this.#table.standingOf(record.hash) === 'valid', 'a record of ours is not lawful')
    logger.info({ kind: record.kind, record: record.hash }, 'the membership was changed')
  }

  /**
   * How far the feeds that `isMeant` picks are applied here: the last of each chain of runs, which holds those before it; of
   * more than a record can name, those applied last.
   */
  #cutOf(isMeant: (state: FeedState) => boolean): readonly CutPlace[] {
    const { ledger } = this.#options.engine
    const feeds = [...ledger.feeds()].filter((state) => state.applied > 0 && isMeant(state))
    const heads = feeds.map((state) => {
      const hash = ledger.appliedHead(state)
      assert(hash !== null, 'a feed that is applied has a head')
      return { feed: state.feed, sequence: state.applied, hash, position: ledger.find(hash)?.position ?? 0 }
    })
    const continued = new Set(feeds.map(({ parent }) => parent))
    const leaves = heads.filter(({ hash }) => !continued.has(hash)).toSorted((a, b) => b.position - a.position)
    return leaves
      .slice(0, cutPlacesMax)
      .toSorted((a, b) => (a.feed < b.feed ? -1 : 1))
      .map(({ feed, sequence, hash }) => ({ feed, sequence, hash }))
  }

  /** A ticket that admits several is known to whoever joined with it: it is of no use to them once they are removed. */
  #closeInvitesOfFormer(): void {
    const known = this.#invites()
    const closed = this.#table.former.flatMap(({ invite }) => (invite !== null && known.has(invite) ? [invite] : []))
    if (closed.length === 0) return
    this.#inTurn(async () => {
      const invites = new Map(this.#invites())
      for (const key of closed) invites.delete(key)
      await this.#storeInvites(invites)
    }).catch((error: unknown) => this.#options.logger.warn({ error: String(error) }, 'an invite of a former member was not closed'))
  }

  #storeInvites(invites: ReadonlyMap<PublicKey, Invite>): Promise<void> {
    const now = Math.floor(this.#options.clock.now())
    return this.#options.engine.put({ meta: new Map([[invitesName, encodeInvites(invites.values(), now)]]) })
  }

  #invites(): ReadonlyMap<PublicKey, Invite> {
    const bytes = this.#options.engine.store.meta(invitesName)
    if (bytes === undefined) return new Map()
    const invites = decodeInvites(bytes)
    if (!invites.ok) throw new SelfsameError('storage-corrupt', `the stored invites are damaged: ${invites.reason}`)
    return invites.value
  }

  /** Nobody who asks waits for long: see `Replica.whole`. */
  async #asked<T>(act: () => Promise<T>): Promise<T> {
    await this.#options.whole()
    return this.#inTurn(act)
  }

  /**
   * An act rests on the records and invites that are known here, and a removal on all that is applied: none of that may be lost with a commit that
   * fails, or be there in part. So each begins when all is durable and whole, and puts what it puts before it waits for anything.
   */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(() => this.#options.engine.readDurably(() => true, act))
    this.#turn = done.catch(() => {})
    return done
  }
}
