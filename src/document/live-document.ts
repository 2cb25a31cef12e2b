/** One document in memory: the shell around the contents of the kinds, and the only place where Yjs transactions run. */
import * as decoding from 'lib0/decoding'
import * as Y from 'yjs'
import { assert, SelfsameError, updateStructsMax } from '../core/index.ts'
import { checkUpdate } from './check-update.ts'
import type { OpenContent } from './content.ts'
import { openCounter } from './counter.ts'
import { digestOf } from './digest.ts'
import type { LiveDocument, LiveKind } from './document.ts'
import { openJson } from './json.ts'
import { openRegister } from './register.ts'
import { openSet } from './set.ts'
import { openText } from './text.ts'
import { updateBytesMax } from './update-reader.ts'

const openers: Record<LiveKind, OpenContent> = {
  counter: openCounter,
  set: openSet,
  register: openRegister,
  text: openText,
  json: openJson,
}

/** The client id between edits. No feed has it, so no update from outside can meet it and make Yjs choose another. */
const nobody = 0
/** Marks the transactions of this file. Yjs can start others by itself, which must never be. */
const ours = Symbol('ours')
/** Rough bytes of memory that one Yjs struct and its part of an index take. */
const structBytes = 250

/** Opens a document from its state (`LiveDocument.state`), or an empty one. */
export function openLiveDocument(kind: LiveKind, state: Uint8Array | null): LiveDocument {
  // Nothing asks for the guid, and making one takes longer than the rest of a small document.
  const doc = new Y.Doc({ gc: true, guid: '', gcFilter: isContentAlone })
  doc.clientID = nobody
  if (state !== null) Y.applyUpdate(doc, state)
  const content = openers[kind](doc)
  assert(!hasPending(), 'a stored state refers to something that it does not hold')

  /** Bytes that came in since loading: some of them may be dead, so the estimate errs upwards until the next load. */
  let bytes = state?.length ?? 0
  let changedKeys: readonly string[] = []
  let isSpoiled = false

  doc.on('afterTransaction', (transaction: Y.Transaction) => {
    assert(transaction.origin === ours, 'Yjs changed a document by itself')
    changedKeys = content.absorb(transaction)
  })

  function hasPending(): boolean {
    return doc.store.pendingStructs !== null || doc.store.pendingDs !== null
  }

  /** Runs one transaction under a client id. What fails on the way leaves the document unusable. */
  function transact(client: number, body: (transaction: Y.Transaction) => void): void {
    assert(!isSpoiled, 'the document was to be thrown away')
    isSpoiled = true
    doc.clientID = client
    doc.transact(body, ours)
    doc.clientID = nobody
    isSpoiled = false
  }

  /** The update of a transaction, which Yjs encodes only where somebody listens; undefined where it changed nothing. */
  function updateOf(run: () => void): Uint8Array | undefined {
    const made: Uint8Array[] = []
    const listen = (update: Uint8Array): void => void made.push(update)
    doc.on('update', listen)
    run()
    doc.off('update', listen)
    return made[0]
  }

  return {
    kind,

    edit(context, body) {
      const stage = content.stage(context)
      let isOpen = true
      body((edit) => {
        assert(isOpen, 'an edit came after its transaction')
        stage.apply(edit)
      })
      isOpen = false
      const made = updateOf(() => transact(context.client, (transaction) => stage.write(transaction)))
      if (made === undefined) return null
      bytes += made.length
      if (made.length > updateBytesMax || structCount(made) > updateStructsMax) {
        isSpoiled = true
        throw new SelfsameError(
          'too-large',
          `the change takes ${made.length} bytes and ${structCount(made)} items, which is more than one update can carry: split it`,
        )
      }
      return made
    },

    check: (update, context) => checkUpdate(doc, kind, update, context),

    apply(update) {
      transact(nobody, (transaction) => content.materialise(transaction, update))
      assert(!hasPending(), 'an accepted update refers to something that is not here')
      bytes += update.length
      return changedKeys
    },

    value: (key) => content.value(key),
    parts: () => content.parts(),
    state: () => Y.encodeStateAsUpdate(doc),
    digest: () => digestOf(kind, normalForm(kind, Y.encodeStateAsUpdate(doc)), content.readable()),
    clock: (client) => Y.getState(doc.store, client),
    hasPending,

    get sizeEstimate() {
      let structs = 0
      for (const list of doc.store.clients.values()) structs += list.length
      return bytes + structs * structBytes
    },
  }
}

/**
 * What is deleted is dropped, except containers: Yjs would drop with them the order of all that they ever held, by which
 * updates are judged whose authors had not seen the deletion.
 */
function isContentAlone({ content }: Y.Item): boolean {
  return !(content instanceof Y.ContentType)
}

/** The state in the one form that all replicas agree on. Nested json needs one more load: what it deletes is collected in different steps. */
function normalForm(kind: LiveKind, state: Uint8Array): Uint8Array {
  if (kind !== 'json') return state
  const doc = new Y.Doc({ gc: true, guid: '' })
  Y.applyUpdate(doc, state)
  return Y.encodeStateAsUpdate(doc)
}

/** The number of structs of an update that Yjs made for one client. */
function structCount(update: Uint8Array): number {
  const decoder = decoding.createDecoder(update)
  return decoding.readVarUint(decoder) === 0 ? 0 : decoding.readVarUint(decoder)
}
