/**
 * Five daemons as far apart as five regions of a cloud: `npm run regions [-- --samples N]`. The daemons are real, and so is the time; the ways
 * between them are the tests' relay. Prints how long what is written in one region takes to be seen in the others, to be caught up with, and to be
 * agreed on after a partition, and what the distance costs whoever writes: Markdown.
 */
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Agent } from '../src/api/client.ts'
import { openRelay } from '../test/chaos/relay.ts'
import type { Relay } from '../test/chaos/relay.ts'
import { makeInstance } from '../test/chaos/world.ts'
import { connected, createGroup, freePort, until } from '../test/e2e/group.ts'
import type { Group, Instance } from '../test/e2e/group.ts'
import { seededRandom } from '../test/sim/virtual-time.ts'

const regions = ['Virginia', 'Oregon', 'Ireland', 'Frankfurt', 'Tokyo'] as const
type Region = (typeof regions)[number]

/** Round trips between regions of AWS, milliseconds: averages as measured in 2017 and listed at acomputerscientistlearnsaws.blogspot.com/2017/04/aws-regions.html. */
const roundTripMs: Readonly<Record<Region, Readonly<Partial<Record<Region, number>>>>> = {
  Virginia: { Oregon: 87, Ireland: 80.5, Frankfurt: 88.6, Tokyo: 145.3 },
  Oregon: { Ireland: 137, Frankfurt: 159.5, Tokyo: 89.1 },
  Ireland: { Frankfurt: 19.6, Tokyo: 212.4 },
  Frankfurt: { Tokyo: 236.5 },
  Tokyo: {},
}
/** Of a way: jitter as a part of its delay, and what public networks lose (backbones of clouds lose a tenth of it). */
const jitter = 0.02
const loss = 0.001
/** 100 Mbit/s. */
const bytesPerSecond = 12_500_000

/** Entries that an instance misses. */
const missed = 10_000
/** Seconds of the partitions: one that links survive, and one after which all of them were given up. */
const partitionsSeconds = [10, 60]
/** Milliseconds between two writes. */
const paceMs = 50

const { values } = parseArgs({ options: { samples: { type: 'string', default: '200' } } })
const samples = Number(values.samples)
if (!Number.isSafeInteger(samples) || samples < 10) {
  process.stderr.write('usage: npm run regions [-- --samples N, at least 10]\n')
  process.exit(64)
}

interface Place {
  readonly region: Region
  readonly instance: Instance
  /** What its processes run under, so that their connections go through the relay. */
  readonly environment: Record<string, string>
  /** When each entry of the log `live` was shown there, monotonic milliseconds. */
  readonly shownAt: Map<string, number>
}

const say = (line = ''): void => void process.stdout.write(`${line}\n`)
const relay = await openRelay(seededRandom('regions'))
const group = await createGroup()
try {
  await measure(group, relay)
} finally {
  await group.close()
  await relay.close()
}

async function measure(group: Group, relay: Relay): Promise<void> {
  const places: Place[] = []
  for (const region of regions) {
    const port = await freePort()
    relay.place(region, port)
    const environment = { ...relay.environmentOf(region) }
    const instance = await makeInstance(group, { name: region.toLowerCase(), port, environment, inviter: places[0]?.instance })
    places.push({ region, instance, environment, shownAt: new Map() })
  }
  const all = places.map(({ instance }) => instance)
  await connected(...all)
  const closing = new AbortController()
  const watching = places.map(async ({ instance, shownAt }) => {
    for await (const { entries } of instance.agent.watch(['log/live'], { signal: closing.signal }))
      for (const { text = '' } of entries ?? []) shownAt.set(text, performance.now())
  })

  const near = new Map<Region, readonly number[]>()
  for (const place of places)
    near.set(
      place.region,
      (await write(place, 'near')).map(({ answeredMs }) => answeredMs),
    )
  spread(relay)
  const propagation = new Map<string, readonly number[]>()
  const far = new Map<Region, readonly number[]>()
  for (const place of places) {
    const written = await write(place, 'far')
    far.set(
      place.region,
      written.map(({ answeredMs }) => answeredMs),
    )
    for (const { region, shownAt } of places) {
      if (region === place.region) continue
      await until(`${region} was shown what ${place.region} wrote`, async () => written.every(({ text }) => shownAt.has(text)), 60)
      propagation.set(
        `${place.region} ${region}`,
        written.map(({ beganAt, text }) => (shownAt.get(text) ?? Number.NaN) - beganAt),
      )
    }
  }
  reportPropagation(propagation)
  reportLocal(near, far)
  closing.abort()
  await Promise.allSettled(watching)
  await catchUp(places, relay)
  await heal(places, relay)
}

/** The distances, from now on. */
function spread(relay: Relay): void {
  for (const [from, to] of pairs()) {
    const delayMs = delayOf(from, to)
    relay.change(from, to, { delayMs, jitterMs: jitter * delayMs, loss, bytesPerSecond, open: true })
  }
}

function pairs(): (readonly [Region, Region])[] {
  return regions.flatMap((from) => regions.flatMap((to) => (from === to ? [] : [[from, to] as const])))
}

