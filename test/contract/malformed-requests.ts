/**
 * Requests gone wrong: a good request to some route, of which parts are replaced by what does not belong there, from the JSON
 * of the body to the framing of HTTP and the way the bytes are sent. Which one it is follows from the dice alone.
 */
import type { Dice } from '../unit/fuzz/dice.ts'
import { routes } from '../../src/api/contract.ts'
import type { Route } from '../../src/api/contract.ts'

/** What goes over one connection. */
export interface Conversation {
  /** Sent one after the other, with a turn of the event loop between. */
  readonly pieces: readonly Buffer[]
  /** How it ends when no answer comes any more, or at once: in good order, or by breaking off. */
  readonly ending: 'wait' | 'end' | 'destroy'
  /** Answers after which no other comes. */
  readonly answersMax: number
  /** The answers have no bodies, whatever their headers say. */
  readonly bodiless: boolean
}

interface Request {
  method: string
  target: string
  version: string
  readonly headers: (readonly [string, string])[]
  body: Buffer
}

type JsonTree = null | boolean | number | string | JsonTree[] | { [key: string]: JsonTree }

/** What is asked: nothing that stops the daemon, takes it off the network or changes who its members are. */
const targets = (Object.entries(routes) as [string, Route][]).filter(
  ([id, { method, needs }]) => method === 'GET' || needs !== 'everything' || /^(presence|tokens)\./.test(id),
)

/** Few, so that a long run works on documents with a history, and not on ever more of them. */
const names = ['memory', 'notes%2Fdaily', 'SOUL.md', 'karma', '%C3%A4%20b', 'a', '%E2%98%95']
const wrongNames = [
  '',
  '.',
  '..',
  '%2e%2e',
  '..%2f..%2fetc%2fpasswd',
  '%2e%2e%2f',
  '/',
  '%2F',
  'a%2F%2Fb',
  '%00',
  'a%00b',
  '%0a',
  '%ff',
  '%zz',
  '%',
  '%C0%AF',
  '%ED%A0%80',
  'a'.repeat(257),
  '%61'.repeat(400),
  'x'.repeat(1_100),
  '__proto__',
  'constructor',
  '*',
  ':name',
  '%25',
  '?',
  '#',
  ';',
  'a\\b',
  'C:',
]
const keys = ['a', 'b', 'text', '', '__proto__', 'constructor', 'toString', 'hasOwnProperty', '\u0000', '\u202e', 'k'.repeat(1_025)]
const kinds = ['log', 'counter', 'set', 'register', 'text', 'json']

/** Good bodies, by the media type that carries them. */
const bodies: Readonly<Record<string, readonly [string, JsonTree][]>> = {
  'operations.write': [
    ['application/json', { operations: [{ type: 'log.append', name: 'memory', entries: [{ text: 'x', tags: ['t'], data: { a: [1] } }] }] }],
    [
      'application/json',
      {
        operations: [
          { type: 'counter.add', name: 'karma', key: 'a', amount: '-3' },
          { type: 'set.add', name: 'a', member: 'b' },
        ],
      },
    ],
    [
      'application/json',
      {
        operations: [
          {
            type: 'json.patch',
            name: 'a',
            patch: [
              { op: 'add', path: '/a', value: 1 },
              { op: 'test', path: '/a', value: 1 },
            ],
          },
        ],
      },
    ],
    [
      'application/json',
      {
        operations: [
          { type: 'register.set', name: 'a', key: 'k', value: { b: null } },
          { type: 'text.put', name: 'a', text: 'é', base: 'x' },
        ],
      },
    ],
  ],
  'log.append': [
    ['application/json', { text: 'Met Ada', kind: 'note', tags: ['people'], time: '2026-11-01T09:30:00Z', operationId: 'o1' }],
    ['application/x-ndjson', { text: 'one line', data: [true] }],
  ],
  'counter.add': [['application/json', { key: 'a', amount: 1 }]],
  'set.add': [['application/json', { member: 'a' }]],
  'set.remove': [['application/json', { member: 'a' }]],
  'register.set': [['application/json', { key: 'a', value: { b: [1, 'x', null] } }]],
  'register.delete': [['application/json', { key: 'a' }]],
  'text.put': [
    ['application/json', { text: 'I am kevin.', base: 'e3b0' }],
    ['text/plain', 'I am kevin.'],
  ],
  'json.edit': [
    ['application/merge-patch+json', { a: { b: 1 }, c: null }],
    [
      'application/json-patch+json',
      [
        { op: 'replace', path: '/a', value: [] },
        { op: 'move', from: '/a', path: '/b' },
      ],
    ],
  ],
  'presence.set': [['application/json', { state: { doing: 'x' } }]],
  'tokens.create': [['application/json', { name: 'made', allow: ['log/memory:append,read', 'all'], expiresSeconds: 60 }]],
}

