/**
 * The configuration of a home: `config.toml`, overridden by the environment. One schema gives the types, the defaults, the
 * checks and the names of the environment variables; `config/selfsame.toml` is the same for people, held to it by a test.
 */
import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import Type from 'typebox'
import type { Static, TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { TLocalizedValidationError } from 'typebox/error'
import { loopbackOf } from '../api/index.ts'
import { SelfsameError } from '../core/index.ts'
import { nearestName } from './nearest-name.ts'

const levels = ['debug', 'info', 'warn', 'error', 'silent'] as const

/** The rooms that log. */
const loggingRooms = ['storage', 'network', 'replica', 'api', 'daemon'] as const
export type LoggingRoom = (typeof loggingRooms)[number]

function section<const Fields extends Record<string, TSchema>>(fields: Fields) {
  return Type.Object(fields, { additionalProperties: false, default: {} })
}

function word<const Values extends readonly string[]>(values: Values, options: object = {}) {
  return Type.Unsafe<Values[number]>({ type: 'string', enum: values, ...options })
}

/** An amount with its unit: `500ms`, `30s`, `5m`, `2h`, `1d`. */
const durationPattern = '^[0-9]{1,6}(ms|[smhd])$'

const schema = Type.Object(
  {
    network: section({
      listen: Type.Array(Type.String({ pattern: '^(loopback|lan|/.+)$' }), { default: ['lan'] }),
      port: Type.Integer({ minimum: 1, maximum: 65_535, default: 27_200 }),
      mdns: Type.Boolean({ default: true }),
      bootstrap: Type.Array(Type.String({ pattern: '^/.+/p2p/[A-Za-z0-9]+$' }), { default: [] }),
      announce: Type.Array(Type.String({ pattern: '^/.+$' }), { default: [] }),
    }),
    api: section({
      listen: Type.Refine(Type.String({ default: '' }), (text) => text === '' || (loopbackOf(text)?.port ?? 0) > 0),
      hosts: Type.Array(Type.String({ pattern: '^[A-Za-z0-9.-]+(:[0-9]{1,5})?$' }), { default: [] }),
      origins: Type.Array(Type.String({ pattern: '^[a-z][a-z0-9+.-]*://[^/\\s]+$' }), { default: [] }),
      socket_token_required: Type.Boolean({ default: false }),
      watchers_max: Type.Integer({ minimum: 1, maximum: 10_000, default: 64 }),
    }),
    storage: section({
      cache_bytes: Type.Integer({ minimum: 1 << 20, maximum: 2 ** 40, default: 64 << 20 }),
    }),
    health: section({
      drift_percent: Type.Number({ minimum: 0, maximum: 100, default: 1 }),
      lag: Type.String({ pattern: durationPattern, default: '5m' }),
      recovery: Type.String({ pattern: durationPattern, default: '30s' }),
      on_alert: Type.Array(Type.String(), { default: [] }),
      webhook: Type.String({ pattern: '^(https?://[^\\s]+)?$', default: '' }),
    }),
    log: section({
      level: word(levels, { default: 'info' }),
      rooms: section({
        storage: Type.Optional(word(levels)),
        network: Type.Optional(word(levels)),
        replica: Type.Optional(word(levels)),
        api: Type.Optional(word(levels)),
        daemon: Type.Optional(word(levels)),
      } satisfies Record<LoggingRoom, TSchema>),
    }),
  },
  { additionalProperties: false },
)

export type Configuration = Static<typeof schema>

const validator = Compile(schema)

const durationExpected = "a whole number with its unit, such as '30s', '5m' or '2h'"

/** What a person reads where a value does not fit, by the path of the field. */
const expectations: Readonly<Record<string, string>> = {
  'network.listen': "a list of 'loopback', 'lan' or multiaddrs such as '/ip4/192.0.2.1/tcp/27200'",
  'network.port': 'a whole number from 1 to 65535',
  'network.mdns': 'true or false',
  'network.bootstrap': "a list of multiaddrs that end in a peer id, such as '/ip4/192.0.2.1/tcp/27200/p2p/12D3KooW...'",
  'network.announce': "a list of multiaddrs such as '/dns4/home.example/tcp/27200'",
  'api.listen': "'' for no TCP, or a loopback address with a port, such as '127.0.0.1:7777': the API is never served to other machines",
  'api.hosts': "a list of names with or without a port, such as 'memory.localhost:7777'",
  'api.origins': "a list of origins, such as 'http://localhost:3000'",
  'api.socket_token_required': 'true or false',
  'api.watchers_max': 'a whole number from 1 to 10000',
  'storage.cache_bytes': 'a whole number of bytes, at least 1048576',
  'health.drift_percent': 'a number from 0 to 100',
  'health.lag': durationExpected,
  'health.recovery': durationExpected,
  'health.on_alert': "a command and its arguments, such as ['/usr/local/bin/page-me', '--urgent']; [] for none",
  'health.webhook': "an address such as 'https://example.org/alerts'; '' for none",
  'log.level': `one of ${levels.join(', ')}`,
}

function expectationOf(path: string): string {
  return expectations[path] ?? (path.startsWith('log.rooms.') ? `one of ${levels.join(', ')}` : 'a section')
}

const unitMilliseconds: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A duration of a configuration that was read, in milliseconds. */
export function durationToMilliseconds(duration: string): number {
  const unit = duration.replace(/^[0-9]+/, '')
  return Number.parseInt(duration, 10) * (unitMilliseconds[unit] ?? 0)
}

/** The fields of the schema by path (`log.rooms.network`), leaves only. */
export const configurationFields: ReadonlyMap<string, TSchema> = new Map(fieldsOf('', schema))

function fieldsOf(path: string, node: TSchema): [string, TSchema][] {
  if (!Type.IsObject(node)) return [[path, node]]
  return Object.entries(node.properties).flatMap(([key, field]) => fieldsOf(path === '' ? key : `${path}.${key}`, field))
}

/** The environment variable that overrides a field: `network.port` is `SELFSAME_NETWORK_PORT`. */
export function environmentName(path: string): string {
  return `SELFSAME_${path.replaceAll('.', '_').toUpperCase()}`
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Reads a home's configuration. A missing file means the defaults. Throws `invalid-configuration`, saying what is wrong and where. */
export function readConfiguration(path: string, environment: Environment): Configuration {
  let text = ''
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new SelfsameError('invalid-configuration', `${path} cannot be read: ${(error as Error).message}`, { cause: error })
    }
  }
  return parseConfiguration(text, path, environment)
}

