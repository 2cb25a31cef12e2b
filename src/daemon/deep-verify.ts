/**
 * Verifying in depth: all that is derived in a home's database is computed anew from its envelopes, and compared. Whoever asks does it in a process
 * of their own, beside a daemon that goes on or with none: the database is pinned as it is at one moment, and nothing is written.
 */
import { existsSync } from 'node:fs'
import { SelfsameError, signingKeyOf, systemClock, systemRandom } from '../core/index.ts'
import { replay } from '../replica/index.ts'
import type { ReplayFacts } from '../replica/index.ts'
import { createMemoryStore, damageAdvice, pinDatabase } from '../storage/index.ts'
import { openHome } from './home.ts'
import type { Identity } from './home.ts'
import type { Logs } from './logging.ts'

export interface DeepVerification extends ReplayFacts {
  readonly seconds: number
}

/** Throws `SelfsameError`: `unavailable` while the daemon is building anew what would be compared. */
export async function verifyHome(home: string, logs: Logs): Promise<{ readonly identity: Identity; readonly facts: DeepVerification }> {
  const { paths, identity } = openHome(home)
  if (!existsSync(paths.database)) throw new SelfsameError('storage-corrupt', `${paths.database} is missing: ${damageAdvice}`)
  const beganAt = systemClock.monotonic()
  const database = pinDatabase(paths.database)
  try {
    const facts = await replay(database.reads(logs.logger('storage')), {
      identity: { agent: identity.agent, instance: identity.instance, key: signingKeyOf(identity.deviceSeed) },
      clock: systemClock,
      random: systemRandom,
      scratch: createMemoryStore(),
    })
    if (facts === null)
      throw new SelfsameError(
        'unavailable',
        'the memory is being built anew, and there is nothing to compare with yet: try again once the daemon is through (selfsame up, where none runs)',
      )
    return { identity, facts: { ...facts, seconds: (systemClock.monotonic() - beganAt) / 1_000 } }
  } finally {
    database.close()
  }
}
