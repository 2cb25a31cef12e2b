/**
 * Sends malformed requests to the API of a real daemon: `npm run fuzz:api -- --requests N --seed S [--from I] [--tcp] [--minutes M]`. The
 * daemon is made for the purpose, in a temporary home. Prints the answers by status, and fails on one that breaks the contract, on a fault in
 * the daemon's log, and where the daemon is not well afterwards.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { socketPathOf } from '../src/api/client.ts'
import { fuzzApi } from '../test/contract/api-fuzz.ts'
import type { Place } from '../test/contract/api-fuzz.ts'
import { createGroup, freePort } from '../test/e2e/group.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    tcp: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '600' },
  },
})
const [requests, seed, from] = [values.requests, values.seed, values.from].map(Number) as [number, number, number]
const minutes = Number(values.minutes)
if (![requests, seed, from].every(Number.isSafeInteger) || requests < 1 || from < 0 || !(minutes > 0)) {
  process.stderr.write('usage: npm run fuzz:api -- --requests N --seed S [--from I] [--tcp] [--minutes M]\n')
  process.exit(64)
}

const group = await createGroup()
try {
  const instance = await group.found('fuzzed')
  await instance.stop()
  const port = await freePort()
  await instance.up({ SELFSAME_API_LISTEN: `127.0.0.1:${port}`, SELFSAME_API_HOSTS: 'localhost', SELFSAME_LOG_LEVEL: 'error' })
  const { processId, agent } = instance
  const { token } = await agent.tokens.create({ name: 'fuzz', allow: ['all'] })
  const place: Place = values.tcp ? { host: '127.0.0.1', port } : { path: socketPathOf(instance.home) }

  const began = performance.now()
  const isOver = (): boolean => performance.now() - began > minutes * 60_000
  const { cases, answersByStatus, faults } = await fuzzApi({ place, seed, from, cases: requests, isOver, ...(values.tcp ? { token } : {}) })
  const seconds = (performance.now() - began) / 1_000

  const log = readFileSync(join(instance.home, 'run', 'daemon.log'), 'utf8').split('\n')
  const faultsLogged = log.filter((line) => line.includes('"level":"error"'))
  const status = await agent.status()
  const sound = [
    ...(status.processId === processId ? [] : ['the daemon is another process than before']),
    ...(status.attention.length === 0 ? [] : [`the daemon wants attention: ${JSON.stringify(status.attention)}`]),
    ...faultsLogged.slice(0, 5).map((line) => `the daemon logged: ${line}`),
    ...((await instance.stop()) === 0 ? [] : ['the daemon did not stop in good order']),
  ]
  const byStatus = [...answersByStatus].toSorted(([a], [b]) => a.localeCompare(b)).map(([code, count]) => `${code}: ${count}`)
  process.stdout.write(`${cases} connections in ${seconds.toFixed(0)} s, seed ${seed}; answers by status: ${byStatus.join(', ')}\n`)
  for (const fault of [...faults, ...sound]) process.stdout.write(`${fault}\n`)
  if (faults.length > 0)
    process.stdout.write(`replay one: npm run fuzz:api -- --requests 1 --seed ${seed} --from CASE${values.tcp ? ' --tcp' : ''}\n`)
  process.exitCode = faults.length + sound.length === 0 ? 0 : 1
} finally {
  await group.close()
}
