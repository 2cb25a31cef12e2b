/** `docs/PROTOCOL.md` is what the code does: its message types, limits, bounds of exchange and hash domains, held against the sources in both directions. */
import { describe, expect, test } from 'vitest'
import * as limits from '../../../src/core/limits.ts'
import { readProjectFile, readProjectFiles } from './project-files.ts'

const protocol = readProjectFile('docs/PROTOCOL.md')
const messages = readProjectFile('src/replica/messages.ts')

/** What is hashed for this instance alone: neither sent nor compared with others. */
const ownDomains = ['selfsame/history/1', 'selfsame/home/1', 'selfsame/snapshot/1', 'selfsame/token/1']

/** Names by number of one of the tables of message types, in the code and in the document. */
function typesInCode(name: string): ReadonlyMap<number, string> {
  const table = new RegExp(`const ${name} = \\{([^}]*)\\}`).exec(messages)?.[1] ?? ''
  return new Map([...table.matchAll(/'?([\w-]+)'?: (\d+)/g)].map(([, type = '', number]) => [Number(number), type]))
}

function typesInDocument(heading: string): ReadonlyMap<number, string> {
  const section = protocol.split(`### ${heading}\n`)[1]?.split('\n#')[0] ?? ''
  return new Map([...section.matchAll(/^\| (\d+) \| ([\w-]+) \|/gm)].map(([, number, type = '']) => [Number(number), type]))
}

/** The line of a source that declares a number. */
function declaration(path: string, name: string): string | undefined {
  return new RegExp(`^(?:export )?const ${name} = .*$`, 'm').exec(readProjectFile(path))?.[0].replace(/^export /, '')
}

function sizeText(bytes: number): string {
  return bytes >= 1 << 20 ? `${bytes / (1 << 20)} MiB` : `${bytes / (1 << 10)} KiB`
}

