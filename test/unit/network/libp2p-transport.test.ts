import { createServer, connect } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { gossipsub } from '@libp2p/gossipsub'
import type { GossipSub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Identify } from '@libp2p/identify'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Libp2p } from 'libp2p'
import { afterEach, describe, expect, it } from 'vitest'
import { createSigningKey, silentLogger, systemClock, systemRandom } from '../../../src/core/index.ts'
import { createLibp2pTransport } from '../../../src/network/index.ts'
import type { Libp2pTransportOptions } from '../../../src/network/index.ts'
import { createProbe } from './probe.ts'
import type { Probe } from './probe.ts'
import { createSeededRandom } from './seeded-random.ts'
import { createVirtualClock } from './virtual-clock.ts'

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  await Promise.all(cleanups.splice(0).map((cleanup) => cleanup()))
})

async function create(options: Partial<Libp2pTransportOptions> = {}): Promise<Probe> {
  const key = createSigningKey(systemRandom)
  const transport = createLibp2pTransport({
    key,
    listen: () => ['/ip4/127.0.0.1/tcp/0'],
    serviceTag: 'unit',
    gossipTopic: 'unit',
    mdns: false,
    joinOpen: () => false,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    ...options,
  })
  const probe = createProbe(key.publicKey, transport)
  cleanups.push(() => transport.stop())
  await transport.start(probe.handlers)
  return probe
}

async function until(condition: () => boolean): Promise<void> {
  for (let step = 0; step < 15_000 && !condition(); step += 1) await new Promise((resolve) => setTimeout(resolve, 1))
  expect(condition(), 'what was awaited did not happen').toBe(true)
}

async function link(from: Probe, to: Probe, addresses = to.transport.addresses()): Promise<void> {
  const before = to.links.length
  await from.transport.dial(to.key, addresses)
  await until(() => to.links.length > before)
}

const portOf = (probe: Probe): number => Number(probe.transport.addresses()[0]!.split('/').at(-1))
const say = (probe: Probe, words: string): boolean => probe.transport.send(probe.links[0]!.id, 'bulk', Buffer.from(words))
const heard = (probe: Probe): string[] => probe.messages.map(({ bytes }) => Buffer.from(bytes).toString())

/** Gossips until `to` has heard something said after this began. */
async function gossipArrives(from: Probe, to: Probe): Promise<void> {
  const before = to.gossip.length
  let step = 0
  await until(() => {
    if (step % 100 === 0) from.transport.publish(Buffer.from(`${from.key} ${systemClock.monotonic()}`))
    step += 1
    return to.gossip.length > before
  })
}

/** A peer that speaks libp2p but keeps to no rule of ours. */
async function rawPeer(): Promise<Libp2p<{ identify: Identify; gossip: GossipSub }>> {
  const peer = await createLibp2p<{ identify: Identify; gossip: GossipSub }>({
    services: { identify: identify(), gossip: gossipsub({ globalSignaturePolicy: 'StrictNoSign', allowPublishToZeroTopicPeers: true }) },
    privateKey: await generateKeyPairFromSeed('Ed25519', systemRandom.bytes(32)),
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  })
  cleanups.push(() => Promise.resolve(peer.stop()))
  return peer
}

async function rawStreams(peer: Pick<Libp2p, 'dial'>, to: Probe): Promise<{ connection: Connection; control: Stream; bulk: Stream }> {
  const connection = await peer.dial(multiaddr(to.transport.addresses()[0]))
  const [control, bulk] = await Promise.all([connection.newStream('/selfsame/control/1'), connection.newStream('/selfsame/bulk/1')])
  return { connection, control, bulk }
}

