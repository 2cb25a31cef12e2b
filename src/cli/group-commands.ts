/** The commands on the group of instances as a whole: presence, the network, what changes, and what all hold. */
import type { Change, DocumentKind, Presence } from '../api/client.ts'
import type { AgentContext, Doors } from './command.ts'
import { entryText } from './log-commands.ts'
import { columnsOf, inlineOf, localTime } from './output.ts'

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
