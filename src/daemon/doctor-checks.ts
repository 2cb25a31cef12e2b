/**
 * What the doctor judges: one function for each check, from what is known to a verdict, what was found and what to do. Pure. The names
 * stand in `docs/OPERATIONS.md`.
 */
import { mergeAheadMillisecondsMax } from '../core/index.ts'
import { addressReach } from '../network/index.ts'
import type { DoctorFacts, HomeEntry, HomeLook } from './doctor-facts.ts'
import { scanMillisecondsMax } from './secret-scan.ts'

export type Verdict = 'ok' | 'warning' | 'failed' | 'not checked'

export interface Finding {
  readonly verdict: Verdict
  /** One line. */
  readonly found: string
  /** One by one, where there are several. */
  readonly details?: readonly string[]
  /** What to do; where nothing is to be done there is none. */
  readonly advice?: string
}

export interface Check extends Finding {
  readonly name: CheckName
}

/** Node versions before have no types to strip, and a database that warns. */
const nodeMajorMin = 24
/** Bytes free on the disk: below the first a checkpoint of the write-ahead log may fail soon, below the second a backup or an import. */
const freeBytesMin = 64 << 20
const freeBytesLow = 1 << 30
/** Milliseconds of a small synced write: a solid-state disk takes some tenths, a spinning one about ten. Each write of an agent waits for one. */
const syncMillisecondsSlow = 20
const syncMillisecondsSlowest = 250
/** Milliseconds that clocks may differ: what the clocks of this project bridge by themselves. */
const skewMillisecondsMax = mergeAheadMillisecondsMax

