/** Homes that exist twice: copied and used in turn, replaced by an older backup of themselves, and running at once. */
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { agreed, connected, createGroup, freePort, textsOf, until } from './group.ts'
import type { Group, Instance } from './group.ts'

let group: Group
let laptop: Instance
let server: Instance
let original: Instance
let copy: Instance
/** All that was ever written. */
const written: string[] = []

beforeAll(async () => {
  group = await createGroup()
  laptop = await group.found('laptop')
  ;[server, original] = await Promise.all([group.join('server', laptop), group.join('original', laptop)])
  copy = group.at(join(group.directory, 'copy'), await freePort())
})

afterAll(() => group.close())

function copyHome(from: string, to: string): void {
  execFileSync('cp', ['-a', from, to])
}

/** Some entries and as many increments of one counter. */
async function write(instance: Instance, words: string): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    const text = `${words} ${turn}`
    await instance.agent.log('memory').append({ text })
    await instance.agent.counter('karma').add('post-17', 1)
    written.push(text)
  }
}

async function expectEverything(...instances: Instance[]): Promise<void> {
  await connected(...instances)
  await agreed(...instances)
  for (const instance of instances) {
    expect((await textsOf(instance, 'memory')).toSorted()).toEqual(written.toSorted())
    expect(await instance.agent.counter('karma').get('post-17')).toBe(BigInt(written.length))
    expect((await instance.agent.status()).attention).toEqual([])
  }
}

test('what an original and its copy write in turn, also offline, is everywhere once', async () => {
  await write(original, 'before the copy')
  await agreed(laptop, server, original)
  await original.stop()
  copyHome(original.home, copy.home)

  await copy.up()
  await copy.agent.network.pause()
  await write(copy, 'copy, offline')
  await copy.stop()

  await original.up()
  await write(original, 'original, after the copy')
  await expectEverythingExcept('copy, offline', laptop, server, original)
  await original.stop()

  await copy.up()
  expect((await copy.agent.status()).network.paused).toBe(true)
  await copy.agent.network.resume()
  await write(copy, 'copy, again')
  await expectEverything(laptop, server, copy)
  await copy.stop()

  await original.up()
  await write(original, 'original, again')
  await expectEverything(laptop, server, original)
})

async function expectEverythingExcept(words: string, ...instances: Instance[]): Promise<void> {
  await connected(...instances)
  await agreed(...instances)
  const known = written.filter((text) => !text.startsWith(words)).toSorted()
  for (const instance of instances) expect((await textsOf(instance, 'memory')).toSorted()).toEqual(known)
}

test('a home that is replaced by an older backup of itself gets back what it wrote since, and counts nothing twice', async () => {
  const backup = join(group.directory, 'backup')
  await original.stop()
  copyHome(original.home, backup)
  await original.up()
  await write(original, 'after the backup')
  await expectEverything(laptop, server, original)

  await original.kill()
  rmSync(original.home, { recursive: true })
  copyHome(backup, original.home)
  await original.up()
  await write(original, 'after going back')
  await expectEverything(laptop, server, original)
  await write(laptop, 'beside it')
  await expectEverything(laptop, server, original)
})

test('an original and its copy that run at once are noticed within seconds, and both say what to do', async () => {
  await original.stop()
  rmSync(copy.home, { recursive: true })
  copyHome(original.home, copy.home)
  await Promise.all([original.up(), copy.up()])
  const began = performance.now()
  for (const instance of [original, copy]) {
    const [notice] = await until(`${instance.home} reports a second copy`, async () => {
      const { attention } = await instance.agent.status()
      return attention.length > 0 && attention
    })
    expect(notice).toMatchObject({
      kind: 'second-copy',
      detail: expect.stringMatching(/copied.*[Ss]top one.*instance of its own/) as string,
    })
    expect((await instance.selfsame('status')).out).toContain('! second-copy: ')
  }
  console.log(`a second copy was noticed by both within ${(performance.now() - began).toFixed(0)} ms`)
  const [notice] = await until('the third reports it too', async () => {
    const { attention } = await laptop.agent.status()
    return attention.length > 0 && attention
  })
  expect(notice).toMatchObject({ kind: 'second-copy', detail: expect.stringContaining('instance original') as string })

  // Nothing is lost meanwhile: what either writes reaches the others, and each other once only one of them runs.
  await Promise.all([write(original, 'original, beside its copy'), write(copy, 'copy, beside its original')])
  await until('the third has what both wrote', async () => {
    const counted = await laptop.agent.counter('karma').get('post-17')
    return (await textsOf(laptop, 'memory')).length === written.length && counted === BigInt(written.length)
  })
  await copy.stop()
  await agreed(laptop, server, original)
  expect((await textsOf(original, 'memory')).toSorted()).toEqual(written.toSorted())
  expect(await original.agent.counter('karma').get('post-17')).toBe(BigInt(written.length))
})
