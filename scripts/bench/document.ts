/** The merge engine by itself, against its floors: the least work that any design would have to do. */
import * as Y from 'yjs'
import { encode, stampOf } from '../../src/core/index.ts'
import { openLiveDocument, openSegmentWriter, readSegmentUpdate, segmentDigest } from '../../src/document/index.ts'
import type { Edit, EditContext, EntryContent, LiveDocument, LiveKind } from '../../src/document/index.ts'
import { count, perSecond } from './measure.ts'
import type { Row } from './measure.ts'

const context = (client: number): EditContext => ({ client, stamp: stampOf(1, 0), textVersion: () => undefined })

function seconds(body: () => void): number {
  const start = performance.now()
  body()
  return (performance.now() - start) / 1_000
}

function rate(total: number, body: () => void): number {
  return total / seconds(body)
}

const row = (what: string, measured: string, floor: Pick<Row, 'floor' | 'ratio'> = {}): Row => ({
  what: `document: ${what}`,
  measured,
  ...floor,
})
const against = (measured: number, floor: number, name: string): Pick<Row, 'floor' | 'ratio'> => ({
  floor: `${perSecond(floor)}, ${name}`,
  ratio: floor / measured,
})

/** Writes `count` edits, one transaction each, and returns the updates. */
function editEach(document: LiveDocument, client: number, count: number, edit: (index: number) => Edit): Uint8Array[] {
  const updates: Uint8Array[] = []
  for (let index = 0; index < count; index++) {
    const update = document.edit(context(client), (apply) => apply(edit(index)))
    if (update !== null) updates.push(update)
  }
  return updates
}

function applyAll(kind: LiveKind, client: number, updates: readonly Uint8Array[]): LiveDocument {
  const document = openLiveDocument(kind, null)
  for (const update of updates) {
    const checked = document.check(update, { client, stamp: stampOf(1, 0), pastClock: () => 0 })
    if (!checked.ok) throw new Error(checked.reason)
    document.apply(update)
  }
  return document
}

/** The least that a transaction of Yjs costs: one item under a new key of a map. */
const measureYjsFloor = (): number =>
  rate(20_000, () => {
    const map = new Y.Doc().getMap()
    for (let index = 0; index < 20_000; index++) map.set(`key ${index % 200}`, index)
  })

function* cellRows(yjsFloor: number): Generator<Row> {
  const live = openLiveDocument('set', null)
  live.edit(context(2 ** 50), (apply) => {
    for (let index = 0; index < 60_000; index++) apply({ type: 'set.add', member: `member ${index}` })
  })
  const appendRate = rate(20_000, () => editEach(live, 9, 20_000, (index) => ({ type: 'set.add', member: `new ${index}` })))
  yield row('add to a set of 60,000, one transaction each', perSecond(appendRate), against(appendRate, yjsFloor, 'a bare Y.Map write'))

  const counter = openLiveDocument('counter', null)
  let updates: Uint8Array[] = []
  const countRate = rate(20_000, () => {
    updates = editEach(counter, 9, 20_000, (index) => ({ type: 'counter.add', key: `post ${index % 200}`, amount: 1n }))
  })
  yield row('increment one of 200 counters, one transaction each', perSecond(countRate), against(countRate, yjsFloor, 'a bare Y.Map write'))
  const applyRate = rate(20_000, () => applyAll('counter', 9, updates))
  yield row('check and apply such an increment from a peer', perSecond(applyRate), against(applyRate, yjsFloor, 'a bare Y.Map write'))

  const registers = openLiveDocument('register', null)
  const overwriteSeconds = seconds(() =>
    editEach(registers, 9, 200_000, (index) => ({ type: 'register.set', key: `key ${index % 200}`, value: index })),
  )
  const live200 = encode(Array.from({ length: 200 }, (_, index) => [`key ${index}`, '199999', new Uint8Array(8)])).length
  const stateBytes = registers.state().length
  yield row('200,000 overwrites of 200 keys', perSecond(200_000 / overwriteSeconds))
  yield row('their state', `${count(stateBytes)} bytes`, { floor: `${live200} bytes, the live cells alone`, ratio: stateBytes / live200 })

  const [a, b] = [openLiveDocument('register', null), openLiveDocument('register', null)]
  for (let index = 0; index < 20_000; index++) {
    const [writer, reader, client] = index % 2 === 0 ? ([a, b, 1] as const) : ([b, a, 2] as const)
    const update = writer.edit(context(client), (apply) => apply({ type: 'register.set', key: 'key', value: index }))
    if (update !== null) reader.apply(update)
  }
  yield row('two writers in turn on one key, 20,000 times: state', `${a.state().length} bytes`)

  const state = live.state()
  const loadSeconds = seconds(() => openLiveDocument('set', state))
  yield row(`load a set of 80,000 (${state.length.toLocaleString('en')} bytes)`, `${(loadSeconds * 1_000).toFixed(0)} ms`)
  yield row('digest of a set of 80,000', `${(seconds(() => live.digest()) * 1_000).toFixed(0)} ms`)

  const firsts = Array.from({ length: 3_000 }, (_, index) => {
    const client = 1 + ((index * 2_654_435_761) % 2 ** 51)
    return (
      openLiveDocument('set', null).edit(context(client), (apply) => apply({ type: 'set.add', member: `${index}` })) ?? new Uint8Array()
    )
  })
  const ours = openLiveDocument('set', state)
  const oursRate = rate(firsts.length, () => firsts.forEach((update) => ours.apply(update)))
  const plain = new Y.Doc()
  Y.applyUpdate(plain, state)
  const plainRate = rate(100, () => firsts.slice(0, 100).forEach((update) => Y.applyUpdate(plain, update)))
  yield row('first cells of 3,000 feeds into a set of 80,000', perSecond(oursRate), against(oursRate, plainRate, 'as Yjs places them'))
}

