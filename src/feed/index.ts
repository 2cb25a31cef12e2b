/** The front of the feed room: headers, envelopes, bodies and frontiers. Pure: no I/O, no clock, no documents. */
export * from './envelope.ts'
export * from './frontier.ts'
export * from './header.ts'
export * from './update-body.ts'
