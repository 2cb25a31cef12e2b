/** Sets: observed-remove, add wins. Adding a present member is a write, so that it survives a removal that did not see it. */
import { byWriter, cellParts } from './blame.ts'
import { checkCellKey, openCells } from './cells.ts'
import type { CellChange, CellFormat } from './cells.ts'
import { wrongEdit } from './content.ts'
import type { Content, OpenContent } from './content.ts'

/** Cell: [member]. */
export const setCell: CellFormat<null> = {
  valueToFields: () => [],
  fieldsToValue: (fields) => (fields.length === 1 ? null : undefined),
}

export const openSet: OpenContent = (doc): Content => {
  const cells = openCells(doc, setCell)
  return {
    stage() {
      const presence = new Map<string, boolean>()
      return {
        apply(edit) {
          if (edit.type !== 'set.add' && edit.type !== 'set.remove') throw wrongEdit('set', edit)
          checkCellKey('set member', edit.member)
          presence.set(edit.member, edit.type === 'set.add')
        },
        write(transaction) {
          const changes: CellChange<null>[] = []
          for (const [key, isPresent] of presence) changes.push({ key, removed: cells.of(key), ...(isPresent && { added: null }) })
          cells.write(transaction, changes)
        },
      }
    },
    materialise: (transaction, update) => cells.materialise(transaction, update),
    absorb: (transaction) => cells.absorb(transaction),
    value: (key) => ({ kind: 'set', members: cells.keys(key) }),
    parts: () => cellParts(cells, (key) => cells.of(key).toSorted(byWriter)),
    readable: () => cells.keys(),
  }
}
