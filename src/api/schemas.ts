/**
 * The shapes that go over the local API, as JSON Schema with TypeScript types derived from it. A shape with a `title` is
 * named in the OpenAPI document. Objects refuse unknown properties; lists are readonly, so that a caller may hand over its own.
 */
import Type from 'typebox'
import type { Static, TProperties, TSchema } from 'typebox'
import { cellKeyLengthMax, documentNameBytesMax, memberNameLengthMax, operationIdLengthMax, textLengthMax } from '../core/index.ts'
import { allowancePattern } from './scope.ts'
import { author, count, documentKind, list, oneOf, orNull, role, shape, time } from './shape.ts'
import { timePattern } from './values.ts'

export * from './health-schemas.ts'
export { documentKind } from './shape.ts'
export type { Author, DocumentKind, Role } from './shape.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Operations in one atomic write: each may touch another document, and an envelope carries at most so many. */
export const writeOperationsMax = 256
/** Entries in one append; more go by NDJSON. With the body's limit it bounds the work of one commit. */
export const appendEntriesMax = 1_000
/** Entries on one page of a log. */
export const pageEntriesMax = 1_000
/** Changes on one page. */
export const pageChangesMax = 1_000
/** Patterns of one watch. */
export const watchPatternsMax = 64
/** How long a write may wait for other instances, milliseconds. Longer waits are for the caller to repeat. */
export const replicaWaitMillisecondsMax = 60_000
/** Instances that a write may wait for: more than any group of daemons of one agent. */
export const replicasMax = 1_000
/** 9999-12-31T23:59:59.999Z: the last time that has four digits of year. */
export const timeMillisecondsMax = 253_402_300_799_999

/** One of several shapes, told apart by the text in `tag`: the form that both ajv and OpenAPI read as a tagged union. */
function taggedBy<Shapes extends TSchema[]>(title: string, tag: string, shapes: [...Shapes]) {
  return Type.Unsafe<Static<Shapes[number]>>({
    title,
    type: 'object',
    required: [tag],
    discriminator: { propertyName: tag },
    oneOf: shapes,
  })
}

const json = Type.Unsafe<Json>({ title: 'Json', description: 'any JSON value' })

/** Kinds that are read as a whole. */
export const liveKind = oneOf(['counter', 'set', 'register', 'text', 'json'])
export type LiveKind = Static<typeof liveKind>

export const documentName = Type.String({
  minLength: 1,
  maxLength: documentNameBytesMax,
  description: 'path-like UTF-8, at most 256 bytes; no control characters, no empty, "." or ".." segments',
})

const cellKey = Type.String({ maxLength: cellKeyLengthMax, description: `text of at most ${cellKeyLengthMax} characters` })

/** What a client may give as a point in time. `timeToMilliseconds` reads it. */
export const timeInput = Type.Union([Type.Integer({ minimum: 0, maximum: timeMillisecondsMax }), Type.String({ pattern: timePattern })], {
  title: 'TimeInput',
  description: 'ISO 8601 with a zone (2026-11-01T09:30:00Z), a date (2026-11-01, UTC), or milliseconds since 1970',
})
export type TimeInput = Static<typeof timeInput>

/** `bigintToInteger` and `integerToBigint` convert. */
export const integer = Type.Union(
  [
    Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
    Type.String({ pattern: '^(0|-?[1-9][0-9]{0,18})$' }),
  ],
  { title: 'Integer', description: 'a whole number; beyond ±(2^53-1) as text of decimal digits' },
)
export type Integer = Static<typeof integer>

export const operationId = Type.String({
  minLength: 1,
  maxLength: operationIdLengthMax,
  description: 'names the request: the same id again is recognised as a retry and applied once',
})

const entryFields = {
  text: Type.Optional(Type.String({ maxLength: textLengthMax })),
  data: Type.Optional(json),
  kind: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
  tags: Type.Optional(list(Type.String({ minLength: 1, maxLength: 128 }), { maxItems: 64 })),
}

/** An entry to append: at least text or data. `time` says when it happened where that is not now. */
export const entryInput = shape(
  'EntryInput',
  { ...entryFields, time: Type.Optional(timeInput), operationId: Type.Optional(operationId) },
  { anyOf: [{ required: ['text'] }, { required: ['data'] }], description: 'an entry with text or data or both' },
)
export type EntryInput = Static<typeof entryInput>

const envelope = shape(
  'EnvelopePlace',
  { feed: Type.String(), sequence: Type.Integer({ minimum: 1 }) },
  { description: 'the envelope that carries it' },
)

