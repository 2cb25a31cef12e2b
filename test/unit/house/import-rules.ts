/** Holds sources against the import table of `docs/ARCHITECTURE.md`. Knows text only, so that violations can be planted. */
import { dirname, posix } from 'node:path'

/** One row of the table. */
export interface RoomRule {
  readonly room: string
  /** Allowed rooms; a file (`store.ts`) limits the import to what that file declares, or to running it; null allows the whole front. */
  readonly rooms: ReadonlyMap<string, string | null>
  /** Packages of the room: exact names, or scopes that end in `/*`. */
  readonly packages: readonly string[]
}

/** Sources by path relative to the project's root, with `/`: `src/core/ids.ts`. */
export type Sources = ReadonlyMap<string, string>

/** Files other than `index.ts` that a room shows to the others. */
const furtherFronts: ReadonlyMap<string, readonly string[]> = new Map([['api', ['client.ts']]])

/** Built-in modules that count as packages: each is a decision of one room. */
const guardedBuiltins = new Set(['node:sqlite'])

/** The rows below the heading "Rooms and imports". */
export function parseImportTable(markdown: string): readonly RoomRule[] {
  const section = markdown.split(/^### Rooms and imports$/m)[1]?.split(/^#{1,3} /m)[0] ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('| '))
  return rows
    .map((row) => row.split('|').map((cell) => cell.trim()))
    .filter(([, room]) => room !== 'room' && room !== '---')
    .map(([, room = '', , imports = '', packages = '']) => ({
      room,
      rooms: new Map(listOf(imports).map(parseAllowedRoom)),
      packages: listOf(packages),
    }))
}

function listOf(cell: string): readonly string[] {
  return cell
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

function parseAllowedRoom(item: string): readonly [string, string | null] {
  const [, room = item, port = null] = /^(\w+)(?: \(([\w.-]+)\))?$/.exec(item) ?? []
  return [room, port]
}

interface Import {
  /** Names between the braces; null for a whole module (`* as`, a bare or a dynamic import). */
  readonly names: readonly string[] | null
  readonly from: string
  /** Whether the file is addressed, to be run in a thread or process of its own. */
  readonly program: boolean
}

const statement = /^\s*(?:import|export)\s+(?:type\s+)?(?:(\{[^}]*\}|[\w*][^'"{}]*(?:\{[^}]*\})?)\s*from\s*)?['"]([^'"]+)['"]/gm
const dynamic = /\b(?:import|require)\s*\(\s*['"]([^'"]+)['"]/g
const byAddress = /new URL\([^)]*?['"](\.[^'"]+\.ts)['"]/g

/** Every module that a source names: imports, re-exports, dynamic imports and files addressed by URL. */
export function importsOf(source: string): readonly Import[] {
  const code = source.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/^\s*\/\/.*$/gm, '')
  const stated = [...code.matchAll(statement)].map(([, clause, from = '']) => ({ names: namesOf(clause), from, program: false }))
  const loaded = [...code.matchAll(dynamic)].map(([, from = '']) => ({ names: null, from, program: false }))
  const addressed = [...code.matchAll(byAddress)].map(([, from = '']) => ({ names: null, from, program: true }))
  return [...stated, ...loaded, ...addressed]
}

function namesOf(clause: string | undefined): readonly string[] | null {
  const braces = clause === undefined ? null : /^\{([^}]*)\}$/.exec(clause.trim())
  if (braces === null) return null
  return listOf(braces[1] ?? '').map((name) => name.replace(/^type /, '').split(' as ')[0] ?? '')
}

/** Every import in `src` that the table does not allow, one line each. */
export function importViolations(sources: Sources, rules: readonly RoomRule[]): readonly string[] {
  const ruleByRoom = new Map(rules.map((rule) => [rule.room, rule]))
  return [...sources].flatMap(([path, source]) => {
    const [, room = ''] = path.split('/')
    const rule = ruleByRoom.get(room)
    if (rule === undefined) return [`${path}: the room ${room} is not in the table`]
    return importsOf(source).flatMap((found) => {
      const fault = found.from.startsWith('.') ? faultOfFile(path, found, rule, sources) : faultOfPackage(found.from, rule)
      return fault === undefined ? [] : [`${path}: ${found.from}: ${fault}`]
    })
  })
}

function faultOfFile(path: string, { names, from, program }: Import, rule: RoomRule, sources: Sources): string | undefined {
  const target = posix.join(dirname(path), from)
  const [top, room = '', ...inner] = target.split('/')
  if (top !== 'src') return top === 'package.json' ? undefined : 'lies outside of src'
  if (room === rule.room) return undefined
  const file = inner.join('/')
  const port = rule.rooms.get(room)
  if (program && file === port) return undefined
  if (file !== 'index.ts' && !(furtherFronts.get(room) ?? []).includes(file)) return `is not the front of ${room}`
  if (port === undefined) return `${rule.room} may not import ${room}`
  if (port === null) return undefined
  const declared = declaredIn(sources.get(`src/${room}/${port}`) ?? '')
  const beyond = names === null ? ['everything'] : names.filter((name) => !declared.has(name))
  return beyond.length === 0 ? undefined : `${rule.room} may import only the port ${port} of ${room}, not ${beyond.join(', ')}`
}

function declaredIn(source: string): ReadonlySet<string> {
  const declaration = /^export (?:declare )?(?:interface|type|const|class|function|abstract class) (\w+)/gm
  return new Set([...source.matchAll(declaration)].map(([, name = '']) => name))
}

function faultOfPackage(from: string, rule: RoomRule): string | undefined {
  if (from.startsWith('node:') && !guardedBuiltins.has(from)) return undefined
  const name = from.startsWith('@') ? from.split('/').slice(0, 2).join('/') : (from.split('/')[0] ?? '')
  const allowed = rule.packages.some((entry) => (entry.endsWith('/*') ? name.startsWith(entry.slice(0, -1)) : name === entry))
  return allowed ? undefined : `${name} is not a package of ${rule.room}`
}
