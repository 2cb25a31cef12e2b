/** Mending: what is written again in the place of what is damaged, as rows of the commit under way. */
import type { DocumentId, RecordHash } from '../core/index.ts'
import type { LiveKind } from '../document/index.ts'
import type { EnvelopeRow, WriteBatch } from '../storage/index.ts'
import { soundOr } from './ledger.ts'
import type { Loaded } from './loaded.ts'

export interface Mending {
  /** Proven to be what was stored. */
  readonly envelopes?: readonly EnvelopeRow[]
  readonly records?: NonNullable<WriteBatch['records']>
  readonly recordsRemoved?: readonly RecordHash[]
  /** Documents whose snapshots are made anew. */
  readonly snapshots?: readonly DocumentId[]
  /** Earlier texts that are dropped; the present one is written anew. */
  readonly texts?: NonNullable<WriteBatch['textVersionsRemoved']>
}

/** Adds the rows to the batch; before anything else of it, while documents equal the store. What rests on another damage is left as it is. */
export function stageMending(mending: Mending, { ledger, materialiser, store }: Pick<Loaded, 'ledger' | 'materialiser' | 'store'>): void {
  const { rows } = ledger
  rows.envelopesReplaced.push(...(mending.envelopes ?? []))
  rows.records.push(...(mending.records ?? []))
  rows.recordsRemoved.push(...(mending.recordsRemoved ?? []))
  for (const document of mending.snapshots ?? []) {
    const kind = store.document(document)?.kind as LiveKind | undefined
    const state = kind === undefined ? null : soundOr(null, () => materialiser.read(document, kind).state())
    if (state !== null) rows.snapshots.push({ document, position: ledger.lastPosition, state })
  }
  for (const { document, version } of mending.texts ?? []) {
    rows.textVersionsRemoved.push({ document, version })
    const present = soundOr(null, () => materialiser.read(document, 'text').value())
    if (present?.kind !== 'text' || present.version !== version) continue
    rows.textVersions.push({ document, version, position: ledger.lastPosition, content: present.text })
  }
}