const provenance = shape(
  'Provenance',
  {
    hash: Type.String(),
    key: Type.String(),
    written: time,
    signedAt: orNull(Type.Integer({ minimum: 1, description: 'the envelope of the feed whose signature vouches: itself, or a later one' })),
    verified: Type.Boolean({
      description:
        'checked now: the chain leads there, the key signed it, and by the records that it names its author might write with that key',
    }),
  },
  { description: "what proves the author: the envelope's hash, the key of its feed, when it was written, and where its signature is" },
)

export const logEntry = shape('LogEntry', {
  id: Type.String({ description: 'sortable by time of writing; never chosen by a client' }),
  time,
  author,
  ...entryFields,
  envelope,
  provenance: Type.Optional(provenance),
})
export type LogEntry = Static<typeof logEntry>

const patchOperation = taggedBy('JsonPatchOperation', 'op', [
  ...(['add', 'replace', 'test'] as const).map((op) => shape(null, { op: Type.Literal(op), path: Type.String(), value: json })),
  ...(['move', 'copy'] as const).map((op) => shape(null, { op: Type.Literal(op), path: Type.String(), from: Type.String() })),
  shape(null, { op: Type.Literal('remove'), path: Type.String() }),
])
export type JsonPatchOperation = Static<typeof patchOperation>

/** What each operation carries besides its type and the document's name: the bodies of the single routes, too. */
export const operationFields = {
  'log.append': { entries: list(entryInput, { minItems: 1, maxItems: appendEntriesMax }) },
  'counter.add': { key: cellKey, amount: integer },
  'set.add': { member: cellKey },
  'set.remove': { member: cellKey },
  'register.set': { key: cellKey, value: json },
  'register.delete': { key: cellKey },
  'text.put': {
    text: Type.String({ maxLength: textLengthMax }),
    base: Type.Optional(Type.String({ description: 'version of the text that this one was made from; what others wrote since is merged' })),
  },
  'json.merge': { patch: json },
  'json.patch': { patch: list(patchOperation, { maxItems: 1_000 }) },
}

function operationOf<const Name extends string, Fields extends TProperties>(type: Name, fields: Fields) {
  return shape(null, { type: Type.Literal(type), name: documentName, ...fields })
}

export const operation = taggedBy('Operation', 'type', [
  operationOf('log.append', operationFields['log.append']),
  operationOf('counter.add', operationFields['counter.add']),
  operationOf('set.add', operationFields['set.add']),
  operationOf('set.remove', operationFields['set.remove']),
  operationOf('register.set', operationFields['register.set']),
  operationOf('register.delete', operationFields['register.delete']),
  operationOf('text.put', operationFields['text.put']),
  operationOf('json.merge', operationFields['json.merge']),
  operationOf('json.patch', operationFields['json.patch']),
])
export type Operation = Static<typeof operation>

export const operations = list(operation, { minItems: 1, maxItems: writeOperationsMax })

/** The body that one operation's own route takes: its fields without type and name. */
export function bodyOf<Type extends keyof typeof operationFields>(type: Type) {
  return shape(null, operationFields[type])
}

export const receipt = shape(
  'Receipt',
  {
    feed: orNull(Type.String({ description: 'the feed it was written to; null where nothing had to change' })),
    sequence: count,
    time,
    replicas: shape(
      null,
      { asked: count, held: count },
      { description: 'instances asked for and instances that hold it, this one included' },
    ),
    repeated: Type.Boolean({ description: 'every operation of the request had been applied before: this is the first receipt again' }),
    entries: Type.Optional(list(Type.String(), { description: 'ids of the log entries, in the order of the request' })),
    appended: Type.Optional(count),
    alreadyThere: Type.Optional(count),
  },
  { description: 'what was written, durably, before this was answered' },
)
export type Receipt = Static<typeof receipt>

export const logPage = shape('LogPage', {
  entries: list(logEntry),
  next: orNull(Type.String({ description: 'cursor of the next page; null at the end' })),
})
export type LogPage = Static<typeof logPage>

export const counterValue = shape('CounterValue', { totals: Type.Record(Type.String(), integer) })
export type CounterValue = Static<typeof counterValue>

export const setValue = shape('SetValue', { members: list(Type.String()) })
export type SetValue = Static<typeof setValue>

const registerFields = { value: json, time, author }
const registerSibling = shape('RegisterSibling', registerFields)
const registerCell = shape('RegisterCell', {
  ...registerFields,
  siblings: list(registerSibling, { description: 'values written at the same time elsewhere, until a later write has seen them' }),
})
export type RegisterCell = Static<typeof registerCell>
export const registerValue = shape('RegisterValue', { cells: Type.Record(Type.String(), registerCell) })
export type RegisterValue = Static<typeof registerValue>

