/** The commands on the group of instances as a whole: status, presence, the network, what changes, and what all hold. */
import type { Change, DocumentKind, Peer, Presence, Status } from '../api/client.ts'
import type { AgentContext, Doors } from './command.ts'
import { entryText } from './log-commands.ts'
import { amountText, columnsOf, inlineOf, localTime, spanOf } from './output.ts'

export function addStatusCommand({ program, command, onAgent }: Doors): void {
  command(program, 'status', 'Show this instance, its peers, and what wants attention', 'status --json').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      const status = await agent.status()
      await output.answer(status, statusText(status))
    }),
  )
}

function statusText(status: Status): string {
  const { agent, instance, network, peers, attention } = status
  const lost = attention.find(({ kind }) => kind === 'removed' || kind === 'suspended')
  const role = instance.role ?? (lost === undefined ? 'not a member' : `${lost.kind}: no member any more`)
  const facts = columnsOf([
    ['agent', `${agent.name}  ${agent.id.slice(0, 16)}`],
    ['instance', `${instance.name}  ${role}`],
    ['home', status.home],
    ['running', `${spanOf(status.uptimeSeconds)}, process ${status.processId}, version ${status.version}`],
    ...(network.paused ? ["paused: 'selfsame network resume' goes on"] : network.addresses).map((line, index) => [
      index === 0 ? 'network' : '',
      line,
    ]),
    ['memory', `${amountText(status.documents, 'document', 'documents')}, ${amountText(status.entries, 'log entry', 'log entries')}`],
  ])
  const others = peers.length === 0 ? "no other instances: 'selfsame invite' admits one" : columnsOf(peers.map(peerCells))
  const lines = attention.map((line) => `! ${line.kind}: ${line.detail} (since ${localTime(line.since)})`)
  return [facts, others, ...lines].join('\n\n')
}

function peerCells(peer: Peer): readonly string[] {
  const seen = peer.state === 'offline' && peer.lastSeen !== null ? `last seen ${localTime(peer.lastSeen)}` : ''
  // What an offline peer has by now nobody knows; what it last told is shown with its age.
  const told =
    peer.told === null
      ? 'unknown'
      : peer.behind === 0 && peer.ahead === 0
        ? 'in sync'
        : `lacks ${peer.behind ?? '?'}, has ${peer.ahead ?? '?'} more`
  return [peer.instance.name, peer.state, peer.state === 'offline' && peer.told !== null ? `was ${told}` : told, peer.address ?? '', seen]
}

export function addPresenceCommands({ program, command, onAgent }: Doors): void {
  const show = onAgent(async ({ agent, output }: AgentContext<object>) => {
    const present = await agent.presence.get()
    await output.answer(present, present.length === 0 ? 'nobody says what it is doing' : columnsOf(present.map(presenceCells)))
  })
  const presence = command(program, 'presence', 'Show what each instance says it is doing now', 'presence').action(show)

  command(presence, 'set <text>', 'Say what this instance is doing', 'presence set "writing the report"').action(
    onAgent(async ({ agent, output }: AgentContext<object>, text: string) => {
      await agent.presence.set(text)
      output.remark('the others see it while they are connected')
    }),
  )

  command(presence, 'clear', 'Say nothing any more', 'presence clear').action(
    onAgent(async ({ agent }: AgentContext<object>) => {
      await agent.presence.clear()
    }),
  )
}

function presenceCells({ instance, state, self }: Presence): readonly string[] {
  return [instance.name, inlineOf(state), self ? '(this one)' : '']
}

export function addNetworkCommands({ program, command, onAgent }: Doors): void {
  const network = command(program, 'network', 'Work offline on purpose, and come back', 'network pause')

  command(network, 'pause', 'Close all connections; reading and writing go on here', 'network pause').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      await output.answer(await agent.network.pause(), "offline: 'selfsame network resume' goes on")
    }),
  )

  command(network, 'resume', 'Connect again', 'network resume').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      await output.answer(await agent.network.resume(), 'online')
    }),
  )
}

export function addWatchCommand({ program, command, onAgent }: Doors): void {
  command(program, 'watch [patterns...]', 'Print changes as they come, from all instances', "watch 'log/*' text/SOUL.md")
    .option('--cursor <cursor>', "resume after this change (each has one, shown with --json); 'start' for all that this home knows")
    .action(
      onAgent(async ({ agent, options, output }: AgentContext<{ cursor?: string }>, patterns: readonly string[]) => {
        for await (const change of agent.watch(patterns, options.cursor === undefined ? {} : { cursor: options.cursor })) {
          await output.answer(change, changeText(change))
        }
      }),
    )
}

function changeText(change: Change): string {
  const path = `${change.kind}/${change.name}`
  if (change.entries !== undefined) return change.entries.map((entry) => `${path}  ${entryText(entry)}`).join('\n')
  const keys = change.keys === undefined ? '' : `  ${change.keys.join(', ')}`
  return `${path}  ${localTime(change.time)}  ${change.author.name}${keys}`
}

export function addDocumentCommands({ program, command, onAgent }: Doors): void {
  command(program, 'documents', 'List the documents', 'documents --kind log')
    .option('--kind <kind>', 'only log, counter, set, register, text or json')
    .option('--prefix <prefix>', 'only names that begin so')
    .action(
      onAgent(async ({ agent, options, output }: AgentContext<{ kind?: DocumentKind; prefix?: string }>) => {
        const documents = await agent.documents({
          ...(options.kind === undefined ? {} : { kind: options.kind }),
          ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
        })
        await output.answer(
          documents,
          documents.length === 0 ? 'no documents yet' : columnsOf(documents.map(({ kind, name }) => [kind, name])),
        )
      }),
    )

  command(program, 'digests', 'Print a digest of each document: equal at two instances when they hold the same', 'digests').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      const digests = await agent.digests()
      await output.answer(
        digests,
        digests.length === 0 ? 'no documents yet' : columnsOf(digests.map(({ kind, name, digest }) => [kind, name, digest])),
      )
    }),
  )
}
