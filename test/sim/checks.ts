/** What must be true of a group that healed, whatever happened before. */
import * as Y from 'yjs'
import { decodeHeader, decodeUpdateBody, operationIdOf } from '../../src/feed/index.ts'
import type { Replica } from '../../src/replica/index.ts'
import type { Request } from './clients.ts'
import type { Agreement, Running } from './group.ts'
import { Group, expectedOf } from './model.ts'
import type { Expected } from './model.ts'
import type { SimNode } from './node.ts'
import type { World } from './world.ts'

/** Virtual milliseconds in which a home that is opened is built anew from its envelopes. */
const rebuildMs = 200

export class Checks {
  readonly #world: World
  readonly #requests: readonly Request[]

  constructor(world: World, requests: readonly Request[]) {
    this.#world = world
    this.#requests = requests
  }

  async all({ outside, remaining, table }: Agreement, nodes: readonly SimNode[]): Promise<void> {
    const [first] = remaining
    if (first === undefined) return
    if (outside.length > 0) this.#world.note('outside')
    const group = new Group(
      table,
      remaining.map(({ node }) => node.disk.readable),
    )
    const expected = expectedOf(this.#requests, group)
    this.#checkRequests(expected, group, first, nodes)
    const members = JSON.stringify([table.members, table.former])
    const accepted = JSON.stringify([...group.accepted].toSorted(byText))
    const digests = await this.#digests(first.replica)
    this.#world.record('digests', digests)
    for (const one of remaining) {
      const { name } = one.node
      const { store } = one.replica
      this.#equal(`${name}: members`, JSON.stringify([one.replica.members.members, one.replica.members.former]), members)
      const applied = store
        .feeds()
        .filter((row) => row.applied > 0)
        .map((row) => [row.feed, row.applied] as const)
      this.#equal(`${name}: what counts`, JSON.stringify(applied.toSorted(byText)), accepted)
      this.#equal(`${name}: digests`, await this.#digests(one.replica), digests)
      await this.#checkValues(one, expected)
    }
    await this.#checkAgainstYjs(first)
    await this.#checkReopened(first, digests)
  }

  /** Nothing acknowledged is lost, nothing refused was done, and nothing was done twice. */
  #checkRequests(expected: Expected, group: Group, { replica }: Running, nodes: readonly SimNode[]): void {
    for (const { id, instance, operations, place, state } of this.#requests) {
      const places = expected.places.get(id) ?? []
      const what = `${id} (${operations.map((operation) => (operation.type === 'append' ? 'append' : operation.edit.type)).join()})`
      if (state === 'refused' && places.length > 0) this.#world.fault(`${what} was refused, and is there`)
      // Copies of a home may each append an entry, of which one is shown.
      const envelopes = new Set(places.map(({ feed, sequence }) => `${feed}:${sequence}`)).size
      if (envelopes > 1 && operations.some(({ type }) => type !== 'append')) this.#world.fault(`${what} is there ${envelopes} times`)
      if (places.length !== envelopes * operations.length) this.#world.fault(`${what} is there in part`)
      if (state !== 'acknowledged' || place === null) continue
      if (places.length > 0) {
        if (
          replica.store.operation(replica.members.lineageOf(instance), operationIdOf(operations.length === 1 ? id : `${id}/0`)) ===
          undefined
        )
          this.#world.fault(`${what} is there, and its operation id is not known`)
        continue
      }
      if (group.isAccepted(place) || (group.holds(place) && group.isUnlimited(place.feed)))
        this.#world.fault(`${what} was acknowledged, and is gone`)
      else if (nodes.every(({ disk }) => disk.readable.envelopes(place.feed, place.sequence, place.sequence, 1).length === 0))
        this.#world.fault(`${what} was acknowledged, and no disk holds it`)
      else this.#world.note(group.holds(place) ? 'voided' : 'held outside')
    }
  }

