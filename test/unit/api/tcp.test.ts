import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { loopbackOf } from '../../../src/api/index.ts'
import { checkNames } from '../../../src/api/tcp.ts'

describe('an address of this machine alone', () => {
  test.each([
    ['127.0.0.1:7777', '127.0.0.1', 7777],
    ['127.255.0.9:1', '127.255.0.9', 1],
    ['localhost:65535', '127.0.0.1', 65_535],
    ['[::1]:0', '::1', 0],
  ])('is %s', (text, host, port) => {
    expect(loopbackOf(text)).toEqual({ host, port })
  })

  test.each([
    '',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '127.0.0.1:7777 ',
    '127.1:7777',
    '0.0.0.0:7777',
    '128.0.0.1:7777',
    '[::]:7777',
    '::1:7777',
    '[::ffff:127.0.0.1]:7777',
    'example.com:7777',
    'localhost.example.com:7777',
    '127.0.0.1.example.com:7777',
    'LOCALHOST:1',
    '0127.0.0.1:1',
  ])('is not %j', (text) => {
    expect(loopbackOf(text)).toBeUndefined()
  })

  test('is never one of other machines, whatever is written', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.string()), fc.nat(70_000), (host, port) => {
        const found = loopbackOf(`${host}:${port}`)
        if (found !== undefined) expect(found.host).toMatch(/^(127\.\d+\.\d+\.\d+|::1)$/)
      }),
    )
  })
})

describe('a request on TCP', () => {
  const options = { listen: '127.0.0.1:7777', hosts: ['Memory.localhost:80'], origins: ['http://localhost:3000'] }
  const check = (host: string | undefined, origin?: string) =>
    checkNames(
      options,
      { host: '127.0.0.2', port: 7777 },
      { ...(host === undefined ? {} : { host }), ...(origin === undefined ? {} : { origin }) },
    )

  test.each(['localhost:7777', 'LocalHost:7777', '127.0.0.1:7777', '127.0.0.2:7777', '[::1]:7777', 'memory.localhost:80'])(
    'may name %s as its host',
    (host) => {
      expect(check(host)).toEqual({})
    },
  )

  test.each([
    undefined,
    '',
    'localhost',
    'localhost:7778',
    'evil.example:7777',
    '127.0.0.3:7777',
    'localhost:7777.evil.example',
    'memory.localhost:7777',
  ])('may not name %j', (host) => {
    expect(() => check(host)).toThrow(expect.objectContaining({ code: 'forbidden' }))
  })

  test('of a page that is listed is answered for that page, of any other refused', () => {
    expect(check('localhost:7777', 'http://localhost:3000')).toMatchObject({ 'access-control-allow-origin': 'http://localhost:3000' })
    for (const origin of ['null', '', 'http://localhost:3001', 'https://localhost:3000', 'http://localhost:3000.evil.example', '*']) {
      expect(() => check('localhost:7777', origin)).toThrow(expect.objectContaining({ code: 'forbidden' }))
    }
  })
})
