/** The commands on counters, sets and registers: documents that are read and written by key. */
import { bigintToInteger } from '../api/client.ts'
import type { RegisterCell } from '../api/client.ts'
import { amountOf, jsonOf, refusal } from './arguments.ts'
import { addWriteOptions, answerReceipt, writeOptionsOf } from './command.ts'
import type { AgentContext, Doors, WriteContext } from './command.ts'
import { columnsOf, inlineOf, localTime } from './output.ts'

export function addCounterCommands({ program, command, onAgent }: Doors): void {
  const counter = command(program, 'counter', 'Counters that every instance can move', 'counter add karma post-17 1')

  addWriteOptions(
    command(counter, 'add <name> <key> [amount]', 'Add an amount, 1 unless told; it may be negative', 'counter add karma post-17 -1'),
  ).action(
    onAgent(async (context: WriteContext, name: string, key: string, amount: string | undefined) => {
      const value = amountOf(amount ?? '1')
      const receipt = await context.agent.counter(name).add(key, value, writeOptionsOf(context.options))
      await answerReceipt(context, receipt, `added ${value} to ${key} of ${name}`)
    }),
  )

  command(counter, 'get <name> [key]', 'Print one total, or all', 'counter get karma').action(
    onAgent(async ({ agent, output }: AgentContext<object>, name: string, key: string | undefined) => {
      if (key !== undefined) {
        const total = await agent.counter(name).get(key)
        return output.answer(bigintToInteger(total), String(total))
      }
      const totals = [...(await agent.counter(name).all())]
      const value = Object.fromEntries(totals.map(([each, total]) => [each, bigintToInteger(total)]))
      return output.answer(
        value,
        totals.length === 0 ? `${name} is empty` : columnsOf(totals.map(([each, total]) => [each, String(total)])),
      )
    }),
  )
}

export function addSetCommands({ program, command, onAgent }: Doors): void {
  const set = command(program, 'set', 'Sets: a member that is added and removed at once stays', 'set add follows ada')

  addWriteOptions(command(set, 'add <name> <member>', 'Add a member', 'set add follows ada')).action(
    onAgent(async (context: WriteContext, name: string, member: string) => {
      await answerReceipt(context, await context.agent.set(name).add(member, writeOptionsOf(context.options)), `added ${member} to ${name}`)
    }),
  )

  addWriteOptions(command(set, 'remove <name> <member>', 'Remove a member', 'set remove follows ada')).action(
    onAgent(async (context: WriteContext, name: string, member: string) => {
      await answerReceipt(
        context,
        await context.agent.set(name).remove(member, writeOptionsOf(context.options)),
        `removed ${member} from ${name}`,
      )
    }),
  )

  command(set, 'list <name>', 'Print the members', 'set list follows').action(
    onAgent(async ({ agent, output }: AgentContext<object>, name: string) => {
      const members = await agent.set(name).list()
      await output.answer(members, members.length === 0 ? `${name} is empty` : members.join('\n'))
    }),
  )

  command(set, 'has <name> <member>', 'Print whether it is a member: true or false', 'set has follows ada').action(
    onAgent(async ({ agent, output }: AgentContext<object>, name: string, member: string) => {
      const has = await agent.set(name).has(member)
      await output.answer(has, String(has))
    }),
  )
}

interface ValueOptions {
  readonly as?: string
}

export function addRegisterCommands({ program, command, onAgent }: Doors): void {
  const register = command(
    program,
    'register',
    'Registers: the last write of a key wins, and what it did not see is shown',
    'register set profile city Lisbon',
  )

  addWriteOptions(command(register, 'set <name> <key> <value>', 'Set a value', 'register set profile languages \'["pt","en"]\' --as json'))
    .option('--as <type>', "how the value is meant: 'text' or 'json'", 'text')
    .action(
      onAgent(async (context: WriteContext & AgentContext<ValueOptions>, name: string, key: string, value: string) => {
        const type = context.options.as ?? 'text'
        if (type !== 'text' && type !== 'json') throw refusal(`--as is 'text' or 'json', not '${type}'`)
        const receipt = await context.agent
          .register(name)
          .set(key, type === 'json' ? jsonOf(value) : value, writeOptionsOf(context.options))
        await answerReceipt(context, receipt, `set ${key} of ${name}`)
      }),
    )

  addWriteOptions(command(register, 'delete <name> <key>', 'Delete a key', 'register delete profile city')).action(
    onAgent(async (context: WriteContext, name: string, key: string) => {
      const receipt = await context.agent.register(name).delete(key, writeOptionsOf(context.options))
      await answerReceipt(context, receipt, `deleted ${key} of ${name}`)
    }),
  )

  command(
    register,
    'get <name> [key]',
    'Print one value, or all, with what was written at the same time',
    'register get profile city',
  ).action(
    onAgent(async ({ agent, output }: AgentContext<object>, name: string, key: string | undefined) => {
      if (key !== undefined) {
        const cell = await agent.register(name).get(key)
        return output.answer(cell ?? null, cell === undefined ? `${name} has no ${key}` : cellText(inlineOf(cell.value), cell))
      }
      const cells = [...(await agent.register(name).all())]
      const text = cells.map(([each, cell]) => cellText(`${each} = ${inlineOf(cell.value)}`, cell)).join('\n')
      return output.answer(Object.fromEntries(cells), cells.length === 0 ? `${name} is empty` : text)
    }),
  )
}

/** A value, and below it its siblings, so that a person can see that there is something to decide. */
function cellText(value: string, cell: RegisterCell): string {
  const siblings = cell.siblings.map(
    (sibling) => `  also written, by ${sibling.author.name} at ${localTime(sibling.time)}: ${inlineOf(sibling.value)}`,
  )
  return [value, ...siblings].join('\n')
}
