/** Finds the name that a person probably meant. */

/** Edits that a slip of the fingers makes; more than this and a suggestion would be a guess. */
const editsMax = 2

/** The known name within two edits of `name`, the nearest first and then the first listed; undefined where there is none. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const [nearest] = known
    .map((candidate) => ({ candidate, edits: editDistance(name.toLowerCase(), candidate) }))
    .filter(({ edits, candidate }) => edits <= Math.min(editsMax, candidate.length - 1))
    .toSorted((a, b) => a.edits - b.edits)
  return nearest?.candidate
}

/** Levenshtein's distance, with the swap of two neighbours as one edit. */
function editDistance(a: string, b: string): number {
  let before: readonly number[] = []
  let above: readonly number[] = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1]
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      current[column] = Math.min(
        (above[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (above[column - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (before[column - 2] ?? 0) + 1 : Infinity,
      )
    }
    before = above
    above = current
  }
  return above[b.length] ?? 0
}
