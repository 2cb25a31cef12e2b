/**
 * Two processes with one key: a home that was copied and runs twice, which cannot dial each other. A third instance that
 * has links to both asks each for a fresh proof that it lives, so that a quick restart is not taken for a copy, and tells both.
 */
import { bytesToId, encode } from '../core/index.ts'
import type { Encodable, InstanceId, PublicKey, Random } from '../core/index.ts'
import type { EvidenceRow } from '../storage/index.ts'
import { isBootProofOf, signBootProof } from './messages.ts'
import type { BootProof, ControlMessage } from './messages.ts'
import type { Session } from './session.ts'
import type { Identity } from './writer.ts'

/** Probes under way: more than peers can have. The oldest goes first. */
const probesMax = 64

export interface TwinWatchOptions {
  readonly identity: Identity
  readonly random: Random
  /** Of this process. */
  readonly boot: Uint8Array
  readonly send: (session: Session, message: Exclude<ControlMessage, { type: 'unknown' }>) => void
  /** Two processes were proven to run with one key. */
  readonly report: (evidence: Pick<EvidenceRow, 'id' | 'kind' | 'detail' | 'proof'>) => void
}

export class TwinWatch {
  readonly #options: TwinWatchOptions
  readonly #probes = new Map<string, { readonly key: PublicKey; readonly proofs: Map<string, BootProof> }>()

  constructor(options: TwinWatchOptions) {
    this.#options = options
  }

  /** Asks both for a proof of life, the same fresh nonce. */
  probe(first: Session, second: Session): void {
    const nonce = this.#options.random.bytes(16)
    this.#probes.set(bytesToId(nonce), { key: first.link.key, proofs: new Map() })
    if (this.#probes.size > probesMax) this.#probes.delete(this.#probes.keys().next().value as string)
    for (const session of [first, second]) this.#options.send(session, { type: 'probe', nonce })
  }

  /** The answer to a probe of this process. */
  answer(nonce: Uint8Array): BootProof {
    const { boot, identity } = this.#options
    return signBootProof(identity.key, identity.agent, nonce, boot)
  }

  /** Takes an answer; the second to one probe proves the case, and all links of that key in `sessions` are told. */
  receive(session: Session, proof: BootProof, sessions: Iterable<Session>): void {
    const { identity, report, send } = this.#options
    const probe = this.#probes.get(bytesToId(proof.nonce))
    if (probe === undefined || probe.key !== session.link.key || bytesToId(proof.boot) !== session.boot) return
    if (!isBootProofOf(proof, probe.key, identity.agent)) return
    probe.proofs.set(session.boot, proof)
    const [first, second] = [...probe.proofs.values()]
    if (first === undefined || second === undefined) return
    this.#probes.delete(bytesToId(proof.nonce))
    report(evidenceOf(session.member.instance, session.member.label, [first, second]))
    for (const other of sessions) if (other.link.key === probe.key) send(other, { type: 'twin', proofs: [first, second] })
  }

  /** A peer has seen two processes with our key: both proofs are signed by it for one nonce, and one of them is not this process. */
  notice(proofs: readonly [BootProof, BootProof]): void {
    const { boot, identity, report } = this.#options
    if (Buffer.compare(proofs[0].nonce, proofs[1].nonce) !== 0) return
    if (!proofs.every((proof) => isBootProofOf(proof, identity.key.publicKey, identity.agent))) return
    const isThis = proofs.map((proof) => Buffer.compare(proof.boot, boot) === 0)
    if (isThis[0] !== isThis[1]) report(evidenceOf(identity.instance, null, proofs))
  }
}

/** The case as a person reads it; `name` is null where the instance is this one. */
function evidenceOf(instance: InstanceId, name: string | null, proofs: readonly BootProof[]): Parameters<TwinWatchOptions['report']>[0] {
  const who = name === null ? 'this instance' : `instance ${name}`
  const where = name === null ? '' : ' on that machine'
  const detail = `two daemons run with the key of ${who} at once: its home was copied. Nothing is lost, but stop one of them (selfsame down)${where}, or make the copy an instance of its own (selfsame key rotate --new-instance, on the copy)`
  const proof = encode(proofs.map((item): Encodable => [item.nonce, item.boot, item.signature]))
  return { id: `second-copy:${instance}`, kind: 'second-copy', detail, proof }
}
