/** What every transport owes its engine, held against both implementations. */
import { afterEach, describe, expect, it } from 'vitest'
import { createSigningKey, gossipBytesMax, silentLogger, systemClock, systemRandom } from '../../src/core/index.ts'
import type { SigningKey } from '../../src/core/index.ts'
import { createLibp2pTransport, createMemoryNetwork } from '../../src/network/index.ts'
import type { Transport } from '../../src/network/index.ts'
import { createProbe } from '../unit/network/probe.ts'
import type { Probe } from '../unit/network/probe.ts'
import { createVirtualClock } from '../unit/network/virtual-clock.ts'

interface World {
  create(key: SigningKey, joinOpen: () => boolean): Transport
  /** Lets the network do its work until `condition` holds. */
  until(condition: () => boolean): Promise<void>
  /** Lets it do everything that it does without being asked. */
  settle(): Promise<void>
}

function memoryWorld(): World {
  const clock = createVirtualClock()
  const network = createMemoryNetwork({ clock, random: systemRandom, conditions: { latencyMsMin: 1, latencyMsMax: 20 } })
  return {
    create: (key, joinOpen) => network.attach(key.publicKey, { joinOpen }),
    async until(condition) {
      for (let step = 0; step < 10_000 && !condition(); step += 1) await clock.advance(10)
      expect(condition(), 'what was awaited did not happen').toBe(true)
    },
    settle: () => clock.advance(30_000),
  }
}

function libp2pWorld(): World {
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
  return {
    create: (key, joinOpen) =>
      createLibp2pTransport({
        key,
        listen: () => ['/ip4/127.0.0.1/tcp/0'],
        serviceTag: 'contract',
        gossipTopic: 'contract',
        mdns: false,
        joinOpen,
        clock: systemClock,
        random: systemRandom,
        logger: silentLogger,
      }),
    async until(condition) {
      for (let step = 0; step < 10_000 && !condition(); step += 1) await pause(1)
      expect(condition(), 'what was awaited did not happen').toBe(true)
    },
    settle: () => pause(100),
  }
}

