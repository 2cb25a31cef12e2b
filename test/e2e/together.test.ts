/** Three daemons that work together: a large import, counting from all sides, and one that is away for half of it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ImportProgress } from '../../src/api/client.ts'
import { agreed, connected, createGroup } from './group.ts'
import type { Group, Instance, Said } from './group.ts'

let group: Group
let instances: [Instance, Instance, Instance]

beforeAll(async () => {
  group = await createGroup()
  const laptop = await group.found('laptop')
  instances = [laptop, ...(await Promise.all([group.join('server', laptop), group.join('far', laptop)]))]
  await connected(...instances)
})

afterAll(() => group.close())

interface Line {
  readonly id: string
  readonly time: string
  readonly kind: string
  readonly text: string
  readonly tags: readonly string[]
  readonly data?: object
}

/** A conversation of turns with and without data, lines with breaks and signs beyond ASCII, some words said again and again. */
function conversation(length: number): Line[] {
  const start = Date.parse('2026-01-05T08:00:00Z')
  return Array.from({ length }, (_, turn) => ({
    id: `turn-${turn}`,
    time: new Date(start + turn * 37_000).toISOString(),
    kind: turn % 2 === 0 ? 'user' : 'assistant',
    text: turn % 50 === 49 ? 'Thanks!' : `Turn ${turn}: ${'we spoke of tide tables — «marés» 🌊\n'.repeat(1 + (turn % 5))}`,
    tags: turn % 7 === 0 ? ['people', `week-${turn % 52}`] : [`week-${turn % 52}`],
    ...(turn % 3 === 0 ? { data: { tokens: turn, mood: turn % 2 === 0 ? 'warm' : null } } : {}),
  }))
}

function imported({ code, out, err }: Said): ImportProgress {
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out) as ImportProgress
}

/** Counts `times` upon each of two counters, in four conversations at once. */
async function count({ agent }: Instance, times: number): Promise<void> {
  const one = async (start: number): Promise<void> => {
    for (let turn = start; turn < times; turn += 4) await agent.counter('karma').add(turn % 2 === 0 ? 'post-17' : 'post-18', 1)
  }
  await Promise.all([one(0), one(1), one(2), one(3)])
}

test('10,000 imported entries and 1,000 increments from each of three are everywhere, exactly, though one was away for half of it', async () => {
  const [laptop, server, far] = instances
  const lines = conversation(10_000)
  const jsonl = (part: readonly Line[]): string => part.map((line) => `${JSON.stringify(line)}\n`).join('')
  const file = join(group.directory, 'conversation.jsonl')
  const importFile = async (): Promise<ImportProgress> => imported(await laptop.selfsame('log', 'import', 'memory', file, '--json'))

  writeFileSync(file, jsonl(lines.slice(0, 5_000)))
  const [half] = await Promise.all([importFile(), ...instances.map((instance) => count(instance, 500))])
  expect(half).toMatchObject({ written: 5_000, alreadyThere: 0 })
  expect(await far.stop()).toBe(0)

  // The file has grown meanwhile: importing it again adds what is new.
  writeFileSync(file, jsonl(lines))
  const began = performance.now()
  const [whole] = await Promise.all([importFile(), count(laptop, 500), count(server, 500)])
  const busyMs = performance.now() - began
  expect(whole).toMatchObject({ written: 5_000, alreadyThere: 5_000 })

  const upMs = await far.up()
  const [agreedMs] = await Promise.all([count(far, 500).then(() => agreed(...instances)), connected(...instances)])
  console.log(
    `5,000 entries and 1,000 increments in ${busyMs.toFixed(0)} ms; ready again in ${upMs.toFixed(0)} ms, agreed ${agreedMs.toFixed(0)} ms after the last increment`,
  )

  for (const { agent } of instances) {
    expect(await agent.counter('karma').all()).toEqual(
      new Map([
        ['post-17', 1_500n],
        ['post-18', 1_500n],
      ]),
    )
    const entries = []
    for await (const { time, kind, text, tags, data } of agent.log('memory').read()) entries.push({ time, kind, text, tags, data })
    expect(entries).toEqual(lines.map(({ time, kind, text, tags, data }) => ({ time, kind, text, tags, data })))
  }
})

test('importing the same file again adds nothing', async () => {
  const [laptop] = instances
  const file = join(group.directory, 'conversation.jsonl')
  const again = imported(await laptop.selfsame('log', 'import', 'memory', file, '--json'))
  expect(again).toMatchObject({ written: 0, alreadyThere: 10_000 })
  await agreed(...instances)
  for (const { agent } of instances) expect((await agent.status()).entries).toBe(10_000)
})
