import { describe, expect, test } from 'vitest'
import { ok, refuse } from '../../../src/core/index.ts'
import { judge } from '../../../src/daemon/doctor-checks.ts'
import type { Check, CheckName } from '../../../src/daemon/doctor-checks.ts'
import type { DaemonStatus, DoctorFacts, HomeEntry } from '../../../src/daemon/doctor-facts.ts'
import { homePathsOf } from '../../../src/daemon/home.ts'
import { parseConfiguration } from '../../../src/daemon/configuration.ts'
import { readProjectFile } from '../house/project-files.ts'

const user = 501
const now = 1_800_000_000_000
const gibibyte = 2 ** 30

const peer: DaemonStatus['peers'][number] = {
  instance: { id: 'c3', name: 'server' },
  address: '/ip4/192.168.1.7/tcp/27200',
  direction: 'inbound',
  clockAheadMilliseconds: -12,
  program: 'selfsame 1.2.3',
}

const status: DaemonStatus = {
  version: '1.2.3',
  processId: 42,
  network: { paused: false, addresses: ['/ip4/127.0.0.1/tcp/27200', '/ip4/192.168.1.5/tcp/27200'] },
  peers: [peer],
  attention: [],
}

function entry(name: string, more: Partial<HomeEntry> = {}): HomeEntry {
  return { path: `/srv/kevin/${name}`, name, kind: 'file', mode: 0o600, owner: user, ...more }
}

const home = entry('.', { path: '/srv/kevin', kind: 'directory', mode: 0o700 })
const socket = entry('run/api.sock', { kind: 'socket' })
const identity = {
  agent: 'a1' as never,
  agentName: 'kevin',
  instance: 'b2' as never,
  name: 'laptop',
  deviceSeed: new Uint8Array(32),
}

/** A home in which all is well, with one other instance. */
const well: DoctorFacts = {
  paths: homePathsOf('/srv/kevin'),
  user,
  entries: [home, entry('identity.json'), entry('lock.sqlite'), entry('memory.sqlite'), socket],
  lock: ok('held'),
  socketPath: '/srv/kevin/run/api.sock',
  daemon: { state: 'answers', status },
  daemonProcesses: [42],
  version: '1.2.3',
  nodeVersion: '24.21.0',
  now,
  identity: ok(identity),
  move: null,
  configuration: ok(parseConfiguration('', 'config.toml', {})),
  syncTool: null,
  fileSystem: { type: 'ext4', durability: 'lasting' },
  disk: ok({ freeBytes: 50 * gibibyte, databaseBytes: 1 << 20 }),
  syncs: ok(Array.from({ length: 100 }, () => 0.2)),
  database: ok({ bytes: 1 << 20, isOurs: true, schemaVersion: 3, schemaVersionKnown: 3, newestAt: now - 1_000 }),
  hosts: ['127.0.0.1', '192.168.1.5'],
  multicast: ok({ heard: true, answered: true, refusal: null }),
  secrets: ok({ places: [], total: 0, read: 3, documents: 3 }),
}

const down: Partial<DoctorFacts> = {
  daemon: { state: 'none' },
  lock: ok('free'),
  daemonProcesses: [],
  entries: well.entries.filter((each) => each !== socket),
}

function found(name: CheckName, change: Partial<DoctorFacts>): Check {
  const check = judge({ ...well, ...change }).find((each) => each.name === name)
  if (check === undefined) throw new Error(`there is no check ${name}`)
  return check
}

const textOf = ({ advice = '', details = [], found: what }: Check): string => [what, ...details, advice].join('\n')
const withStatus = (change: Partial<DaemonStatus>): Partial<DoctorFacts> => ({
  daemon: { state: 'answers', status: { ...status, ...change } },
})
const withEntries = (...more: readonly HomeEntry[]): Partial<DoctorFacts> => ({ entries: [...well.entries, ...more] })
const attention = (kind: string): Partial<DoctorFacts> =>
  withStatus({ attention: [{ kind, detail: `it is ${kind}`, since: '2026-01-01T00:00:00.000Z' }] })

