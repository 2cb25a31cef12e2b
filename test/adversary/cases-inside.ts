/** The adversary as a member that forges: feeds, times, contents. What it sends is signed by a member; it is refused for what it says. */
import { zstdCompressSync } from 'node:zlib'
import { encode, stampOf, systemRandom } from '../../src/core/index.ts'
import type { FeedId, InstanceId } from '../../src/core/index.ts'
import { clientIdOf } from '../../src/feed/index.ts'
import type { Envelope } from '../../src/feed/index.ts'
import { encodeGossip } from '../../src/replica/messages.ts'
import { openLink, pause, serve } from './case.ts'
import type { Arena, Case } from './case.ts'
import { any, binary, container, forgeBody, forgeEntry, forgeFeed, forgeUpdate, nested, objectWithKey, string, zerosCbor } from './forge.ts'
import type { ForgedBody, ForgedFeed, ForgedStruct } from './forge.ts'

/** A member that serves one envelope of its own with what `make` puts into it. */
function sends(
  name: string,
  refusal: RegExp,
  make: (feed: ForgedFeed, arena: Arena) => readonly ForgedBody[] | Envelope | readonly Envelope[],
): Case {
  return {
    name,
    invite: { role: 'writer' },
    joins: true,
    recorded: 'victim',
    refusal,
    async attack(arena) {
      const feed = forgeFeed(arena.forger)
      const made = make(feed, arena)
      const envelopes = 'header' in made ? [made] : isEnvelopes(made) ? made : [feed.next(made)]
      await serve(arena, envelopes)
      await pause(arena, 60_000)
    },
  }
}

function isEnvelopes(made: readonly ForgedBody[] | readonly Envelope[]): made is readonly Envelope[] {
  return made.length > 0 && made.every((item) => 'header' in item)
}

/** An update of one struct in a fresh document of the feed. */
const oneStruct = (
  kind: 'text' | 'json' | 'register' | 'set' | 'counter',
  feed: ForgedFeed,
  struct: ForgedStruct,
): readonly ForgedBody[] => [forgeBody(kind, 'attacked', forgeUpdate({ client: feed.client, structs: [struct] }))]

const logOf = (feed: ForgedFeed, content: ForgedStruct['content']): readonly ForgedBody[] => [
  forgeBody('log', 'attacked', forgeUpdate({ client: feed.client, structs: [{ parent: 'entries', content }] })),
]

