/** The adversary as a member that wants to be too much: for the memory, the processor or the patience of the victim. */
import { createSigningKey, encode, idToBytes, systemRandom } from '../../src/core/index.ts'
import type { EnvelopeHash, FeedId } from '../../src/core/index.ts'
import { encodeGossip, signAddressCard, signPresence } from '../../src/replica/messages.ts'
import { flood, openLink, pause, sayAgain } from './case.ts'
import type { Arena, Case } from './case.ts'
import { forgeEntry, forgeFeed, nestedCbor, zerosCbor } from './forge.ts'
import { frameOf } from './hostile-peer.ts'
import type { Message } from './hostile-peer.ts'

const hashBytes = 32
const someId = <Id extends string>(bytes: number): Id => Buffer.from(systemRandom.bytes(bytes)).toString('hex') as Id

const writer = { invite: { role: 'writer' }, joins: true } as const
/** A flood of what is allowed: it is read at the pace of any peer, and noted as too much only where the adversary is fast enough. */
const madeToWait = { recorded: 'adversary', refusal: /\d+ (?:times over|messages gossiped)/ } as const

/** Publishes as fast as it can until the case ends. */
async function gossipFlood(arena: Arena, message: (count: number) => Uint8Array): Promise<void> {
  const links = [await openLink(arena)]
  const publish = await arena.peer.gossip(arena.agent)
  let count = 0
  while (!arena.ended.aborted) {
    await publish(message(count))
    count += 1
    if (count % 32 === 0) await new Promise(setImmediate)
    if (links.at(-1)?.isOpen === false) links.push(await openLink(arena).catch(() => links.at(-1) as (typeof links)[number]))
  }
  arena.report(`${count} messages gossiped`)
}

const lies = (count: number, have = 1_000): Message => ({
  type: 'frontier',
  complete: true,
  entries: Array.from({ length: count }, () => ({
    feed: someId<FeedId>(16),
    have,
    head: someId<EnvelopeHash>(hashBytes),
    applied: 0,
  })),
})

