import { describe, expect, it } from 'vitest'
import { AssertionFailure, SelfsameError, assert, errorTable } from '../../../src/core/index.ts'

describe('the error table', () => {
  it('gives each code a status of HTTP, an exit code that a shell can tell from success and from signals, and a title', () => {
    for (const [code, row] of Object.entries(errorTable)) {
      expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/)
      expect(row.status).toBeGreaterThanOrEqual(400)
      expect(row.status).toBeLessThan(600)
      expect(row.exit).toBeGreaterThan(0)
      expect(row.exit).toBeLessThan(126)
      expect(row.title).not.toBe('')
    }
  })

  it('keeps bugs and operating errors apart', () => {
    expect(() => assert(false, 'broken')).toThrow(AssertionFailure)
    const error = new SelfsameError('too-large', 'send it in parts', { cause: new Error('why') })
    expect(error).not.toBeInstanceOf(AssertionFailure)
    expect([error.code, (error.cause as Error).message]).toEqual(['too-large', 'why'])
  })
})
