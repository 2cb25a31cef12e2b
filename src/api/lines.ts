/** Lines out of chunks of bytes: newline-delimited JSON as it comes from a socket. */
import { SelfsameError } from '../core/index.ts'

const newline = 0x0a

/**
 * The lines of a stream of bytes, without their newlines, together for each chunk that completed some; the last line needs no
 * newline. Holds one chunk and one unfinished line. Throws `too-large` at a line over `lineBytesMax`, after the lines before it were given.
 */
export async function* linesOf(source: AsyncIterable<Buffer>, lineBytesMax: number): AsyncGenerator<Buffer[]> {
  let pieces: Buffer[] = []
  let length = 0
  for await (const chunk of source) {
    const lines: Buffer[] = []
    for (let from = 0; from < chunk.length && length <= lineBytesMax;) {
      const at = chunk.indexOf(newline, from)
      const piece = chunk.subarray(from, at < 0 ? chunk.length : at)
      from += piece.length + 1
      length += piece.length
      pieces.push(piece)
      if (at >= 0 && length <= lineBytesMax) {
        lines.push(pieces.length === 1 ? piece : Buffer.concat(pieces))
        pieces = []
        length = 0
      }
    }
    if (lines.length > 0) yield lines
    if (length > lineBytesMax) throw new SelfsameError('too-large', `the line is longer than ${lineBytesMax} bytes`)
  }
  if (length > 0) yield [Buffer.concat(pieces)]
}
