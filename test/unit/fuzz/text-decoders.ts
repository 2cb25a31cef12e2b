/** The decoders of what comes as text or as bare bytes: addresses, ids, cursors, the configuration, lines of JSON, frames. */
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { parseJson, utf8ToText } from '../../../src/api/json-text.ts'
import { linesOf } from '../../../src/api/lines.ts'
import { frameBytesMax, SelfsameError } from '../../../src/core/index.ts'
import type { ErrorCode } from '../../../src/core/index.ts'
import { configurationFields, environmentName, parseConfiguration } from '../../../src/daemon/configuration.ts'
import { canonicalJson, entryIdOf, parseEntryId } from '../../../src/document/index.ts'
import { addressHost, addressReach, listenAddresses, parseAddress } from '../../../src/network/addresses.ts'
import { openFrameStream } from '../../../src/network/libp2p-frames.ts'
import { mutateBytes, trickyTexts } from './cbor-mutations.ts'
import type { Dice } from './dice.ts'
import { promise } from './fuzz.ts'
import type { Case, Decoder } from './fuzz.ts'

/** `text` with words of its language, tricky texts and stray bytes put in, and pieces taken out or doubled. */
export function mutateText(dice: Dice, text: string, words: readonly string[]): string {
  let changed = text
  for (let left = 1 + dice.below(3); left > 0; left--) {
    const at = dice.below(changed.length + 1)
    const span = dice.below(Math.min(30, changed.length - at) + 1)
    const word = dice.pick(dice.chance(0.7) ? words : trickyTexts)
    switch (dice.below(6)) {
      case 0:
        changed = changed.slice(0, at) + word + changed.slice(at)
        break
      case 1:
        changed = changed.slice(0, at) + word + changed.slice(at + span)
        break
      case 2:
        changed = changed.slice(0, at) + changed.slice(at + span)
        break
      case 3:
        changed = changed.slice(0, at + span) + changed.slice(at)
        break
      case 4:
        changed = changed.slice(0, at) + word.repeat(dice.pick([2, 70, 300])) + changed.slice(at)
        break
      default:
        changed = Buffer.from(mutateBytes(dice, Buffer.from(changed), () => Buffer.from(word))).toString()
    }
  }
  return changed
}

/** Runs `read`, which may refuse only by one of these codes. Undefined where it did. */
function allowing<Value>(codes: readonly ErrorCode[], read: () => Value): Value | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof SelfsameError && codes.includes(error.code)) return undefined
    throw error
  }
}

const addressTexts = [
  '/ip4/192.0.2.1/tcp/27200',
  '/ip4/127.0.0.1/tcp/1',
  '/ip6/::1/tcp/65535',
  '/ip6/fe80::1/tcp/4001',
  '/dns4/home.example/tcp/27200',
  '/dns6/localhost/tcp/1',
  '/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWGRUfqhA3Xb2wsWqE1i3HhnGW1ZzeSdBSbhAU3zMkaYQw',
]
const addressWords =
  '/ /tcp/ /udp/1 /ip4/ /ip6/ /p2p/ /p2p-circuit /ws /quic-v1 /unix/a /ip6zone/eth0 /ipcidr/8 /dnsaddr/a %eth0 256.1.1.1 -1 65536 00 1.2.3 ::ffff:127.0.0.1 ::: 12D3KooW Qm /http-path/%2e /memory/1 /certhash/u /onion3/a:1'.split(
    ' ',
  )

const addresses: Decoder = {
  name: 'addresses',
  weight: 2,
  draw(dice): Case {
    const valid = dice.chance(0.1)
    const text = valid ? dice.pick(addressTexts) : mutateText(dice, dice.pick(addressTexts), addressWords)
    return {
      input: Buffer.from(text),
      valid,
      decode() {
        const reach = addressReach(text)
        const listened = allowing(['invalid-configuration'], () => listenAddresses([text], 1, ['127.0.0.1']))
        if (reach === undefined) {
          promise(addressHost(text) === undefined, 'what cannot be reached has no host')
          promise(listened === undefined || ['lan', 'loopback'].includes(text), 'nor can it be listened on')
          return null
        }
        return () => {
          const parsed = parseAddress(text)
          promise(parsed !== undefined && multiaddr(parsed.toString()).toString() === parsed.toString(), 'an address has one text')
        }
      },
    }
  },
}

