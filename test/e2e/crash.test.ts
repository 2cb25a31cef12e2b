/** Daemons that are killed again and again while programs write to all of them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SelfsameError } from '../../src/api/client.ts'
import type { Agent, WriteOptions } from '../../src/api/client.ts'
import { agreed, connected, createGroup, textsOf, until } from './group.ts'
import type { Group, Instance } from './group.ts'

const kills = 20
/** Writers of each kind at each instance. */
const writersEach = 4
/** Writes of each writer between two kills: a bound, so that who survives does not fill the disk meanwhile. */
const turnsPerKill = 15
/** Acknowledged writes of the victim before it is killed: well below what its writers may make, so that writes are under way. */
const writesBeforeKill = 40

let group: Group
let instances: Instance[]

beforeAll(async () => {
  group = await createGroup()
  const laptop = await group.found('laptop')
  instances = [laptop, ...(await Promise.all([group.join('server', laptop), group.join('far', laptop)]))]
  await connected(...instances)
})

afterAll(() => group.close())

/** Repeats a write under its operation id until it is acknowledged. Whatever else goes wrong than a daemon that died is a fault. */
async function acknowledged(write: (options: WriteOptions) => Promise<unknown>, operationId: string): Promise<void> {
  await until(`${operationId} is acknowledged`, async () => {
    try {
      await write({ operationId })
      return true
    } catch (error) {
      if (error instanceof SelfsameError && ['daemon-not-running', 'outcome-unknown', 'unavailable'].includes(error.code)) return false
      throw error
    }
  })
}

test(`every write that was acknowledged is everywhere, once, after ${kills} kills under load`, async () => {
  let turnsMax = 0
  let stopping = false
  const appendedBy = instances.map((): string[] => [])
  const addedBy = instances.map(() => 0)

  const mayWrite = (turn: number): Promise<boolean> => until('there are more kills', async () => turn < turnsMax || stopping, 120)

  async function appends(agent: Agent, place: number, writer: number): Promise<void> {
    for (let turn = 0; (await mayWrite(turn)) && !stopping; turn += 1) {
      const text = `${place}-${writer}-${turn}`
      await acknowledged((options) => agent.log('memory').append({ text, tags: ['load'] }, options), `append-${text}`)
      appendedBy[place]?.push(text)
    }
  }
  async function additions(agent: Agent, place: number, writer: number): Promise<void> {
    for (let turn = 0; (await mayWrite(turn)) && !stopping; turn += 1) {
      await acknowledged((options) => agent.counter('karma').add('post-17', 1, options), `add-${place}-${writer}-${turn}`)
      addedBy[place] = (addedBy[place] ?? 0) + 1
    }
  }
  const load = Promise.all(
    instances.flatMap(({ agent }, place) =>
      Array.from({ length: writersEach }, (_, writer) => [appends(agent, place, writer), additions(agent, place, writer)]).flat(),
    ),
  )
  load.catch(() => {})

  const readyMs: number[] = []
  for (let kill = 0; kill < kills; kill += 1) {
    const place = kill % instances.length
    const victim = instances[place] as Instance
    const acknowledgements = (): number => (appendedBy[place]?.length ?? 0) + (addedBy[place] ?? 0)
    const before = acknowledgements()
    turnsMax += turnsPerKill
    await until('the victim has written', async () => acknowledgements() >= before + writesBeforeKill)
    await victim.kill()
    const promised = [...(appendedBy[place] ?? [])]
    const counted = addedBy[place] ?? 0
    readyMs.push(await victim.up())
    const there = new Set(await textsOf(victim, 'memory'))
    expect(promised.filter((text) => !there.has(text))).toEqual([])
    expect(Number(await victim.agent.counter('karma').get('post-17'))).toBeGreaterThanOrEqual(counted)
  }
  stopping = true
  await load
  const agreedMs = await agreed(...instances)

  const appended = appendedBy.flat().toSorted()
  const added = addedBy.reduce((sum, count) => sum + count)
  const slowest = Math.max(...readyMs)
  console.log(
    `${kills} kills, ${appended.length} appends and ${added} additions; ready again within ${slowest.toFixed(0)} ms, agreed after ${agreedMs.toFixed(0)} ms`,
  )
  for (const instance of instances) {
    expect((await textsOf(instance, 'memory')).toSorted()).toEqual(appended)
    expect(await instance.agent.counter('karma').get('post-17')).toBe(BigInt(added))
    expect((await instance.agent.status()).attention).toEqual([])
  }
})