  /** Values, one by one, against the model. */
  async #checkValues({ node, replica }: Running, expected: Expected): Promise<void> {
    const { reader } = replica
    const differ = (what: string, read: unknown, wanted: unknown): void =>
      this.#equal(`${node.name}: ${what}`, JSON.stringify(read), JSON.stringify(wanted))
    for (const [name, texts] of expected.logs) differ(`log ${name}`, logOf(replica, name).toSorted(), [...texts].toSorted())
    for (const [name, totals] of expected.counters) {
      const counter = await reader.value('counter', name)
      for (const [key, total] of totals) differ(`counter ${name} ${key}`, String(counter.totals.get(key) ?? 0n), String(total))
    }
    differ('set', [...(await reader.value('set', 'follows')).members].toSorted(), [...expected.members].toSorted())
    const registers = await reader.value('register', 'profile')
    differ(
      'registers',
      [...registers.cells].map(([key, cells]) => [key, cells.map((cell) => JSON.stringify(cell.value))]).toSorted(byText),
      [...expected.registers].toSorted(byText),
    )
    const lines = (await reader.value('text', 'SOUL.md')).text.split('\n').filter((line) => line !== '')
    differ('text', lines.toSorted(), [...expected.lines].toSorted())
    const value = (await reader.value('json', 'tasks')).value as Record<string, string>
    differ(
      'json',
      Object.keys(value)
        .filter((key) => key !== 'last')
        .toSorted(),
      [...expected.jsonKeys].toSorted(),
    )
    const last = value['last']
    if (last === undefined ? expected.jsonLast.size > 0 : !expected.jsonLast.has(last))
      this.#world.fault(`${node.name}: json has ${last} as the last, not one of ${[...expected.jsonLast].join()}`)
  }

  /** The envelopes of a home, given to Yjs in the order in which they were applied, leave nothing over and read the same. */
  async #checkAgainstYjs({ node, replica }: Running): Promise<void> {
    const documents = new Map<string, Y.Doc>()
    for (const stored of replica.store.appliedAfter(0, 1_000_000)) {
      const header = decodeHeader(stored.headerBytes)
      for (const [index, { bytes }] of stored.bodies.entries()) {
        if (!header.ok || header.value.bodies[index]?.type !== 1) continue
        const body = decodeUpdateBody(bytes)
        if (!body.ok || body.value.update.length === 0 || body.value.kind === 'log') continue
        const name = `${body.value.kind} ${body.value.name}`
        const document = documents.get(name) ?? new Y.Doc()
        documents.set(name, document)
        Y.applyUpdate(document, body.value.update)
      }
    }
    for (const [name, { store }] of documents)
      if (store.pendingStructs !== null || store.pendingDs !== null) this.#world.fault(`${node.name}: ${name} has pending structs`)
    for (const name of ['SOUL.md', 'scratch']) {
      const text = documents.get(`text ${name}`)?.getText('text').toJSON() ?? ''
      this.#equal(`${node.name}: text ${name} by Yjs alone`, text, (await replica.reader.value('text', name)).text)
    }
  }

  /** A restart from the disk reads the same, and so does everything built anew from the envelopes. */
  async #checkReopened({ node }: Running, digests: string): Promise<void> {
    for (const isCleared of [false, true]) {
      await this.#world.settle(node.stop())
      if (isCleared) await node.disk.store.commit({ derivedCleared: true })
      await node.start()
      await this.#world.time.run(this.#world.time.elapsed + rebuildMs)
      if (node.replica !== null)
        this.#equal(`${node.name}: digests ${isCleared ? 'built anew' : 'after a restart'}`, await this.#digests(node.replica), digests)
    }
  }

  async #digests({ reader }: Replica): Promise<string> {
    const lines: string[] = []
    for (const { kind, name } of reader.documents()) {
      let digested: unknown = null
      await this.#world.settle(reader.digest(kind, name).then((value) => (digested = value)))
      lines.push(`${kind}/${name} ${JSON.stringify(digested)}`)
    }
    return lines.join('\n')
  }

  #equal(what: string, read: string, wanted: string): void {
    if (read !== wanted) this.#world.fault(`${what} is\n${read}\nnot\n${wanted}`)
  }
}

function logOf({ reader }: Replica, name: string): string[] {
  const texts: string[] = []
  for (let after: { time: number; id: string } | undefined, more = true; more;) {
    const page = reader.log(name, { newestFirst: false, limit: 50, after })
    texts.push(...page.entries.map((entry) => entry.content.text ?? ''))
    after = page.next ?? undefined
    more = page.next !== null
  }
  return texts
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}