/** `readConfiguration` of a text; `path` is for messages. */
export function parseConfiguration(text: string, path: string, environment: Environment): Configuration {
  const table = parseToml(text, path)
  const lines = linesByPath(text)
  const sources = new Map<string, string>()
  for (const [field, value] of overrides(environment)) {
    if (setAt(table, field, value)) sources.set(field, environmentName(field))
  }
  const configuration = validator.Default(table)
  if (validator.Check(configuration)) return configuration
  const complaints = validator.Errors(configuration).flatMap(complaintOf)
  const located = complaints.map(({ field, message }) => {
    const line = lines.get(field)
    return `${sources.get(field) ?? (line === undefined ? path : `${path}, line ${line}`)}: ${message}`
  })
  throw new SelfsameError('invalid-configuration', [...new Set(located)].join('\n'))
}

function parseToml(text: string, path: string): Record<string, unknown> {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const [reason = ''] = error.message.replace(/^Invalid TOML document: /, '').split('\n')
    throw new SelfsameError('invalid-configuration', `${path}, line ${error.line}, column ${error.column}: ${reason}`, { cause: error })
  }
}

interface Complaint {
  readonly field: string
  readonly message: string
}

function complaintOf(error: TLocalizedValidationError): readonly Complaint[] {
  const path = error.instancePath.slice(1).replaceAll('/', '.')
  if (error.keyword === 'additionalProperties') {
    return error.params.additionalProperties.map((key) => ({
      field: joined(path, key),
      message: `there is no field '${joined(path, key)}'${suggestion(path, key)}`,
    }))
  }
  // Every unknown key is told a second time, as a field whose schema is `false`.
  if (error.keyword === 'boolean') return []
  const field = path.replace(/\.\d+$/, '')
  return [{ field, message: `${field} has to be ${expectationOf(field)}` }]
}

