/** A terminal of a test: what a command reads, and what it said. */
import { PassThrough, Readable, Writable } from 'node:stream'
import type { Connect } from '../../../src/api/client.ts'
import { runCommandLine } from '../../../src/cli/program.ts'
import type { Streams } from '../../../src/cli/output.ts'

export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

class Gathering extends Writable {
  readonly isTTY: boolean
  #chunks: Buffer[] = []

  constructor(isTTY: boolean) {
    super()
    this.isTTY = isTTY
  }

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.#chunks.push(chunk)
    done()
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString()
  }
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly isTTY?: boolean
  readonly daemonProgram?: string
}

export function createConsole({ input = '', isTTY = false }: RunOptions = {}) {
  const stdout = new Gathering(isTTY)
  const stderr = new Gathering(isTTY)
  const stdin = Object.assign(Readable.from(input.length === 0 ? [] : [Buffer.from(input)]).pipe(new PassThrough()), { isTTY })
  const streams: Streams = { stdin, stdout, stderr }
  return { streams, out: () => stdout.text(), err: () => stderr.text() }
}

/** Runs one call of the command line to its end. */
export async function run(args: readonly string[], connect: Connect, options: RunOptions = {}): Promise<Said> {
  const { streams, out, err } = createConsole(options)
  const code = await runCommandLine(args, {
    streams,
    connect,
    version: '1.2.3',
    daemonProgram: options.daemonProgram ?? '/no/such/program',
  })
  return { code, out: out(), err: err() }
}

export const noDaemon: Connect = () => Promise.reject(new Error('a command connected that should not'))
