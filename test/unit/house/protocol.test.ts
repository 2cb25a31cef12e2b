/** `docs/PROTOCOL.md` is what the code does: its message types, limits and hash domains, held against the sources in both directions. */
import { describe, expect, test } from 'vitest'
import * as limits from '../../../src/core/limits.ts'
import { readProjectFile, readProjectFiles } from './project-files.ts'

const protocol = readProjectFile('docs/PROTOCOL.md')
const messages = readProjectFile('src/replica/messages.ts')

/** What is hashed for this instance alone: neither sent nor compared with others. */
const ownDomains = ['selfsame/home/1', 'selfsame/snapshot/1', 'selfsame/twin/1']

/** Names by number of one of the tables of message types, in the code and in the document. */
function typesInCode(name: string): ReadonlyMap<number, string> {
  const table = new RegExp(`const ${name} = \\{([^}]*)\\}`).exec(messages)?.[1] ?? ''
  return new Map([...table.matchAll(/'?([\w-]+)'?: (\d+)/g)].map(([, type = '', number]) => [Number(number), type]))
}

function typesInDocument(heading: string): ReadonlyMap<number, string> {
  const section = protocol.split(`### ${heading}\n`)[1]?.split('\n#')[0] ?? ''
  return new Map([...section.matchAll(/^\| (\d+) \| ([\w-]+) \|/gm)].map(([, number, type = '']) => [Number(number), type]))
}

function sizeText(bytes: number): string {
  return bytes >= 1 << 20 ? `${bytes / (1 << 20)} MiB` : `${bytes / (1 << 10)} KiB`
}

describe('the protocol document', () => {
  test.each([
    ['controlTypes', 'Control', 11],
    ['gossipTypes', 'Gossip', 2],
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
})
