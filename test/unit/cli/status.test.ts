/** The status as a person reads it: the whole screen, in the good case and in bad ones. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SelfsameError } from '../../../src/api/client.ts'
import type { Connect, Peer, Status } from '../../../src/api/client.ts'
import { localTime, recentTime } from '../../../src/cli/output.ts'
import { run } from './console.ts'
import type { RunOptions } from './console.ts'

const time = '2020-01-02T10:33:05.000Z'

const connected: Peer = {
  instance: { id: 'c3', name: 'server' },
  state: 'connected',
  address: '/ip4/192.0.2.1/tcp/27200',
  direction: 'inbound',
  roundTripMilliseconds: 21.44,
  clockAheadMilliseconds: 3,
  program: 'selfsame 1.2.3',
  lastSeen: time,
  behind: 0,
  ahead: 0,
  told: time,
  lacks: { documents: 0, first: [] },
  digests: { state: 'equal', documents: 0, first: [], time },
}
const away: Peer = { ...connected, instance: { id: 'd4', name: 'phone' }, state: 'offline', address: null, roundTripMilliseconds: null }
const unheard = {
  lastSeen: null,
  told: null,
  behind: null,
  ahead: null,
  lacks: null,
  program: null,
  digests: { state: 'unknown', documents: 0, first: [], time: null },
} as const

const healthy: Status = {
  state: 'healthy',
  version: '1.2.3',
  agent: { id: 'a1'.repeat(32), name: 'kevin' },
  instance: { id: 'b2', name: 'laptop', role: 'admin', key: 'k' },
  home: '/srv/kevin',
  processId: 42,
  uptimeSeconds: 7_200,
  network: { paused: false, addresses: ['/ip4/192.0.2.9/tcp/27200', '/ip6/2001:db8::9/tcp/27200'] },
  peers: [connected],
  documents: 12,
  entries: 3_400,
  signals: { driftPercent: 0, lagSeconds: 0, recoverySeconds: 0.43, rebuildSeconds: null, conflicts: 0, conflictedDocuments: [] },
  attention: [],
}

/** What the command says of a status, with the times blotted out. */
async function shown(status: Partial<Status>, options: RunOptions = {}): Promise<string> {
  const agent = { status: () => Promise.resolve({ ...healthy, ...status }), close: () => Promise.resolve() }
  const { out } = await run(['status'], (() => Promise.resolve(agent)) as unknown as Connect, options)
  return out.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, '(time)')
}

const degraded = (kind: string, detail: string): Partial<Status> => ({ state: 'degraded', attention: [{ kind, detail, since: time }] })

test('a healthy agent is one screen', async () => {
  expect(await shown({})).toBe(`agent      kevin  a1a1a1a1a1a1a1a1
instance   laptop  admin
home       /srv/kevin
running    2 h, process 42, version 1.2.3, ready after 0.4 s
network    /ip4/192.0.2.9/tcp/27200
           /ip6/2001:db8::9/tcp/27200
memory     12 documents, 3,400 log entries
conflicts  none since the start

server  connected  in sync as of (time)  digests equal at (time)  21.4 ms  version 1.2.3  /ip4/192.0.2.1/tcp/27200

healthy: nothing wants attention
`)
})

test.each<[string, Partial<Status>, string]>([
  ['alone', { peers: [] }, "no other instances: 'selfsame invite' admits one"],
  [
    'a peer that is away',
    { peers: [away] },
    'phone  offline, last seen (time)  unknown (lacked nothing when it last told)  digests equal at (time)    version 1.2.3',
  ],
  [
    'a peer that was never heard of',
    { peers: [{ ...away, ...unheard }] },
    'phone  offline, not seen since the start  unknown  digests not known yet',
  ],
  [
    'a peer that is dialed',
    { peers: [{ ...away, ...unheard, state: 'connecting' }] },
    'phone  connecting, not seen since the start  unknown  digests not known yet',
  ],
  [
    'a peer that lacks something',
    { peers: [{ ...connected, behind: 2, ahead: 1, lacks: { documents: 1, first: [{ kind: 'log', name: 'memory' }] } }] },
    'server  connected  behind 2, ahead 1, in log/memory  digests equal at (time)  21.4 ms  version 1.2.3  /ip4/192.0.2.1/tcp/27200',
  ],
  ['a network that is paused', { network: { paused: true, addresses: [] } }, "network    paused: 'selfsame network resume' goes on"],
  ['an instance that only reads', { instance: { ...healthy.instance, role: 'reader' } }, 'instance   laptop  reader'],
  [
    'an instance that was removed',
    { ...degraded('removed', 'this instance was removed by server'), instance: { ...healthy.instance, role: null } },
    'instance   laptop  removed: no member any more',
  ],
  [
    'a home whose instance has another key',
    { ...degraded('key-replaced', 'it goes on elsewhere'), instance: { ...healthy.instance, role: null } },
    'instance   laptop  key replaced: no member any more',
  ],
  [
    'a full disk',
    degraded('disk', 'there is no space left: reads only, until some is free'),
    'degraded: 1 case wants attention\n! disk: there is no space left: reads only, until some is free (since (time))',
  ],
  ['a second copy', degraded('second-copy', 'two daemons run as server'), '! second-copy: two daemons run as server (since (time))'],
  [
    'clocks that differ',
    degraded('clock-skew', 'the clock of server is 90 seconds ahead'),
    '! clock-skew: the clock of server is 90 seconds ahead (since (time))',
  ],
])('shows %s', async (_, status, line) => {
  expect(`\n${await shown(status)}`).toContain(`\n${line}\n`)
})

test('tells by colour on a terminal how it is, and nowhere else', async () => {
  const bad = degraded('fork', 'two envelopes')
  expect(await shown({}, { isTTY: true })).toContain('\u001b[32mhealthy: ')
  const lines = (await shown(bad, { isTTY: true })).split('\n')
  expect(lines.slice(-3, -1)).toEqual([expect.stringContaining('\u001b[33mdegraded: '), expect.stringContaining('\u001b[31m! fork')])
  expect(await shown(bad)).not.toContain('\u001b')
})

test('says what to do where no daemon runs, and where there is no home', async () => {
  const nobody: Connect = () => Promise.reject(new SelfsameError('daemon-not-running', 'the daemon is not running'))
  const directory = mkdtempSync(join(tmpdir(), 'selfsame-status-'))
  try {
    const down = await run(['status', '--home', directory], nobody)
    expect(down).toMatchObject({
      code: 2,
      out: `down: no daemon runs on ${directory}. Start it: selfsame up --detach --home ${directory}\n`,
    })
    const missing = join(directory, 'none')
    const { code, out } = await run(['status', '--home', missing], nobody)
    expect([code, out]).toEqual([
      2,
      expect.stringMatching(/^down: there is no agent in .*none yet\. Begin one: selfsame init --agent NAME --home .*, or join one: /),
    ])
    const said = JSON.parse((await run(['status', '--json', '--home', missing], nobody)).out) as unknown
    expect(said).toEqual({ state: 'down', home: missing, reason: 'home-missing' })
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('what happened today is told without its date', () => {
  const now = new Date(2026, 4, 6, 12, 0, 0).getTime()
  const today = new Date(2026, 4, 6, 0, 0, 1).toISOString()
  const yesterday = new Date(2026, 4, 5, 23, 59, 59).toISOString()
  expect(recentTime(today, now)).toBe('00:00:01')
  expect(recentTime(yesterday, now)).toBe(localTime(yesterday))
})
