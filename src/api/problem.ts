/** Errors as problem details (RFC 9457) and back: the one place where codes and HTTP meet. */
import { errorTable, SelfsameError } from '../core/index.ts'
import type { ErrorCode } from '../core/index.ts'
import type { Problem } from './schemas.ts'

/** An error at one line of a stream of lines; what stands before the line was written. */
export class LineError extends SelfsameError {
  /** From 1. */
  readonly line: number

  constructor(line: number, error: SelfsameError) {
    super(error.code, `line ${line}: ${error.message}`, { cause: error })
    this.line = line
  }
}

export function problemOf(error: SelfsameError): Problem {
  const row = errorTable[error.code]
  return {
    type: `urn:selfsame:error:${error.code}`,
    title: row.title,
    status: row.status,
    detail: error.message,
    code: error.code,
    retry: row.retry,
    ...(error instanceof LineError ? { line: error.line } : {}),
  }
}

/** The error that a problem tells of. A code that this version does not know becomes the known one of the same status. */
export function problemToError(
  problem: { readonly code?: unknown; readonly detail?: unknown; readonly line?: unknown },
  status: number,
): SelfsameError {
  const message = typeof problem.detail === 'string' ? problem.detail : `the daemon answered ${status}`
  const error = new SelfsameError(isErrorCode(problem.code) ? problem.code : codeOfStatus(status), message)
  return typeof problem.line === 'number'
    ? new LineError(problem.line, new SelfsameError(error.code, message.replace(/^line \d+: /, '')))
    : error
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorTable, code)
}

/** The code for an HTTP status that something below the routes chose. */
export function codeOfStatus(status: number): ErrorCode {
  switch (status) {
    case 401:
      return 'unauthorized'
    case 403:
      return 'forbidden'
    case 404:
      return 'not-found'
    case 405:
      return 'method-not-allowed'
    case 413:
    case 431:
      return 'too-large'
    case 415:
      return 'unsupported-media-type'
    case 429:
      return 'too-many-requests'
    case 503:
      return 'unavailable'
    default:
      return status >= 400 && status < 500 ? 'invalid-request' : 'internal'
  }
}
