/** The programs of the project, and which of their two forms to run. Plain JavaScript that any Node from 16 on can read. */
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** @param {string} path in the project */
const fileOf = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

/** What programs are built of: the sources, and the packages as npm last installed them. */
const origins = ['src', 'node_modules/.package-lock.json'].map(fileOf)

/** A file of a build that is whole. It was last modified, so it says, when the build began. */
export const buildMark = 'built'

/**
 * The file of a program such as `cli/main`: what was built of it, which starts several times as fast, unless something that it was built of was changed
 * or put there since. A package has no sources.
 *
 * @param {string} name
 * @returns {string}
 */
export function programOf(name) {
  const [source, built] = [fileOf(`src/${name}.ts`), fileOf(`dist/${name}.js`)]
  return !existsSync(source) || isCurrent(fileOf(`dist/${buildMark}`)) ? built : source
}

/**
 * @param {string} mark
 * @returns {boolean}
 */
function isCurrent(mark) {
  try {
    const beganAt = statSync(mark).mtimeMs
    return origins.filter(existsSync).every((origin) => lastChange(origin) < beganAt)
  } catch {
    // There is no build, or something was moved just now.
    return false
  }
}

/**
 * Milliseconds since the Unix epoch. What was added to a directory or removed from it changes the directory.
 *
 * @param {string} path
 * @returns {number}
 */
function lastChange(path) {
  const facts = lstatSync(path)
  const inside = facts.isDirectory() ? readdirSync(path).map((name) => lastChange(`${path}/${name}`)) : []
  return Math.max(facts.ctimeMs, ...inside)
}
