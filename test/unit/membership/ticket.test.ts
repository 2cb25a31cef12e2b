import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AgentId, PublicKey } from '../../../src/core/index.ts'
import { decodeTicket, encodeTicket, isMemberName, ticketAddressesMax } from '../../../src/membership/index.ts'
import type { Ticket } from '../../../src/membership/index.ts'
import { agent, firstKey, foundedAt } from './world.ts'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const hexadecimal = bytes32.map((bytes) => Buffer.from(bytes).toString('hex'))
const segment = fc.stringMatching(/^[!-.0-~]{1,20}$/u)
const tickets: fc.Arbitrary<Ticket> = fc.record({
  agent: hexadecimal.map((id) => id as AgentId),
  agentName: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 64 }).filter(isMemberName),
  issuer: hexadecimal.map((id) => id as PublicKey),
  addresses: fc.array(
    fc.array(segment, { minLength: 1, maxLength: 6 }).map((parts) => `/${parts.join('/')}`),
    { maxLength: ticketAddressesMax },
  ),
  seed: bytes32,
  expiresAt: fc.maxSafeNat(),
})

const ticket: Ticket = {
  agent,
  agentName: 'kevin',
  issuer: firstKey.publicKey,
  addresses: ['/ip4/192.168.1.5/tcp/29001', '/ip6/fd00::5/tcp/29001'],
  seed: new Uint8Array(32).fill(7),
  expiresAt: foundedAt,
}
const text = encodeTicket(ticket)
const alphabet = Array.from('abcdefghijklmnopqrstuvwxyz234567')

describe('a ticket', () => {
  test('is read as it was made', () => {
    fc.assert(
      fc.property(tickets, (made) => {
        expect(decodeTicket(encodeTicket(made))).toEqual({ ok: true, value: made })
      }),
    )
  })

  test('is read in capitals, and with the spaces and line breaks of a mail', () => {
    const mailed = `  ${text.toUpperCase().replaceAll(/.{60}/gu, '$&\n > '.replace('>', ''))}\r\n`
    expect(decodeTicket(mailed)).toEqual({ ok: true, value: ticket })
  })

  test('with one wrong character anywhere is refused', () => {
    const places = Array.from({ length: text.length - 'selfsame1-'.length }, (_, index) => 'selfsame1-'.length + index)
    const typos = places.flatMap((at) => alphabet.map((character) => text.slice(0, at) + character + text.slice(at + 1)))
    expect(typos.filter((typo) => typo !== text && decodeTicket(typo).ok)).toEqual([])
  })

  test('with a character left out, put in, or two exchanged is refused', () => {
    for (let at = 'selfsame1-'.length; at < text.length; at++) {
      expect(decodeTicket(text.slice(0, at) + text.slice(at + 1)).ok).toBe(false)
      expect(decodeTicket(`${text.slice(0, at)}q${text.slice(at)}`).ok).toBe(false)
      const exchanged = `${text.slice(0, at)}${text.slice(at + 1, at + 2)}${text.slice(at, at + 1)}${text.slice(at + 2)}`
      if (exchanged !== text) expect(decodeTicket(exchanged).ok).toBe(false)
    }
  })

  test('that is anything at all is refused without throwing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (any) => {
        expect(decodeTicket(any).ok).toBe(false)
      }),
    )
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...alphabet) }), (any) => {
        expect(decodeTicket(`selfsame1-${any}`).ok).toBe(false)
      }),
    )
  })

  test.each([
    ['', 'a ticket begins with selfsame1-'],
    ['hello', 'a ticket begins with selfsame1-'],
    ['selfsame2-abc', 'this ticket is of another version of selfsame: use the same on both sides'],
    [`${text}!`, 'the ticket is mistyped or a part is missing: copy it again, whole'],
    [text.slice(0, -20), 'the ticket is mistyped or a part is missing: copy it again, whole'],
    ['a'.repeat(20_000), 'this is too long to be a ticket'],
  ])('of the wrong sort %# is refused with what is wrong and what to do', (wrong, reason) => {
    expect(decodeTicket(wrong)).toEqual({ ok: false, reason })
  })

  test('carries the first sixteen addresses', () => {
    const addresses = Array.from({ length: 20 }, (_, index) => `/ip4/10.0.0.${index}/tcp/1`)
    expect(decodeTicket(encodeTicket({ ...ticket, addresses }))).toMatchObject({
      value: { addresses: addresses.slice(0, ticketAddressesMax) },
    })
  })
})
