import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { projectRoot, readProjectFile, readProjectFiles } from './project-files.ts'
import { tidyViolations } from './tidy-rules.ts'

const manifest = JSON.parse(readProjectFile('package.json')) as {
  readonly dependencies: Record<string, string>
  readonly devDependencies: Record<string, string>
}

describe('the sources', () => {
  test('keep to the habits of the project', () => {
    expect(tidyViolations(readProjectFiles('src/**/*.ts'))).toEqual([])
  })

  test('include every file below src', () => {
    expect([...readProjectFiles('src/**/*.*').keys()].filter((path) => !path.endsWith('.ts'))).toEqual([])
  })
})

describe('the check of habits finds', () => {
  const head = '/** Owns nothing. */\n'
  test.each([
    ['no comment at the head', 'src/core/planted.ts', 'export const a = 1\n', 'what it owns'],
    ['camel case', 'src/core/plantedFile.ts', head, 'kebab-case'],
    ['a drawer', 'src/core/string-utils.ts', head, 'drawer'],
    ['a drawer of a room', 'src/common/index.ts', head, 'drawer'],
    ['a long file', 'src/core/planted.ts', head + '\n'.repeat(600), 'lines'],
    ['something left for later', 'src/core/planted.ts', `${head}// TODO: later`, 'later'],
    ['a path of one machine', 'src/core/planted.ts', `${head}const a = '/home/ada/x'`, 'one machine'],
    ['a silenced linter', 'src/core/planted.ts', `${head}// oxlint-disable-next-line no-console`, 'silenced'],
    ['a silenced compiler', 'src/core/planted.ts', `${head}// @ts-ignore`, 'silenced'],
    ['a clock', 'src/replica/planted.ts', `${head}const a = new Date()`, 'clock port'],
  ])('%s', (_, path, source, reason) => {
    expect(tidyViolations(new Map([[path, source]])).join('\n')).toContain(reason)
  })

  test('nothing in a tidy file', () => {
    expect(tidyViolations(new Map([['src/core/planted-well.ts', `${head}export const a = new Date(0)\n`]]))).toEqual([])
  })
})

test('the documents link to what is there', () => {
  const documents = readProjectFiles('*.md', 'docs/*.md')
  const headings = (path: string): readonly string[] =>
    [...(documents.get(path) ?? '').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\s-]/g, '')
        .replaceAll(' ', '-'),
    )
  const broken = [...documents].flatMap(([path, text]) =>
    [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)]
      .map(([, file = '', anchor]) => ({ target: file === '' ? path : join(dirname(path), file), anchor }))
      .filter(
        ({ target, anchor }) => !existsSync(join(projectRoot, target)) || (anchor !== undefined && !headings(target).includes(anchor)),
      )
      .map(({ target, anchor }) => `${path}: ${target}${anchor === undefined ? '' : `#${anchor}`}`),
  )
  expect(broken).toEqual([])
})

describe('the manifest', () => {
  test('lists exactly the packages that the architecture justifies', () => {
    const section = readProjectFile('docs/ARCHITECTURE.md').split('## Dependencies')[1] ?? ''
    const justified = [...section.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, names = '']) => names.split(',').map((name) => name.trim()))
    const used = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })
    expect(justified.filter((name) => name !== 'package' && name !== '---').toSorted()).toEqual(used.toSorted())
  })

  test('is locked without an address of one machine', () => {
    const lock = JSON.parse(readProjectFile('package-lock.json')) as { packages: Record<string, { resolved?: string }> }
    const addresses = Object.values(lock.packages).flatMap((entry) => entry.resolved ?? [])
    expect(addresses.filter((address) => !address.startsWith('https://registry.npmjs.org/'))).toEqual([])
    expect(Object.keys(lock.packages).length).toBeGreaterThan(100)
  })
})

test('tests run under the Node that the project asks for', () => {
  expect(Number(process.versions.node.split('.')[0])).toBeGreaterThanOrEqual(24)
})
