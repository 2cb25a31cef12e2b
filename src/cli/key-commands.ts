/** The commands on keys: which there are, a new one for this instance, and moving the agent's root key off this machine and back. */
import { homePathOf } from '../api/client.ts'
import type { Agent } from '../api/client.ts'
import { SelfsameError, errorTable } from '../core/index.ts'
import { refusal } from './arguments.ts'
import type { AgentContext, Context, Doors } from './command.ts'
import { runProgram } from './daemon-program.ts'
import type { KeyFacts, Ready } from './daemon-program.ts'
import { homeHint } from './life-commands.ts'
import { columnsOf } from './output.ts'
import { readNewPassphrase, readPassphrase } from './passphrase.ts'
import { waitUntil } from './waiting.ts'

interface PassphraseOptions {
  readonly passphraseStdin?: boolean
}

const passphraseOption = ['--passphrase-stdin', 'read the passphrase from standard input, its first line'] as const

/** Milliseconds that a daemon may take to begin anew. */
const anewMsMax = 30_000

/** Waits until the daemon answers under its new key. Throws `unavailable` when it waited in vain. */
async function beganAnew(agent: Agent, key: string): Promise<void> {
  const isThere = async (): Promise<boolean> => {
    const status = await agent.status().catch((error: unknown) => {
      if (error instanceof SelfsameError && errorTable[error.code].retry) return undefined
      throw error
    })
    return status?.instance.key === key
  }
  if (!(await waitUntil(isThere, anewMsMax)))
    throw new SelfsameError(
      'unavailable',
      "the new key counts, but the daemon does not answer under it: start it anew ('selfsame up'), and see its log",
    )
}

export function addKeyCommands({ program, command, action, onAgent }: Doors): void {
  const show = action(async ({ daemonProgram, home, output }: Context<object>) => {
    const facts = await runProgram<KeyFacts>(daemonProgram, ['key-show', '--home', homePathOf(home)], '')
    await output.answer(facts, factsText(facts))
  })
  const key = command(program, 'key', 'Show the keys, and move the root key off this machine', 'key').action(show)

  command(key, 'show', 'Show the public keys, and whether the root key is on this machine', 'key show').action(show)

  command(key, 'rotate', 'Give this instance a new key; what it wrote stays its own', 'key rotate')
    .addHelpText(
      'after',
      `
The old key is of no use from then on: what is written with it afterwards is taken by nobody. Another instance has to be connected, so that
it hears of the new key. A key that somebody stole is answered by removing the instance (selfsame members remove), not by a new key:
whoever has it could have given itself one, too.`,
    )
    .option('--new-instance', 'this home is a copy: make it an instance of its own, and leave the old one to the original')
    .option('--name <name>', 'what the new instance is called (default: as this one)')
    .action(
      onAgent(async ({ agent, options, output }: AgentContext<{ newInstance?: boolean; name?: string }>) => {
        const input = { newInstance: options.newInstance === true, ...(options.name === undefined ? {} : { name: options.name }) }
        const { instance, key: newKey } = await agent.replaceKey(input)
        await beganAnew(agent, newKey)
        await output.answer({ instance, key: newKey }, `${instance.name} (${instance.id.slice(0, 8)}) goes on with the key ${newKey}`)
      }),
    )

  command(key, 'export', 'Copy the root key to a file, sealed with a passphrase', 'key export --root kevin.key')
    .addHelpText('after', '\nThe file is new, for its owner alone. Without the passphrase nobody can use it, and nobody can restore it.')
    .requiredOption('--root <file>', 'where to')
    .option(...passphraseOption)
    .action(
      action(async ({ daemonProgram, home, options, output, streams }: Context<PassphraseOptions & { root: string }>) => {
        const passphrase = await readNewPassphrase(streams, options.root, options.passphraseStdin === true)
        const args = ['key-export', '--home', homePathOf(home), '--file', options.root]
        const { agent, ...rest } = await runProgram(daemonProgram, args, `${passphrase}\n`)
        await output.answer({ ...rest, agent }, `the root key of ${agent.name} is in ${options.root}, sealed`)
        output.remark(
          `bring the file elsewhere, then take the key off this machine: selfsame key forget-root ${options.root}${homeHint(home)}`,
        )
      }),
    )

  command(key, 'import <file>', 'Bring the root key back to this machine', 'key import kevin.key')
    .option(...passphraseOption)
    .action(
      action(async ({ daemonProgram, home, options, output, streams }: Context<PassphraseOptions>, file: string) => {
        const passphrase = await readPassphrase(streams, file, options.passphraseStdin === true)
        const ready = await runProgram(daemonProgram, ['key-import', '--home', homePathOf(home), '--file', file], `${passphrase}\n`)
        await output.answer(ready, `the root key of ${ready.agent.name} is on this machine`)
        output.remark(`when it is done: selfsame key forget-root ${file}${homeHint(home)}`)
      }),
    )

  command(key, 'forget-root [file]', 'Take the root key off this machine', 'key forget-root kevin.key')
    .addHelpText(
      'after',
      `
The file that it was exported to is opened first, as a proof that the key is not lost. Day-to-day work goes on without the key.
What backups, snapshots and the disk itself keep of deleted files is not in its power.`,
    )
    .option('--yes-i-have-it', 'forget it without that proof')
    .option(...passphraseOption)
    .action(
      action(
        async (
          { daemonProgram, home, options, output, streams }: Context<PassphraseOptions & { yesIHaveIt?: boolean }>,
          file: string | undefined,
        ) => {
          if (file === undefined && options.yesIHaveIt !== true) {
            throw refusal(
              'give the file that the root key was exported to (selfsame key export --root FILE), so that it is sure not to be lost; or say --yes-i-have-it',
            )
          }
          const proof = file === undefined ? [] : ['--file', file]
          const input = file === undefined ? '' : `${await readPassphrase(streams, file, options.passphraseStdin === true)}\n`
          const args = ['key-forget', '--home', homePathOf(home), ...proof]
          const answer = await runProgram<Ready & { forgotten: boolean }>(daemonProgram, args, input)
          const { agent, forgotten } = answer
          await output.answer(
            answer,
            forgotten
              ? `the root key of ${agent.name} is not on this machine any more`
              : `the root key of ${agent.name} was not on this machine`,
          )
        },
      ),
    )
}

function factsText({ agent, deviceKey, instance, rootKey, rootKeyHere }: KeyFacts): string {
  return columnsOf([
    ['agent', `${agent.name}  ${agent.id}`],
    ['root key', `${rootKey}  ${rootKeyHere ? 'kept on this machine' : 'not on this machine'}`],
    ['instance', `${instance.name}  ${instance.id}`],
    ['device key', deviceKey],
  ])
}
