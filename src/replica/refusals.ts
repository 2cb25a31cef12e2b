/** What a request is told that the engine cannot carry out now, whatever it asks for. */
import { SelfsameError } from '../core/index.ts'

/** The daemon is going away. */
export function stoppingError(): SelfsameError {
  return new SelfsameError('unavailable', 'the daemon is stopping: try again once it is up')
}

/** Nothing but repairs is stored until something damaged is whole again. */
export function stuckError(): SelfsameError {
  return new SelfsameError(
    'unavailable',
    "a stored envelope that is needed to write is damaged on this disk; it is fetched again from whichever instance has it: see 'selfsame status'",
  )
}

/** The disk is full. */
export function readOnlyError(): SelfsameError {
  return new SelfsameError('read-only', 'there is no space left on the disk of this home: free some; writing goes on by itself')
}
