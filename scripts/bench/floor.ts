/**
 * The floor: a plain program that does the physical work of an append at A that is seen at B. A request on a Unix socket, an append with its
 * fdatasync, one hop over loopback TCP to another process, an append with its fdatasync there, a push to the observer. Nothing is signed,
 * indexed, merged or checked. Other figures are told as so many times this.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../test/e2e/group.ts'
import { atRate, inMilliseconds, perSecond, quantilesOf } from './measure.ts'
import type { Quantiles, Row, Scale } from './measure.ts'

export interface Floor {
  /** Milliseconds from a request at A until the observer at B has it. */
  single(perSecondWanted: number, total: number): Promise<Quantiles>
  /** Requests a second that A answered, so many of them under way at a time, until B has them all. */
  pipelined(inFlight: number, total: number): Promise<number>
  /** Lines a second, sent as fast as they are taken, until B has them all. */
  bulk(total: number, lineOf: (index: number) => string): Promise<number>
  close(): void
}

/** Lines sent in one piece. */
const linesPerPiece = 400

async function startNode(...args: readonly (string | number)[]): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, 'floor-node.ts'), args.map(String))
  await once(child, 'message')
  return child
}

async function connected(path: string): Promise<Socket> {
  const socket = connect(path)
  await once(socket, 'connect')
  return socket
}

/** Starts the two processes. */
export async function openFloor(): Promise<Floor> {
  const directory = mkdtempSync(join(tmpdir(), 'selfsame-floor-'))
  const at = (name: string): string => join(directory, name)
  const port = await freePort()
  const b = await startNode(at('b.sock'), at('b.log'), port, 0)
  const a = await startNode(at('a.sock'), at('a.log'), 0, port)
  const [requests, observer] = [await connected(at('a.sock')), await connected(at('b.sock'))]
  observer.setEncoding('utf8').write('observe\n')
  let answered = (_count: number): void => {}
  let seen = (_lines: readonly string[]): void => {}
  requests.on('data', (bytes: Buffer) => answered(bytes.length))
  let rest = ''
  observer.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    seen(lines)
  })

  /** Resolves when the observer has seen so many more lines. */
  const untilSeen = (total: number): Promise<void> => {
    let left = total
    return new Promise((resolve) => {
      seen = (lines) => {
        left -= lines.length
        if (left === 0) resolve()
      }
    })
  }

  return {
    async single(perSecondWanted, total) {
      const sentAt: number[] = []
      const times: number[] = []
      const done = new Promise<void>((resolve) => {
        seen = (lines) => {
          for (const line of lines) times.push(performance.now() - (sentAt[(JSON.parse(line) as { id: number }).id] as number))
          if (times.length === total) resolve()
        }
      })
      await atRate(perSecondWanted, total, (id) => {
        sentAt[id] = performance.now()
        requests.write(`${JSON.stringify({ id, text: thought(id) })}\n`)
      })
      await done
      return quantilesOf(times)
    },

    async pipelined(inFlight, total) {
      const done = untilSeen(total)
      const began = performance.now()
      let sent = 0
      const send = (count: number): void => {
        let lines = ''
        for (const end = Math.min(sent + count, total); sent < end; sent += 1) lines += `${JSON.stringify({ text: thought(sent) })}\n`
        if (lines !== '') requests.write(lines)
      }
      answered = send
      send(inFlight)
      await done
      answered = () => {}
      return (total * 1_000) / (performance.now() - began)
    },

    async bulk(total, lineOf) {
      const done = untilSeen(total)
      const began = performance.now()
      for (let from = 0; from < total; from += linesPerPiece) {
        let piece = ''
        for (let index = from; index < Math.min(from + linesPerPiece, total); index += 1) piece += `${lineOf(index)}\n`
        if (!requests.write(piece)) await once(requests, 'drain')
      }
      await done
      return (total * 1_000) / (performance.now() - began)
    },

    close() {
      requests.destroy()
      observer.destroy()
      a.disconnect()
      b.disconnect()
    },
  }
}

const syllables = ['ba', 'den', 'ga', 'lo', 'mir', 'no', 'pel', 'ri', 'sa', 'tum', 'vor', 'wen', 'yi', 'zo']
/** Texts before they repeat: more than is compressed together. */
const thoughts = Array.from({ length: 20_000 }, (_, index) => {
  const number = (at: number): number => (Math.imul(index * 24 + at + 1, 2_654_435_761) >>> 8) % 2_744
  const word = (spelt: number): string =>
    `${syllables[spelt % 14]}${syllables[Math.floor(spelt / 14) % 14]}${spelt % 3 === 0 ? '' : syllables[Math.floor(spelt / 196)]}`
  return Array.from({ length: 16 }, (_, at) => word(number(at))).join(' ')
})

/** What is appended: some 100 bytes of words, which compress about as well as what people write. */
export function thought(index: number): string {
  return `${thoughts[index % thoughts.length]} (${index})`
}

export async function* measure(scale: Scale): AsyncGenerator<Row> {
  const floor = await openFloor()
  try {
    const { p50, p99 } = await floor.single(200, scale(2_000, 100))
    yield { what: 'floor: append at A to event at B, 200 a second, p50 / p99', measured: `${inMilliseconds(p50)} / ${inMilliseconds(p99)}` }
    const rate = await floor.pipelined(64, scale(300_000, 1_000))
    yield { what: 'floor: appends, 64 in flight, until B has them', measured: perSecond(rate) }
    const bulk = await floor.bulk(scale(1_000_000, 1_000), (index) => JSON.stringify({ text: thought(index) }))
    yield { what: 'floor: a stream of appends, until B has them', measured: perSecond(bulk) }
  } finally {
    floor.close()
  }
}
