/** The launcher on Nodes that are new enough or not, in a project of its own. */
import { spawn } from 'node:child_process'
import { chmodSync, cpSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
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

function writeLongAgo(path: string): void {
  write(path, '')
  utimesSync(join(directory, path), 1, 1)
}

function link(path: string): void {
  symlinkSync('nowhere', join(directory, path))
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
    ['a source was changed', 'src/core/other.ts', () => write('src/core/other.ts', '')],
    ['a source was put there that was last modified long ago', 'src/core/other.ts', () => writeLongAgo('src/core/other.ts')],
    ['a source was removed', 'src/core', () => (write('src/core/more.ts', ''), rmSync(join(directory, 'src/core/more.ts')))],
    [
      'a link was made that leads nowhere',
      'src/core',
      () => (rmSync(join(directory, 'src/core/link'), { force: true }), link('src/core/link')),
    ],
    ['packages were installed', 'node_modules/.package-lock.json', () => write('node_modules/.package-lock.json', '{}')],
    ['nothing was changed', null, () => {}],
  ])('runs the build of a clone, or the sources if, since it began, %s', async (_, where, change) => {
    write('src/cli/main.ts', 'console.log("source")')
    write('src/core/other.ts', '')
    write('node_modules/.package-lock.json', '{}')
    write('dist/cli/main.js', 'console.log("build")')
    expect(await launch([], false).ended).toEqual({ out: 'source\n', err: '', code: 0 })
    write('dist/built', '')
    const beganAt = Date.now() + 5
    utimesSync(join(directory, 'dist/built'), new Date(beganAt), new Date(beganAt))
    do change()
    while (where !== null && lstatSync(join(directory, where)).ctimeMs <= beganAt)
    expect(await launch([], false).ended).toEqual({ out: where === null ? 'build\n' : 'source\n', err: '', code: 0 })
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
