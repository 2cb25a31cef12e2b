import { request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ImportProgress } from '../../src/api/index.ts'
import { SelfsameError } from '../../src/core/index.ts'
import { openFixture, problemIn, turns } from './api-fixture.ts'
import type { Fixture } from './api-fixture.ts'

let api: Fixture

beforeEach(async () => {
  api = await openFixture()
})

afterEach(async () => {
  await api.close()
})

const lines = { 'content-type': 'application/x-ndjson' }

function send(body: string, headers: Readonly<Record<string, string>> = {}) {
  return api.ask('POST', '/v1/log/memory/entries', { body, headers: { ...lines, ...headers } })
}

function answersOf(text: string): (ImportProgress & { readonly code?: string; readonly line?: number })[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ImportProgress)
}

/** A request whose body the test writes as it likes. */
function begin(): { readonly request: ClientRequest; readonly response: Promise<IncomingMessage> } {
  const request = httpRequest({
    socketPath: api.server.socketPath,
    method: 'POST',
    path: '/v1/log/memory/entries',
    agent: false,
    headers: lines,
  })
  request.on('error', () => {})
  return { request, response: new Promise((resolve) => request.once('response', resolve)) }
}

describe('a stream of entries', () => {
  test('of 50,000 lines is written once each, in order, in full batches, and tells of its progress', async () => {
    const count = 50_000
    const body = Array.from({ length: count }, (_, index) => `{"text":"entry ${index}"}`).join('\n')
    const answers = answersOf((await send(body)).text)
    expect(answers.at(-1)).toEqual({ lines: count, written: count, alreadyThere: 0, done: true })
    const written = answers.map((answer) => answer.written)
    expect(written).toEqual(written.toSorted((a, b) => a - b))
    expect(api.agent.entriesOf('memory').map((entry) => entry.text)).toEqual(Array.from({ length: count }, (_, index) => `entry ${index}`))
    expect(api.agent.requests.length).toBeLessThan(count / 500 + 50)
  })

  test('is read no faster than it is written, and a few batches are being written at a time', async () => {
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    api.agent.slow = () => held
    const { request, response } = begin()
    const line = `${JSON.stringify({ text: 'x'.repeat(1_000) })}\n`
    let drained = false
    request.on('drain', () => {
      drained = true
    })
    let sent = 0
    do {
      drained = false
      sent += 64
      if (!request.write(line.repeat(64))) await turns()
    } while (drained || api.agent.requests.length < 4)
    expect(api.agent.requests).toHaveLength(4)
    // A first small batch and three of 128 KiB, one that waits, a chunk, and the buffers of the socket.
    expect(sent).toBeLessThan(2_000)
    release()
    request.end()
    let text = ''
    for await (const chunk of (await response).setEncoding('utf8')) text += chunk as string
    expect(answersOf(text).at(-1)).toMatchObject({ done: true, written: answersOf(text).at(-1)?.lines })
  })

  test('that comes line by line is written line by line', async () => {
    const { request, response } = begin()
    request.write('{"text":"one"}\n')
    const answer = (await response).setEncoding('utf8')
    const progress = answer[Symbol.asyncIterator]() as AsyncIterator<string>
    expect(JSON.parse((await progress.next()).value as string)).toMatchObject({ lines: 1, written: 1, done: false })
    request.write('{"text":"two"}\n{"te')
    expect(JSON.parse((await progress.next()).value as string)).toMatchObject({ lines: 2, written: 2 })
    request.end('xt":"three"}')
    let rest = ''
    for (let next = await progress.next(); next.done !== true; next = await progress.next()) rest += next.value
    expect(answersOf(rest).at(-1)).toEqual({ lines: 3, written: 3, alreadyThere: 0, done: true })
  })

  test('run again with the same Idempotency-Key adds nothing twice, however its batches fall', async () => {
    const body = Array.from({ length: 1_200 }, (_, index) => `{"text":"entry ${index}"}`)
    await send(body.slice(0, 700).join('\n'), { 'idempotency-key': 'import-1' })
    const again = answersOf((await send(body.join('\n'), { 'idempotency-key': 'import-1' })).text).at(-1)
    expect(again).toEqual({ lines: 1_200, written: 500, alreadyThere: 700, done: true })
    expect(api.agent.entriesOf('memory')).toHaveLength(1_200)
  })

  test('may be empty, and may have blank lines', async () => {
    expect(answersOf((await send('')).text)).toEqual([{ lines: 0, written: 0, alreadyThere: 0, done: true }])
    expect(answersOf((await send('\n{"text":"x"}\r\n\n')).text).at(-1)).toEqual({ lines: 3, written: 1, alreadyThere: 0, done: true })
  })

  test('refused at its first line is an ordinary refusal', async () => {
    expect(problemIn(await send('{"text":5}\n{"text":"x"}'))).toMatchObject({
      code: 'invalid-request',
      line: 1,
      detail: 'line 1: entry.text must be string',
    })
    expect(api.agent.entriesOf('memory')).toHaveLength(0)
  })

  test.each([
    ['no JSON', '{"text":', 'invalid-request'],
    ['no entry', '{"tags":["x"]}', 'invalid-request'],
    ['too long', `{"text":"${'x'.repeat(2 << 20)}"}`, 'too-large'],
  ])('with a line that is %s tells which, writes all before it and nothing after', async (_, bad, code) => {
    const good = Array.from({ length: 1_300 }, (_, index) => `{"text":"entry ${index}"}`)
    const answer = await send([...good, bad, ...good].join('\n'))
    expect(answersOf(answer.text).at(-1)).toMatchObject({ code, line: 1_301 })
    expect(api.agent.entriesOf('memory')).toHaveLength(1_300)
    expect((await api.ask('GET', '/v1/health')).status).toBe(200)
  })

  test('whose writing fails stops there, and tells from which line on', async () => {
    api.agent.fail = () => {
      if (api.agent.requests.length === 3) throw new SelfsameError('read-only', 'no space is left')
    }
    const good = Array.from({ length: 20_000 }, (_, index) => `{"text":"entry ${index}"}`).join('\n')
    const last = answersOf((await send(good)).text).at(-1)
    const before = api.agent.requests
      .slice(0, 2)
      .reduce((sum, { operations }) => sum + (operations[0]?.type === 'log.append' ? operations[0].entries.length : 0), 0)
    expect(last).toMatchObject({ code: 'read-only', line: before + 1, retry: true })
    expect(api.agent.requests.length).toBeLessThan(8)
  })

  test('of a client that hangs up midway leaves what was written, and a server that goes on', async () => {
    const { request, response } = begin()
    request.write('{"text":"one"}\n{"text":"tw')
    await response
    request.destroy()
    expect((await api.ask('GET', '/v1/health')).status).toBe(200)
    await turns()
    expect(api.agent.entriesOf('memory').map((entry) => entry.text)).toEqual(['one'])
    expect(api.faults).toEqual([])
  })

  test('of a client that hangs up within its first line is no fault of the server', async () => {
    const { request } = begin()
    request.write('{"te')
    await api.ask('GET', '/v1/health')
    await turns()
    request.destroy()
    expect((await api.ask('GET', '/v1/health')).status).toBe(200)
    await turns()
    expect(api.agent.entriesOf('memory')).toEqual([])
    expect(api.faults).toEqual([])
  })
})
