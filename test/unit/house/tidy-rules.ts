/** The habits of the sources that no linter knows. Knows text only, so that violations can be planted. */
import { basename } from 'node:path'

/** Beyond this a file owes a split. */
const linesMax = 600

/** Names that say where a thing lies and not what it is: drawers. */
const drawer = /(^|[-.])(utils?|helpers?|common|types|misc|shared|lib|stuff|base|manager)$/

interface Habit {
  readonly reason: string
  /** The first offending text, or undefined. Sources only; `path` is relative to the root. */
  offence(path: string, source: string): string | undefined
}

const habits: readonly Habit[] = [
  {
    reason: 'a file begins by saying what it owns',
    offence: (_, source) => (/^(#!.*\n)?\/\*\*\s*\S/.test(source) ? undefined : source.slice(0, 40)),
  },
  {
    reason: 'file names are in kebab-case',
    offence: (path) => (/^[a-z0-9]+(-[a-z0-9]+)*\.(ts|js)$/.test(basename(path).replace(/\.(test|config)\.ts$/, '.ts')) ? undefined : path),
  },
  {
    reason: 'a file is named after what it holds, not a drawer',
    offence: (path) =>
      path
        .replace(/\.\w+$/, '')
        .split('/')
        .find((part) => drawer.test(part)),
  },
  {
    reason: `a file stays below ${linesMax} lines`,
    offence: (_, source) => (source.split('\n').length > linesMax ? `${source.split('\n').length} lines` : undefined),
  },
  { reason: 'nothing is left for later', offence: (_, source) => /\b(TODO|FIXME|XXX|HACK)\b/.exec(source)?.[0] },
  {
    reason: 'no path of one machine or one person',
    offence: (_, source) => /(?<![\w.~])\/(home|Users|root|work)\/\w+|[A-Z]:\\\\\w+/.exec(source)?.[0],
  },
  {
    reason: 'no linter or compiler is silenced without a reason after two dashes',
    offence: (_, source) => /^.*(?:oxlint|eslint)-disable(?!.* -- \w).*$|^.*@ts-(?:ignore|nocheck|expect-error).*$/m.exec(source)?.[0],
  },
]

/** Only for `src`: what the linter's rules on clocks leave open. */
const sourceHabits: readonly Habit[] = [
  {
    reason: 'the time comes from the clock port',
    offence: (path, source) =>
      /^src\/(cli|daemon)\//.test(path) ? undefined : /new Date\(\)|process\.hrtime|setImmediate\(/.exec(source)?.[0],
  },
]

/** Every breach of a habit, one line each. */
export function tidyViolations(sources: ReadonlyMap<string, string>): readonly string[] {
  return [...sources].flatMap(([path, source]) =>
    (path.startsWith('src/') ? [...habits, ...sourceHabits] : habits).flatMap((habit) => {
      const offence = habit.offence(path, source)
      return offence === undefined ? [] : [`${path}: ${habit.reason}: ${offence.trim()}`]
    }),
  )
}
