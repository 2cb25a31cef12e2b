/**
 * Presence: who is online and what each is doing, by the awareness protocol of y-protocols, without its timers. Never
 * stored. Its owner gives the time, sends what `encode` returns, and expires whoever was not heard of.
 */
import * as decoding from 'lib0/decoding'
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { jsonDepthMax, ok, refuse, SelfsameError } from '../core/index.ts'
import type { Result } from '../core/index.ts'
import { faultOfJson, isJsonObject } from './json-value.ts'
import type { JsonObject } from './json-value.ts'

/** Clients known at once, ourselves included. More costs about a kilobyte each, and a longer status for a person. */
const presenceClientsMax = 1_000
/** Bytes of one state as JSON: a line or two of text, not a document. */
const presenceStateBytesMax = 4 << 10

export interface PresenceState {
  readonly state: JsonObject
  /** When it was last heard of, as `now` told. */
  readonly seen: number
}

export interface Presence {
  /** Sets what this instance tells of itself; null: it goes offline. Telling the same again renews it. Throws `invalid-request` or `too-large`. */
  setLocal(state: JsonObject | null): void
  /** The awareness update of these clients, as far as they are known. */
  encode(clients: readonly number[]): Uint8Array
  /** Takes in an update that must speak of `client` alone. Returns whether it was news, a mere renewal included. */
  apply(update: Uint8Array, client: number): Result<boolean>
  /** Forgets the others that were last heard of more than `ageMax` milliseconds before `now`; returns them. */
  expire(now: number, ageMax: number): readonly number[]
  states(): ReadonlyMap<number, PresenceState>
}

/**
 * `client`: this instance's id in the protocol, the same after a restart or not. `begin`: a number greater than that of its last life, as the milliseconds
 * since the Unix epoch are. `now`: milliseconds that never go back.
 */
export function openPresence({ begin, client, now }: { begin: number; client: number; now: () => number }): Presence {
  const doc = new Y.Doc()
  doc.clientID = client
  const awareness = new Awareness(doc)
  clearInterval(awareness._checkInterval as NodeJS.Timeout)
  // States are ordered by a counter of each client. Beginning at the time lets a restarted instance supersede its last life.
  awareness.meta.set(client, { clock: Math.max(0, Math.floor(begin)), lastUpdated: 0 })
  awareness.setLocalState(null)
  const seenByClient = new Map<number, number>()

  return {
    setLocal(state) {
      if (state !== null) {
        const fault = faultOfJson(state, jsonDepthMax) ?? (isJsonObject(state) ? undefined : 'it is not an object')
        if (fault !== undefined) throw new SelfsameError('invalid-request', `the presence cannot be sent: ${fault}`)
        if (Buffer.byteLength(JSON.stringify(state)) > presenceStateBytesMax) {
          throw new SelfsameError('too-large', `the presence takes more than ${presenceStateBytesMax} bytes as JSON: shorten it`)
        }
      }
      awareness.setLocalState(state)
      seenByClient.set(client, now())
    },

    encode: (clients) =>
      encodeAwarenessUpdate(
        awareness,
        clients.filter((each) => awareness.meta.has(each)),
      ),

    apply(update, expected) {
      const state = readState(update, expected)
      if (!state.ok) return state
      if (expected === client) return refuse('a presence under our own id')
      if (!awareness.meta.has(expected)) {
        if (state.value === null) return ok(false)
        if (awareness.meta.size >= presenceClientsMax) return refuse('too many clients are present')
      }
      const clockBefore = awareness.meta.get(expected)?.clock
      const wasPresent = awareness.states.has(expected)
      applyAwarenessUpdate(awareness, update, null)
      const isNews = awareness.meta.get(expected)?.clock !== clockBefore || awareness.states.has(expected) !== wasPresent
      if (isNews) seenByClient.set(expected, now())
      return ok(isNews)
    },

    expire(now, ageMax) {
      const expired: number[] = []
      for (const [each, seen] of seenByClient) if (each !== client && now - seen > ageMax) expired.push(each)
      removeAwarenessStates(awareness, expired, null)
      for (const each of expired) {
        awareness.meta.delete(each)
        seenByClient.delete(each)
      }
      return expired
    },

    states() {
      const states = new Map<number, PresenceState>()
      for (const [each, state] of awareness.states) states.set(each, { state, seen: seenByClient.get(each) ?? 0 })
      return states
    },
  }
}

/** The state that an update tells of `client`, who must be the only one in it. */
function readState(update: Uint8Array, client: number): Result<JsonObject | null> {
  try {
    const decoder = decoding.createDecoder(update)
    if (decoding.readVarUint(decoder) !== 1 || decoding.readVarUint(decoder) !== client) return refuse('a presence of another client')
    if (!Number.isSafeInteger(decoding.readVarUint(decoder))) return refuse('a presence beyond the last one')
    // Read as y-protocols will read it again: what it throws at has to be refused here.
    const json = decoding.readVarString(decoder)
    if (Buffer.byteLength(json) > presenceStateBytesMax || decoding.hasContent(decoder)) return refuse('a presence that is too large')
    const state: unknown = JSON.parse(json)
    if (state !== null && (!isJsonObject(state) || faultOfJson(state, jsonDepthMax) !== undefined))
      return refuse('a presence that is not an object')
    return ok(state)
  } catch (error) {
    return refuse(`not a presence: ${String(error)}`)
  }
}
