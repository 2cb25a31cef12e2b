/**
 * Builds `dist`, `npm run build`: the programs, each with what it uses of its dependencies, and the types of the client. Loading a program's parts from
 * two thousand files took four times as long as loading them from thirty. What is there is replaced when the new build is whole.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'
import { buildMark } from './programs.js'

/** What is started, or imported, by its own name. */
const programs = ['api/client', 'cli/main', 'daemon/main', 'storage/sqlite-scrubber', 'storage/sqlite-writer']

const beganAt = new Date()
process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const directory = mkdtempSync('dist-')
try {
  const [next, last] = [join(directory, 'next'), join(directory, 'last')]
  const types = spawnSync('tsc', ['-p', 'tsconfig.build.json', '--outDir', next], { stdio: 'inherit' })
  if (types.status !== 0) throw new Error('the types do not hold')
  const bundle = await rolldown({ input: Object.fromEntries(programs.map((name) => [name, `src/${name}.ts`])), platform: 'node' })
  // All files are one level deep, as the sources are: what they address stays where it is.
  await bundle.write({ dir: next, format: 'esm', entryFileNames: '[name].js', chunkFileNames: 'parts/[name]-[hash].js' })
  writeFileSync(join(next, buildMark), '')
  utimesSync(join(next, buildMark), beganAt, beganAt)
  if (existsSync('dist')) renameSync('dist', last)
  renameSync(next, 'dist')
} finally {
  rmSync(directory, { recursive: true, force: true })
}
