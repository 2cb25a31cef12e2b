/** The commands that tell how the agent is: the status on one screen, and waiting until all hold the same. */
import { existsSync } from 'node:fs'
import { homePathOf } from '../api/client.ts'
import type { Agent, ErrorCode, Peer, Status } from '../api/client.ts'
import { durationToMilliseconds } from './arguments.ts'
import type { AgentContext, Context, Doors } from './command.ts'
import { homeHint } from './life-commands.ts'
import { amountText, columnsOf, localTime, recentTime, spanOf } from './output.ts'
import type { Colour } from './output.ts'
import { waitUntil } from './waiting.ts'

/** Exit codes of `selfsame status` besides 0 for a healthy agent. */
const exitCodeOfDegraded = 1
const exitCodeOfDown = 2
/** Exit code of a wait that ended without what was waited for: not now, as `EX_TEMPFAIL`. */
const exitCodeOfTimeout = 75
/** Lines of attention that tell why this instance is no member. */
const lostPlaces: ReadonlySet<string> = new Set(['removed', 'suspended', 'key-replaced'])
/** Documents named beside a peer. */
const documentsShown = 3

export function addHealthCommands({ program, command, onAgent, onAgentIfUp }: Doors): void {
  command(program, 'status', 'Show this instance, its peers, and what wants attention', 'status --json')
    .addHelpText('after', '\nIt ends with 0 if all is well, 1 if something wants attention, and 2 if the daemon does not run.')
    .action(
      onAgentIfUp(async ({ agent, finish, home, output }: Context<object> & { readonly agent: Agent | null }) => {
        if (agent === null) {
          const down = downOf(home)
          await output.answer({ state: 'down', home: down.home, reason: down.reason }, `down: ${down.text}`, () => 'red')
          finish(exitCodeOfDown)
          return
        }
        const status = await agent.status()
        await output.answer(status, statusText(status, Date.now()), colourOf)
        if (status.state === 'degraded') finish(exitCodeOfDegraded)
      }),
    )

  command(program, 'wait', 'Wait until other instances hold what this one holds', 'wait --synced --peer server --timeout 1m')
    .option('--synced', 'until each lacks nothing of this instance, nor this one of it (what it waits for anyway)')
    .option('--peer <name>', 'only this instance (default: all others)')
    .option('--timeout <duration>', 'how long to wait', '30s')
    .addHelpText('after', `\nIt ends with 0 when they do, and with ${exitCodeOfTimeout} when the time is over before.`)
    .action(
      onAgent(async ({ agent, finish, options, output }: AgentContext<{ peer?: string; timeout?: string }>) => {
        const only = options.peer === undefined ? undefined : await agent.members.find(options.peer)
        let waiting: readonly Peer[] = []
        const isSynced = async (): Promise<boolean> => (waiting = await unsynced(agent, only?.id)).length === 0
        const synced = await waitUntil(isSynced, durationToMilliseconds(options.timeout ?? '30s'))
        const text = synced
          ? 'in sync'
          : columnsOf([['not in sync:', ''], ...waiting.map((peer) => [`  ${peer.instance.name}`, syncText(peer, Date.now())])])
        await output.answer({ synced, waiting }, text)
        if (!synced) finish(exitCodeOfTimeout)
      }),
    )
}

/** The peers that are not known to be in sync. Whoever is away is not, whatever it last told. */
async function unsynced(agent: Agent, only: string | undefined): Promise<readonly Peer[]> {
  const { peers } = await agent.status()
  return peers.filter((peer) => (only === undefined || peer.instance.id === only) && !isInSync(peer))
}

function isInSync({ ahead, behind, lacks, state }: Peer): boolean {
  return state === 'connected' && behind === 0 && ahead === 0 && lacks?.documents === 0
}

/** Why there is nobody to ask, and what to do. */
function downOf(home: string | undefined): { readonly home: string; readonly reason: ErrorCode; readonly text: string } {
  const path = homePathOf(home)
  const hint = homeHint(home)
  return existsSync(path)
    ? { home: path, reason: 'daemon-not-running', text: `no daemon runs on ${path}. Start it: selfsame up --detach${hint}` }
    : {
        home: path,
        reason: 'home-missing',
        text: `there is no agent in ${path} yet. Begin one: selfsame init --agent NAME${hint}, or join one: selfsame join${hint}`,
      }
}

