/**
 * The contract of the local API: one table of routes. The server's routes and their validation, the OpenAPI document and the
 * client's types all derive from it. The shapes are in `schemas.ts`, the addresses in `paths.ts`.
 */
import Type from 'typebox'
import type { Static, TObject, TSchema } from 'typebox'
import type { ErrorCode } from '../core/index.ts'
import { paths } from './paths.ts'
import type { Path, RouteId } from './paths.ts'
import * as shapes from './schemas.ts'
import type { Right } from './scope.ts'

/**
 * What a request needs of its token.
 * - `read`, `append`, `write`: that right to the document that the path names (`/v1/text/:name...`, or by `:kind` and `:name`).
 * - `each`: the right that each operation in the body takes.
 * - `nothing`: any token will do. The answer shows what the token may read and no more, so a route that lists documents has to be narrowed in `gate.ts`.
 * - `everything`: a token for everything. Whatever is about the agent, its members, this machine or more than documents.
 */
export type Need = Right | 'each' | 'nothing' | 'everything'

/** A schema per media type. */
export type Content = Readonly<Record<string, TSchema>>

/** What a route takes and answers. */
export interface Route extends Path {
  readonly summary: string
  readonly params?: TObject
  /** Values arrive as text: the server reads integers, booleans and lists before it validates. */
  readonly query?: TObject
  readonly body?: Content
  /** The JSON answer. Absent: no content. */
  readonly response?: TSchema
  /** What it can answer besides JSON, where the request's `Accept` asks for it or the request's own type implies it. */
  readonly alternatives?: Content
  /** Status of success. */
  readonly status: number
  /** Codes that this route can answer besides `errorsEverywhere`. */
  readonly errors: readonly ErrorCode[]
  /** What a token has to allow; `gate.ts` holds requests to it. Where no other value fits, it is `everything`. */
  readonly needs: Need
  /** It changes documents: `Idempotency-Key` names the request, 202 tells that fewer instances than asked hold it so far. */
  readonly writes?: boolean
}

export const mediaTypes = {
  json: 'application/json',
  problem: 'application/problem+json',
  lines: 'application/x-ndjson',
  text: 'text/plain',
  events: 'text/event-stream',
  mergePatch: 'application/merge-patch+json',
  jsonPatch: 'application/json-patch+json',
} as const

/** Codes that any request can be answered with. */
export const errorsEverywhere = [
  'invalid-request',
  'unauthorized',
  'forbidden',
  'not-found',
  'method-not-allowed',
  'too-many-requests',
  'internal',
  'storage-failed',
  'unavailable',
] as const satisfies readonly ErrorCode[]

const readErrors = ['invalid-name', 'storage-corrupt'] as const satisfies readonly ErrorCode[]
const bodyErrors = ['too-large', 'unsupported-media-type'] as const satisfies readonly ErrorCode[]
const writeErrors = [
  ...bodyErrors,
  ...readErrors,
  'operation-mismatch',
  'outcome-unknown',
  'read-only',
] as const satisfies readonly ErrorCode[]

const query = <Properties extends Parameters<typeof Type.Object>[0]>(properties: Properties) =>
  Type.Object(properties, { additionalProperties: false })
const json = <Schema extends TSchema>(schema: Schema) => ({ 'application/json': schema }) as const

/** A duration of a query: seconds, milliseconds, or bare milliseconds. */
const waitPattern = '^[0-9]{1,6}(ms|s)?$'
const nameParams = Type.Object({ name: shapes.documentName })
const writeQuery = query({
  replicas: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: shapes.replicasMax,
      description: 'instances that shall hold the write, this one included, before the answer; 1 unless told',
    }),
  ),
  timeout: Type.Optional(
    Type.String({
      pattern: waitPattern,
      description: 'how long to wait for them: 5s, 500ms or milliseconds; 5s unless told, 60s at most',
    }),
  ),
})
const patterns = Type.Optional(
  Type.Immutable(
    Type.Array(
      Type.String({
        pattern: '^(log|counter|set|register|text|json|\\*)/.+$',
        maxLength: 300,
        description: 'kind/glob; * stands for any characters, also /',
      }),
      {
        maxItems: shapes.watchPatternsMax,
      },
    ),
  ),
)
const cursor = Type.Optional(Type.String({ minLength: 1, maxLength: 256 }))
const limitOf = (maximum: number) => Type.Integer({ minimum: 1, maximum, default: 100 })