const queries = [
  'replicas=1',
  'replicas=0',
  'replicas=99999',
  'timeout=1ms',
  'timeout=61s',
  'timeout=x',
  'since=2026-11-01',
  'since=0',
  'until=x',
  'tag=t',
  'kind=note',
  'limit=1',
  'limit=1001',
  'limit=-1',
  'limit=1e3',
  'limit=',
  'cursor=start',
  'cursor=now',
  'cursor=',
  'cursor=0-00',
  `cursor=${'9'.repeat(300)}`,
  'order=newest',
  'order=x',
  'provenance=true',
  'provenance=1',
  'pattern=log/*',
  'pattern=*/*',
  'pattern=x',
  `pattern=text/${'*a'.repeat(120)}`,
  'prefix=a',
  'prefix=%00',
  'kind=log',
  'unknown=1',
  '__proto__=1',
  'constructor=1',
  '%zz=1',
  'a%00=1',
  '=',
  '&&',
  'limit=1&limit=2',
  'limit[]=1',
  'pattern[a]=b',
]

/** Headers that mean something to somebody on the way. */
const oddHeaders: readonly (readonly [string, string])[] = [
  ['expect', '100-continue'],
  ['expect', 'a miracle'],
  ['upgrade', 'websocket'],
  ['connection', 'upgrade'],
  ['connection', 'close'],
  ['connection', 'keep-alive'],
  ['idempotency-key', 'one'],
  ['idempotency-key', ''],
  ['idempotency-key', 'i'.repeat(257)],
  ['if-match', '"x"'],
  ['if-match', '*'],
  ['if-match', 'W/"'],
  ['last-event-id', 'x'],
  ['last-event-id', '\u00e9'],
  ['accept', 'application/x-ndjson'],
  ['accept', 'text/plain'],
  ['accept', '*/*;q=9'],
  ['accept', 'text/event-stream'],
  ['origin', 'https://evil.example'],
  ['authorization', 'Bearer x'],
  ['authorization', 'Basic eDp5'],
  ['content-encoding', 'gzip'],
  ['range', 'bytes=0-1'],
  ['host', 'evil.example'],
  ['x-forwarded-for', '1.2.3.4'],
  ['cookie', 'a=b'],
  ['__proto__', 'x'],
  ['accept-version', '2.x'],
  ['te', 'trailers'],
  ['x-http-method-override', 'DELETE'],
]
const mediaTypes = [
  'application/json',
  'application/json; charset=utf-8',
  'application/json;charset=latin1',
  'application/x-ndjson',
  'text/plain',
  'text/html',
  'multipart/form-data',
  'multipart/form-data; boundary=x',
  'application/x-www-form-urlencoded',
  'application/merge-patch+json',
  'application/json-patch+json',
  'application/jsonp',
  'APPLICATION/JSON',
  '',
  '/',
  'application/',
  ';',
  'application/json, text/plain',
  '__proto__',
  'a'.repeat(2_000),
]

