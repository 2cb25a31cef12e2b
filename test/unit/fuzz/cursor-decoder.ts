/** Cursors into the changes of a home, as a client gives them back: those of a replica that has written a little. */
import { SelfsameError } from '../../../src/core/index.ts'
import type { Replica } from '../../../src/replica/index.ts'
import { openGroup } from '../replica/group.ts'
import { trickyTexts } from './cbor-mutations.ts'
import { promise } from './fuzz.ts'
import type { Case, Decoder } from './fuzz.ts'
import { mutateText } from './text-decoders.ts'

async function openWritten(): Promise<Replica> {
  const { replicas, settle } = await openGroup(['admin'])
  const [replica] = replicas as [Replica]
  for (const member of ['a', 'b', 'c']) {
    const edit = { type: 'set.add', member } as const
    const names = ['follows', 'mutes']
    await settle(replica.write({ operations: names.map((name) => ({ type: 'edit', kind: 'set', name, edit }) as const) }))
  }
  return replica
}

const { reader } = await openWritten()
const { changes } = reader.changes(reader.cursorStart, 100)
const cursors = [reader.cursorStart, ...changes.map(({ cursor }) => cursor)]

export const cursorDecoder: Decoder = {
  name: 'cursor',
  weight: 2,
  draw(dice): Case {
    const valid = dice.chance(0.2)
    const place = dice.below(cursors.length)
    const text = valid
      ? cursors[place]!
      : mutateText(dice, cursors[place]!, ['0', '-', '.1', '.0', '.9999', '9007199254740993', 'f', '\n', ...trickyTexts])
    return {
      input: Buffer.from(text),
      valid,
      decode() {
        try {
          const after = reader.changes(text, 100)
          return () => {
            if (valid) promise(after.changes.length === changes.length - place, 'a cursor goes on where it was given')
            promise(reader.changes(after.cursor, 100).changes.length === 0, 'the end is the end')
          }
        } catch (error) {
          if (error instanceof SelfsameError && ['invalid-request', 'cursor-expired'].includes(error.code)) return null
          throw error
        }
      },
    }
  },
}