/** What every route that writes has in common. */
const writing = { params: nameParams, query: writeQuery, response: shapes.receipt, status: 200, writes: true, errors: writeErrors } as const

export const routes = {
  'operations.write': {
    ...paths['operations.write'],
    needs: 'each',
    summary: 'Applies several operations atomically',
    query: writeQuery,
    body: json(Type.Object({ operations: shapes.operations }, { additionalProperties: false })),
    response: shapes.receipt,
    status: 200,
    writes: true,
    errors: [...writeErrors, 'base-unknown', 'patch-failed', 'overflow'],
  },
  'log.append': {
    ...paths['log.append'],
    needs: 'append',
    ...writing,
    summary: 'Appends one entry, or a stream of entries of any length, one per line',
    body: { ...json(shapes.entryInput), 'application/x-ndjson': shapes.entryInput },
    alternatives: { 'application/x-ndjson': shapes.importProgress },
  },
  'log.read': {
    ...paths['log.read'],
    needs: 'read',
    summary: 'Reads entries in order of time, by the page or, as application/x-ndjson, all that match',
    params: nameParams,
    query: query({
      since: Type.Optional(Type.String({ description: 'inclusive: ISO 8601, a date, or milliseconds since 1970' })),
      until: Type.Optional(Type.String({ description: 'exclusive: ISO 8601, a date, or milliseconds since 1970' })),
      tag: Type.Optional(Type.String()),
      kind: Type.Optional(Type.String()),
      limit: Type.Optional(limitOf(shapes.pageEntriesMax)),
      cursor,
      order: Type.Optional(
        Type.Unsafe<'oldest' | 'newest'>({
          type: 'string',
          enum: ['oldest', 'newest'],
          default: 'oldest',
          description: 'which entries come first',
        }),
      ),
      provenance: Type.Optional(Type.Boolean({ default: false, description: 'with what proves the author of each entry' })),
    }),
    response: shapes.logPage,
    alternatives: { 'application/x-ndjson': shapes.logEntry },
    status: 200,
    errors: [...readErrors, 'cursor-expired'],
  },
  'log.entry': {
    ...paths['log.entry'],
    needs: 'read',
    summary: 'Reads one entry, with what proves its author',
    params: Type.Object({ name: shapes.documentName, id: Type.String({ pattern: '^[0-9a-f]{60}$' }) }),
    response: shapes.logEntry,
    status: 200,
    errors: readErrors,
  },
  'counter.read': {
    ...paths['counter.read'],
    needs: 'read',
    summary: 'Reads all counters of a document',
    params: nameParams,
    response: shapes.counterValue,
    status: 200,
    errors: readErrors,
  },
  'counter.add': {
    ...paths['counter.add'],
    needs: 'write',
    ...writing,
    summary: 'Adds to a counter',
    body: json(shapes.bodyOf('counter.add')),
    errors: [...writeErrors, 'overflow'],
  },
  'set.read': {
    ...paths['set.read'],
    needs: 'read',
    summary: 'Reads the members of a set',
    params: nameParams,
    response: shapes.setValue,
    status: 200,
    errors: readErrors,
  },
  'set.add': { ...paths['set.add'], needs: 'write', ...writing, summary: 'Adds a member to a set', body: json(shapes.bodyOf('set.add')) },
  'set.remove': {
    ...paths['set.remove'],
    needs: 'write',
    ...writing,
    summary: 'Removes a member from a set',
    body: json(shapes.bodyOf('set.remove')),
  },
  'register.read': {
    ...paths['register.read'],
    needs: 'read',
    summary: 'Reads all registers of a document, with siblings',
    params: nameParams,
    response: shapes.registerValue,
    status: 200,
    errors: readErrors,
  },
  'register.set': {
    ...paths['register.set'],
    needs: 'write',
    ...writing,
    summary: 'Sets a register',
    body: json(shapes.bodyOf('register.set')),
  },
  'register.delete': {
    ...paths['register.delete'],
    needs: 'write',
    ...writing,
    summary: 'Deletes a register',
    body: json(shapes.bodyOf('register.delete')),
  },
  'text.read': {
    ...paths['text.read'],
    needs: 'read',
    summary: 'Reads a text; its version is also the ETag',
    params: nameParams,
    response: shapes.textValue,
    alternatives: { 'text/plain': Type.String() },
    status: 200,
    errors: readErrors,
  },
  'text.put': {
    ...paths['text.put'],
    needs: 'write',
    ...writing,
    summary: 'Writes a whole text; merged with what was written since its base (of a raw text: If-Match)',
    body: { ...json(shapes.bodyOf('text.put')), 'text/plain': shapes.operationFields['text.put'].text },
    errors: [...writeErrors, 'base-unknown'],
  },
  'json.read': {
    ...paths['json.read'],
    needs: 'read',
    summary: 'Reads a json document',
    params: nameParams,
    response: shapes.jsonValue,
    status: 200,
    errors: readErrors,
  },
  'json.edit': {
    ...paths['json.edit'],
    needs: 'write',
    ...writing,
    summary: 'Edits a json document by JSON Merge Patch (RFC 7396) or JSON Patch (RFC 6902)',
    body: {
      'application/merge-patch+json': shapes.operationFields['json.merge'].patch,
      'application/json-patch+json': shapes.operationFields['json.patch'].patch,
    },
    errors: [...writeErrors, 'patch-failed'],
  },
  'documents.list': {
    ...paths['documents.list'],
    needs: 'nothing',
    summary: 'Lists documents, sorted by kind and name',
    query: query({ kind: Type.Optional(shapes.documentKind), prefix: Type.Optional(Type.String()) }),
    response: Type.Object({ documents: Type.Immutable(Type.Array(shapes.documentSummary)) }, { additionalProperties: false }),
    status: 200,
    errors: readErrors,
  },
  'digests.list': {
    ...paths['digests.list'],
    needs: 'nothing',
    summary: 'Digests of all documents: equal version keys must show equal digests on every instance',
    response: Type.Object({ digests: Type.Immutable(Type.Array(shapes.documentDigest)) }, { additionalProperties: false }),
    status: 200,
    errors: readErrors,
  },
  'digests.read': {
    ...paths['digests.read'],
    needs: 'read',
    summary: 'Digest of one document',
    params: Type.Object({ kind: shapes.documentKind, name: shapes.documentName }),
    response: shapes.documentDigest,
    status: 200,
    errors: readErrors,
  },
  'blame.read': {
    ...paths['blame.read'],
    needs: 'read',
    summary: 'Tells who wrote each part of a document, when, in which envelope',
    params: Type.Object({ kind: shapes.liveKind, name: shapes.documentName }),
    response: shapes.blame,
    status: 200,
    errors: readErrors,
  },
  'changes.read': {
    ...paths['changes.read'],
    needs: 'nothing',
    summary: 'Changes after a cursor, by the page',
    query: query({ pattern: patterns, cursor, limit: Type.Optional(limitOf(shapes.pageChangesMax)) }),
    response: shapes.changePage,
    status: 200,
    errors: ['cursor-expired', 'storage-corrupt'],
  },
  'changes.watch': {
    ...paths['changes.watch'],
    needs: 'nothing',
    summary: 'Changes as they happen, as server-sent events that resume by cursor without a gap',
    query: query({ pattern: patterns, cursor }),
    alternatives: { 'text/event-stream': shapes.change },
    status: 200,
    errors: ['cursor-expired', 'storage-corrupt'],
  },
  'presence.read': {
    ...paths['presence.read'],
    needs: 'everything',
    summary: 'What each instance says it is doing now; never stored',
    response: Type.Object({ presence: Type.Immutable(Type.Array(shapes.presence)) }, { additionalProperties: false }),
    status: 200,
    errors: [],
  },
  'presence.set': {
    ...paths['presence.set'],
    needs: 'everything',
    summary: 'Says what this instance is doing',
    body: json(Type.Object({ state: shapes.presence.properties.state }, { additionalProperties: false })),
    status: 204,
    errors: bodyErrors,
  },
  'presence.clear': { ...paths['presence.clear'], needs: 'everything', summary: 'Says nothing any more', status: 204, errors: [] },
  'network.pause': {
    ...paths['network.pause'],
    needs: 'everything',
    summary: 'Works offline on purpose',
    response: shapes.networkState,
    status: 200,
    errors: ['network-failed'],
  },
  'network.resume': {
    ...paths['network.resume'],
    needs: 'everything',
    summary: 'Goes online again',
    response: shapes.networkState,
    status: 200,
    errors: ['network-failed', 'address-in-use'],
  },
  'members.list': {
    ...paths['members.list'],
    needs: 'everything',
    summary: 'Lists the instances of the agent, and those that have lost their place, by seniority',
    response: shapes.memberList,
    status: 200,
    errors: [],
  },
  'members.find': {
    ...paths['members.find'],
    needs: 'everything',
    summary: 'Finds an instance, present or former, by its name as listed, its id, or the first digits of its id, at least 4',
    params: shapes.memberParams,
    response: Type.Union([shapes.member, shapes.formerMember]),
    status: 200,
    errors: [],
  },
  'members.giveRole': {
    ...paths['members.giveRole'],
    needs: 'everything',
    summary: 'Gives an instance a role, whatever it had; one that has lost its place gets it back',
    params: shapes.memberParams,
    body: json(shapes.roleInput),
    response: shapes.membershipChange,
    status: 200,
    errors: [...bodyErrors, 'read-only', 'outcome-unknown'],
  },
  'members.rename': {
    ...paths['members.rename'],
    needs: 'everything',
    summary: 'Calls an instance something else',
    params: shapes.memberParams,
    body: json(shapes.renameInput),
    response: shapes.membershipChange,
    status: 200,
    errors: [...bodyErrors, 'read-only', 'outcome-unknown'],
  },
  'members.remove': {
    ...paths['members.remove'],
    needs: 'everything',
    summary: 'Removes an instance; of this one: it leaves the agent',
    params: shapes.memberParams,
    query: shapes.reasonQuery,
    response: shapes.membershipChange,
    status: 200,
    errors: ['read-only', 'outcome-unknown'],
  },
  'invites.create': {
    ...paths['invites.create'],
    needs: 'everything',
    summary: 'Makes a ticket with which another instance can join',
    body: json(shapes.inviteInput),
    response: shapes.invitation,
    status: 201,
    errors: [...bodyErrors, 'read-only', 'outcome-unknown'],
  },
  'invites.list': {
    ...paths['invites.list'],
    needs: 'everything',
    summary: 'Lists the tickets of this instance that can still be used, without what makes them secret',
    response: Type.Object({ invites: Type.Immutable(Type.Array(shapes.invite)) }, { additionalProperties: false }),
    status: 200,
    errors: [],
  },
  'invites.revoke': {
    ...paths['invites.revoke'],
    needs: 'everything',
    summary: 'Ends a ticket of this instance, named by the id of its invite or the first digits of it, at least 8',
    params: shapes.inviteIdParams,
    status: 204,
    errors: ['read-only', 'outcome-unknown'],
  },
  'tokens.list': {
    ...paths['tokens.list'],
    needs: 'everything',
    summary: 'Lists the tokens, without what makes them secret',
    response: Type.Object({ tokens: Type.Immutable(Type.Array(shapes.token)) }, { additionalProperties: false }),
    status: 200,
    errors: [],
  },
  'tokens.create': {
    ...paths['tokens.create'],
    needs: 'everything',
    summary: 'Makes a token with which a program may do some of all this',
    body: json(shapes.tokenInput),
    response: shapes.createdToken,
    status: 201,
    errors: bodyErrors,
  },
  'tokens.revoke': {
    ...paths['tokens.revoke'],
    needs: 'everything',
    summary: 'Ends what a token allows, at once',
    params: shapes.tokenNameParams,
    status: 204,
    errors: [],
  },
  'key.replace': {
    ...paths['key.replace'],
    needs: 'everything',
    summary: 'Gives this instance a new key, or makes of a copied home an instance of its own; the daemon then begins anew under it',
    body: json(shapes.keyInput),
    response: shapes.newKey,
    status: 200,
    errors: [...bodyErrors, 'forbidden', 'read-only', 'outcome-unknown'],
  },
  'evidence.list': {
    ...paths['evidence.list'],
    needs: 'everything',
    summary: 'Lists what was kept aside or turned away: forks, updates in quarantine, refused feeds and peers, with reasons',
    response: shapes.evidenceList,
    status: 200,
    errors: ['storage-corrupt'],
  },
  'alerts.watch': {
    ...paths['alerts.watch'],
    needs: 'everything',
    summary: 'Alerts as they are raised and cleared, as server-sent events, beginning with those that are raised',
    alternatives: { 'text/event-stream': shapes.alert },
    status: 200,
    errors: [],
  },
  'status.read': {
    ...paths['status.read'],
    needs: 'everything',
    summary: 'Everything about this daemon at a glance',
    response: shapes.status,
    status: 200,
    errors: [],
  },
  'health.read': {
    ...paths['health.read'],
    needs: 'nothing',
    summary: 'That the daemon is alive, and whether anything needs attention; cheap',
    response: shapes.health,
    status: 200,
    errors: [],
  },
  'ready.read': {
    ...paths['ready.read'],
    needs: 'nothing',
    summary: 'That the daemon serves and gets on: the store can be read and written, and commits come to their end',
    response: shapes.ready,
    status: 200,
    errors: ['read-only'],
  },
  'verification.run': {
    ...paths['verification.run'],
    needs: 'everything',
    summary: 'Asks all instances what they show, and tells of each whether it is the same',
    query: query({
      timeout: Type.Optional(
        Type.String({
          pattern: waitPattern,
          description: 'how long to wait for them: 30s, 500ms or milliseconds; 30s unless told, 60s at most',
        }),
      ),
    }),
    response: shapes.verification,
    status: 200,
    errors: ['storage-corrupt'],
  },
  'rebuild.run': {
    ...paths['rebuild.run'],
    needs: 'everything',
    summary: 'Has all that is shown built anew from the stored envelopes; cursors end',
    response: shapes.rebuilt,
    status: 200,
    errors: ['read-only', 'storage-corrupt'],
  },
  'metrics.read': {
    ...paths['metrics.read'],
    needs: 'everything',
    summary: 'Metrics in the text format of Prometheus',
    alternatives: { 'text/plain': Type.String() },
    status: 200,
    errors: ['storage-corrupt'],
  },
  'openapi.read': {
    ...paths['openapi.read'],
    needs: 'nothing',
    summary: 'This contract, as an OpenAPI 3.1 document',
    response: Type.Object({}),
    status: 200,
    errors: [],
  },
  'daemon.shutdown': { ...paths['daemon.shutdown'], needs: 'everything', summary: 'Stops the daemon', status: 202, errors: [] },
} as const satisfies Record<RouteId, Route>

type Routes = typeof routes
type StaticField<Id extends RouteId, Field extends string> = Routes[Id] extends { readonly [F in Field]: infer Schema extends TSchema }
  ? Static<Schema>
  : undefined

export type RouteParams<Id extends RouteId> = StaticField<Id, 'params'>
export type RouteQuery<Id extends RouteId> = StaticField<Id, 'query'>
/** What any of a route's media types carries. */
export type RouteBody<Id extends RouteId> = Routes[Id] extends { readonly body: infer Bodies }
  ? { [M in keyof Bodies]: Bodies[M] extends TSchema ? Static<Bodies[M]> : never }[keyof Bodies]
  : undefined
/** The JSON answer. */
export type RouteAnswer<Id extends RouteId> = Routes[Id] extends { readonly response: infer Schema extends TSchema } ? Static<Schema> : void
