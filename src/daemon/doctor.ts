/**
 * The doctor: looks at a home, mends it where that was asked, looks again and judges. Run by the command line beside the daemon, or
 * without one.
 */
import { judge } from './doctor-checks.ts'
import type { Check } from './doctor-checks.ts'
import { factsOf, lookAt } from './doctor-facts.ts'
import type { Environment } from './configuration.ts'
import { mend } from './doctor-repairs.ts'

export interface DoctorOptions {
  readonly home: string
  /** Whether to mend what can be mended safely. */
  readonly fix: boolean
  readonly environment: Environment
  readonly version: string
}

/** What the doctor says. */
export interface Diagnosis {
  readonly home: string
  readonly checks: readonly Check[]
  /** What was mended, and what could not be. */
  readonly mended: readonly string[]
}

/** Examines a home, of whatever there is of it. Rejects with nothing that a home could be the cause of. */
export async function examine({ environment, fix, home, version }: DoctorOptions): Promise<Diagnosis> {
  const mended = fix ? await mendHome(home) : []
  const { agent, look } = await lookAt(home)
  try {
    const facts = await factsOf(look, agent, { environment, version })
    return { home: look.paths.directory, checks: judge(facts), mended }
  } finally {
    await agent?.close()
  }
}

async function mendHome(home: string): Promise<readonly string[]> {
  const { agent, look } = await lookAt(home)
  await agent?.close()
  return mend(look)
}
