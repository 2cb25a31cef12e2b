/** The programs of the project, and which of their two forms to run. Plain JavaScript that any Node from 16 on can read. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** @param {string} path in the project */
const fileOf = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

/**
 * The file of a program such as `cli/main`: what was built of it, which starts several times as fast, unless something in the sources is newer.
 * A package has no sources.
 *
 * @param {string} name
 * @returns {string}
 */
export function programOf(name) {
  const [source, built] = [fileOf(`src/${name}.ts`), fileOf(`dist/${name}.js`)]
  if (!existsSync(source)) return built
  return existsSync(built) && lastChange(fileOf('src')) < statSync(built).mtimeMs ? built : source
}

/**
 * Milliseconds since the Unix epoch. What was added to a directory or removed from it changes the directory.
 *
 * @param {string} directory
 * @returns {number}
 */
function lastChange(directory) {
  const changes = readdirSync(directory, { withFileTypes: true }).map((entry) => {
    const path = `${directory}/${entry.name}`
    return entry.isDirectory() ? lastChange(path) : statSync(path).mtimeMs
  })
  return Math.max(statSync(directory).mtimeMs, ...changes)
}
