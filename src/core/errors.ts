/**
 * The errors of this project, of three kinds. A bug is an assertion: it crashes the process with its own exit code.
 * An operating error is a `SelfsameError` with a code from the closed table below. Input from a peer is never an
 * error here: its decoders return a `Result`.
 */

/**
 * Every code, with the HTTP status the API answers, the exit code a command ends with, whether the same request may
 * succeed later without a change, and a title for a person. `docs/OPERATIONS.md` documents each; a test holds the two together.
 */
export const errorTable = {
  'invalid-request': { status: 400, exit: 64, retry: false, title: 'The request is not valid' },
  'invalid-name': { status: 400, exit: 64, retry: false, title: 'The document name is not valid' },
  'invalid-configuration': { status: 500, exit: 78, retry: false, title: 'The configuration is not valid' },
  'unauthorized': { status: 401, exit: 77, retry: false, title: 'The request carries no valid token' },
  'forbidden': { status: 403, exit: 77, retry: false, title: 'This is not allowed' },
  'not-found': { status: 404, exit: 66, retry: false, title: 'There is nothing of that name' },
  'method-not-allowed': { status: 405, exit: 64, retry: false, title: 'That method does not exist here' },
  'base-unknown': { status: 409, exit: 65, retry: false, title: 'The version that the text was based on is not known here' },
  'operation-mismatch': { status: 409, exit: 65, retry: false, title: 'The operation id was used for another request' },
  'patch-failed': { status: 409, exit: 65, retry: false, title: 'The patch does not fit the document' },
  'cursor-expired': { status: 410, exit: 65, retry: false, title: 'The cursor belongs to another state of this home: read again' },
  'too-large': { status: 413, exit: 65, retry: false, title: 'The request is larger than the limit' },
  'unsupported-media-type': { status: 415, exit: 64, retry: false, title: 'The content type is not supported' },
  'overflow': { status: 422, exit: 65, retry: false, title: 'The counter would leave the range of 64 bits' },
  'too-many-requests': { status: 429, exit: 75, retry: true, title: 'Too much is waiting: try again shortly' },
  'outcome-unknown': { status: 500, exit: 75, retry: true, title: 'The outcome is unknown: retry with the same operation id' },
  'internal': { status: 500, exit: 70, retry: false, title: 'A fault in selfsame' },
  'read-only': { status: 507, exit: 75, retry: true, title: 'There is no space left: the daemon serves reads only' },
  'unavailable': { status: 503, exit: 75, retry: true, title: 'The daemon is stopping or not ready' },
  'daemon-not-running': { status: 503, exit: 69, retry: true, title: 'The daemon is not running' },
  'daemon-running': { status: 409, exit: 75, retry: false, title: 'A daemon is already running on this home' },
  'home-missing': { status: 404, exit: 66, retry: false, title: 'There is no agent in this home' },
  'home-exists': { status: 409, exit: 73, retry: false, title: 'This home already holds an agent' },
  'home-unsafe': { status: 403, exit: 77, retry: false, title: 'The home is not safe to use' },
  'storage-corrupt': { status: 500, exit: 74, retry: false, title: 'The database is damaged' },
  'storage-failed': { status: 500, exit: 74, retry: true, title: 'The storage did not do what was asked' },
  'storage-version': { status: 500, exit: 78, retry: false, title: 'The database was written by a newer selfsame' },
  'backup-refused': { status: 400, exit: 65, retry: false, title: 'The backup was not accepted' },
  'home-moved': { status: 409, exit: 66, retry: false, title: 'The instance has moved to another machine' },
  'address-in-use': { status: 500, exit: 69, retry: true, title: 'The port is in use' },
  'network-failed': { status: 502, exit: 69, retry: true, title: 'The network did not do what was asked' },
  'ticket-invalid': { status: 400, exit: 65, retry: false, title: 'The ticket is not valid' },
  'join-refused': { status: 403, exit: 77, retry: false, title: 'The other instance refused the ticket' },
  'key-refused': { status: 403, exit: 77, retry: false, title: 'The key file was not accepted' },
} as const satisfies Record<string, ErrorRow>

interface ErrorRow {
  readonly status: number
  readonly exit: number
  readonly retry: boolean
  readonly title: string
}

export type ErrorCode = keyof typeof errorTable

/** An operating error: something a person or a program can act on. The message says what is wrong and what to do. */
export class SelfsameError extends Error {
  override readonly name = 'SelfsameError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/** The exit code of a broken assertion: a bug, not an operating error (sysexits `EX_SOFTWARE`). */
export const exitCodeOfBug = 70

/** Crashes on a broken invariant: `condition` false is always a bug of this program, never bad input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message)
}

export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure'
}

/** What a decoder of outside input answers: it never throws. */
export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string }

export function ok<T>(value: T): Result<T> {
  return { ok: true, value }
}

export function refuse<T = never>(reason: string): Result<T> {
  return { ok: false, reason }
}