export const casesInside: readonly Case[] = [
  sends('a member writes under the Yjs client id of another', /structs of another client/, (_feed, { theirs }) => [
    forgeBody(
      'text',
      'attacked',
      forgeUpdate({ client: clientIdOf(theirs.feed as FeedId), structs: [{ parent: 'text', content: string('forged') }] }),
    ),
  ]),
  sends('a member deletes what another appended to a log', /log that deletes/, (feed, { theirs }) => [
    forgeBody(
      'log',
      'honest',
      forgeUpdate({
        client: feed.client,
        structs: [{ parent: 'entries', content: any({ t: 'instead' }) }],
        deleted: [[clientIdOf(theirs.feed as FeedId), 0, 1]],
      }),
    ),
  ]),
  sends('a member deletes its own entry from a log', /log that deletes/, (feed) => {
    const entry = feed.next([forgeEntry(feed, 'attacked', 0, 'said')])
    return [
      entry,
      feed.next([
        forgeBody(
          'log',
          'attacked',
          forgeUpdate({
            client: feed.client,
            clock: 1,
            structs: [{ origin: [feed.client, 0], content: any({ t: 'instead' }) }],
            deleted: [[feed.client, 0, 1]],
          }),
        ),
      ]),
    ]
  }),
  sends('a member writes an entry in the place of another entry', /next clock/, (feed) => {
    const entry = feed.next([forgeEntry(feed, 'attacked', 0, 'said')])
    return [entry, feed.next([forgeEntry(feed, 'attacked', 0, 'never said')])]
  }),
  sends('a member deletes what others counted', /another feed counted|beyond the declared past/, (feed, { theirs }) => [
    forgeBody('counter', 'attacked', forgeUpdate({ client: feed.client, deleted: [[clientIdOf(theirs.feed as FeedId), 0, 1]] })),
  ]),
  sends('a member refers to what it never saw', /beyond the declared past/, (feed, { theirs }) =>
    oneStruct('text', feed, { origin: [clientIdOf(theirs.feed as FeedId), 5_000], content: string('x') }),
  ),
  sends('a member sends an update that claims two thousand million structs', /too many structs/, (feed) => [
    forgeBody('text', 'attacked', forgeUpdate({ client: feed.client, count: 2_000_000_000 })),
  ]),
  sends('a member sends text larger than an update may be', /too large/, (feed) =>
    oneStruct('text', feed, { parent: 'text', content: string('x'.repeat((2 << 20) - (60 << 10))) }),
  ),
  sends('a member sends a log entry of arrays nested ten thousand deep', /nested too deeply/, (feed) => logOf(feed, nested(10_000))),
  sends('a member sends an entry with the key __proto__', /__proto__/, (feed) => logOf(feed, objectWithKey('__proto__'))),
  sends('a member sends a json document with the key __proto__', /__proto__/, (feed) =>
    oneStruct('json', feed, { parent: 'json', key: '__proto__', content: any('polluted') }),
  ),
  sends('a member nests the containers of a json document too deeply', /nested too deeply/, (feed) => [
    forgeBody(
      'json',
      'attacked',
      forgeUpdate({
        client: feed.client,
        structs: Array.from({ length: 5_000 }, (_, depth) =>
          depth === 0
            ? { parent: 'json', key: 'a', content: container(0) }
            : { parent: [feed.client, depth - 1] as const, content: container(0) },
        ),
      }),
    ),
  ]),
  sends('a member sends a cell that is no cell', /cell|CBOR/, (feed) =>
    oneStruct('register', feed, { parent: 'cells', content: binary(systemRandom.bytes(64)) }),
  ),
  sends('a member sends a register cell of the far future', /another stamp/, (feed) =>
    oneStruct('register', feed, { parent: 'cells', content: binary(encode(['key', '"value"', Buffer.alloc(8, 0xff)])) }),
  ),
  sends('a member dates its envelopes two hundred years ahead', /clock-skew|ahead/, (feed) =>
    feed.next([forgeEntry(feed, 'attacked', 0, 'from the future')], { stamp: stampOf(Date.now() + 200 * 365 * 86_400_000, 0) }),
  ),
  sends('a member dates an envelope before its predecessor', /time not after/, (feed) => [
    feed.next([forgeEntry(feed, 'attacked', 0, 'first')]),
    feed.next([forgeEntry(feed, 'attacked', 1, 'second')], { stamp: stampOf(1, 0) }),
  ]),
  sends('a member names a body as another document', /another document/, (feed) => [
    {
      ...forgeBody('text', 'attacked', forgeUpdate({ client: feed.client, structs: [{ parent: 'text', content: string('x') }] })),
      document: systemId(),
    },
  ]),
  sends('a member sends an operation of an unknown critical type', /needs an upgrade/, () => [
    { type: 77, critical: true, document: systemId(), bytes: systemRandom.bytes(100) },
  ]),
  {
    name: 'a member forks its own feed',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'victim',
    refusal: /two envelopes in one place/,
    async attack(arena) {
      const feed = forgeFeed(arena.forger)
      const first = feed.next([forgeEntry(feed, 'attacked', 0, 'heads')])
      const other = feed.next([forgeEntry(feed, 'attacked', 0, 'tails')], { sequence: 2, previous: first.hash })
      const twin = feed.next([forgeEntry(feed, 'attacked', 1, 'edge')], { sequence: 2, previous: first.hash })
      const { held, link } = await serve(arena, [first, other])
      await held
      await serve(arena, [first, twin])
      await pause(arena, 60_000)
      arena.report(`forked over ${link.isOpen ? 'an open' : 'a closed'} link`)
    },
  },
  {
    name: 'a member signs envelopes of the feed of another',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'victim',
    refusal: /forged|not proven/,
    async attack(arena) {
      const feed = forgeFeed(arena.forger)
      const forged = feed.next([], { feed: arena.theirs.feed as FeedId, sequence: 1_000_000, previous: systemHash(), opening: null })
      const publish = (await openLink(arena), await arena.peer.gossip(arena.agent))
      for (let turn = 0; turn < 5; turn += 1) await publish(encodeGossip({ type: 'envelopes', envelopes: [forged] }))
      await serve(arena, [forged])
      await pause(arena, 60_000)
    },
  },
  {
    name: 'a member opens a feed in the name of another',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'victim',
    refusal: /not proven/,
    async attack(arena) {
      const feed = forgeFeed(arena.forger, { instance: arena.theirs.instance as InstanceId })
      await serve(arena, [feed.next([forgeEntry(feed, 'attacked', 0, 'said by another')])])
      await pause(arena, 60_000)
    },
  },
  {
    name: 'a member sends what waits for ever: envelopes whose past does not exist',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'victim',
    refusal: /wait for what/,
    secondsMin: 25,
    async attack(arena) {
      const envelopes = Array.from({ length: 200 }, () => forgeFeed(arena.forger).next([], { deps: [systemHash()] }))
      await serve(arena, envelopes)
      await pause(arena, 60_000)
    },
  },
  {
    name: 'a reader writes',
    invite: { role: 'reader' },
    joins: true,
    recorded: 'victim',
    refusal: /may not write/,
    async attack(arena) {
      const feed = forgeFeed(arena.forger)
      const envelope = feed.next([forgeEntry(feed, 'attacked', 0, 'written by a reader')])
      const publish = (await openLink(arena), await arena.peer.gossip(arena.agent))
      await publish(encodeGossip({ type: 'envelopes', envelopes: [envelope] }))
      await serve(arena, [envelope])
      await pause(arena, 60_000)
    },
  },
  {
    name: 'a member answers with a compressed bomb',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'victim',
    refusal: /unpack/,
    secondsMin: 4,
    async attack(arena) {
      const bomb = zstdCompressSync(Buffer.alloc(256 << 20))
      await answers(arena, (request) => encode([1, request, true, bomb]))
    },
  },
  {
    name: 'a member answers with a chunk of millions of values',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'victim',
    refusal: /too many items/,
    secondsMin: 4,
    async attack(arena) {
      const zeros = zstdCompressSync(zerosCbor((8 << 20) - 5))
      await answers(arena, (request) => encode([1, request, true, zeros]))
    },
  },
  {
    name: 'a member sends text that takes the square of its length to merge',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'adversary',
    refusal: /sent/,
    async attack(arena) {
      const feed = forgeFeed(arena.forger)
      // Each character is put before the one before it: all have the same right origin, and each is compared with all others.
      const structs = Array.from({ length: 20_000 }, (_, clock): ForgedStruct =>
        clock === 0 ? { parent: 'text', content: string('x') } : { right: [feed.client, 0], content: string('y') },
      )
      await serve(arena, [feed.next([forgeBody('text', 'attacked', forgeUpdate({ client: feed.client, structs }))])])
      arena.report('sent')
      await pause(arena, 60_000)
    },
  },
]

/** Lures the victim into asking, and answers that with any bytes. */
async function answers(arena: Arena, chunk: (request: number) => Uint8Array): Promise<void> {
  while (!arena.ended.aborted) {
    const link = await openLink(arena, {
      heard(message, to) {
        if (message.type === 'want') to.send('bulk', chunk(message.request)).catch(() => {})
      },
    }).catch(() => null)
    await link
      ?.say({ type: 'frontier', complete: true, entries: [{ feed: systemFeed(), have: 9, head: systemHash(), applied: 9 }] })
      .catch(() => {})
    await pause(arena, 500)
  }
}

const systemHash = (): never => hex(32) as never
const systemFeed = (): never => hex(16) as never
const systemId = (): never => hex(32) as never
const hex = (bytes: number): string => Buffer.from(systemRandom.bytes(bytes)).toString('hex')
