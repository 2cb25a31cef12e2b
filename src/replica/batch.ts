/** The batch: what one commit of the engine brings, and who waits for it. */
import type { DocumentId } from '../core/index.ts'
import type { Envelope } from '../feed/index.ts'
import type { MembershipRecord } from '../membership/index.ts'
import type { EvidenceRow } from '../storage/index.ts'
import type { PendingWrite } from './draft.ts'
import type { Mending } from './mending.ts'

export interface Batch {
  /** All that is derived is thrown away, to be built anew. */
  readonly cleared: boolean
  /** All that was thrown away is there again. */
  readonly rebuilt: boolean
  readonly documents: ReadonlyMap<DocumentId, number>
  readonly own: readonly Envelope[]
  readonly settle: readonly (() => void)[]
  readonly writes: readonly PendingWrite[]
  readonly records: readonly MembershipRecord[]
  /** Damaged envelopes are whole again: whatever waited for that goes on. */
  readonly mended: boolean
  readonly puts: readonly PendingPut[]
  readonly evidence: boolean
}

/** Rows that somebody asked to store, and who waits for that. */
export interface PendingPut {
  readonly records: readonly MembershipRecord[]
  readonly meta: ReadonlyMap<string, Uint8Array | null>
  readonly evidence: readonly EvidenceRow[]
  readonly evidenceRemoved: readonly string[]
  readonly mending: Mending
  resolve(): void
  reject(error: unknown): void
}

/** One that brings nothing of its own. */
export const emptyBatch: Batch = {
  cleared: false,
  rebuilt: false,
  documents: new Map(),
  own: [],
  settle: [],
  writes: [],
  records: [],
  mended: false,
  puts: [],
  evidence: false,
}
