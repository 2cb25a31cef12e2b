import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { linesOf } from '../../../src/api/lines.ts'

async function* chunksOf(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  for (const [index, from] of [0, ...places].entries()) yield bytes.subarray(from, places[index] ?? bytes.length)
}

async function collect(lines: AsyncIterable<readonly Buffer[]>): Promise<{ lines: string[]; failure: unknown }> {
  const found: string[] = []
  try {
    for await (const group of lines) found.push(...group.map(String))
    return { lines: found, failure: undefined }
  } catch (failure) {
    return { lines: found, failure }
  }
}

describe('lines of a stream of bytes', () => {
  test('are the same wherever the stream is cut', async () => {
    const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '))
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { minLength: 1 }),
        fc.array(fc.nat(), { maxLength: 10 }),
        fc.boolean(),
        async (lines, cuts, ended) => {
          const bytes = Buffer.from(lines.join('\n') + (ended ? '\n' : ''))
          const found = await collect(linesOf(chunksOf(bytes, cuts), 1_000_000))
          expect(found.lines).toEqual(ended || lines.at(-1) !== '' ? lines : lines.slice(0, -1))
        },
      ),
    )
  })

  test('stop at a line over the limit, after the lines before it, and hold no more than the limit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 10 }), async (cuts) => {
        const bytes = Buffer.from(`one\ntwo\n${'x'.repeat(100)}\nthree\n`)
        const { lines, failure } = await collect(linesOf(chunksOf(bytes, cuts), 99))
        expect(lines).toEqual(['one', 'two'])
        expect(failure).toMatchObject({ code: 'too-large' })
      }),
    )
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) yield Buffer.alloc(1_000, 'x')
    }
    expect((await collect(linesOf(endless(), 10_000))).failure).toMatchObject({ code: 'too-large' })
  })

  test('may be exactly as long as the limit', async () => {
    expect(await collect(linesOf(chunksOf(Buffer.from('abcd\nef'), [2]), 4))).toEqual({ lines: ['abcd', 'ef'], failure: undefined })
  })
})
