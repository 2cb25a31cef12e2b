/** The envelopes applied last, in memory: whoever follows what changes asks for them right after the commit that brought them, and again. */
import { storedSize } from './store.ts'
import type { StoredEnvelope, WriteBatch } from './store.ts'

const envelopesMax = 128
const bytesMax = 1 << 20

export class RecentEnvelopes {
  /** By position, without gaps, up to the last position of the store. */
  #stored: StoredEnvelope[] = []
  #bytes = 0

  /** A batch is in the store. */
  committed({ derivedCleared = false, envelopes = [], envelopesReplaced = [], positions = [], signatures = [] }: WriteBatch): void {
    if (derivedCleared || envelopesReplaced.length > 0 || signatures.length > 0) this.#forget()
    if (positions.length === 0) return
    const rows = new Map(envelopes.map((row) => [`${row.feed}:${row.sequence}`, row]))
    for (const { changed, feed, position, sequence } of positions) {
      const row = rows.get(`${feed}:${sequence}`)
      const last = this.#stored.at(-1)?.position ?? position - 1
      if (row === undefined || position !== last + 1) this.#forget()
      if (row === undefined) continue
      this.#stored.push({ ...row, position, changed })
      this.#bytes += storedSize(row)
    }
    while (this.#stored.length > envelopesMax || this.#bytes > bytesMax) this.#bytes -= storedSize(this.#stored.shift() as StoredEnvelope)
  }

  /** As `Store.appliedAfter`; undefined where that is not known here. */
  after(position: number, limit: number): readonly StoredEnvelope[] | undefined {
    const first = this.#stored[0]?.position ?? null
    if (first === null || position + 1 < first) return undefined
    return this.#stored.slice(position + 1 - first, position + 1 - first + limit)
  }

  #forget(): void {
    this.#stored = []
    this.#bytes = 0
  }
}