const entryId: Decoder = {
  name: 'entry-id',
  weight: 1,
  draw(dice): Case {
    const hex = (length: number): string => Buffer.from(dice.bytes(length)).toString('hex')
    const valid = dice.chance(0.2)
    const whole = hex(30)
    const text = valid ? whole : mutateText(dice, whole, ['0', 'f', 'F', 'g', '\n', ' '])
    return {
      input: Buffer.from(text),
      valid,
      decode() {
        const place = parseEntryId(text)
        if (place === undefined) return null
        return () => promise(entryIdOf(place.stamp, place.feed, place.sequence, place.index) === text, 'an entry id has one text')
      },
    }
  },
}

const tomlWords = [
  '[network]',
  '[log.rooms]',
  '[[network]]',
  '[',
  ']',
  '=',
  '.',
  '"',
  '"""',
  "'''",
  '\n',
  '#',
  '{',
  '}',
  ',',
  '_',
  '+',
  '-',
  'true',
  'inf',
  'nan',

  'port = 1',
  'port = 99999999999999999999',
  'listen = ["lan"]',
  'listen = []',
  'mdns = 1',
  '[__proto__]',
  '__proto__ = 1',
  'constructor.prototype = 1',

  'network = 1',
  'network = []',
  'network.port = 1',
  '1979-05-27T07:32:00Z',
  '0x',
  '0b2',
  '1e999',
  '\\ud800',
  '\\U00110000',
  '\r',
  'log = { level = "info" }',
]
const tomlTexts = [
  '[network]\nlisten = ["lan"]\nport = 27200\nmdns = true\nbootstrap = []\n\n[log]\nlevel = "info"\n',
  '[log.rooms]\nnetwork = "debug"\n\n[storage]\ncache_bytes = 67108864\n',
  '# nothing\n',
]

const configuration: Decoder = {
  name: 'configuration',
  weight: 6,
  draw(dice): Case {
    const valid = dice.chance(0.1)
    const nested = dice.chance(0.02)
    const text = valid
      ? dice.pick(tomlTexts)
      : nested
        ? `a = ${dice.pick(['[', '{a=', '[{a=']).repeat(dice.pick([100, 20_000]))}`
        : mutateText(dice, dice.pick(tomlTexts), tomlWords)
    const field = dice.pick([...configurationFields.keys()])
    const environment = dice.chance(0.7)
      ? {}
      : { [environmentName(field)]: dice.pick(['1', 'true', '', 'lan,loopback', ',', ...trickyTexts]) }
    return {
      input: Buffer.from(text),
      valid: valid && Object.keys(environment).length === 0,
      decode() {
        const read = allowing(['invalid-configuration'], () => parseConfiguration(text, 'config.toml', environment))
        if (read === undefined) return null
        return () => {
          promise(
            Number.isInteger(read.network.port) && read.network.listen.every((each) => typeof each === 'string'),
            'fields have their types',
          )
          promise(({} as { port?: unknown }).port === undefined, 'no prototype was touched')
        }
      },
    }
  },
}

const jsonTexts = [
  '{"text":"noted","tags":["a"],"time":1800000000000}',
  '{"data":{"a":[1,2,{"b":null}]},"kind":"note"}',
  '{"operations":[{"type":"set.add","name":"a","member":"\\u00e9"}]}',
  '[]',
  '"\\ud83d\\ude00"',
]
const jsonWords = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  '\\u',
  '\\ud800',
  '\\"',
  '"__proto__":1,',
  '"\\u005f_proto__":{},',
  '"constructor":{"prototype":1},',

  '1e999',
  '-0',
  '0.1',
  '1E400',
  '-',
  '00',
  'NaN',
  'null',
  'true',
  '\n',
  '\r\n',
  '\u2028',
  '\u0000',
  '9007199254740993',
]

