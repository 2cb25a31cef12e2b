/** What the engine loads from a store: its parts, each true of what is durable. Void when a commit fails, and then loaded again. */
import type { DocumentId, FeedId, HybridClock, InstanceId, Random } from '../core/index.ts'
import { memberTableFrom } from '../membership/index.ts'
import type { MemberSet } from '../membership/index.ts'
import type { Store } from '../storage/index.ts'
import { Acceptance } from './acceptance.ts'
import { Applier } from './applier.ts'
import type { Intake } from './intake.ts'
import { Ledger } from './ledger.ts'
import { Materialiser } from './materialiser.ts'
import { Writer } from './writer.ts'
import type { Identity } from './writer.ts'

export interface Loaded {
  readonly store: Store
  readonly ledger: Ledger
  readonly members: MemberSet
  readonly acceptance: Acceptance
  readonly applier: Applier
  readonly materialiser: Materialiser
  readonly writer: Writer
}

/** What outlives a load. */
export interface Lasting {
  readonly identity: Identity
  readonly random: Random
  readonly hybridClock: HybridClock
  readonly intake: Intake
  /** As the materialiser and the applier have them. */
  readonly cacheBytes: number
  readonly conflicts: Map<DocumentId, number>
  readonly held: Set<FeedId>
}

/** Damaged records are left out, as if they had not been heard of: they come again, or are known by whoever sends what rests on them. */
export function loadFrom(store: Store, { cacheBytes, conflicts, held, hybridClock, identity, intake, random }: Lasting): Loaded {
  const ledger = new Ledger(store)
  const members = memberTableFrom(identity.agent, store.records())
  const acceptance = new Acceptance(ledger, members)
  const lineageOf = (instance: InstanceId): InstanceId => members.lineageOf(instance)
  const materialiser = new Materialiser({ store, ledger, cacheBytes, lineageOf, conflicts })
  const applier = new Applier({
    ledger,
    acceptance,
    materialiser,
    members,
    refuse: (feed, reason) => intake.refuse(feed, reason),
    applied: (feed) => intake.applied(lineageOf(ledger.feed(feed)?.instance as InstanceId)),
    held,
  })
  for (const { headStamp } of ledger.feeds()) hybridClock.merge(headStamp)
  const writer = new Writer({
    identity,
    store,
    ledger,
    materialiser,
    hybridClock,
    random,
    recordHeads: () => members.rightOf(identity.instance, identity.key.publicKey),
    lineageOf,
  })
  return { store, ledger, members, acceptance, applier, materialiser, writer }
}
