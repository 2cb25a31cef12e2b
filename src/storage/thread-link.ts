/** The main thread's end of the writer thread: requests, one at a time, and their answers. */
import { Worker } from 'node:worker_threads'
import type { WriterAnswer, WriterData, WriterRequest } from './sqlite-writer.ts'

export class WriterLink {
  readonly #worker: Worker
  readonly #ended: Promise<void>
  #answer = Promise.withResolvers<WriterAnswer>()
  #death: Error | undefined

  private constructor(data: WriterData) {
    // Run from sources or from what was built of them.
    const program = import.meta.url.endsWith('.ts') ? './sqlite-writer.ts' : './sqlite-writer.js'
    this.#worker = new Worker(new URL(program, import.meta.url), { workerData: data, name: 'store' })
    this.#worker.on('message', (answer: WriterAnswer) => this.#answer.resolve(answer))
    this.#worker.on('error', (error: Error) => this.#die(error))
    this.#ended = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#die(new Error('the writer thread ended'))
        resolve()
      })
    })
  }

  /** Starts the thread; resolves when it has the database open. */
  static async start(data: WriterData): Promise<WriterLink> {
    const link = new WriterLink(data)
    await link.#answer.promise
    return link
  }

  /** Sends a request, giving its buffer away. Rejects when the thread is dead or dies. The caller awaits one before the next. */
  request(request: WriterRequest): Promise<WriterAnswer> {
    this.#answer = Promise.withResolvers()
    if (this.#death === undefined) this.#worker.postMessage(request, typeof request === 'string' ? [] : [request.buffer])
    else this.#answer.reject(this.#death)
    return this.#answer.promise
  }

  /** Settles when the thread has ended by itself. */
  get ended(): Promise<void> {
    return this.#ended
  }

  /** Ends the thread without more ado. */
  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }

  #die(error: Error): void {
    this.#death ??= error
    this.#answer.reject(this.#death)
  }
}
