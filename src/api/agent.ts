/** What the client gives to a program: one agent, as its daemon on this machine serves it. `client.ts` makes one. */
import type {
  Alert,
  BlamedPart,
  Change,
  ChangePage,
  CreatedToken,
  DocumentDigest,
  DocumentKind,
  DocumentSummary,
  EntryInput,
  EvidenceList,
  FormerMember,
  Health,
  ImportProgress,
  Invitation,
  Invite,
  InviteInput,
  Json,
  JsonPatchOperation,
  KeyInput,
  LiveKind,
  LogEntry,
  LogPage,
  Member,
  MemberList,
  MembershipChange,
  NetworkState,
  NewKey,
  Operation,
  Presence,
  Ready,
  Rebuilt,
  Receipt,
  RegisterCell,
  Role,
  Status,
  TextValue,
  TimeInput,
  Token,
  TokenInput,
  Verification,
} from './schemas.ts'

/** How a write is made. */
export interface WriteOptions {
  /** Instances that shall hold the write, this one included, before the answer; 1 unless told. */
  readonly replicas?: number
  /** How long to wait for them, milliseconds; 5,000 unless told. After it the receipt tells how many hold it: the write stands. */
  readonly timeoutMs?: number
  /** Makes a retry safe: the same id again is applied once. With it the client itself retries after a lost connection. */
  readonly operationId?: string
  readonly signal?: AbortSignal
}

/** Which entries of a log to read. */
export interface ReadOptions {
  /** Inclusive. */
  readonly since?: TimeInput | Date
  /** Exclusive. */
  readonly until?: TimeInput | Date
  readonly tag?: string
  readonly kind?: string
  /** Which entries come first; `oldest` unless told. */
  readonly order?: 'oldest' | 'newest'
  /** With what proves the author of each entry. */
  readonly provenance?: boolean
  readonly signal?: AbortSignal
}

export interface PageOptions extends ReadOptions {
  /** 1 to 1,000; 100 unless told. */
  readonly limit?: number
  /** `next` of the page before. */
  readonly cursor?: string
}

export interface TailOptions {
  /** Begin with so many entries that are already there; none unless told. */
  readonly last?: number
  readonly tag?: string
  readonly kind?: string
  readonly signal?: AbortSignal
}

export interface ImportOptions {
  /** Called after each batch. */
  readonly onProgress?: (progress: ImportProgress) => void
  /** Names the whole import: running it again, the same entries in the same order, adds nothing twice. An entry's own id goes first. */
  readonly operationId?: string
  readonly signal?: AbortSignal
}

export interface WatchOptions {
  /** Resume after this change; `start` for everything that this home knows; from now on unless told. */
  readonly cursor?: string
  readonly signal?: AbortSignal
}

export interface AlertEvent {
  readonly type: 'raised' | 'cleared'
  readonly alert: Alert
}

export interface Log {
  readonly name: string
  append(entry: EntryInput, options?: WriteOptions): Promise<Receipt>
  /** Appends all entries atomically: at most 1,000 and 2 MiB together. */
  appendAll(entries: readonly EntryInput[], options?: WriteOptions): Promise<Receipt>
  /** Appends a stream of entries of any length in batches, each durable when progress tells so. Answers the totals. */
  import(entries: AsyncIterable<EntryInput> | Iterable<EntryInput>, options?: ImportOptions): Promise<ImportProgress>
  /** All entries that match, in order, fetched by the page. */
  read(options?: ReadOptions): AsyncIterableIterator<LogEntry>
  page(options?: PageOptions): Promise<LogPage>
  /** One entry by its id, with what proves its author. Rejects with `not-found`. */
  entry(id: string): Promise<LogEntry>
  /** Entries as they arrive, from any instance, without an end. */
  tail(options?: TailOptions): AsyncIterableIterator<LogEntry>
}

export interface Counter {
  readonly name: string
  add(key: string, amount?: number | bigint, options?: WriteOptions): Promise<Receipt>
  /** 0n where nobody counted. */
  get(key: string): Promise<bigint>
  all(): Promise<Map<string, bigint>>
}

export interface AgentSet {
  readonly name: string
  add(member: string, options?: WriteOptions): Promise<Receipt>
  remove(member: string, options?: WriteOptions): Promise<Receipt>
  has(member: string): Promise<boolean>
  list(): Promise<readonly string[]>
}

export interface Register {
  readonly name: string
  set(key: string, value: Json, options?: WriteOptions): Promise<Receipt>
  delete(key: string, options?: WriteOptions): Promise<Receipt>
  /** The value with its siblings; undefined where there is none. */
  get(key: string): Promise<RegisterCell | undefined>
  all(): Promise<Map<string, RegisterCell>>
}

export interface Text {
  readonly name: string
  get(): Promise<TextValue>
  /** `base`: the version that this text was made from. What was written since is merged; without it the text replaces what is there. */
  put(text: string, options?: WriteOptions & { readonly base?: string }): Promise<Receipt>
}

