import { describe, expect, it } from 'vitest'
import { createSigningKey, hashOf, hashToId, signingKeyOf, systemRandom, verifySignature } from '../../../src/core/index.ts'
import type { PublicKey } from '../../../src/core/index.ts'

describe('signing keys', () => {
  it('agree with the test vector of RFC 8032, section 7.1, in their public key', () => {
    const key = signingKeyOf(Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex'))
    expect(key.publicKey).toBe('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
  })

  it('sign what only their public key verifies, in the domain in which it was signed', () => {
    const key = createSigningKey(systemRandom)
    const other = createSigningKey(systemRandom)
    const message = Buffer.from('the memory of an agent')
    const signature = key.sign('a', message)
    expect(verifySignature(key.publicKey, 'a', message, signature)).toBe(true)
    expect(verifySignature(key.publicKey, 'b', message, signature)).toBe(false)
    expect(verifySignature(other.publicKey, 'a', message, signature)).toBe(false)
    expect(verifySignature(key.publicKey, 'a', Buffer.from('the memory of another'), signature)).toBe(false)
    for (const index of [0, 31, 32, 63]) {
      const broken = Uint8Array.from(signature)
      broken[index] = (broken[index] as number) ^ 1
      expect(verifySignature(key.publicKey, 'a', message, broken)).toBe(false)
    }
  })

  it('call a malformed key or signature invalid instead of throwing', () => {
    const key = createSigningKey(systemRandom)
    const message = Buffer.from('x')
    expect(verifySignature(key.publicKey, 'a', message, new Uint8Array(3))).toBe(false)
    expect(verifySignature('00ff' as PublicKey, 'a', message, key.sign('a', message))).toBe(false)
  })
})

describe('hashes', () => {
  it('differ by their domain and are the same in both forms', () => {
    const part = Buffer.from('part')
    expect(Buffer.from(hashOf('a', part)).toString('hex')).toBe(hashToId('a', part))
    expect(hashToId('a', part)).not.toBe(hashToId('b', part))
  })
})
