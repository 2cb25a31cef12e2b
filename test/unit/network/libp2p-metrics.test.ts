import { afterEach, expect, test } from 'vitest'
import { createSigningKey, silentLogger, systemClock, systemRandom } from '../../../src/core/index.ts'
import { createNetworkInstruments } from '../../../src/daemon/network-instruments.ts'
import { createLibp2pTransport } from '../../../src/network/index.ts'
import { createProbe } from './probe.ts'

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  await Promise.all(cleanups.splice(0).map((cleanup) => cleanup()))
})

async function create() {
  const key = createSigningKey(systemRandom)
  const instruments = createNetworkInstruments()
  const transport = createLibp2pTransport({
    key,
    listen: () => ['/ip4/127.0.0.1/tcp/0'],
    serviceTag: 'metrics',
    gossipTopic: 'metrics',
    mdns: false,
    joinOpen: () => false,
    instruments,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  })
  cleanups.push(() => transport.stop())
  const probe = createProbe(key.publicKey, transport)
  await transport.start(probe.handlers)
  const text = (): Promise<string> => instruments.registry.metrics()
  /** The value of a series, 0 where there is none. */
  const valueOf = async (series: string): Promise<number> => {
    const line = (await text()).split('\n').find((each) => each.startsWith(`${series} `))
    return Number(line?.split(' ').at(-1) ?? 0)
  }
  return { ...probe, probe, text, valueOf }
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let step = 0; step < 5_000 && !(await condition()); step += 1) await new Promise((resolve) => setTimeout(resolve, 1))
  expect(await condition(), 'what was awaited did not happen').toBe(true)
}

const bulkBytes = (direction: string): string => `libp2p_data_transfer_bytes_total{direction="${direction}",protocol="/selfsame/bulk/1"}`

test('what goes over the network is counted at both ends, byte for byte, and nothing of it is lost', async () => {
  const [a, b] = await Promise.all([create(), create()])
  await a.transport.dial(b.key, b.transport.addresses())
  await until(() => a.links.length === 1 && b.links.length === 1)
  const sizes = [1, 100, 70_000, 3, 1_000_000]
  for (const size of sizes) a.transport.send(a.links[0]!.id, 'bulk', new Uint8Array(size))
  await until(() => b.messages.length === sizes.length)
  expect(b.messages.map(({ bytes }) => bytes.length)).toEqual(sizes)
  const sent = await a.valueOf(bulkBytes('sent'))
  expect(sent).toBe(await b.valueOf(bulkBytes('received')))
  expect(sent).toBeGreaterThan(sizes.reduce((sum, size) => sum + size, 0))
  expect(await a.valueOf('libp2p_data_transfer_bytes_total{direction="sent",protocol="connection"}')).toBeGreaterThan(sent)
  expect(await b.valueOf('libp2p_connection_manager_connections{kind="inbound"}')).toBe(1)
  await until(async () => {
    a.transport.publish(Buffer.from(`hello ${systemClock.monotonic()}`))
    return (await a.valueOf('gossipsub_rpc_sent_message_total')) > 0
  })
})

test('whoever sends small messages is not told after each of them that it may send more', async () => {
  const [a, b] = await Promise.all([create(), create()])
  await a.transport.dial(b.key, b.transport.addresses())
  await until(() => a.links.length === 1 && b.links.length === 1)
  const told = (): Promise<number> => a.valueOf('libp2p_data_transfer_bytes_total{direction="received",protocol="connection"}')
  const before = await told()
  const messages = 1_000
  for (let count = 1; count <= messages; count += 1) {
    a.transport.send(a.links[0]!.id, 'control', new Uint8Array(100))
    await until(() => b.messages.length === count)
  }
  // An update is 30 bytes with its encryption; what else comes are gossip's heartbeats.
  expect(await told()).toBeLessThan(before + messages * 3)
})

test('after a pause the counting goes on, and what is measured is of the node that runs', async () => {
  const [a, b] = await Promise.all([create(), create()])
  const connect = async (): Promise<void> => {
    await a.transport.dial(b.key, b.transport.addresses())
    await until(() => a.links.length === 1 && b.links.length === 1)
    a.transport.send(a.links[0]!.id, 'bulk', new Uint8Array(1_000))
    await until(() => b.messages.length > 0)
  }
  await connect()
  const before = await a.valueOf(bulkBytes('sent'))
  await a.transport.stop()
  await until(() => b.links.length === 0)
  expect(await a.text()).not.toContain('libp2p_connection_manager_connections{')
  b.messages.length = 0
  await a.transport.start(a.handlers)
  await connect()
  expect(await a.valueOf(bulkBytes('sent'))).toBe(2 * before)
  expect(await a.valueOf('libp2p_connection_manager_connections{kind="outbound"}')).toBe(1)
})

test('no label names a peer', async () => {
  const [a, b] = await Promise.all([create(), create()])
  await a.transport.dial(b.key, b.transport.addresses())
  await until(() => a.links.length === 1)
  for (const text of [await a.text(), await b.text()]) expect(text).not.toMatch(/12D3KooW|[0-9a-f]{64}/)
})
