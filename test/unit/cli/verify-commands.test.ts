/** What `selfsame verify` says, and how it ends. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Connect, Verdict, Verification } from '../../../src/api/client.ts'
import { SelfsameError } from '../../../src/api/client.ts'
import { run } from './console.ts'

const time = '2026-11-21T14:02:11.000Z'
const same: Verdict = {
  instance: { id: 'c3', name: 'server' },
  verdict: 'same',
  attested: time,
  differences: [],
  otherVersions: { documents: 0, first: [] },
}
const all: Verification = { state: 'same', time, documents: 214, undigested: 0, findings: [], instances: [same, same, same] }
const document = (name: string) => ({ id: 'd0', kind: 'counter' as const, name })

async function verify(answer: Verification, ...options: readonly string[]) {
  const asked: unknown[] = []
  const agent = {
    verify: async (given: unknown) => {
      asked.push(given)
      return answer
    },
    close: async () => {},
  }
  return { ...(await run(['verify', ...options], (async () => agent) as unknown as Connect)), asked }
}

describe('a verification', () => {
  test('says on how many instances all is the same, and as of when', async () => {
    const { asked, code, out } = await verify(all, '--timeout', '5s')
    expect([code, asked]).toEqual([0, [{ timeoutMs: 5_000 }]])
    expect(out).toMatch(/^the same 214 documents on 4 of 4 instances as of 2026-11-\d\d \d\d:\d\d:\d\d\n$/)
    expect(JSON.parse((await verify(all, '--json')).out)).toEqual(all)
  })

  test('names what differs, where and since when, and ends with 1', async () => {
    const differing: Verdict = { ...same, verdict: 'differs', differences: [{ document: document('karma'), since: time }] }
    const { code, out } = await verify({
      ...all,
      state: 'differs',
      instances: [same, same, { ...differing, instance: { id: 'e5', name: 'attic' } }],
    })
    expect(code).toBe(1)
    expect(out).toMatch(/^differs: the same 214 documents on 3 of 4 instances as of .*\n! attic {2}differs: counter\/karma since 2026-11/)
  })

  test('names some of the many that differ on one line', async () => {
    const differences = Array.from({ length: 12 }, (_, index) => ({ document: document(`karma-${index}`), since: time }))
    const { out } = await verify({ ...all, state: 'differs', instances: [same, same, { ...same, verdict: 'differs', differences }] })
    expect(out).toMatch(/karma-9 since 2026-11-\d\d \d\d:\d\d:\d\d and 2 more\n$/)
  })

  test('names what is wrong here, and counts this instance out', async () => {
    const finding = { document: document('karma'), detail: 'what is stored of it gives something else than before', since: time }
    const { code, out } = await verify({ ...all, state: 'differs', findings: [finding] })
    expect(code).toBe(1)
    expect(out).toMatch(
      /^differs: .* on 3 of 4 instances .*\n! here: counter\/karma: what is stored of it gives something else than before \(since /,
    )
  })

  test('names whoever is away or has other versions, and what could not be digested, and ends with 75', async () => {
    const away: Verdict = { ...same, instance: { id: 'e5', name: 'attic' }, verdict: 'unknown', attested: null }
    const behind: Verdict = {
      ...same,
      instance: { id: 'f6', name: 'phone' },
      verdict: 'behind',
      otherVersions: { documents: 5, first: ['a', 'b', 'c', 'd'].map(document) },
    }
    const { code, out } = await verify({ ...all, state: 'unknown', undigested: 2, instances: [same, away, behind] })
    expect(code).toBe(75)
    expect(out).toMatch(/^unknown: the same 214 documents on 1 of 4 instances as of /)
    expect(out).toContain('! here: 2 documents could not be digested: ask again, and see selfsame status\n')
    expect(out).toMatch(/\n! attic {2}unknown: it is away or did not answer; it never attested anything\n/)
    expect(out).toMatch(
      /\n! phone {2}behind, or ahead: it has other versions of counter\/a, counter\/b, counter\/c and 2 more; it last attested at /,
    )
  })

  test('tells in depth what differs also where the daemon cannot build it anew, and why, and ends with 1', async () => {
    const daemonProgram = join(mkdtempSync(join(tmpdir(), 'selfsame-verify-')), 'daemon.mjs')
    const facts = { ready: true, envelopes: 3, documents: 1, entries: 2, seconds: 0.1, differences: ['an envelope is damaged'], omitted: 0 }
    writeFileSync(daemonProgram, `console.log(${JSON.stringify(JSON.stringify(facts))})`)
    const agent = { rebuild: () => Promise.reject(new SelfsameError('unavailable', 'one is damaged')), close: async () => {} }
    const { code, out } = await run(['verify', '--deep'], (async () => agent) as unknown as Connect, { daemonProgram })
    expect(code).toBe(1)
    expect(out).toMatch(/^wrong: 1 difference from .*\n! an envelope is damaged\n! not repaired: one is damaged\n$/)
  })

  test('needs a daemon, and says what can be done without one', async () => {
    const down: Connect = () => Promise.reject(new SelfsameError('daemon-not-running', 'no daemon'))
    const { code, err } = await run(['verify', '--home', '/srv/kevin'], down)
    expect(code).toBe(69)
    expect(err).toMatch(/start it \(selfsame up --home \/srv\/kevin\), or look at what is stored here alone \(--deep\)/)
  })
})
