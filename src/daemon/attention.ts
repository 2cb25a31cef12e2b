/** The cases that a person should look at, as far as they hold now: lines of status and health, and alerts. */
import type { InstanceId } from '../core/index.ts'
import type { Condition } from '../health/index.ts'
import type { Replica } from '../replica/index.ts'

type Case = Omit<Condition, 'looksToRaise'>

/** Updates in quarantine that get a line of their own. */
const quarantineLinesMax = 20

/** `now`: milliseconds since the Unix epoch, the time of what has none of its own. */
export function attentionOf(replica: Replica, now: number, nameOf: (instance: InstanceId) => string): readonly Condition[] {
  const { evidence } = replica
  const cases = [...lostPlace(replica, now, nameOf)]
  for (const { kind, reason, at } of evidence.casesNow()) cases.push({ id: `${kind}:${reason}`, kind, detail: reason, since: at ?? now })
  const quarantine = evidence.quarantine(quarantineLinesMax)
  for (const { at, author, document, feed, reason, sequence } of quarantine.found) {
    const id = `quarantine:${document?.id}:${feed}`
    const path = document?.name === undefined || document.name === null ? `document ${document?.id}` : `${document.kind}/${document.name}`
    const who = author === undefined ? 'an unknown instance' : nameOf(author)
    const detail = `an update of ${path} by ${who} (envelope ${sequence} of feed ${feed}) is kept and not shown: ${reason}`
    cases.push({ id, kind: 'quarantine', detail, since: at ?? now })
  }
  const more = quarantine.total - quarantine.found.length
  if (more > 0)
    cases.push({
      id: 'quarantine:more',
      kind: 'quarantine',
      detail: `${more} more updates are kept and not shown: see 'selfsame evidence'`,
      since: now,
    })
  for (const [instance, milliseconds] of replica.clocksAhead) {
    const detail = `the clock of ${nameOf(instance)} is ${Math.round(milliseconds / 1_000)} seconds ahead of ours: set both by a time server`
    cases.push({ id: `clock-skew:${instance}`, kind: 'clock-skew', detail, since: now })
  }
  if (replica.isReadOnly)
    cases.push({ id: 'disk', kind: 'disk', detail: 'there is no space left: reads only, until some is free', since: now })
  return cases.map((found) => ({ ...found, looksToRaise: 1 }))
}

/** Where this instance is no member any more: why, what it means, and what to do. */
function lostPlace({ identity, members }: Replica, now: number, nameOf: (instance: InstanceId) => string): readonly Case[] {
  const present = members.member(identity.instance)
  if (present !== undefined && !present.keys.includes(identity.key.publicKey)) {
    const detail =
      "this instance goes on elsewhere with a new key: this home is a copy of it, gets nothing more, and cannot write. Let it join anew: 'selfsame join TICKET --new-instance'"
    return [{ id: 'key-replaced', kind: 'key-replaced', detail, since: now }]
  }
  const own = members.formerMember(identity.instance)
  if (own === undefined) return []
  const { admittedBy, label, removal, state } = own
  const nameOrRoot = (instance: InstanceId | null): string => (instance === null ? 'the root key' : nameOf(instance))
  const meaning = 'it keeps the memory that it has, gets nothing more, and cannot write'
  const back = `an admin gives it its place back on another machine (selfsame members role '${label}' writer), or it joins as a new instance (selfsame join)`
  if (removal === null) {
    const detail = `this instance lost its place with ${nameOrRoot(admittedBy)}, which had admitted it: ${meaning}. If it belongs to the agent, ${back}`
    return [{ id: state, kind: state, detail, since: now }]
  }
  const what = removal.by === own.instance ? 'left the agent' : `was removed by ${nameOrRoot(removal.by)}`
  const why = removal.reason === '' ? '' : ` (${removal.reason})`
  return [{ id: state, kind: state, detail: `this instance ${what}${why}: ${meaning}. If that was wrong, ${back}`, since: removal.time }]
}
