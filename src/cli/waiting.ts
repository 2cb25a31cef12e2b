/** Waiting for what a daemon does by itself. */

/** Milliseconds between two looks: short enough to seem at once. */
const lookMs = 50

/** Looks until `isDone` or the time is over. Gives whether it is done; looks at least once. */
export async function waitUntil(isDone: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs
  while (!(await isDone())) {
    if (Date.now() > deadline) return false
    await new Promise((resolve) => setTimeout(resolve, lookMs))
  }
  return true
}
