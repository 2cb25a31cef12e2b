import { expect, test } from 'vitest'
import { openGroup } from './group.ts'

async function openPair() {
  const group = await openGroup(['admin', 'writer'])
  for (const replica of group.replicas) await group.settle(replica.startNetwork())
  await group.pass(2_000)
  return group
}

const note = (name: string) => ({ operations: [{ type: 'append' as const, name, entry: { text: 'x' }, operationId: undefined }] })
const soul = (text: string, base: string | null) => ({
  operations: [{ type: 'edit' as const, kind: 'text' as const, name: 'SOUL.md', edit: { type: 'text.put' as const, text, base } }],
})
const city = (key: string, value: string) => ({
  operations: [{ type: 'edit' as const, kind: 'register' as const, name: 'profile', edit: { type: 'register.set' as const, key, value } }],
})

test('what a member lacks is known by document and by the age of the oldest envelope, also while it is away', async () => {
  const group = await openPair()
  const [here, away] = group.replicas as [(typeof group.replicas)[0], (typeof group.replicas)[0]]
  await group.settle(here.write(note('before')))
  await group.pass(2_000)
  expect(await group.settle(here.coverage(here.standing()))).toMatchObject({
    members: [{ documents: [], oldestAt: null }],
    feedsLacking: 0,
  })

  await group.settle(away.stopNetwork())
  const at = group.time.clock().now()
  await group.settle(here.write(note('while it was away')))
  const standing = here.standing()
  await group.pass(60_000)
  await group.settle(here.write(note('later')))
  const { documents, members } = await group.settle(here.coverage(standing))
  expect(documents).toBe(3)
  expect(members.map((member) => member.documents.length)).toEqual([2])
  expect(Math.abs((members[0]?.oldestAt ?? 0) - at)).toBeLessThan(1_000)

  await group.settle(away.startNetwork())
  await group.pass(5_000)
  expect(await group.settle(here.coverage(here.standing()))).toMatchObject({
    members: [{ documents: [], oldestAt: null }],
    feedsLacking: 0,
  })
})

test('what is only on its way does not count: only what a member already lacked at an earlier standing', async () => {
  const group = await openPair()
  const [here] = group.replicas as [(typeof group.replicas)[0]]
  await group.pass(2_000)
  const standing = here.standing()
  await group.settle(here.write(note('just now')))
  expect((await here.coverage(standing)).members).toMatchObject([{ documents: [], oldestAt: null }])
})

test('conflicts are counted by document: texts merged, keys with siblings, and not writes that had seen each other', async () => {
  const group = await openPair()
  const [one, other] = group.replicas as [(typeof group.replicas)[0], (typeof group.replicas)[0]]
  await group.settle(one.write(soul('a\nb\nc\n', null)))
  await group.settle(one.write(city('city', 'Lisbon')))
  await group.pass(2_000)
  await group.settle(other.write(soul('a\nb\nC\n', null)))
  await group.settle(other.write(city('city', 'Porto')))
  await group.pass(2_000)
  expect([...one.conflicts, ...other.conflicts]).toEqual([])

  await group.settle(other.stopNetwork())
  const { version } = await one.reader.value('text', 'SOUL.md')
  for (const [index, replica] of [one, other].entries()) {
    await group.settle(replica.write(soul(index === 0 ? 'A\nb\nC\n' : 'a\nb\nC\nd\n', version)))
    await group.settle(replica.write(city('city', `city ${index}`)))
    await group.settle(replica.write(city(`only ${index}`, 'x')))
  }
  await group.settle(other.startNetwork())
  await group.pass(5_000)
  const byName = ({ conflicts, reader }: typeof one) =>
    Object.fromEntries(reader.documents().map(({ document, name }) => [name, conflicts.get(document) ?? 0]))
  for (const replica of [one, other]) expect(byName(replica)).toEqual({ 'SOUL.md': 1, 'profile': 1 })

  // A write against an older version than the present one is merged, too, and a retry of it is no other.
  await group.settle(one.write(soul('a\nb\nC\ne\n', version)))
  expect(byName(one)).toMatchObject({ 'SOUL.md': 2 })
})
