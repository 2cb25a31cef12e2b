/** The front of the storage room: the port, its two implementations, and the lock of a home. */
export { lockHome } from './home-lock.ts'
export type { HomeLock } from './home-lock.ts'
export { createMemoryStore } from './memory-store.ts'
export type { MemoryStore, MemoryStoreOptions } from './memory-store.ts'
export { openSqliteStore } from './sqlite-store.ts'
export type { SqliteStoreOptions } from './sqlite-store.ts'
export { damageAdvice } from './storage-error.ts'
export * from './store.ts'
