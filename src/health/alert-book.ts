/**
 * The alert book: turns what holds at each look into alerts that are raised once and clear by themselves. It counts looks and not time, so
 * that a machine that slept wakes up to as many looks as any other before anything is said. Pure.
 */

/** Something that holds now and that a person should know. */
export interface Condition {
  /** Names the case: the same id at the next look is the same case. */
  readonly id: string
  readonly kind: string
  readonly detail: string
  /** Milliseconds since the Unix epoch. */
  readonly since: number
  /** Looks in a row at which it has to hold before it is an alert: 1, or more for what may pass by itself. */
  readonly looksToRaise: number
}

export interface Alert {
  readonly id: string
  readonly kind: string
  readonly detail: string
  readonly since: number
  /** Milliseconds since the Unix epoch. */
  readonly raisedAt: number
}

export interface AlertEvent {
  readonly type: 'raised' | 'cleared'
  readonly alert: Alert
}

/** Looks in a row at which a case must not hold before its alert is cleared, so that what comes and goes stays one alert. */
const looksToClear = 3

interface Case {
  /** Looks in a row at which it held, or, once it is an alert, did not. */
  looks: number
  alert: Alert | null
}

export class AlertBook {
  readonly #cases = new Map<string, Case>()

  /** The alerts that are raised, the oldest first. Their detail is that of the last look at which they held. */
  get raised(): readonly Alert[] {
    return [...this.#cases.values()].flatMap(({ alert }) => alert ?? []).toSorted((a, b) => a.raisedAt - b.raisedAt)
  }

  /** Takes what holds at one look (of two with one id the last), and tells what was raised and cleared by it. `now`: milliseconds since the Unix epoch. */
  look(conditions: readonly Condition[], now: number): readonly AlertEvent[] {
    const holding = new Map(conditions.map((condition) => [condition.id, condition]))
    const events: AlertEvent[] = []
    for (const [id, known] of this.#cases) {
      if (holding.has(id)) continue
      known.looks = known.alert === null ? 0 : known.looks + 1
      if (known.alert !== null && known.looks < looksToClear) continue
      this.#cases.delete(id)
      if (known.alert !== null) events.push({ type: 'cleared', alert: known.alert })
    }
    for (const [id, { detail, kind, looksToRaise, since }] of holding) {
      const known = this.#cases.get(id) ?? { looks: 0, alert: null }
      this.#cases.set(id, known)
      if (known.alert !== null) {
        known.alert = { ...known.alert, detail }
        known.looks = 0
        continue
      }
      known.looks += 1
      if (known.looks < looksToRaise) continue
      known.alert = { id, kind, detail, since, raisedAt: now }
      known.looks = 0
      events.push({ type: 'raised', alert: known.alert })
    }
    return events
  }
}
