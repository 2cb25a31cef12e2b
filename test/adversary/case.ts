/** What a case of the adversary is: an attack, run in a process of its own, and the words in which the victim has to record why it was refused. */
import type { AgentId } from '../../src/core/index.ts'
import { encodeChunk, encodeControl } from '../../src/replica/messages.ts'
import { envelopeToWire } from '../../src/feed/index.ts'
import type { Envelope } from '../../src/feed/index.ts'
import type { Role } from '../../src/membership/index.ts'
import type { Forger } from './forge.ts'
import { frameOf } from './hostile-peer.ts'
import type { HostileLink, HostilePeer, LinkOptions, Message } from './hostile-peer.ts'

export interface Case {
  readonly name: string
  /** The invite that the adversary holds; null where it has none. */
  readonly invite: { readonly role: Role; readonly seconds?: number; readonly uses?: number } | null
  /** Whether it became a member with that invite before the attack begins. */
  readonly joins: boolean
  /** What the victim's log, attention and evidence, or the answer to the adversary, must say. */
  readonly refusal: RegExp
  /** How long it takes at least until it is refused. */
  readonly secondsMin?: number
  /** Whether the victim is to be looked at for the refusal, or the adversary's own report. */
  readonly recorded: 'victim' | 'adversary'
  attack(arena: Arena): Promise<void>
}

export interface Arena {
  readonly peer: HostilePeer
  readonly agent: AgentId
  /** What it is as a member, where it is one. */
  readonly forger: Forger
  readonly ticket: string | null
  /** Of the victim, and of a feed, the instance and a client id that are another's. */
  readonly port: number
  readonly othersPort: number
  readonly theirs: { readonly feed: string; readonly instance: string }
  readonly ended: AbortSignal
  /** Another identity of the adversary's, without any membership. */
  stranger(): Promise<HostilePeer>
  report(words: string): void
}

/** Waits; ends early when the case does. */
export function pause(arena: Pick<Arena, 'ended'>, milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    if (arena.ended.aborted) return resolve()
    const timer = setTimeout(done, milliseconds)
    arena.ended.addEventListener('abort', done)
    function done(): void {
      clearTimeout(timer)
      arena.ended.removeEventListener('abort', done)
      resolve()
    }
  })
}

/** A link on which the victim holds everything ready: both have said hello. */
export async function openLink({ agent, peer, port }: Arena, options: LinkOptions = {}): Promise<HostileLink> {
  const link = await peer.link(port, agent, options)
  await link.hello
  return link
}

/**
 * Tells a frontier that names these envelopes and answers every want with them, as an honest peer would. `held` resolves once the victim has told that
 * it holds the last of them, or the case has ended.
 */
export async function serve(
  arena: Arena,
  envelopes: readonly Envelope[],
): Promise<{ readonly link: HostileLink; readonly held: Promise<void> }> {
  const heads = new Map(envelopes.map((envelope) => [envelope.header.feed, envelope]))
  const held = Promise.withResolvers<void>()
  arena.ended.addEventListener('abort', () => held.resolve())
  const link = await openLink(arena, {
    heard(message, to) {
      if (message.type === 'want') to.send('bulk', chunkFor(message, envelopes)).catch(() => {})
      if (message.type === 'frontier' && message.entries.some(({ feed, head }) => heads.get(feed)?.hash === head)) held.resolve()
    },
  })
  await link.say({
    type: 'frontier',
    complete: true,
    entries: Array.from(heads, ([feed, { hash, header }]) => ({ feed, have: header.sequence, head: hash, applied: header.sequence })),
  })
  return { link, held: held.promise }
}

function chunkFor({ ranges, request }: Extract<Message, { type: 'want' }>, envelopes: readonly Envelope[]): Uint8Array {
  const asked = envelopes.filter(({ header }) =>
    ranges.some(({ feed, from, to }) => feed === header.feed && header.sequence >= from && header.sequence <= to),
  )
  return encodeChunk(
    request,
    true,
    asked.map((envelope) => envelopeToWire(envelope)),
  )
}

/** Does something again and again until the case ends, and begins anew when the victim hangs up. Yields often enough to hear of either. */
export async function flood(arena: Arena, options: LinkOptions, turn: (link: HostileLink, count: number) => Promise<void>): Promise<void> {
  const ended = new Promise((resolve) => arena.ended.addEventListener('abort', resolve))
  let links = 0
  let sent = 0
  while (!arena.ended.aborted) {
    try {
      const link = await openLink(arena, options)
      links += 1
      while (link.isOpen && !arena.ended.aborted) {
        // A stream that is full may stay so beyond the end of the case.
        await Promise.race([turn(link, sent), ended])
        sent += 1
        if (sent % 64 === 0) await new Promise(setImmediate)
      }
    } catch {
      await pause(arena, 100)
    }
  }
  arena.report(`${sent} times over ${links} links`)
}

/** A message that is sent again and again, some dozens of times at once: so cheap for the adversary that it is the victim's work that counts. */
export function sayAgain(message: Message): (link: HostileLink) => Promise<void> {
  const frame = frameOf(encodeControl(message))
  const count = Math.max(1, Math.min(64, Math.floor((1 << 20) / frame.length)))
  const frames = Buffer.concat(Array.from({ length: count }, () => frame))
  return (link) => link.raw('control', frames)
}
