/**
 * The member table as docs/MEMBERSHIP.md defines it, sentence by sentence, over abstract records. It shares no code with the
 * room and is written to be compared with the document, not to be fast: sets, loops and recursion. Pasts, verdicts and what
 * stands at one step of the walk are remembered, because without that the recursion would not end in time.
 */

export interface CutOfModel {
  readonly feed: string
  readonly sequence: number
  readonly hash: string
}

/** A record without its bytes. Fields that its type does not have are null, or empty. */
export interface ModelRecord {
  readonly id: string
  readonly type: 'genesis' | 'admission' | 'clone' | 'role' | 'rotation' | 'rename' | 'unknown'
  /** Null: the root key. */
  readonly author: string | null
  /** The key that signed. */
  readonly key: string
  readonly parents: readonly string[]
  /** The instance that it is about. */
  readonly target: string | null
  readonly level: number
  readonly number: number
  /** The key that it brings in. */
  readonly brings: string | null
  readonly name: string | null
  readonly cut: readonly CutOfModel[]
}

/** Valid: lawful. Unknown: kept without effect. Waiting: a parent is not here. */
export type Verdict = 'valid' | 'unknown' | 'void' | 'waiting'
export type State = 'member' | 'removed' | 'suspended'

export interface ModelInstance {
  readonly instance: string
  readonly state: State
  readonly level: number
  readonly name: string
  /** Sorted. */
  readonly keys: readonly string[]
}

export interface Model {
  verdictOf(id: string): Verdict | undefined
  /** Those that are kept and passed on: lawful, or of effect only to a newer version. */
  readonly kept: readonly ModelRecord[]
  /** All that were ever admitted lawfully, in order of seniority. */
  readonly instances: readonly ModelInstance[]
  /** Settled curbs and rotations. */
  readonly settled: ReadonlySet<ModelRecord>
  /** Those of the lawful records that stand. */
  readonly standing: ReadonlySet<ModelRecord>
  mayWrite(instance: string, key: string, heads: readonly string[]): 'yes' | 'no' | 'unknown-records'
  /** Null: all counts. Else up to where, by feed. */
  writeLimit(instance: string, key: string): readonly (readonly CutOfModel[])[]
  lineOf(instance: string): readonly string[]
  /** Of the author's admissions, clones and role records; 0 where there is none. */
  lastNumberOf(author: string | null): number
  /** Whether `r` is in the past of `s`. */
  isBefore(r: ModelRecord, s: ModelRecord): boolean
}

const isGrant = (r: ModelRecord) => r.type === 'admission' || r.type === 'clone' || (r.type === 'role' && r.level > 0)
const isCurb = (r: ModelRecord) => r.type === 'role'
const isCounted = (r: ModelRecord) => r.type === 'admission' || r.type === 'clone' || r.type === 'role'

function needOf(r: ModelRecord): number {
  if (r.type === 'admission') return 3
  if ((r.type === 'role' || r.type === 'rename') && r.target !== r.author) return 3
  if (r.type === 'role') return r.level + 1
  return Math.max(1, r.level)
}

const before = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

type Path = readonly (number | string)[]

/** Number by number, a prefix before what it begins. */
function comparePaths(a: Path, b: Path): number {
  for (const [index, number] of a.entries()) {
    const other = b[index]
    if (other === undefined) return 1
    if (number !== other) return number < other ? -1 : 1
  }
  return a.length - b.length
}

/** What reaches what. Of a record that is not here nothing is known, and nothing is reached through it. */
class Graph {
  readonly #byId: ReadonlyMap<string, ModelRecord>
  readonly #complete = new Map<string, boolean>()
  readonly #pasts = new Map<string, ReadonlySet<string>>()
  readonly #depths = new Map<string, number>()

  constructor(byId: ReadonlyMap<string, ModelRecord>) {
    this.#byId = byId
  }