describe('the doctor', () => {
  test('finds nothing where all is well', () => {
    expect(judge(well).filter(({ verdict }) => verdict !== 'ok')).toEqual([])
  })

  test('judges nothing that it cannot know, where there is no home', () => {
    const nothing = refuse('there is no instance in /srv/kevin')
    const checks = judge({
      ...well,
      ...down,
      entries: [],
      identity: nothing,
      configuration: nothing,
      syncs: nothing,
      database: nothing,
      disk: nothing,
      multicast: nothing,
      secrets: nothing,
    })
    expect(checks.filter(({ verdict }) => verdict !== 'not checked').map(({ name, verdict }) => `${name} ${verdict}`)).toEqual([
      'node ok',
      'home failed',
    ])
  })

  test.each<[CheckName, string, Partial<DoctorFacts>, string, RegExp]>([
    ['node', 'an old Node', { nodeVersion: '22.18.0' }, 'failed', /22\.18\.0.*\n.*24 or newer/],
    ['home', 'a home without an instance', { identity: refuse('there is no instance in it') }, 'failed', /no instance/],
    [
      'home',
      'an instance that moved away',
      { move: { instance: 'b2' as never, at: '', file: '/mnt/kevin.move', partial: '' } },
      'failed',
      /moved away .*kevin\.move\n.*move undo/,
    ],
    [
      'permissions',
      'a home that others can enter',
      { entries: [{ ...home, mode: 0o755 }] },
      'failed',
      /\. is open to others \(0755\)\n.*--fix/,
    ],
    [
      'permissions',
      'a secret that others can read',
      withEntries(entry('root-key.json', { mode: 0o640 })),
      'failed',
      /root-key\.json is open to others \(0640\)/,
    ],
    ['permissions', 'a file of another user', withEntries(entry('tokens.json', { owner: 0 })), 'failed', /tokens\.json belongs to user 0/],
    [
      'permissions',
      'a symbolic link',
      withEntries(entry('config.toml', { kind: 'link', mode: 0o777 })),
      'failed',
      /config\.toml is a symbolic link/,
    ],
    [
      'leftovers',
      'a stale socket',
      { ...down, entries: well.entries, daemon: { state: 'silent' } },
      'warning',
      /run\/api\.sock: the socket of a daemon that died/,
    ],
    ['leftovers', 'an overwritten lock', { ...down, lock: ok('broken') }, 'warning', /lock\.sqlite: the lock, overwritten/],
    [
      'leftovers',
      'a restore cut off before it was settled',
      { ...down, entries: [home, entry('restore.partial')] },
      'warning',
      /restore\.partial: /,
    ],
    [
      'leftovers',
      'a restore cut off after it was settled',
      { ...down, entries: [home, entry('restore.ready-2')] },
      'warning',
      /restore\.ready-2: a restore/,
    ],
    ['leftovers', 'a change of key cut off', { ...down, entries: [home, entry('identity.json.next')] }, 'warning', /a change of key/],
    [
      'leftovers',
      'a file that was never renamed',
      { ...down, entries: [home, entry('tokens.json.new')] },
      'warning',
      /tokens\.json\.new: /,
    ],
    [
      'configuration',
      'a mistake in the configuration',
      { configuration: refuse('config.toml, line 3: network.prot is no field') },
      'failed',
      /line 3/,
    ],
    ['daemon', 'that none runs', down, 'warning', /no daemon runs.*\n.*selfsame up/],
    ['daemon', 'two daemons on one home', { daemonProcesses: [42, 43] }, 'failed', /2 daemons .* 42, 43/],
    ['daemon', 'a daemon whose lock is gone', { lock: ok('free') }, 'failed', /does not hold its lock/],
    [
      'daemon',
      'a daemon that does not answer',
      { daemon: { state: 'silent' } },
      'failed',
      /daemon \(process 42\) holds this home and does not answer/,
    ],
    [
      'daemon',
      'a process that holds the lock',
      { daemon: { state: 'none' }, daemonProcesses: null },
      'failed',
      /a process holds this home/,
    ],
    ['daemon', 'a daemon that wants a token', { daemon: { state: 'refuses', why: 'a token is needed' } }, 'warning', /a token is needed/],
    ['second-copy', 'a second copy', attention('second-copy'), 'failed', /runs twice\nit is second-copy/],
    ['attention', 'what the daemon sees', attention('quarantine'), 'warning', /quarantine: it is quarantine/],
    ['disk-space', 'a disk that is nearly full', { disk: ok({ freeBytes: 10 << 20, databaseBytes: 0 }) }, 'failed', /10 MiB are free/],
    [
      'disk-space',
      'a disk without room for a backup',
      { disk: ok({ freeBytes: 5 * gibibyte, databaseBytes: 9 * gibibyte }) },
      'warning',
      /5\.0 GiB are free, the memory takes 9\.0 GiB/,
    ],
    ['disk-speed', 'a slow disk', { syncs: ok(Array.from({ length: 40 }, () => 45)) }, 'warning', /45 ms \(p50\), 45 ms \(p99\) of 40/],
    [
      'disk-speed',
      'a disk that stalls',
      { syncs: ok([...Array.from({ length: 97 }, () => 0.2), 900, 900, 900]) },
      'warning',
      /0\.20 ms \(p50\), 900 ms \(p99\)/,
    ],
    [
      'clock',
      'a clock that is behind',
      withStatus({ peers: [{ ...peer, clockAheadMilliseconds: -90_000 }] }),
      'warning',
      /server is 90 s behind/,
    ],
    [
      'clock',
      'a memory from the future',
      { ...down, database: ok({ bytes: 1, isOurs: true, schemaVersion: 3, schemaVersionKnown: 3, newestAt: now + 3_600_000 }) },
      'warning',
      /3,600 s ahead/,
    ],
    ['clock', 'skew that the daemon reports', attention('clock-skew'), 'warning', /it is clock-skew/],
    [
      'versions',
      'a peer of another version',
      withStatus({ peers: [{ ...peer, program: 'selfsame 1.1.0' }] }),
      'warning',
      /server runs selfsame 1\.1\.0/,
    ],
    ['versions', 'a daemon older than what is installed', withStatus({ version: '1.2.2' }), 'warning', /1\.2\.3 is installed/],
    ['addresses', 'that it listens nowhere', withStatus({ network: { paused: false, addresses: [] } }), 'warning', /listens nowhere/],
    ['addresses', 'an address that is no more', { hosts: ['127.0.0.1'] }, 'warning', /192\.168\.1\.5/],
    [
      'addresses',
      'members that cannot dial it',
      withStatus({ peers: [{ ...peer, direction: 'outbound', address: '/ip4/198.51.100.7/tcp/1' }] }),
      'warning',
      /server cannot: .* its own networks only/,
    ],
    [
      'addresses',
      'loopback where members are in the network',
      withStatus({ network: { paused: false, addresses: ['/ip4/127.0.0.1/tcp/1'] }, peers: [{ ...peer, direction: 'outbound' }] }),
      'warning',
      /from this machine only/,
    ],
    [
      'multicast',
      'a firewall',
      { multicast: ok({ heard: false, answered: false, refusal: null }) },
      'warning',
      /is blocked on this machine:.*\n.*5353/,
    ],
    [
      'multicast',
      'a system that refuses',
      { multicast: ok({ heard: false, answered: false, refusal: 'EPERM' }) },
      'warning',
      /blocked on this machine \(EPERM\)/,
    ],
    [
      'multicast',
      'a daemon that does not answer',
      { multicast: ok({ heard: true, answered: false, refusal: null }) },
      'warning',
      /the daemon does not answer/,
    ],
    ['place', 'a synced folder', { syncTool: { tool: 'Dropbox', path: '/srv' } }, 'failed', /\/srv, which Dropbox copies/],
    ['place', 'a network file system', { fileSystem: { type: 'nfs4', durability: 'remote' } }, 'failed', /another machine \(nfs4\)/],
    [
      'place',
      'a file system in memory',
      { fileSystem: { type: 'tmpfs', durability: 'volatile' } },
      'warning',
      /gone when the machine stops/,
    ],
    ['database', 'damage', { database: refuse('the database is damaged (page 7)') }, 'failed', /page 7.*\n.*restore/],
    [
      'database',
      'a file of something else',
      { database: ok({ bytes: 1, isOurs: false, schemaVersion: 0, schemaVersionKnown: 3, newestAt: null }) },
      'failed',
      /no database of selfsame/,
    ],
    [
      'database',
      'a newer one',
      { database: ok({ bytes: 1, isOurs: true, schemaVersion: 4, schemaVersionKnown: 3, newestAt: null }) },
      'failed',
      /version 4 and this program knows 3/,
    ],
    [
      'secrets',
      'a secret',
      {
        secrets: ok({ places: [{ document: 'log/memory', position: 'entry 1', kind: 'AWS access key' }], total: 4, read: 2, documents: 9 }),
      },
      'warning',
      /4 places look like a secret, in 2 of 9 documents.*5 s go\nlog\/memory, entry 1: AWS access key\nand 3 more/,
    ],
  ])('%s: finds %s', (name, _, change, verdict, shown) => {
    const check = found(name, change)
    expect([check.verdict, textOf(check)]).toEqual([verdict, expect.stringMatching(shown)])
    expect(check.found).not.toContain('\n')
  })

  test.each<[CheckName, string, Partial<DoctorFacts>, string]>([
    ['leftovers', 'what a running daemon may be using', withEntries(entry('tokens.json.new'), entry('run/doctor.partial')), 'ok'],
    ['leftovers', 'what was kept on purpose', { ...down, entries: [home, entry('before-restore-1')] }, 'ok'],
    [
      'database',
      'an older version',
      { database: ok({ bytes: 1, isOurs: true, schemaVersion: 2, schemaVersionKnown: 3, newestAt: null }) },
      'ok',
    ],
    [
      'addresses',
      'an address of a router',
      { configuration: ok(parseConfiguration('[network]\nannounce = ["/ip4/198.51.100.7/tcp/1"]', 'config.toml', {})) },
      'ok',
    ],
    ['addresses', 'a network that is paused', withStatus({ network: { paused: true, addresses: [] } }), 'not checked'],
    ['versions', 'a peer that never said what it runs', withStatus({ peers: [{ ...peer, program: null }] }), 'ok'],
    ['clock', 'that nobody is there to compare with', { ...down }, 'ok'],
    ['permissions', 'a system without numbered users', { user: null }, 'not checked'],
  ])('%s: is content with %s', (name, _, change, verdict) => {
    expect(found(name, change).verdict).toBe(verdict)
  })

  test('has its checks in the document, and no others', () => {
    const section =
      readProjectFile('docs/OPERATIONS.md')
        .split(/^### Checks$/m)[1]
        ?.split(/^#{2,3} /m)[0] ?? ''
    const documented = [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name)
    expect(documented).toEqual(judge(well).map(({ name }) => name))
  })
})
