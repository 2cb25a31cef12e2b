/** The front of the replica room: one instance's engine, without any I/O of its own. */
export { addressBookToMeta } from './dialer.ts'
export type { Evidence } from './evidence.ts'
export type { BlamedPart, Origin, Proof } from './provenance.ts'
export type { Change, LogEntry, LogPage, LogQuery } from './reader.ts'
export { Replica } from './replica.ts'
export type { PeerState, ReplicaOptions, WriteReceipt } from './replica.ts'
export type { LocalOperation, LocalWrite, WriteOutcome } from './draft.ts'
export type { Identity } from './writer.ts'