export const textValue = shape('TextValue', { text: Type.String(), version: Type.String() })
export type TextValue = Static<typeof textValue>

export const jsonValue = shape('JsonValue', { value: json })
export type JsonValue = Static<typeof jsonValue>

export const documentSummary = shape('DocumentSummary', { kind: documentKind, name: Type.String(), versionKey: Type.String() })
export type DocumentSummary = Static<typeof documentSummary>

export const documentDigest = shape('DocumentDigest', {
  kind: documentKind,
  name: Type.String(),
  versionKey: Type.String(),
  digest: Type.String(),
})
export type DocumentDigest = Static<typeof documentDigest>

const blamedPart = shape(
  'BlamedPart',
  {
    text: Type.Optional(Type.String({ description: 'of a text: a stretch of it; all together are the text' })),
    key: Type.Optional(
      Type.String({ description: 'of a counter, set or register: the key or member; of json: a JSON Pointer (RFC 6901)' }),
    ),
    value: Type.Optional(
      Type.Unsafe<Json>({ description: 'of a counter: what that run of its author has added up; of a register or json: the value' }),
    ),
    time,
    author,
    envelope,
  },
  { description: 'a part of a document, and who brought it when with which envelope' },
)
export type BlamedPart = Static<typeof blamedPart>

export const blame = shape('Blame', { kind: liveKind, name: Type.String(), parts: list(blamedPart) })
export type Blame = Static<typeof blame>

export const change = shape('Change', {
  cursor: Type.String({
    description: 'resuming here gives what came after this change and those that share its cursor: all of one atomic write',
  }),
  kind: documentKind,
  name: Type.String(),
  time,
  author,
  local: Type.Boolean({ description: 'written by this instance' }),
  envelope,
  entries: Type.Optional(list(logEntry, { description: 'of a log: what was appended' })),
  keys: Type.Optional(list(Type.String(), { description: 'of a counter, set or register: the keys that changed' })),
})
export type Change = Static<typeof change>

export const changePage = shape('ChangePage', {
  changes: list(change),
  cursor: Type.String({ description: 'resumes after everything that was looked at, also where nothing matched' }),
  more: Type.Boolean({ description: 'there may be more right now' }),
})
export type ChangePage = Static<typeof changePage>

export const presence = shape('Presence', { instance: author, state: json, self: Type.Boolean() })
export type Presence = Static<typeof presence>

export const inviteInput = shape('InviteInput', {
  role: Type.Optional(role),
  expiresSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 30 * 86_400 })),
  uses: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
  name: Type.Optional(Type.String({ minLength: 1, maxLength: memberNameLengthMax })),
})
export type InviteInput = Static<typeof inviteInput>

export const invitation = shape('Invitation', {
  ticket: Type.String({ description: 'a secret: whoever holds it can join' }),
  expires: time,
  addresses: list(Type.String(), { description: 'where the ticket says that this instance can be reached' }),
  reach: oneOf(['nowhere', 'loopback', 'private', 'public'], {
    description: 'from where, by the best of the addresses: nowhere (there is none), this machine, its own networks, anywhere',
  }),
})
export type Invitation = Static<typeof invitation>

export const invite = shape(
  'Invite',
  {
    id: Type.String({ description: 'the public half of its key' }),
    role,
    name: orNull(Type.String({ description: 'what the new instance will be called; null where that is left to itself' })),
    usesLeft: count,
    expires: time,
  },
  { description: 'a ticket of this instance that can still be used, without what makes it secret' },
)
export type Invite = Static<typeof invite>
/** An invite, by its id or the first digits of it, at least 8. */
export const inviteIdParams = Type.Object({ id: Type.String({ minLength: 8, maxLength: 64 }) })

const knownInstance = {
  id: Type.String({ description: 'the instance; it stays the same whatever it is called' }),
  name: Type.String({
    description: 'unique in the list: whoever is not the most senior of its name has # and digits of its id at the end',
  }),
  admitted: Type.String({ format: 'date-time', description: 'when it was admitted, by the clock of whoever admitted it' }),
  admittedBy: orNull(author),
  self: Type.Boolean({ description: 'it is the instance that answers' }),
}

export const member = shape(
  'Member',
  {
    ...knownInstance,
    role,
    key: Type.String(),
    connected: Type.Boolean(),
    lastSeen: orNull(Type.String({ format: 'date-time', description: 'null where it was not seen since this daemon started' })),
    program: orNull(Type.String({ description: 'name and version of what it runs, as it said last' })),
  },
  { description: 'an instance that belongs to the agent; admittedBy is null where the root key admitted it' },
)
export type Member = Static<typeof member>

