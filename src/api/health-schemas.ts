/** The shapes that tell how an agent is: status, peers, signals, alerts, evidence, and what proves coherence. */
import Type from 'typebox'
import type { Static } from 'typebox'
import { author, count, documentKind, list, oneOf, orNull, role, shape, time } from './shape.ts'

const documentPlace = shape('DocumentPlace', { kind: documentKind, name: Type.String() })

const documentReference = shape(
  'DocumentReference',
  { id: Type.String(), kind: orNull(documentKind), name: orNull(Type.String()) },
  { description: 'kind and name are null where nothing here tells them' },
)

const peerDigests = shape(
  'PeerDigests',
  {
    state: oneOf(['equal', 'differs', 'unknown'], {
      description:
        'equal: of all documents, when that was seen last; differs: other digests at the same version; unknown: it was never seen',
    }),
    documents: Type.Integer({ minimum: 0, description: 'how many differ' }),
    first: list(documentReference, { description: 'the first of them' }),
    time: orNull(Type.String({ format: 'date-time', description: 'of equal: when all was last seen equal; else when it last attested' })),
  },
  { description: 'what it attests of its documents, against what is shown here' },
)

export const peer = shape('Peer', {
  instance: author,
  state: oneOf(['connected', 'connecting', 'offline']),
  address: orNull(Type.String()),
  direction: orNull(oneOf(['inbound', 'outbound'], { description: 'who dialed: inbound is the peer, so it can reach this instance' })),
  roundTripMilliseconds: orNull(Type.Number({ minimum: 0, description: 'of the last ping' })),
  clockAheadMilliseconds: orNull(
    Type.Number({ description: 'how far its clock is ahead of this one (negative: behind), by the last ping' }),
  ),
  program: orNull(Type.String({ description: 'name and version of what it runs, as it said last' })),
  lastSeen: orNull(time),
  behind: orNull(Type.Integer({ minimum: 0, description: 'envelopes that it lacks, by what it last told; null where it never told' })),
  ahead: orNull(Type.Integer({ minimum: 0, description: 'envelopes that it has and this instance lacks, by what it last told' })),
  told: orNull(Type.String({ format: 'date-time', description: 'when it last told' })),
  lacks: orNull(
    shape(
      null,
      { documents: count, first: list(documentPlace) },
      { description: 'how many documents it lacks something of, and the first of them, by what it last told; null where it never told' },
    ),
  ),
  digests: peerDigests,
})
export type Peer = Static<typeof peer>

export const attention = shape(
  'Attention',
  { kind: Type.String(), detail: Type.String(), since: time },
  { description: 'something for a person to look at' },
)
export type Attention = Static<typeof attention>

export const alert = shape(
  'Alert',
  {
    id: Type.String({ description: 'names the case' }),
    kind: Type.String(),
    detail: Type.String(),
    since: time,
    raised: Type.String({ format: 'date-time', description: 'when it became an alert' }),
  },
  { description: 'something that a person should know; it clears by itself when it no longer holds' },
)
export type Alert = Static<typeof alert>

const conflictedDocument = shape('ConflictedDocument', { ...documentPlace.properties, conflicts: count })

const signals = shape(
  'Signals',
  {
    driftPercent: orNull(Type.Number({ minimum: 0, maximum: 100, description: 'documents that differ from what connected members told' })),
    lagSeconds: orNull(Type.Number({ minimum: 0, description: 'age of the oldest envelope that a member lacks' })),
    recoverySeconds: orNull(Type.Number({ minimum: 0, description: 'from the start of the daemon until it was ready' })),
    rebuildSeconds: orNull(
      Type.Number({ minimum: 0, description: 'how long what is shown was built anew from the envelopes, the last time since the start' }),
    ),
    conflicts: Type.Integer({ minimum: 0, description: 'writes that had not seen each other and were merged, since the start' }),
    conflictedDocuments: list(conflictedDocument, { description: 'where, the most first; at most ten' }),
  },
  { description: 'as of the last look, a few seconds ago; null where nothing is known' },
)
export type Signals = Static<typeof signals>

