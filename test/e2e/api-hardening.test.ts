/** A second user of the machine gets nothing of a home: not its socket, not its files; over TCP only what a token allows. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, socketPathOf } from '../../src/api/client.ts'
import { createGroup, freePort } from './group.ts'
import type { Group, Instance } from './group.ts'

/** Only root can become somebody else. */
const isRoot = process.getuid?.() === 0
/** `nobody` on most systems: a user that owns nothing. */
const stranger = 65_534

let group: Group
let laptop: Instance
let port: number

beforeAll(async () => {
  group = await createGroup()
  // What keeps others out has to be the home itself, not the directory that the test put it in.
  chmodSync(group.directory, 0o755)
  laptop = await group.found('laptop')
  await laptop.stop()
  port = await freePort()
  await laptop.up({ SELFSAME_API_LISTEN: `127.0.0.1:${port}` })
  await laptop.agent.log('memory').append({ text: 'Met Ada' })
  await laptop.agent.tokens.create({ name: 'other', allow: ['text/*:read'] })
})

afterAll(() => group.close())

/** What came of each attempt, by its name: `done`, an error code, or the status of an answer. */
type Outcomes = Readonly<Record<string, string | number>>

/** Runs as a process of its own, as whoever it is told to be, and knows nothing but Node. */
const attempts = `
  const { open, readdir } = require('node:fs/promises')
  const { request } = require('node:http')
  const { join } = require('node:path')
  const { home, socketPath, port, token } = JSON.parse(process.argv[1])
  const ask = (place, headers = {}) => new Promise((resolve) => {
    request({ ...place, path: '/v1/documents', headers }, (answer) => resolve(answer.resume().statusCode))
      .on('error', (error) => resolve(error.code)).end()
  })
  const codeOf = (promise) => promise.then(() => 'done', (error) => error.code)
  const opened = (path, flags) => codeOf(open(path, flags).then((file) => file.close()))
  const tcp = { host: '127.0.0.1', port }
  const outcomes = async () => ({
    'list the home': await codeOf(readdir(home)),
    'list what runs': await codeOf(readdir(join(home, 'run'))),
    'read identity.json': await opened(join(home, 'identity.json'), 'r'),
    'read memory.sqlite': await opened(join(home, 'memory.sqlite'), 'r'),
    'read tokens.json': await opened(join(home, 'tokens.json'), 'r'),
    'write config.toml': await opened(join(home, 'config.toml'), 'r+'),
    'make a file in the home': await opened(join(home, 'planted'), 'a'),
    'ask over the socket': await ask({ socketPath }),
    'ask over TCP': await ask(tcp),
    'ask over TCP with a wrong token': await ask(tcp, { authorization: 'Bearer selfsame-token-' + 'A'.repeat(43) }),
    'ask over TCP with a token': await ask(tcp, { authorization: 'Bearer ' + token }),
  })
  outcomes().then((found) => process.stdout.write(JSON.stringify(found)))
`

async function tryAs(user: { readonly uid: number; readonly gid: number } | undefined, token: string): Promise<Outcomes> {
  const { home } = laptop
  const facts = JSON.stringify({ home, socketPath: socketPathOf(home), port, token })
  const child = spawn(process.execPath, ['--eval', attempts, facts], { ...user, cwd: '/', env: {}, stdio: ['ignore', 'pipe', 'inherit'] })
  const [outcomes] = await Promise.all([json(child.stdout) as Promise<Outcomes>, once(child, 'exit')])
  return outcomes
}

test.skipIf(!isRoot)('another user gets nothing, and the owner all of it (only root can try as another user)', async () => {
  const { token } = await laptop.agent.tokens.create({ name: 'shared', allow: ['log/memory:read'] })
  const files = [
    'list the home',
    'list what runs',
    'read identity.json',
    'read memory.sqlite',
    'read tokens.json',
    'write config.toml',
    'make a file in the home',
  ]
  const overTcp = { 'ask over TCP': 401, 'ask over TCP with a wrong token': 401, 'ask over TCP with a token': 200 }
  const outcomesOf = (files_: string, socket: string | number): Outcomes => ({
    ...Object.fromEntries(files.map((attempt) => [attempt, files_])),
    'ask over the socket': socket,
    ...overTcp,
  })
  expect(await tryAs({ uid: stranger, gid: stranger }, token)).toEqual(outcomesOf('EACCES', 'EACCES'))
  // So that the attempts are known to be such as would succeed.
  expect(await tryAs(undefined, token)).toEqual(outcomesOf('done', 200))
})

test('the home, what is in it and the socket are for their user only', async () => {
  await laptop.agent.tokens.create({ name: 'mode', allow: ['all'] })
  const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)
  const socketPath = socketPathOf(laptop.home)
  expect([modeOf(laptop.home), modeOf(dirname(socketPath)), modeOf(socketPath)]).toEqual(['700', '700', '600'])
  for (const file of ['identity.json', 'config.toml', 'memory.sqlite', 'lock.sqlite', 'tokens.json'])
    expect([file, modeOf(`${laptop.home}/${file}`)]).toEqual([file, '600'])
})

test('a token made on the command line works there and over TCP, outlives a restart, and ends when it is revoked', async () => {
  const made = await laptop.selfsame('token', 'create', 'scout', '--allow', 'log/memory:append,read', '--expires', '1h')
  expect([made.code, made.err]).toEqual([0, expect.stringContaining('selfsame token revoke scout')])
  const environment = { SELFSAME_TOKEN: made.out.trim() }
  const asScout = (...args: string[]) => group.selfsame([...args, '--home', laptop.home], { environment })

  expect(await asScout('log', 'append', 'memory', 'by scout')).toMatchObject({ code: 0 })
  expect((await asScout('log', 'read', 'memory')).out).toContain('by scout')
  expect(await asScout('members')).toMatchObject({ code: 77, out: '', err: expect.stringContaining("'scout'") as string })

  await laptop.stop()
  await laptop.up({ SELFSAME_API_LISTEN: `127.0.0.1:${port}` })
  const client = await connect({ url: `http://127.0.0.1:${port}`, token: environment.SELFSAME_TOKEN })
  await client.log('memory').append({ text: 'over TCP' })
  await expect(client.text('SOUL.md').get()).rejects.toMatchObject({ code: 'forbidden' })

  const listed = await laptop.selfsame('token', 'list')
  expect(listed.out).toMatch(/^scout +log\/memory:append,read +since .* until /m)
  expect(listed.out).not.toContain('selfsame-token-')
  expect((await laptop.selfsame('token', 'revoke', 'scout')).out).toBe('scout is revoked\n')
  await expect(client.log('memory').append({ text: 'too late' })).rejects.toMatchObject({ code: 'unauthorized' })
  expect(await asScout('log', 'read', 'memory')).toMatchObject({ code: 77, out: '' })
  await client.close()
})
