import { describe, expect, it } from 'vitest'
import { addressReach, listenAddresses } from '../../../src/network/index.ts'

const hosts = [
  '127.0.0.1',
  '::1',
  '192.168.1.20',
  '172.17.0.1',
  '100.101.102.103',
  '203.0.113.9',
  'fd12:3456::1',
  'fe80::1',
  '2001:db8::9',
  '169.254.3.4',
]

describe('the addresses to listen on', () => {
  it('are those of this machine alone for "loopback"', () => {
    expect(listenAddresses(['loopback'], 4_100, hosts)).toEqual(['/ip4/127.0.0.1/tcp/4100', '/ip6/::1/tcp/4100'])
  })

  it('are the loopback and private ones for "lan", never a public or link-local one', () => {
    expect(listenAddresses(['lan'], 4_100, hosts)).toEqual([
      '/ip4/127.0.0.1/tcp/4100',
      '/ip6/::1/tcp/4100',
      '/ip4/192.168.1.20/tcp/4100',
      '/ip4/172.17.0.1/tcp/4100',
      '/ip4/100.101.102.103/tcp/4100',
      '/ip6/fd12:3456::1/tcp/4100',
    ])
  })

  it('include a public one only when it is named', () => {
    expect(listenAddresses(['loopback', '/ip4/203.0.113.9/tcp/7', '/ip4/127.0.0.1/tcp/4100'], 4_100, hosts)).toEqual([
      '/ip4/127.0.0.1/tcp/4100',
      '/ip6/::1/tcp/4100',
      '/ip4/203.0.113.9/tcp/7',
    ])
  })

  it('exist on this machine', () => {
    expect(listenAddresses(['loopback'], 0).length).toBeGreaterThan(0)
  })

  it.each(['everywhere', '/ip4/1.2.3.4/udp/5', '/ip4/1.2.3.4', '/dns4/x/tcp/1/ws', ''])('are refused when the word is %j', (word) => {
    expect(() => listenAddresses([word], 4_100, hosts)).toThrow(expect.objectContaining({ code: 'invalid-configuration' }))
  })
})

describe('the reach of an address', () => {
  it.each([
    ['/ip4/127.0.0.1/tcp/1', 'loopback'],
    ['/ip4/127.9.9.9/tcp/1', 'loopback'],
    ['/ip6/::1/tcp/1', 'loopback'],
    ['/ip6/::ffff:127.0.0.1/tcp/1', 'loopback'],
    ['/dns4/localhost/tcp/1', 'loopback'],
    ['/ip4/10.255.0.1/tcp/1', 'private'],
    ['/ip4/172.31.0.1/tcp/1', 'private'],
    ['/ip4/172.32.0.1/tcp/1', 'public'],
    ['/ip4/192.168.0.1/tcp/1', 'private'],
    ['/ip4/100.64.0.1/tcp/1', 'private'],
    ['/ip4/100.128.0.1/tcp/1', 'public'],
    ['/ip4/169.254.0.1/tcp/1', 'private'],
    ['/ip6/fd00::1/tcp/1', 'private'],
    ['/ip6/fe80::1/tcp/1', 'private'],
    ['/ip6/2001:db8::1/tcp/1', 'public'],
    ['/ip4/8.8.8.8/tcp/1', 'public'],
    ['/dns/example.org/tcp/1', 'public'],
    ['/ip4/8.8.8.8/tcp/1/p2p/12D3KooWEZXjE41uU4EL2gpkAQeDXYok6wghN7wwNVPF5bwkaNfS', 'public'],
  ])('of %s is %s', (address, reach) => {
    expect(addressReach(address)).toBe(reach)
  })

  it.each(['', 'nonsense', '/ip4/999.1.1.1/tcp/1', '/ip4/1.2.3.4/udp/1', '/memory/1', '/unix/tmp'])('of %j is unknown', (address) => {
    expect(addressReach(address)).toBeUndefined()
  })
})
