/** The front of the membership room: records, the member table, invites, tickets and joining. Pure: no I/O, no clock. */
export * from './admission.ts'
export * from './claim.ts'
export * from './invite.ts'
export * from './member-name.ts'
export * from './member-table.ts'
export type { Standing } from './record-graph.ts'
export * from './record.ts'
export * from './ticket.ts'