const checks = {
  'node': ({ nodeVersion }: DoctorFacts): Finding =>
    Number.parseInt(nodeVersion, 10) >= nodeMajorMin
      ? { verdict: 'ok', found: `Node.js ${nodeVersion}` }
      : { verdict: 'failed', found: `Node.js ${nodeVersion} is too old`, advice: `install Node.js ${nodeMajorMin} or newer` },

  'home'({ identity, move }: DoctorFacts): Finding {
    if (!identity.ok) return { verdict: 'failed', found: identity.reason }
    const { agentName, name } = identity.value
    if (move !== null)
      return {
        verdict: 'failed',
        found: `${name} of ${agentName} has moved away from this home, into ${move.file}`,
        advice:
          'start it on the other machine (selfsame move in FILE), or have it live here again (selfsame move undo) if it never started there',
      }
    return { verdict: 'ok', found: `${name} of ${agentName}` }
  },

  'permissions'(facts: DoctorFacts): Finding {
    if (facts.user === null) return { verdict: 'not checked', found: 'this system has no numbered users' }
    if (facts.entries.length === 0) return nothingThere
    const faults = facts.entries.flatMap((entry) => faultOf(entry, facts.user) ?? [])
    if (faults.length === 0) return { verdict: 'ok', found: 'the home and all that is in it are for its owner alone' }
    return {
      verdict: 'failed',
      found: 'others can get at this instance, or somebody put something in its place',
      details: faults,
      advice: 'selfsame doctor --fix takes the rights of others away; what belongs to another user, and links, are yours to look at',
    }
  },

  'leftovers'(facts: DoctorFacts): Finding {
    if (facts.entries.length === 0) return nothingThere
    const left = leftoversOf(facts)
    const kept = facts.entries.filter(({ name }) => /^before-restore-\d+$|\.old-[0-9a-f]+$/.test(name)).map(({ name }) => name)
    const keptText =
      kept.length === 0 ? '' : `; kept by an earlier restore or join, to be deleted when nothing is missed: ${kept.join(', ')}`
    if (left.length === 0) return { verdict: 'ok', found: `nothing was left half done${keptText}` }
    return {
      verdict: 'warning',
      found: `something was cut off${keptText}`,
      details: left.map(({ entry, what }) => `${entry.name}: ${what}`),
      advice: 'selfsame doctor --fix clears it away; while a daemon runs it leaves alone what that may be using',
    }
  },

  'configuration'({ configuration, identity, paths }: DoctorFacts): Finding {
    if (!identity.ok) return nothingThere
    return configuration.ok
      ? { verdict: 'ok', found: `${paths.configuration} is valid` }
      : { verdict: 'failed', found: configuration.reason, advice: 'correct it, then start the daemon anew' }
  },

  'daemon'({ daemon, daemonProcesses, identity, lock, paths }: DoctorFacts): Finding {
    if (!identity.ok) return nothingThere
    const processes = daemonProcesses ?? []
    if (processes.length > 1)
      return {
        verdict: 'failed',
        found: `${processes.length} daemons run on this home: processes ${processes.join(', ')}`,
        advice: 'end all of them (selfsame down, then kill), then start one; nothing that was acknowledged is lost',
      }
    if (!lock.ok) return { verdict: 'failed', found: lock.reason }
    if (daemon.state === 'refuses') return { verdict: 'warning', found: `a daemon answers and does not tell how it is: ${daemon.why}` }
    if (daemon.state === 'answers') {
      const { processId, version } = daemon.status
      if (lock.value !== 'held')
        return {
          verdict: 'failed',
          found: `process ${processId} serves this home and does not hold its lock: a second one could start`,
          advice: 'somebody deleted or replaced lock.sqlite: selfsame down, then selfsame up',
        }
      return { verdict: 'ok', found: `process ${processId} runs version ${version}, and no other` }
    }
    const [process] = processes
    if (lock.value === 'held' || process !== undefined)
      return {
        verdict: 'failed',
        found: `a ${process === undefined ? 'process' : `daemon (process ${process})`} holds this home and does not answer`,
        advice: `it may be starting, stopping or stuck: look at ${paths.log}; if it stays so, end it with kill and start it anew`,
      }
    return { verdict: 'warning', found: 'no daemon runs on this home', advice: 'selfsame up --detach' }
  },

  'second-copy'({ daemon }: DoctorFacts): Finding {
    if (daemon.state !== 'answers') return noStatus
    const found = daemon.status.attention.filter(({ kind }) => kind === 'second-copy').map(({ detail }) => detail)
    return found.length === 0
      ? { verdict: 'ok', found: 'no copy of an instance runs elsewhere, as far as anybody has noticed' }
      : {
          verdict: 'failed',
          found: 'a home was copied and runs twice',
          details: found,
        }
  },

  'attention'({ daemon }: DoctorFacts): Finding {
    if (daemon.state !== 'answers') return noStatus
    const found = daemon.status.attention.filter(({ kind }) => !judgedElsewhere.has(kind))
    return found.length === 0
      ? { verdict: 'ok', found: 'the daemon sees nothing else that wants attention' }
      : {
          verdict: 'warning',
          found: 'the daemon sees what wants attention',
          details: found.map(({ detail, kind }) => `${kind}: ${detail}`),
          advice: 'see selfsame status, and selfsame evidence',
        }
  },

  'disk-space'({ disk, entries }: DoctorFacts): Finding {
    if (entries.length === 0) return nothingThere
    if (!disk.ok) return { verdict: 'not checked', found: disk.reason }
    const { databaseBytes, freeBytes } = disk.value
    const found = `${sizeText(freeBytes)} are free, the memory takes ${sizeText(databaseBytes)}`
    if (freeBytes < freeBytesMin)
      return { verdict: 'failed', found, advice: 'make room: without it the instance can only be read, and goes on by itself afterwards' }
    return freeBytes < Math.max(freeBytesLow, databaseBytes)
      ? { verdict: 'warning', found, advice: 'make room for what will be written, and for a backup' }
      : { verdict: 'ok', found }
  },

  'disk-speed'({ identity, syncs }: DoctorFacts): Finding {
    if (!identity.ok) return nothingThere
    if (!syncs.ok) return { verdict: 'not checked', found: syncs.reason }
    const [p50, p99] = [0.5, 0.99].map((share) => syncs.value[Math.ceil(share * syncs.value.length) - 1] ?? 0) as [number, number]
    const found = `a synced write takes ${millisecondsText(p50)} (p50), ${millisecondsText(p99)} (p99) of ${syncs.value.length}`
    return p50 > syncMillisecondsSlow || p99 > syncMillisecondsSlowest
      ? {
          verdict: 'warning',
          found,
          advice: 'each write waits for one: have the home on a local disk, or a faster one, or one with less to do',
        }
      : { verdict: 'ok', found }
  },

  'clock'({ daemon, database, identity, now }: DoctorFacts): Finding {
    if (!identity.ok) return nothingThere
    const newestAhead = database.ok && database.value.newestAt !== null ? database.value.newestAt - now : null
    const peers = daemon.state === 'answers' ? daemon.status.peers : []
    const told = daemon.state === 'answers' ? daemon.status.attention.filter(({ kind }) => kind === 'clock-skew') : []
    const measured = peers.flatMap(({ clockAheadMilliseconds: ahead, instance }) =>
      ahead === null ? [] : [{ name: instance.name, ahead }],
    )
    const details = [
      ...told.map(({ detail }) => detail),
      ...measured
        .filter(({ ahead }) => Math.abs(ahead) > skewMillisecondsMax)
        .map(({ ahead, name }) => `the clock of ${name} is ${secondsText(ahead)} of this one`),
      ...(newestAhead !== null && newestAhead > skewMillisecondsMax
        ? [`the newest time in the memory is ${secondsText(newestAhead)} of this clock`]
        : []),
    ]
    if (details.length > 0)
      return {
        verdict: 'warning',
        found: 'clocks differ',
        details,
        advice: 'have both machines set their clocks by a time server; writes are not held back meanwhile',
      }
    if (measured.length > 0) {
      const greatest = Math.max(...measured.map(({ ahead }) => Math.abs(ahead)))
      return { verdict: 'ok', found: `no more than ${millisecondsText(greatest)} from the clocks of the others` }
    }
    return newestAhead === null
      ? { verdict: 'not checked', found: 'no other instance is connected, and nothing is written yet' }
      : { verdict: 'ok', found: 'nothing in the memory is of the future; no other instance is connected to compare with' }
  },

  'versions'({ daemon, version }: DoctorFacts): Finding {
    if (daemon.state !== 'answers') return noStatus
    const { status } = daemon
    const own = `selfsame ${status.version}`
    const others = status.peers.flatMap(({ instance, program }) =>
      program === null || program === own ? [] : [`${instance.name} runs ${program}`],
    )
    const stale =
      status.version === version ? [] : [`the daemon here runs ${own}, and ${version} is installed: selfsame down, then selfsame up`]
    return others.length + stale.length === 0
      ? { verdict: 'ok', found: `all that are known run ${own}` }
      : {
          verdict: 'warning',
          found: `not everything runs ${own}`,
          details: [...stale, ...others],
          advice: 'bring all to one version, one instance after the other: neighbouring versions understand each other, others may not',
        }
  },

  'addresses'({ configuration, daemon, hosts }: DoctorFacts): Finding {
    if (daemon.state !== 'answers') return noStatus
    const { network, peers } = daemon.status
    if (network.paused) return { verdict: 'not checked', found: 'the network is paused' }
    const announced = configuration.ok ? configuration.value.network.announce : []
    const all = [...network.addresses, ...announced]
    if (all.length === 0)
      return { verdict: 'warning', found: 'this instance listens nowhere', advice: 'look at network.listen in config.toml' }
    const foreign = all.filter((address) => addressReach(address) === 'private' && !hosts.includes(hostOf(address)))
    const callers = peers.filter(({ direction }) => direction === 'inbound').map(({ instance }) => instance.name)
    const ownReach = Math.max(...all.map(reachOf))
    const beyond = peers.filter(({ address }) => address !== null && reachOf(address) > ownReach).map(({ instance }) => instance.name)
    if (foreign.length > 0)
      return {
        verdict: 'warning',
        found: 'no interface of this machine has an address that others are told',
        details: foreign,
        advice: 'correct network.listen and network.announce in config.toml, or start the daemon anew if the network changed',
      }
    if (callers.length > 0) return { verdict: 'ok', found: `${callers.join(', ')} dialed this instance` }
    if (beyond.length > 0)
      return {
        verdict: 'warning',
        found: `nobody has dialed this instance, and ${beyond.join(', ')} cannot: it can be reached from ${ownReach === 0 ? 'this machine' : 'its own networks'} only`,
        details: all,
        advice: 'open a port and tell its address (network.announce in config.toml); without one it syncs with all that it can dial itself',
      }
    return { verdict: 'ok', found: `it listens on ${all.length} addresses; no connection that is open now was made by another instance` }
  },

  'multicast'({ daemon, identity, multicast }: DoctorFacts): Finding {
    if (!identity.ok) return nothingThere
    if (!multicast.ok) return { verdict: 'not checked', found: multicast.reason }
    const { answered, heard, refusal } = multicast.value
    const advice = 'allow UDP port 5353 and the group 224.0.0.251 in the firewall, or name other instances in network.bootstrap'
    if (answered) return { verdict: 'ok', found: 'a question on the local network was answered by this agent' }
    if (!heard)
      return {
        verdict: 'warning',
        found: `multicast DNS is blocked on this machine${refusal === null ? '' : ` (${refusal})`}: others here are not found by it`,
        advice,
      }
    return daemon.state === 'answers' && !daemon.status.network.paused
      ? { verdict: 'warning', found: 'a question on the local network comes back, and the daemon does not answer it', advice }
      : { verdict: 'ok', found: 'a question on the local network comes back; no daemon runs that would answer it' }
  },

  'place'({ entries, fileSystem, syncTool }: DoctorFacts): Finding {
    if (entries.length === 0) return nothingThere
    const advice = 'stop the daemon, move the home to a directory on a local disk that is no part of this, and name it with --home'
    if (syncTool !== null)
      return {
        verdict: 'failed',
        found: `the home lies in ${syncTool.path}, which ${syncTool.tool} copies elsewhere: its keys would go along, and copies of a live database are damaged`,
        advice,
      }
    if (fileSystem?.durability === 'remote')
      return {
        verdict: 'failed',
        found: `the home lies on a file system of another machine (${fileSystem.type}): locks and syncs cannot be relied on there`,
        advice,
      }
    if (fileSystem?.durability === 'volatile')
      return { verdict: 'warning', found: `the home lies in memory (${fileSystem.type}): it is gone when the machine stops`, advice }
    return {
      verdict: 'ok',
      found:
        fileSystem === null
          ? 'in no folder that another program carries elsewhere'
          : `on a disk of this machine (${fileSystem.type}), in no folder that another program carries elsewhere`,
    }
  },

  'database'({ database, identity }: DoctorFacts): Finding {
    if (!identity.ok) return nothingThere
    const restore = 'restore a backup (selfsame restore FILE --force), or join again with a ticket: the other instances send what they have'
    if (!database.ok) return { verdict: 'failed', found: database.reason, advice: restore }
    const { bytes, isOurs, schemaVersion, schemaVersionKnown } = database.value
    if (!isOurs) return { verdict: 'failed', found: 'memory.sqlite is no database of selfsame', advice: restore }
    if (schemaVersion > schemaVersionKnown)
      return {
        verdict: 'failed',
        found: `it has version ${schemaVersion} and this program knows ${schemaVersionKnown}`,
        advice: 'install the selfsame that wrote it, or a newer one',
      }
    const migration =
      schemaVersion < schemaVersionKnown ? `; the next start brings it from version ${schemaVersion} to ${schemaVersionKnown}` : ''
    return { verdict: 'ok', found: `all of its ${sizeText(bytes)} are sound${migration}` }
  },

  'secrets'({ secrets }: DoctorFacts): Finding {
    if (!secrets.ok) return { verdict: 'not checked', found: secrets.reason }
    const { documents, places, read, total } = secrets.value
    const all = documents === 1 ? '1 document' : `${documents} documents`
    const extent = read === documents ? all : `${read} of ${all}, which is as far as ${scanMillisecondsMax / 1_000} s go`
    if (total === 0) return { verdict: 'ok', found: `nothing in ${extent} looks like a password, a key or a token` }
    const more = total - places.length
    return {
      verdict: 'warning',
      found: `${total === 1 ? 'one place looks' : `${total} places look`} like a secret, in ${extent}`,
      details: [
        ...places.map(({ document, kind, position }) => `${document}, ${position}: ${kind}`),
        ...(more > 0 ? [`and ${more} more`] : []),
      ],
      advice: 'replace the secret where it is used: what is written here goes to every instance, and stays there also when it is deleted',
    }
  },
} as const satisfies Record<string, (facts: DoctorFacts) => Finding>

