import { describe, expect, test } from 'vitest'
import { importViolations, importsOf, parseImportTable } from './import-rules.ts'
import { readProjectFile, readProjectFiles } from './project-files.ts'

const rules = parseImportTable(readProjectFile('docs/ARCHITECTURE.md'))
const sources = readProjectFiles('src/**/*.ts')

function violationsWith(path: string, source: string): readonly string[] {
  return importViolations(new Map([...sources, [path, source]]), rules).filter((line) => line.startsWith(path))
}

describe('the import table', () => {
  test('has a row for every room and only for rooms', () => {
    const rooms = new Set([...sources.keys()].map((path) => path.split('/')[1]))
    expect(rules.map((rule) => rule.room)).toEqual(expect.arrayContaining([...rooms]))
    expect(rules).toHaveLength(11)
  })

  test('names only rooms that have a row', () => {
    const known = rules.map((rule) => rule.room)
    for (const rule of rules) expect(known).toEqual(expect.arrayContaining([...rule.rooms.keys()]))
  })

  test('allows no circle of rooms', () => {
    const settled = new Set<string>()
    for (let left = [...rules]; left.length > 0;) {
      const ready = left.filter((rule) => [...rule.rooms.keys()].every((room) => settled.has(room)))
      expect(ready, `these rooms import each other: ${left.map((rule) => rule.room).join(', ')}`).not.toHaveLength(0)
      for (const rule of ready) settled.add(rule.room)
      left = left.filter((rule) => !settled.has(rule.room))
    }
  })

  test('is what the sources follow', () => {
    expect(importViolations(sources, rules)).toEqual([])
  })
})

describe('the check of imports finds', () => {
  test.each([
    ['a room that is not allowed', 'src/core/planted.ts', "import { encodeHeader } from '../feed/index.ts'", 'core may not import feed'],
    ['an inner file of another room', 'src/feed/planted.ts', "import type { Clock } from '../core/clock.ts'", 'is not the front of core'],
    ['a re-export', 'src/core/planted.ts', "export * from '../feed/index.ts'", 'core may not import feed'],
    ['a dynamic import', 'src/core/planted.ts', "const feed = await import('../feed/index.ts')", 'core may not import feed'],
    ['a bare import', 'src/core/planted.ts', "import '../feed/index.ts'", 'core may not import feed'],
    ['an import over several lines', 'src/core/planted.ts', "import {\n  a,\n  b,\n} from '../feed/index.ts'", 'core may not import feed'],
    ['a file addressed by URL', 'src/core/planted.ts', "new Worker(new URL('../storage/writer.ts', import.meta.url))", 'is not the front'],
    [
      'a file addressed by a choice',
      'src/core/planted.ts',
      "new URL(isSource ? '../storage/writer.ts' : '../storage/writer.js', x)",
      'is not the front',
    ],
    ['an implementation beside a port', 'src/replica/planted.ts', "import { openSqliteStore } from '../storage/index.ts'", 'only the port'],
    ['a whole front instead of a port', 'src/replica/planted.ts', "import * as storage from '../storage/index.ts'", 'only the port'],
    ['code of a program', 'src/cli/planted.ts', "import { run } from '../daemon/main.ts'", 'is not the front of daemon'],
    ['a package of another room', 'src/replica/planted.ts', "import * as Y from 'yjs'", 'yjs is not a package of replica'],
    ['a package of a scope', 'src/replica/planted.ts', "import type { PeerId } from '@libp2p/interface'", 'is not a package of replica'],
    ['a subpath of a package', 'src/core/planted.ts', "import { encode } from 'lib0/encoding'", 'lib0 is not a package of core'],
    ['the database', 'src/daemon/planted.ts', "import { DatabaseSync } from 'node:sqlite'", 'node:sqlite is not a package of daemon'],
    ['a file outside of src', 'src/core/planted.ts', "import { x } from '../../test/x.ts'", 'lies outside of src'],
    ['a room without a row', 'src/planted/index.ts', '', 'not in the table'],
  ])('%s', (_, path, source, reason) => {
    expect(violationsWith(path, source).join('\n')).toContain(reason)
  })

  test('nothing in imports that are allowed', () => {
    const source = [
      "import { hashOf } from '../core/index.ts'",
      "import type { Store, WriteBatch } from '../storage/index.ts'",
      "import { CommitFailure, textVersionsMax } from '../storage/index.ts'",
      "import { readFileSync } from 'node:fs'",
      "// import { x } from '../daemon/index.ts'",
    ].join('\n')
    expect(violationsWith('src/replica/planted.ts', source)).toEqual([])
    expect(violationsWith('src/cli/planted.ts', "import { connect } from '../api/client.ts'")).toEqual([])
    expect(violationsWith('src/cli/planted.ts', "spawn(new URL('../daemon/main.ts', import.meta.url))")).toEqual([])
  })

  test('every form of import in one source', () => {
    const source = "import a, { b } from 'x'\nimport type { c as d } from './y.ts'\nexport { e } from 'z'\nawait import('w')"
    expect(importsOf(source)).toEqual([
      { names: null, from: 'x', program: false },
      { names: ['c'], from: './y.ts', program: false },
      { names: ['e'], from: 'z', program: false },
      { names: null, from: 'w', program: false },
    ])
  })
})
