/** Starts the processes that tests kill, and sees to it that a failed test leaves none behind. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'

export interface TestProcess {
  /** Its lines, as they are written; ends with the process. */
  readonly lines: AsyncIterable<string>
  /** Kills it with SIGKILL; resolves when it is dead. */
  kill(): Promise<void>
}

/** Runs a program that lies beside this file. */
export function startProcess(program: string, argument: string): TestProcess {
  const child = spawn(process.execPath, [new URL(program, import.meta.url).pathname, argument], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  return {
    lines: createInterface({ input: child.stdout }),
    kill() {
      child.kill('SIGKILL')
      return exited
    },
  }
}