const versions = [
  'HTTP/1.0',
  'HTTP/0.9',
  'HTTP/2.0',
  'HTTP/1.2',
  'http/1.1',
  'HTTP/1.1 ',
  'HTTP/',
  '',
  'ICY/1.0',
  'HTTP/1.1\t',
  'HTTP/11.1',
]
const methods = [
  'GET',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PROPFIND',
  'QUERY',
  'get',
  'G ET',
  '',
  'GETT',
  '\u0000GET',
  'M-SEARCH',
  'PRI',
]
const lengths = [
  '0',
  '1',
  '-1',
  '+5',
  '5, 5',
  '0x10',
  '1e3',
  '99999999999999999999',
  '18446744073709551616',
  '4294967297',
  ' ',
  'five',
  '00000000005',
  '2097153',
]
const encodings = ['chunked', 'gzip', 'gzip, chunked', 'chunked, chunked', 'chunked, gzip', 'identity', ' chunked', 'Chunked\t', 'x', '']
const chunks = [
  '-1\r\n',
  'ffffffffffffffff1\r\n',
  'fffffffffffffff\r\n',
  'zz\r\n',
  '\r\n',
  '5;ext=1\r\nhello\r\n0\r\n\r\n',
  '0\r\nauthorization: x\r\n\r\n',
  `1;${'e'.repeat(20_000)}\r\n`,
  '5\nhello\n0\n\n',
  '5\r\nhel',
]

export function createConversation(dice: Dice, token: string | undefined): Conversation {
  const count = dice.chance(0.1) ? 2 + dice.below(8) : 1
  const drawn = dice.times(count, () => createRequest(dice, token))
  // What stands behind a watch is never answered, and Node reads no further meanwhile: not even that the client has ended.
  const watch = drawn.findIndex(({ target }) => /^[^?]*\/watch/.test(target))
  const requests = watch < 0 ? drawn : drawn.slice(0, watch + 1)
  const bodiless = requests.length === 1 && dice.chance(0.02)
  if (bodiless) requests[0]!.method = 'HEAD'
  let bytes: Buffer = Buffer.concat(requests.map((request) => toBytes(dice, request)))
  if (dice.chance(0.08)) bytes = damageBytes(dice, bytes)
  const cut = dice.chance(0.08)
  if (cut) bytes = bytes.subarray(0, dice.below(bytes.length + 1))
  return {
    pieces: piecesOf(dice, bytes),
    ending: dice.chance(0.05) ? 'destroy' : cut ? 'end' : 'wait',
    answersMax: requests.length,
    bodiless,
  }
}

function createRequest(dice: Dice, token: string | undefined): Request {
  const [id, route] = dice.pick(targets)
  const request: Request = {
    method: route.method,
    target: targetOf(dice, route),
    version: 'HTTP/1.1',
    headers: [['host', 'localhost']],
    body: Buffer.alloc(0),
  }
  if (token !== undefined && !dice.chance(0.03)) request.headers.push(['authorization', `Bearer ${token}`])
  const samples = bodies[id]
  if (samples !== undefined) {
    const [mediaType, sample] = dice.pick(samples)
    request.headers.push(['content-type', dice.chance(0.06) ? dice.pick(mediaTypes) : mediaType])
    request.body = bodyOf(dice, mediaType, sample)
  } else if (dice.chance(0.05)) {
    request.headers.push(['content-type', dice.pick(mediaTypes)])
    request.body = Buffer.from(dice.pick(['{}', 'null', '[', 'x']))
  }
  if (dice.chance(0.04)) request.method = dice.pick(methods)
  if (dice.chance(0.03)) request.version = dice.pick(versions)
  if (dice.chance(0.02)) request.headers.shift()
  if (dice.chance(0.2)) request.headers.push(dice.pick(oddHeaders))
  if (dice.chance(0.01))
    request.headers.push(...dice.times(1 + dice.below(3_000), (index): readonly [string, string] => [`x-${index}`, 'y']))
  if (dice.chance(0.01)) request.headers.push(['x-long', 'y'.repeat(dice.pick([1_000, 16_000, 65_000, 66_000, 200_000]))])
  return request
}