export type CheckName = keyof typeof checks

/** All checks, in the order in which a person reads them. */
export function judge(facts: DoctorFacts): readonly Check[] {
  return (Object.keys(checks) as CheckName[]).map((name) => ({ name, ...checks[name](facts) }))
}

/** What was left behind, and may be cleared away while no daemon runs. */
export interface Leftover {
  readonly entry: HomeEntry
  readonly what: string
  /** What was begun is carried to its end, as the next start would, or, where nothing of it was ever used, removed. */
  readonly mending: 'finish-restore' | 'settle-key' | 'remove'
}

/** What an interrupted command or a daemon that was killed left in a home. */
export function leftoversOf({
  daemon,
  entries,
  lock,
  socketPath,
}: Pick<HomeLook, 'daemon' | 'entries' | 'lock' | 'socketPath'>): readonly Leftover[] {
  const isHeld = lock.ok && lock.value === 'held'
  return entries.flatMap((entry): Leftover[] => {
    const { kind, name, path } = entry
    if (path === socketPath) {
      const isStale = kind === 'socket' && !isHeld && (daemon.state === 'silent' || daemon.state === 'none')
      return isStale ? [{ entry, what: 'the socket of a daemon that died', mending: 'remove' }] : []
    }
    if (name === 'lock.sqlite')
      return lock.ok && lock.value === 'broken'
        ? [{ entry, what: 'the lock, overwritten with something else: no daemon can start', mending: 'remove' }]
        : []
    if (/^restore\.(ready|entering)-\d+$/.test(name))
      return [{ entry, what: 'a restore that was settled and not finished', mending: 'finish-restore' }]
    if (name === 'identity.json.next') return [{ entry, what: 'a change of key that was not finished', mending: 'settle-key' }]
    if (isHeld) return []
    if (/\.partial(-.*)?$/.test(name)) return [{ entry, what: 'the beginning of what was never finished', mending: 'remove' }]
    if (/\.(json|toml)\.new$/.test(name)) return [{ entry, what: 'a file that was never put in its place', mending: 'remove' }]
    return []
  })
}

