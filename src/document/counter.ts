/**
 * Counters: every feed keeps its own cumulative total for each key, from zero, in one live cell; the value of a key is
 * the sum over the feeds. So copies of a home, which write under feeds of their own, never fold one run's counts into another's.
 */
import { SelfsameError } from '../core/index.ts'
import { byWriter, cellParts } from './blame.ts'
import { checkCellKey, openCells } from './cells.ts'
import type { Cell, CellChange, CellFormat } from './cells.ts'
import { wrongEdit } from './content.ts'
import type { Content, OpenContent } from './content.ts'

const totalMin = -(2n ** 63n)
const totalMax = 2n ** 63n - 1n

/** Cell: [key, total]. The total is a whole number of 64 bits, signed. */
export const counterCell: CellFormat<bigint> = {
  valueToFields: (total) => [total],
  fieldsToValue(fields) {
    const total = fields[1]
    if (fields.length !== 2 || !(typeof total === 'bigint' || Number.isSafeInteger(total))) return undefined
    const value = BigInt(total as number | bigint)
    return value >= totalMin && value <= totalMax ? value : undefined
  },
}

export const openCounter: OpenContent = (doc): Content => {
  const cells = openCells(doc, counterCell)

  /** The total of each feed for a key: of its newest cell, should a faulty feed have left more than one. */
  function totalsOf(key: string): ReadonlyMap<number, Cell<bigint>> {
    const totals = new Map<number, Cell<bigint>>()
    for (const cell of cells.of(key)) {
      const other = totals.get(cell.item.id.client)
      if (other === undefined || other.item.id.clock < cell.item.id.clock) totals.set(cell.item.id.client, cell)
    }
    return totals
  }

  function sumOf(key: string): bigint {
    let sum = 0n
    for (const { value } of totalsOf(key).values()) sum += value
    return sum
  }

  return {
    stage({ client }) {
      const added = new Map<string, bigint>()
      return {
        apply(edit) {
          if (edit.type !== 'counter.add') throw wrongEdit('counter', edit)
          checkCellKey('counter key', edit.key)
          const before = added.get(edit.key) ?? 0n
          const own = (totalsOf(edit.key).get(client)?.value ?? 0n) + before
          const sum = sumOf(edit.key) + before
          if (leavesRange(own, edit.amount) || leavesRange(sum, edit.amount)) {
            throw new SelfsameError(
              'overflow',
              `adding ${edit.amount} to '${edit.key}', which is ${sum}, would leave the range of 64 bits: count under another key`,
            )
          }
          added.set(edit.key, before + edit.amount)
        },
        write(transaction) {
          const changes: CellChange<bigint>[] = []
          for (const [key, amount] of added) {
            if (amount === 0n) continue
            const total = (totalsOf(key).get(client)?.value ?? 0n) + amount
            changes.push({ key, removed: cells.of(key).filter(({ item }) => item.id.client === client), added: total })
          }
          cells.write(transaction, changes)
        },
      }
    },
    materialise: (transaction, update) => cells.materialise(transaction, update),
    absorb: (transaction) => cells.absorb(transaction),
    value: (key) => ({ kind: 'counter', totals: new Map(cells.keys(key).map((each) => [each, sumOf(each)])) }),
    parts: () =>
      cellParts(
        cells,
        (key) => [...totalsOf(key).values()].sort(byWriter),
        (total) => total,
      ),
    readable: () => cells.keys().map((key) => [key, sumOf(key).toString()]),
  }
}

/** Whether adding `amount` goes out of range, or further out: concurrent writers can get a sum there, and must be able to bring it back. */
function leavesRange(from: bigint, amount: bigint): boolean {
  const to = from + amount
  return (to > totalMax && amount > 0n) || (to < totalMin && amount < 0n)
}