function targetOf(dice: Dice, { path, query }: Route): string {
  const draw = (): string => (dice.chance(0.1) ? dice.pick(wrongNames) : dice.pick(names))
  const filled = path
    .replace(':kind', () => (dice.chance(0.1) ? draw() : dice.pick(kinds)))
    .replace(':name', draw)
    .replace(':id', () => (dice.chance(0.5) ? draw() : '0'.repeat(60)))
  const asked = query === undefined ? dice.chance(0.03) : dice.chance(0.4)
  const target = asked ? `${filled}?${dice.times(1 + dice.below(3), () => dice.pick(queries)).join('&')}` : filled
  if (!dice.chance(0.04)) return target
  return dice.pick([
    `http://evil.example${target}`,
    `//evil.example${target}`,
    `/..${target}`,
    `/v1/../..${target}`,
    target.replace('/v1/', '/v1//'),
    `${target}/`,
    `${target}#x`,
    '*',
    '',
    target.slice(1),
    '/',
    '/v2/health',
    target.toUpperCase(),
    `${target}\u0000`,
    `${target}?${'a=b&'.repeat(2_000)}`,
    `/${'a/'.repeat(3_000)}`,
    target.replaceAll('/', '\\'),
  ])
}

function bodyOf(dice: Dice, mediaType: string, sample: JsonTree): Buffer {
  if (mediaType === 'text/plain') return dice.chance(0.1) ? Buffer.from(dice.bytes(dice.below(200))) : Buffer.from(JSON.stringify(sample))
  const count = mediaType === 'application/x-ndjson' ? 1 + dice.below(5) : 1
  const texts = dice.times(count, () => textOf(dice, dice.chance(0.5) ? sample : damageTree(dice, sample)))
  const bytes = Buffer.from(texts.join('\n'))
  if (dice.chance(0.002)) return Buffer.concat([bytes, Buffer.alloc(2 << 20, 0x20), bytes])
  return dice.chance(0.05) ? damageBytes(dice, bytes) : bytes
}

function textOf(dice: Dice, tree: JsonTree): string {
  const text = JSON.stringify(tree)
  if (!dice.chance(0.1)) return text
  const depth = dice.pick([10, 70, 5_000, 100_000])
  return dice.pick([
    text.slice(0, -1),
    `${text}${text}`,
    `\ufeff${text}`,
    `${text}\u0000`,
    text.replaceAll('"', "'"),
    '',
    ' ',
    'null',
    '1',
    '"x"',
    '[]',
    '{}',
    'NaN',
    '-0',
    '1e999',
    '01',
    `${'['.repeat(depth)}${']'.repeat(depth)}`,
    `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`,
    '{"a":1,"a":2}',
    text.replace('{', '{"__proto__":{"x":1},'),
    text.replace('{', '{"\\u005f_proto__":1,'),
    text.replace(/"(?=[^"]*$)/, '\\ud800"'),
    `[${'1,'.repeat(dice.pick([10, 2_000, 100_000]))}1]`,
    text.replace('{', '/* */{'),
    `{"operations":[${'{},'.repeat(300)}{}]}`,
  ])
}

/** Replaces one node somewhere in the tree, or adds or drops a property. */
function damageTree(dice: Dice, tree: JsonTree): JsonTree {
  if (Array.isArray(tree) && tree.length > 0 && dice.chance(0.8)) {
    const at = dice.below(tree.length)
    if (dice.chance(0.1)) return Array.from({ length: dice.pick([2, 257, 1_001]) }, () => tree[at]!)
    return tree.map((item, index) => (index === at ? damageTree(dice, item) : item))
  }
  if (typeof tree === 'object' && tree !== null && !Array.isArray(tree) && Object.keys(tree).length > 0 && dice.chance(0.85)) {
    const at = dice.pick(Object.keys(tree))
    const { [at]: value, ...rest } = tree
    if (dice.chance(0.15)) return rest
    if (dice.chance(0.15)) return { ...tree, [dice.pick(keys)]: oddValue(dice) }
    return { ...tree, [at]: damageTree(dice, value ?? null) }
  }
  return oddValue(dice)
}

