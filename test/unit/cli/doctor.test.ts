/** What the doctor says, against a program that found what the test wants. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { noDaemon, run } from './console.ts'
import type { RunOptions, Said } from './console.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-doctor-'))
})

afterEach(() => rmSync(directory, { recursive: true }))

const well = { name: 'node', verdict: 'ok', found: 'Node.js 24.21.0' }
const warning = { name: 'disk-speed', verdict: 'warning', found: 'a synced write takes 45 ms', advice: 'have the home on a local disk' }
const failure = {
  name: 'permissions',
  verdict: 'failed',
  found: 'others can get at it',
  details: ['. is open', 'run is open'],
  advice: 'doctor --fix',
}
const unknown = (name: string, found: string) => ({ name, verdict: 'not checked', found })

/** A call of the command; `mended` is what the program mends where it is asked to. */
function doctor(
  words: readonly string[],
  checks: readonly object[],
  mended: readonly string[] = [],
  options: RunOptions = {},
): Promise<Said> {
  const daemonProgram = join(directory, 'main.mjs')
  const answer = JSON.stringify({ ready: true, home: '/srv/kevin', checks })
  writeFileSync(
    daemonProgram,
    `const mended = process.argv.includes('--fix') ? ${JSON.stringify(mended)} : []
console.log(JSON.stringify({ ...${answer}, mended, asked: process.argv.slice(2, 5) }))`,
  )
  return run(['doctor', '--home', '/srv/kevin', ...words], noDaemon, { daemonProgram, ...options })
}

test('shows each check with what was found and what to do, and why others were not made', async () => {
  const checks = [
    well,
    unknown('clock', 'no daemon runs'),
    failure,
    unknown('versions', 'no daemon runs'),
    warning,
    unknown('multicast', 'it is off'),
  ]
  expect(await doctor([], checks)).toEqual({
    code: 2,
    err: '',
    out: `/srv/kevin

ok       node         Node.js 24.21.0
failed   permissions  others can get at it
                      - . is open
                      - run is open
                      > doctor --fix
warning  disk-speed   a synced write takes 45 ms
                      > have the home on a local disk
not checked: clock, versions (no daemon runs)
not checked: multicast (it is off)

1 failed, 1 warning
`,
  })
})

test('says what was mended first', async () => {
  const { code, out } = await doctor(['--fix'], [well], ['run/api.sock is removed: the socket of a daemon that died'])
  expect([code, out]).toEqual([
    0,
    expect.stringMatching(/^\/srv\/kevin\n\nmended:\n {2}run\/api\.sock is removed: .*\n\nok {2}node {2}.*\n\nall is well\n$/),
  ])
  expect((await doctor([], [well], ['nothing of the kind'])).out).not.toContain('mended')
})

test.each([
  ['ok', 0, [well, unknown('clock', 'nobody is there')]],
  ['warning', 1, [well, warning]],
  ['failed', 2, [failure, warning, well]],
])('ends as its worst check does: %s', async (state, exit, checks) => {
  const { code, out } = await doctor(['--json'], checks)
  expect([code, JSON.parse(out)]).toEqual([exit, { state, home: '/srv/kevin', checks, mended: [] }])
})

test('is coloured on a terminal, and nowhere else', async () => {
  const onTerminal = await doctor([], [well, warning, failure], [], { isTTY: true })
  for (const code of [31, 32, 33]) expect(onTerminal.out).toContain(`\u001b[${code}m`)
  expect((await doctor([], [well, warning, failure])).out).not.toContain('\u001b')
})
