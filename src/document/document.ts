/**
 * What the rest of the project knows of documents: names, edits, values, and one live document in memory. Only this
 * room imports yjs. A live document knows nothing of feeds, envelopes or disks: it is given client ids, stamps and bounds.
 */
import type { Result, Stamp } from '../core/index.ts'

export const documentKinds = ['log', 'counter', 'set', 'register', 'text', 'json'] as const
export type DocumentKind = (typeof documentKinds)[number]
/** Kinds that live in memory as one Yjs document. A log does not: it is kept in segments (`log-segment.ts`). */
export type LiveKind = Exclude<DocumentKind, 'log'>

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** One change to a live document, as a client asks for it. */
export type Edit =
  | { readonly type: 'counter.add'; readonly key: string; readonly amount: bigint }
  | { readonly type: 'set.add'; readonly member: string }
  | { readonly type: 'set.remove'; readonly member: string }
  | { readonly type: 'register.set'; readonly key: string; readonly value: Json }
  | { readonly type: 'register.delete'; readonly key: string }
  /** `base`: version (`textVersionOf`) that the new text was based on; null: based on what is here now. */
  | { readonly type: 'text.put'; readonly text: string; readonly base: string | null }
  /** RFC 7396. */
  | { readonly type: 'json.merge'; readonly patch: Json }
  /** RFC 6902. */
  | { readonly type: 'json.patch'; readonly patch: readonly JsonPatchOperation[] }

export type JsonPatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'move' | 'copy'; readonly path: string; readonly from: string }

export interface EditContext {
  /** Yjs client id of the feed that writes. */
  readonly client: number
  /** Stamp of the envelope under way: register cells carry it. */
  readonly stamp: Stamp
  /** The content of an earlier version of this text, if it is still known. */
  textVersion(version: string): string | undefined
}

/** One value written to a register key. */
export interface RegisterCell {
  readonly value: Json
  readonly stamp: Stamp
  /** Client id of the feed that wrote it. */
  readonly client: number
}

/** What a reader sees. Maps are in key order (code units). */
export type DocumentValue =
  | { readonly kind: 'counter'; readonly totals: ReadonlyMap<string, bigint> }
  | { readonly kind: 'set'; readonly members: readonly string[] }
  /** Per key the winner first, then its siblings: greatest stamp first, ties by the greater client id. */
  | { readonly kind: 'register'; readonly cells: ReadonlyMap<string, readonly RegisterCell[]> }
  | { readonly kind: 'text'; readonly text: string; readonly version: string }
  | { readonly kind: 'json'; readonly value: Json }

/** A part of what a document says, and the struct that brought it: `clock` of the Yjs client of a feed. */
export interface Part {
  /** Of a text: a stretch of it. Each of its UTF-16 units has a clock of its own, from `clock` on. */
  readonly text?: string
  /** Of cells: the key, or the member. Of json: a JSON Pointer (RFC 6901). */
  readonly key?: string
  /** Of a counter: what that feed alone has added up. Of a register or json: the value. */
  readonly value?: Json | bigint
  readonly client: number
  readonly clock: number
}

export interface LiveDocument {
  readonly kind: LiveKind
  /**
   * `body` applies edits one after the other; they take effect together, in one Yjs transaction, once it returns. Returns
   * the one update that they made, or null where nothing changed. An edit that cannot be done throws a `SelfsameError`
   * and is as if it had never been asked: caught inside `body`, the others go on; let out of it, none of them happens.
   * Throws `too-large` where the edits together make more than one update can carry; then the document must be thrown
   * away and loaded again, and using it further is a broken assertion.
   */
  edit(context: EditContext, body: (apply: (edit: Edit) => void) => void): Uint8Array | null
  /**
   * Whether an update from outside may be materialised: a function of the update, its feed and the declared past of its
   * envelope, all of which must be here; what else is here makes no difference. Every update that `edit` makes is valid.
   */
  check(update: Uint8Array, context: UpdateContext): Result<CheckedUpdate>
  /** Materialises an update that `check` accepted. Returns the keys it changed (cells), else nothing. */
  apply(update: Uint8Array): readonly string[]
  /** With `key`: only what stands under it, for the kinds that have keys (of a set, the member itself). */
  value(key?: string): DocumentValue
  /** All that the document says, part by part: texts and lists in their order, else sorted by key. What was deleted has no part. */
  parts(): readonly Part[]
  /** The whole state as one Yjs update, V1: for snapshots. */
  state(): Uint8Array
  /** Hash of the normal form and the readable value, hexadecimal, after the digest algorithm's id and a colon. */
  digest(): string
  /** The next clock of a client. */
  clock(client: number): number
  /** Whether Yjs holds structs or deletes whose dependencies are missing: never after an accepted update. */
  hasPending(): boolean
  /** Rough size in memory, bytes, for a cache to bound. */
  readonly sizeEstimate: number
}

/** What an update is judged by: the feed that carries it and that envelope's declared past. */
export interface UpdateContext {
  /** Client id of the feed. Every struct must be its, and go on where its structs in the document end. */
  readonly client: number
  /** Stamp of the envelope. */
  readonly stamp: Stamp
  /** How far the structs of another client reach in the declared past: every reference and deleted range must lie below it. 0 for unknown clients. */
  pastClock(client: number): number
}

export interface CheckedUpdate {
  /** The next clock of the feed after this update. */
  readonly clock: number
  /** Keys of the cells that it adds (not those it deletes). */
  readonly keys: readonly string[]
}

/** What a log entry holds; its id, author and default time come from the envelope. */
export interface EntryContent {
  readonly text?: string
  readonly data?: Json
  readonly kind?: string
  readonly tags?: readonly string[]
  /** Milliseconds since the Unix epoch, where the writer gave one. */
  readonly time?: number
}

/** The one writer of a log segment. */
export interface SegmentWriter {
  /** Entries in the segment so far. */
  readonly entries: number
  /** Appends at least one entry, and returns the update. Throws `invalid-request` or `too-large` before it appends anything. */
  append(entries: readonly EntryContent[]): Uint8Array
}