export const formerMember = shape(
  'FormerMember',
  {
    ...knownInstance,
    state: oneOf(['removed', 'suspended'], {
      description: 'suspended: nobody removed it; it lost its place with whoever had admitted it, and can be given a role again',
    }),
    removal: orNull(
      shape(
        null,
        { time, by: orNull(author), reason: Type.String() },
        { description: 'by: null for the root key; time: by the clock of whoever removed it' },
      ),
    ),
  },
  { description: 'an instance that has lost its place' },
)
export type FormerMember = Static<typeof formerMember>

export const memberList = shape(
  'MemberList',
  { members: list(member), former: list(formerMember) },
  { description: 'each part with the most senior first: nobody can undo what a more senior one settles' },
)
export type MemberList = Static<typeof memberList>

/** An instance, by what a request names it with: its id, or, where it is only looked for, what a person calls it by. */
export const memberParams = Type.Object({ id: Type.String({ minLength: 1, maxLength: 128 }) })
const reason = Type.Optional(Type.String({ description: 'why: one short line, which all instances keep' }))
export const reasonQuery = Type.Object({ reason }, { additionalProperties: false })
export const roleInput = shape('RoleInput', { role, reason })
export const renameInput = shape('RenameInput', { name: Type.String({ minLength: 1, maxLength: memberNameLengthMax }) })

export const membershipChange = shape(
  'MembershipChange',
  {
    told: list(author, { description: 'connected here now: they have been sent it, and it takes effect there at once' }),
    untold: list(author, { description: 'the others: they hear of it as soon as they connect to any that knows' }),
  },
  { description: 'a change of the membership, durable here; it concerns the members and whoever is removed' },
)
export type MembershipChange = Static<typeof membershipChange>

export const keyInput = shape('KeyInput', {
  newInstance: Type.Optional(Type.Boolean({ default: false, description: 'this home is a copy, and becomes an instance of its own' })),
  name: Type.Optional(
    Type.String({ minLength: 1, maxLength: memberNameLengthMax, description: 'what the new instance is called; as this one unless told' }),
  ),
})
export type KeyInput = Static<typeof keyInput>

export const newKey = shape('NewKey', { instance: author, key: Type.String({ description: 'the public key, hexadecimal' }) })
export type NewKey = Static<typeof newKey>

const tokenName = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$',
  description: '1 to 64 letters, digits, dots, underscores and hyphens',
})
export const tokenNameParams = Type.Object({ name: tokenName })

export const tokenInput = shape('TokenInput', {
  name: tokenName,
  allow: list(
    Type.String({
      pattern: allowancePattern,
      maxLength: 300,
      description: "'all', or kind/glob:rights with rights of read, append, write",
    }),
    { minItems: 1, maxItems: 64, description: 'such as log/memory:append,read or text/*:read; * stands for any characters, also /' },
  ),
  expiresSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 * 366 * 86_400, description: 'never unless told' })),
})
export type TokenInput = Static<typeof tokenInput>

const tokenFields = { name: Type.String(), allow: list(Type.String()), created: time, expires: orNull(time) }
export const token = shape('Token', tokenFields)
export type Token = Static<typeof token>

export const createdToken = shape('CreatedToken', {
  token: Type.String({ description: 'a secret, shown this once: whoever sends it may do what it allows' }),
  ...tokenFields,
})
export type CreatedToken = Static<typeof createdToken>

export const networkState = shape('NetworkState', { paused: Type.Boolean() })
export type NetworkState = Static<typeof networkState>

/** One line of the answer to a bulk append: after each batch, and the last with `done`. */
export const importProgress = shape('ImportProgress', {
  lines: Type.Integer({ minimum: 0, description: 'lines of the request that are durable so far' }),
  written: Type.Integer({ minimum: 0, description: 'entries appended' }),
  alreadyThere: Type.Integer({ minimum: 0, description: 'entries whose operation id was known' }),
  done: Type.Boolean(),
})
export type ImportProgress = Static<typeof importProgress>

/** Problem details, RFC 9457. `code` is from the closed table of errors. */
export const problem = shape('Problem', {
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  code: Type.String(),
  retry: Type.Boolean({ description: 'the same request may succeed later without a change' }),
  line: Type.Optional(Type.Integer({ minimum: 1, description: 'of a bulk append: the line at fault; what stands before it was written' })),
})
export type Problem = Static<typeof problem>
