/** Real daemons for the measuring programs: a group that is ended whatever happens, and requests made with as little work as can be. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { socketPathOf } from '../../src/api/client.ts'
import type { EntryInput } from '../../src/api/client.ts'
import { connected, createGroup } from '../../test/e2e/group.ts'
import type { Group, Instance } from '../../test/e2e/group.ts'

/** Runs `body` with so many daemons of one agent, all connected to each other. The first is the founder. */
export async function* withDaemons<Item>(
  total: number,
  body: (instances: readonly Instance[], group: Group) => AsyncIterable<Item>,
): AsyncGenerator<Item> {
  const group = await createGroup()
  try {
    const founder = await group.found('i0')
    const instances = [founder]
    for (let index = 1; index < total; index += 1) instances.push(await group.join(`i${index}`, founder))
    await connected(...instances)
    yield* body(instances, group)
    for (const instance of instances) await instance.stop()
  } finally {
    await group.close()
  }
}

/** What a request needs besides its body. */
function requestText(path: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

const appendPath = (log: string): string => `/v1/log/${encodeURIComponent(log)}/entries`

/** Posts one body after the other on a connection of its own, until there are none. Rejects at the first that is refused. */
async function postAll(socketPath: string, path: string, bodies: Iterator<string>): Promise<void> {
  const socket: Socket = connect(socketPath)
  await once(socket, 'connect')
  try {
    await new Promise<void>((resolve, reject) => {
      let answer = ''
      const next = (): void => {
        const { done, value } = bodies.next()
        if (done === true) resolve()
        else socket.write(requestText(path, value))
      }
      socket.setEncoding('latin1').on('data', (text: string) => {
        answer += text
        const headEnd = answer.indexOf('\r\n\r\n')
        if (headEnd < 0) return
        const length = Number(/content-length: (\d+)/iu.exec(answer)?.[1])
        if (answer.length < headEnd + 4 + length) return
        if (!answer.startsWith('HTTP/1.1 2')) return reject(new Error(`a request was refused: ${answer}`))
        answer = ''
        next()
      })
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('the daemon closed a connection')))
      next()
    })
  } finally {
    socket.destroy()
  }
}

/** Posts all bodies, so many of them under way at a time, each on a kept-alive connection as a client would. */
export async function post(home: string, path: string, inFlight: number, bodies: Iterator<string>): Promise<void> {
  const socketPath = socketPathOf(home)
  await Promise.all(Array.from({ length: inFlight }, () => postAll(socketPath, path, bodies)))
}

/** Appends entries one by one, so many requests under way at a time. */
export function appendSingly(
  home: string,
  log: string,
  inFlight: number,
  total: number,
  entryOf: (index: number) => EntryInput,
): Promise<void> {
  return post(home, appendPath(log), inFlight, bodies(total, entryOf))
}

function* bodies(total: number, entryOf: (index: number) => EntryInput): Generator<string> {
  for (let index = 0; index < total; index += 1) yield JSON.stringify(entryOf(index))
}

/** Resolves when so many instances hold all that `writer` wrote before: its next write is held by them no sooner. */
export async function held({ agent }: Instance, replicas: number): Promise<void> {
  const receipt = await agent.set('bench').add('held', { replicas, timeoutMs: 60_000 })
  if (receipt.replicas.held < replicas) throw new Error(`only ${receipt.replicas.held} of ${replicas} instances hold what was written`)
}
