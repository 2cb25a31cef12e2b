/** Whether stored rows are what was stored: each held against the hashes that stand beside it. */
import { hash as hashOnce } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { EnvelopeHash } from '../core/index.ts'
import { recordHash } from '../membership/index.ts'
import { hash48Of, hash48OfBody, hash48OfState } from './hash48.ts'
import type { Damage } from './store.ts'

type Bytes = Uint8Array

/** Columns of `envelope` that are checked. */
export interface EnvelopeCheck {
  readonly hash48: number
  /** Of the header as it is. */
  readonly hash: EnvelopeHash
  readonly signature: Bytes | null
  readonly signatureCrc: number | null
  /** Null where it was stored by a version that kept neither this nor `signatureCrc`. */
  readonly bodyCount: number | null
}

/** Index in the envelope, hash48, salt, bytes. */
export type BodyColumns = readonly [number, number, Bytes, Bytes]

type Part = Extract<Damage, { readonly kind: 'envelope' }>['part']

/** What of an envelope is damaged, if anything. */
export function damagedPart(envelope: EnvelopeCheck, bodies: readonly BodyColumns[]): Part | undefined {
  const { bodyCount, hash, hash48, signature, signatureCrc } = envelope
  if (hash48Of(hash) !== hash48) return 'header'
  const areSound = bodies.every(
    ([place, hash48Stored, salt, bytes], index) => place === index && hash48OfBody({ salt, bytes }) === hash48Stored,
  )
  if (!areSound || (bodyCount !== null && bodies.length !== bodyCount)) return 'body'
  const crc = signature === null ? null : crc32(signature)
  return bodyCount !== null && crc !== signatureCrc ? 'signature' : undefined
}

/** Of a record: whether its bytes are those of its hash. */
export function isRecordSound(hashStored: string, bytes: Bytes): boolean {
  return recordHash(bytes) === hashStored
}

/** Of a snapshot of a document. */
export function isStateSound(hash48: number, state: Bytes): boolean {
  return hash48OfState(state) === hash48
}

/** Of an earlier content of a text. */
export function isTextSound(version: string, content: string): boolean {
  return hashOnce('sha256', content) === version
}
