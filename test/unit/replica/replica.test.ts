import { describe, expect, it } from 'vitest'
import { SelfsameError } from '../../../src/core/index.ts'
import { encodeJoinRequest, decodeTicket, readJoinResponse } from '../../../src/membership/index.ts'
import type { Json } from '../../../src/document/index.ts'
import type { LocalOperation, Replica } from '../../../src/replica/index.ts'
import { createSigningKey } from '../../../src/core/index.ts'
import { CommitFailure } from '../../../src/storage/index.ts'
import { seededRandom } from '../../sim/virtual-time.ts'
import { openGroup, strangerHandlers } from './group.ts'

const entry = (text: string, operationId?: string): LocalOperation => ({ type: 'append', name: 'memory', entry: { text }, operationId })
const add = (key: string, amount: bigint): LocalOperation => ({
  type: 'edit',
  kind: 'counter',
  name: 'karma',
  edit: { type: 'counter.add', key, amount },
})
const put = (text: string, base: string | null = null): LocalOperation => ({
  type: 'edit',
  kind: 'text',
  name: 'SOUL.md',
  edit: { type: 'text.put', text, base },
})
const join = (member: string): LocalOperation => ({ type: 'edit', kind: 'set', name: 'follows', edit: { type: 'set.add', member } })

function texts(replica: Replica): (string | undefined)[] {
  return replica.reader.log('memory', { newestFirst: false, limit: 1_000 }).entries.map((item) => item.content.text)
}

async function total(replica: Replica, key: string): Promise<bigint> {
  return (await replica.reader.value('counter', 'karma')).totals.get(key) ?? 0n
}

function codeOf(error: unknown): string {
  return error instanceof SelfsameError ? error.code : String(error)
}

describe('a request', () => {
  it('is applied whole or not at all, and leaves requests beside it alone', async () => {
    const { replicas, settle } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    await settle(replica.write({ operations: [put('one\n')] }))
    const outcomes = await settle(
      Promise.allSettled([
        replica.write({ operations: [add('a', 1n), entry('first')] }),
        replica.write({ operations: [add('a', 10n), join('ada'), put('two\n', 'f'.repeat(64))] }),
        replica.write({ operations: [add('a', 100n), entry('second')] }),
      ]),
    )
    expect(outcomes.map((outcome) => (outcome.status === 'rejected' ? codeOf(outcome.reason) : 'done'))).toEqual([
      'done',
      'base-unknown',
      'done',
    ])
    expect(await total(replica, 'a')).toBe(101n)
    expect(texts(replica)).toEqual(['first', 'second'])
    expect((await replica.reader.value('set', 'follows')).members).toEqual([])
  })

  it('is recognised when it comes again, refused when its id comes with another content', async () => {
    const { replicas, settle } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    const first = await settle(replica.write({ operations: [add('a', 5n)], operationId: 'x' }))
    const again = await settle(replica.write({ operations: [add('a', 5n)], operationId: 'x' }))
    expect([again.repeated, again.place]).toEqual([true, first.place])
    expect(await total(replica, 'a')).toBe(5n)
    await expect(settle(replica.write({ operations: [add('a', 6n)], operationId: 'x' }))).rejects.toMatchObject({
      code: 'operation-mismatch',
    })
    const both = await settle(Promise.all([1, 2].map(() => replica.write({ operations: [entry('once', 'same'), entry('other')] }))))
    expect(both.map((receipt) => receipt.alreadyThere)).toEqual([0, 1])
    expect(texts(replica)).toEqual(['once', 'other', 'other'])
    expect(both[1]?.entries[0]).toBe(both[0]?.entries[0])
  })

  it('that changes nothing writes nothing, unless its id has to be remembered', async () => {
    const { replicas, settle, stores } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    const remove: LocalOperation = { type: 'edit', kind: 'set', name: 'follows', edit: { type: 'set.remove', member: 'nobody' } }
    expect((await settle(replica.write({ operations: [remove] }))).place).toBeNull()
    expect(stores[0]?.lastPosition()).toBe(0)
    expect((await settle(replica.write({ operations: [remove], operationId: 'r' }))).place).not.toBeNull()
    await settle(replica.write({ operations: [{ ...remove, edit: { type: 'set.add', member: 'nobody' } }] }))
    expect((await settle(replica.write({ operations: [remove], operationId: 'r' }))).repeated).toBe(true)
    expect((await replica.reader.value('set', 'follows')).members).toEqual(['nobody'])
  })

  it('beyond the limits is refused and the ones beside it are not', async () => {
    const { replicas, settle } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    const large = 'x'.repeat(500_000)
    const outcomes = await settle(
      Promise.allSettled([
        replica.write({ operations: Array.from({ length: 5 }, () => entry(large)) }),
        replica.write({ operations: [entry(large)] }),
        replica.write({ operations: [entry(large)] }),
        replica.write({ operations: [{ type: 'append', name: '../etc', entry: { text: 'x' } }] }),
      ]),
    )
    expect(outcomes.map((outcome) => (outcome.status === 'rejected' ? codeOf(outcome.reason) : 'done'))).toEqual([
      'too-large',
      'done',
      'done',
      'invalid-name',
    ])
    expect(texts(replica)).toHaveLength(2)
  })

  it('that no peer would accept is refused instead of killing the daemon or being written unreadably', async () => {
    const { replicas, settle } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    const merge = (patch: Json): LocalOperation => ({ type: 'edit', kind: 'json', name: 'tasks', edit: { type: 'json.merge', patch } })
    const hostile: (readonly LocalOperation[])[] = [
      [merge({ a: Array.from({ length: 70_000 }, () => ({})) })],
      [{ type: 'append', name: 'memory', entry: { data: Array.from({ length: 400_000 }, () => 0.1) } }],
      Array.from({ length: 300 }, (_, index) => ({ type: 'append', name: `log/${index}`, entry: { text: 'x' } })),
    ]
    const outcomes = await settle(
      Promise.allSettled([
        ...hostile.map((operations) => replica.write({ operations })),
        replica.write({ operations: [entry('good'), add('a', 1n)] }),
      ]),
    )
    expect(outcomes.map((outcome) => (outcome.status === 'rejected' ? codeOf(outcome.reason) : 'done'))).toEqual([
      'too-large',
      'too-large',
      'too-large',
      'done',
    ])
    await settle(replica.write({ operations: [merge({ b: 1 }), entry('after')] }))
    expect(texts(replica)).toEqual(['good', 'after'])
    expect((await replica.reader.value('json', 'tasks')).value).toEqual({ b: 1 })
  })

  it('of a reader is refused', async () => {
    const { replicas, settle } = await openGroup(['admin', 'reader'])
    await expect(settle((replicas[1] as Replica).write({ operations: [entry('no')] }))).rejects.toMatchObject({ code: 'forbidden' })
  })
})

