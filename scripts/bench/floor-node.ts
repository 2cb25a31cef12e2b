/**
 * One of the two processes of the floor: `node floor-node.ts SOCKET FILE LISTEN-PORT|0 FORWARD-PORT|0`. Takes lines from its Unix
 * socket or its TCP port, appends them to a file with one fdatasync for all that came meanwhile, and only then answers on the socket that they came from,
 * shows them to its observers and forwards them. It does the physical work of a daemon and nothing else.
 */
import { fdatasync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { dirname } from 'node:path'

const [socketPath = '', filePath = '', listenPort = '0', forwardPort = '0'] = process.argv.slice(2)
/** Bytes of the file, written beforehand and then over and over, as the write-ahead log of a database is: a file that grows costs more. */
const fileBytes = 32 << 20
const file = openSync(filePath, 'w+')
writeSync(file, new Uint8Array(fileBytes))
fsyncSync(file)
let position = 0
const observers = new Set<Socket>()
const onward = forwardPort === '0' ? null : connect(Number(forwardPort), '127.0.0.1').setNoDelay()

interface Waiting {
  readonly from: Socket | null
  readonly lines: string
  readonly count: number
}

let waiting: Waiting[] = []
let committing = false

function commit(): void {
  if (committing || waiting.length === 0) return
  committing = true
  const batch = waiting
  waiting = []
  const text = batch.map(({ lines }) => lines).join('')
  if (position + text.length > fileBytes) position = 0
  position += writeSync(file, text, position)
  fdatasync(file, (error) => {
    if (error) throw error
    committing = false
    for (const { count, from } of batch) from?.write('.'.repeat(count))
    for (const observer of observers) observer.write(text)
    onward?.write(text)
    commit()
  })
}

/** Takes whole lines from a connection; each is understood before it is stored. */
function takeFrom(socket: Socket, answers: boolean): void {
  let rest = ''
  socket.setEncoding('utf8').on('data', (text: string) => {
    const end = text.lastIndexOf('\n') + 1
    if (end === 0) {
      rest += text
      return
    }
    const lines = rest + text.slice(0, end)
    rest = text.slice(end)
    const each = lines.split('\n')
    each.pop()
    if (each[0] === 'observe') {
      observers.add(socket)
      return
    }
    for (const line of each) JSON.parse(line)
    waiting.push({ from: answers ? socket : null, lines, count: each.length })
    commit()
  })
  socket.on('error', () => observers.delete(socket))
}

createServer((socket) => takeFrom(socket, true)).listen(socketPath, () => {
  if (listenPort === '0') process.send?.('ready')
  else createServer((socket) => takeFrom(socket.setNoDelay(), false)).listen(Number(listenPort), '127.0.0.1', () => process.send?.('ready'))
})
// It ends with whoever started it, also where that was killed.
for (const event of ['disconnect', 'SIGINT', 'SIGTERM']) {
  process.once(event, () => {
    rmSync(dirname(filePath), { recursive: true, force: true })
    process.exit()
  })
}