function joined(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

function suggestion(path: string, key: string): string {
  const known = [...configurationFields.keys()]
    .filter((field) => path === '' || field.startsWith(`${path}.`))
    .map((field) => field.slice(path === '' ? 0 : path.length + 1).split('.')[0] ?? '')
  const nearest = nearestName(key, [...new Set(known)])
  return nearest === undefined ? `; known are ${[...new Set(known)].join(', ')}` : `; did you mean '${joined(path, nearest)}'?`
}

/** The line of each key, as far as the plain forms of TOML go: headers and `key =`. Enough to point a finger. */
function linesByPath(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>()
  let header = ''
  for (const [index, line] of text.split('\n').entries()) {
    const [, table] = /^\s*\[\s*([\w.-]+)\s*\]/.exec(line) ?? []
    const [, key] = /^\s*([\w.-]+)\s*=/.exec(line) ?? []
    if (table !== undefined) header = table
    const path = table ?? (key === undefined ? undefined : joined(header, key))
    if (path !== undefined && !lines.has(path)) lines.set(path, index + 1)
  }
  return lines
}

/** The fields that the environment gives, as far as text can be read as the field's type. */
function overrides(environment: Environment): readonly (readonly [string, unknown])[] {
  const fieldByName = new Map([...configurationFields].map(([field, node]) => [environmentName(field), [field, node] as const]))
  const sections = Object.keys(schema.properties).map((name) => `${environmentName(name)}_`)
  return Object.entries(environment).flatMap(([name, text]) => {
    if (text === undefined || !sections.some((prefix) => name.startsWith(prefix))) return []
    const field = fieldByName.get(name)
    if (field !== undefined) return [[field[0], valueOf(field[1], text)] as const]
    const nearest = [...fieldByName.keys()].find((known) => nearestName(name.toLowerCase(), [known.toLowerCase()]) !== undefined)
    throw new SelfsameError(
      'invalid-configuration',
      `the environment variable ${name} is not known${nearest === undefined ? '' : `; did you mean ${nearest}?`}`,
    )
  })
}

/** Text that does not fit stays text, and the schema refuses it. */
function valueOf(node: TSchema, text: string): unknown {
  if (Type.IsArray(node)) return text === '' ? [] : text.split(',').map((item) => item.trim())
  if (Type.IsInteger(node)) return /^\d+$/.test(text) ? Number(text) : text
  if (Type.IsNumber(node)) return /^\d+(\.\d+)?$/.test(text) ? Number(text) : text
  if (Type.IsBoolean(node)) return text === 'true' ? true : text === 'false' ? false : text
  return text
}

/** Sets a field; false where the file has something else than a section on the way, which the schema then refuses. */
function setAt(table: Record<string, unknown>, path: string, value: unknown): boolean {
  const [key = '', ...rest] = path.split('.')
  if (rest.length === 0) {
    table[key] = value
    return true
  }
  const inner = (table[key] ??= {})
  return typeof inner === 'object' && !Array.isArray(inner) && setAt(inner as Record<string, unknown>, rest.join('.'), value)
}

/**
 * The default configuration that a new home gets: `config/selfsame.toml` with its own port and, where given, where to listen.
 * Throws `invalid-configuration` where these do not fit.
 */
export function newConfiguration({ port, listen }: { readonly port: number; readonly listen?: readonly string[] }): string {
  const template = readFileSync(new URL('../../config/selfsame.toml', import.meta.url), 'utf8')
  const withPort = template.replace(/^port = .*$/m, () => `port = ${port}`)
  const text = listen === undefined ? withPort : withPort.replace(/^listen = .*$/m, () => `listen = ${JSON.stringify(listen)}`)
  parseConfiguration(text, 'config.toml', {})
  return text
}
