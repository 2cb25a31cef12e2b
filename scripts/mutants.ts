/**
 * Plants deliberate faults, one at a time, into a copy of the sources and runs the simulator on it: every fault must be
 * caught. `npm run mutants`. A fault that survives means that the simulator is blind to it.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Mutant {
  readonly name: string
  readonly file: string
  readonly find: string
  readonly replace: string
}

const mutants: readonly Mutant[] = [
  {
    name: 'acknowledge before the commit',
    file: 'src/replica/engine.ts',
    find: "    this.#state = 'committing'\n",
    replace: "    this.#state = 'committing'\n    for (const settle of batch.settle) settle()\n",
  },
  {
    name: 'apply before the deps',
    file: 'src/replica/engine.ts',
    find: '    for (const dep of header.deps) if (this.ledger.find(dep)?.applied !== true) return dep\n',
    replace: '    for (const dep of header.deps) if (this.ledger.find(dep) === undefined) return dep\n',
  },
  {
    name: 'a counter that reuses its feed after a rollback',
    file: 'src/replica/writer.ts',
    find: 'nonce: random.bytes(16) }\n      const feed = feedIdOf(identity.agent, opening)\n      const client = clientIdOf(feed)\n      if (ledger.feedOfClient(client) !== undefined) continue\n',
    replace:
      'nonce: new Uint8Array(16) }\n      const feed = feedIdOf(identity.agent, opening)\n      const client = clientIdOf(feed)\n      if (ledger.feed(feed) !== undefined) return { feed, client, opening: null, previous: null, segments: new Map() }\n',
  },
  {
    name: 'tell peers what is not durable',
    file: 'src/replica/engine.ts',
    find: "    this.#state = 'committing'\n",
    replace: "    this.#state = 'committing'\n    this.#tell({ ...batch, settle: [], done: [] }, changed)\n",
  },
  {
    name: 'forget operation ids',
    file: 'src/replica/materialiser.ts',
    find: '    this.#ledger.rows.operations.push(row)\n',
    replace: '',
  },
  {
    name: 'hide nothing that two copies of a home both did',
    file: 'src/replica/materialiser.ts',
    find: '      if (entry === null || known.entry === null || known.entry <= entry) return false\n      this.#hideEntry(known)\n',
    replace: '      return true\n',
  },
]

const root = fileURLToPath(new URL('..', import.meta.url))
const seeds = process.argv[2] ?? '60'
let survived = 0
for (const mutant of mutants) {
  const copy = mkdtempSync(join(tmpdir(), 'selfsame-mutant-'))
  try {
    for (const part of ['src', 'test', 'scripts', 'package.json']) cpSync(join(root, part), join(copy, part), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
    const path = join(copy, mutant.file)
    const source = readFileSync(path, 'utf8')
    if (source.split(mutant.find).length !== 2)
      throw new Error(`${mutant.name}: the place to change stands not exactly once in ${mutant.file}`)
    writeFileSync(
      path,
      source.replace(mutant.find, () => mutant.replace),
    )
    const run = spawnSync(process.execPath, ['scripts/sim.ts', '--seeds', seeds, '--until-failure'], { cwd: copy, encoding: 'utf8' })
    const caught = run.stdout.split('\n').find((line) => line.includes(' failed: '))
    if (caught === undefined && run.status === 0) survived += 1
    process.stdout.write(
      `${caught === undefined && run.status === 0 ? 'SURVIVED' : 'caught  '}  ${mutant.name}\n            ${(caught ?? run.stderr.split('\n').find((line) => line !== '') ?? '').slice(0, 200)}\n`,
    )
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}
process.stdout.write(`${mutants.length - survived} passed, ${survived} failed\n`)
process.exitCode = survived === 0 ? 0 : 1