/** One way, milliseconds. */
function delayOf(from: Region, to: Region): number {
  return (roundTripMs[from][to] ?? roundTripMs[to][from] ?? 0) / 2
}

interface Written {
  readonly text: string
  /** Monotonic milliseconds. */
  readonly beganAt: number
  readonly answeredMs: number
}

async function write({ instance, region }: Place, words: string): Promise<Written[]> {
  const written: Written[] = []
  for (let index = 0; index < samples; index += 1) {
    const text = `${words} ${region} ${index}`
    const beganAt = performance.now()
    await instance.agent.log('live').append({ text })
    written.push({ text, beganAt, answeredMs: performance.now() - beganAt })
    await sleep(paceMs)
  }
  return written
}

function quantile(taken: readonly number[], part: number): number {
  const sorted = taken.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): void {
  for (const row of [head, head.map((_, index) => (index === 0 ? '---' : '---:')), ...rows]) say(`| ${row.join(' | ')} |`)
  say()
}

function reportPropagation(propagation: ReadonlyMap<string, readonly number[]>): void {
  say(`Append in one region to event in another, ${samples} appends each, milliseconds: median (times the way there) / 99th of 100\n`)
  const cell = (from: Region, to: Region): string => {
    const taken = propagation.get(`${from} ${to}`)
    if (taken === undefined) return ''
    const median = quantile(taken, 0.5)
    return `${median.toFixed(1)} (${(median / delayOf(from, to)).toFixed(2)}) / ${quantile(taken, 0.99).toFixed(0)}`
  }
  table(
    ['from', ...regions],
    regions.map((from) => [from, ...regions.map((to) => cell(from, to))]),
  )
}

function reportLocal(near: ReadonlyMap<Region, readonly number[]>, far: ReadonlyMap<Region, readonly number[]>): void {
  say('An append until it is acknowledged where it was made, milliseconds: median / 99th of 100\n')
  const cell = (taken: readonly number[] = []): string => `${quantile(taken, 0.5).toFixed(2)} / ${quantile(taken, 0.99).toFixed(1)}`
  table(
    ['', ...regions],
    [
      ['all in one place', ...regions.map((region) => cell(near.get(region)))],
      ['far apart', ...regions.map((region) => cell(far.get(region)))],
    ],
  )
}

/** Milliseconds until all hold the same versions of everything. */
async function agreement(agents: readonly Agent[]): Promise<number> {
  const began = performance.now()
  await until(
    'all hold the same',
    async () => new Set(await Promise.all(agents.map(async (agent) => JSON.stringify(await agent.documents())))).size === 1,
    180,
  )
  return performance.now() - began
}

/** The instance in Tokyo was away, and can reach the farthest one only. */
async function catchUp(places: readonly Place[], relay: Relay): Promise<void> {
  const of = (wanted: Region): Place => places.find(({ region }) => region === wanted) as Place
  const [source, late] = [of('Frankfurt'), of('Tokyo')]
  await late.instance.stop()
  const lines = Array.from({ length: missed }, (_, index) => ({ text: `entry ${index}: ${'what was said about tide tables '.repeat(5)}` }))
  await source.instance.agent.log('missed').import(lines)
  for (const [from, to] of pairs()) {
    const isBetween = [source.region, late.region].every((region) => region === from || region === to)
    if ((from === late.region || to === late.region) && !isBetween) relay.change(from, to, { open: false })
  }
  const began = performance.now()
  await late.instance.up(late.environment)
  const readyMs = performance.now() - began
  const caughtUpMs = readyMs + (await agreement([source.instance.agent, late.instance.agent]))
  const roundTrips = (caughtUpMs - readyMs) / (2 * delayOf(source.region, late.region))
  say(
    `Catching up with ${missed} entries that ${late.region} missed, from ${source.region} alone: ${((caughtUpMs - readyMs) / 1_000).toFixed(2)} s ` +
      `(${roundTrips.toFixed(1)} round trips) after its daemon was ready, connecting included\n`,
  )
  spread(relay)
  await agreement(places.map(({ instance }) => instance.agent))
}

/** America and the others write without hearing of each other, for so long. */
async function heal(places: readonly Place[], relay: Relay): Promise<void> {
  const rows: string[][] = []
  const isAmerica = (region: Region): boolean => region === 'Virginia' || region === 'Oregon'
  for (const seconds of partitionsSeconds) {
    await connected(...places.map(({ instance }) => instance))
    for (const [from, to] of pairs()) if (isAmerica(from) !== isAmerica(to)) relay.change(from, to, { open: false })
    const endsAt = performance.now() + seconds * 1_000
    let writes = 0
    const writing = places.map(async ({ instance, region }) => {
      for (; performance.now() < endsAt; await sleep(100)) {
        writes += 1
        await instance.agent.log('apart').append({ text: `${region} ${seconds} ${writes}` })
      }
    })
    await Promise.all(writing)
    spread(relay)
    const healedMs = await agreement(places.map(({ instance }) => instance.agent))
    rows.push([`${seconds} s`, String(writes), `${(healedMs / 1_000).toFixed(2)} s`])
  }
  say('America cut off from Europe and Asia, all of them writing; until all hold the same again\n')
  table(['apart for', 'writes meanwhile', 'agreed after'], rows)
}
