/**
 * Builds `dist`, `npm run build`: the programs, each with what it uses of its dependencies, and the types of the client. Loading a program's parts from
 * two thousand files took four times as long as loading them from one.
 */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = fileURLToPath(new URL('..', import.meta.url))
/** What is started, or imported, by its own name. */
const programs = ['api/client', 'cli/main', 'daemon/main', 'storage/sqlite-scrubber', 'storage/sqlite-writer']

process.chdir(root)
rmSync('dist', { recursive: true, force: true })
const types = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' })
if (types.status !== 0) process.exit(1)
const bundle = await rolldown({ input: Object.fromEntries(programs.map((name) => [name, `src/${name}.ts`])), platform: 'node' })
// All files are one level deep, as the sources are: what they address stays where it is.
await bundle.write({ dir: 'dist', format: 'esm', entryFileNames: '[name].js', chunkFileNames: 'parts/[name]-[hash].js' })
