import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { openTokens } from '../../../src/api/index.ts'
import type { TokenShelf } from '../../../src/api/index.ts'
import { SelfsameError, systemClock, systemRandom } from '../../../src/core/index.ts'
import type { Clock } from '../../../src/core/index.ts'
import { createMemoryShelf } from './memory-agent.ts'

interface OpenOptions {
  readonly shelf?: TokenShelf
  readonly clock?: Clock
}

function open({ shelf = createMemoryShelf(), clock = systemClock }: OpenOptions = {}) {
  return openTokens({ shelf, clock, random: systemRandom })
}

/** A wall clock that is set by hand. */
function createHands(): Clock & { milliseconds: number } {
  return {
    ...systemClock,
    milliseconds: 1_800_000_000_000,
    now() {
      return this.milliseconds
    },
  }
}

describe('a token', () => {
  test('is recognised, and shown only when it is made', () => {
    const shelf = createMemoryShelf()
    const tokens = open({ shelf })
    const { token, ...rest } = tokens.create({ name: 'scout', allow: ['text/*:read'] })
    expect(token).toMatch(/^selfsame-token-[A-Za-z0-9_-]{43}$/)
    expect(tokens.list()).toEqual([rest])
    expect(tokens.recognise(token)?.name).toBe('scout')
    expect(tokens.recognise(token)?.scope.allows('read', 'text', 'SOUL.md')).toBe(true)
    expect(JSON.stringify([tokens.list(), shelf.read()])).not.toContain(token.slice(-43))
  })

  test('is kept as a hash of its domain', () => {
    const shelf = createMemoryShelf()
    const { token } = open({ shelf }).create({ name: 'scout', allow: ['all'] })
    const secret = Buffer.from(token.slice('selfsame-token-'.length), 'base64url')
    const hash = createHash('sha256').update('selfsame/token/1\0').update(secret).digest('hex')
    expect(JSON.parse(shelf.read() ?? '')).toMatchObject({ version: 1, tokens: [{ name: 'scout', hash, allow: ['all'], expires: null }] })
  })

  test('is not another one, nor a part of one', () => {
    const tokens = open()
    const made = ['a', 'b'].map((name) => tokens.create({ name, allow: ['all'] }).token)
    expect(new Set(made).size).toBe(2)
    const last = made[0]?.slice(-43) ?? ''
    const wrong = [
      '',
      'selfsame-token-',
      last,
      `${made[0]}A`,
      made[0]?.slice(0, -1) ?? '',
      `selfsame-token-${'A'.repeat(43)}`,
      `${made[0]} `,
    ]
    for (const token of wrong) expect(tokens.recognise(token)).toBeUndefined()
  })

  test('is there after a restart, with its scope', () => {
    const shelf = createMemoryShelf()
    const { token } = open({ shelf }).create({ name: 'scout', allow: ['log/memory:append'] })
    const grant = open({ shelf }).recognise(token)
    expect([grant?.name, grant?.scope.allows('append', 'log', 'memory'), grant?.scope.allows('read', 'log', 'memory')]).toEqual([
      'scout',
      true,
      false,
    ])
  })

  test('ends when it is revoked, also for who holds it', () => {
    const tokens = open()
    const { token } = tokens.create({ name: 'scout', allow: ['all'] })
    const grant = tokens.recognise(token)
    expect(grant?.isValid()).toBe(true)
    tokens.revoke('scout')
    expect([grant?.isValid(), tokens.recognise(token), tokens.list()]).toEqual([false, undefined, []])
    expect(() => tokens.revoke('scout')).toThrow(expect.objectContaining({ code: 'not-found' }))
  })

  test('made under the name of a revoked one does not bring that one back', () => {
    const tokens = open()
    const first = tokens.create({ name: 'scout', allow: ['all'] })
    const grant = tokens.recognise(first.token)
    tokens.revoke('scout')
    tokens.create({ name: 'scout', allow: ['all'] })
    expect([grant?.isValid(), tokens.recognise(first.token)]).toEqual([false, undefined])
  })

  test('expires at its time, and leaves its name', () => {
    const clock = createHands()
    const tokens = open({ clock })
    const { token, expires } = tokens.create({ name: 'scout', allow: ['all'], expiresSeconds: 60 })
    expect(expires).toBe(new Date(clock.milliseconds + 60_000).toISOString())
    const grant = tokens.recognise(token)
    clock.milliseconds += 59_999
    expect([grant?.isValid(), tokens.recognise(token)?.name]).toEqual([true, 'scout'])
    clock.milliseconds += 1
    expect([grant?.isValid(), tokens.recognise(token)]).toEqual([false, undefined])
    tokens.create({ name: 'scout', allow: ['all'] })
    expect(tokens.list()).toHaveLength(1)
  })

  test('has a name of its own', () => {
    const tokens = open()
    tokens.create({ name: 'scout', allow: ['all'] })
    expect(() => tokens.create({ name: 'scout', allow: ['text/*:read'] })).toThrow(expect.objectContaining({ code: 'invalid-request' }))
    expect(tokens.list()).toHaveLength(1)
  })

  test('is one of at most 256', () => {
    const tokens = open()
    for (let count = 0; count < 256; count++) tokens.create({ name: `t${count}`, allow: ['all'] })
    expect(() => tokens.create({ name: 'more', allow: ['all'] })).toThrow('256 tokens')
  })

  test('is in force only when it is on the shelf, and is in force as long as it is there', () => {
    const inner = createMemoryShelf()
    let full = false
    const shelf: TokenShelf = {
      read: () => inner.read(),
      write(text) {
        if (full) throw new SelfsameError('storage-failed', 'no space')
        inner.write(text)
      },
    }
    const tokens = open({ shelf })
    const { token } = tokens.create({ name: 'scout', allow: ['all'] })
    full = true
    expect(() => tokens.create({ name: 'other', allow: ['all'] })).toThrow('no space')
    expect(() => tokens.revoke('scout')).toThrow('no space')
    expect([tokens.list().map(({ name }) => name), tokens.recognise(token)?.name]).toEqual([['scout'], 'scout'])
  })

  test.each([
    '',
    '{',
    '[]',
    '{"version":2,"tokens":[]}',
    '{"version":1,"tokens":[{"name":"a","hash":"00","allow":["all"],"created":0,"expires":null}]}',
  ])('is not guessed from a damaged file: %j', (text) => {
    expect(() => open({ shelf: createMemoryShelf(text) })).toThrow(expect.objectContaining({ code: 'invalid-configuration' }))
  })
})
