/** Keys that leave the machine and come back, and homes that join: what they hold already is kept, and a kill at any moment leaves one instance. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, statSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { signingKeyOf } from '../../src/core/index.ts'
import { decodeTicket } from '../../src/membership/index.ts'
import { agreed, connected, createGroup, daemonProgram, freePort, textsOf, until } from './group.ts'
import type { Group, Instance, Said } from './group.ts'

let group: Group
let laptop: Instance

beforeAll(async () => {
  group = await createGroup()
  laptop = await group.found('laptop')
  await laptop.agent.log('memory').append({ text: 'from the beginning' })
})

afterAll(() => group.close())

const passphrase = 'some good words\n'

function identityOf(home: string): { agent: string; instance: string; deviceSeed: string; name: string } {
  return JSON.parse(readFileSync(join(home, 'identity.json'), 'utf8')) as ReturnType<typeof identityOf>
}

function rootSeedOf(home: string): string {
  return (JSON.parse(readFileSync(join(home, 'root-key.json'), 'utf8')) as { seed: string }).seed
}

/** Files below a directory that hold this text, the databases among them. */
function filesWith(directory: string, words: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'lock.sqlite')
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const bytes = readFileSync(path)
      return bytes.includes(words) || (/^[0-9a-f]+$/.test(words) && bytes.includes(Buffer.from(words, 'hex')))
    })
}

async function ticket(): Promise<string> {
  return (await laptop.agent.invite()).ticket
}

/** `selfsame join` on a home. */
function joinWith(home: string, words: string, ...args: string[]): Promise<Said> {
  return group.selfsame(['join', '--home', home, ...args], { input: `${words}\n` })
}

