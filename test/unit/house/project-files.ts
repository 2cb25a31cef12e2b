/** The project's own files, for tests that read them. */
import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const projectRoot = fileURLToPath(new URL('../../../', import.meta.url))

export function readProjectFile(path: string): string {
  return readFileSync(`${projectRoot}${path}`, 'utf8')
}

/** Texts by path relative to the root, for all files that match. */
export function readProjectFiles(...patterns: readonly string[]): ReadonlyMap<string, string> {
  const paths = globSync(patterns, { cwd: projectRoot, exclude: ['node_modules/**', 'dist/**'] }).toSorted()
  return new Map(paths.map((path) => [path.replaceAll('\\', '/'), readProjectFile(path)]))
}
