/** Whom a person means by a name, and who is refused as more than one or nobody. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { memberMeant } from '../../../src/daemon/membership-port.ts'

const laptop = { id: `1a2b${'0'.repeat(28)}`, name: 'laptop' }
const server = { id: `1a2c${'1'.repeat(28)}`, name: 'server' }
const second = { id: `beef${'2'.repeat(28)}`, name: 'server#beef' }
/** Named, on purpose or not, after the first digits of another's id. */
const decoy = { id: `cafe${'3'.repeat(28)}`, name: '1a2b' }
/** Named after another's whole id. */
const thief = { id: `dead${'4'.repeat(28)}`, name: server.id }
const all = [laptop, server, second, decoy, thief]

describe('an instance is found', () => {
  test.each([
    ['laptop', laptop],
    ['server', server],
    ['server#beef', second],
    ['1a2c', server],
    ['beef2222', second],
    [decoy.id, decoy],
    [laptop.id, laptop],
    [server.id, server],
  ])('by %s', (name, meant) => {
    expect(memberMeant(name, all)).toBe(meant)
  })

  test('by its whole id whatever the others are called', () => {
    const id = fc.stringMatching(/^[0-9a-f]{32}$/)
    fc.assert(
      fc.property(fc.uniqueArray(id, { minLength: 2, maxLength: 5 }), fc.infiniteStream(fc.nat(4)), (ids, picks) => {
        // Every name is somebody's id.
        const known = ids.map((each) => ({ id: each, name: ids[(picks.next().value as number) % ids.length] as string }))
        for (const each of known) expect(memberMeant(each.id, known)).toBe(each)
      }),
    )
  })
})

describe('a name is refused', () => {
  const refusalOf = (name: string): unknown => {
    try {
      return memberMeant(name, all)
    } catch (error) {
      return error
    }
  }

  test('that can mean several, with all of them', () => {
    expect(refusalOf('1a2b')).toMatchObject({ code: 'invalid-request' })
    expect(String(refusalOf('1a2b'))).toContain(`laptop (${laptop.id}) or 1a2b (${decoy.id})`)
  })

  test.each(['bee', '', 'BEEF', 'pi'])('that means nobody, with who there is: %j', (name) => {
    expect(refusalOf(name)).toMatchObject({ code: 'not-found', message: expect.stringContaining('there are laptop, server, server#beef') })
  })

  test('that is nearly one, with that one', () => {
    expect(String(refusalOf('sevrer'))).toContain("did you mean 'server'?")
  })

  test('with no more names than fit a line', () => {
    const many = Array.from({ length: 20 }, (_, index) => ({ id: `${index}`.padStart(32, '0'), name: `instance-${index}` }))
    expect(() => memberMeant('none', many)).toThrow(/instance-7, and 12 more$/)
  })
})
