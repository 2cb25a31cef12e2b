import type { SQLInputValue } from 'node:sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesToId } from '../../../src/core/index.ts'
import { nameKinds, ProgramBuilder, runProgram } from '../../../src/storage/writer-program.ts'

const hexArbitrary = fc.uint8Array({ maxLength: 40 }).map((bytes) => bytesToId<string>(bytes))
const valueArbitrary = fc.oneof(
  fc.record({ type: fc.constant('number' as const), value: fc.option(fc.oneof(fc.nat(), fc.maxSafeInteger(), fc.integer())) }),
  fc.record({ type: fc.constant('bytes' as const), value: fc.option(fc.uint8Array({ maxLength: 10_000 })) }),
  fc.record({ type: fc.constant('hex' as const), value: fc.option(hexArbitrary) }),
  fc.record({ type: fc.constant('text' as const), value: fc.string({ unit: 'grapheme', maxLength: 300 }) }),
  fc.record({ type: fc.constant('name' as const), kind: fc.constantFrom(...nameKinds), value: fc.constantFrom('00ff', 'ab', 'c0de') }),
)

test('a program runs its statements in order, each on the parameters that were written for it', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 255 }), fc.array(valueArbitrary, { maxLength: 8 })), { maxLength: 20 }), (rows) => {
      const builder = new ProgramBuilder()
      for (const [statement, values] of rows) {
        for (const item of values) {
          if (item.type === 'name') builder.name(item.kind, item.value)
          else if (item.type === 'number') builder.number(item.value)
          else if (item.type === 'bytes') builder.bytes(item.value)
          else if (item.type === 'hex') builder.hex(item.value)
          else builder.text(item.value)
        }
        builder.run(statement)
      }
      const numberByName = new Map<string, number>()
      const ran: (readonly [number, readonly SQLInputValue[]])[] = []
      runProgram(builder.finish(), {
        numberOf(kind, id) {
          const name = `${kind} ${bytesToId<string>(id)}`
          expect(numberByName.has(name), 'each name is looked up once').toBe(false)
          numberByName.set(name, numberByName.size + 1_000)
          return numberByName.size + 999
        },
        run: (statement, parameters) =>
          ran.push([statement, parameters.map((value) => (value instanceof Uint8Array ? bytesToId<string>(value) : value))]),
      })
      const expected = rows.map(([statement, values]) => [
        statement,
        values.map((item) => {
          if (item.type === 'name') return numberByName.get(`${item.kind} ${item.value}`)
          return item.value instanceof Uint8Array ? bytesToId<string>(item.value) : item.value
        }),
      ])
      expect(ran).toEqual(expected)
    }),
  )
})