  /** Whether it is here with all of its past. */
  isComplete(id: string): boolean {
    return remembered(this.#complete, id, () => this.#byId.get(id)?.parents.every((parent) => this.isComplete(parent)) ?? false)
  }

  pastOf(id: string): ReadonlySet<string> {
    return remembered(this.#pasts, id, () => this.closureOf(this.#byId.get(id)?.parents ?? []))
  }

  closureOf(heads: readonly string[]): ReadonlySet<string> {
    return new Set(heads.flatMap((head) => [head, ...this.pastOf(head)]))
  }

  isBefore(r: ModelRecord, s: ModelRecord): boolean {
    return this.pastOf(s.id).has(r.id)
  }

  /** The longest way back to the genesis. */
  depthOf(id: string): number {
    return remembered(this.#depths, id, () => {
      const parents = this.#byId.get(id)?.parents ?? []
      return parents.length === 0 ? 0 : 1 + Math.max(...parents.map((parent) => this.depthOf(parent)))
    })
  }
}

function remembered<Key, Value>(known: Map<Key, Value>, key: Key, find: () => Value): Value {
  const value = known.has(key) ? (known.get(key) as Value) : find()
  known.set(key, value)
  return value
}

/** The table of a closed set of which only `lawful` counts. */
class Table {
  readonly #lawful: readonly ModelRecord[]
  readonly #graph: Graph
  /** E of the document. */
  readonly settled = new Set<ModelRecord>()
  readonly #taken: string[] = []
  #known = new Map<ModelRecord, boolean>()

  constructor(lawful: readonly ModelRecord[], graph: Graph) {
    this.#lawful = lawful
    this.#graph = graph
    this.#walk()
  }

  lineOf(instance: string): readonly string[] {
    const clone = this.#lawful.find((r) => r.type === 'clone' && r.target === instance)
    return clone === undefined ? [instance] : [instance, ...this.lineOf(clone.author as string)]
  }

  #walk(): void {
    const queue: { path: Path; target: string; grant: string }[] = []
    for (const r of this.#lawful.filter((r) => r.author === null)) {
      if (isCurb(r)) this.settled.add(r)
      if (isGrant(r)) queue.push({ path: [r.number, r.target as string, r.id], target: r.target as string, grant: r.id })
    }
    while (queue.length > 0) {
      queue.sort((x, y) => comparePaths(x.path, y.path) || before(x.target, y.target) || before(x.grant, y.grant))
      const { path, target: a } = queue.shift() as (typeof queue)[number]
      if (this.#taken.includes(a)) continue
      this.#taken.push(a)
      const own = this.#lawful.filter((r) => r.author === a)
      this.#settle(own.filter((r) => r.type === 'rotation'))
      this.#settle(own.filter((r) => r.type === 'role' && r.target === a))
      this.#settle(own.filter((r) => r.type === 'role' && r.target !== a))
      for (const r of own) {
        if (isGrant(r) && r.target !== a && this.stands(r))
          queue.push({ path: [...path, r.number, r.target as string, r.id], target: r.target as string, grant: r.id })
      }
    }
  }

  #settle(candidates: readonly ModelRecord[]): void {
    const standing = candidates.filter((r) => this.stands(r))
    for (const r of standing) this.settled.add(r)
    this.#known = new Map()
  }

