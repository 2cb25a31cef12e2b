/**
 * Who has to agree once everything is healed: the largest circle of nodes that take each other for members. And whether they do
 * agree, with all the others having heard how they stand.
 */
import type { PublicKey } from '../../src/core/index.ts'
import { memberTableFrom } from '../../src/membership/index.ts'
import type { MemberTable } from '../../src/membership/index.ts'
import type { Replica } from '../../src/replica/index.ts'
import type { SimNode } from './node.ts'

/** A node and the process that runs on it. */
export interface Running {
  readonly node: SimNode
  readonly replica: Replica
}

export interface Agreement {
  /** By all records that those who remain have. */
  readonly table: MemberTable
  readonly remaining: readonly Running[]
  /** Those that lost their place, and those that nobody knows, since whoever did went back to an older copy of its home. */
  readonly outside: readonly Running[]
}

/** Who has to agree now; null while some node is not up, opens its store anew, cannot write, or is about to have another key. */
export function groupOf(nodes: readonly SimNode[]): Omit<Agreement, 'table'> | null {
  const running = nodes.flatMap((node) => (node.replica === null ? [] : [{ node, replica: node.replica }]))
  if (
    running.length < nodes.length ||
    nodes.some((node) => node.isChangingKey) ||
    !running.every(({ replica }) => replica.progress.isReadable && !replica.isReadOnly)
  )
    return null
  const circles = circlesOf(running.filter((one) => isMemberTo(one, one)))
  const remaining = circles.reduce((most, circle) => (circle.length > most.length ? circle : most), [])
  return { remaining, outside: running.filter((one) => !remaining.includes(one)) }
}

/** What a group agrees on; null where it does not. */
export function agreementOf(nodes: readonly SimNode[]): Agreement | null {
  const group = groupOf(nodes)
  if (group === null) return null
  const { outside, remaining } = group
  const [first] = remaining
  if (first === undefined || !remaining.every(({ replica }) => replica.waitingFeeds === 0 && viewOf(replica) === viewOf(first.replica)))
    return null
  if (!remaining.every(({ replica }) => seesAllInStep(replica))) return null
  for (const one of outside) for (const other of remaining) if (!haveHeard(one, other) || !haveHeard(other, one)) return null
  return { ...group, table: memberTableFrom(first.replica.identity.agent, first.replica.store.records()) }
}

/** Whether somebody takes itself for a member whom those that remain do not know: by a key of which they may be told still. */
export function hasStrangers({ outside }: Agreement): boolean {
  return outside.some((one) => isMemberTo(one, one))
}

function circlesOf(members: readonly Running[]): readonly (readonly Running[])[] {
  const circles: Running[][] = []
  const left = new Set(members)
  for (const start of left) {
    left.delete(start)
    const circle = [start]
    for (const one of circle) {
      for (const other of left) {
        // Copies of one home speak to each other over another instance only.
        if (keyOf(one) === keyOf(other) || !isMemberTo(one, other) || !isMemberTo(other, one)) continue
        left.delete(other)
        circle.push(other)
      }
    }
    circles.push(circle)
  }
  return circles
}

/** Whether `one` takes the key of `other` for a member's. */
function isMemberTo(one: Running, other: Running): boolean {
  return one.replica.members.memberByKey(keyOf(other)) !== undefined
}

/** Whether all that it speaks to are shown as having what it has itself, no less and no more. */
function seesAllInStep(replica: Replica): boolean {
  return replica.peers().every(({ ahead, behind, state }) => state !== 'connected' || (ahead === 0 && behind === 0))
}

/**
 * Whether `one` knows what `other` has to tell of how it stands. Where nobody knows the key, or neither takes the other for a
 * member, they do not meet, and nothing has to be heard.
 */
function haveHeard(one: Running, other: Running): boolean {
  const doMeet = isMemberTo(one, other) || isMemberTo(other, one)
  const [ofOne, ofOther] = [one.replica.members, other.replica.members]
  if (keyOf(one) === keyOf(other) || !doMeet || !ofOne.isKnownKey(keyOf(other)) || !ofOther.isKnownKey(keyOf(one))) return true
  return ofOther.explaining(keyOf(one)).every(({ hash }) => ofOne.standingOf(hash) !== undefined)
}

function keyOf({ replica }: Running): PublicKey {
  return replica.identity.key.publicKey
}

function viewOf(replica: Replica): string {
  return `${Buffer.from(replica.members.digest()).toString('hex')} ${appliedText(replica)}`
}

export function appliedText({ store }: Replica): string {
  return store
    .feeds()
    .filter(({ applied }) => applied > 0)
    .map(({ applied, feed }) => `${feed}:${applied}`)
    .join(' ')
}
