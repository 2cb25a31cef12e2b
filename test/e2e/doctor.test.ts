/** `selfsame doctor` as a person uses it: in a home in which all is well, and in homes that were broken one after the other. */
import { chmodSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createGroup, freePort } from './group.ts'
import type { Group, Instance } from './group.ts'

interface Diagnosis {
  readonly state: string
  readonly checks: readonly {
    readonly name: string
    readonly verdict: string
    readonly found: string
    readonly details?: readonly string[]
  }[]
  readonly mended: readonly string[]
}

/** What the machine decides that the test runs on. */
const ofTheMachine = ['disk-space', 'disk-speed', 'place']

let group: Group
let laptop: Instance

beforeAll(async () => {
  group = await createGroup()
  laptop = await group.found('laptop')
})

afterAll(() => group.close())

async function doctor(...options: string[]) {
  const { code, err, out } = await laptop.selfsame('doctor', '--json', ...options)
  expect(err).toBe('')
  const diagnosis = JSON.parse(out) as Diagnosis
  const check = (name: string): string => {
    const found = diagnosis.checks.find((each) => each.name === name)
    return [found?.verdict, found?.found, ...(found?.details ?? [])].join('\n')
  }
  const bad = diagnosis.checks.flatMap(({ name, verdict }) =>
    ['ok', 'not checked'].includes(verdict) || ofTheMachine.includes(name) ? [] : [name],
  )
  return { bad, check, code, mended: diagnosis.mended, out }
}

test('a home in which all is well', async () => {
  await laptop.agent.log('memory').append({ text: 'The password is written on the fridge.' })
  const { bad, check } = await doctor()
  expect(bad).toEqual([])
  expect(check('daemon')).toContain(`process ${laptop.processId} runs`)
  expect(check('database')).toMatch(/^ok\n/)
  expect(check('secrets')).toMatch(/^ok\nnothing in 1 document /)
  expect(check('multicast')).toBe('not checked\nnetwork.mdns is off')
})

test('the dashboard shows what a real daemon counts', async () => {
  const metrics = await laptop.agent.metrics()
  const names = new Set(readFileSync('config/grafana-dashboard.json', 'utf8').match(/\b(libp2p|gossipsub)_[a-z0-9_]+/g))
  expect(names.size).toBeGreaterThan(3)
  for (const name of names) expect(metrics).toContain(`# TYPE ${name} `)
})

test('a secret in the memory is named, and not shown', async () => {
  const secret = ['AKIA', 'IOSFODNN7EXAMPLE'].join('')
  await laptop.agent.log('work/notes').append({ text: `the key is ${secret}` })
  await laptop.agent.json('tasks').merge({ deploy: { password: 'correct-horse9' } })
  const { bad, check, code, out } = await doctor()
  expect([bad, code]).toEqual([['secrets'], 1])
  expect(check('secrets')).toMatch(/json\/tasks, \/deploy\/password: password\nlog\/work\/notes, entry \S+ of \S+: AWS access key$/)
  expect(out).not.toContain(secret.slice(0, 6))
  expect(out).not.toContain('correct')
})

test('rights that others have are taken away', async () => {
  chmodSync(laptop.home, 0o755)
  chmodSync(join(laptop.home, 'identity.json'), 0o644)
  const found = await doctor()
  expect([found.bad, found.code]).toEqual([expect.arrayContaining(['home', 'permissions']), 2])
  expect(found.check('permissions')).toMatch(/\. is open to others \(0755\)\nidentity\.json is open to others \(0644\)$/)
  expect(found.mended).toEqual([])
  const mended = await doctor('--fix')
  expect([mended.bad, mended.mended.length]).toEqual([['secrets'], 2])
  expect(statSync(join(laptop.home, 'identity.json')).mode & 0o777).toBe(0o600)
})

test('two daemons on one home are seen, and what they leave when they are killed is cleared away', async () => {
  const lock = join(laptop.home, 'lock.sqlite')
  const socket = join(laptop.home, 'run', 'api.sock')
  for (const path of [lock, socket]) rmSync(path)
  const second = group.at(laptop.home, await freePort())
  await second.up()
  const found = await doctor()
  expect(found.bad).toContain('daemon')
  // Only Linux tells which processes have a file open.
  if (existsSync('/proc/self/fd')) expect(found.check('daemon')).toMatch(/^failed\n2 daemons run on this home/)
  for (const each of [laptop, second]) await each.kill()

  writeFileSync(lock, 'not a lock any more '.repeat(100))
  const left = await doctor()
  expect(left.check('leftovers')).toMatch(/^warning\n.*\nlock\.sqlite: .*\nrun\/api\.sock: /)
  expect(left.check('daemon')).toMatch(/^warning\nno daemon runs/)
  const mended = await doctor('--fix')
  expect(mended.mended.join('\n')).toMatch(/^lock\.sqlite is removed.*\nrun\/api\.sock is removed/)
  expect(mended.bad).toEqual(['daemon'])
  await laptop.up()
  expect((await laptop.agent.status()).attention).toEqual([])
})

test('a home in a synced folder, with a damaged database', async () => {
  mkdirSync(join(group.directory, '.stfolder'))
  await laptop.stop()
  const file = openSync(join(laptop.home, 'memory.sqlite'), 'r+')
  for (let page = 2; page < 12; page += 1) writeSync(file, Buffer.alloc(2_000, 0xee), 0, 2_000, page * 4_096)
  closeSync(file)
  const { bad, check, code } = await doctor('--fix')
  expect([bad, code]).toEqual([['daemon', 'database'], 2])
  expect(check('database')).toMatch(/^failed\nthe database is damaged/)
  expect(check('place')).toMatch(/^failed\nthe home lies in .*, which Syncthing copies elsewhere/)
})
