/** The commands on texts and json: documents that are read and written as a whole or by patch. */
import type { JsonPatchOperation } from '../api/client.ts'
import { jsonOf, refusal, textOf } from './arguments.ts'
import { addWriteOptions, answerReceipt, writeOptionsOf } from './command.ts'
import type { AgentContext, Doors, WriteContext } from './command.ts'

interface PutOptions {
  readonly base?: string
}

export function addTextCommands({ program, command, onAgent }: Doors): void {
  const text = command(program, 'text', 'Texts that merge what was written at the same time', 'text put SOUL.md < SOUL.md')

  addWriteOptions(
    command(text, 'put <name> [file]', 'Write the whole text, from a file or standard input', 'text put SOUL.md SOUL.md --base 9f86d08...'),
  )
    .option('--base <version>', 'the version it was made from: what others wrote since is merged, not overwritten')
    .action(
      onAgent(async (context: WriteContext & AgentContext<PutOptions>, name: string, file: string | undefined) => {
        const { agent, options, output, streams } = context
        if (file === undefined && streams.stdin.isTTY === true) output.remark('reading the text from this terminal; end it with Ctrl-D')
        const content = await textOf(file ?? '-', streams.stdin)
        const base = options.base === undefined ? {} : { base: options.base }
        await answerReceipt(context, await agent.text(name).put(content, { ...writeOptionsOf(options), ...base }), `wrote ${name}`)
      }),
    )

  command(text, 'get <name>', 'Print the text; with --json also its version, for --base', 'text get SOUL.md > SOUL.md').action(
    onAgent(async ({ agent, options, output }: AgentContext<object>, name: string) => {
      const value = await agent.text(name).get()
      await (options.json === true ? output.answer(value, '') : output.verbatim(value.text))
    }),
  )
}

export function addJsonCommands({ program, command, onAgent }: Doors): void {
  const json = command(program, 'json', 'JSON documents, edited by patch', 'json patch tasks \'{"t1":{"status":"done"}}\'')

  addWriteOptions(
    command(
      json,
      'patch <name> <patch>',
      'Apply a merge patch (an object, RFC 7396) or a JSON patch (a list, RFC 6902)',
      'json patch tasks \'{"t1":{"status":"done"}}\'',
    ),
  )
    .addHelpText('after', "\nA patch of '-' is read from standard input.")
    .action(
      onAgent(async (context: WriteContext, name: string, given: string) => {
        const patch = jsonOf(given === '-' ? await textOf('-', context.streams.stdin) : given)
        if (typeof patch !== 'object' || patch === null)
          throw refusal('a patch is an object (merge patch) or a list of operations (JSON patch)')
        const document = context.agent.json(name)
        const options = writeOptionsOf(context.options)
        // What a list holds is for the daemon to check: it names the operation that is wrong.
        const receipt = Array.isArray(patch)
          ? document.patch(patch as readonly JsonPatchOperation[], options)
          : document.merge(patch, options)
        await answerReceipt(context, await receipt, `patched ${name}`)
      }),
    )

  command(json, 'get <name>', 'Print the value, keys sorted', 'json get tasks').action(
    onAgent(async ({ agent, output }: AgentContext<object>, name: string) => {
      const value = await agent.json(name).get()
      await output.answer(value, JSON.stringify(value, null, 2))
    }),
  )
}
