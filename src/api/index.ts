/** The front of the api room: the contract, the port it is served from, the server and the client. */
export * from './agent.ts'
export { homePathOf, socketPathOf } from './home-path.ts'
export { createMatcher } from './patterns.ts'
export type * from './port.ts'
export type * from './schemas.ts'
export { bigintToInteger, integerToBigint, timeToMilliseconds } from './values.ts'
