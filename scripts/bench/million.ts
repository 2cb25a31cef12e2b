/**
 * What a home with a million log entries costs: `node scripts/bench/million.ts [entries]`. A real daemon in a temporary
 * home: appending at 10,000 entries and at the end, the restart until the first answer, and its memory. Each time stands
 * beside the floor of this machine in the same run: a plain SQLite commit of an equal row.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/api/client.ts'
import type { Agent } from '../../src/api/client.ts'

const total = Number(process.argv[2] ?? 1_000_000)
const early = 10_000
const appends = 2_000
const program = fileURLToPath(new URL('../../src/daemon/main.ts', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'selfsame-million-'))
const home = join(directory, 'home')
// As the launcher does: compiled sources are kept from one start to the next.
const cache = fileURLToPath(new URL('../../node_modules/.cache/selfsame', import.meta.url))
const environment = {
  ...process.env,
  NODE_COMPILE_CACHE: cache,
  SELFSAME_NETWORK_LISTEN: 'loopback',
  SELFSAME_NETWORK_MDNS: 'false',
  SELFSAME_LOG_LEVEL: 'error',
}

async function run(...args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [program, ...args, '--home', home], { stdio: ['ignore', 'pipe', 'inherit'], env: environment })
  await once(createInterface({ input: child.stdout }), 'line')
  return child
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM')
  await once(child, 'exit')
}

function quantiles(times: readonly number[]): { readonly p50: number; readonly p99: number } {
  const sorted = times.toSorted((a, b) => a - b)
  return { p50: sorted[Math.floor(sorted.length * 0.5)] as number, p99: sorted[Math.floor(sorted.length * 0.99)] as number }
}

/** Milliseconds of single appends, one after the other. */
async function timeAppends(agent: Agent): Promise<{ readonly p50: number; readonly p99: number }> {
  const times: number[] = []
  for (let index = 0; index < appends; index += 1) {
    const began = performance.now()
    await agent.log('memory').append({ text: `a single thought, number ${index}, of about the length that thoughts have` })
    times.push(performance.now() - began)
  }
  return quantiles(times)
}

/** Milliseconds of a plain commit on this disk. */
function timeFloor(): { readonly p50: number; readonly p99: number } {
  const database = new DatabaseSync(join(directory, 'floor.sqlite'))
  database.exec(
    'pragma journal_mode = wal; pragma synchronous = full; create table if not exists rows (id integer primary key, bytes blob)',
  )
  const insert = database.prepare('insert into rows (bytes) values (?)')
  const bytes = new Uint8Array(600)
  const times: number[] = []
  for (let index = 0; index < appends; index += 1) {
    const began = performance.now()
    insert.run(bytes)
    times.push(performance.now() - began)
  }
  database.close()
  return quantiles(times)
}

async function load(agent: Agent, from: number, to: number): Promise<void> {
  function* entries(): Generator<{ text: string; tags: string[] }> {
    for (let index = from; index < to; index += 1) {
      yield {
        text: `day ${index % 365}: we talked about the garden, the weather and what to cook; she thinks that it will rain (${index})`,
        tags: [`t${index % 10}`],
      }
    }
  }
  await agent.log('memory').import(entries())
}

function residentMegabytes(child: ChildProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024)
}

const show = (milliseconds: number): string => `${milliseconds.toFixed(milliseconds < 10 ? 2 : 0)} ms`

try {
  const init = spawn(process.execPath, [program, 'init', '--agent', 'bench', '--name', 'bench', '--home', home], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: environment,
  })
  await once(init, 'exit')
  let daemon = await run('run')
  let agent = await connect({ home })
  await load(agent, 0, early)
  await timeAppends(agent)
  const floorEarly = timeFloor()
  const atEarly = await timeAppends(agent)

  const began = performance.now()
  await load(agent, early, total)
  const loadSeconds = (performance.now() - began) / 1_000
  const loaded = residentMegabytes(daemon)
  await timeAppends(agent)
  const floorLate = timeFloor()
  const atLate = await timeAppends(agent)
  await agent.close()
  await stop(daemon)
  const databaseMegabytes = Math.round(statSync(join(home, 'memory.sqlite')).size / 2 ** 20)

  const restarted = performance.now()
  daemon = await run('run')
  agent = await connect({ home })
  const page = await agent.log('memory').page({ order: 'newest', limit: 10 })
  const firstAnswer = performance.now() - restarted
  if (page.entries.length !== 10) throw new Error('the first read did not give ten entries')
  const idle = residentMegabytes(daemon)
  let seen = 0
  for await (const _ of agent.log('memory').read()) if (++seen === 20_000) break
  const afterReading = residentMegabytes(daemon)
  await agent.close()
  await stop(daemon)

  process.stdout.write(
    [
      `| what | figure | floor | ratio |`,
      `|---|---|---|---|`,
      `| single append at ${early} entries, p50 / p99 | ${show(atEarly.p50)} / ${show(atEarly.p99)} | ${show(floorEarly.p50)} | ${(atEarly.p50 / floorEarly.p50).toFixed(1)} |`,
      `| single append at ${total} entries, p50 / p99 | ${show(atLate.p50)} / ${show(atLate.p99)} | ${show(floorLate.p50)} | ${(atLate.p50 / floorLate.p50).toFixed(1)} |`,
      `| the one against the other | ${(atLate.p50 / atEarly.p50).toFixed(2)} times | | |`,
      `| import | ${Math.round((total - early) / loadSeconds)} entries a second | | |`,
      `| from the start of the process to the first answer | ${show(firstAnswer)} | | |`,
      `| memory after the import / after a restart / after reading 20,000 | ${loaded} / ${idle} / ${afterReading} MiB | | |`,
      `| database | ${databaseMegabytes} MiB | | |`,
      '',
    ].join('\n'),
  )
} finally {
  rmSync(directory, { recursive: true, force: true })
}
