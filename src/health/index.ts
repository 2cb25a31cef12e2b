/** The front of the health room: what the signals are, and when they are alerts. Pure. */
export { AlertBook } from './alert-book.ts'
export type { Alert, AlertEvent, Condition } from './alert-book.ts'
export { crossings, noSignals, signalKinds, signalsOf } from './signals.ts'
export type { Recovery, Signals, Thresholds } from './signals.ts'
