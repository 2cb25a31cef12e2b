/** The main thread's end of the writer thread: one request at a time, and word of the checkpoints in between. */
import { Worker } from 'node:worker_threads'
import type { WriterAnswer, WriterData, WriterRequest } from './sqlite-writer.ts'

type Reply = Exclude<WriterAnswer, { event: 'checkpointed' }>

export class WriterLink {
  readonly #worker: Worker
  readonly #ended: Promise<void>
  #reply: PromiseWithResolvers<Reply>
  #checkpoint: PromiseWithResolvers<void> | undefined

  private constructor(data: WriterData, checkpointFailed: (reason: string) => void) {
    // Run from sources or from what was built of them.
    const program = import.meta.url.endsWith('.ts') ? './sqlite-writer.ts' : './sqlite-writer.js'
    this.#worker = new Worker(new URL(program, import.meta.url), { workerData: data, name: 'store' })
    this.#reply = Promise.withResolvers()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ended = promise
    this.#worker.on('message', (answer: WriterAnswer) => {
      if (answer.event !== 'checkpointed') {
        if (answer.event === 'committed' && answer.checkpoint) this.#checkpoint = Promise.withResolvers()
        this.#reply.resolve(answer)
        return
      }
      if (answer.failure !== null) checkpointFailed(answer.failure)
      this.#checkpoint?.resolve()
      this.#checkpoint = undefined
    })
    this.#worker.on('error', (error) => this.#reply.reject(error))
    this.#worker.on('exit', () => {
      this.#reply.reject(new Error('the writer thread ended'))
      this.#checkpoint?.resolve()
      resolve()
    })
  }

  /** Starts the thread; resolves when it has the database open. */
  static async start(data: WriterData, checkpointFailed: (reason: string) => void): Promise<WriterLink> {
    const link = new WriterLink(data, checkpointFailed)
    await link.#reply.promise
    return link
  }

  /** Settles when no checkpoint is under way; undefined where none is. */
  get checkpoint(): Promise<void> | undefined {
    return this.#checkpoint?.promise
  }

  /** Sends a request, giving its buffer away, and answers what comes of it. Rejects when the thread dies. The caller waits for one before the next. */
  request(request: WriterRequest): Promise<Reply> {
    this.#reply = Promise.withResolvers()
    this.#worker.postMessage(request, request === 'close' ? [] : [request.buffer])
    return this.#reply.promise
  }

  /** Settles when the thread has ended by itself. */
  get ended(): Promise<void> {
    return this.#ended
  }

  /** Ends the thread without more ado. */
  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }
}