export const casesFloods: readonly Case[] = [
  {
    ...writer,
    name: 'a member says hello again and again, as many processes',
    recorded: 'victim',
    refusal: /hello/,
    attack: (arena) =>
      flood(arena, {}, (link) =>
        link.say({
          type: 'hello',
          version: 1,
          agent: arena.agent,
          instance: arena.peer.instance,
          boot: systemRandom.bytes(16),
          records: systemRandom.bytes(hashBytes),
          program: 'x'.repeat(64),
        }),
      ),
  },
  {
    ...writer,
    name: 'a member asks for all records again and again',
    recorded: 'victim',
    refusal: /record/,
    attack: (arena) => flood(arena, {}, sayAgain({ type: 'record-list', hashes: [] })),
  },
  {
    ...writer,
    name: 'a member floods pings that tell of another frontier',
    ...madeToWait,
    attack: (arena) =>
      flood(
        arena,
        {},
        sayAgain({ type: 'ping', nonce: 1, now: 1, frontier: systemRandom.bytes(hashBytes), records: systemRandom.bytes(hashBytes) }),
      ),
  },
  {
    ...writer,
    name: 'a member wants everything again and again, and reads none of it',
    recorded: 'victim',
    refusal: /wants twice/,
    attack: (arena) =>
      flood(
        arena,
        {},
        sayAgain({
          type: 'want',
          request: 1,
          ranges: [{ feed: arena.theirs.feed as FeedId, from: 1, to: 0xffff_ffff }],
          bytesMax: 2 ** 40,
        }),
      ),
  },
  {
    ...writer,
    name: 'a member floods probes',
    ...madeToWait,
    attack: (arena) => flood(arena, {}, sayAgain({ type: 'probe', nonce: systemRandom.bytes(16) })),
  },
  {
    ...writer,
    name: 'a member tells new addresses of itself a thousand at a time',
    ...madeToWait,
    attack: (arena) => {
      let time = Date.now()
      const { agent, forger } = arena
      const cards = Array.from({ length: 1_000 }, () => {
        time += 1
        return signAddressCard(forger.key, agent, {
          instance: forger.instance,
          addresses: [`/ip4/127.0.0.1/tcp/${1_024 + (time % 60_000)}`],
          time,
        })
      })
      return flood(arena, {}, sayAgain({ type: 'addresses', cards }))
    },
  },
  {
    ...writer,
    name: 'a member floods lists of 10,000 records that nobody has',
    recorded: 'victim',
    refusal: /record/,
    attack: (arena) => {
      const list = encode([2, Array.from({ length: 10_000 }, () => systemRandom.bytes(hashBytes))])
      return flood(arena, {}, (link) => link.send('control', list))
    },
  },
  {
    ...writer,
    name: 'a member lies about its frontier: a hundred thousand feeds that nobody wrote, told again and again',
    ...madeToWait,
    attack: (arena) => flood(arena, {}, sayAgain(lies(20_000))),
  },
  {
    ...writer,
    name: 'a member claims to have more of the feed of another, and answers nothing when it is asked',
    recorded: 'adversary',
    refusal: /asked (?!0)/,
    async attack(arena) {
      let asked = 0
      const link = await openLink(arena, {
        heard(message) {
          if (message.type === 'want') asked += 1
        },
      })
      while (!arena.ended.aborted) {
        const entries = [
          { feed: arena.theirs.feed as FeedId, have: 0xffff_ffff, head: someId<EnvelopeHash>(hashBytes), applied: 0xffff_ffff },
        ]
        await link.say({ type: 'frontier', complete: true, entries }).catch(() => {})
        await pause(arena, 200)
      }
      arena.report(`asked ${asked} times, in vain`)
    },
  },
  {
    ...writer,
    name: 'a member sends eight megabytes of zeros as one message',
    recorded: 'victim',
    refusal: /too many items/,
    secondsMin: 5,
    attack: (arena) => {
      const zeros = zerosCbor((8 << 20) - 5)
      return flood(arena, {}, (link) => link.send('control', zeros))
    },
  },
  {
    ...writer,
    name: 'a member sends arrays in arrays in arrays',
    recorded: 'victim',
    refusal: /nested too deeply/,
    secondsMin: 3,
    attack: (arena) => {
      const deep = nestedCbor(200_000)
      return flood(arena, {}, (link) => link.send('control', deep))
    },
  },
  {
    ...writer,
    name: 'a member floods chunks that were not asked for',
    recorded: 'victim',
    refusal: /was not asked for/,
    attack: (arena) => {
      const chunk = encode([1, 7, false, systemRandom.bytes(128 << 10)])
      return flood(arena, {}, (link) => link.send('bulk', chunk))
    },
  },
  {
    ...writer,
    name: 'a member stalls in the middle of a frame, on every stream',
    recorded: 'victim',
    refusal: /silent|stalled/,
    secondsMin: 50,
    async attack(arena) {
      const links = await Promise.all(Array.from({ length: 8 }, () => openLink(arena, {}).catch(() => null)))
      for (const link of links) {
        void link?.raw('bulk', frameOf(new Uint8Array(1_000), 8 << 20).subarray(0, 1_000))
        void link?.raw('control', frameOf(new Uint8Array(1_000), 512 << 10).subarray(0, 1_000))
      }
      await Promise.all(links.map((link) => Promise.race([link?.closed, pause(arena, 120_000)])))
      arena.report('stalled')
    },
  },
  {
    ...writer,
    name: 'a member opens dozens of links with one key',
    recorded: 'adversary',
    refusal: /held [1-8] of/,
    async attack(arena) {
      const tries = await Promise.allSettled(Array.from({ length: 60 }, () => openLink(arena)))
      await pause(arena, 1_000)
      const open = tries.filter((link) => link.status === 'fulfilled' && link.value.isOpen).length
      arena.report(`held ${open} of ${tries.length} links`)
      await pause(arena, 60_000)
    },
  },
  {
    ...writer,
    name: 'a member opens and resets streams without end',
    recorded: 'victim',
    refusal: /streams/,
    async attack(arena) {
      let count = 0
      while (!arena.ended.aborted) {
        try {
          const { connection, isOpen } = await openLink(arena)
          while (isOpen && connection.status === 'open' && !arena.ended.aborted) {
            const streams = await Promise.all(Array.from({ length: 50 }, () => connection.newStream('/selfsame/join/1').catch(() => null)))
            for (const stream of streams) stream?.abort(new Error('again'))
            count += streams.length
          }
        } catch {
          await pause(arena, 100)
        }
      }
      arena.report(`${count} streams`)
    },
  },
  {
    ...writer,
    name: 'a member gossips garbage',
    recorded: 'victim',
    refusal: /gossip/,
    attack: (arena) => gossipFlood(arena, () => systemRandom.bytes(1_000)),
  },
  {
    ...writer,
    name: 'a member gossips presence at line rate',
    ...madeToWait,
    attack: (arena) => {
      const { agent, forger } = arena
      return gossipFlood(arena, (count) =>
        encodeGossip({
          type: 'presence',
          card: signPresence(forger.key, agent, { instance: forger.instance, state: systemRandom.bytes(64), time: count }),
        }),
      )
    },
  },
  {
    ...writer,
    name: 'a member gossips valid envelopes that nobody needs at line rate',
    ...madeToWait,
    attack: (arena) => {
      const feed = forgeFeed(arena.forger)
      let clock = -1
      return gossipFlood(arena, () => {
        clock = (clock + 1) % 2_000
        const body = forgeEntry(feed, `spam-${Math.floor(feed.length / 2_000)}`, clock, 'spam')
        return encodeGossip({ type: 'envelopes', envelopes: [feed.next([body])] })
      })
    },
  },
  {
    ...writer,
    name: 'a member gossips envelopes of feeds that nobody knows',
    ...madeToWait,
    attack: (arena) => {
      const forger = { ...arena.forger, key: createSigningKey(systemRandom) }
      return gossipFlood(arena, () => encodeGossip({ type: 'envelopes', envelopes: [forgeFeed(forger).next([])] }))
    },
  },
  {
    ...writer,
    name: 'a member subscribes to topic after topic',
    recorded: 'adversary',
    refusal: /subscribed/,
    async attack(arena) {
      await openLink(arena)
      await arena.peer.gossip(arena.agent)
      let count = 0
      while (!arena.ended.aborted) {
        for (let turn = 0; turn < 100; turn += 1) {
          arena.peer.pubsub.subscribe(`${Buffer.from(idToBytes(someId(16))).toString('hex')}${'x'.repeat(500)}`)
          count += 1
        }
        await pause(arena, 20)
      }
      arena.report(`subscribed ${count} times`)
    },
  },
  {
    ...writer,
    name: 'a member asks for all there is and never reads',
    recorded: 'adversary',
    refusal: /asked/,
    async attack(arena) {
      const link = await openLink(arena)
      const ranges = [{ feed: arena.theirs.feed as FeedId, from: 1, to: 0xffff_ffff }]
      await link.say({ type: 'want', request: 1, ranges, bytesMax: 2 ** 40 })
      await pause(arena, 60_000)
      arena.report('asked')
    },
  },
]
