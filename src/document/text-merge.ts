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
/** Steps that all word diffs of one text may take together: up to 25 ms. Half of it for one region is the square of 512 edits. */
const wordStepsMax = 512 * 512

/** Words are the unit of merging: merging letters makes gibberish of two rewrites. In scripts without spaces each ideograph is one. */
const wordPattern = /\p{Ideographic}|[[\p{L}\p{M}\p{N}_]--\p{Ideographic}]+|[^]/gv
const linePattern = /[^\n]*\n|[^\n]+/g

/** What turns `from` into `to`: hunks in order, with something kept between each and the next. */
export function diffText(from: string, to: string): readonly Hunk[] {
  const changedLines = diffTokens(from.match(linePattern) ?? [], to.match(linePattern) ?? [], lineEditsMax)
  const wordEditsMax = Math.floor(Math.sqrt(wordStepsMax / Math.max(changedLines.length, 1)))
  return changedLines.flatMap(({ start, end, text }) => {
    const before = from.slice(start, end)
    const changedWords = diffTokens(before.match(wordPattern) ?? [], text.match(wordPattern) ?? [], wordEditsMax)
    return changedWords.map((hunk) => ({ start: start + hunk.start, end: start + hunk.end, text: hunk.text }))
  })
}

/** Hunks between two lists of tokens, in offsets of the joined text. */
function diffTokens(from: readonly string[], to: readonly string[], editsMax: number): readonly Hunk[] {
  let counted = 0
  let offset = 0
  const offsetOf = (index: number) => {
    for (; counted < index; counted++) offset += (from[counted] as string).length
    return offset
  }
  return diffLists(from, to, editsMax).map(({ start, end, toStart, toEnd }) => ({
    start: offsetOf(start),
    end: offsetOf(end),
    text: to.slice(toStart, toEnd).join(''),
  }))
}

/**
 * `current` with what turned `base` into `mine` done to it too. What either side inserted is in the result, once where
 * both made the same change; what either side deleted is not. Of two insertions at one place that of `current` comes first.
 */
export function mergeText(base: string, mine: string, current: string): string {
  if (base === mine || mine === current) return current
  if (base === current) return mine
  const theirHunks = diffText(base, current)
  const theirChanges = new Set(theirHunks.map(hunkToKey))
  const myHunks = diffText(base, mine).filter((hunk) => !theirChanges.has(hunkToKey(hunk)))
  // An insertion right before something that the other side replaced stays before the replacement.
  const theirReplacements = new Set(theirHunks.filter(({ start, end }) => end > start).map(({ start }) => start))
  const insertions = [
    ...theirHunks.map(({ start, text }) => ({ at: start, rank: 1, text })),
    ...myHunks.map(({ start, end, text }) => ({ at: start, rank: start === end && theirReplacements.has(start) ? 0 : 2, text })),
  ].sort((a, b) => a.at - b.at || a.rank - b.rank)
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
  for (const { at, text } of insertions) {
    keepUpTo(at)
    result += text
  }
  keepUpTo(base.length)
  return result
}

function hunkToKey({ start, end, text }: Hunk): string {
  return `${start},${end},${text}`
}
