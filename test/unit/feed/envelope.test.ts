import { describe, expect, it } from 'vitest'
import { createSigningKey, decode, encode, envelopeBytesMax, stampOf, systemRandom } from '../../../src/core/index.ts'
import type { AgentId, DocumentId, EnvelopeHash, InstanceId, RecordHash, SigningKey } from '../../../src/core/index.ts'
import {
  bodyTypeUpdate,
  clientIdOf,
  decodeHeader,
  encodeHeader,
  envelopeFromWire,
  envelopeSize,
  envelopeToWire,
  feedIdOf,
  formatVersion,
  headerHash,
  isSignedBy,
  mainSpace,
  referenceTo,
  rulesVersion,
  sealEnvelope,
} from '../../../src/feed/index.ts'
import type { Body, Envelope, Header } from '../../../src/feed/index.ts'
import { bytes, fc, id } from '../core/arbitraries.ts'

const hashes = <Id extends string>(): fc.Arbitrary<Id[]> => fc.uniqueArray(id<Id>(32), { maxLength: 5 }).map((list) => list.toSorted())
const body: fc.Arbitrary<Body> = fc.record({ salt: bytes(16), bytes: fc.uint8Array({ maxLength: 300 }) })

interface Draft {
  readonly agent: AgentId
  readonly instance: InstanceId
  readonly nonce: Uint8Array
  readonly sequence: number
  readonly previous: EnvelopeHash | null
  readonly deps: readonly EnvelopeHash[]
  readonly records: readonly RecordHash[]
  readonly bodies: readonly { readonly document: DocumentId; readonly body: Body }[]
  readonly milliseconds: number
}

const draft: fc.Arbitrary<Draft> = fc.record({
  agent: id<AgentId>(32),
  instance: id<InstanceId>(16),
  nonce: bytes(16),
  sequence: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  previous: fc.option(id<EnvelopeHash>(32)),
  deps: hashes<EnvelopeHash>(),
  records: hashes<RecordHash>(),
  bodies: fc.array(fc.record({ document: id<DocumentId>(32), body }), { maxLength: 4 }),
  milliseconds: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
})

function seal(content: Draft, key: SigningKey): Envelope {
  const opening = { instance: content.instance, key: key.publicKey, nonce: content.nonce }
  const header: Header = {
    format: formatVersion,
    rules: rulesVersion,
    agent: content.agent,
    space: mainSpace,
    feed: feedIdOf(content.agent, opening),
    sequence: content.sequence,
    previous: content.sequence > 1 ? (content.previous ?? ('00'.repeat(32) as EnvelopeHash)) : content.previous,
    stamp: stampOf(content.milliseconds, 3),
    deps: content.deps,
    records: content.records,
    bodies: content.bodies.map(({ document, body: each }) =>
      referenceTo(each, { type: bodyTypeUpdate, schema: 1, critical: true, document }),
    ),
    opening: content.sequence === 1 ? opening : null,
  }
  return sealEnvelope(
    header,
    content.bodies.map((item) => item.body),
    key,
  )
}

const key = createSigningKey(systemRandom)

function throughWire(envelope: Envelope): ReturnType<typeof envelopeFromWire> {
  const decoded = decode(encode(envelopeToWire(envelope)))
  return envelopeFromWire(decoded.ok ? decoded.value : null)
}