describe.each([
  ['memory', memoryWorld],
  ['libp2p', libp2pWorld],
])('the %s transport', (_name, createWorld) => {
  const world = createWorld()
  const running: Probe[] = []

  function create({ key = createSigningKey(systemRandom), joinOpen = (): boolean => false } = {}): Probe {
    const probe = createProbe(key.publicKey, world.create(key, joinOpen))
    running.push(probe)
    return probe
  }

  async function started(count: number): Promise<Probe[]> {
    const probes = Array.from({ length: count }, () => create())
    for (const probe of probes) await probe.transport.start(probe.handlers)
    return probes
  }

  async function linked(from: Probe, to: Probe): Promise<void> {
    const before = [from.links.length, to.links.length]
    void from.transport.dial(to.key, to.transport.addresses())
    await world.until(() => from.links.length > before[0]! && to.links.length > before[1]!)
  }

  async function pair(): Promise<[Probe, Probe]> {
    const [a, b] = (await started(2)) as [Probe, Probe]
    await linked(a, b)
    return [a, b]
  }

  async function ended<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
    let result: PromiseSettledResult<T> | undefined
    void Promise.allSettled([promise]).then(([settled]) => (result = settled))
    await world.until(() => result !== undefined)
    return result!
  }

  afterEach(async () => {
    for (const probe of running.splice(0)) await ended(probe.transport.stop())
  })

  it('has no address before it is started, and one that others can dial afterwards', async () => {
    const probe = create()
    expect(probe.transport.addresses()).toEqual([])
    await probe.transport.start(probe.handlers)
    expect(probe.transport.addresses()).toHaveLength(1)
    expect(probe.transport.addresses()[0]).not.toContain('/p2p/')
  })

  it('opens one link at both ends, each with the key of the other', async () => {
    const [a, b] = await pair()
    expect(a.links.map(({ key, direction }) => ({ key, direction }))).toEqual([{ key: b.key, direction: 'outbound' }])
    expect(b.links.map(({ key, direction }) => ({ key, direction }))).toEqual([{ key: a.key, direction: 'inbound' }])
    await world.until(() => a.found.some(({ key, address }) => key === b.key && b.transport.addresses().includes(address)))
    await world.until(() => b.found.some(({ key, address }) => key === a.key && a.transport.addresses().includes(address)))
  })

  it('dials an address whose key is not known', async () => {
    const [a, b] = (await started(2)) as [Probe, Probe]
    await ended(a.transport.dial(null, b.transport.addresses()))
    await world.until(() => a.links.length === 1 && b.links.length === 1)
    expect(a.links[0]!.key).toBe(b.key)
    await ended(a.transport.dial(null, b.transport.addresses()))
    expect(a.links).toHaveLength(1)
  })

  it('does nothing when it is told to dial a peer with which it has a link', async () => {
    const [a, b] = await pair()
    await ended(a.transport.dial(b.key, b.transport.addresses()))
    await world.settle()
    expect([a.links.length, b.links.length]).toEqual([1, 1])
  })

  it('opens no link with a key other than the one that was dialed', async () => {
    const [a, b, c] = (await started(3)) as [Probe, Probe, Probe]
    await ended(a.transport.dial(c.key, b.transport.addresses()))
    await world.settle()
    expect([a.trace, b.trace]).toEqual([[], []])
  })

  it('resolves a dial to which nobody answers', async () => {
    const [a, b] = (await started(2)) as [Probe, Probe]
    const gone = b.transport.addresses()
    await ended(b.transport.stop())
    expect(await ended(a.transport.dial(b.key, [...gone, 'nonsense', '/ip4/127.0.0.1/udp/9']))).toMatchObject({ status: 'fulfilled' })
    expect(a.links).toEqual([])
  })

  it('delivers frames whole and in order, on both channels and in both directions at once', async () => {
    const [a, b] = await pair()
    const sizes = [0, 1, 5, 70_000, 3, 1 << 20, 17, 0, 8 << 20, 2]
    for (const probe of [a, b]) {
      for (const channel of ['control', 'bulk'] as const) {
        sizes.forEach((size, index) => probe.transport.send(probe.links[0]!.id, channel, new Uint8Array(size).fill(index + 1)))
      }
    }
    for (const probe of [a, b]) {
      await world.until(() => probe.messages.length === 2 * sizes.length)
      for (const channel of ['control', 'bulk'] as const) {
        const received = probe.messages.filter((message) => message.channel === channel)
        expect(received.map(({ bytes }) => bytes.length)).toEqual(sizes)
        expect(received.every(({ bytes }, index) => bytes.every((byte) => byte === index + 1))).toBe(true)
      }
    }
  })

  it('takes a copy of what it sends', async () => {
    const [a, b] = await pair()
    const bytes = Buffer.from('before')
    a.transport.send(a.links[0]!.id, 'control', bytes)
    bytes.write('after!')
    await world.until(() => b.messages.length === 1)
    expect(Buffer.from(b.messages[0]!.bytes).toString()).toBe('before')
  })

  it('answers false when a channel is full, and says when it takes more', async () => {
    const [a, b] = await pair()
    const link = a.links[0]!.id
    let sent = 0
    for (let round = 1; round <= 3; round += 1) {
      let free = true
      while (free) {
        free = a.transport.send(link, 'bulk', new Uint8Array(100_000))
        sent += 1
        expect(sent).toBeLessThan(10_000)
      }
      await world.until(() => a.drained.length === round)
    }
    await world.until(() => b.messages.length === sent)
    expect(new Set(a.drained)).toEqual(new Set(['bulk']))
  })

  it('calls no handler from within a call', async () => {
    const [a, b] = await pair()
    let depth = 0
    const nested: string[] = []
    for (const probe of [a, b]) {
      probe.onMessage = (link, channel, bytes) => {
        if (depth > 0) nested.push(channel)
        depth += 1
        if (bytes.length > 0) {
          probe.transport.send(link, channel, bytes.subarray(1))
          probe.transport.publish(Buffer.from(`${probe.key} ${bytes.length}`))
          void probe.transport.dial(null, a.transport.addresses())
        } else {
          probe.transport.close(link, 'enough')
        }
        depth -= 1
      }
    }
    a.transport.send(a.links[0]!.id, 'control', new Uint8Array(5))
    await world.until(() => a.closed.length === 1 && b.closed.length === 1)
    expect(nested).toEqual([])
    expect(a.messages.length + b.messages.length).toBe(6)
  })

  it('tells both ends when a link is closed, once, and delivers nothing from it afterwards', async () => {
    const [a, b] = await pair()
    const id = a.links[0]!.id
    b.transport.send(b.links[0]!.id, 'bulk', new Uint8Array(10))
    a.transport.close(id, 'because')
    a.transport.close(id, 'again')
    expect(a.transport.send(id, 'bulk', new Uint8Array(1))).toBe(true)
    await world.until(() => a.closed.length === 1 && b.closed.length === 1)
    await world.settle()
    expect(a.trace.at(-1)).toContain('because')
    expect(b.trace.at(-1)).toContain('closed')
    await linked(b, a)
  })

  it('tells of each open link that it closed before it has stopped, and starts again', async () => {
    const [a, b] = await pair()
    await ended(a.transport.stop())
    expect(a.links).toEqual([])
    expect(a.transport.addresses()).toEqual([])
    await world.until(() => b.links.length === 0)
    await a.transport.start(a.handlers)
    await linked(b, a)
    a.transport.send(a.links[0]!.id, 'control', Buffer.from('again'))
    await world.until(() => b.messages.length === 1)
  })

  it('gives a refused key nothing, whoever dials', async () => {
    const [member, stranger] = (await started(2)) as [Probe, Probe]
    member.admits = () => false
    await ended(stranger.transport.dial(member.key, member.transport.addresses()))
    await ended(member.transport.dial(stranger.key, stranger.transport.addresses()))
    member.transport.publish(Buffer.from('secret'))
    await world.settle()
    expect(member.trace).toEqual([])
    expect(stranger.trace).toEqual([])
    expect(stranger.found).toEqual([])
  })

  it('gossips to all, over others too, once each, and not back to the author', async () => {
    const [a, b, c] = (await started(3)) as [Probe, Probe, Probe]
    await linked(a, b)
    await linked(b, c)
    // The mesh forms in its own time: ask until one message went all the way in each direction.
    let round = 0
    await world.until(() => {
      round += 1
      if (round % 20 === 1) a.transport.publish(Buffer.from(`hello ${round}`))
      return c.gossip.length > 0
    })
    for (const [author, text] of [
      [a, 'from a'],
      [b, 'from b'],
      [c, 'from c'],
    ] as const)
      author.transport.publish(Buffer.from(text))
    for (const [probe, texts] of [
      [a, ['from b', 'from c']],
      [b, ['from a', 'from c']],
      [c, ['from a', 'from b']],
    ] as const) {
      const heard = (): string[] => probe.gossip.map(({ text }) => text).filter((text) => text.startsWith('from'))
      await world.until(() => heard().length >= 2)
      expect(heard().toSorted()).toEqual(texts)
    }
    expect(c.gossip.every(({ from }) => from === b.key)).toBe(true)
  })

  it('forwards no gossip that the validator does not accept', async () => {
    const [a, b, c] = (await started(3)) as [Probe, Probe, Probe]
    await linked(a, b)
    await linked(b, c)
    b.verdict = (text) => (text.startsWith('good') ? 'accept' : text.startsWith('bad') ? 'reject' : 'ignore')
    let round = 0
    await world.until(() => {
      round += 1
      if (round % 20 === 1) a.transport.publish(Buffer.from(`good ${round}`))
      return c.gossip.length > 0
    })
    a.transport.publish(Buffer.from('dull'))
    a.transport.publish(Buffer.from('bad'))
    a.transport.publish(Buffer.from('good at last'))
    const heard = (probe: Probe, text: string): boolean => probe.gossip.some((message) => message.text === text)
    await world.until(() => heard(b, 'dull') && heard(b, 'bad') && heard(c, 'good at last'))
    await world.settle()
    expect(c.gossip.every(({ text }) => text.startsWith('good'))).toBe(true)
  })

  it('carries gossip up to the limit', async () => {
    const [a, b] = await pair()
    let round = 0
    await world.until(() => {
      round += 1
      if (round % 20 === 1) a.transport.publish(Buffer.from(`${round}`.padEnd(gossipBytesMax, 'x')))
      return b.gossip.length > 0
    })
    expect(b.gossip[0]!.text).toHaveLength(gossipBytesMax)
  })

  it('serves a join request from a stranger only while an invite is open', async () => {
    let open = false
    const member = create({ joinOpen: () => open })
    const stranger = create()
    member.admits = () => false
    stranger.admits = () => false
    member.answerJoin = (request) => Promise.resolve(Buffer.concat([Buffer.from('welcome '), request]))
    for (const probe of [member, stranger]) await probe.transport.start(probe.handlers)
    const ask = (): Promise<PromiseSettledResult<Uint8Array>> =>
      ended(stranger.transport.requestJoin(member.key, member.transport.addresses(), Buffer.from('ada')))

    expect(await ask()).toMatchObject({ status: 'rejected', reason: { code: 'join-refused' } })
    expect(member.joins).toEqual([])
    open = true
    const answer = await ask()
    expect(answer.status === 'fulfilled' && Buffer.from(answer.value).toString()).toBe('welcome ada')
    expect(member.joins).toEqual([stranger.key])
    // Nothing else is open to it.
    stranger.admits = () => true
    await ended(stranger.transport.dial(member.key, member.transport.addresses()))
    stranger.transport.publish(Buffer.from('let me in'))
    member.transport.publish(Buffer.from('secret'))
    await world.settle()
    expect([member.links, stranger.links, member.gossip, stranger.gossip]).toEqual([[], [], [], []])
  })

  it('says plainly whether a join request was refused or reached nobody', async () => {
    const member = create({ joinOpen: () => true })
    const stranger = create()
    for (const probe of [member, stranger]) await probe.transport.start(probe.handlers)
    const addresses = member.transport.addresses()
    const ask = (to: Probe): Promise<PromiseSettledResult<Uint8Array>> =>
      ended(stranger.transport.requestJoin(to.key, addresses, new Uint8Array(1)))
    expect(await ask(member)).toMatchObject({ status: 'rejected', reason: { code: 'join-refused' } })
    expect(await ask(create())).toMatchObject({ status: 'rejected', reason: { code: 'network-failed' } })
    await ended(member.transport.stop())
    expect(await ask(member)).toMatchObject({ status: 'rejected', reason: { code: 'network-failed' } })
  })

  it('serves a host only a few join requests a minute, and none that is too large', async () => {
    const member = create({ joinOpen: () => true })
    const stranger = create()
    member.answerJoin = (request) => Promise.resolve(request)
    for (const probe of [member, stranger]) await probe.transport.start(probe.handlers)
    const ask = (size: number): Promise<PromiseSettledResult<Uint8Array>> =>
      ended(stranger.transport.requestJoin(member.key, member.transport.addresses(), new Uint8Array(size)))
    expect(await ask((64 << 10) + 1)).toMatchObject({ status: 'rejected', reason: { code: 'join-refused' } })
    expect(member.joins).toHaveLength(0)
    for (let request = 0; request < 25; request += 1) await ask(64 << 10)
    expect(member.joins.length).toBeGreaterThanOrEqual(18)
    expect(member.joins.length).toBeLessThanOrEqual(20)
  })

  it('gives two daemons with one key a link each, and never links them to each other', async () => {
    const key = createSigningKey(systemRandom)
    const [original, copy, third] = [create({ key }), create({ key }), create()]
    for (const probe of [original, copy, third]) await probe.transport.start(probe.handlers)
    await linked(original, third)
    await linked(copy, third)
    expect(third.links.map((link) => link.key)).toEqual([key.publicKey, key.publicKey])
    third.links.forEach((link, index) => third.transport.send(link.id, 'control', Buffer.from(`to ${index}`)))
    await world.until(() => original.messages.length === 1 && copy.messages.length === 1)
    expect(
      original.messages
        .concat(copy.messages)
        .map(({ bytes }) => Buffer.from(bytes).toString())
        .toSorted(),
    ).toEqual(['to 0', 'to 1'])

    await ended(copy.transport.dial(null, original.transport.addresses()))
    await world.until(() => copy.found.some((found) => found.key === key.publicKey && found.address === original.transport.addresses()[0]))
    expect(copy.links).toHaveLength(1)

    await ended(original.transport.stop())
    await world.until(() => third.links.length === 1)
    third.transport.send(third.links[0]!.id, 'bulk', Buffer.from('still there'))
    await world.until(() => copy.messages.length === 2)
  })
})
