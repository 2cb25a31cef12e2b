#!/usr/bin/env node
/**
 * The `selfsame` command. Plain JavaScript that any Node from 16 on can read: it finds a Node that is new enough, its
 * own process or the project's development dependency, and there runs the sources of a clone or the build of a package.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { constants } from 'node:os'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { programOf } from './programs.js'

const majorMin = 24
// sysexits.h: a service that is needed is not there.
const exitUnavailable = 69
const majorOf = (version) => Number(/\d+/.exec(version)?.[0] ?? 0)
const fileOf = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

// Compiling is most of what a short command does. The cache lies beside the code, so that whoever can change one can change the
// other and nobody else; a daemon that is started from here finds it too. Where it cannot be written there is none.
process.env.NODE_COMPILE_CACHE ??= fileOf('node_modules/.cache/selfsame')

if (majorOf(process.versions.node) >= majorMin) {
  module.enableCompileCache()
  await import(pathToFileURL(programOf('cli/main')).href)
} else {
  runUnderOwnNode(fileOf('node_modules/.bin/node'))
}

function runUnderOwnNode(node) {
  const version = existsSync(node) ? spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout : ''
  if (majorOf(version ?? '') < majorMin) {
    process.stderr.write(
      `selfsame needs Node.js ${majorMin} or newer; this is ${process.versions.node}.\n` +
        `Install it from https://nodejs.org or with a version manager; in a clone of the project, 'npm install' fetches one for it.\n`,
    )
    process.exitCode = exitUnavailable
    return
  }
  const child = spawn(node, [fileOf('scripts/selfsame.js'), ...process.argv.slice(2)], { stdio: 'inherit' })
  // A terminal interrupts both processes by itself; whoever stops this one by its id means the other too.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal]
  })
}
