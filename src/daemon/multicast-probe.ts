/**
 * Whether multicast DNS works on this machine: asks on the group who belongs to an agent, as the daemon does, and listens for its own
 * question and for an answer. It shows that no firewall here is in the way; a network between machines can still be.
 */
import { createSocket } from 'node:dgram'
import type { Clock, Random } from '../core/index.ts'

/** RFC 6762. */
const group = '224.0.0.251'
const port = 5353
/** How long to listen. On one machine an answer takes milliseconds; instances wait up to 120 ms before they answer together. */
const listenMilliseconds = 1_000
/** How long to go on for the daemon's answer once the question was heard. */
const answerMilliseconds = 600

export interface MulticastFindings {
  /** The question came back. */
  readonly heard: boolean
  /** Somebody of the agent answered. */
  readonly answered: boolean
  /** Why the system did not even let us ask; null where it did. */
  readonly refusal: string | null
}

/** Asks once for `serviceTag`. Never rejects. */
export function probeMulticast(serviceTag: string, clock: Clock, random: Random): Promise<MulticastFindings> {
  const { promise, resolve } = Promise.withResolvers<MulticastFindings>()
  const id = random.bytes(2)
  const question = questionFor(serviceTag, id)
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  let heard = false
  let cancel = clock.after(listenMilliseconds, () => resolve({ heard, answered: false, refusal: null }))
  const refuse = (error: Error): void => resolve({ heard, answered: false, refusal: error.message })
  socket.on('error', refuse)
  socket.on('message', (message) => {
    if (!message.includes(question.subarray(headerBytes, -typeAndClassBytes))) return
    if (isAnswer(message)) return resolve({ heard, answered: true, refusal: null })
    if (heard || message[0] !== id[0] || message[1] !== id[1]) return
    heard = true
    cancel()
    cancel = clock.after(answerMilliseconds, () => resolve({ heard, answered: false, refusal: null }))
  })
  socket.bind(port, () => {
    try {
      socket.addMembership(group)
      socket.setMulticastLoopback(true)
      socket.send(question, port, group, (error) => {
        if (error !== null) refuse(error)
      })
    } catch (error) {
      refuse(error as Error)
    }
  })
  return promise.finally(() => {
    cancel()
    socket.close()
  })
}

const headerBytes = 12
const typeAndClassBytes = 4

/** RFC 1035, 4.1: one question for PTR records of the service. */
function questionFor(serviceTag: string, id: Uint8Array): Buffer {
  const header = Buffer.from([...id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
  const labels = [`_${serviceTag}`, '_udp', 'local'].map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, 12, 0, 1])])
}

function isAnswer(message: Buffer): boolean {
  return ((message[2] ?? 0) & 0x80) !== 0
}
