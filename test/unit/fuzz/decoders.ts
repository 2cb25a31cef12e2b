/** All decoders of what comes from outside. */
import { cursorDecoder } from './cursor-decoder.ts'
import type { Decoder } from './fuzz.ts'
import { membershipDecoders } from './membership-decoders.ts'
import { messageDecoders } from './message-decoders.ts'
import { textDecoders } from './text-decoders.ts'
import { updateDecoders } from './update-decoders.ts'

export const decoders: readonly Decoder[] = [...messageDecoders, ...membershipDecoders, ...updateDecoders, ...textDecoders, cursorDecoder]

/** What part of a run's cases a decoder gets: where one costs more than another, fewer of it. */
export function shareOf(decoder: Decoder, among: readonly Decoder[]): number {
  return 1 / decoder.weight / among.reduce((sum, { weight }) => sum + 1 / weight, 0)
}