describe('the protocol document', () => {
  test.each([
    ['controlTypes', 'Control', 11],
    ['gossipTypes', 'Gossip', 4],
  ])('has the message types of %s', (name, heading, count) => {
    expect(typesInDocument(heading)).toEqual(typesInCode(name))
    expect(typesInCode(name).size).toBe(count)
  })

  test('names every domain in which something is hashed or signed, and no other', () => {
    const domainsIn = (text: string): readonly string[] => text.match(/selfsame\/[a-z-]+\/1(?!\d)/g) ?? []
    const links = ['selfsame/control/1', 'selfsame/bulk/1', 'selfsame/join/1']
    const used = new Set([...readProjectFiles('src/**/*.ts').values()].flatMap(domainsIn))
    const named = new Set(domainsIn(protocol))
    expect([...used].filter((domain) => !named.has(domain)).toSorted()).toEqual(ownDomains)
    expect([...named].filter((domain) => !used.has(domain))).toEqual([])
    expect([...named]).toEqual(expect.arrayContaining(links))
  })

  test.each([
    ['header', sizeText(limits.headerBytesMax)],
    [
      'body; bodies of an envelope; envelope',
      `${sizeText(limits.bodyBytesMax)}; ${limits.envelopeBodiesMax}; ${sizeText(limits.envelopeBytesMax)}`,
    ],
    ['operations of an envelope, entries of an update', limits.envelopeOperationsMax.toLocaleString('en')],
    ['entries of a log segment before the next is begun', limits.segmentEntriesMax.toLocaleString('en')],
    ['key of a counter, set or register', `${limits.cellKeyLengthMax.toLocaleString('en')} characters`],
    ['register value', `${sizeText(limits.cellValueBytesMax)} as JSON`],
    ['text document', `${limits.textLengthMax.toLocaleString('en')} characters`],
    ['nesting of JSON', String(limits.jsonDepthMax)],
    ['membership record', sizeText(limits.recordBytesMax)],
    ['gossip message', sizeText(limits.gossipBytesMax)],
    ['frame, and unpacked chunk', sizeText(limits.frameBytesMax)],
  ])('tells the limit on %s', (what, limit) => {
    expect(protocol).toContain(`| ${what} | ${limit} |`)
  })

  test.each([
    ['src/replica/messages.ts', 'wantRangesMax', '64', 'ranges of at most 64 feeds, each once'],
    ['src/replica/messages.ts', 'messageItemsMax', '1 << 18', 'one of more than 262,144 CBOR items'],
    ['src/replica/messages.ts', 'chunkPartsMax', '4_096', 'a list of envelopes: these and their bodies at most 4,096'],
    ['src/replica/messages.ts', 'windowLogMax', '23', 'a window of at most 8 MiB'],
    ['src/feed/frontier.ts', 'frontierEntriesMax', '10_000', '`[feed id, have, head, applied]`, at most 10,000'],
    ['src/core/codec.ts', 'depthMax', '16', 'arrays nested at most 16 deep'],
    ['src/replica/sync.ts', 'wantBytes', '4 << 20', '(4 MiB). There is one want at a time'],
    ['src/replica/sync.ts', 'inboxBytesHigh', '8 << 20', 'While more than 8 MiB wait to be stored here'],
    ['src/replica/sync.ts', 'answerOverrunMax', '8 << 20', 'an answer of more than 8 MiB beyond what was asked'],
    ['src/replica/telling.ts', 'frontierEntriesPerMessage', '5_000', 'A frontier of more than 5,000 feeds'],
    ['src/replica/sync.ts', 'fetchStallMsMax', '3_000', 'nothing that can be used comes for 3 s'],
    ['src/replica/sync.ts', 'fetchMsMax', '20_000', 'the answer takes 20 s in all'],
    ['src/replica/telling.ts', 'tellAllMsMin', '5_000', 'though not twice within 5 s'],
    ['src/replica/sync.ts', 'theirFeedsMax', '200_000', 'more than 200,000 feeds is hung up on'],
    ['src/replica/sync.ts', 'silenceMsMax', '35_000', 'Silence for 35 s ends the link'],
    ['src/replica/sync.ts', 'stallMsMax', '20_000', 'without any progress for 20 s ends the link'],
    ['src/replica/proof.ts', 'joinedRunBytes', '64 << 10', 'stays within 64 KiB of envelopes'],
    ['src/replica/proof.ts', 'unsignedBytesMax', '1 << 20', 'at most 1 MiB of envelopes, its own included'],
    ['src/replica/proof.ts', 'forgeriesMax', '8', 'After eight signatures that do not hold'],
    ['src/replica/presence-board.ts', 'cardsMost', '20', '20 cards are looked at at once'],
    ['src/replica/presence-board.ts', 'cardsPerSecond', '4', 'and 4 a second'],
    ['src/replica/attestation.ts', 'bucketsMax', '256', 'lie in 256 **buckets**'],
    ['src/replica/attestation.ts', 'sumBytes', '16', 'bucket, 16 bytes, is the exclusive or'],
    ['src/replica/attestation.ts', 'attestedPerMessageMax', '1_500', '`[document id, version key, digest]`, at most 1,500'],
    ['src/replica/attestation.ts', 'attestationPartsMax', '16', 'part and parts, at most 16'],
    ['src/replica/attestation-board.ts', 'messagesMost', '40', 'Of one member 40 messages are looked at at once'],
    ['src/replica/attestation-board.ts', 'messagesPerSecond', '2', 'at once and 2 a second; 10,000 documents'],
    ['src/replica/attestation-board.ts', 'otherVersionsMax', '10_000', '10,000 documents of other versions are remembered'],
    ['src/replica/auditor.ts', 'settleMs', '2_000', 'A document that rested for 2 s is digested'],
    ['src/replica/coherence.ts', 'requestsMost', '5', 'Of requests 5 are looked at at once'],
    ['src/replica/coherence.ts', 'requestsPerSecond', '1', 'at once and 1 a second; of each member'],
    ['src/replica/coherence.ts', 'answerMsMin', '1_000', 'nothing is answered for n seconds'],
    ['src/replica/coherence.ts', 'patienceMs', '5_000', 'after 5 s, at most once an hour'],
    ['src/replica/coherence.ts', 'repairMsMin', '3_600_000', 'at most once an hour: whoever'],
    ['src/replica/dialer.ts', 'lastingMs', '10_000', 'A link that ends within 10 s is left to the backoff'],
    ['src/replica/dialer.ts', 'politenessMs', '1_500', 'waits 1.5 s before its first dial'],
    [
      'src/network/libp2p-transport.ts',
      'connectionsMax',
      '300',
      '| connections; of one key; of strangers, while an invite is open | 300; 6; 64:',
    ],
    ['src/network/libp2p-gate.ts', 'keyConnectionsMax', '6', '| 300; 6; 64:'],
    ['src/network/libp2p-gate.ts', 'strangersMax', '64', '| 300; 6; 64:'],
    ['src/network/libp2p-transport.ts', 'handshakesMax', '256', 'new connections of one host | 256; 32; 50 a second'],
    ['src/network/libp2p-gate.ts', 'hostHandshakesMax', '32', '| 256; 32; 50 a second'],
    ['src/network/libp2p-transport.ts', 'hostConnectionsPerSecondMax', '50', '| 256; 32; 50 a second'],
    ['src/network/libp2p-transport.ts', 'streamsMax', '32', '| 32; 64 at once and 2 a second'],
    ['src/network/libp2p-gate.ts', 'streamsMost', '64', '| 32; 64 at once and 2 a second'],
    ['src/network/libp2p-links.ts', 'controlPerSecond', '1_500', '| 2,000 at once and 1,500 a second |'],
    ['src/network/libp2p-links.ts', 'controlMost', '2_000', '| 2,000 at once and 1,500 a second |'],
    ['src/network/libp2p-transport.ts', 'gossipPerSecond', '1_000', '| 2,000 at once and 1,000 a second |'],
    ['src/network/libp2p-transport.ts', 'gossipMost', '2_000', '| 2,000 at once and 1,000 a second |'],
    ['src/network/join-limiter.ts', 'placesMax', '4', 'Four requests are judged at a time'],
    ['src/network/join-limiter.ts', 'hostRequestsMax', '20', 'at most 20 a minute from one host'],
    ['src/network/join-limiter.ts', 'requestsMax', '60', 'and 60 from all'],
  ])('tells what %s sets as %s', (path, name, value, words) => {
    expect(declaration(path, name)).toBe(`const ${name} = ${value}`)
    expect(protocol.replaceAll('\n', ' ')).toContain(words)
  })
})
