/**
 * The story of the demo. Everything goes through the doors that a user has, the `selfsame` command and the client. What is
 * claimed is checked, and the first claim that does not hold ends the story.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { connect } from '../../src/api/client.ts'
import type { Agent, DocumentDigest, EntryInput, LogEntry } from '../../src/api/client.ts'
import type { Processes } from './processes.ts'
import { durationText, printChapter, printFact, printTable, printText, printTitle, step } from './screen.ts'

const names = ['laptop', 'server', 'lisbon'] as const
type Name = (typeof names)[number]
type Agents = Readonly<Record<Name, Agent>>

/** Of each instance's notes, the last so many are written while the laptop is away. */
const notesAway = 4
/** What each adds to one counter, one at a time, while all are together and while the laptop is away. */
const incrementsTogether = 10
const incrementsAway = 200
/** Milliseconds for what the instances do by themselves. A second or two is usual; a busy machine takes longer. */
const patienceMs = 60_000
/** Milliseconds between two looks at what they hold: times told for it are that much too long at most. */
const lookMs = 10

const follows = ['ada', 'tomas', 'dona-rosa', 'velo-aveiro']
/** The line that each adds to SOUL.md while the laptop is away, and the line that it comes after. */
const lessons: Readonly<Record<Name, { readonly after: string; readonly line: string }>> = {
  laptop: { after: '- What I am not sure of, I say so.', line: '- People have names: I never write "dear customer".' },
  server: { after: '- Every order has an answer within the hour.', line: '- An order stands in the log before a mail leaves.' },
  lisbon: { after: '- A date from a supplier is a hope. I name the later one.', line: '- I do not talk to Tomás while he counts spokes.' },
}
const tasks = JSON.parse(sample('tasks.json')) as Readonly<Record<string, Readonly<Record<string, string>>>>
const taskPatches: Readonly<Record<Name, typeof tasks>> = {
  laptop: { 'price-page': { status: 'done' } },
  server: { pads: { status: 'done' } },
  lisbon: { sign: { title: 'File the sign down by 4 cm', status: 'open' } },
}
const cities: Readonly<Record<Name, string>> = { laptop: 'on the train', server: 'Porto and Lisbon', lisbon: 'Lisbon' }

/** Tells the story with daemons whose homes lie in `directory`. Rejects with the first thing that is not as it should be. */
export async function tellStory(processes: Processes, directory: string): Promise<void> {
  printTitle('Selfsame: one agent, three instances, one memory')
  printText('Kevin keeps the memory of a bicycle workshop: on a laptop, on a server, and on')
  printText('the counter of a shop in Lisbon. Here each is a daemon with a home of its own.')

  printChapter('Begin')
  const agents = await begin(processes, directory)
  printChapter('Together')
  await writeTogether(agents)
  printChapter('Apart')
  await writeApart(agents)
  printChapter('Together again')
  await step('laptop', 'comes back (network resume), until all hold the same', async () => {
    await agents.laptop.network.resume()
    await agreement(Object.values(agents))
  })
  await compareDigests(processes, directory)
  printChapter('What became of it')
  await checkMemory(agents)
  await Promise.all(Object.values(agents).map((agent) => agent.close()))
}

async function begin(processes: Processes, directory: string): Promise<Agents> {
  const homeOf = (name: Name): string => join(directory, name)
  const connectTo = (name: Name): Promise<Agent> => connect({ home: homeOf(name) })
  const up = (name: Name): Promise<void> => processes.keep(['--home', homeOf(name), 'up'])

  await step('laptop', '$ selfsame init --agent kevin', () =>
    processes.run(['--home', homeOf('laptop'), 'init', '--agent', 'kevin', '--name', 'laptop', '--listen', 'loopback']),
  )
  await step('laptop', '$ selfsame up', () => up('laptop'))
  const ticket = await step('laptop', '$ selfsame invite --uses 2 > ticket.txt', () =>
    processes.run(['--home', homeOf('laptop'), 'invite', '--uses', '2']),
  )
  for (const name of ['server', 'lisbon'] as const) {
    await step(name, '$ selfsame join < ticket.txt', () =>
      processes.run(['--home', homeOf(name), 'join', '--name', name, '--listen', 'loopback'], ticket),
    )
  }
  await step('both', '$ selfsame up', () => Promise.all([up('server'), up('lisbon')]))
  const [laptop, server, lisbon] = await Promise.all([connectTo('laptop'), connectTo('server'), connectTo('lisbon')])
  const agents = { laptop, server, lisbon }
  await step('all', 'find each other', () => until('all three are connected', async () => (await linksOf(agents)) === 6))
  return agents
}