describe('an envelope', () => {
  it('arrives as it was sealed, under the same hash, and its signature holds', () => {
    fc.assert(
      fc.property(draft, (content) => {
        const envelope = seal(content, key)
        const read = throughWire(envelope)
        expect(read).toEqual({ ok: true, value: envelope })
        expect(isSignedBy(envelope, key.publicKey)).toBe(true)
        expect(isSignedBy(envelope, createSigningKey(systemRandom).publicKey)).toBe(false)
      }),
      { numRuns: 50 },
    )
  })

  it('is not authentic once a byte of its header is another', () => {
    fc.assert(
      fc.property(draft, fc.nat(), fc.integer({ min: 1, max: 255 }), (content, at, flip) => {
        const envelope = seal(content, key)
        const headerBytes = Uint8Array.from(envelope.headerBytes)
        const index = at % headerBytes.length
        headerBytes[index] = (headerBytes[index] as number) ^ flip
        const read = throughWire({ ...envelope, headerBytes })
        expect(read.ok && isSignedBy(read.value, key.publicKey)).toBe(false)
      }),
      { numRuns: 100 },
    )
  })

  it('is refused when a body is not the one that its header names', () => {
    fc.assert(
      fc.property(
        draft.filter((content) => content.bodies.some((item) => item.body.bytes.length > 0)),
        (content) => {
          const envelope = seal(content, key)
          const index = envelope.bodies.findIndex((item) => item.bytes.length > 0)
          const changed = envelope.bodies.map((item, at) => (at === index ? { ...item, bytes: item.bytes.map((byte) => byte ^ 1) } : item))
          expect(throughWire({ ...envelope, bodies: changed }).ok).toBe(false)
          expect(throughWire({ ...envelope, bodies: envelope.bodies.slice(1) }).ok).toBe(false)
          const salted = envelope.bodies.map((item) => ({ ...item, salt: item.salt.map((byte) => byte ^ 1) }))
          expect(throughWire({ ...envelope, bodies: salted }).ok).toBe(false)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('is refused above the size that an envelope may have', () => {
    const large = { salt: new Uint8Array(16), bytes: new Uint8Array(1_500_000) }
    const bodies = [1, 2, 3].map((each) => ({ document: `0${each}`.repeat(32) as DocumentId, body: large }))
    const envelope = seal(
      {
        agent: '11'.repeat(32) as AgentId,
        instance: '22'.repeat(16) as InstanceId,
        nonce: new Uint8Array(16),
        sequence: 1,
        previous: null,
        deps: [],
        records: [],
        bodies,
        milliseconds: 1,
      },
      key,
    )
    expect(envelopeSize(envelope)).toBeGreaterThan(envelopeBytesMax)
    expect(throughWire(envelope)).toEqual({ ok: false, reason: 'envelope too large' })
  })

  it('is read or refused, never a crash, whatever bytes come', () => {
    fc.assert(
      fc.property(fc.anything(), fc.uint8Array({ maxLength: 300 }), (value, raw) => {
        expect(typeof envelopeFromWire(value).ok).toBe('boolean')
        expect(typeof envelopeFromWire([raw, null, []]).ok).toBe('boolean')
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('a header', () => {
  const content: Draft = {
    agent: '11'.repeat(32) as AgentId,
    instance: '22'.repeat(16) as InstanceId,
    nonce: new Uint8Array(16),
    sequence: 1,
    previous: null,
    deps: [],
    records: [],
    bodies: [],
    milliseconds: 1,
  }
  const { header } = seal(content, key)
  const reason = (changed: Partial<Header>): string => {
    const read = decodeHeader(encodeHeader({ ...header, ...changed }))
    return read.ok ? 'accepted' : read.reason
  }

  it('binds its feed to the opening that made it', () => {
    expect(reason({})).toBe('accepted')
    expect(
      reason({ opening: { ...(header.opening as NonNullable<Header['opening']>), key: createSigningKey(systemRandom).publicKey } }),
    ).toMatch(/hash of its opening/)
    expect(reason({ agent: '33'.repeat(32) as AgentId })).toMatch(/hash of its opening/)
  })

  it('opens at sequence 1 and nowhere else, and then names what came before it', () => {
    expect(reason({ opening: null })).toMatch(/opening belongs to sequence 1/)
    expect(reason({ sequence: 2, previous: '44'.repeat(32) as EnvelopeHash })).toMatch(/opening belongs to sequence 1/)
    expect(reason({ sequence: 2, opening: null })).toMatch(/name its previous/)
    expect(reason({ sequence: 0 })).toMatch(/sequence/)
  })

  it('lists what it names in order and once', () => {
    const [low, high] = ['01'.repeat(32), '02'.repeat(32)] as EnvelopeHash[] as [EnvelopeHash, EnvelopeHash]
    expect(reason({ deps: [low, high] })).toBe('accepted')
    expect(reason({ deps: [high, low] })).toBe('bad deps')
    expect(reason({ deps: [low, low] })).toBe('bad deps')
    expect(reason({ records: [high, low] as string[] as RecordHash[] })).toBe('bad records')
  })

  it('is refused in a format that is not known', () => {
    expect(reason({ format: 2 })).toMatch(/format 2/)
  })

  it('has another hash for every other content', () => {
    expect(headerHash(encodeHeader(header))).not.toBe(headerHash(encodeHeader({ ...header, stamp: stampOf(2, 0) })))
  })
})

describe('the client id of a feed', () => {
  it('is a positive whole number of at most 53 bits, made of the first bits of the feed id', () => {
    fc.assert(
      fc.property(id<Header['feed']>(16), (feed) => {
        const client = clientIdOf(feed)
        expect(Number.isSafeInteger(client) && client > 0).toBe(true)
        expect(BigInt(client)).toBe(BigInt(`0x${feed}`) >> 75n || 1n)
      }),
    )
  })
})
