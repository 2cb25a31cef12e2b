/** Shrinking: of a plan that fails, a small part that fails, too. Leaves out whole classes of steps, then instances, then steps. */
import type { Act, Plan, Step } from './plan.ts'
import { simulate } from './simulate.ts'

/** Runs after which the smallest so far has to do. */
const runsMax = 400

/** In which way a plan fails; undefined where it does not. */
type WayOf = (plan: Plan) => Promise<string | undefined>

/** A part of `plan` that fails in the way of the whole; none of its steps can be left out alone, unless that takes too long. */
export async function shrink(plan: Plan, wayOf: WayOf = wayOfRun): Promise<Plan> {
  const wayOfAll = await wayOf(plan)
  let steps = plan.steps
  let runs = 0
  const leaveOut = async (isLeftOut: (step: Step) => boolean): Promise<void> => {
    const rest = steps.filter((step) => !isLeftOut(step))
    if (rest.length === steps.length || runs >= runsMax) return
    runs += 1
    if ((await wayOf({ ...plan, steps: rest })) === wayOfAll) steps = rest
  }
  for (const type of new Set(steps.map(({ act }) => act.type))) await leaveOut(({ act }) => act.type === type)
  const names = new Set(steps.flatMap(({ act }) => namesIn(act)))
  for (const name of [...names].toReversed()) await leaveOut(({ act }) => namesIn(act).includes(name))
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let before = Infinity; steps.length < before && runs < runsMax;) {
      before = steps.length
      for (const chunk of chunksOf(steps, size)) await leaveOut((step) => chunk.has(step))
    }
  }
  return { ...plan, steps }
}

/** The first fault of a run, without names and numbers. */
async function wayOfRun(plan: Plan): Promise<string | undefined> {
  const { faults } = await simulate(plan.seed, plan)
  return faults[0]?.replaceAll(/\w*\d\w*/g, '').slice(0, 60)
}

function namesIn(act: Act): readonly string[] {
  return ['node', 'of', 'as'].flatMap((field) => (field in act ? [(act as unknown as Record<string, string>)[field] as string] : []))
}

/** From the end: what came last is needed least for the rest. */
function chunksOf(steps: readonly Step[], size: number): readonly ReadonlySet<Step>[] {
  const chunks: ReadonlySet<Step>[] = []
  for (let end = steps.length; end > 0; end -= size) chunks.push(new Set(steps.slice(Math.max(0, end - size), end)))
  return chunks
}
