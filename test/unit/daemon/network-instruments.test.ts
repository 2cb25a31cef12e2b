import { expect, test } from 'vitest'
import { createNetworkInstruments } from '../../../src/daemon/network-instruments.ts'

const options = { name: 'net_things', help: 'Things', labels: ['kind'] }

test('the same name is the same instrument', async () => {
  const instruments = createNetworkInstruments()
  instruments.counter(options).add({ kind: 'a' }, 2)
  instruments.counter(options).add({ kind: 'a' }, 3)
  expect(await instruments.registry.metrics()).toContain('net_things{kind="a"} 5\n')
})

test('what is measured when asked is what is there now, of all who measure, until they end', async () => {
  const instruments = createNetworkInstruments()
  const gauge = instruments.gauge(options)
  let word = 'a'
  const end = gauge.onRead(() => gauge.set({ kind: word }, 1))
  gauge.onRead(async () => gauge.set({ kind: 'other side' }, 7))
  expect(await instruments.registry.metrics()).toMatch(/\{kind="a"\} 1\n.*\{kind="other side"\} 7\n/)
  word = 'b'
  expect(await instruments.registry.metrics()).not.toContain('kind="a"')
  end()
  expect(await instruments.registry.metrics()).not.toContain('kind="b"')
})

test('a label takes so many words, and the rest count together', async () => {
  const instruments = createNetworkInstruments()
  const counter = instruments.counter(options)
  for (let index = 0; index < 1_000; index += 1) counter.add({ kind: `word ${index}` }, 1)
  counter.add({ kind: 'word 0' }, 1)
  const text = await instruments.registry.metrics()
  expect(text.match(/^net_things\{/gm)).toHaveLength(65)
  expect(text).toContain('net_things{kind="word 0"} 2\n')
  expect(text).toContain('net_things{kind="other"} 936\n')
})
