/** The randomness port: the only source of random bits in any room. `systemRandom` is the real one. */
import { randomBytes } from 'node:crypto'

export interface Random {
  /** `length` unpredictable bytes. */
  bytes(length: number): Uint8Array
  /** A number in [0, 1): for jitter, never for secrets. */
  unit(): number
}

export const systemRandom: Random = {
  bytes(length) {
    const bytes = randomBytes(length)
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  },
  unit: () => randomBytes(4).readUInt32BE() / 2 ** 32,
}