describe('a receipt', () => {
  it('waits for as many instances as were asked for, and tells how many hold it when time is up', async () => {
    const { replicas, settle, pass, network } = await openGroup(['admin', 'writer', 'writer'])
    for (const replica of replicas) await replica.startNetwork()
    await pass(5_000)
    const [first] = replicas as [Replica]
    expect(await settle(first.write({ operations: [entry('a')] }, 3, 5_000))).toMatchObject({ asked: 3, held: 3 })
    expect(texts(replicas[2] as Replica)).toEqual(['a'])
    network.detach('/memory/2')
    expect(await settle(first.write({ operations: [entry('b')] }, 3, 500))).toMatchObject({ asked: 3, held: 2 })
    expect(texts(replicas[1] as Replica)).toEqual(['a', 'b'])
  })
})

describe('the stream of changes', () => {
  it('resumes after any change, also between two of one envelope, without a gap or a repeat', async () => {
    const { replicas, settle } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    await settle(replica.write({ operations: [entry('a'), add('k', 1n), join('ada'), put('t\n')] }))
    await settle(replica.write({ operations: [entry('b')] }))
    const { changes } = replica.reader.changes(replica.reader.cursorStart, 100)
    expect(changes.map((change) => change.kind).toSorted()).toEqual(['counter', 'log', 'log', 'set', 'text'])
    for (const [index, change] of changes.entries()) {
      expect(replica.reader.changes(change.cursor, 100).changes).toEqual(changes.slice(index + 1))
    }
    expect(replica.reader.changes(replica.reader.cursorNow(), 100).changes).toEqual([])
    expect(changes.find((change) => change.kind === 'counter')?.keys).toEqual(['k'])
  })

  it('refuses a cursor of another state of the home instead of leaving something out', async () => {
    const { replicas, settle, stores, reopen } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    await settle(replica.write({ operations: [entry('a')] }))
    const backup = (stores[0] as (typeof stores)[number]).clone()
    await settle(replica.write({ operations: [entry('b')] }))
    const cursor = replica.reader.cursorNow()
    const restored = await reopen(backup)
    expect(() => restored.reader.changes(cursor, 10)).toThrow(expect.objectContaining({ code: 'cursor-expired' }) as Error)
    await settle(restored.write({ operations: [entry('c')] }))
    expect(() => restored.reader.changes(cursor, 10)).toThrow(expect.objectContaining({ code: 'cursor-expired' }) as Error)
    expect(() => restored.reader.changes('nonsense', 10)).toThrow(expect.objectContaining({ code: 'invalid-request' }) as Error)
  })
})

