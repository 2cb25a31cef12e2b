import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AlertBook } from '../../../src/health/index.ts'
import type { Condition } from '../../../src/health/index.ts'

const lag: Condition = { id: 'lag:a', kind: 'lag', detail: 'late', since: 0, looksToRaise: 2 }
const fork: Condition = { id: 'fork:b', kind: 'fork', detail: 'forked', since: 0, looksToRaise: 1 }

/** What is told when each look finds what a letter says: `l` the lag, `f` the fork, `b` both, `.` nothing. */
function told(looks: string): string[] {
  const book = new AlertBook()
  const found: Record<string, Condition[]> = { 'l': [lag], 'f': [fork], 'b': [lag, fork], '.': [] }
  return looks
    .split('')
    .flatMap((look, at) => book.look(found[look] as Condition[], at).map(({ type, alert }) => `${at}:${type} ${alert.kind}`))
}

describe('an alert', () => {
  test('of a case is raised when the case appears, and cleared when it has been gone for three looks', () => {
    expect(told('.fff...')).toEqual(['1:raised fork', '6:cleared fork'])
  })

  test('of what passes by itself is raised only if it lasts', () => {
    expect(told('l.l.l.ll...')).toEqual(['7:raised lag', '10:cleared lag'])
  })

  test('of what comes and goes is one alert', () => {
    expect(told('ll.l..l.l')).toEqual(['1:raised lag'])
    expect(told('f..f..f')).toEqual(['0:raised fork'])
  })

  test('comes again when its case does', () => {
    expect(told('f...f')).toEqual(['0:raised fork', '3:cleared fork', '4:raised fork'])
  })

  test('tells the detail of the last look, and when it was raised', () => {
    const book = new AlertBook()
    book.look([{ ...fork, detail: 'first' }], 5)
    book.look([{ ...fork, detail: 'second', since: 4 }], 9)
    expect(book.raised).toEqual([{ id: 'fork:b', kind: 'fork', detail: 'second', since: 0, raisedAt: 5 }])
  })

  test('is, whatever the looks find, raised and cleared in turn, and never without a case', () => {
    const looks = fc.array(fc.subarray([lag, fork, { ...lag, id: 'lag:c' }]), { maxLength: 60 })
    fc.assert(
      fc.property(looks, (found) => {
        const book = new AlertBook()
        const open = new Set<string>()
        for (const [at, conditions] of found.entries()) {
          for (const { type, alert } of book.look(conditions, at)) {
            expect(open.has(alert.id)).toBe(type === 'cleared')
            expect(conditions.some(({ id }) => id === alert.id)).toBe(type === 'raised')
            if (type === 'raised') open.add(alert.id)
            else open.delete(alert.id)
          }
          expect(new Set(book.raised.map(({ id }) => id))).toEqual(open)
          for (const { id, looksToRaise } of conditions) if (looksToRaise === 1) expect(open).toContain(id)
        }
        for (let look = 0; look < 3; look += 1) book.look([], found.length + look)
        expect(book.raised).toEqual([])
      }),
    )
  })
})
