/** What remains of a document that is overwritten again and again, as it is stored and sent. */
import { encode, stampOf } from '../../src/core/index.ts'
import { openLiveDocument } from '../../src/document/index.ts'
import type { LiveDocument } from '../../src/document/index.ts'
import { atMost, count, inMebibytes, perSecond, secondsOf } from './measure.ts'
import type { Row, Scale } from './measure.ts'

const keys = 100
/** Overwrites in one transaction: what shares an envelope under load. */
const perTransaction = 10

/** Overwrites with each document in turn as writer, the others hearing of it. */
function overwrite(documents: readonly LiveDocument[], total: number): void {
  for (let index = 0; index < total; index += perTransaction) {
    const turn = (index / perTransaction) % documents.length
    const context = { client: turn + 1, stamp: stampOf(index + 1, 0), textVersion: () => undefined }
    const update = documents[turn]?.edit(context, (apply) => {
      for (let at = index; at < index + perTransaction; at += 1) apply({ type: 'register.set', key: `key ${at % keys}`, value: at })
    })
    if (update === null || update === undefined) throw new Error('an overwrite changed nothing')
    for (const [other, document] of documents.entries()) if (other !== turn) document.apply(update)
  }
}

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  const live = encode(Array.from({ length: keys }, (_, index) => [`key ${index}`, '999999', new Uint8Array(8)])).length
  for (const [writers, full] of [
    [1, 1_000_000],
    [2, 200_000],
  ] as const) {
    const total = scale(full, 2_000)
    const documents = Array.from({ length: writers }, () => openLiveDocument('register', null))
    const seconds = await secondsOf(() => overwrite(documents, total))
    const bytes = documents[0]?.state().length ?? 0
    yield {
      what: `${count(total)} overwrites of ${keys} keys${writers === 1 ? '' : `, ${writers} writers in turn`}: document state (${perSecond(total / seconds)})`,
      measured: `${count(bytes)} bytes`,
      floor: `${count(live)} bytes, the live cells alone`,
      ratio: bytes / live,
      goal: atMost(inMebibytes(2 * 2 ** 20), bytes, 2 * 2 ** 20),
    }
  }
}
