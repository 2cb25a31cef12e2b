/** Cases that the fuzzer, or whoever wrote it, found: each broke a promise before its mend. */
import * as encoding from 'lib0/encoding'
import { describe, expect, test } from 'vitest'
import { bytesToId, decode, encode, signingKeyOf, stampOf } from '../../../src/core/index.ts'
import type { Encodable } from '../../../src/core/index.ts'
import { openLiveDocument, openPresence } from '../../../src/document/index.ts'
import type { Edit, LiveKind } from '../../../src/document/index.ts'
import { decodeHeader, decodeUpdateBody, encodeUpdateBody, envelopeToWire, referenceTo, sealEnvelope } from '../../../src/feed/index.ts'
import { decodeChunk, decodeControl, encodeChunk } from '../../../src/replica/messages.ts'
import { head } from './cbor-mutations.ts'
import { zstdBomb } from './message-decoders.ts'

const refused = { ok: false }

describe('text that begins with a byte order mark', () => {
  test.each<[LiveKind, Edit]>([
    ['set', { type: 'set.add', member: '\ufeffmember' }],
    ['counter', { type: 'counter.add', key: '\ufeffkey', amount: 1n }],
    ['register', { type: 'register.set', key: '\ufeffkey', value: '\ufeffvalue' }],
  ])('is taken from a peer in a %s as it was written here', (kind, edit) => {
    const stamp = stampOf(1, 0)
    const update = openLiveDocument(kind, null).edit({ client: 7, stamp, textVersion: () => undefined }, (apply) => apply(edit))
    expect(openLiveDocument(kind, null).check(update!, { client: 7, stamp, pastClock: () => 0 })).toMatchObject({ ok: true })
  })

  test('stays in the name of a document', () => {
    const body = { kind: 'set', name: '\ufeffname', segment: null, update: new Uint8Array(0), operations: [] }
    expect(decodeUpdateBody(encodeUpdateBody(body))).toEqual({ ok: true, value: body })
  })
})

describe('a header', () => {
  const headerOf = (format: Uint8Array): Uint8Array => Buffer.concat([head(4, 12n), format, encode([...new Uint8Array(11)]).subarray(1)])

  test('is refused where its format is a map that cannot be made text', () => {
    expect(decodeHeader(headerOf(Buffer.from('a168746f537472696e6701', 'hex')))).toMatchObject(refused)
  })

  test('is refused without quoting a long format', () => {
    const result = decodeHeader(headerOf(encode(new Uint8Array(10_000))))
    expect(result.ok ? '' : result.reason).toBe('bad header format')
  })
})

test('a presence that is not UTF-8 is refused: y-protocols throws at it', () => {
  const update = encoding.encode((encoder) => {
    for (const number of [1, 7, 1]) encoding.writeVarUint(encoder, number)
    encoding.writeVarUint8Array(encoder, Buffer.from('{"a":"\xff"}', 'latin1'))
  })
  expect(openPresence({ begin: 0, client: 1, now: () => 0 }).apply(update, 7)).toMatchObject(refused)
})

describe('a message of tiny items', () => {
  const items = (count: number, byte: number): Uint8Array => Buffer.concat([head(4, BigInt(count)), new Uint8Array(count).fill(byte)])

  test.each([
    ['empty lists', 0x80],
    ['empty bytes', 0x40],
    ['numbers', 0],
  ])('is refused where it holds more %s than any message has use for', (_, byte) => {
    const message = Buffer.concat([Uint8Array.of(0x82, 23), items(300_000, byte)])
    expect(decode(message).ok).toBe(true)
    expect(decodeControl(message)).toMatchObject(refused)
  })

  test('shares the one empty array of bytes', () => {
    const decoded = decode(items(2, 0x40))
    const [first, second] = decoded.ok ? (decoded.value as readonly unknown[]) : []
    expect(first).toEqual(new Uint8Array(0))
    expect(first).toBe(second)
  })
})

describe('a chunk', () => {
  const chunkOf = (frame: Uint8Array): Uint8Array => encode([1, 1, true, frame])

  test('is refused where its frame asks for more memory than a chunk can take', () => {
    expect(decodeChunk(chunkOf(zstdBomb(1_000, 0, 27)))).toEqual({ ok: false, reason: 'a chunk does not unpack within its limit' })
    expect(decodeChunk(chunkOf(zstdBomb(1_000, 0, 23)))).not.toEqual({ ok: false, reason: 'a chunk does not unpack within its limit' })
  })

  test('is refused where it unpacks to more than a frame', () => {
    expect(decodeChunk(chunkOf(zstdBomb(512 << 20, 0)))).toEqual({ ok: false, reason: 'a chunk does not unpack within its limit' })
  })

  test('is refused where it holds more envelopes and bodies than an honest one', () => {
    const key = signingKeyOf(new Uint8Array(32))
    const body = { salt: new Uint8Array(16), bytes: new Uint8Array(0) }
    const reference = referenceTo(body, { type: 9, schema: 1, critical: false, document: bytesToId(new Uint8Array(32)) })
    const id = <Id extends string>(length: number): Id => bytesToId<Id>(new Uint8Array(length))
    const envelopeOf = (bodies: number): Encodable =>
      envelopeToWire(
        sealEnvelope(
          {
            format: 1,
            rules: 1,
            agent: id(32),
            space: 'main',
            feed: id(16),
            sequence: 2,
            previous: id(32),
            stamp: stampOf(1, 0),
            deps: [],
            records: [],
            bodies: Array.from({ length: bodies }, () => reference),
            opening: null,
          },
          Array.from({ length: bodies }, () => body),
          key,
        ),
      )
    const chunkOfParts = (envelopes: number, bodies: number): Uint8Array =>
      encodeChunk(1, true, Array.from({ length: envelopes }).fill(envelopeOf(bodies)) as Encodable[])
    expect(decodeChunk(chunkOfParts(4_096, 0))).toMatchObject({ ok: true })
    expect(decodeChunk(chunkOfParts(4_097, 0))).toEqual({ ok: false, reason: 'too many envelopes in one chunk' })
    expect(decodeChunk(chunkOfParts(16, 255))).toMatchObject({ ok: true })
    expect(decodeChunk(chunkOfParts(17, 255))).toEqual({ ok: false, reason: 'too many envelopes in one chunk' })
  })
})