async function writeTogether(agents: Agents): Promise<void> {
  const notes = names
    .flatMap((name) =>
      notesOf(name)
        .slice(0, -notesAway)
        .map((note) => ({ name, note })),
    )
    .sort((one, other) => String(one.note.time).localeCompare(String(other.note.time)))
  const waits: number[] = []
  await step('all', `write ${notes.length} notes, each until it is on the disks of all three`, async () => {
    for (const { name, note } of notes) {
      const began = performance.now()
      const { replicas } = await agents[name].log('memory').append(note, { replicas: 3, timeoutMs: patienceMs })
      waits.push(performance.now() - began)
      check('a note that waits for three instances is held by three', replicas.held === 3)
    }
  })
  waits.sort((one, other) => one - other)
  printFact('one note', `${durationText(waits[waits.length >> 1] ?? 0)} in the middle, ${durationText(waits.at(-1) ?? 0)} at the longest`)

  await step('all', 'write who they are, whom they follow, what is to do', () =>
    Promise.all([
      agents.laptop.text('SOUL.md').put(sample('SOUL.md')),
      agents.server.json('tasks').merge(tasks),
      agents.lisbon.register('profile').set('city', 'Porto'),
      agents.lisbon.batch(follows.map((member) => ({ type: 'set.add', name: 'follows', member }))),
      ...names.map((name) => increment(agents[name], incrementsTogether)),
    ]),
  )
  const digests = await step('all', 'until they hold the same', () => agreement(Object.values(agents)))
  printFact('the same', `all ${digests.length} documents`)
}

async function writeApart(agents: Agents): Promise<void> {
  const { laptop, server, lisbon } = agents
  await step('laptop', 'goes into a tunnel (network pause)', () => laptop.network.pause())
  await until('only two are connected', async () => (await linksOf(agents)) === 2)
  await step('all', `go on: each ${notesAway} notes, ${incrementsAway} increments, edits of the same`, () =>
    Promise.all(
      names.map(async (name) => {
        const agent = agents[name]
        const { text, version } = await agent.text('SOUL.md').get()
        await agent.text('SOUL.md').put(withLesson(text, name), { base: version })
        await agent.json('tasks').merge(taskPatches[name])
        await agent.register('profile').set('city', cities[name])
        for (const note of notesOf(name).slice(-notesAway)) await agent.log('memory').append(note)
        await increment(agent, incrementsAway)
      }),
    ),
  )
  await step('all', 'laptop unfollows velo-aveiro, server follows it again', () =>
    Promise.all([
      laptop.set('follows').remove('velo-aveiro'),
      server.set('follows').add('velo-aveiro'),
      lisbon.set('follows').add('beatriz'),
    ]),
  )
  const theirs = await step('both', 'server and lisbon agree with each other', () => agreement([server, lisbon]))
  const ours = new Map((await laptop.digests()).map((digest) => [titleOf(digest), digest.digest]))
  const differing = theirs.filter((digest) => ours.get(titleOf(digest)) !== digest.digest)
  check('who is cut off holds something else in every document', differing.length === theirs.length)
  const [alone, together] = await Promise.all([laptop, server].map((agent) => agent.counter('karma').get('helpful')))
  printFact('not the same', `all ${differing.length} documents; karma is ${alone} on laptop, ${together} on the others`)
}

/** Has each instance print its digests by the command, and shows them side by side. */
async function compareDigests(processes: Processes, directory: string): Promise<void> {
  const printed = await step('all', '$ selfsame digests', () =>
    Promise.all(names.map((name) => processes.run(['--home', join(directory, name), 'digests', '--json']))),
  )
  const lists = printed.map((text) => JSON.parse(text) as readonly DocumentDigest[])
  check(
    'all three print the same digests',
    lists.every((list) => isDeepStrictEqual(list, lists[0])),
  )
  const rows = (lists[0] ?? []).map((digest, row) => [titleOf(digest), ...lists.map((list) => list[row]?.digest.slice(0, 18) ?? '')])
  printTable(['', ...names], rows)
}

