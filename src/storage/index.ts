/** The front of the storage room: the port, its two implementations, and the lock of a home. */
export { createMemoryStore } from './memory-store.ts'
export type { MemoryStore, MemoryStoreOptions } from './memory-store.ts'
export * from './store.ts'
