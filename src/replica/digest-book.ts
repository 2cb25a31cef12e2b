/**
 * The digest book: what this instance shows, as digests of documents at their version keys, with sums over all of them. A sum changes with one
 * document in no time, and tells two books apart. It tells mishaps, not lies: whoever attests can attest what it likes.
 */
import { encode, hashOf, idToBytes } from '../core/index.ts'
import type { DocumentId } from '../core/index.ts'
import { bucketsMax, sumBytes } from './attestation.ts'
import type { AttestedDocument } from './attestation.ts'
import type { DocumentDigest } from './digests.ts'

export class DigestBook {
  readonly #digests = new Map<DocumentId, DocumentDigest>()
  /** Of each bucket the exclusive or of what its documents hash to. */
  readonly #sums = new Uint8Array(bucketsMax * sumBytes)

  get size(): number {
    return this.#digests.size
  }

  get(document: DocumentId): DocumentDigest | undefined {
    return this.#digests.get(document)
  }

  documents(): IterableIterator<DocumentId> {
    return this.#digests.keys()
  }

  /** Returns whether that is another digest, or of another version, than before. */
  set(document: DocumentId, next: DocumentDigest): boolean {
    const before = this.#digests.get(document)
    if (before?.versionKey === next.versionKey && before.digest === next.digest) return false
    this.delete(document)
    this.#digests.set(document, next)
    this.#sum(document, next)
    return true
  }

  delete(document: DocumentId): void {
    const before = this.#digests.get(document)
    if (before === undefined) return
    this.#sum(document, before)
    this.#digests.delete(document)
  }

  clear(): void {
    this.#digests.clear()
    this.#sums.fill(0)
  }

  /** The sums of all buckets, one after the other. */
  sums(): Uint8Array {
    return this.#sums.slice()
  }

  /** Over all documents: equal roots, equal digests at equal version keys. */
  root(): Uint8Array {
    return hashOf('selfsame/attested-root/1', encode([this.size, this.#sums]))
  }

  /** The buckets whose sums are others than `sums`. */
  bucketsUnlike(sums: Uint8Array): Uint8Array {
    const unlike: number[] = []
    for (let bucket = 0; bucket < bucketsMax; bucket += 1) {
      const at = bucket * sumBytes
      if (Buffer.compare(this.#sums.subarray(at, at + sumBytes), sums.subarray(at, at + sumBytes)) !== 0) unlike.push(bucket)
    }
    return Uint8Array.from(unlike)
  }

  /** The documents of some buckets. */
  inBuckets(buckets: Uint8Array): AttestedDocument[] {
    const wanted = new Set(buckets)
    const found: AttestedDocument[] = []
    for (const [document, digest] of wanted.size === 0 ? [] : this.#digests)
      if (wanted.has(bucketOf(document))) found.push({ document, ...digest })
    return found
  }

  #sum(document: DocumentId, { digest, versionKey }: DocumentDigest): void {
    const hash = hashOf('selfsame/attested/1', encode([idToBytes(document), idToBytes(versionKey), digest]))
    const at = bucketOf(document) * sumBytes
    for (let index = 0; index < sumBytes; index += 1) this.#sums[at + index] = (this.#sums[at + index] as number) ^ (hash[index] as number)
  }
}

function bucketOf(document: DocumentId): number {
  return Number.parseInt(document.slice(0, 2), 16)
}
