import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openLogs } from '../../../src/daemon/logging.ts'

let directory: string
let path: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'selfsame-log-'))
  path = join(directory, 'daemon.log')
})

afterEach(() => rmSync(directory, { recursive: true }))

function lines(): readonly Record<string, unknown>[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('a line says when, how grave, which room and what, and is on disk at once', () => {
  const logs = openLogs({ kind: 'file', path }, { level: 'info', rooms: {} })
  logs.logger('network').info({ peer: 'ada', links: 2 }, 'connected')
  expect(lines()).toEqual([
    { level: 'info', time: expect.stringMatching(/^\d{4}-.*Z$/), room: 'network', peer: 'ada', links: 2, msg: 'connected' },
  ])
  expect(statSync(path).mode & 0o077).toBe(0)
  logs.close()
})

test('each room has its own level, and the general one where none is given', () => {
  const logs = openLogs({ kind: 'file', path }, { level: 'warn', rooms: { network: 'debug', api: 'silent' } })
  for (const room of ['network', 'api', 'storage'] as const) {
    for (const level of ['debug', 'info', 'warn', 'error'] as const) logs.logger(room)[level]({}, 'x')
  }
  const seen = lines().map((line) => `${String(line['room'])} ${String(line['level'])}`)
  expect(seen).toEqual(['network debug', 'network info', 'network warn', 'network error', 'storage warn', 'storage error'])
  logs.close()
})

test('nothing that is named like a secret is written', () => {
  const logs = openLogs({ kind: 'file', path }, { level: 'debug', rooms: {} })
  for (const name of ['seed', 'deviceSeed', 'rootSeed', 'secret', 'ticket', 'token']) {
    logs.logger('daemon').info({ [name]: 'hush', a: { [name]: 'hush', b: { [name]: 'hush', c: 1 } } }, 'x')
  }
  expect(lines()).toHaveLength(6)
  expect(readFileSync(path, 'utf8')).not.toContain('hush')
  logs.close()
})

test('an error is written with its cause', () => {
  const logs = openLogs({ kind: 'file', path }, { level: 'debug', rooms: {} })
  logs.logger('daemon').error({ error: new Error('outer', { cause: new Error('inner') }) }, 'x')
  expect(readFileSync(path, 'utf8')).toMatch(/outer.*inner/)
  logs.close()
})

test('the file stays bounded: the last two are kept', () => {
  const logs = openLogs({ kind: 'file', path, bytesMax: 1_000 }, { level: 'debug', rooms: {} })
  for (let count = 0; count < 200; count += 1) logs.logger('daemon').info({ count }, 'x')
  logs.close()
  expect(statSync(path).size).toBeLessThan(1_200)
  expect(statSync(`${path}.1`).size).toBeLessThan(1_200)
  expect(existsSync(`${path}.2`)).toBe(false)
  expect(readFileSync(path, 'utf8')).toContain('"count":199')
})

test('a closed log writes nothing more', () => {
  const logs = openLogs({ kind: 'file', path }, { level: 'debug', rooms: {} })
  logs.close()
  logs.logger('daemon').info({}, 'x')
  expect(lines()).toEqual([])
})
