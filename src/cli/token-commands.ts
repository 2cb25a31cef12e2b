/** The commands on tokens: what lets a program use some of the agent, or all of it over TCP. */
import type { Token } from '../api/client.ts'
import { durationToMilliseconds } from './arguments.ts'
import { collect } from './command.ts'
import type { AgentContext, Doors } from './command.ts'
import { columnsOf, localTime } from './output.ts'

interface CreateOptions {
  readonly allow: readonly string[]
  readonly expires?: string
}

export function addTokenCommands({ program, command, onAgent }: Doors): void {
  const tokens = command(program, 'token', 'Let programs see and do only some of all this', 'token list')

  command(
    tokens,
    'create <name>',
    'Make a token and print it, this once',
    "token create scout --allow 'log/memory:append,read' --allow 'text/*:read' --expires 30d",
  )
    .addHelpText(
      'after',
      '\nA program or a command uses it as SELFSAME_TOKEN. Who has none may do everything over the socket, nothing over TCP.',
    )
    .requiredOption(
      '--allow <what>',
      "kind/name:rights with rights of read, append, write (* stands for anything), or 'all'; may be given more than once",
      collect,
    )
    .option('--expires <duration>', 'how long it is valid (default: until it is revoked)')
    .action(
      onAgent(async ({ agent, options, output }: AgentContext<CreateOptions>, name: string) => {
        const { allow, expires } = options
        const created = await agent.tokens.create({
          name,
          allow,
          ...(expires === undefined ? {} : { expiresSeconds: Math.ceil(durationToMilliseconds(expires) / 1_000) }),
        })
        await output.answer(created, created.token)
        output.remark(`It is a secret and not shown again; it ends with: selfsame token revoke ${created.name}`)
      }),
    )

  command(tokens, 'list', 'List the tokens: what each allows, and until when', 'token list').action(
    onAgent(async ({ agent, output }: AgentContext<object>) => {
      const found = await agent.tokens.list()
      await output.answer(found, found.length === 0 ? 'no tokens' : columnsOf(found.map(tokenCells)))
    }),
  )

  command(tokens, 'revoke <name>', 'End what a token allows, at once', 'token revoke scout').action(
    onAgent(async ({ agent, output }: AgentContext<object>, name: string) => {
      await agent.tokens.revoke(name)
      await output.answer({ revoked: name }, `${name} is revoked`)
    }),
  )
}

function tokenCells({ name, allow, created, expires }: Token): readonly string[] {
  return [name, allow.join(' '), `since ${localTime(created)}`, expires === null ? '' : `until ${localTime(expires)}`]
}
