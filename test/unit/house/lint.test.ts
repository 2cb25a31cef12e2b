/** Every rule of the linter that guards a decision of this project catches what it is meant to catch. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { projectRoot } from './project-files.ts'

interface Diagnostic {
  readonly code: string
  readonly filename: string
}

const planted = [
  ['no-console', 'src/feed/console.ts', "console.log('x')"],
  ['no-process-env', 'src/feed/environment.ts', 'export const a = process.env.HOME'],
  ['no-restricted-properties', 'src/feed/date-now.ts', 'export const a = Date.now()'],
  ['no-restricted-properties', 'src/feed/performance-now.ts', 'export const a = performance.now()'],
  ['no-restricted-properties', 'src/feed/math-random.ts', 'export const a = Math.random()'],
  ['no-restricted-globals', 'src/feed/set-timeout.ts', 'setTimeout(() => {}, 1)'],
  ['no-restricted-globals', 'src/feed/set-interval.ts', 'setInterval(() => {}, 1)'],
  ['no-restricted-imports', 'src/feed/timers.ts', "import { setTimeout as wait } from 'node:timers/promises'\nawait wait(1)"],
  ['no-restricted-imports', 'src/feed/random.ts', "import { randomBytes } from 'node:crypto'\nexport const a = randomBytes(1)"],
  ['no-floating-promises', 'src/feed/floating.ts', 'async function f(): Promise<void> {}\nf()'],
  ['no-misused-promises', 'src/feed/misused.ts', 'export async function f(): Promise<boolean> { return true }\nif (f()) throw new Error()'],
  ['no-explicit-any', 'src/feed/explicit-any.ts', 'export const a: any = 1'],
  ['no-unsafe-assignment', 'src/feed/unsafe.ts', "export const a: string = JSON.parse('1')"],
  ['ban-ts-comment', 'src/feed/ts-comment.ts', `// @ts-ignore\nexport const a = 1`],
  ['only-throw-error', 'src/feed/throw.ts', "export function f(): never { throw 'x' }"],
  ['switch-exhaustiveness-check', 'src/feed/switch.ts', "export function f(a: 'x' | 'y'): void { switch (a) { case 'x': break } }"],
  ['no-unused-vars', 'src/feed/unused.ts', 'const a = 1'],
  ['consistent-type-imports', 'src/feed/type-import.ts', "import { Stats } from 'node:fs'\nexport type A = Stats"],
  ['no-default-export', 'src/feed/default.ts', 'export default 1'],
  ['no-cycle', 'src/feed/cycle-a.ts', "import { b } from './cycle-b.ts'\nexport const a = (): unknown => b"],
  ['no-warning-comments', 'src/feed/later.ts', `// TODO later\nexport const a = 1`],
  ['no-focused-tests', 'test/unit/focused.test.ts', "import { expect, test } from 'vitest'\ntest.only('x', () => { expect(1).toBe(1) })"],
  ['no-disabled-tests', 'test/unit/skipped.test.ts', "import { expect, test } from 'vitest'\ntest.skip('x', () => { expect(1).toBe(1) })"],
  ['expect-expect', 'test/unit/empty.test.ts', "import { test } from 'vitest'\ntest('x', () => {})"],
] as const

const clean: readonly (readonly [string, string])[] = [
  ['src/core/clock.ts', 'export const now = (): number => Date.now()\nexport const wait = (f: () => void): unknown => setTimeout(f, 1)'],
  ['src/core/random.ts', "import { randomBytes } from 'node:crypto'\nexport const a = randomBytes(1)"],
  ['src/api/home-path.ts', 'export const a = process.env.HOME'],
  ['src/cli/main.ts', 'console.log(process.env.HOME, Date.now())'],
  ['src/daemon/main.ts', 'console.log(process.env.HOME, Date.now())'],
]

describe('the linter', () => {
  let directory: string
  let diagnostics: readonly Diagnostic[]

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'selfsame-lint-'))
    for (const name of ['.oxlintrc.json', 'tsconfig.json', 'package.json']) cpSync(join(projectRoot, name), join(directory, name))
    symlinkSync(join(projectRoot, 'node_modules'), join(directory, 'node_modules'))
    const files = [...planted.map(([, path, source]) => [path, source] as const), ...clean]
    files.push(['src/feed/cycle-b.ts', "import { a } from './cycle-a.ts'\nexport const b = (): unknown => a"])
    for (const [path, source] of files) {
      mkdirSync(join(directory, dirname(path)), { recursive: true })
      writeFileSync(join(directory, path), `${source}\n`)
    }
    diagnostics = await lint(directory)
  })

  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  test.each(planted)('has %s report %s', (rule, path) => {
    expect(rulesReported(path)).toContain(rule)
  })

  test.each(clean)('lets %s use what it owns', (path) => {
    expect(rulesReported(path)).toEqual([])
  })

  function rulesReported(path: string): readonly string[] {
    return diagnostics.filter((item) => item.filename === path).map((item) => item.code.replace(/^.*\((.*)\)$/, '$1'))
  }
})

async function lint(directory: string): Promise<readonly Diagnostic[]> {
  const output = await new Promise<string>((resolve, reject) => {
    const program = join(projectRoot, 'node_modules/oxlint/bin/oxlint')
    execFile(process.execPath, [program, '--format', 'json', 'src', 'test'], { cwd: directory, maxBuffer: 1 << 26 }, (error, stdout) => {
      if (stdout === '') reject(error ?? new Error('the linter said nothing'))
      else resolve(stdout)
    })
  })
  return (JSON.parse(output) as { diagnostics: readonly Diagnostic[] }).diagnostics
}
