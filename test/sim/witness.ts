/** The witness of one node: what must hold of every commit and every message, at the moment they happen. */
import { decode, encode } from '../../src/core/index.ts'
import type { Encodable, FeedId } from '../../src/core/index.ts'
import { decodeHeader } from '../../src/feed/index.ts'
import type { Replica } from '../../src/replica/index.ts'
import { decodeControl, decodeGossip } from '../../src/replica/messages.ts'
import type { Store, WriteBatch } from '../../src/storage/index.ts'
import type { SimDisk } from './disk.ts'
import type { World } from './world.ts'

export class Witness {
  readonly #world: World
  readonly #name: string
  /** How far feeds were applied, in this life of the process. */
  readonly #applied = new Map<FeedId, number>()

  constructor(world: World, name: string) {
    this.#world = world
    this.#name = name
  }

  committed(batch: WriteBatch, store: Store, replica: Replica | null): void {
    if (batch.derivedCleared === true) this.#checkCleared(replica)
    for (const { applied, feed } of batch.feeds ?? []) {
      if (applied < (this.#applied.get(feed) ?? 0)) this.#fault(`applied ${feed} up to ${applied} only, after more`)
      this.#applied.set(feed, applied)
    }
    for (const { feed, hash, sequence } of batch.envelopes ?? []) {
      const place = `${feed}:${sequence}`
      const known = this.#world.places.get(place)
      if (known !== undefined && known !== hash) this.#fault(`stores a second envelope in place ${place}`)
      this.#world.places.set(place, hash)
      this.#world.record(this.#name, hash)
    }
    for (const row of batch.positions ?? []) {
      const [stored] = store.envelopes(row.feed, row.sequence, row.sequence, 1)
      const header = stored === undefined ? undefined : decodeHeader(stored.headerBytes)
      if (header?.ok !== true) {
        this.#fault('applied what it does not hold')
        continue
      }
      const { deps, previous } = header.value
      for (const dep of previous === null ? deps : [...deps, previous]) {
        const position = store.locate(dep)?.position ?? null
        if (position === null || position >= row.position) this.#fault(`applied ${row.feed}:${row.sequence} before what it depends on`)
      }
    }
    for (const row of batch.quarantine ?? []) this.#fault(`quarantined an honest update: ${row.reason}`)
    for (const row of batch.evidence ?? [])
      if (row.kind === 'fork' || row.kind === 'stale-stamp') this.#fault(`saw a ${row.kind}: ${row.detail}`)
  }

  /** A writer never takes back what it applied; a reader may have to. */
  #checkCleared(replica: Replica | null): void {
    this.#applied.clear()
    this.#world.note('rebuilt')
    if (replica === null) return
    const { instance, key } = replica.identity
    const member = replica.members.member(instance)
    if (member !== undefined && member.role !== 'reader' && member.keys.includes(key.publicKey))
      this.#fault('may write, and threw away what it had applied')
  }

  /** Nothing is gossiped before it is on the disk. */
  gossiped(bytes: Uint8Array, disk: SimDisk): void {
    const message = decodeGossip(bytes)
    if (!message.ok || message.value.type !== 'envelopes') return
    for (const { hash, header } of message.value.envelopes)
      if ((disk.readable.locate(hash)?.position ?? null) === null)
        this.#fault(`gossiped ${header.feed}:${header.sequence} before it was durable`)
  }

  /** Nothing is told before it is on the disk. Returns what kind of message it is. */
  told(bytes: Uint8Array, disk: SimDisk): string {
    const message = decodeControl(bytes)
    if (!message.ok) {
      this.#fault(`sent a message that does not decode: ${message.reason}`)
      return 'broken'
    }
    if (message.value.type === 'frontier') {
      const rows = new Map(disk.readable.feeds().map((row) => [row.feed, row]))
      for (const entry of message.value.entries) {
        const row = rows.get(entry.feed)
        if (row === undefined || row.have < entry.have || row.applied < entry.applied)
          this.#fault(`told ${entry.feed}:${entry.have}/${entry.applied} before it was durable`)
      }
    }
    return message.value.type
  }

  #fault(what: string): void {
    this.#world.fault(`${this.#name} ${what}`)
  }
}

/** A message of ours as a newer version would say it: with a field more. */
export function asNewer(bytes: Uint8Array): Uint8Array {
  const message = decode(bytes)
  if (!message.ok || !Array.isArray(message.value)) throw new Error('a message is a list')
  return encode([...(message.value as Encodable[]), 'of a newer version'])
}

/** A message that only a newer version knows. */
export const newerMessage = encode([200, 'of a newer version'])