/** `now`: milliseconds since the Unix epoch; what happened today is told without its date. */
function statusText(status: Status, now: number): string {
  const { agent, attention, instance, network, peers, signals } = status
  const lost = attention.find(({ kind }) => lostPlaces.has(kind))
  const role = instance.role ?? (lost === undefined ? 'not a member' : `${lost.kind.replace('-', ' ')}: no member any more`)
  const readiness = signals.recoverySeconds === null ? '' : `, ready after ${signals.recoverySeconds.toFixed(1)} s`
  const facts = columnsOf([
    ['agent', `${agent.name}  ${agent.id.slice(0, 16)}`],
    ['instance', `${instance.name}  ${role}`],
    ['home', status.home],
    ['running', `${spanOf(status.uptimeSeconds)}, process ${status.processId}, version ${status.version}${readiness}`],
    ...(network.paused ? ["paused: 'selfsame network resume' goes on"] : network.addresses).map((line, index) => [
      index === 0 ? 'network' : '',
      line,
    ]),
    ['memory', `${amountText(status.documents, 'document', 'documents')}, ${amountText(status.entries, 'log entry', 'log entries')}`],
    ['conflicts', conflictsText(status)],
  ])
  const others =
    peers.length === 0 ? "no other instances: 'selfsame invite' admits one" : columnsOf(peers.map((peer) => peerCells(peer, now)))
  const verdict =
    attention.length === 0
      ? 'healthy: nothing wants attention'
      : `degraded: ${amountText(attention.length, 'case wants', 'cases want')} attention`
  const lines = attention.map((line) => `! ${line.kind}: ${line.detail} (since ${localTime(line.since)})`)
  return [facts, others, [verdict, ...lines].join('\n')].join('\n\n')
}

function colourOf(line: string): Colour | undefined {
  if (line.startsWith('! ')) return 'red'
  if (line.startsWith('degraded: ')) return 'yellow'
  return line.startsWith('healthy: ') ? 'green' : undefined
}

function conflictsText({ signals: { conflictedDocuments, conflicts } }: Status): string {
  const where = conflictedDocuments.map(({ conflicts: count, kind, name }) => `${kind}/${name} ${count}`)
  const shown = where.slice(0, documentsShown).join(', ')
  const count = amountText(conflicts, 'concurrent write', 'concurrent writes')
  return conflicts === 0
    ? 'none since the start'
    : `${count} merged since the start: ${shown}${where.length > documentsShown ? ', ...' : ''}`
}

function peerCells(peer: Peer, now: number): readonly string[] {
  const { address, instance, lastSeen, program, roundTripMilliseconds, state } = peer
  const seen = lastSeen === null ? 'not seen since the start' : `last seen ${recentTime(lastSeen, now)}`
  const trip = roundTripMilliseconds === null ? '' : `${roundTripMilliseconds.toFixed(1)} ms`
  return [
    instance.name,
    state === 'connected' ? state : `${state}, ${seen}`,
    syncText(peer, now),
    digestsText(peer, now),
    trip,
    program?.replace(/^selfsame /, 'version ') ?? '',
    address ?? '',
  ]
}

function digestsText({ digests: { documents, first, state, time } }: Peer, now: number): string {
  if (state === 'unknown' || time === null) return 'digests not known yet'
  if (state === 'equal') return `digests equal at ${recentTime(time, now)}`
  const names = first.slice(0, documentsShown).map(({ id, kind, name }) => (kind === null || name === null ? id : `${kind}/${name}`))
  return `differs: ${amountText(documents, 'document', 'documents')} (${names.join(', ')}${documents > names.length ? ', ...' : ''})`
}

function syncText(peer: Peer, now: number): string {
  const { ahead, behind, lacks, state, told } = peer
  if (told === null || ahead === null || behind === null) return 'unknown'
  const parts = [
    ...(behind > 0 ? [`behind ${behind}`] : []),
    ...(ahead > 0 ? [`ahead ${ahead}`] : []),
    ...(lacks === null || lacks.documents === 0 ? [] : [lacksText(lacks)]),
  ]
  const what = parts.length === 0 ? 'lacked nothing' : parts.join(', ')
  // What a peer that is not connected holds by now nobody knows.
  if (state !== 'connected') return `unknown (${what} when it last told)`
  return parts.length === 0 ? `in sync as of ${recentTime(told, now)}` : what
}

function lacksText({ documents, first }: NonNullable<Peer['lacks']>): string {
  const names = first.slice(0, documentsShown).map(({ kind, name }) => `${kind}/${name}`)
  const more = documents - names.length
  return `in ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
