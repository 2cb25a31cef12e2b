/** The cases that a person should look at, as far as they hold now: lines of status and health, and alerts. */
import type { DocumentId, InstanceId } from '../core/index.ts'
import type { Condition } from '../health/index.ts'
import type { Replica } from '../replica/index.ts'

type Case = Omit<Condition, 'looksToRaise'>

/** Documents named where a line counts all. */
const documentsNamedMax = 3
/** Milliseconds for which a repair is told of: it is over, and somebody should hear of it. */
const repairShownMs = 3_600_000
/** Updates in quarantine that get a line of their own. */
const quarantineLinesMax = 20
/** Damaged things that get a line of their own. */
const damageLinesMax = 20

/** `now`: milliseconds since the Unix epoch, the time of what has none of its own. */
export function attentionOf(replica: Replica, now: number, nameOf: (instance: InstanceId) => string): readonly Condition[] {
  const { evidence } = replica
  const cases = [...lostPlace(replica, now, nameOf)]
  for (const { kind, reason, at } of evidence.casesNow()) cases.push({ id: `${kind}:${reason}`, kind, detail: reason, since: at ?? now })
  cases.push(...damageOf(replica, now))
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
  if (replica.rebuildShare !== null) cases.push({ id: 'rebuild', kind: 'rebuild', detail: rebuildText(replica.rebuildShare), since: now })
  cases.push(...incoherence(replica, now, nameOf))
  if (replica.isReadOnly)
    cases.push({ id: 'disk', kind: 'disk', detail: 'there is no space left: reads only, until some is free', since: now })
  return cases.map((found) => ({ ...found, looksToRaise: 1 }))
}

/** That what is shown is being built anew. `share`: how much of it is there, of 1. */
export function rebuildText(share: number): string {
  return `the memory is being built anew from its envelopes: ${Math.floor(100 * share)}% is there, and reads and writes wait for the rest`
}

/** What differs here or elsewhere from what envelopes say, and what was mended of that. */
function incoherence(
  { coherence, identity, members, store }: Replica,
  now: number,
  nameOf: (instance: InstanceId) => string,
): readonly Case[] {
  const placesOf = (documents: readonly DocumentId[]): string => {
    const named = documents.slice(0, documentsNamedMax).map((document) => {
      const row = store.document(document)
      return row === undefined ? `document ${document}` : `${row.kind}/${row.name}`
    })
    return `${named.join(', ')}${documents.length > named.length ? ` and ${documents.length - named.length} more` : ''}`
  }
  const since = (found: readonly { readonly since: number }[]): number => Math.min(...found.map((each) => each.since))
  const cases: Case[] = []
  const { findings } = coherence
  if (findings.length > 0) {
    const what = findings.slice(0, documentsNamedMax).map(({ detail, document }) => `${placesOf([document])}: ${detail}`)
    const more = findings.length > what.length ? `; and ${findings.length - what.length} more` : ''
    const detail = `this instance shows documents otherwise than their envelopes say (${what.join('; ')}${more}): it builds them anew by itself, once an hour; 'selfsame verify --deep' tells more and has it done now`
    cases.push({ id: 'divergence:here', kind: 'divergence', detail, since: since(findings) })
  }
  for (const { instance } of members.members) {
    const differences = instance === identity.instance ? [] : (coherence.of(instance)?.differences ?? [])
    if (differences.length === 0) continue
    const which = placesOf(differences.map(({ document }) => document))
    const detail = `${nameOf(instance)} and this instance show the same version of ${which} otherwise: one of the two is wrong; 'selfsame verify --deep' on both tells which`
    cases.push({ id: `divergence:${instance}`, kind: 'divergence', detail, since: since(differences) })
  }
  for (const { documents, facts } of coherence.repairs) {
    const endedAt = facts.beganAt + facts.milliseconds
    if (now - endedAt > repairShownMs) continue
    const detail = `${placesOf(documents)} had become wrong here and was built anew from the envelopes in ${(facts.milliseconds / 1_000).toFixed(1)} s (${facts.cause}): nothing is lost. Look at the disk and the memory of this machine if it comes again`
    cases.push({ id: `repaired:${facts.beganAt}`, kind: 'repaired', detail, since: endedAt })
  }
  return cases
}

/** What the disk has damaged, line by line, and in one line what was repaired lately. */
function damageOf({ evidence, repair }: Replica, now: number): readonly Case[] {
  const { open } = repair
  const cases = open.slice(0, damageLinesMax).map(({ at, detail, id }): Case => ({ id, kind: 'damage', detail, since: at }))
  if (open.length > cases.length) {
    const detail = `${open.length - cases.length} more things that are stored are damaged: see 'selfsame evidence'`
    cases.push({ id: 'damage:more', kind: 'damage', detail, since: now })
  }
  const repaired = evidence.repairedLately()
  const last = repaired.at(-1)
  if (last === undefined) return cases
  const more = repaired.length === 1 ? '' : `; ${repaired.length - 1} more within a day`
  const detail = `${last.reason}${more}. Look after the disk: what damaged this may damage more`
  return [...cases, { id: 'repaired', kind: 'repaired', detail, since: last.at ?? now }]
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
