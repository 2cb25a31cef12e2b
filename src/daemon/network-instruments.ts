/** The network's instruments, on prom-client: what libp2p and gossipsub count, in the daemon's metrics. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { InstrumentOptions, Instruments, Labels } from '../network/index.ts'

/** Different words that a label may have before the rest of them count together: of protocols, errors and addresses there are some tens. */
const wordsMax = 64
const otherWord = 'other'

export interface NetworkInstruments extends Instruments {
  readonly registry: Registry
}

export function createNetworkInstruments(): NetworkInstruments {
  const registry = new Registry()
  const made = new Map<string, unknown>()

  /** The instrument of a name; `make` is called for the first who asks. */
  function once<Instrument>(name: string, make: () => Instrument): Instrument {
    const instrument = made.get(name) ?? make()
    made.set(name, instrument)
    return instrument as Instrument
  }

  return {
    registry,

    counter: (options) =>
      once(options.name, () => {
        const bounded = boundedLabels()
        const counter = new Counter({ ...settingsOf(options), registers: [registry] })
        return { add: (labels, amount) => counter.inc(bounded(labels), Math.max(0, amount)), reset: () => counter.reset() }
      }),

    gauge: (options) =>
      once(options.name, () => {
        const bounded = boundedLabels()
        const measures = new Set<() => void | Promise<void>>()
        const gauge = new Gauge({
          ...settingsOf(options),
          registers: [registry],
          async collect() {
            if (measures.size > 0) this.reset()
            for (const measure of measures) await measure()
          },
        })
        return {
          add: (labels, amount) => gauge.inc(bounded(labels), amount),
          set: (labels, value) => gauge.set(bounded(labels), value),
          reset: () => gauge.reset(),
          onRead(measure) {
            measures.add(measure)
            return () => {
              // What was measured last is not so any more.
              if (measures.delete(measure) && measures.size === 0) gauge.reset()
            }
          },
        }
      }),

    histogram: (options, buckets) =>
      once(options.name, () => {
        const bounded = boundedLabels()
        const histogram = new Histogram({
          ...settingsOf(options),
          registers: [registry],
          ...(buckets === undefined ? {} : { buckets: [...buckets] }),
        })
        return { observe: (labels, value) => histogram.observe(bounded(labels), value), reset: () => histogram.reset() }
      }),
  }
}

function settingsOf({ help, labels, name }: InstrumentOptions): { name: string; help: string; labelNames: string[] } {
  return { name, help, labelNames: [...labels] }
}

/**
 * Keeps a label from taking ever more words: each is a time series for whoever collects them. Asked for each message, so what is known
 * costs a look.
 */
function boundedLabels(): (labels: Labels) => Labels {
  const wordsByLabel = new Map<string, Set<string | number>>()

  /** Whether the label may have this word. */
  function takes(label: string, word: string | number): boolean {
    let words = wordsByLabel.get(label)
    if (words === undefined) wordsByLabel.set(label, (words = new Set()))
    if (words.size < wordsMax) words.add(word)
    return words.has(word)
  }

  return (labels) => {
    for (const label in labels) {
      if (!takes(label, labels[label] as string | number))
        return Object.fromEntries(Object.entries(labels).map(([each, word]) => [each, takes(each, word) ? word : otherWord]))
    }
    return labels
  }
}
