import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSigningKey } from '../../../src/core/index.ts'
import { createMemoryNetwork } from '../../../src/network/index.ts'
import type { Channel, MemoryNetwork, MemoryTransport, NetworkConditions } from '../../../src/network/index.ts'
import { createProbe } from './probe.ts'
import type { Probe } from './probe.ts'
import { createSeededRandom } from './seeded-random.ts'
import { createVirtualClock } from './virtual-clock.ts'
import type { VirtualClock } from './virtual-clock.ts'

type MemoryProbe = Probe & { readonly transport: MemoryTransport }

interface Group {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  readonly probes: MemoryProbe[]
}

async function createGroup(
  count: number,
  { seed = 1, conditions }: { seed?: number; conditions?: Partial<NetworkConditions> } = {},
): Promise<Group> {
  const random = createSeededRandom(seed)
  const clock = createVirtualClock()
  const network = createMemoryNetwork({ clock, random, conditions: conditions ?? {} })
  const probes = Array.from({ length: count }, () => {
    const { publicKey } = createSigningKey(random)
    return createProbe(publicKey, network.attach(publicKey)) as MemoryProbe
  })
  for (const probe of probes) await probe.transport.start(probe.handlers)
  return { clock, network, probes }
}

async function createPair(options?: Parameters<typeof createGroup>[1]): Promise<Group & { a: MemoryProbe; b: MemoryProbe }> {
  const group = await createGroup(2, options)
  const [a, b] = group.probes as [MemoryProbe, MemoryProbe]
  void a.transport.dial(b.key, b.transport.addresses())
  await group.clock.advance(1_000)
  expect([a.links.length, b.links.length]).toEqual([1, 1])
  return { ...group, a, b }
}

const text = (probe: Probe): string[] => probe.messages.map(({ bytes }) => Buffer.from(bytes).toString())
const say = (probe: Probe, words: string, channel: Channel = 'control'): boolean =>
  probe.transport.send(probe.links[0]!.id, channel, Buffer.from(words))

