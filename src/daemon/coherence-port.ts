/** The part of the API's port that is about coherence: whether all instances show the same, what differs, and building anew what does. */
import type { AgentPort, Author, Peer } from '../api/index.ts'
import type { DocumentId, InstanceId } from '../core/index.ts'
import type { DocumentKind } from '../document/index.ts'
import type { Difference, Replica, Verification } from '../replica/index.ts'
import { isoOf } from './iso-time.ts'

/** Documents named where an answer counts all. */
const documentsNamedMax = 10

export interface CoherencePortOptions {
  readonly replica: Replica
  readonly authorOf: (instance: InstanceId) => Author
}

export interface CoherencePort extends Pick<AgentPort, 'verify' | 'rebuild'> {
  /** What a peer attests, as its status shows it. */
  readonly digestsOf: (instance: InstanceId) => Peer['digests']
}

export function createCoherencePort({ authorOf, replica }: CoherencePortOptions): CoherencePort {
  const { coherence } = replica

  const referenceOf = (document: DocumentId): Peer['digests']['first'][number] => {
    const row = replica.store.document(document)
    return { id: document, kind: (row?.kind as DocumentKind | undefined) ?? null, name: row?.name ?? null }
  }
  const differenceToJson = ({ document, since }: Difference) => ({ document: referenceOf(document), since: isoOf(since) })

  return {
    digestsOf(instance) {
      const known = coherence.of(instance)
      if (known === undefined) return { state: 'unknown', documents: 0, first: [], time: null }
      const { at, differences, equalAt } = known
      const state = differences.length > 0 ? 'differs' : equalAt === null ? 'unknown' : 'equal'
      return {
        state,
        documents: differences.length,
        first: differences.slice(0, documentsNamedMax).map(({ document }) => referenceOf(document)),
        time: isoOf(state === 'equal' && equalAt !== null ? equalAt : at),
      }
    },

    async verify(timeoutMs) {
      const verification = await coherence.verify(timeoutMs)
      const { at, documents, findings, instances, undigested } = verification
      return {
        state: stateOf(verification),
        time: isoOf(at),
        documents,
        undigested,
        findings: findings.map(({ detail, document, since }) => ({ document: referenceOf(document), detail, since: isoOf(since) })),
        instances: instances.map(({ at: attestedAt, differences, instance, otherVersions, verdict }) => ({
          instance: authorOf(instance),
          verdict,
          attested: attestedAt === null ? null : isoOf(attestedAt),
          differences: differences.map(differenceToJson),
          otherVersions: { documents: otherVersions.length, first: otherVersions.slice(0, documentsNamedMax).map(referenceOf) },
        })),
      }
    },

    async rebuild() {
      const { beganAt, milliseconds } = await coherence.rebuild()
      return { began: isoOf(beganAt), seconds: milliseconds / 1_000 }
    },
  }
}

function stateOf({ findings, instances, undigested }: Verification): 'same' | 'differs' | 'unknown' {
  if (findings.length > 0 || instances.some(({ verdict }) => verdict === 'differs')) return 'differs'
  return undigested === 0 && instances.every(({ verdict }) => verdict === 'same') ? 'same' : 'unknown'
}
