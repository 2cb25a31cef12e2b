/**
 * Differences of texts and the three-way merge of a stale whole-text write. Pure. Offsets are UTF-16 units and never
 * fall inside a surrogate pair. The work is bounded: where a bound is hit the difference is coarser, never wrong.
 */
import { diffLists } from './list-diff.ts'

/** `from.slice(start, end)` became `text`. */
export interface Hunk {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** Lines that may differ before everything between the first and the last of them counts as one change: up to 25 ms. */
const lineEditsMax = 512
/** Lines that may come or go among the changed ones before no changed line is looked for in its new form. */
const alignEditsMax = 64
/** Steps that all word diffs of one text may take together: up to 25 ms. One line alone may differ by the root of it. */
const wordStepsMax = 512 * 512

const linePattern = /[^\n]*\n|[^\n]+/g
/** Lines behind a text that ended without a break: each begins with its own. */
const ledLinePattern = /\n[^\n]*/g
/** Words are the unit of merging: merging letters makes gibberish of two rewrites. In scripts without spaces each ideograph is one. */
const tokenPattern = /\p{Ideographic}|[[\p{L}\p{M}\p{N}_]--\p{Ideographic}]+|[^]/gv
const wordPattern = /\p{Ideographic}|[[\p{L}\p{M}\p{N}_]--\p{Ideographic}]+/gv

/**
 * What turns `from` into `to`: hunks in order that do not overlap. Lines are matched first; a line that has only changed
 * is followed into its words, and one that is another line is replaced whole, so that its parts never mix with the old ones.
 */
export function diffText(from: string, to: string): readonly Hunk[] {
  const changes = changedLines(from.match(linePattern) ?? [], to.match(linePattern) ?? [])
  const wordEditsMax = Math.floor(Math.sqrt(wordStepsMax / Math.max(changes.length, 1)))
  return changes.flatMap(({ start, before, after, isSameLine }) => {
    if (!isSameLine) return [{ start, end: start + before.length, text: after }]
    return diffTokens(start, before.match(tokenPattern) ?? [], after.match(tokenPattern) ?? [], wordEditsMax)
  })
}

interface LineChange {
  /** Offset of `before` in the text. */
  readonly start: number
  readonly before: string
  readonly after: string
  /** Whether both are one line in two forms; otherwise whole lines went, came, or both. */
  readonly isSameLine: boolean
}

function changedLines(from: readonly string[], to: readonly string[]): readonly LineChange[] {
  const changes: LineChange[] = []
  const offsetOf = createOffsets(from)
  for (const region of diffLists(from, to, lineEditsMax)) {
    const before = from.slice(region.start, region.end)
    const after = to.slice(region.toStart, region.toEnd)
    const take = (start: number, end: number, toStart: number, toEnd: number, isSameLine: boolean) => {
      const offset = offsetOf(region.start + start)
      changes.push({ start: offset, before: before.slice(start, end).join(''), after: after.slice(toStart, toEnd).join(''), isSameLine })
    }
    let position = 0
    let toPosition = 0
    const takePairsUpTo = (start: number) => {
      for (; position < start; position++, toPosition++) {
        if (before[position] !== after[toPosition]) take(position, position + 1, toPosition, toPosition + 1, true)
      }
    }
    for (const { start, end, toStart, toEnd } of diffLists(before, after, alignEditsMax, isSameLine)) {
      takePairsUpTo(start)
      take(start, end, toStart, toEnd, false)
      position = end
      toPosition = toEnd
    }
    takePairsUpTo(before.length)
  }
  return changes
}

/** Whether a line may be another one changed: at least half of the words of each are in the other. */
function isSameLine(a: string, b: string): boolean {
  if (a === b) return true
  const wordsOfA: readonly string[] = a.match(wordPattern) ?? []
  const wordsOfB: readonly string[] = b.match(wordPattern) ?? []
  const countMax = Math.max(wordsOfA.length, wordsOfB.length)
  if (countMax === 0 || Math.min(wordsOfA.length, wordsOfB.length) * 2 < countMax) return false
  const unmatched = new Map<string, number>()
  for (const word of wordsOfA) unmatched.set(word, (unmatched.get(word) ?? 0) + 1)
  let shared = 0
  for (const word of wordsOfB) {
    const left = unmatched.get(word) ?? 0
    if (left === 0) continue
    unmatched.set(word, left - 1)
    shared++
  }
  return shared * 2 >= countMax
}

/** Hunks between two lists of tokens that stand at `start` of a text. */
function diffTokens(start: number, from: readonly string[], to: readonly string[], editsMax: number): readonly Hunk[] {
  const offsetOf = createOffsets(from)
  return diffLists(from, to, editsMax).map((region) => ({
    start: start + offsetOf(region.start),
    end: start + offsetOf(region.end),
    text: to.slice(region.toStart, region.toEnd).join(''),
  }))
}

/** The offset at which each part begins in the joined text. To be asked in rising order. */
function createOffsets(parts: readonly string[]): (index: number) => number {
  let counted = 0
  let offset = 0
  return (index) => {
    for (; counted < index; counted++) offset += (parts[counted] as string).length
    return offset
  }
}

/**
 * `current` with what turned `base` into `mine` done to it too. What either side inserted is in the result, and what both
 * inserted at one place is there once; what either side deleted is not. At one place that of `current` comes first.
 */
export function mergeText(base: string, mine: string, current: string): string {
  if (base === mine || mine === current) return current
  if (base === current) return mine
  const theirHunks = diffText(base, current)
  const myHunks = diffText(base, mine)
  const insertions = collectInsertions(theirHunks, myHunks)
  const deletions = [...theirHunks, ...myHunks].sort((a, b) => a.start - b.start)

  let result = ''
  let position = 0
  let nextDeletion = 0
  const keepUpTo = (offset: number) => {
    while (position < offset) {
      const deletion = deletions[nextDeletion]
      if (deletion !== undefined && deletion.start <= position) {
        position = Math.max(position, Math.min(deletion.end, offset))
        if (deletion.end <= position) nextDeletion++
        continue
      }
      const end = Math.min(offset, deletion?.start ?? offset)
      result += base.slice(position, end)
      position = end
    }
  }
  for (const offset of [...insertions.keys()].sort((a, b) => a - b)) {
    keepUpTo(offset)
    const { inserted, replacing } = insertions.get(offset) as Arrivals
    result += unionOf(inserted.theirs, inserted.mine) + unionOf(replacing.theirs, replacing.mine)
  }
  keepUpTo(base.length)
  return result
}

/** What comes in at one offset of the base: what was put before the text there, then what took the place of it. */
interface Arrivals {
  readonly inserted: { theirs: string; mine: string }
  readonly replacing: { theirs: string; mine: string }
}

function collectInsertions(theirHunks: readonly Hunk[], myHunks: readonly Hunk[]): ReadonlyMap<number, Arrivals> {
  const insertions = new Map<number, Arrivals>()
  const collect = (side: 'theirs' | 'mine', hunks: readonly Hunk[]) => {
    for (const { start, end, text } of hunks) {
      const arrivals = insertions.get(start) ?? { inserted: { theirs: '', mine: '' }, replacing: { theirs: '', mine: '' } }
      insertions.set(start, arrivals)
      arrivals[end === start ? 'inserted' : 'replacing'][side] += text
    }
  }
  collect('theirs', theirHunks)
  collect('mine', myHunks)
  return insertions
}

/**
 * Everything of `theirs` in its order with everything of `mine` in its order, and what they share once: whole lines, or words where both are
 * within a line. Two lines that are alike are two lines: neither was written as a form of the other.
 */
function unionOf(theirs: string, mine: string): string {
  const pattern = partPatternOf(theirs, mine)
  const from: readonly string[] = theirs.match(pattern) ?? []
  const to: readonly string[] = mine.match(pattern) ?? []
  let result = ''
  let position = 0
  for (const region of diffLists(from, to, lineEditsMax)) {
    result += from.slice(position, region.end).join('') + to.slice(region.toStart, region.toEnd).join('')
    position = region.end
  }
  return result + from.slice(position).join('')
}

function partPatternOf(theirs: string, mine: string): RegExp {
  if (!theirs.includes('\n') && !mine.includes('\n')) return tokenPattern
  return theirs.startsWith('\n') && mine.startsWith('\n') ? ledLinePattern : linePattern
}
