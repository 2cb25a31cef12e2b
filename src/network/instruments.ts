/**
 * The instruments port: where the network counts and measures, whoever keeps the figures. A label is a word of a small set (a protocol, a
 * direction, the name of an error), never a peer: whoever keeps the figures bounds them all the same.
 */

/** Words by the names of an instrument's labels; all of them, each time. */
export type Labels = Readonly<Record<string, string | number>>

export interface InstrumentOptions {
  /** Letters, digits and underscores; the same name again gives the same instrument, because a node begins anew after a pause. */
  readonly name: string
  readonly help: string
  readonly labels: readonly string[]
}

/** What only grows. */
export interface Counter {
  add(labels: Labels, amount: number): void
  reset(): void
}

/** What goes up and down. */
export interface Gauge extends Counter {
  set(labels: Labels, value: number): void
  /** Has `measure` set it anew, in place of what it was, whenever somebody asks for the figures. The returned function ends that. */
  onRead(measure: () => void | Promise<void>): () => void
}

/** How values are spread. */
export interface Histogram {
  observe(labels: Labels, value: number): void
  reset(): void
}

/** None of these throws, whatever it is given. */
export interface Instruments {
  counter(options: InstrumentOptions): Counter
  gauge(options: InstrumentOptions): Gauge
  /** `buckets`: upper bounds; in seconds from 5 ms to 10 s unless told. */
  histogram(options: InstrumentOptions, buckets?: readonly number[]): Histogram
}