/** The address of a server that takes connections and never says a word. */
async function silentAddress(): Promise<string> {
  const sockets: Socket[] = []
  const server = createServer((socket) => sockets.push(socket.on('error', () => {})))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`
}

/** A TCP relay that can be cut: what its clients see of a peer whose process is gone. */
async function relay(port: number): Promise<{ address: string; cut: () => void }> {
  const sockets: Socket[] = []
  const server: Server = createServer((client) => {
    const onward = connect(port, '127.0.0.1')
    for (const [socket, other] of [
      [client, onward],
      [onward, client],
    ] as const) {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.on('data', (data) => other.write(data))
      socket.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => new Promise((resolve) => server.close(resolve)))
  return {
    address: `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`,
    cut() {
      for (const socket of sockets) socket.resetAndDestroy()
    },
  }
}

describe('the libp2p transport', () => {
  it('survives two simultaneous dials with links that work, and gossip that goes on when one of them is closed', async () => {
    const [a, b] = [await create(), await create()]
    await Promise.all([a.transport.dial(b.key, b.transport.addresses()), b.transport.dial(a.key, a.transport.addresses())])
    await until(() => a.links.length > 0 && a.links.length === b.links.length)
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      for (const { id } of from.links) from.transport.send(id, 'control', Buffer.from('over each'))
      await until(() => to.messages.length === from.links.length)
      await gossipArrives(from, to)
    }
    while (a.links.length > 1) {
      a.transport.close(a.links[0]!.id, 'one is enough')
      await until(() => a.links.length === 1 && b.links.length === 1)
    }
    await gossipArrives(a, b)
    await gossipArrives(b, a)
    expect(a.links[0]!.key).toBe(b.key)
  })

  it('repairs gossip when its streams died but the connection lives', async () => {
    const clock = createVirtualClock()
    const victim = await create({ clock })
    const peer = await rawPeer()
    const heardByPeer: string[] = []
    peer.services.gossip.addEventListener('message', ({ detail }) => heardByPeer.push(Buffer.from(detail.data).toString()))
    peer.services.gossip.subscribe('unit')
    const { connection } = await rawStreams(peer, victim)
    const gossipStreams = (): Stream[] => connection.streams.filter((stream) => stream.protocol.startsWith('/meshsub/'))
    const gossipWorks = async (): Promise<void> => {
      const before = heardByPeer.length
      await until(() => {
        victim.transport.publish(Buffer.from(`${heardByPeer.length} ${systemClock.monotonic()}`))
        return heardByPeer.length > before
      })
    }
    await gossipWorks()
    for (const stream of gossipStreams()) stream.abort(new Error('a fault'))
    expect(gossipStreams()).toEqual([])
    await clock.advance(1_000)
    expect(gossipStreams()).toEqual([])
    await clock.advance(6_000)
    await until(() => gossipStreams().length >= 2)
    await gossipWorks()
    expect(victim.closed).toEqual([])
  })

  it('answers an over-long frame by closing that link and nothing else', async () => {
    const [victim, friend] = [await create(), await create()]
    await link(friend, victim)
    const { bulk, connection } = await rawStreams(await rawPeer(), victim)
    await until(() => victim.links.length === 2)
    bulk.send(Uint8Array.of(0x00, 0x80, 0x00, 0x01))
    await until(() => victim.links.length === 1)
    expect(victim.closed).toEqual(['the peer sent a frame of 8388609 bytes, over the limit of 8388608'])
    await until(() => connection.status !== 'open')
    say(friend, 'still here')
    await until(() => heard(victim).includes('still here'))
  })

  it('puts frames together however they are cut up', async () => {
    const victim = await create()
    const { control } = await rawStreams(await rawPeer(), victim)
    const frames = Buffer.concat(
      ['', 'one', 'two'.repeat(100), ''].map((words) =>
        Buffer.concat([Buffer.from([0, 0, words.length >> 8, words.length & 255]), Buffer.from(words)]),
      ),
    )
    for (const byte of frames) control.send(Uint8Array.of(byte))
    await until(() => victim.messages.length === 4)
    expect(heard(victim)).toEqual(['', 'one', 'two'.repeat(100), ''])
  })

  it('closes the link when one of its streams ends', async () => {
    const victim = await create()
    const { control } = await rawStreams(await rawPeer(), victim)
    await until(() => victim.links.length === 1)
    await control.close()
    await until(() => victim.closed.length === 1)
    expect(victim.links).toEqual([])
  })

  it('lets bytes that are no protocol at all pass without harm', async () => {
    const [victim, friend] = [await create(), await create()]
    const random = createSeededRandom(11)
    const head = Buffer.from('\x13/multistream/1.0.0\n')
    for (let attempt = 0; attempt < 30; attempt += 1) {
      const socket = connect(portOf(victim), '127.0.0.1')
      const closed = new Promise((resolve) => socket.on('close', resolve))
      socket.on('error', () => {})
      const noiseStart = attempt % 3 === 0 ? Buffer.alloc(0) : attempt % 3 === 1 ? head : Buffer.concat([head, Buffer.from('\x07/noise\n')])
      socket.end(Buffer.concat([noiseStart, random.bytes(Math.floor(random.unit() * 5_000))]))
      socket.resume()
      await closed
    }
    await link(friend, victim)
    say(friend, 'hello')
    await until(() => victim.messages.length > 0)
    expect(heard(victim)).toEqual(['hello'])
  })

  it('notices at both ends when a connection is torn down without a word', async () => {
    const [a, b] = [await create(), await create()]
    const { address, cut } = await relay(portOf(b))
    await link(a, b, [address])
    expect(a.links[0]!.address).toBe(address)
    cut()
    await until(() => a.closed.length === 1 && b.closed.length === 1)
    await link(a, b)
  })

  it('finds the address that answers among dead and silent ones', async () => {
    const [a, b] = [await create(), await create()]
    const silent = await silentAddress()
    const started = systemClock.monotonic()
    await a.transport.dial(b.key, [silent, '/ip4/127.0.0.1/tcp/1', ...b.transport.addresses()])
    expect(a.links).toHaveLength(1)
    expect(systemClock.monotonic() - started).toBeLessThan(3_000)
  })

  it('gives up a dial to which nothing is answered after its deadline', async () => {
    const clock = createVirtualClock()
    const a = await create({ clock })
    const silent = await silentAddress()
    const dialed = a.transport.dial(null, [silent])
    await clock.advance(5_000)
    await dialed
    expect(a.links).toEqual([])
  })

  it('closes a member connection on which no link is opened', async () => {
    const clock = createVirtualClock()
    const victim = await create({ clock })
    const connection = await (await rawPeer()).dial(multiaddr(victim.transport.addresses()[0]))
    await connection.newStream('/selfsame/control/1')
    await clock.advance(14_000)
    expect(connection.status).toBe('open')
    await clock.advance(2_000)
    await until(() => connection.status === 'closed')
  })

  it('hangs up on a stranger at once while no invite is open', async () => {
    const victim = await create({ clock: createVirtualClock() })
    victim.admits = () => false
    const peer = await rawPeer()
    // The dial itself may succeed: the stranger learns that it was refused after its own part of the handshake.
    await peer.dial(multiaddr(victim.transport.addresses()[0])).catch(() => {})
    await until(() => peer.getConnections().length === 0)
    expect(victim.trace).toEqual([])
  })

  it('serves a stranger nothing but the join protocol while an invite is open, and not for long', async () => {
    const clock = createVirtualClock()
    const victim = await create({ clock, joinOpen: () => true })
    victim.admits = () => false
    const connection = await (await rawPeer()).dial(multiaddr(victim.transport.addresses()[0]))
    for (const protocol of ['/ipfs/id/1.0.0', '/meshsub/1.2.0', '/selfsame/control/1', '/selfsame/bulk/1']) {
      const received: unknown[] = []
      const stream = await connection.newStream(protocol)
      stream.addEventListener('message', (event) => received.push(event.data))
      await until(() => stream.status !== 'open')
      expect({ protocol, received }).toEqual({ protocol, received: [] })
    }
    expect(victim.trace).toEqual([])
    await clock.advance(16_000)
    await until(() => connection.status === 'closed')
  })

  it('closes a link whose peer does not read, instead of filling the memory', async () => {
    const victim = await create()
    const { bulk } = await rawStreams(await rawPeer(), victim)
    await until(() => victim.links.length === 1)
    bulk.pause()
    const { id } = victim.links[0]!
    for (let sent = 0; sent < 20 && victim.links.length > 0; sent += 1) {
      victim.transport.send(id, 'bulk', new Uint8Array(8 << 20))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => victim.links.length === 0)
    expect(victim.closed).toHaveLength(1)
  })

  it('names the port that is in use, and can be started when it is free again', async () => {
    const a = await create()
    const address = a.transport.addresses()[0]!
    const key = createSigningKey(systemRandom)
    const options = { key, serviceTag: 'unit', gossipTopic: 'unit', mdns: false, joinOpen: () => false, clock: systemClock }
    const b = createLibp2pTransport({ ...options, listen: () => [address], random: systemRandom, logger: silentLogger })
    cleanups.push(() => b.stop())
    await expect(b.start(a.handlers)).rejects.toMatchObject({
      code: 'address-in-use',
      message: expect.stringContaining(`${portOf(a)}`) as string,
    })
    await a.transport.stop()
    await b.start(a.handlers)
    expect(b.addresses()).toEqual([address])
  })

  it('names the address that it cannot listen on', async () => {
    await expect(create({ listen: () => ['/ip4/127.0.0.1/tcp/0', '/ip4/203.0.113.7/tcp/4100'] })).rejects.toMatchObject({
      code: 'network-failed',
      message: expect.stringMatching(/^cannot listen on \/ip4\/203\.0\.113\.7\/tcp\/4100: .*EADDRNOTAVAIL/) as string,
    })
  })

  it('listens on IPv6 too', async () => {
    const a = await create({ listen: () => ['/ip6/::1/tcp/0'] })
    const b = await create()
    await link(b, a)
    expect(b.links[0]!.address).toMatch(/^\/ip6\/::1\/tcp\/\d+$/)
  })

  it('gives concrete addresses where it listens on all', async () => {
    const a = await create({ listen: () => ['/ip4/0.0.0.0/tcp/0'] })
    expect(a.transport.addresses().some((address) => address.startsWith('/ip4/127.0.0.1/'))).toBe(true)
    expect(a.transport.addresses().some((address) => address.includes('0.0.0.0'))).toBe(false)
  })
})