describe('the network of the simulator', () => {
  const stormy: Partial<NetworkConditions> = {
    latencyMsMin: 1,
    latencyMsMax: 300,
    gossipLoss: 0.2,
    gossipDuplication: 0.2,
    gossipDelayMsMax: 2_000,
    linkReset: 0.01,
    detectionMsMax: 5_000,
    windowBytes: 2_000,
    discovery: true,
  }

  /** A group that does random things for a while; what each node was told. */
  async function storm(seed: number): Promise<string[][]> {
    const { clock, network, probes } = await createGroup(4, { seed, conditions: stormy })
    const choices = createSeededRandom(seed + 1)
    const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(choices.unit() * list.length)]
    for (let step = 0; step < 800; step += 1) {
      const [one, other] = [pick(probes)!, pick(probes)!]
      const kind = choices.unit()
      if (kind < 0.3) void one.transport.dial(other.key, other.transport.addresses())
      else if (kind < 0.4) one.transport.publish(Buffer.from(`gossip ${step}`))
      else if (kind < 0.42 && one.links.length > 0) one.transport.close(pick(one.links)!.id, 'whim')
      else if (kind < 0.5) network.setReachable(one.transport.address, other.transport.address, choices.unit() < 0.6)
      else if (kind < 0.53) network.setReachable(one.transport.address, other.transport.address, choices.unit() < 0.6, 'one-way')
      else if (kind < 0.55) network.pause(one.transport.address)
      else if (kind < 0.6) network.resume(one.transport.address)
      else if (kind < 0.61) network.detach(one.transport.address)
      else if (kind < 0.65) {
        if (one.transport.addresses().length === 0) one.links.length = 0
        await one.transport.start(one.handlers)
      } else if (one.links.length > 0)
        one.transport.send(pick(one.links)!.id, choices.unit() < 0.5 ? 'bulk' : 'control', choices.bytes(500))
      await clock.advance(choices.unit() * 400)
    }
    await clock.advance(60_000)
    return probes.map((probe) => probe.trace)
  }

  it('does the same again under the same seed, and something else under another', async () => {
    const traces = await storm(7)
    expect(traces.flat().length).toBeGreaterThan(200)
    expect(await storm(7)).toEqual(traces)
    expect(await storm(8)).not.toEqual(traces)
  })

  it('delivers on each link an unbroken beginning of what was sent, whatever happens', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1 }), async (seed) => {
        const { clock, network, a, b } = await createPair({ seed, conditions: { ...stormy, linkReset: 0 } })
        network.change({ linkReset: 0.02 })
        const choices = createSeededRandom(seed)
        const received: Record<Channel, number[]> = { control: [], bulk: [] }
        b.onMessage = (_link, channel, bytes) => received[channel].push(bytes[0]!)
        const sent: Record<Channel, number> = { control: 0, bulk: 0 }
        const link = a.links[0]!.id
        for (let step = 0; step < 60; step += 1) {
          const channel = choices.unit() < 0.5 ? 'control' : 'bulk'
          a.transport.send(link, channel, new Uint8Array([sent[channel], 1, 2]))
          sent[channel] += 1
          if (choices.unit() < 0.1) network.setReachable(a.transport.address, b.transport.address, choices.unit() < 0.5)
          if (choices.unit() < 0.1) network.pause(b.transport.address)
          if (choices.unit() < 0.2) network.resume(b.transport.address)
          await clock.advance(choices.unit() * 100)
        }
        network.setReachable(a.transport.address, b.transport.address, true)
        network.resume(b.transport.address)
        await clock.advance(60_000)
        for (const channel of ['control', 'bulk'] as const) {
          expect(received[channel]).toEqual(received[channel].map((_, index) => index))
          if (a.links.length > 0) expect(received[channel]).toHaveLength(sent[channel])
        }
        expect(a.links.length).toBe(b.links.length)
      }),
      { numRuns: 50 },
    )
  })

  it('holds back what is sent over a cut path, and delivers it when the path heals in time', async () => {
    const { clock, network, a, b } = await createPair({ conditions: { detectionMsMax: 0 } })
    network.change({ detectionMsMax: 1e9 })
    network.setReachable(a.transport.address, b.transport.address, false)
    say(a, 'one')
    say(a, 'two')
    await clock.advance(5_000)
    expect(text(b)).toEqual([])
    network.setReachable(a.transport.address, b.transport.address, true)
    await clock.advance(100)
    expect(text(b)).toEqual(['one', 'two'])
    expect([a.closed, b.closed]).toEqual([[], []])
  })

  it.each(['both', 'one-way'] as const)('closes the links of a path that stays cut (%s), at both ends', async (direction) => {
    const { clock, network, a, b } = await createPair({ conditions: { detectionMsMax: 4_000 } })
    network.setReachable(a.transport.address, b.transport.address, false, direction)
    say(a, 'lost')
    await clock.advance(8_000)
    expect([a.closed, b.closed]).toEqual([['the connection timed out'], ['the connection timed out']])
    await a.transport.start(a.handlers)
    void b.transport.dial(a.key, a.transport.addresses())
    await clock.advance(20_000)
    expect(b.links).toEqual([])
    network.setReachable(a.transport.address, b.transport.address, true, direction)
    void b.transport.dial(a.key, a.transport.addresses())
    await clock.advance(1_000)
    expect([a.links.length, b.links.length]).toEqual([1, 1])
    expect(text(b)).toEqual([])
  })

  it('keeps for a paused node what comes for it, in order, and fills the window of who sends', async () => {
    const { clock, network, a, b } = await createPair({ conditions: { windowBytes: 1_000 } })
    network.pause(b.transport.address)
    expect(say(a, 'first')).toBe(true)
    expect(say(a, 'second'.padEnd(1_000), 'bulk')).toBe(false)
    await clock.advance(30_000)
    a.transport.close(a.links[0]!.id, 'bye')
    await clock.advance(30_000)
    expect(b.trace).toEqual([`opened inbound ${a.key.slice(0, 8)}`])
    network.resume(b.transport.address)
    await clock.advance(1_000)
    expect(b.trace.at(-1)).toContain('closed')

    network.pause(b.transport.address)
    void a.transport.dial(b.key, b.transport.addresses())
    await clock.advance(10_000)
    expect(a.links).toEqual([])
    network.resume(b.transport.address)
    void a.transport.dial(b.key, b.transport.addresses())
    await clock.advance(1_000)
    network.pause(b.transport.address)
    for (const words of ['x', 'y', 'z']) say(a, words)
    await clock.advance(1_000)
    network.resume(b.transport.address)
    await clock.advance(1_000)
    expect(text(b)).toEqual(['x', 'y', 'z'])
  })

  it('tells a crashed node nothing more, its peers that the link is gone, and takes it back at its address', async () => {
    const { clock, network, a, b } = await createPair({ conditions: { detectionMsMax: 2_000 } })
    say(a, 'too late')
    network.detach(b.transport.address)
    const told = b.trace.length
    await clock.advance(5_000)
    expect(b.trace).toHaveLength(told)
    expect(a.links).toEqual([])
    const again = createProbe(b.key, network.attach(b.key, { address: b.transport.address }))
    await again.transport.start(again.handlers)
    void a.transport.dial(b.key, again.transport.addresses())
    await clock.advance(1_000)
    say(a, 'hello again')
    await clock.advance(1_000)
    expect(text(again)).toEqual(['hello again'])
    expect(b.trace).toHaveLength(told)
  })

  it('hands on each gossip message once to a node, however often it arrives, and loses what it should', async () => {
    const { clock, network, probes } = await createGroup(4, { conditions: { gossipDuplication: 1, gossipDelayMsMax: 500 } })
    for (const one of probes) for (const other of probes) if (one !== other) void one.transport.dial(other.key, other.transport.addresses())
    await clock.advance(1_000)
    const [author, ...others] = probes
    for (let index = 0; index < 20; index += 1) author!.transport.publish(Buffer.from(`${index}`))
    await clock.advance(5_000)
    for (const probe of others) expect(new Set(probe.gossip.map(({ text }) => text)).size).toBe(20)
    for (const probe of others) expect(probe.gossip).toHaveLength(20)
    expect(others.some((probe) => probe.gossip.some(({ text }, index) => text !== `${index}`))).toBe(true)
    expect(author!.gossip).toEqual([])
    network.change({ gossipLoss: 1 })
    author!.transport.publish(Buffer.from('lost'))
    await clock.advance(5_000)
    for (const probe of others) expect(probe.gossip).toHaveLength(20)
  })

  it('announces nodes that start to each other, also one with the same key', async () => {
    const { clock, network, probes } = await createGroup(1, { conditions: { discovery: true } })
    const [a] = probes as [MemoryProbe]
    const copy = createProbe(a.key, network.attach(a.key)) as MemoryProbe
    await copy.transport.start(copy.handlers)
    await clock.advance(100)
    expect(a.found).toEqual([{ key: a.key, address: copy.transport.address }])
    expect(copy.found).toEqual([{ key: a.key, address: a.transport.address }])
  })
})