export interface JsonDocument {
  readonly name: string
  get(): Promise<Json>
  /** RFC 7396. */
  merge(patch: Json, options?: WriteOptions): Promise<Receipt>
  /** RFC 6902. */
  patch(patch: readonly JsonPatchOperation[], options?: WriteOptions): Promise<Receipt>
}

/** Every method rejects with a `SelfsameError`; `daemon-not-running` where nobody answers. */
export interface Agent {
  log(name: string): Log
  counter(name: string): Counter
  set(name: string): AgentSet
  register(name: string): Register
  text(name: string): Text
  json(name: string): JsonDocument
  /** Applies all operations or none: at most 256 operations and 2 MiB together. */
  batch(operations: readonly Operation[], options?: WriteOptions): Promise<Receipt>
  /** Changes of the documents that any pattern (`log/*`, `text/SOUL.md`) means, from any instance, without an end. It reconnects and resumes by itself;
   * it ends with `cursor-expired` where it cannot resume without a gap, and with `daemon-not-running` where the first connection fails. */
  watch(patterns?: readonly string[], options?: WatchOptions): AsyncIterableIterator<Change>
  changes(query?: { readonly patterns?: readonly string[]; readonly cursor?: string; readonly limit?: number }): Promise<ChangePage>
  readonly presence: {
    get(): Promise<readonly Presence[]>
    set(state: Json): Promise<void>
    clear(): Promise<void>
  }
  readonly network: {
    pause(): Promise<NetworkState>
    resume(): Promise<NetworkState>
  }
  documents(filter?: { readonly kind?: DocumentKind; readonly prefix?: string }): Promise<readonly DocumentSummary[]>
  digest(kind: DocumentKind, name: string): Promise<DocumentDigest>
  digests(): Promise<readonly DocumentDigest[]>
  /** Who wrote what of a document as it is now, part by part. */
  blame(kind: LiveKind, name: string): Promise<readonly BlamedPart[]>
  /** What was kept aside or turned away at this instance, and why. */
  evidence(): Promise<EvidenceList>
  readonly members: {
    /** Who belongs to the agent and who did, the most senior first. */
    list(): Promise<MemberList>
    /** By its name as listed, its id, or its first digits, at least 4. Rejects with `not-found` or, where several are meant, `invalid-request`. */
    find(name: string): Promise<Member | FormerMember>
    /** `id`: the whole id, here and below. Whoever has lost its place gets it back. Rejects with `forbidden` where this instance may not. */
    giveRole(id: string, role: Role, reason?: string): Promise<MembershipChange>
    rename(id: string, name: string): Promise<MembershipChange>
    /** What it has copied stays with it. Of this instance itself: it leaves. */
    remove(id: string, reason?: string): Promise<MembershipChange>
  }
  /** A ticket with which another instance can join: a secret, told this once. */
  invite(input?: InviteInput): Promise<Invitation>
  readonly invites: {
    /** Those of this instance that can still be used. */
    list(): Promise<readonly Invite[]>
    /** Ends a ticket; `id` is its invite's, or the first digits of it, at least 8. */
    revoke(id: string): Promise<void>
  }
  readonly tokens: {
    /** Rejects with `invalid-request` where the name is taken. The token is told this once. */
    create(input: TokenInput): Promise<CreatedToken>
    list(): Promise<readonly Token[]>
    /** What it was used for ends at once. */
    revoke(name: string): Promise<void>
  }
  /** Gives this instance a new key, or makes of a copied home an instance of its own. The daemon then begins anew: it is away for a moment. */
  replaceKey(input?: KeyInput): Promise<NewKey>
  status(): Promise<Status>
  health(): Promise<Health>
  /** That the daemon serves and gets on. Rejects with `unavailable` or `read-only`, saying what does not. */
  ready(): Promise<Ready>
  /** Asks all instances what they show, and tells of each whether it is the same; waits 30 s unless told. */
  verify(options?: { readonly timeoutMs?: number }): Promise<Verification>
  /** Has all that is shown built anew from the stored envelopes. Requests wait meanwhile, and every cursor ends. */
  rebuild(): Promise<Rebuilt>
  /** In the text format of Prometheus. */
  metrics(): Promise<string>
  /** Alerts as they are raised and cleared, beginning with those that are raised, until the connection ends. */
  alerts(options?: { readonly signal?: AbortSignal }): AsyncIterableIterator<AlertEvent>
  /** Asks the daemon to stop; it may run on for a moment. */
  shutdown(): Promise<void>
  /** Closes the connections of this client; watches end. */
  close(): Promise<void>
}

export interface ConnectOptions {
  /** `SELFSAME_HOME` or `~/.selfsame` unless told. */
  readonly home?: string
  /** Instead of the home's own. */
  readonly socketPath?: string
  /** Instead of a socket: where the daemon serves TCP, such as `http://127.0.0.1:7777`. Loopback only: a token goes in the clear. */
  readonly url?: string
  /** What makes this client known to the daemon; `SELFSAME_TOKEN` unless told. Over the socket it may do everything without one. */
  readonly token?: string
  /** Gives up connecting. */
  readonly signal?: AbortSignal
}

/** Connects to the daemon of a home, and makes sure that it answers. */
export type Connect = (options?: ConnectOptions) => Promise<Agent>
