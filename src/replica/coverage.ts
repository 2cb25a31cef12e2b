/**
 * Coverage: what other members lack of what is here, and what is lacking here of what they told. By what each told last, and by a standing that
 * was taken earlier, so that what is only on its way does not count. Reads the store in short steps, so that nothing is held up.
 */
import { stampToMilliseconds } from '../core/index.ts'
import type { Clock, DocumentId, FeedId, InstanceId } from '../core/index.ts'
import type { Engine } from './engine.ts'
import { soundOr, storedToEnvelope } from './ledger.ts'
import type { Told } from './told-board.ts'

/** Reads of the store in one step: some milliseconds of work. */
const readsPerStep = 200

/** How far feeds were applied at one moment. */
export interface Standing {
  /** Here. */
  readonly here: ReadonlyMap<FeedId, number>
  /** At whichever other member had most, by what they had told. */
  readonly elsewhere: ReadonlyMap<FeedId, number>
}

/** What one member lacks. */
export interface Shortfall {
  readonly instance: InstanceId
  /** Documents that envelopes touched which it lacks, in the order of `Reader.documents`. */
  readonly documents: readonly DocumentId[]
  /**
   * When the oldest envelope that it lacks was written or, if that is later, when the member was admitted: milliseconds since the Unix
   * epoch, by the clock of whoever wrote it; null where it lacks none.
   */
  readonly oldestAt: number | null
}

/** What is lacking of a standing now. */
export interface Coverage {
  /** Of each other member that ever told how far it is: nothing is known of the others. */
  readonly members: readonly Shortfall[]
  /** Other members of which nothing is known. */
  readonly unknown: number
  /** Feeds of which others have something that is not applied here. What they touch there is not known. */
  readonly feedsLacking: number
  /** Documents here. */
  readonly documents: number
}

export interface CoverageSource {
  readonly engine: Engine
  readonly clock: Clock
  /** The instance that looks. */
  readonly own: InstanceId
  readonly told: () => ReadonlyMap<InstanceId, Told>
}

/** The standing now. */
export function standingOf({ engine, own, told }: CoverageSource): Standing {
  const here = new Map(Array.from(engine.frontier().values(), ({ applied, feed }) => [feed, applied]))
  const elsewhere = new Map<FeedId, number>()
  for (const { instance } of engine.members.members) {
    if (instance === own) continue
    for (const [feed, { applied }] of told().get(instance)?.theirs ?? []) {
      if (applied > (elsewhere.get(feed) ?? 0)) elsewhere.set(feed, applied)
    }
  }
  return { here, elsewhere }
}

/** What is lacking now of `standing`. Rejects where the store cannot be read. */
export async function coverageOf(source: CoverageSource, standing: Standing): Promise<Coverage> {
  const { clock, engine, own, told } = source
  const others = engine.members.members.filter(({ instance }) => instance !== own)
  const lacking = others.flatMap(({ instance, time: admittedAt }) => {
    const known = told().get(instance)
    return known === undefined ? [] : [{ instance, admittedAt, feeds: feedsLacking(standing.here, known), documents: [] as DocumentId[] }]
  })
  let reads = 0
  const step = async (): Promise<void> => {
    reads += 1
    if (reads % readsPerStep === 0) await new Promise<void>((resolve) => void clock.after(0, resolve))
  }

  const documents = engine.store.documents()
  const short = lacking.filter(({ feeds }) => feeds.size > 0)
  for (const { document } of short.length === 0 ? [] : documents) {
    const heads = engine.store.documentHeads(document)
    for (const member of short) {
      if (heads.some(({ feed, sequence }) => sequence > (member.feeds.get(feed) ?? Infinity))) member.documents.push(document)
    }
    await step()
  }
  const members: Shortfall[] = []
  for (const { admittedAt, documents: touched, feeds, instance } of lacking) {
    let oldestAt = Infinity
    for (const [feed, applied] of feeds) {
      const [stored] = soundOr([], () => engine.store.envelopes(feed, applied + 1, applied + 1, 1))
      if (stored !== undefined) oldestAt = Math.min(oldestAt, stampToMilliseconds(storedToEnvelope(stored).header.stamp))
      await step()
    }
    members.push({ instance, documents: touched, oldestAt: oldestAt === Infinity ? null : Math.max(oldestAt, admittedAt) })
  }

  const here = engine.frontier()
  const missed = [...standing.elsewhere].filter(([feed, applied]) => applied > (here.get(feed)?.applied ?? 0))
  return { members, unknown: others.length - lacking.length, feedsLacking: missed.length, documents: documents.length }
}

/** The feeds that a member has not applied as far as `here`, and how far it has. */
function feedsLacking(here: ReadonlyMap<FeedId, number>, { theirs }: Told): Map<FeedId, number> {
  const lacking = new Map<FeedId, number>()
  for (const [feed, applied] of here) {
    const there = theirs.get(feed)?.applied ?? 0
    if (there < applied) lacking.set(feed, there)
  }
  return lacking
}
