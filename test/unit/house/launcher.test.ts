/** The launcher on Nodes that are new enough or not, in a project of its own. */
import { spawn } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { projectRoot } from './project-files.ts'

/** Makes the process that loads it first believe that it is an old Node. */
const asNode20 = `data:text/javascript,Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })`

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-launcher-'))
  mkdirSync(join(directory, 'scripts'))
  for (const file of ['scripts/selfsame.js', 'scripts/programs.js']) cpSync(join(projectRoot, file), join(directory, file))
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
})

afterEach(() => rmSync(directory, { recursive: true }))

function write(path: string, source: string): void {
  mkdirSync(join(directory, path, '..'), { recursive: true })
  writeFileSync(join(directory, path), source)
  chmodSync(join(directory, path), 0o755)
}

function launch(args: readonly string[], old: boolean) {
  const options = old ? ['--import', asNode20] : []
  const child = spawn(process.execPath, [...options, join(directory, 'scripts/selfsame.js'), ...args])
  const ended = Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.on('exit', (code) => resolve(code))),
  ]).then(([out, err, code]) => ({ out, err, code }))
  return { child, ended }
}

describe('the launcher', () => {
  test('runs the sources of a clone that was not built', async () => {
    write('src/cli/main.ts', 'console.log("source", ...(process.argv.slice(2) as string[]))')
    expect(await launch(['a', 'b c'], false).ended).toEqual({ out: 'source a b c\n', err: '', code: 0 })
  })

  test.each([
    ['a source that was changed', 'src/core/other.ts', 'source'],
    ['a source that was removed', 'src/core', 'source'],
    ['packages that were installed', 'node_modules/.package-lock.json', 'source'],
    ['nothing', null, 'build'],
  ])('runs the build of a clone, but the sources after %s', async (_, newer, what) => {
    write('src/cli/main.ts', 'console.log("source")')
    write('src/core/other.ts', '')
    write('node_modules/.package-lock.json', '{}')
    write('dist/cli/main.js', 'console.log("build")')
    const builtAt = statSync(join(directory, 'dist/cli/main.js')).mtimeMs / 1_000
    for (const path of ['src', 'src/cli', 'src/cli/main.ts', 'src/core', 'src/core/other.ts', 'node_modules/.package-lock.json']) {
      const changedAt = builtAt + (path === newer ? 10 : -10)
      utimesSync(join(directory, path), changedAt, changedAt)
    }
    expect(await launch([], false).ended).toEqual({ out: `${what}\n`, err: '', code: 0 })
  })

  test('runs the build of a package', async () => {
    write('dist/cli/main.js', 'console.log("build"); process.exitCode = 64')
    expect(await launch([], false).ended).toEqual({ out: 'build\n', err: '', code: 64 })
  })

  test('on an old Node runs itself with the one of the project, and ends as that ends', async () => {
    write('src/cli/main.ts', 'console.log(process.argv.slice(2)); process.exitCode = 66')
    write('node_modules/.bin/node', `#!/bin/sh\nexec '${process.execPath}' "$@"\n`)
    expect(await launch(['x y'], true).ended).toEqual({ out: "[ 'x y' ]\n", err: '', code: 66 })
  })

  test('passes on that it shall stop', async () => {
    write(
      'src/cli/main.ts',
      'process.on("SIGTERM", () => { console.log("stopped"); process.exit(3) }); setInterval(() => {}, 1000); console.log("up")',
    )
    write('node_modules/.bin/node', `#!/bin/sh\nexec '${process.execPath}' "$@"\n`)
    const { child, ended } = launch([], true)
    child.stdout.once('data', () => child.kill('SIGTERM'))
    expect(await ended).toEqual({ out: 'up\nstopped\n', err: '', code: 3 })
  })

  test.each(['', '#!/bin/sh\necho v18.0.0\n'])('says what to install where there is none that is new enough', async (node) => {
    if (node !== '') write('node_modules/.bin/node', node)
    const { out, err, code } = await launch(['status'], true).ended
    expect([out, code]).toEqual(['', 69])
    expect(err).toBe(
      'selfsame needs Node.js 24 or newer; this is 20.20.2.\n' +
        "Install it from https://nodejs.org or with a version manager; in a clone of the project, 'npm install' fetches one for it.\n",
    )
  })
})