const evidence = shape('Evidence', {
  kind: Type.String({
    description: 'fork, stale-stamp, second-copy, damage, repaired, quarantine, refused-feed, refused-peer or refused-join',
  }),
  reason: Type.String(),
  time: orNull(
    Type.String({
      format: 'date-time',
      description: 'when it was seen first; of a refused peer, last; of an update in quarantine, when its author says that it was written',
    }),
  ),
  author: Type.Optional(author),
  feed: Type.Optional(Type.String()),
  sequence: Type.Optional(Type.Integer({ minimum: 1 })),
  document: Type.Optional(
    shape(
      null,
      { id: Type.String(), kind: orNull(documentKind), name: orNull(Type.String()) },
      { description: 'kind and name are null where nothing here tells them' },
    ),
  ),
  key: Type.Optional(Type.String({ description: 'of a refused peer: the key that it proved to have' })),
  address: Type.Optional(Type.String()),
})
export type Evidence = Static<typeof evidence>

export const evidenceList = shape('EvidenceList', {
  evidence: list(evidence),
  omitted: Type.Integer({ minimum: 0, description: 'cases beyond those that one answer holds of their sort' }),
})
export type EvidenceList = Static<typeof evidenceList>

export const status = shape('Status', {
  state: oneOf(['healthy', 'degraded'], { description: 'degraded: something wants attention' }),
  version: Type.String(),
  agent: shape(null, { id: Type.String(), name: Type.String() }),
  instance: shape(null, { id: Type.String(), name: Type.String(), role: orNull(role), key: Type.String() }),
  home: Type.String(),
  processId: count,
  uptimeSeconds: Type.Number({ minimum: 0 }),
  network: shape(null, { paused: Type.Boolean(), addresses: list(Type.String()) }),
  peers: list(peer),
  documents: count,
  entries: Type.Integer({ minimum: 0, description: 'log entries' }),
  signals,
  attention: list(attention),
})
export type Status = Static<typeof status>

export const health = shape('Health', {
  state: oneOf(['ok', 'attention']),
  uptimeSeconds: Type.Number({ minimum: 0 }),
  attention: list(attention),
})
export type Health = Static<typeof health>

const difference = shape('Difference', {
  document: documentReference,
  since: Type.String({ format: 'date-time', description: 'when it was seen first' }),
})

const verdict = shape(
  'Verdict',
  {
    instance: author,
    verdict: oneOf(['same', 'differs', 'behind', 'unknown'], {
      description:
        'same: it shows the same in everything; differs: it shows documents otherwise at the same version; behind: it has other versions of documents; unknown: it did not answer',
    }),
    attested: orNull(Type.String({ format: 'date-time', description: 'when it last attested what it shows; null where it never did' })),
    differences: list(difference),
    otherVersions: shape(
      null,
      { documents: count, first: list(documentReference) },
      { description: 'documents of which it has another version, or that only one of the two has, as far as it named them' },
    ),
  },
  { description: 'what is to be said of one other instance' },
)
export type Verdict = Static<typeof verdict>

const finding = shape(
  'Finding',
  {
    document: documentReference,
    detail: Type.String(),
    since: Type.String({ format: 'date-time', description: 'when it was found' }),
  },
  { description: 'a document that this instance shows otherwise than its envelopes say' },
)

export const verification = shape('Verification', {
  state: oneOf(['same', 'differs', 'unknown'], {
    description: 'same: everywhere; differs: somewhere; unknown: it could not be told of all',
  }),
  time,
  documents: count,
  undigested: Type.Integer({
    minimum: 0,
    description: 'documents here that could not be digested: not in time, or what they are made of is damaged',
  }),
  findings: list(finding),
  instances: list(verdict),
})
export type Verification = Static<typeof verification>

export const rebuilt = shape('Rebuilt', {
  began: Type.String({ format: 'date-time' }),
  seconds: Type.Number({ minimum: 0, description: 'until all was there again' }),
})
export type Rebuilt = Static<typeof rebuilt>

export const ready = shape('Ready', { ready: Type.Literal(true), uptimeSeconds: Type.Number({ minimum: 0 }) })
export type Ready = Static<typeof ready>
