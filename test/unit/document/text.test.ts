import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { stampOf } from '../../../src/core/index.ts'
import { openLiveDocument, textVersionOf } from '../../../src/document/index.ts'
import type { Edit, EditContext, LiveDocument } from '../../../src/document/index.ts'
import { diffText, mergeText } from '../../../src/document/text-merge.ts'
import type { Hunk } from '../../../src/document/text-merge.ts'
import { createDice, expectConvergence, runGroup, seeds } from './group.ts'
import type { Dice, Replica } from './group.ts'

function context(client: number, versions: readonly string[] = []): EditContext {
  const known = new Map(versions.map((text) => [textVersionOf(text), text]))
  return { client, stamp: stampOf(1, 0), textVersion: (version) => known.get(version) }
}

const put = (text: string, base: string | null = null): Edit => ({ type: 'text.put', text, base })

function textOf(document: LiveDocument): string {
  const value = document.value()
  return value.kind === 'text' ? value.text : ''
}

describe('text documents', () => {
  test.each(seeds(25))('every line that someone wrote and no one deleted is there once, stale writes included (seed %i)', (seed) => {
    let written = 0
    const inserted = new Set<string>()
    const deleted = new Set<string>()
    const draw = (dice: Dice, replica: Replica): readonly Edit[] => {
      const stale = dice.chance(0.4) ? dice.pick([...replica.versions.values(), '']) : textOf(replica.document)
      const base = stale === '' || !replica.versions.has(textVersionOf(stale)) ? textOf(replica.document) : stale
      const lines = base.match(/[^\n]*\n/g) ?? []
      for (let edits = 1 + dice.below(3); edits > 0; edits--) {
        if (lines.length > 0 && dice.chance(0.4)) {
          const [line] = lines.splice(dice.below(lines.length), 1)
          deleted.add(line!)
        } else {
          const line = `line${written++} 😀\n`
          inserted.add(line)
          lines.splice(dice.below(lines.length + 1), 0, line)
        }
      }
      return [put(lines.join(''), textVersionOf(base))]
    }
    const group = runGroup('text', seed, 80, draw)
    expectConvergence(group, seed)
    const lines = textOf(group.replicas[0]!.document).match(/[^\n]*\n/g) ?? []
    expect(lines.toSorted()).toEqual([...inserted].filter((line) => !deleted.has(line)).sort())
  })

  test.each(seeds(25))('replicas converge on arbitrary rewrites of arbitrary text (seed %i)', (seed) => {
    const letters = ['a', 'b', ' ', '\n', '😀', 'é', '漢', '字', '\r\n', '\ufeff']
    const draw = (dice: Dice, replica: Replica): readonly Edit[] => {
      const now = Array.from(textOf(replica.document))
      now.splice(dice.below(now.length + 1), dice.below(4), ...Array.from({ length: dice.below(6) }, () => dice.pick(letters)))
      const base = dice.pick([null, ...replica.versions.keys()])
      return [put(now.join(''), base), ...(dice.chance(0.2) ? [put(`${now.join('')}x`)] : [])]
    }
    const group = runGroup('text', seed, 100, draw)
    expectConvergence(group, seed)
    expect(textOf(group.replicas[0]!.document).isWellFormed()).toBe(true)
  })

  test('a stale write merges with what came after its base, and a retry of it changes nothing', () => {
    const document = openLiveDocument('text', null)
    const base = '# Soul\n\nI am kind.\nI am curious.\n'
    const mine = '# Soul\n\nI am kind and patient.\nI am curious.\n'
    document.edit(context(1), (apply) => apply(put(base)))
    document.edit(context(1), (apply) => apply(put('# Soul\n\nI am kind.\nI am very curious.\nI sing.\n')))
    document.edit(context(2, [base]), (apply) => apply(put(mine, textVersionOf(base))))
    const merged = '# Soul\n\nI am kind and patient.\nI am very curious.\nI sing.\n'
    expect(textOf(document)).toBe(merged)
    expect(document.edit(context(2, [base]), (apply) => apply(put(mine, textVersionOf(base))))).toBeNull()
    expect(document.value()).toEqual({ kind: 'text', text: merged, version: textVersionOf(merged) })
  })

  test('an unknown base is refused and overwrites nothing', () => {
    const document = openLiveDocument('text', null)
    document.edit(context(1), (apply) => apply(put('here')))
    expect(() => document.edit(context(1), (apply) => apply(put('new', textVersionOf('never seen'))))).toThrow('read the text again')
    expect(textOf(document)).toBe('here')
  })

  test('text that is not Unicode, or too long, is refused', () => {
    const document = openLiveDocument('text', null)
    expect(() => document.edit(context(1), (apply) => apply(put('a\udc00')))).toThrow('surrogate')
    expect(() => document.edit(context(1), (apply) => apply(put('x'.repeat(600_000))))).toThrow('longer than')
    expect(document.clock(1)).toBe(0)
  })

  test('the largest text in the widest letters fits one update', () => {
    const document = openLiveDocument('text', null)
    const text = '漢'.repeat(512 << 10)
    document.edit(context(1), (apply) => apply(put(text)))
    document.edit(context(2), (apply) => apply(put('字'.repeat(512 << 10))))
    expect(textOf(document)).toBe('字'.repeat(512 << 10))
  })

  test('a small change of a large text makes a small update', () => {
    const document = openLiveDocument('text', null)
    const lines = Array.from({ length: 5_000 }, (_, index) => `this is line ${index}\n`)
    document.edit(context(1), (apply) => apply(put(lines.join(''))))
    const changed = lines.with(100, 'this was line 100\n').with(4_000, 'this is the line 4000\n')
    const update = document.edit(context(1), (apply) => apply(put(changed.join(''))))
    expect(update?.length).toBeLessThan(60)
  })

  test('the version is the plain SHA-256 of the text', () => {
    expect(textVersionOf('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  })
})

function applyHunks(from: string, hunks: readonly Hunk[]): string {
  return hunks.reduceRight((text, { start, end, text: inserted }) => text.slice(0, start) + inserted + text.slice(end), from)
}

describe('differences of texts', () => {
  const anyText = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 60 }),
    fc.array(fc.constantFrom('a', 'b', 'the cat ', '\n', '😀', '漢', '  '), { maxLength: 60 }).map((parts) => parts.join('')),
  )

  test('the hunks turn the one text into the other, in order and without overlap, and split no surrogate pair', () => {
    fc.assert(
      fc.property(anyText, anyText, (from, to) => {
        const hunks = diffText(from, to)
        expect(applyHunks(from, hunks)).toBe(to)
        let end = 0
        for (const hunk of hunks) {
          expect(hunk.start).toBeGreaterThanOrEqual(end)
          expect(hunk.text.isWellFormed() && from.slice(hunk.start, hunk.end).isWellFormed()).toBe(true)
          end = hunk.end
        }
      }),
      { numRuns: 500 },
    )
  })

  test('merging with an unchanged side gives the other side, and both sides alike gives that', () => {
    fc.assert(
      fc.property(anyText, anyText, (base, changed) => {
        expect(mergeText(base, changed, base)).toBe(changed)
        expect(mergeText(base, base, changed)).toBe(changed)
        expect(mergeText(base, changed, changed)).toBe(changed)
      }),
    )
  })

  test.each([
    ['both append', 'x\n', 'x\nmine\n', 'x\ntheirs\n', 'x\ntheirs\nmine\n'],
    ['both change other words of one line', 'one two three', 'ONE two three', 'one two THREE', 'ONE two THREE'],
    ['both replace one word', 'a cat sat', 'a dog sat', 'a cow sat', 'a cowdog sat'],
    ['I insert before what they replaced', 'cat', 'a cat', 'dog', 'a dog'],
    ['I insert behind what they replaced', 'cat', 'cat ran', 'dog', 'dog ran'],
    ['I insert into what they deleted', 'a b c', 'a b X c', '', 'X '],
    ['I delete what they inserted into', 'a b c', '', 'a b X c', 'X '],
    ['both delete, overlapping', 'a b c d', 'a d', 'a b', 'a '],
    ['I insert what they inserted, and more', 'a\n', 'a\nb\nc\nd\n', 'a\nb\nd\n', 'a\nb\nc\nd\n'],
    ['I write again, on the old base, what was merged before', '', 'one\ntwo\nthree\n', 'one\nother\ntwo\n', 'one\nother\ntwo\nthree\n'],
    [
      'I insert a line before one that they changed and put a line before',
      'cat sat here\n',
      'mine\ncat sat here\n',
      'new\ndog sat here\n',
      'new\nmine\ndog sat here\n',
    ],
    [
      'both put the same line before one that they changed',
      'cat sat here\n',
      'new\ncat sat here\n',
      'new\ndog sat here\n',
      'new\ndog sat here\n',
    ],
    [
      'both insert a line that is like the other one',
      '# Tasks\n',
      '# Tasks\n- buy milk\n',
      '# Tasks\n- buy bread\n',
      '# Tasks\n- buy bread\n- buy milk\n',
    ],
    [
      'both append like lines where the last one had no end',
      'I am kind.',
      'I am kind.\nI like mornings.',
      'I am kind.\nI like evenings.',
      'I am kind.\nI like evenings.\nI like mornings.',
    ],
    ['both insert the same', 'a c', 'a b c', 'a b c d', 'a b c d'],
  ])('when %s', (_, base, mine, theirs, merged) => {
    expect(mergeText(base, mine, theirs)).toBe(merged)
  })

  test('texts without anything in common are handled within the bound, as one change', () => {
    const dice = createDice(5)
    const noise = () => Array.from({ length: 60_000 }, () => `${dice.below(10_000)} ${dice.chance(0.1) ? '\n' : ''}`).join('')
    const [from, to] = [noise(), noise()]
    const hunks = diffText(from, to)
    expect(hunks.length).toBe(1)
    expect(applyHunks(from, hunks)).toBe(to)
  })
})