describe('the root key', () => {
  test('leaves the machine and comes back while the daemon runs, and the file alone is no use', async () => {
    const file = join(group.directory, 'kevin.key')
    const seed = rootSeedOf(laptop.home)
    expect((await laptop.selfsame('key')).out).toContain('kept on this machine')

    const exported = await group.selfsame(['key', 'export', '--root', file, '--passphrase-stdin', '--home', laptop.home], {
      input: passphrase,
    })
    expect([exported.code, exported.out]).toEqual([0, `the root key of kevin is in ${file}, sealed\n`])
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const again = await group.selfsame(['key', 'export', '--root', file, '--passphrase-stdin', '--home', laptop.home], {
      input: passphrase,
    })
    expect([again.code, again.err]).toEqual([64, expect.stringContaining('nothing is overwritten')])

    const unproven = await laptop.selfsame('key', 'forget-root')
    expect([unproven.code, unproven.err]).toEqual([64, expect.stringContaining('--yes-i-have-it')])
    const forget = (input: string, path = file): Promise<Said> =>
      group.selfsame(['key', 'forget-root', path, '--passphrase-stdin', '--home', laptop.home], { input })
    const wrong = await forget('other good words\n')
    expect([wrong.code, wrong.err]).toEqual([77, expect.stringContaining('the passphrase is not the one')])
    const damaged = join(group.directory, 'damaged.key')
    writeFileSync(
      damaged,
      readFileSync(file, 'utf8')
        .replace('"sealed": "', '"sealed": "0')
        .replace(/.",\n {2}"checksum"/, '",\n  "checksum"'),
    )
    const broken = await forget(passphrase, damaged)
    expect([broken.code, broken.err]).toEqual([77, expect.stringContaining('damaged')])
    expect(rootSeedOf(laptop.home)).toBe(seed)

    expect(await forget(passphrase)).toMatchObject({ code: 0, out: 'the root key of kevin is not on this machine any more\n' })
    expect(filesWith(laptop.home, seed)).toEqual([])
    expect(filesWith(group.directory, seed)).toEqual([])
    expect((await laptop.selfsame('key', 'show')).out).toContain('not on this machine')
    expect((await forget(passphrase)).out).toBe('the root key of kevin was not on this machine\n')
    const nothing = await group.selfsame(['key', 'export', '--root', `${file}2`, '--passphrase-stdin', '--home', laptop.home], {
      input: passphrase,
    })
    expect([nothing.code, nothing.err, existsSync(`${file}2`)]).toEqual([66, expect.stringContaining('selfsame key import'), false])

    // Day-to-day work, admitting an instance included, goes on without it.
    await laptop.agent.log('memory').append({ text: 'without the root key' })
    expect((await joinWith(join(group.directory, 'unrooted'), await ticket(), '--listen', 'loopback')).code).toBe(0)

    const imported = await group.selfsame(['key', 'import', file, '--passphrase-stdin', '--home', laptop.home], { input: passphrase })
    expect([imported.code, imported.out]).toEqual([0, 'the root key of kevin is on this machine\n'])
    expect(rootSeedOf(laptop.home)).toBe(seed)
  })

  test('of a new agent never touches its disk with --root-key, and is not taken by another agent', async () => {
    const [home, file] = [join(group.directory, 'ada'), join(group.directory, 'ada.key')]
    const begun = await group.selfsame(
      ['init', '--agent', 'ada', '--home', home, '--listen', 'loopback', '--root-key', file, '--passphrase-stdin'],
      { input: passphrase },
    )
    expect([begun.code, begun.err]).toEqual([0, expect.stringContaining(`the root key is in ${file} and nowhere else`)])
    expect(existsSync(join(home, 'root-key.json'))).toBe(false)
    const foreign = await group.selfsame(['key', 'import', file, '--passphrase-stdin', '--home', laptop.home], { input: passphrase })
    expect([foreign.code, foreign.err]).toEqual([77, expect.stringContaining('the root key of another agent, ada')])
    expect((await group.selfsame(['key', 'import', file, '--passphrase-stdin', '--home', home], { input: passphrase })).code).toBe(0)
    const { out } = await group.selfsame(['key', 'show', '--json', '--home', home])
    const { rootKey } = JSON.parse(out) as { rootKey: string }
    expect(signingKeyOf(Buffer.from(rootSeedOf(home), 'hex')).publicKey).toBe(rootKey)
  })
})

describe('joining', () => {
  test('takes one command on each side', async () => {
    const home = join(group.directory, 'quick')
    const began = performance.now()
    const invited = await laptop.selfsame('invite')
    const between = performance.now()
    const joined = await joinWith(home, invited.out, '--listen', 'loopback')
    const ended = performance.now()
    console.log(`invite ${(between - began).toFixed(0)} ms, join ${(ended - between).toFixed(0)} ms`)
    expect([joined.code, joined.out]).toEqual([0, expect.stringMatching(/^joined kevin, as .* \(writer\), in /)])
    expect(joined.err).toMatch(new RegExp(`joining kevin \\(agent ${identityOf(laptop.home).agent.slice(0, 16)}\\)`))
    expect(joined.err).toContain('holds no memory yet')
  })

  test('ends with the daemon running, with --up, and changes nothing the second time', async () => {
    const [home, port] = [join(group.directory, 'up'), await freePort()]
    const words = await ticket()
    const joined = await joinWith(home, words, '--listen', 'loopback', '--port', String(port), '--up', '--json')
    const [done, up] = joined.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    group.adopt(up?.['processId'] as number)
    expect(done).toMatchObject({ joined: true, role: 'writer', plan: { holds: 'nothing', agent: { name: 'kevin' } } })
    const before = identityOf(home)
    const again = await joinWith(home, await ticket(), '--up')
    expect([again.code, again.out]).toEqual([0, expect.stringContaining('this home is already an instance of kevin')])
    expect(again.err).toContain('its daemon runs already')
    const refused = await joinWith(home, await ticket(), '--new-instance')
    expect([refused.code, refused.err]).toEqual([75, expect.stringContaining('stop it first (selfsame down)')])
    expect(identityOf(home)).toEqual(before)
    expect((await group.selfsame(['down', '--home', home])).code).toBe(0)
    expect((await joinWith(home, await ticket())).out).toContain('this home is already an instance of kevin')
    expect(identityOf(home)).toEqual(before)
  })

  test('is refused in the home of another agent, which stays as it is, and the ticket can be used elsewhere', async () => {
    const home = join(group.directory, 'ada')
    const before = identityOf(home)
    const words = await ticket()
    const refused = await joinWith(home, words)
    expect([refused.code, refused.err]).toEqual([
      73,
      expect.stringMatching(/holds the memory of another agent, ada.*--home.*can still be used/),
    ])
    expect(identityOf(home)).toEqual(before)
    expect((await joinWith(join(group.directory, 'elsewhere'), words, '--listen', 'loopback')).code).toBe(0)
  })

  test('with the ticket of a try whose answer was lost gives the same instance', async () => {
    const words = await ticket()
    const [first, second] = [join(group.directory, 'answered'), join(group.directory, 'unanswered')]
    expect((await joinWith(first, words, '--listen', 'loopback')).code).toBe(0)
    const decoded = decodeTicket(words)
    const invite = decoded.ok ? signingKeyOf(decoded.value.seed).publicKey : ''
    execFileSync('mkdir', ['-m', '700', second])
    writeFileSync(join(second, 'joining.json'), JSON.stringify({ version: 1, invite, deviceSeed: identityOf(first).deviceSeed }), {
      mode: 0o600,
    })
    expect((await joinWith(second, words, '--listen', 'loopback')).code).toBe(0)
    expect(identityOf(second)).toEqual(identityOf(first))
    expect(existsSync(join(second, 'joining.json'))).toBe(false)
    const other = await joinWith(join(group.directory, 'late'), words, '--listen', 'loopback')
    expect([other.code, other.err]).toEqual([77, expect.stringContaining('has been used already')])
  })
})

describe('a home that holds memory', () => {
  let server: Instance

  beforeAll(async () => {
    server = await group.join('server', laptop)
    await server.agent.log('memory').append({ text: 'from the server' })
    await connected(laptop, server)
    await agreed(laptop, server)
  })

  /** Writes alone, so that nobody else has it. */
  async function writeAlone(text: string): Promise<void> {
    await server.agent.network.pause()
    await server.agent.log('memory').append({ text })
    await server.agent.network.resume()
    await connected(laptop, server)
    await agreed(laptop, server)
  }

  test('and is a copy becomes an instance of its own beside the original, with all that both wrote', async () => {
    // The founder's home: an admin, with an invite that is open.
    await laptop.agent.invite({ role: 'admin', expiresSeconds: 86_400 })
    await laptop.stop()
    const copy = group.at(join(group.directory, 'copy'), await freePort())
    execFileSync('cp', ['-a', laptop.home, copy.home])
    await laptop.up()
    const before = identityOf(copy.home)
    // As a change of key leaves it that was interrupted when all but this was done.
    copyFileSync(join(copy.home, 'identity.json'), join(copy.home, 'identity.json.next'))
    const { ticket: words } = await laptop.agent.invite({ role: 'admin' })
    const joined = await joinWith(copy.home, words, '--new-instance', '--name', 'copy')
    expect([joined.code, joined.out]).toEqual([
      0,
      expect.stringMatching(/^joined kevin, as copy \(admin\).*\n {2}kept: identity\.json\.old-/),
    ])
    expect(joined.err).toContain('its memory is kept and added to')
    expect(identityOf(copy.home).instance).not.toBe(before.instance)
    const old = join(copy.home, `identity.json.old-${before.instance.slice(0, 8)}`)
    expect(JSON.parse(readFileSync(old, 'utf8'))).toEqual(before)
    expect(statSync(old).mode & 0o777).toBe(0o600)

    await copy.up()
    expect((await copy.agent.status()).instance.id).toBe(identityOf(copy.home).instance)
    expect(identityOf(copy.home).instance).not.toBe(before.instance)
    await copy.agent.log('memory').append({ text: 'from the copy' })
    await connected(laptop, server, copy)
    await agreed(laptop, server, copy)
    expect(await textsOf(copy, 'memory')).toEqual(expect.arrayContaining(['from the beginning', 'from the server', 'from the copy']))
    expect((await copy.agent.status()).attention).toEqual([])
    // What the original invited is the original's to admit.
    expect((await laptop.agent.invites.list()).length).toBeGreaterThan(0)
    expect(await copy.agent.invites.list()).toEqual([])
    await copy.stop()
  })

  test('of an instance that was removed becomes a new one: what it wrote and nobody received stays in the database, and is not shown', async () => {
    await server.agent.network.pause()
    await server.agent.log('memory').append({ text: 'written after the removal' })
    await laptop.selfsame('members', 'remove', 'server', '--yes')
    await server.agent.network.resume()
    await until('the server has heard of its removal', async () => (await server.agent.status()).instance.role === null)
    await server.stop()
    const before = identityOf(server.home)
    const joined = await joinWith(server.home, await ticket())
    expect([joined.code, joined.err]).toEqual([0, expect.stringContaining('no member any more: its memory is kept and added to')])
    expect(joined.out).toContain(`kept: identity.json.old-${before.instance.slice(0, 8)}`)
    await server.up()
    await connected(laptop, server)
    await agreed(laptop, server)
    const texts = await textsOf(server, 'memory')
    expect(texts).toContain('from the server')
    expect(texts).not.toContain('written after the removal')
    await server.agent.log('memory').append({ text: 'as a new instance' })
    await agreed(laptop, server)
    expect(await textsOf(laptop, 'memory')).toContain('as a new instance')
    expect(filesWith(server.home, 'written after the removal')).not.toEqual([])
  })

  test('whose database is lost or damaged becomes a new instance, gets everything back, and keeps the damaged file', async () => {
    await writeAlone('soon to be lost')
    const database = join(server.home, 'memory.sqlite')
    const damages = {
      lost: () => rmSync(database),
      damaged: () => writeFileSync(database, 'no database at all, but for its name '.repeat(300)),
    }
    for (const [state, damage] of Object.entries(damages)) {
      await server.stop()
      damage()
      const before = identityOf(server.home)
      const joined = await joinWith(server.home, await ticket())
      expect([joined.code, joined.err]).toEqual([0, expect.stringContaining(`its database is ${state}`)])
      const after = identityOf(server.home)
      expect([after.agent, after.name]).toEqual([before.agent, before.name])
      expect(after.instance).not.toBe(before.instance)
      expect(existsSync(`${database}.old-${before.instance.slice(0, 8)}`)).toBe(state === 'damaged')
    }
    await server.up()
    await connected(laptop, server)
    await agreed(laptop, server)
    expect(await textsOf(server, 'memory')).toContain('soon to be lost')
  })

  test('is one instance or the other after a kill at any moment, and the same ticket finishes the join', async () => {
    const members = (await laptop.agent.members.list()).members.length
    await server.stop()
    const moments = [/^joining\.json$/, /^memory\.sqlite-wal$/, /^identity\.json\.old/, /^identity\.json$/]
    for (const moment of moments) {
      const before = identityOf(server.home)
      const words = await ticket()
      const child = spawn(process.execPath, [daemonProgram, 'join', '--home', server.home, '--new-instance', '--name', 'server'], {
        stdio: ['pipe', 'ignore', 'ignore'],
      })
      const watcher = watch(server.home, (_, name) => {
        if (moment.test(name ?? '')) child.kill('SIGKILL')
      })
      child.stdin.end(words)
      await once(child, 'exit')
      watcher.close()
      const between = identityOf(server.home)
      const completed = between.instance !== before.instance
      console.log(`killed at ${moment.source}: ${completed ? 'the new instance' : 'the old one'}`)
      expect([between.agent, between.deviceSeed === before.deviceSeed]).toEqual([before.agent, !completed])
      if (!completed) expect((await joinWith(server.home, words, '--new-instance', '--name', 'server')).code).toBe(0)
      expect(identityOf(server.home).instance).not.toBe(before.instance)
    }
    await server.up()
    await connected(laptop, server)
    await agreed(laptop, server)
    // Each kill and what finished it made one member: the ticket was used once.
    const tickets = moments.length
    expect((await laptop.agent.members.list()).members.length).toBe(members + tickets)
  })
})