describe('reading', () => {
  it('shows nothing of a commit under way, and is answered between commits however much is written', async () => {
    const landings: (() => void)[] = []
    const commitVia = (apply: () => void): Promise<void> =>
      new Promise((resolve) => {
        landings.push(() => {
          apply()
          resolve()
        })
      })
    const opening = openGroup(['admin'], { commitVia })
    await new Promise(setImmediate)
    landings.shift()?.()
    const { replicas, pass } = await opening
    const [replica] = replicas as [Replica]
    void replica.write({ operations: [add('a', 1n)] })
    await pass(0)
    const reading = total(replica, 'a')
    void replica.write({ operations: [add('a', 10n)] })
    await pass(0)
    landings.shift()?.()
    expect(await reading).toBe(1n)
    expect(landings).toHaveLength(1)
  })

  it('does not remember every document that somebody asked for and nobody wrote', async () => {
    const { replicas } = await openGroup(['admin'])
    const [replica] = replicas as [Replica]
    const before = process.memoryUsage().heapUsed
    for (let index = 0; index < 5_000; index += 1) await replica.reader.value('text', `no/such/${index}`)
    expect(replica.reader.documents()).toEqual([])
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 << 20)
  })
})

describe('a commit that fails', () => {
  it('with an unknown outcome answers so, and the same operation id then tells the truth', async () => {
    let fail = false
    const commitVia = async (apply: () => void): Promise<void> => {
      apply()
      if (fail) throw new CommitFailure('unknown', 'the disk did not confirm')
    }
    const { replicas, settle } = await openGroup(['admin'], { commitVia })
    const [replica] = replicas as [Replica]
    await settle(replica.write({ operations: [add('a', 1n)] }))
    fail = true
    await expect(settle(replica.write({ operations: [add('a', 7n)], operationId: 'x' }))).rejects.toMatchObject({ code: 'outcome-unknown' })
    fail = false
    expect((await settle(replica.write({ operations: [add('a', 7n)], operationId: 'x' }))).repeated).toBe(true)
    expect(await total(replica, 'a')).toBe(8n)
  })

  it('and a store that does not open again keep nobody waiting, let nobody join, and the instance can be closed', async () => {
    let fail = false
    const commitVia = async (apply: () => void): Promise<void> => {
      apply()
      if (fail) throw new CommitFailure('unknown', 'the disk did not confirm')
    }
    const reopening = (): void => {
      throw new SelfsameError('storage-failed', 'the disk is gone')
    }
    const { replicas, settle } = await openGroup(['admin'], { commitVia, reopening })
    const [replica] = replicas as [Replica]
    await settle(replica.membership.invite({ role: 'writer', durationMilliseconds: 60_000, uses: 1, name: null }))
    expect(replica.membership.isJoinOpen()).toBe(true)
    fail = true
    await expect(settle(replica.write({ operations: [add('a', 7n)] }))).rejects.toMatchObject({ code: 'outcome-unknown' })
    const waiting = replica.write({ operations: [add('a', 1n)] })
    waiting.catch(() => {})
    expect(replica.membership.isJoinOpen()).toBe(false)
    await settle(replica.close())
    await expect(waiting).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('for want of space leaves nothing behind and turns the instance read-only until there is some', async () => {
    let full = false
    const commitVia = async (apply: () => void): Promise<void> => {
      if (full) throw new CommitFailure('rolled-back', 'no space left')
      apply()
    }
    const { replicas, settle, pass } = await openGroup(['admin'], { commitVia })
    const [replica] = replicas as [Replica]
    await settle(replica.write({ operations: [add('a', 1n)] }))
    full = true
    await expect(settle(replica.write({ operations: [add('a', 10n), entry('x')] }))).rejects.toMatchObject({ code: 'read-only' })
    expect(await total(replica, 'a')).toBe(1n)
    await expect(settle(replica.write({ operations: [add('a', 10n)] }))).rejects.toMatchObject({ code: 'read-only' })
    full = false
    await pass(6_000)
    await settle(replica.write({ operations: [add('a', 100n)] }))
    expect([await total(replica, 'a'), texts(replica)]).toEqual([101n, []])
  })
})

describe('a peer', () => {
  it('is asked for nothing while there is no space to keep it, and catches up when there is', async () => {
    let full = false
    const commitVia = async (apply: () => void): Promise<void> => {
      if (full) throw new CommitFailure('rolled-back', 'no space left')
      apply()
    }
    const { replicas, settle, pass, sentBytes } = await openGroup(['admin', 'writer'], { commitVia })
    for (const replica of replicas) await replica.startNetwork()
    await pass(5_000)
    const [first, second] = replicas as [Replica, Replica]
    full = true
    await expect(settle(first.write({ operations: [entry('x')] }))).rejects.toMatchObject({ code: 'read-only' })
    await settle(second.write({ operations: [entry(Buffer.from(seededRandom('noise').bytes(225_000)).toString('base64'))] }))
    const before = sentBytes(1)
    await pass(60_000)
    expect(sentBytes(1) - before).toBeLessThan(8 << 20)
    full = false
    await pass(30_000)
    expect(texts(first)).toHaveLength(1)
  })

  it('hears of a record that was made while the two said hello', async () => {
    const { replicas, settle, pass, network } = await openGroup(['admin', 'writer'])
    const [admin, other] = replicas as [Replica, Replica]
    const { ticket: text } = await settle(admin.membership.invite({ role: 'writer', durationMilliseconds: 600_000, uses: 1, name: null }))
    const ticket = decodeTicket(text)
    if (!ticket.ok) throw new Error(ticket.reason)
    const key = createSigningKey(seededRandom('joiner'))
    const transport = network.attach(key.publicKey, { address: '/memory/joiner' })
    await transport.start(strangerHandlers)
    network.change({ latencyMsMin: 200, latencyMsMax: 200 })
    // The admin has tried for long enough to leave the dial to the other: then its own hello is out long before the other's is in.
    await admin.startNetwork()
    await pass(30_000)
    await other.startNetwork()
    while (admin.peers()[0]?.address === null) await pass(1)
    // The hellos are on their way; the joiner is faster than they are.
    network.change({ latencyMsMin: 0, latencyMsMax: 0 })
    const response = transport.requestJoin(ticket.value.issuer, ['/memory/0'], encodeJoinRequest(ticket.value, key, 'pi'))
    let answered = false
    void response.then(() => (answered = true))
    for (let waited = 0; !answered && waited < 50; waited += 1) await pass(1)
    expect([answered, admin.members.members.length, other.members.members.length]).toEqual([true, 3, 2])
    // Soon, by this very link: another one would say hello again and heal it later.
    await pass(1_000)
    expect(other.members.members.length).toBe(3)
  })
})

describe('joining', () => {
  it('admits who holds a ticket, once, and everyone hears of it', async () => {
    const { replicas, settle, pass, network } = await openGroup(['admin', 'writer'])
    for (const replica of replicas) await replica.startNetwork()
    await pass(5_000)
    const [admin, other] = replicas as [Replica, Replica]
    const { ticket: text } = await settle(admin.membership.invite({ role: 'writer', durationMilliseconds: 60_000, uses: 1, name: null }))
    const ticket = decodeTicket(text)
    if (!ticket.ok) throw new Error(ticket.reason)
    const told: (readonly string[])[] = []
    const ask = async (name: string): Promise<string> => {
      const key = createSigningKey(seededRandom(name))
      const transport = network.attach(key.publicKey, { address: `/memory/${name}` })
      await transport.start(strangerHandlers)
      const response = await settle(
        transport.requestJoin(ticket.value.issuer, ticket.value.addresses, encodeJoinRequest(ticket.value, key, name)),
      )
      const read = readJoinResponse(response, ticket.value.agent, key.publicKey)
      if (!read.ok) return read.reason
      for (const { key } of [admin, other].map(({ identity }) => ({ key: identity.key.publicKey })))
        told.push(read.value.addresses.get(key) ?? [])
      return read.value.member.name
    }
    expect(await ask('pi')).toBe('pi')
    // Also of the others, since the issuer may be gone when the new one starts.
    expect(told.at(-1)).toEqual(['/memory/1'])
    expect(await ask('eve')).toMatch(/used/)
    await pass(1_000)
    expect(other.members.members.map((member) => member.name)).toEqual(['i0', 'i1', 'pi'])
  })

  it('is for admins to allow', async () => {
    const { replicas, settle } = await openGroup(['admin', 'writer'])
    const invite = (replicas[1] as Replica).membership.invite({ role: 'writer', durationMilliseconds: 1_000, uses: 1, name: null })
    await expect(settle(invite)).rejects.toMatchObject({ code: 'forbidden' })
  })
})