/** Permission bits of group and others. */
export const othersMask = 0o077

/** What is wrong with who may use an entry; undefined where nothing is. */
function faultOf({ kind, mode, name, owner }: HomeEntry, user: number | null): string | undefined {
  if (kind === 'link') return `${name} is a symbolic link`
  if (owner !== user) return `${name} belongs to user ${owner}`
  return (mode & othersMask) === 0 ? undefined : `${name} is open to others (${mode.toString(8).padStart(4, '0')})`
}

const nothingThere: Finding = { verdict: 'not checked', found: 'there is no instance here' }
const noStatus: Finding = { verdict: 'not checked', found: 'no daemon answers that knows' }

/** Lines of status that have a check of their own. */
const judgedElsewhere: ReadonlySet<string> = new Set(['second-copy', 'clock-skew'])

function hostOf(address: string): string {
  return address.split('/')[2] ?? ''
}

/** How far away an address can be reached from: 0 this machine, 1 its networks, 2 anywhere. */
function reachOf(address: string): number {
  return ['loopback', 'private', 'public'].indexOf(addressReach(address) ?? '')
}

function sizeText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  const step = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  return `${(bytes / 1_024 ** step).toFixed(step === 0 || bytes / 1_024 ** step >= 10 ? 0 : 1)} ${units[step]}`
}

function millisecondsText(milliseconds: number): string {
  return `${milliseconds.toFixed(milliseconds < 10 ? 2 : 0)} ms`
}

function secondsText(milliseconds: number): string {
  return `${Math.round(Math.abs(milliseconds) / 1_000).toLocaleString('en')} s ${milliseconds > 0 ? 'ahead' : 'behind'}`
}
