/** Patterns that choose documents: `kind/glob`, where `*` stands for any run of characters, slashes included. */

/**
 * Tells whether a document is meant by any of the patterns; no patterns mean every document. The kind may be `*`.
 * Matching takes at most pattern times name steps, whatever the pattern.
 */
export function createMatcher(patterns: readonly string[]): (kind: string, name: string) => boolean {
  if (patterns.length === 0) return () => true
  const globs = patterns.map((pattern) => pattern.split('*'))
  return (kind, name) => {
    const path = `${kind}/${name}`
    return globs.some((pieces) => matchesPieces(path, pieces))
  }
}

/** Whether `text` is the pieces in order with anything between them: each middle piece is taken where it first fits. */
function matchesPieces(text: string, pieces: readonly string[]): boolean {
  const first = pieces[0] as string
  const last = pieces.at(-1) as string
  if (pieces.length === 1) return text === first
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false
  const end = text.length - last.length
  let from = first.length
  for (const piece of pieces.slice(1, -1)) {
    const at = text.indexOf(piece, from)
    if (at < 0 || at + piece.length > end) return false
    from = at + piece.length
  }
  return true
}
