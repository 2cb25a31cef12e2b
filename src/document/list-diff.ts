/** The difference of two lists, under texts (lists of lines and words) and JSON arrays. Pure, and of bounded work. */
import { diffArrays } from 'diff'

/** `from.slice(start, end)` became `to.slice(toStart, toEnd)`. */
export interface Region {
  readonly start: number
  readonly end: number
  readonly toStart: number
  readonly toEnd: number
}

/**
 * What turns `from` into `to`: regions in order, with something kept between each and the next. Takes some `editsMax`²
 * steps at most; where the lists differ by more edits than that, everything between their common ends is one region.
 */
export function diffLists<Item>(
  from: readonly Item[],
  to: readonly Item[],
  editsMax: number,
  equals: (a: Item, b: Item) => boolean = Object.is,
): readonly Region[] {
  const lengthMin = Math.min(from.length, to.length)
  let head = 0
  while (head < lengthMin && equals(from[head] as Item, to[head] as Item)) head++
  let tail = 0
  while (tail < lengthMin - head && equals(from[from.length - 1 - tail] as Item, to[to.length - 1 - tail] as Item)) tail++
  const fromEnd = from.length - tail
  const toEnd = to.length - tail
  const whole = { start: head, end: fromEnd, toStart: head, toEnd }
  if (head === fromEnd || head === toEnd) return head === fromEnd && head === toEnd ? [] : [whole]

  const changes = diffArrays(from.slice(head, fromEnd), to.slice(head, toEnd), { comparator: equals, maxEditLength: editsMax })
  if (changes === undefined) return [whole]
  const regions: Region[] = []
  let start = head
  let toStart = head
  let end = head
  let toPosition = head
  const close = () => {
    if (end > start || toPosition > toStart) regions.push({ start, end, toStart, toEnd: toPosition })
  }
  for (const { added, removed, count } of changes) {
    if (removed) end += count
    else if (added) toPosition += count
    else {
      close()
      end += count
      toPosition += count
      start = end
      toStart = toPosition
    }
  }
  close()
  return regions
}
