/**
 * Texts: one Y.Text. A whole text is written against the version that it was based on; where that is not the present one,
 * the two are merged, so that a stale write never overwrites what it did not see.
 */
import { hash } from 'node:crypto'
import * as Y from 'yjs'
import { SelfsameError, textLengthMax } from '../core/index.ts'
import { textParts } from './blame.ts'
import { wrongEdit } from './content.ts'
import type { Content, OpenContent } from './content.ts'
import { diffText, mergeText } from './text-merge.ts'

/** Name of the root text. */
export const textRoot = 'text'

/** The version of a text's content: its plain SHA-256 as hexadecimal, so that any client can compute it. */
export function textVersionOf(text: string): string {
  return hash('sha256', text, 'hex')
}

export const openText: OpenContent = (doc): Content => {
  const root = doc.getText(textRoot)
  /** The characters; null where they have to be put together again. They are when somebody asks, however many updates came before. */
  let plain: string | null = null
  const current = (): string => (plain ??= root.toJSON())

  return {
    stage(context) {
      let staged = current()
      return {
        apply(edit) {
          if (edit.type !== 'text.put') throw wrongEdit('text', edit)
          checkText(edit.text)
          const merged = merge(edit.text, edit.base)
          if (merged.length > textLengthMax) throw tooLarge('the text, merged with what others wrote,')
          staged = merged
        },
        write() {
          for (const { start, end, text: inserted } of diffText(current(), staged).toReversed()) {
            root.delete(start, end - start)
            root.insert(start, inserted)
          }
        },
      }

      function merge(next: string, base: string | null): string {
        if (base === null || base === textVersionOf(staged)) return next
        const basis = context.textVersion(base)
        if (basis === undefined) {
          throw new SelfsameError(
            'base-unknown',
            `the version ${base} is not known here: read the text again, and write against its present version`,
          )
        }
        return mergeText(basis, next, staged)
      }
    },
    materialise: (transaction, update) => Y.applyUpdate(doc, update, transaction.origin),
    absorb() {
      plain = null
      return []
    },
    value() {
      const text = current()
      return { kind: 'text', text, version: textVersionOf(text) }
    },
    parts: () => textParts(root),
    readable: current,
  }
}

function checkText(text: string): void {
  if (!text.isWellFormed())
    throw new SelfsameError('invalid-request', 'the text is not well-formed Unicode: it holds half a surrogate pair')
  if (text.length > textLengthMax) throw tooLarge('the text')
}

function tooLarge(what: string): SelfsameError {
  return new SelfsameError('too-large', `${what} is longer than ${textLengthMax} characters: split it into several documents`)
}
