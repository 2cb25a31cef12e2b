/**
 * The port that the local API serves: what an agent can ask of its daemon, in JSON-shaped values. The server checks shapes
 * and bounds before it calls (`schemas.ts`); what needs knowledge of documents (names, keys, patches, bases) is checked behind
 * the port. Methods may be called concurrently and reject with a `SelfsameError`. No answer shows what is not yet durable.
 *
 * Reading a document that nobody wrote gives the empty value of its kind. JSON values come with their keys sorted.
 */
import type {
  Alert,
  Blame,
  ChangePage,
  CounterValue,
  DocumentDigest,
  DocumentKind,
  DocumentSummary,
  EvidenceList,
  FormerMember,
  Health,
  Invitation,
  Invite,
  InviteInput,
  Json,
  JsonValue,
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
  RegisterValue,
  Role,
  SetValue,
  Status,
  TextValue,
  Verification,
} from './schemas.ts'

export interface WriteRequest {
  /** 1..`writeOperationsMax`. */
  readonly operations: readonly Operation[]
  /** Names the whole request. */
  readonly operationId?: string
  /** Instances that shall hold it, this one included, before the answer. */
  readonly replicas: number
  /** How long to wait for them, milliseconds. After it the receipt tells how many hold it; the write stands. */
  readonly timeoutMs: number
}

export interface LogQuery {
  /** Inclusive, milliseconds since the Unix epoch. */
  readonly since?: number
  /** Exclusive, milliseconds since the Unix epoch. */
  readonly until?: number
  /** Only entries that carry this tag. */
  readonly tag?: string
  readonly kind?: string
  /** 1..`pageEntriesMax`. A page may be shorter although there is more: `next` tells. */
  readonly limit: number
  /** `next` of an earlier page of the same query. */
  readonly cursor?: string
  readonly order: 'oldest' | 'newest'
  /** Whether entries carry what proves their author. */
  readonly provenance: boolean
}

export interface ChangesQuery {
  /** `kind/glob`, as `createMatcher` reads them; empty means every document. */
  readonly patterns: readonly string[]
  /** `start`: the first change this home knows; `now`: what comes from here on; else a cursor given earlier. */
  readonly cursor: string
  /** 1..`pageChangesMax`. A page may be shorter although there is more: `more` tells. */
  readonly limit: number
}

export interface AgentPort {
  /** Applies all operations or none, as one envelope. Durable here when it resolves. Calls are committed in the order in which they were made. */
  write(request: WriteRequest): Promise<Receipt>

  readLog(name: string, query: LogQuery): Promise<LogPage>
  /** With what proves its author. `not-found` where the log shows none of that id. */
  readEntry(name: string, id: string): Promise<LogEntry>
  readCounter(name: string): Promise<CounterValue>
  readSet(name: string): Promise<SetValue>
  readRegister(name: string): Promise<RegisterValue>
  readText(name: string): Promise<TextValue>
  readJson(name: string): Promise<JsonValue>

  /** Who wrote what of a document as it is now. */
  blame(kind: LiveKind, name: string): Promise<Blame>
  /** What was kept aside or turned away here, and why. */
  evidence(): Promise<EvidenceList>

  documents(filter: { readonly kind?: DocumentKind; readonly prefix?: string }): Promise<readonly DocumentSummary[]>
  /** `not-found` for a document that nobody wrote. */
  digest(kind: DocumentKind, name: string): Promise<DocumentDigest>
  digests(): Promise<readonly DocumentDigest[]>

  /**
   * Changes in this instance's order of applying, each with a cursor of its own. `cursor-expired` for a cursor that was given in another state of this home.
   */
  changes(query: ChangesQuery): Promise<ChangePage>
  /** Calls `listener` after each commit that changed a document, with nothing: the listener reads by cursor. The returned function ends it. */
  onChange(listener: () => void): () => void

  /** Replaces what the others see of this instance; null clears it. */
  setPresence(state: Json): Promise<void>
  presence(): Promise<readonly Presence[]>
  pauseNetwork(): Promise<NetworkState>
  resumeNetwork(): Promise<NetworkState>
  invite(input: Required<Omit<InviteInput, 'name'>> & Pick<InviteInput, 'name'>): Promise<Invitation>
  /** Open invites of this instance. */
  invites(): Promise<readonly Invite[]>
  /** `id`: of an invite, or its first digits. `not-found` where there is none, `invalid-request` where there are several. */
  revokeInvite(id: string): Promise<void>

  members(): Promise<MemberList>
  /** `name`: as listed, an id, or its first digits. `not-found` where nobody is meant, `invalid-request` where several are. */
  findMember(name: string): Promise<Member | FormerMember>
  /** Here and below `id` is an instance's whole id: names pass from one to another, ids never do. `not-found`, `invalid-request`, `forbidden`. */
  giveRole(id: string, role: Role, reason: string): Promise<MembershipChange>
  renameMember(id: string, name: string): Promise<MembershipChange>
  removeMember(id: string, reason: string): Promise<MembershipChange>
  /** Replaces the key, and has the daemon begin anew under it. `unavailable` where nobody could hear of it. */
  replaceKey(input: KeyInput): Promise<NewKey>
  status(): Promise<Status>
  /** Cheap, however much is stored: asked at the begin of every connection. */
  health(): Promise<Health>
  /** Rejects with `unavailable` or `read-only`, saying what does not get on. */
  ready(): Promise<Ready>
  /** Asks all instances what they show, and says of each whether it is the same. Waits `timeoutMs` at the most. */
  verify(timeoutMs: number): Promise<Verification>
  /** Builds all that is shown anew from the stored envelopes. Resolves when all is there again. */
  rebuild(): Promise<Rebuilt>
  /** In the text format of Prometheus. */
  metrics(): Promise<string>
  /** Those that are raised, the oldest first. */
  alerts(): readonly Alert[]
  /** Calls `listener` when some were raised or cleared, with nothing. The returned function ends it. */
  onAlert(listener: () => void): () => void
  /** Asks the daemon to stop; resolves when that was noted. */
  shutdown(): Promise<void>
}
