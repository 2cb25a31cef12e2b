/**
 * The metrics of libp2p and of gossipsub, on the instruments that the daemon keeps, and bytes by protocol. One of these for each life of
 * a node: what it measures on demand ends with it, what it counted stays.
 */
import type * as gossipsub from '@libp2p/gossipsub/metrics'
import type { CalculateMetric, Metrics, MessageStream, Stream } from '@libp2p/interface'
import type { Clock } from '../core/index.ts'
import type { Gauge, InstrumentOptions, Instruments, Labels } from './instruments.ts'

export interface Libp2pMetrics {
  readonly libp2p: Metrics
  /** For gossipsub's option `metricsRegister`. */
  readonly gossip: gossipsub.MetricsRegister
  /** Has nothing be asked of this node any more. */
  end(): void
}

/** What libp2p gives a metric that it registers. */
interface Registration<Value> {
  readonly label?: string
  readonly help?: string
  readonly calculate?: CalculateMetric<Value>
}

/** Amounts by the value of the one label that a group has; true stands for one. */
type Amounts = Readonly<Partial<Record<string, number | true>>>

/** Of groups that name none. */
const groupLabel = 'kind'

export function createLibp2pMetrics(instruments: Instruments, clock: Clock): Libp2pMetrics {
  const endings: (() => void)[] = []

  /** What libp2p and gossipsub call when what they time has ended. */
  function timerOf(took: (seconds: number) => void): () => void {
    const began = clock.monotonic()
    return () => took((clock.monotonic() - began) / 1_000)
  }

  function gauge(options: InstrumentOptions, measure?: (gauge: Gauge) => Promise<void>): Gauge {
    const made = instruments.gauge(options)
    if (measure !== undefined) endings.push(made.onRead(() => measure(made)))
    return made
  }

  const bytes = instruments.counter({
    name: 'libp2p_data_transfer_bytes_total',
    help: 'Bytes by direction and protocol; "connection" is all that went over the wire',
    labels: ['direction', 'protocol'],
  })

  /** Without listening: a stream keeps what arrives until somebody listens, and would give it to us alone. */
  function count(stream: MessageStream, protocol: string): void {
    const send = stream.send.bind(stream)
    const dispatch = stream.dispatchEvent.bind(stream)
    stream.send = (data) => {
      bytes.add({ direction: 'sent', protocol }, data.byteLength)
      return send(data)
    }
    stream.dispatchEvent = (event) => {
      if ('data' in event && event.type === 'message') bytes.add({ direction: 'received', protocol }, (event.data as Uint8Array).byteLength)
      return dispatch(event)
    }
  }

  const optionsOf = (name: string, help: string | undefined, label?: string): InstrumentOptions => ({
    name: name.replace(/\W/g, '_'),
    help: help ?? `libp2p: ${name.replace(/^libp2p_/, '').replaceAll('_', ' ')}`,
    labels: label === undefined ? [] : [label],
  })

  function single(name: string, { calculate, help }: Registration<number> = {}) {
    const made = gauge(optionsOf(name, help), calculate && (async (each) => each.set({}, await calculate())))
    return {
      update: (value: number) => made.set({}, value),
      increment: (value = 1) => made.add({}, value),
      decrement: (value = 1) => made.add({}, -value),
      reset: () => made.reset(),
      timer: () => timerOf((seconds) => made.set({}, seconds)),
    }
  }

  function group(name: string, { calculate, help, label = groupLabel }: Registration<Readonly<Record<string, number>>> = {}) {
    const set = (each: Gauge, values: Amounts): void => forEachAmount(label, values, (labels, value) => each.set(labels, value))
    const made = gauge(optionsOf(name, help, label), calculate && (async (each) => set(each, await calculate())))
    return {
      update: (values: Amounts) => set(made, values),
      increment: (values: Amounts) => forEachAmount(label, values, (labels, value) => made.add(labels, value)),
      decrement: (values: Amounts) => forEachAmount(label, values, (labels, value) => made.add(labels, -value)),
      reset: () => made.reset(),
      timer: (key: string) => timerOf((seconds) => made.set({ [label]: key }, seconds)),
    }
  }

  function counter(name: string, { calculate, help }: Registration<number> = {}) {
    // What libp2p works out when asked can only be set.
    if (calculate !== undefined) return single(name, { calculate, ...(help === undefined ? {} : { help }) })
    const made = instruments.counter(optionsOf(name, help))
    return { increment: (value = 1) => made.add({}, value), reset: () => made.reset() }
  }

  function counterGroup(name: string, registration: Registration<Readonly<Record<string, number>>> = {}) {
    const { calculate, help, label = groupLabel } = registration
    if (calculate !== undefined) return group(name, registration)
    const made = instruments.counter(optionsOf(name, help, label))
    return {
      increment: (values: Amounts) => forEachAmount(label, values, (labels, value) => made.add(labels, value)),
      reset: () => made.reset(),
    }
  }

  function spread(name: string, { help }: Registration<number> = {}) {
    const made = instruments.histogram(optionsOf(name, help))
    const observe = (value: number): void => made.observe({}, value)
    return { observe, reset: () => made.reset(), timer: () => timerOf(observe) }
  }

  function spreadGroup(name: string, { help, label = groupLabel }: Registration<Readonly<Record<string, number>>> = {}) {
    const made = instruments.histogram(optionsOf(name, help, label))
    return {
      observe: (values: Amounts) => forEachAmount(label, values, (labels, value) => made.observe(labels, value)),
      reset: () => made.reset(),
      timer: (key: string) => timerOf((seconds) => made.observe({ [label]: key }, seconds)),
    }
  }

  const libp2p: Metrics = {
    trackMultiaddrConnection: (connection) => count(connection, 'connection'),
    trackProtocolStream: (stream: Stream) => count(stream, stream.protocol),
    registerMetric: single,
    registerMetricGroup: group,
    registerCounter: counter,
    registerCounterGroup: counterGroup,
    registerHistogram: spread,
    registerHistogramGroup: spreadGroup,
    registerSummary: spread,
    registerSummaryGroup: spreadGroup,
    traceFunction: <Traced>(_: string, traced: Traced): Traced => traced,
    createTrace: () => undefined,
  }

  // Whether there are labels decides how each of them is called; the types of gossipsub tell it by the labels, which only it knows.
  const gossip = {
    gauge({ help, labelNames = [], name }: GossipInstrument) {
      const made = gauge({ name, help, labels: labelNames })
      return {
        inc: (...given: LabelledNumber) => made.add(...labelledOf(given, 1)),
        set: (...given: LabelledNumber) => made.set(...labelledOf(given, 0)),
        addCollect: (collect: (of: unknown) => void) => void endings.push(made.onRead(() => collect(made))),
      }
    },
    histogram({ buckets, help, labelNames = [], name }: GossipInstrument) {
      const made = instruments.histogram({ name, help, labels: labelNames }, buckets)
      return {
        observe: (...given: LabelledNumber) => made.observe(...labelledOf(given, 0)),
        startTimer: () => timerOf((seconds) => made.observe({}, seconds)),
        reset: () => made.reset(),
      }
    },
    avgMinMax({ help, labelNames = [], name }: GossipInstrument) {
      const made = (['avg', 'min', 'max'] as const).map((part) =>
        gauge({ name: `${name}_${part}`, help: `${help} (${part})`, labels: labelNames }),
      )
      return {
        set(...given: readonly [Labels, readonly number[]] | readonly [readonly number[]]) {
          const [labels, values] = given.length === 2 ? given : [{}, given[0]]
          const figures =
            values.length === 0
              ? [0, 0, 0]
              : [values.reduce((sum, value) => sum + value, 0) / values.length, Math.min(...values), Math.max(...values)]
          for (const [index, each] of made.entries()) each.set(labels, figures[index] ?? 0)
        },
      }
    },
  } as unknown as gossipsub.MetricsRegister

  return { libp2p, gossip, end: () => endings.splice(0).forEach((end) => end()) }
}

interface GossipInstrument {
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly string[]
  readonly buckets?: readonly number[]
}

type LabelledNumber = readonly [Labels, number?] | readonly [number?]

function labelledOf(given: LabelledNumber, otherwise: number): [Labels, number] {
  const [first, second] = given
  return typeof first === 'object' ? [first, second ?? otherwise] : [{}, first ?? otherwise]
}

function forEachAmount(label: string, values: Amounts, each: (labels: Labels, value: number) => void): void {
  for (const [key, value] of Object.entries(values)) if (value !== undefined) each({ [label]: key }, Number(value))
}