function oddValue(dice: Dice): JsonTree {
  return dice.pick<JsonTree>([
    null,
    true,
    false,
    0,
    -1,
    1.5,
    1e308,
    2 ** 53,
    '9223372036854775808',
    '-9223372036854775808',
    '',
    'x',
    '\u0000',
    '\ud83d',
    '\ufeff',
    'x'.repeat(dice.pick([100, 5_000, 70_000])),
    [],
    {},
    [[]],
    [null],
    { a: {} },
    { length: 3 },
    { toString: 'x' },
    ['log/memory:read'],
    '2026-02-31',
    '2026-11-01T09:30:00Z',
    'log.append',
    'memory',
    '../x',
    '/a/b/~2',
    '/',
    '/-',
    '/0',
    '/__proto__/x',
    'all',
    'set.add',
    253_402_300_800_000,
  ])
}

function toBytes(dice: Dice, { method, target, version, headers, body }: Request): Buffer {
  const eol = dice.chance(0.02) ? dice.pick(['\n', '\r', '\r\r\n', '\n\r']) : '\r\n'
  const { lines, payload } = frame(dice, method, body)
  const all = [...headers.map(([name, value]) => `${name}: ${value}`), ...lines]
  if (dice.chance(0.03))
    all.splice(
      dice.below(all.length + 1),
      0,
      dice.pick([
        ': x',
        'a b: c',
        'novalue',
        ' folded: x',
        'x:\u0000',
        'x: a\rb',
        '\u00e9: x',
        'x:',
        'host: a',
        '\tx',
        `${'n'.repeat(5_000)}: v`,
      ]),
    )
  const head = `${method}${dice.chance(0.01) ? '\t' : ' '}${target} ${version}${eol}${all.map((line) => `${line}${eol}`).join('')}${eol}`
  return Buffer.concat([Buffer.from(head, dice.chance(0.02) ? 'latin1' : 'utf8'), payload])
}

/** Tells where the body ends, mostly the truth. */
function frame(dice: Dice, method: string, body: Buffer): { readonly lines: readonly string[]; readonly payload: Buffer } {
  if (body.length === 0 && !dice.chance(0.05)) return { lines: method === 'GET' ? [] : ['content-length: 0'], payload: body }
  const truth = `content-length: ${body.length}`
  const chunked = Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
  if (dice.chance(0.85))
    return dice.chance(0.7) || body.length === 0
      ? { lines: [truth], payload: body }
      : { lines: ['transfer-encoding: chunked'], payload: chunked }
  const lie = `content-length: ${dice.chance(0.5) ? dice.pick(lengths) : body.length + dice.below(9) - 4}`
  return dice.pick([
    { lines: [lie], payload: body },
    { lines: [truth, lie], payload: body },
    { lines: [truth, 'transfer-encoding: chunked'], payload: chunked },
    { lines: [`transfer-encoding: ${dice.pick(encodings)}`], payload: chunked },
    { lines: ['transfer-encoding: chunked'], payload: Buffer.from(dice.pick(chunks)) },
    { lines: ['transfer-encoding: chunked'], payload: Buffer.concat([chunked.subarray(0, -5), Buffer.from(dice.pick(chunks))]) },
    { lines: [], payload: body },
  ])
}

function damageBytes(dice: Dice, bytes: Buffer): Buffer {
  const at = dice.below(bytes.length + 1)
  const damage = dice.pick([
    Buffer.from([0]),
    Buffer.from([0xff]),
    Buffer.from('\r\n'),
    Buffer.from('\n\n'),
    Buffer.from(dice.bytes(1 + dice.below(20))),
    Buffer.from([0xed, 0xa0, 0x80]),
    Buffer.alloc(0),
  ])
  return Buffer.concat([bytes.subarray(0, at), damage, bytes.subarray(at + dice.below(3))])
}

function piecesOf(dice: Dice, bytes: Buffer): readonly Buffer[] {
  if (dice.chance(0.8)) return [bytes]
  const count = dice.pick([2, 5, 40])
  const cuts = dice.times(count - 1, () => dice.below(bytes.length + 1)).toSorted((a, b) => a - b)
  return [0, ...cuts].map((from, index) => bytes.subarray(from, cuts[index] ?? bytes.length))
}
