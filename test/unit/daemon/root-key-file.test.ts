import fc from 'fast-check'
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { createSigningKey, systemRandom } from '../../../src/core/index.ts'
import { readSealedRootKey, sealRootKey } from '../../../src/daemon/root-key-file.ts'
import type { RootKey } from '../../../src/daemon/root-key-file.ts'
import { signGenesis } from '../../../src/membership/index.ts'

/** The least work that is accepted: some 20 ms. */
const N = 2 ** 14
const passphrase = 'some good words'

function createRootKey(name = 'kevin'): RootKey {
  const key = createSigningKey(systemRandom)
  return { key, genesis: signGenesis({ name, nonce: systemRandom.bytes(16), time: 1_800_000_000_000 }, key) }
}

function open(text: string, words: string) {
  const sealed = readSealedRootKey(text)
  return sealed.ok ? sealed.value.open(words) : sealed
}

const rootKey = createRootKey()
const text = sealRootKey(rootKey, passphrase, systemRandom, N)
type Fields = Record<string, unknown> & { scrypt: Record<string, unknown> }
const fields = (): Fields => JSON.parse(text) as Fields

/** A file with other contents and the checksum that fits them, as somebody would write it on purpose. */
function forged(changed: Fields): string {
  const { about, format, genesis, nonce, scrypt, sealed } = changed
  const head = JSON.stringify([about, format, genesis, [scrypt['N'], scrypt['r'], scrypt['p'], scrypt['salt']], nonce])
  return JSON.stringify({ ...changed, checksum: crc32(String(sealed), crc32(head)).toString(16).padStart(8, '0') })
}

describe('a sealed root key', () => {
  test('comes out with the passphrase that it was sealed with, whatever that is, and with no other', () => {
    const words = fc.string({ minLength: 8, maxLength: 64, unit: 'grapheme' })
    fc.assert(
      fc.property(words, words, (right, wrong) => {
        const one = createRootKey()
        const file = sealRootKey(one, right, systemRandom, N)
        const opened = open(file, right)
        expect(opened.ok && opened.value.key.seed).toEqual(one.key.seed)
        expect(opened.ok && opened.value.genesis.agent).toBe(one.genesis.agent)
        fc.pre(right.normalize('NFKC') !== wrong.normalize('NFKC'))
        expect(open(file, wrong).ok).toBe(false)
      }),
      { numRuns: 25 },
    )
  })

  test('opens with the same passphrase from another keyboard', () => {
    const file = sealRootKey(rootKey, 'caf\u00e9 au lait', systemRandom, N)
    expect(open(file, 'cafe\u0301 au lait').ok).toBe(true)
  })

  test('names its agent before it is opened, and holds neither the key nor the passphrase in the open', () => {
    const sealed = readSealedRootKey(text)
    expect(sealed.ok && sealed.value.genesis).toMatchObject({ agent: rootKey.genesis.agent, name: 'kevin' })
    expect(text).not.toContain(Buffer.from(rootKey.key.seed).toString('hex'))
    expect(text).not.toContain(passphrase)
  })

  test('is sealed anew each time, by scrypt with 2^17 blocks of 1 KiB unless told', () => {
    const [one, other] = [sealRootKey(rootKey, passphrase, systemRandom), sealRootKey(rootKey, passphrase, systemRandom)].map(
      (file) => JSON.parse(file) as Fields,
    )
    expect(one?.scrypt).toMatchObject({ N: 131_072, r: 8, p: 1 })
    expect(one?.scrypt['salt']).not.toBe(other?.scrypt['salt'])
    expect(one?.['nonce']).not.toBe(other?.['nonce'])
    expect(one?.['sealed']).not.toBe(other?.['sealed'])
    expect(open(sealRootKey(rootKey, passphrase, systemRandom), passphrase).ok).toBe(true)
  })

  test('needs a passphrase worth the name', () => {
    expect(() => sealRootKey(rootKey, 'short', systemRandom, N)).toThrow('at least 8 characters')
  })
})

describe('a root key file is refused', () => {
  test('with any byte changed, but for white space by white space', () => {
    const bytes = Buffer.from(text)
    const isSpace = (byte: number): boolean => [9, 10, 13, 32].includes(byte)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (index, byte) => {
        fc.pre(bytes[index] !== byte && !(isSpace(bytes[index] ?? 0) && isSpace(byte)))
        const changed = Buffer.from(bytes)
        changed[index] = byte
        expect(readSealedRootKey(changed.toString()).ok).toBe(false)
      }),
      { numRuns: 5_000 },
    )
  })

  test('cut off anywhere', () => {
    for (let length = 0; length < text.length - 1; length += 1) expect(readSealedRootKey(text.slice(0, length)).ok).toBe(false)
  })

  test.each(['about', 'nonce', 'salt', 'sealed'])('with another %s, also where the checksum was made to fit', (field) => {
    const changed = fields()
    const flip = (value: unknown): string => `${String(value).startsWith('a') ? 'b' : 'a'}${String(value).slice(1)}`
    if (field === 'salt') changed.scrypt['salt'] = flip(changed.scrypt['salt'])
    else changed[field] = flip(changed[field])
    expect(open(forged(changed), passphrase)).toEqual({ ok: false, reason: 'the passphrase is not the one that it was sealed with' })
  })

  test('with the record of another agent', () => {
    const other = createRootKey('ada')
    const changed = { ...fields(), genesis: Buffer.from(other.genesis.bytes).toString('hex') }
    expect(open(forged(changed), passphrase).ok).toBe(false)
  })

  test('that was sealed around the wrong key', () => {
    const wrong = { key: createRootKey().key, genesis: rootKey.genesis }
    expect(open(sealRootKey(wrong, passphrase, systemRandom, N), passphrase)).toEqual({
      ok: false,
      reason: 'it holds another key than the root key of its agent',
    })
  })

  test.each([
    ['less work than ever was written', 2 ** 10],
    ['more than a machine can bear', 2 ** 30],
    ['a number that scrypt does not take', 2 ** 14 + 1],
  ])('that asks for %s', (_, asked) => {
    const changed = fields()
    changed.scrypt['N'] = asked
    expect(readSealedRootKey(forged(changed)).ok).toBe(false)
  })

  test('of a later format, with what to do', () => {
    expect(readSealedRootKey(JSON.stringify({ format: 'selfsame-root-key-2' }))).toEqual({
      ok: false,
      reason: 'it was written by a newer selfsame: use that one',
    })
  })

  test.each(['', '{}', 'null', '[]', 'hello', 'x'.repeat(100_000), '{"format":7}'])('that is none: %j', (other) => {
    expect(readSealedRootKey(other).ok).toBe(false)
  })
})
