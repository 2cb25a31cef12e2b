import { describe, expect, test } from 'vitest'
import { errorsEverywhere, routes } from '../../../src/api/contract.ts'
import type { Route } from '../../../src/api/contract.ts'
import { codeOfStatus, LineError, problemOf, problemToError } from '../../../src/api/problem.ts'
import { errorTable, SelfsameError } from '../../../src/core/index.ts'
import type { ErrorCode } from '../../../src/core/index.ts'

const codes = Object.keys(errorTable) as ErrorCode[]

/** Codes that no route answers: what a command meets before it reaches a daemon, or a daemon before it serves. */
const beforeTheApi: readonly ErrorCode[] = [
  'invalid-configuration',
  'daemon-not-running',
  'daemon-running',
  'home-missing',
  'home-exists',
  'home-unsafe',
  'storage-version',
  'backup-refused',
  'home-moved',
  'ticket-invalid',
  'join-refused',
  'key-refused',
]

describe('the closed list of errors', () => {
  test('is answered whole by the routes of the API, but for what happens before it', () => {
    const answered = new Set<string>([...(Object.values(routes) as Route[]).flatMap((route) => route.errors), ...errorsEverywhere])
    expect(codes.filter((code) => !answered.has(code))).toEqual(beforeTheApi)
  })
})

describe('a problem', () => {
  test.each(codes)('of code %s comes back as the same error', (code) => {
    const problem = problemOf(new SelfsameError(code, 'what is wrong, and what to do'))
    const error = problemToError(JSON.parse(JSON.stringify(problem)) as object, problem.status)
    expect(error).toMatchObject({ code, message: 'what is wrong, and what to do' })
  })

  test('at a line comes back at that line, named once', () => {
    const problem = problemOf(new LineError(7, new SelfsameError('invalid-request', 'not an entry')))
    expect(problem).toMatchObject({ line: 7, detail: 'line 7: not an entry' })
    expect(problemToError(problem, 200)).toMatchObject({ code: 'invalid-request', line: 7, message: 'line 7: not an entry' })
  })

  test('of a code that this version does not know becomes one of the same status', () => {
    expect(problemToError({ code: 'from-the-future', detail: 'new' }, 409)).toMatchObject({ code: 'invalid-request', message: 'new' })
    expect(problemToError({ code: 'toString' }, 503)).toMatchObject({ code: 'unavailable' })
    expect(problemToError({}, 500)).toMatchObject({ code: 'internal', message: 'the daemon answered 500' })
  })

  test.each([400, 401, 403, 404, 405, 413, 415, 429, 503, 500])('of status %i alone gets a code of that status', (status) => {
    expect(errorTable[codeOfStatus(status)].status).toBe(status)
  })
})
