import * as encoding from 'lib0/encoding'
import { describe, expect, test } from 'vitest'
import { openPresence } from '../../../src/document/index.ts'
import type { Presence } from '../../../src/document/index.ts'

function createTime(start: number = 1_000_000) {
  let time = start
  return { now: () => time, pass: (milliseconds: number) => (time += milliseconds) }
}

function stateOf(presence: Presence, client: number): unknown {
  return presence.states().get(client)?.state
}

const message = (client: number, clock: number, json: string, count: number = 1) =>
  encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, count)
    encoding.writeVarUint(encoder, client)
    encoding.writeVarUint(encoder, clock)
    encoding.writeVarString(encoder, json)
  })

describe('presence', () => {
  test('what one instance tells of itself the other sees, until it goes offline', () => {
    const time = createTime()
    const a = openPresence({ begin: time.now(), client: 1, now: time.now })
    const b = openPresence({ begin: time.now(), client: 2, now: time.now })
    expect(a.states().size).toBe(0)
    a.setLocal({ status: 'writing the report' })
    expect(b.apply(a.encode([1]), 1)).toEqual({ ok: true, value: true })
    expect(stateOf(b, 1)).toEqual({ status: 'writing the report' })
    expect(b.apply(a.encode([1]), 1)).toEqual({ ok: true, value: false })
    a.setLocal(null)
    expect(b.apply(a.encode([1]), 1)).toEqual({ ok: true, value: true })
    expect(b.states().size).toBe(0)
  })

  test('an older message never undoes a newer one', () => {
    const time = createTime()
    const a = openPresence({ begin: time.now(), client: 1, now: time.now })
    const b = openPresence({ begin: time.now(), client: 2, now: time.now })
    a.setLocal({ status: 'old' })
    const old = a.encode([1])
    a.setLocal({ status: 'new' })
    b.apply(a.encode([1]), 1)
    expect(b.apply(old, 1)).toEqual({ ok: true, value: false })
    expect(stateOf(b, 1)).toEqual({ status: 'new' })
  })

  test('a restarted instance supersedes its last life at once', () => {
    const time = createTime()
    const b = openPresence({ begin: time.now(), client: 2, now: time.now })
    const before = openPresence({ begin: time.now(), client: 1, now: time.now })
    for (let renewal = 0; renewal < 100; renewal++) before.setLocal({ life: 1 })
    b.apply(before.encode([1]), 1)
    time.pass(5_000)
    const after = openPresence({ begin: time.now(), client: 1, now: time.now })
    after.setLocal({ life: 2 })
    b.apply(after.encode([1]), 1)
    expect(stateOf(b, 1)).toEqual({ life: 2 })
  })

  test('who is not heard of expires by the given clock, and renewing keeps one alive', () => {
    const time = createTime()
    const a = openPresence({ begin: time.now(), client: 1, now: time.now })
    const c = openPresence({ begin: time.now(), client: 3, now: time.now })
    const b = openPresence({ begin: time.now(), client: 2, now: time.now })
    b.setLocal({})
    for (const each of [a, c]) each.setLocal({ at: 'work' })
    b.apply(a.encode([1]), 1)
    b.apply(c.encode([3]), 3)
    time.pass(20_000)
    c.setLocal({ at: 'work' })
    expect(b.apply(c.encode([3]), 3)).toEqual({ ok: true, value: true })
    time.pass(20_000)
    expect(b.expire(time.now(), 30_000)).toEqual([1])
    expect(new Set(b.states().keys())).toEqual(new Set([2, 3]))
    expect(b.states().get(3)?.seen).toBe(time.now() - 20_000)
  })

  test('a state that is too large or not JSON is not sent', () => {
    const presence = openPresence({ begin: 0, client: 1, now: () => 0 })
    expect(() => presence.setLocal({ status: 'x'.repeat(5_000) })).toThrow('shorten it')
    expect(() => presence.setLocal({ status: Number.NaN })).toThrow('not a JSON number')
    expect(presence.states().size).toBe(0)
  })

  test.each<[string, Uint8Array]>([
    ['of another client', message(4, 1, '{}')],
    ['of several clients', message(1, 1, '{}', 2)],
    ['with a state that is too large', message(1, 1, JSON.stringify({ x: 'x'.repeat(5_000) }))],
    ['with a state that is no object', message(1, 1, '[]')],
    ['with a state that is no JSON', message(1, 1, '{')],
    ['with bytes left over', Uint8Array.of(...message(1, 1, '{}'), 0)],
    ['cut short', message(1, 1, '{}').subarray(0, 3)],
    ['of nothing', new Uint8Array()],
  ])('a message %s is refused', (_, update) => {
    const presence = openPresence({ begin: 0, client: 2, now: () => 0 })
    expect(presence.apply(update, 1).ok).toBe(false)
    expect(presence.states().size).toBe(0)
  })

  test('no one can speak under our own id', () => {
    const presence = openPresence({ begin: 0, client: 2, now: () => 0 })
    presence.setLocal({ status: 'here' })
    expect(presence.apply(message(2, 2 ** 50, 'null'), 2).ok).toBe(false)
    expect(stateOf(presence, 2)).toEqual({ status: 'here' })
  })

  test('a thousand clients are the most that are kept', () => {
    const time = createTime()
    const presence = openPresence({ begin: time.now(), client: 1, now: time.now })
    for (let client = 2; client < 1_500; client++) presence.apply(message(client, 1, '{}'), client)
    expect(presence.states().size).toBe(999)
    time.pass(60_000)
    expect(presence.expire(time.now(), 30_000)).toHaveLength(999)
    expect(presence.apply(message(2_000, 1, '{}'), 2_000)).toEqual({ ok: true, value: true })
  })
})
