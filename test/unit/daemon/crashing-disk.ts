/** A disk on which a process can die: after so many changes nothing happens any more, whatever it still tries. */
import type * as Fs from 'node:fs'

const changing = ['mkdirSync', 'mkdtempSync', 'openSync', 'renameSync', 'rmSync', 'rmdirSync', 'writeSync'] as const

/** Thrown where the process would be dead. */
export class Crash extends Error {}

const state = { changes: 0, dieAt: Infinity }

/** The file system for `vi.mock('node:fs', ...)`. */
export function crashingFs(real: typeof Fs): typeof Fs {
  const wrapped: Record<string, unknown> = { ...real }
  for (const name of changing) {
    const call = real[name] as (...given: unknown[]) => unknown
    wrapped[name] = (...given: unknown[]): unknown => {
      const isReading = name === 'openSync' && given[1] === real.constants.O_RDONLY
      if (isReading) return call(...given)
      state.changes += 1
      if (state.changes >= state.dieAt) throw new Crash()
      return call(...given)
    }
  }
  return { ...(wrapped as unknown as typeof Fs), default: wrapped } as unknown as typeof Fs
}

/** Runs `action`, dead from its change number `at` on; answers whether it came to its end alive. */
export async function dyingAt(at: number, action: () => unknown): Promise<boolean> {
  Object.assign(state, { changes: 0, dieAt: at })
  try {
    await action()
    return true
  } catch (error) {
    if (state.changes < at) throw error
    return false
  } finally {
    Object.assign(state, { changes: 0, dieAt: Infinity })
  }
}
