/** Asks for passphrases: at the terminal without showing them, or from standard input. Never from an argument, which other users could see. */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { refusal, textOf } from './arguments.ts'
import type { Streams } from './output.ts'

/** The passphrase that `file` is sealed with. `fromInput`: standard input, its first line, instead of the terminal. Throws `invalid-request`. */
export async function readPassphrase(streams: Streams, file: string, fromInput: boolean): Promise<string> {
  return fromInput ? firstLineOf(streams) : (await ask(streams, [`passphrase of ${file}: `]))[0]
}

/** A passphrase to seal `file` with; at the terminal it is typed twice. */
export async function readNewPassphrase(streams: Streams, file: string, fromInput: boolean): Promise<string> {
  if (fromInput) return firstLineOf(streams)
  const [passphrase, again] = await ask(streams, [`passphrase for ${file}: `, 'the same again: '])
  if (passphrase !== again) throw refusal('that was not the same passphrase twice: nothing was done')
  return passphrase
}

async function firstLineOf({ stdin }: Streams): Promise<string> {
  const [line = ''] = (await textOf('-', stdin)).split(/\r?\n/, 1)
  if (line === '') throw refusal('there is no passphrase on standard input: give it as the first line')
  return line
}

/** The answers to some questions, one to each. */
async function ask<const Questions extends readonly string[]>(
  { stdin, stderr }: Streams,
  questions: Questions,
): Promise<{ [Index in keyof Questions]: string }> {
  if (stdin.isTTY !== true)
    throw refusal('there is no terminal to type the passphrase at: give it on standard input, with --passphrase-stdin')
  // What readline would show goes nowhere; only the questions are seen.
  const output = new Writable({ write: (_chunk, _encoding, done) => done() })
  const terminal = createInterface({ input: stdin, output, terminal: true, historySize: 0 })
  const lines = terminal[Symbol.asyncIterator]()
  const answers: string[] = []
  try {
    for (const question of questions) {
      stderr.write(question)
      const { done, value } = await lines.next()
      stderr.write('\n')
      if (done === true || value === '') throw refusal('no passphrase was given: nothing was done')
      answers.push(value)
    }
  } finally {
    terminal.close()
  }
  return answers as { [Index in keyof Questions]: string }
}
