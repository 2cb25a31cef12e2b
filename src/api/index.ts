/** The front of the api room for the daemon: the port that it serves and the server. Whoever calls the API imports `client.ts`. */
export * from './client.ts'
export { createMatcher } from './patterns.ts'
export type * from './port.ts'
export { openServer } from './server.ts'
export type { Server, ServerOptions } from './server.ts'
export { loopbackOf } from './tcp.ts'
export { openTokens } from './tokens.ts'
export type { Tokens, TokenShelf } from './tokens.ts'
