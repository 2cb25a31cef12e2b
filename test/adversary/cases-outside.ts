/** The adversary outside the membership: it wants in, or wants others kept out. */
import { createSigningKey, encode, idToBytes, systemRandom } from '../../src/core/index.ts'
import { claimToWire, encodeJoinRequest, signClaim } from '../../src/membership/index.ts'
import { openLink, pause } from './case.ts'
import type { Arena, Case } from './case.ts'
import { openHostilePeer, rawSocket, readTicket } from './hostile-peer.ts'

async function openEverything(arena: Arena): Promise<void> {
  try {
    const connection = await arena.peer.dial(arena.port)
    const served: string[] = []
    for (const protocol of ['/selfsame/control/1', '/selfsame/bulk/1', '/meshsub/1.1.0', '/ipfs/id/1.0.0']) {
      try {
        const stream = await connection.newStream(protocol)
        stream.send(Uint8Array.of(0))
        for await (const part of stream) if (part.byteLength > 0) served.push(protocol)
      } catch {
        // Refused.
      }
    }
    arena.report(served.length === 0 ? 'nothing was served' : `served ${served.join()}`)
  } catch (error) {
    arena.report(`nothing was served: ${String(error)}`)
  }
}

/** Joins with another key than that of the connection: a request that somebody overheard. */
async function replayRequest(arena: Arena): Promise<void> {
  const { peer, port } = arena
  const overheard = encodeJoinRequest(readTicket(arena.ticket ?? ''), createSigningKey(systemRandom), 'laptop')
  const answer = await peer.askToJoin(port, overheard)
  arena.report(answer === undefined ? 'refused' : `answered ${Buffer.from(answer).toString('latin1')}`)
}

async function join(arena: Arena): Promise<void> {
  const joined = await arena.peer.join(arena.ticket ?? '', arena.port)
  arena.report('refused' in joined ? `refused: ${joined.refused}` : 'it got in')
}

export const casesOutside: readonly Case[] = [
  {
    name: 'a stranger without a ticket opens every protocol there is',
    invite: null,
    joins: false,
    recorded: 'adversary',
    refusal: /nothing was served/,
    attack: openEverything,
  },
  {
    name: 'a stranger opens every protocol there is while an invite is open',
    invite: { role: 'writer' },
    joins: false,
    recorded: 'adversary',
    refusal: /nothing was served/,
    attack: openEverything,
  },
  {
    name: 'a stranger guesses a ticket',
    invite: { role: 'writer' },
    joins: false,
    recorded: 'victim',
    refusal: /unknown-invite/,
    async attack(arena) {
      const ticket = readTicket(arena.ticket ?? '')
      const request = encodeJoinRequest({ ...ticket, seed: systemRandom.bytes(32) }, arena.peer.key, 'mallory')
      await arena.peer.askToJoin(arena.port, request)
    },
  },
  {
    name: 'a stranger comes with an expired invite',
    invite: { role: 'writer', seconds: 1 },
    joins: false,
    recorded: 'victim',
    refusal: /expired/,
    async attack(arena) {
      await pause(arena, 1_100)
      await join(arena)
    },
  },
  {
    name: 'a stranger comes with an invite that somebody used',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'victim',
    refusal: /used-up/,
    async attack(arena) {
      const peer = await arena.stranger()
      await join({ ...arena, peer })
    },
  },
  {
    name: 'a stranger replays the join request of another machine',
    invite: { role: 'writer' },
    joins: false,
    recorded: 'victim',
    refusal: /other-key/,
    attack: replayRequest,
  },
  {
    name: 'a stranger asks to join without any invite',
    invite: { role: 'writer' },
    joins: false,
    recorded: 'victim',
    refusal: /bad-proof/,
    async attack({ agent, peer, port }) {
      const claim = signClaim(agent, peer.key, null)
      await peer.askToJoin(port, encode([1, idToBytes(agent), claimToWire(claim), 'mallory']))
    },
  },
  {
    name: 'strangers say nothing on the join protocol while an honest instance wants to join',
    invite: { role: 'writer' },
    joins: false,
    recorded: 'adversary',
    refusal: /the honest instance joined/,
    secondsMin: 8,
    async attack(arena) {
      const { port, ticket } = arena
      const silent = Array.from({ length: 40 }, async () => {
        const peer = await arena.stranger()
        while (!arena.ended.aborted) {
          const connection = await peer.dial(port).catch(() => null)
          await connection?.newStream('/selfsame/join/1').catch(() => null)
          await pause(arena, 50)
        }
      })
      await pause(arena, 1_000)
      const honest = await openHostilePeer(createSigningKey(systemRandom), '127.0.0.1')
      let words = 'in vain'
      for (let turn = 0; turn < 10 && words === 'in vain' && !arena.ended.aborted; turn += 1) {
        const joined = await honest.join(ticket ?? '', port).catch((error: unknown) => ({ refused: String(error) }))
        if ('records' in joined) words = `the honest instance joined at try ${turn + 1}`
        else await pause(arena, 200)
      }
      arena.report(words)
      await honest.close()
      await Promise.all(silent)
    },
  },
  {
    name: 'a stranger holds hundreds of connections in the middle of their handshake while a member connects',
    invite: { role: 'writer' },
    joins: true,
    recorded: 'adversary',
    refusal: /a member got through/,
    secondsMin: 4,
    async attack(arena) {
      const opened = await Promise.allSettled(Array.from({ length: 400 }, () => rawSocket(arena.port)))
      const sockets = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      const refill = (async () => {
        while (!arena.ended.aborted) {
          await pause(arena, 20)
          const socket = await rawSocket(arena.port).catch(() => null)
          if (socket !== null) sockets.push(socket)
        }
      })()
      await pause(arena, 500)
      const peer = await openHostilePeer(arena.peer.key, '127.0.0.1')
      let words = 'no member got through'
      for (let turn = 1; turn <= 10 && words.startsWith('no') && !arena.ended.aborted; turn += 1) {
        words = await openLink({ ...arena, peer }).then(
          () => `a member got through at try ${turn}`,
          () => words,
        )
        if (words.startsWith('no')) await pause(arena, 200)
      }
      arena.report(`${words}, beside ${sockets.length} that wait`)
      await Promise.all([refill, peer.close()])
      for (const socket of sockets) socket.destroy()
    },
  },
  {
    name: 'a stranger makes one handshake after the other',
    invite: null,
    joins: false,
    recorded: 'adversary',
    refusal: /handshakes/,
    async attack(arena) {
      let count = 0
      const dial = async (): Promise<void> => {
        while (!arena.ended.aborted) {
          await arena.peer.dial(arena.port).catch(() => null)
          count += 1
          await new Promise(setImmediate)
        }
      }
      await Promise.all(Array.from({ length: 16 }, dial))
      arena.report(`${count} handshakes`)
    },
  },
]
