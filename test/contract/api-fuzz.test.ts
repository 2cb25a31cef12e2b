/** A bounded number of malformed requests; `npm run fuzz:api` sends as many as one likes to a real daemon. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openFixture } from './api-fixture.ts'
import type { Fixture } from './api-fixture.ts'
import { fuzzApi } from './api-fuzz.ts'

const cases = 1_000

let api: Fixture

beforeAll(async () => {
  api = await openFixture({ tcp: { listen: '127.0.0.1:0', hosts: ['localhost'], origins: [] } })
})

afterAll(() => api.close())

test('malformed requests over the socket are answered as the contract says, and none is a fault', async () => {
  const { faults, answersByStatus } = await fuzzApi({ place: { path: api.server.socketPath }, seed: 1, cases })
  expect(faults).toEqual([])
  expect(api.faults).toEqual([])
  // The draft still fits the contract: a good part gets through, a good part is refused.
  expect(answersByStatus.get('200') ?? 0).toBeGreaterThan(cases / 4)
  expect(answersByStatus.get('400') ?? 0).toBeGreaterThan(cases / 10)
})

test.each([['all'], ['log/memory:append', 'text/*:read'] as const])('and over TCP, with a token that allows %s', async (...allow) => {
  const { token } = api.tokens.create({ name: `fuzz-${allow.length}`, allow })
  const place = api.server.tcpAddress ?? { path: '' }
  const { faults, answersByStatus } = await fuzzApi({ place, seed: 2, cases, token })
  expect(faults).toEqual([])
  expect(api.faults).toEqual([])
  expect(answersByStatus.get('401') ?? 0).toBeGreaterThan(0)
})
