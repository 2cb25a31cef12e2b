/** The front of the network room: the transport port, its two implementations, and what addresses mean. */
export * from './transport.ts'
export { addressReach, listenAddresses } from './addresses.ts'
export type { Reach } from './addresses.ts'
export { createMemoryNetwork } from './memory-transport.ts'
export type { MemoryNetwork, MemoryTransport, NetworkConditions } from './memory-transport.ts'
export type { InstrumentOptions, Instruments, Labels } from './instruments.ts'
export { createLibp2pTransport } from './libp2p-transport.ts'
export type { Libp2pTransportOptions } from './libp2p-transport.ts'
