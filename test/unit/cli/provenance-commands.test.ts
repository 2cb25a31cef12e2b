/** What the commands of provenance make of what the agent tells. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { BlamedPart, Connect, Evidence, LogEntry } from '../../../src/api/client.ts'
import { run } from './console.ts'

const laptop = { id: 'b2'.repeat(16), name: 'laptop' }
const server = { id: 'c3'.repeat(16), name: 'server' }
const feed = 'f1'.repeat(16)
const early = '2026-11-21T10:33:05.000Z'
const late = '2026-11-22T09:00:00.000Z'

function agentOf(methods: object): Connect {
  return () => Promise.resolve({ close: () => Promise.resolve(), ...methods } as never)
}

function part(author: typeof laptop, time: string, sequence: number, rest: Partial<BlamedPart>): BlamedPart {
  return { author, time, envelope: { feed, sequence }, ...rest }
}

function blame(kind: string, parts: readonly BlamedPart[], ...words: string[]) {
  return run(['blame', kind, 'doc', ...words], agentOf({ blame: async () => parts }))
}

describe('blame', () => {
  test('puts before each line of a text who wrote into it last', async () => {
    const { code, out } = await blame('text', [
      part(laptop, early, 3, { text: '# Kevin\n\nI like ' }),
      part(server, late, 7, { text: 'mornings' }),
      part(laptop, early, 3, { text: '.\nlast' }),
    ])
    expect(code).toBe(0)
    expect(out.split('\n').map((line) => [line.slice(0, 6), line.split(' | ')[1]])).toEqual([
      ['laptop', '# Kevin'],
      ['laptop', undefined],
      ['server', 'I like mornings.'],
      ['laptop', 'last'],
      ['', undefined],
    ])
    expect(out).toContain('f1f1f1f1:7')
  })

  test('shows every line of any text once, in order', async () => {
    const texts = fc.array(fc.array(fc.constantFrom('a', 'b', '\n', '\n\n', '😀 x', '| '), { minLength: 1, maxLength: 4 }), {
      maxLength: 8,
    })
    await fc.assert(
      fc.asyncProperty(texts, async (pieces) => {
        const parts = pieces.map((piece, index) => part(laptop, early, index + 1, { text: piece.join('') }))
        const whole = parts.map(({ text }) => text).join('')
        if (whole === '') return
        const { out } = await blame('text', parts)
        const lines = whole.replace(/\n$/, '').split('\n')
        const shown = out.replace(/\n$/, '').split('\n')
        expect(shown.map((line) => line.slice(line.indexOf('|') + 1).trim())).toEqual(lines.map((line) => line.trim()))
      }),
    )
  })

  test('lists the keys of what has keys, with what stands there', async () => {
    const parts = [part(server, late, 7, { key: 'city', value: 'Lisbon' }), part(laptop, early, 3, { key: 'ada' })]
    const { out } = await blame('register', parts)
    expect(out).toMatch(/^city = Lisbon {2}server {2}\S+ \S+ {2}f1f1f1f1:7\nada +laptop {2}\S+ \S+ {2}f1f1f1f1:3\n$/)
    expect(JSON.parse((await blame('register', parts, '--json')).out)).toEqual(parts)
  })

  test('says that a document is empty, and which kinds there are', async () => {
    expect((await blame('set', [])).out).toBe('doc is empty\n')
    const { code, err } = await blame('log', [])
    expect([code, err]).toEqual([64, expect.stringContaining('counter, set, register, text, json')])
  })
})

describe('what proves an entry', () => {
  const provenance = { hash: 'ab'.repeat(32), key: '12'.repeat(32), written: late, signedAt: 9, verified: true }
  const entry: LogEntry = { id: 'e1', time: early, author: laptop, text: 'Met Ada', envelope: { feed, sequence: 3 }, provenance }

  async function* one(item: LogEntry) {
    yield item
  }

  test.each<[string, Partial<typeof provenance> | { signedAt: null; verified: boolean }, string]>([
    ['a checked signature', {}, 'verified by the signature of envelope 9'],
    ['a signature that does not hold', { verified: false }, 'NOT VERIFIED by the signature of envelope 9'],
    ['no signature', { signedAt: null, verified: false }, 'no signature is here that vouches for it'],
  ])('is told under it, with %s', async (_, change, said) => {
    const told = { ...entry, provenance: { ...provenance, ...change } }
    const connect = agentOf({ log: () => ({ read: () => one(told), entry: async () => told }) })
    const { out } = await run(['log', 'read', 'memory', '--provenance'], connect)
    for (const fact of ['Met Ada', 'entry e1', laptop.id, `envelope 3 of feed ${feed}`, provenance.hash, provenance.key, said]) {
      expect(out).toContain(fact)
    }
    expect((await run(['log', 'show', 'memory', 'e1'], connect)).out).toBe(out)
    expect(JSON.parse((await run(['log', 'show', 'memory', 'e1', '--json'], connect)).out)).toEqual(told)
  })
})

describe('evidence', () => {
  const list = (evidence: readonly Evidence[], omitted: number = 0) => agentOf({ evidence: async () => ({ evidence, omitted }) })

  test('is told case by case, with what it is about and why', async () => {
    const document = { id: 'd4'.repeat(32), kind: 'text' as const, name: 'SOUL.md' }
    const { out, err } = await run(
      ['evidence'],
      list(
        [
          { kind: 'quarantine', reason: 'a cell that is malformed', time: early, author: server, feed, sequence: 12, document },
          {
            kind: 'quarantine',
            reason: 'not a document name',
            time: early,
            feed,
            sequence: 1,
            document: { ...document, kind: null, name: null },
          },
          { kind: 'refused-feed', reason: 'its author is not a member', time: null, feed },
          { kind: 'refused-peer', reason: 'no member has its key', time: late, key: '12'.repeat(32), address: '/ip4/10.0.0.7/tcp/4001' },
        ],
        3,
      ),
    )
    expect(out.split('\n').map((line) => line.replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/, 'then'))).toEqual([
      `then  quarantine  text/SOUL.md, by server, feed ${feed} at 12: a cell that is malformed`,
      `then  quarantine  document ${document.id}, feed ${feed} at 1: not a document name`,
      `now  refused-feed  feed ${feed}: its author is not a member`,
      `then  refused-peer  key ${'12'.repeat(32)}, at /ip4/10.0.0.7/tcp/4001: no member has its key`,
      '',
    ])
    expect(err).toContain('and 3 more')
  })

  test('says plainly that there is none', async () => {
    expect((await run(['evidence'], list([]))).out).toBe('nothing was kept aside or turned away\n')
    expect(JSON.parse((await run(['evidence', '--json'], list([]))).out)).toEqual({ evidence: [], omitted: 0 })
  })
})