async function checkMemory(agents: Agents): Promise<void> {
  const { laptop, server, lisbon } = agents
  const expected = names.flatMap((name) => notesOf(name).map(({ text }) => `${name}: ${text}`)).sort()
  for (const agent of Object.values(agents)) {
    const entries: LogEntry[] = []
    for await (const entry of agent.log('memory').read()) entries.push(entry)
    check(
      'every note is there once, under its author',
      isDeepStrictEqual(entries.map(({ author, text }) => `${author.name}: ${text}`).sort(), expected),
    )
    check(
      'notes are read in order of time',
      entries.every(({ time }, index) => index === 0 || time >= (entries[index - 1] as LogEntry).time),
    )
  }
  printFact('log/memory', `${expected.length} notes of three authors, each once, in order of time`)

  const each = incrementsTogether + incrementsAway
  const total = await laptop.counter('karma').get('helpful')
  check('every increment counts once', total === BigInt(names.length * each))
  printFact('counter/karma', `${total} = ${names.map(() => each).join(' + ')}`)

  const members = await server.set('follows').list()
  check('an addition wins over a removal', isDeepStrictEqual([...members].sort(), [...follows, 'beatriz'].sort()))
  printFact('set/follows', `${members.join(', ')}: who adds wins over who removes`)

  const cell = await lisbon.register('profile').get('city')
  const candidates = cell === undefined ? [] : [cell, ...cell.siblings]
  check(
    'a value that nobody had seen is not lost',
    candidates.some(({ value }) => value === cities.laptop),
  )
  const [latest, ...beside] = candidates.map(({ value, author }) => `${JSON.stringify(value)} (${author.name})`)
  printFact('register/profile', `city is ${latest}: the latest`)
  printFact('', `beside it, until somebody decides: ${beside.join(', ')}`)

  const soul = await lisbon.text('SOUL.md').get()
  check('all edits of a text are in it', soul.text === names.reduce(withLesson, sample('SOUL.md')))
  printFact('text/SOUL.md', 'has what each of the three added:')
  for (const name of names) printFact('', lessons[name].line)

  const merged = new Map(Object.entries(tasks))
  for (const name of names) {
    for (const [id, patch] of Object.entries(taskPatches[name])) merged.set(id, { ...merged.get(id), ...patch })
  }
  check('all edits of a structure are in it', isDeepStrictEqual(await server.json('tasks').get(), Object.fromEntries(merged)))
  printFact('json/tasks', 'two tasks done, one new, each by another instance')
}

async function increment(agent: Agent, times: number): Promise<void> {
  for (let count = 0; count < times; count += 1) await agent.counter('karma').add('helpful')
}

/** Waits until the digests of all documents are equal, and answers them. */
async function agreement(agents: readonly Agent[]): Promise<readonly DocumentDigest[]> {
  let lists: (readonly DocumentDigest[])[] = []
  await until('the instances hold the same', async () => {
    lists = await Promise.all(agents.map((agent) => agent.digests()))
    return lists.every((list) => isDeepStrictEqual(list, lists[0]))
  })
  return lists[0] ?? []
}

/** How many links the instances see, each counted at both ends. */
async function linksOf(agents: Agents): Promise<number> {
  const statuses = await Promise.all(Object.values(agents).map((agent) => agent.status()))
  return statuses.flatMap(({ peers }) => peers).filter(({ state }) => state === 'connected').length
}

async function until(claim: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!(await holds())) {
    check(`${claim} within ${durationText(patienceMs)}`, performance.now() < deadline)
    await wait(lookMs)
  }
}

function check(claim: string, holds: boolean): void {
  if (!holds) throw new Error(`This should hold, and does not: ${claim}.`)
}

function titleOf({ kind, name }: DocumentDigest): string {
  return `${kind}/${name}`
}

function withLesson(text: string, name: Name): string {
  const { after, line } = lessons[name]
  return text.replace(after, `${after}\n${line}`)
}

function notesOf(name: Name): readonly EntryInput[] {
  const lines = sample(`${name}.jsonl`).trim().split('\n')
  return lines.map((line) => JSON.parse(line) as EntryInput)
}

function sample(file: string): string {
  return readFileSync(new URL(file, import.meta.url), 'utf8')
}
