/** The lives that can be recorded, and how what a power loss leaves of each is looked at. */
import { HomeCheck } from './home-check.ts'
import { readRecording, record } from './recording.ts'
import type { Recording } from './recording.ts'
import { ReplicaCheck } from './replica-check.ts'

/** `home`: the small files. `short`, `long`: a whole instance; `long` until its database has copied its log while it runs. */
export const lives = ['home', 'short', 'long'] as const
export type Life = (typeof lives)[number]

/** Looks at disks that a power loss can leave. */
export interface PowerLoss {
  /** How much was recorded. */
  readonly operations: number
  /** What is wrong with the disk of a seed; undefined where nothing is. The same for the same recording and seed. */
  fault(seed: number): Promise<string | undefined>
}

/** Records a life in `root`, which is made, and gives what looks at it. `disks`: a directory for that. */
export function recordLife(life: Life, root: string, disks: string): PowerLoss {
  return examine(life, life === 'home' ? record('home-life.ts', root, []) : record('replica-life.ts', root, [life]), disks)
}

/** The same for what was recorded in `root` before. */
export function recordedLife(life: Life, root: string, disks: string): PowerLoss {
  return examine(life, readRecording(root), disks)
}

function examine(life: Life, recording: Recording, disks: string): PowerLoss {
  const check = life === 'home' ? new HomeCheck(recording, disks) : new ReplicaCheck(recording, { kind: life, directory: disks })
  return { operations: recording.operations.length, fault: (seed) => check.fault(seed) }
}