function* segmentRows(): Generator<Row> {
  const entry = (index: number): EntryContent => ({
    text: `Met Ada on day ${index}; she prefers mornings`,
    tags: ['people'],
    data: { mood: 'warm', index },
  })
  const entries = Array.from({ length: 100_000 }, (_, index) => entry(index))
  const jsonFloor = rate(entries.length, () => entries.forEach((each) => void JSON.parse(JSON.stringify(each))))
  const segments = (size: number, batch: number) => {
    const updates: { update: Uint8Array; clock: number }[] = []
    for (let start = 0; start < entries.length; start += size) {
      const writer = openSegmentWriter(5)
      for (let at = start; at < start + size && at < entries.length; at += batch) {
        const clock = writer.entries
        updates.push({ update: writer.append(entries.slice(at, Math.min(at + batch, start + size))), clock })
      }
    }
    return updates
  }
  for (const batch of [1, 500]) {
    let updates: ReturnType<typeof segments> = []
    const appendRate = rate(entries.length, () => {
      updates = segments(2_000, batch)
    })
    yield row(`append entries, ${batch} at a time`, perSecond(appendRate), against(appendRate, jsonFloor, 'JSON there and back'))
    const readRate = rate(entries.length, () => {
      for (const { update, clock } of updates) if (!readSegmentUpdate(update, 5, clock).ok) throw new Error('refused')
    })
    yield row(`check and read entries, ${batch} at a time`, perSecond(readRate), against(readRate, jsonFloor, 'JSON there and back'))
  }
  const writer = openSegmentWriter(5)
  const singles = entries.slice(0, 2_048).map((each) => writer.append([each]))
  yield row('digest of a full segment of single entries', `${(seconds(() => segmentDigest(singles)) * 1_000).toFixed(0)} ms`)
}

function* textRows(yjsFloor: number): Generator<Row> {
  const lines = Array.from({ length: 5_000 }, (_, index) => `this is line ${index} of a long note\n`)
  const text = openLiveDocument('text', null)
  editEach(text, 9, 1, () => ({ type: 'text.put', text: lines.join(''), base: null }))
  const putRate = rate(200, () =>
    editEach(text, 9, 200, (index) => ({
      type: 'text.put',
      text: lines.with(index * 20, `this was line ${index}\n`).join(''),
      base: null,
    })),
  )
  yield row('put a text of 5,000 lines with two changed', perSecond(putRate))
  const rewritten = lines.map((line, index) => (index % 3 === 0 ? line.replace('long', 'short') : line)).join('')
  yield row(
    'put it with every third line changed',
    `${(seconds(() => editEach(text, 9, 1, () => ({ type: 'text.put', text: rewritten, base: null }))) * 1_000).toFixed(0)} ms`,
  )

  const json = openLiveDocument('json', null)
  editEach(json, 9, 1, () => ({
    type: 'json.merge',
    patch: Object.fromEntries(
      Array.from({ length: 2_000 }, (_, index) => [`task ${index}`, { title: `do ${index}`, status: 'open', tags: ['a', 'b'] }]),
    ),
  }))
  const patchRate = rate(1_000, () =>
    editEach(json, 9, 1_000, (index) => ({ type: 'json.merge', patch: { [`task ${index}`]: { status: 'done' } } })),
  )
  yield row('patch one of 2,000 tasks', perSecond(patchRate), against(patchRate, yjsFloor, 'a bare Y.Map write'))
}

export async function* measure(): AsyncGenerator<Row> {
  const yjsFloor = measureYjsFloor()
  yield* cellRows(yjsFloor)
  yield* segmentRows()
  yield* textRows(yjsFloor)
}
