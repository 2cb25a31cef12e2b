/**
 * Who has to agree once everything is healed: the nodes that can still speak to each other, the member table of all that they
 * know, and those of them that are members by it. And whether they do agree.
 */
import type { PublicKey } from '../../src/core/index.ts'
import { memberTableFrom } from '../../src/membership/index.ts'
import type { MemberTable } from '../../src/membership/index.ts'
import type { Replica } from '../../src/replica/index.ts'
import type { SimNode } from './node.ts'

/** A node that has to agree with the others. */
export interface Remaining {
  readonly node: SimNode
  readonly replica: Replica
}

export interface Agreement {
  readonly table: MemberTable
  readonly remaining: readonly Remaining[]
  /**
   * Nodes that no way leads to: nobody knows them any more, since whoever did lost it with an older copy of a home; or the last that
   * took each other for members removed each other.
   */
  readonly stranded: readonly SimNode[]
}

/** Keeps the table of the last set of records: most of the time nothing changed. */
export class Assembly {
  #name = ''
  #table: MemberTable | null = null

  /** Null while some node is not up, or opens its store anew. */
  of(nodes: readonly SimNode[]): Agreement | null {
    const up = nodes.flatMap(({ replica }, index) =>
      replica?.progress.isReadable === true ? [{ node: nodes[index] as SimNode, replica }] : [],
    )
    const [first] = up
    if (up.length < nodes.length || first === undefined) return null
    const together = largest(circlesOf(up))
    const rows = new Map(together.flatMap(({ replica }) => replica.store.records().map((row) => [row.hash as string, row])))
    const name = [...rows.keys()].toSorted().join()
    if (this.#table === null || name !== this.#name) this.#table = memberTableFrom(first.replica.identity.agent, rows.values())
    this.#name = name
    const table = this.#table
    const isMember = ({ replica: { identity } }: Remaining): boolean =>
      table.member(identity.instance)?.keys.includes(identity.key.publicKey) === true
    const members = together.filter(isMember)
    // Copies of one home speak to each other over another instance only.
    const remaining = new Set(members.map(keyOf)).size > 1 ? members : members.slice(0, 1)
    return {
      table,
      remaining,
      stranded: up
        .filter((each) => !together.includes(each) || (members.includes(each) && !remaining.includes(each)))
        .map(({ node }) => node),
    }
  }
}

/** Nodes that can come to speak to each other, over others if need be. */
function circlesOf(up: readonly Remaining[]): readonly (readonly Remaining[])[] {
  const circles: Remaining[][] = []
  const left = new Set(up)
  for (const start of left) {
    left.delete(start)
    const circle = [start]
    for (const one of circle) {
      for (const other of left) {
        if (!canMeet(one, other)) continue
        left.delete(other)
        circle.push(other)
      }
    }
    circles.push(circle)
  }
  return circles
}

/** Each has to know the other's key, and one has to take the other for a member: nobody dials others. */
function canMeet(a: Remaining, b: Remaining): boolean {
  const [keyOfA, keyOfB] = [keyOf(a), keyOf(b)]
  const [knownToA, knownToB] = [a.replica.members, b.replica.members]
  if (keyOfA === keyOfB || !knownToA.isKnownKey(keyOfB) || !knownToB.isKnownKey(keyOfA)) return false
  return knownToA.memberByKey(keyOfB) !== undefined || knownToB.memberByKey(keyOfA) !== undefined
}

function keyOf({ replica }: Remaining): PublicKey {
  return replica.identity.key.publicKey
}

function largest(circles: readonly (readonly Remaining[])[]): readonly Remaining[] {
  return circles.reduce((most, circle) => (circle.length > most.length ? circle : most))
}

/** Whether all that has to be equal is, and nothing waits. */
export function doAgree({ remaining }: Agreement): boolean {
  const views = remaining.map(viewOf)
  return views.every((view) => view === views[0]) && remaining.every(({ replica }) => replica.waitingFeeds === 0 && !replica.isReadOnly)
}

function viewOf({ replica }: Remaining): string {
  return `${Buffer.from(replica.members.digest()).toString('hex')} ${appliedText(replica)}`
}

export function appliedText({ store }: Replica): string {
  return store
    .feeds()
    .filter(({ applied }) => applied > 0)
    .map(({ applied, feed }) => `${feed}:${applied}`)
    .join(' ')
}