  /** Given E as it is now. */
  stands(r: ModelRecord): boolean {
    return remembered(this.#known, r, () => r.author === null || (this.#keyHolds(r) && this.#curbsHold(r) && this.#support(r) >= needOf(r)))
  }

  #keyHolds(r: ModelRecord): boolean {
    const p = [...this.settled].filter(
      (p) => p.type === 'rotation' && p.author === r.author && p.key === r.key && p !== r && !this.#graph.isBefore(p, r),
    )
    return p.length === 0 || r.type === 'rotation' || p.some((p) => this.#graph.isBefore(r, p))
  }

  #curbsHold(r: ModelRecord): boolean {
    const line = this.lineOf(r.author as string)
    const c = [...this.settled].filter(
      (c) => isCurb(c) && c.level < needOf(r) && line.includes(c.target as string) && c !== r && !this.#graph.isBefore(c, r),
    )
    const first = c.filter((x) => !c.some((y) => this.#graph.isBefore(y, x)))
    return c.length === 0 || first.some((c) => this.#graph.isBefore(r, c))
  }

  #support(r: ModelRecord): number {
    return this.#levelBy(
      r.author as string,
      this.#lawful.filter((g) => this.#graph.isBefore(g, r)),
      [...this.settled].filter((c) => this.#graph.isBefore(c, r)),
    )
  }

  /** The level of an instance. */
  levelOf(instance: string): number {
    return this.#levelBy(instance, this.#lawful, [...this.settled])
  }

  #levelBy(instance: string, grants: readonly ModelRecord[], settled: readonly ModelRecord[]): number {
    const line = this.lineOf(instance)
    const curbs = settled.filter((c) => isCurb(c) && line.includes(c.target as string))
    const levels = grants
      .filter((g) => isGrant(g) && g.target === instance && this.stands(g))
      .map((g) => Math.min(g.level, ...curbs.filter((c) => c !== g && !this.#graph.isBefore(c, g)).map((c) => c.level)))
    return Math.max(0, ...levels)
  }

  keysOf(instance: string): readonly string[] {
    const rotations = [...this.settled].filter((p) => p.type === 'rotation' && p.author === instance)
    const retired = rotations.map((p) => p.key)
    const brought = this.#entriesOf(instance).map((r) => r.brings as string)
    return [...new Set([...brought, ...rotations.map((p) => p.brings as string)])].filter((key) => !retired.includes(key)).toSorted()
  }

  /** Its first key, and those that its rotations brought in, whatever became of them. */
  everHad(instance: string): readonly string[] {
    const rotations = this.#lawful.filter((r) => r.type === 'rotation' && r.author === instance)
    return [...this.#entriesOf(instance), ...rotations].map((r) => r.brings as string)
  }

  isEntered(instance: string): boolean {
    return this.#entriesOf(instance).length > 0
  }

  lastNumberOf(author: string | null): number {
    return Math.max(0, ...this.#lawful.filter((r) => isCounted(r) && r.author === author).map((r) => r.number))
  }

  #entriesOf(instance: string): readonly ModelRecord[] {
    return this.#lawful.filter((r) => (r.type === 'admission' || r.type === 'clone') && r.target === instance)
  }

  instances(): readonly ModelInstance[] {
    const all = [...new Set(this.#lawful.filter((r) => r.type === 'admission' || r.type === 'clone').map((r) => r.target as string))]
    const seniority = (instance: string) => (this.#taken.includes(instance) ? this.#taken.indexOf(instance) : this.#taken.length)
    return all
      .toSorted((x, y) => seniority(x) - seniority(y) || before(x, y))
      .map((instance) => ({
        instance,
        state: this.#stateOf(instance),
        level: this.levelOf(instance),
        name: this.#nameOf(instance),
        keys: this.keysOf(instance),
      }))
  }

  #stateOf(instance: string): State {
    if (this.levelOf(instance) > 0) return 'member'
    const line = this.lineOf(instance)
    return [...this.settled].some((c) => isCurb(c) && c.level === 0 && line.includes(c.target as string)) ? 'removed' : 'suspended'
  }

  #nameOf(instance: string): string {
    const renames = this.#lawful.filter((r) => r.type === 'rename' && r.target === instance && this.stands(r))
    const [named] = renames.toSorted((x, y) => this.#graph.depthOf(y.id) - this.#graph.depthOf(x.id) || before(y.id, x.id))
    const entries = this.#entriesOf(instance)
    const standing = entries.filter((r) => this.stands(r))
    const [entry] = (standing.length > 0 ? standing : entries).toSorted(
      (x, y) => this.#graph.depthOf(x.id) - this.#graph.depthOf(y.id) || before(x.id, y.id),
    )
    return (named ?? entry)?.name as string
  }

  /** What an envelope of `instance` under `key` has to lie within: for each list, at or before one of its places. */
  cutsOf(instance: string, key: string): readonly (readonly CutOfModel[])[] {
    const line = this.lineOf(instance)
    const cuts: (readonly CutOfModel[])[] = []
    if (this.levelOf(instance) < 2) {
      const curbs = [...this.settled].filter((c) => isCurb(c) && c.level < 2 && line.includes(c.target as string))
      const byOthers = curbs.filter((c) => c.author === null || !line.includes(c.author))
      cuts.push((byOthers.length > 0 ? byOthers : curbs).flatMap((c) => c.cut))
    }
    if (!this.keysOf(instance).includes(key)) {
      cuts.push([...this.settled].filter((c) => !isCurb(c) && c.author === instance && c.key === key).flatMap((c) => c.cut))
    }
    return cuts
  }

  standing(): ReadonlySet<ModelRecord> {
    return new Set(this.#lawful.filter((r) => this.stands(r)))
  }
}

/** The model of a set of records; equal ids are one record. */
export function modelOf(received: Iterable<ModelRecord>): Model {
  const byId = new Map([...received].map((r) => [r.id, r]))

  const graph = new Graph(byId)
  const get = (id: string): ModelRecord => byId.get(id) as ModelRecord

  const verdicts = new Map<string, Verdict>()
  const verdictOf = (id: string): Verdict | undefined =>
    byId.has(id) ? remembered(verdicts, id, () => (graph.isComplete(id) ? judge(get(id)) : 'waiting')) : undefined
  const tableOf = (ids: ReadonlySet<string>): Table =>
    new Table(
      [...ids].filter((id) => verdictOf(id) === 'valid').map((id) => get(id)),
      graph,
    )
  const meetsUnknown = (ids: ReadonlySet<string>) => [...ids].some((id) => verdictOf(id) === 'unknown')
  const [root] = [...byId.values()].filter((r) => r.type === 'genesis')

  const judge = (r: ModelRecord): Verdict => {
    if (r.type === 'genesis') return 'valid'
    if (r.parents.some((parent) => verdictOf(parent) === 'void')) return 'void'
    const past = graph.pastOf(r.id)
    if (!isAllowed(r, tableOf(past))) return meetsUnknown(past) ? 'unknown' : 'void'
    return r.type === 'unknown' ? 'unknown' : 'valid'
  }
  const isAllowed = (r: ModelRecord, table: Table): boolean => {
    if ((r.type === 'role' || r.type === 'rename') && !table.isEntered(r.target as string)) return false
    if (isCounted(r) && r.number <= table.lastNumberOf(r.author)) return false
    if (r.author === null) return r.key === root?.key && r.type !== 'clone' && r.type !== 'rotation'
    const level = table.levelOf(r.author)
    if (level < 1 || !table.keysOf(r.author).includes(r.key)) return false
    switch (r.type) {
      case 'genesis':
      case 'unknown':
        return true
      case 'admission':
        return level === 3
      case 'clone':
        return level >= Math.max(1, r.level) && !table.isEntered(r.target as string)
      case 'role':
        return level >= needOf(r)
      case 'rename':
        return r.target === r.author || level === 3
      case 'rotation':
        return !table.everHad(r.author).includes(r.brings as string)
    }
  }

  const kept = [...byId.values()].filter((r) => ['valid', 'unknown'].includes(verdictOf(r.id) as Verdict))
  const table = tableOf(new Set(kept.map((r) => r.id)))
  return {
    verdictOf,
    kept,
    instances: table.instances(),
    settled: table.settled,
    standing: table.standing(),
    mayWrite(instance, key, heads) {
      if (heads.some((head) => verdictOf(head) === 'void')) return 'no'
      if (heads.some((head) => !['valid', 'unknown'].includes(verdictOf(head) ?? 'waiting'))) return 'unknown-records'
      const known = graph.closureOf(heads)
      const past = tableOf(known)
      if (past.levelOf(instance) >= 2 && past.keysOf(instance).includes(key)) return 'yes'
      return meetsUnknown(known) ? 'unknown-records' : 'no'
    },
    writeLimit: (instance, key) => table.cutsOf(instance, key),
    lineOf: (instance) => table.lineOf(instance),
    lastNumberOf: (author) => table.lastNumberOf(author),
    isBefore: (r, s) => graph.isBefore(r, s),
  }
}
