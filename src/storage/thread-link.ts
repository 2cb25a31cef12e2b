/** The main thread's end of a thread of the store: requests, one at a time, and their answers. */
import { Worker } from 'node:worker_threads'
import type { ResourceLimits } from 'node:worker_threads'

/** The programs of the store's threads. */
type ThreadProgram = 'sqlite-scrubber' | 'sqlite-writer'

export class ThreadLink<Request, Answer> {
  readonly #worker: Worker
  readonly #ended: Promise<void>
  #answer = Promise.withResolvers<Answer>()
  #death: Error | undefined

  private constructor(program: ThreadProgram, data: unknown, resourceLimits: ResourceLimits) {
    // Run from sources or from what was built of them.
    const file = `../storage/${program}.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`
    this.#worker = new Worker(new URL(file, import.meta.url), { workerData: data, name: program, resourceLimits })
    this.#worker.on('message', (answer: Answer) => this.#answer.resolve(answer))
    this.#worker.on('error', (error: Error) => this.#die(error))
    this.#ended = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#die(new Error(`the thread ${program} ended`))
        resolve()
      })
    })
  }

  /** Starts the thread; resolves when it has said that it is ready: its first answer. */
  static async start<Request, Answer>(
    program: ThreadProgram,
    data: unknown,
    resourceLimits: ResourceLimits = {},
  ): Promise<ThreadLink<Request, Answer>> {
    const link = new ThreadLink<Request, Answer>(program, data, resourceLimits)
    await link.#answer.promise
    return link
  }

  /** Sends a request, giving its buffer away. Rejects when the thread is dead or dies. The caller awaits one before the next. */
  request(request: Request): Promise<Answer> {
    this.#answer = Promise.withResolvers()
    if (this.#death === undefined) this.#worker.postMessage(request, request instanceof Uint8Array ? [request.buffer as ArrayBuffer] : [])
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
