import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { connect, socketPathOf } from '../../../src/api/client.ts'
import type { Agent } from '../../../src/api/client.ts'
import { openServer } from '../../../src/api/index.ts'
import type { Server } from '../../../src/api/index.ts'
import { silentLogger, systemClock } from '../../../src/core/index.ts'
import { scanForSecrets } from '../../../src/daemon/secret-scan.ts'
import { createMemoryAgent, createMemoryTokens } from '../api/memory-agent.ts'

const awsKey = ['AKIA', 'IOSFODNN7EXAMPLE'].join('')
const slackToken = ['xoxb', '-123456789012-abcdef'].join('')
const stillClock = { ...systemClock, monotonic: () => 0 }

let home: string
let server: Server
let agent: Agent

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'selfsame-secrets-'))
  mkdirSync(join(home, 'run'), { mode: 0o700 })
  const port = createMemoryAgent()
  const socketPath = socketPathOf(home)
  server = await openServer({ port, tokens: createMemoryTokens(), socketPath, logger: silentLogger, clock: systemClock, version: '1.2.3' })
  agent = await connect({ home })
})

afterEach(async () => {
  await agent.close()
  await server.close()
  rmSync(home, { recursive: true })
})

test('names the place of each secret, in every kind of document, and shows none', async () => {
  await agent.log('memory').append({ text: 'nothing', data: { steps: [{ password: 'correct-horse9' }, 'fine'] } })
  await agent.log('memory').append({ text: 'nothing', tags: [awsKey] })
  await agent.text('notes').put(`one\ntwo ${awsKey}\nthree`)
  await agent.json('tasks').merge({ deploy: { [slackToken]: 1, hosts: ['a', `x ${awsKey}`] } })
  await agent.register('profile').set('api_key', '8f14e45fceea167a')
  await agent.set('seen').add(slackToken)
  await agent.counter('calls').add(awsKey)
  const found = await scanForSecrets(agent, stillClock)
  expect(found).toMatchObject({ total: 8, read: 6, documents: 6 })
  const places = found.places.map(
    ({ document, kind, position }) => `${document} ${position.replace(/entry \S+ of [^ ,]+/, 'entry')} ${kind}`,
  )
  expect(places.toSorted()).toEqual([
    'counter/calls key 1 AWS access key',
    'json/tasks /deploy/hosts/1 AWS access key',
    'json/tasks /deploy/xoxb... Slack token',
    'log/memory entry AWS access key',
    'log/memory entry, data/steps/0/password password',
    'register/profile /api_key password',
    'set/seen member 1 Slack token',
    'text/notes line 2 AWS access key',
  ])
  const said = JSON.stringify(found)
  for (const secret of [awsKey, slackToken, 'correct-horse9', '8f14e45fceea167a']) expect(said).not.toContain(secret.slice(0, 6))
})

test('stops when the time is over, and tells how far it came', async () => {
  for (const name of ['a', 'b', 'c']) await agent.text(name).put(`key ${awsKey}`)
  let now = 0
  const hurried = { ...systemClock, monotonic: () => (now += 2_000) }
  expect(await scanForSecrets(agent, hurried)).toMatchObject({ documents: 3, read: 1, total: 1 })
})

test('tells the first places and counts all', async () => {
  await agent.text('leaks').put(Array.from({ length: 50 }, () => awsKey).join('\n'))
  const { places, total } = await scanForSecrets(agent, stillClock)
  expect([places.length, total]).toEqual([20, 50])
})