/** A stream of lines as it comes from a socket, cut anywhere. */
const lines: Decoder = {
  name: 'lines',
  weight: 3,
  draw(dice): Case {
    const valid = dice.chance(0.1)
    const line = (): string => {
      if (valid) return dice.pick(jsonTexts)
      if (dice.chance(0.02)) return dice.pick(['[', '{"a":', '"\\ud8', '[[],']).repeat(dice.pick([100, 20_000]))
      return mutateText(dice, dice.pick(jsonTexts), jsonWords)
    }
    const whole = Buffer.from(dice.times(1 + dice.below(4), line).join('\n'))
    const input = valid || dice.chance(0.8) ? whole : Buffer.from(mutateBytes(dice, whole, () => dice.bytes(20)))
    const cuts = dice.times(dice.below(4), () => dice.below(input.length + 1)).toSorted((a, b) => a - b)
    const chunks = [0, ...cuts].map((from, index) => input.subarray(from, cuts[index] ?? input.length))
    const lineBytesMax = dice.pick([10, 1_000, 1 << 20])
    return {
      input,
      valid: valid && lineBytesMax > 1_000,
      async decode() {
        const found: Buffer[] = []
        let isWhole = true
        try {
          for await (const some of linesOf(toAsync(chunks), lineBytesMax)) found.push(...some)
        } catch (error) {
          if (!(error instanceof SelfsameError && error.code === 'too-large')) throw error
          isWhole = false
        }
        const values = found.map((each) => allowing(['invalid-request'], () => parseJson(utf8ToText(each))))
        if (!isWhole || values.includes(undefined)) return null
        return () => {
          promise(
            Buffer.concat(found.flatMap((each) => [each, Buffer.from('\n')]))
              .toString()
              .trimEnd() === input.toString().trimEnd(),
            'nothing was lost',
          )
          for (const value of values) {
            const text = canonicalJson(value!)
            promise(text.isWellFormed() && canonicalJson(parseJson(text)) === text, 'what was read can be written and read again')
          }
        }
      },
    }
  },
}

async function* toAsync(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks
}

/** A case holds fewer frames than are taken at one turn, so nothing waits. */
const unhurried = {
  clock: {
    now: () => 0,
    monotonic: () => 0,
    after() {
      throw new Error('so few frames wait for nothing')
    },
  },
  spend: () => 0,
}

/** What `openFrameStream` needs of a libp2p stream. */
class FakeStream extends EventTarget {
  readonly status = 'open'
  readonly writeStatus = 'writable'
  readonly writeBufferLength = 0
  aborted: Error | null = null

  abort(error: Error): void {
    this.aborted = error
  }

  send(): boolean {
    return true
  }

  receive(data: Uint8Array): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data }))
  }
}

const frames: Decoder = {
  name: 'frames',
  weight: 3,
  draw(dice): Case {
    const limit = dice.pick([16, 4_096, frameBytesMax])
    const frame = (): Uint8Array => {
      const length = dice.pick([0, 1, 15, 16, 17, 300])
      const claimed = dice.chance(0.9)
        ? length
        : dice.pick([length + 1, 4_096, 4_097, frameBytesMax, frameBytesMax + 1, 2 ** 31, 2 ** 32 - 1])
      const prefix = Buffer.alloc(4)
      prefix.writeUInt32BE(claimed)
      return Buffer.concat([prefix, dice.bytes(length)])
    }
    const input = Buffer.concat(dice.times(dice.below(6), frame))
    const cuts = dice.times(dice.below(6), () => dice.below(input.length + 1)).toSorted((a, b) => a - b)
    const { whole, overLimit } = framesOf(input, limit)
    return {
      input,
      valid: false,
      decode() {
        const stream = new FakeStream()
        const received: Uint8Array[] = []
        const ends: string[] = []
        openFrameStream(
          stream as unknown as Stream,
          { bytesMax: limit, pace: unhurried },
          {
            frame: (bytes) => received.push(bytes),
            drained: () => {},
            ended: (reason) => ends.push(reason),
          },
        )
        for (const [index, from] of [0, ...cuts].entries()) {
          if (stream.aborted === null) stream.receive(input.subarray(from, cuts[index] ?? input.length))
        }
        return () => {
          promise(
            Buffer.compare(Buffer.concat(received), Buffer.concat(whole)) === 0 && received.length === whole.length,
            'every frame came, whole',
          )
          promise(
            (stream.aborted !== null) === overLimit && ends.length === Number(overLimit),
            'a frame over the limit ends the stream, once',
          )
        }
      },
    }
  },
}

/** The frames in a stream of bytes, up to the first that is over the limit: read in one piece, unlike the real reader. */
function framesOf(input: Buffer, limit: number): { readonly whole: readonly Uint8Array[]; readonly overLimit: boolean } {
  const whole: Uint8Array[] = []
  for (let at = 0; at + 4 <= input.length;) {
    const length = input.readUInt32BE(at)
    if (length > limit) return { whole, overLimit: true }
    if (at + 4 + length > input.length) break
    whole.push(input.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return { whole, overLimit: false }
}

export const textDecoders: readonly Decoder[] = [addresses, entryId, configuration, lines, frames]
