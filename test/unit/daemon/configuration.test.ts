import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { parse } from 'smol-toml'
import { describe, expect, test } from 'vitest'
import { SelfsameError } from '../../../src/core/index.ts'
import {
  configurationFields,
  environmentName,
  newConfiguration,
  parseConfiguration,
  readConfiguration,
} from '../../../src/daemon/configuration.ts'
import { nearestName } from '../../../src/daemon/nearest-name.ts'

const template = readFileSync(new URL('../../../config/selfsame.toml', import.meta.url), 'utf8')
const operations = readFileSync(new URL('../../../docs/OPERATIONS.md', import.meta.url), 'utf8')

function refusal(text: string, environment: Record<string, string> = {}): string {
  try {
    parseConfiguration(text, 'config.toml', environment)
  } catch (error) {
    expect(error).toBeInstanceOf(SelfsameError)
    expect((error as SelfsameError).code).toBe('invalid-configuration')
    return (error as SelfsameError).message
  }
  return 'accepted'
}

describe('the configuration', () => {
  test('of an empty file is what the commented default says', () => {
    expect(parseConfiguration('', 'config.toml', {})).toEqual(parse(template))
  })

  test('names every field in the commented default and in the documentation', () => {
    for (const field of configurationFields.keys()) {
      if (!field.startsWith('log.rooms.')) expect(template).toMatch(new RegExp(`^${field.split('.').at(-1)} = `, 'm'))
      expect(operations).toContain(`\`${field}\``)
    }
  })

  test('takes every form of a loopback address for the API', () => {
    for (const listen of ['', '127.0.0.1:7777', '127.8.9.1:1', '[::1]:65535', 'localhost:7777'])
      expect(parseConfiguration(`[api]\nlisten = "${listen}"`, '', {}).api.listen).toBe(listen)
  })

  test('of a missing file is the default', () => {
    expect(readConfiguration(join(tmpdir(), 'no-such-directory', 'config.toml'), {})).toEqual(parseConfiguration('', '', {}))
  })

  test('of a new home has its own port and addresses and keeps the comments', () => {
    const text = newConfiguration({ port: 31_000, listen: ['loopback', '/ip4/192.0.2.1/tcp/1'] })
    expect(parseConfiguration(text, '', {}).network).toMatchObject({ port: 31_000, listen: ['loopback', '/ip4/192.0.2.1/tcp/1'] })
    expect(text.match(/^#/gm)?.length).toBe(template.match(/^#/gm)?.length)
    expect(parseConfiguration(newConfiguration({ port: 1 }), '', {}).network.listen).toEqual(['lan'])
    expect(() => newConfiguration({ port: 99_999 })).toThrow('network.port has to be a whole number from 1 to 65535')
    expect(() => newConfiguration({ port: 1, listen: ['everywhere'] })).toThrow('network.listen has to be a list')
  })

  test('is read from a file', () => {
    const directory = mkdtempSync(join(tmpdir(), 'selfsame-configuration-'))
    writeFileSync(join(directory, 'config.toml'), '[log]\nlevel = "warn"\n')
    expect(readConfiguration(join(directory, 'config.toml'), {}).log.level).toBe('warn')
    rmSync(directory, { recursive: true })
  })
})

describe('a field that is wrong is refused with where and what', () => {
  test.each([
    ['[network]\n\nprt = 1', "config.toml, line 3: there is no field 'network.prt'; did you mean 'network.port'?"],
    ['netwrok = 1', "line 1: there is no field 'netwrok'; did you mean 'network'?"],
    ['[network]\ncolour = 1', "there is no field 'network.colour'; known are listen, port, mdns, bootstrap, announce"],
    ['[network]\nport = "x"', 'line 2: network.port has to be a whole number from 1 to 65535'],
    ['[network]\nport = 0', 'line 2: network.port has to be'],
    ['[network]\nport = 70000', 'line 2: network.port has to be'],
    ['[network]\nport = 1.5', 'line 2: network.port has to be'],
    ['[network]\nlisten = "lan"', 'line 2: network.listen has to be a list'],
    ['[network]\nlisten = ["everywhere"]', 'line 2: network.listen has to be a list'],
    ['[network]\nbootstrap = ["/ip4/192.0.2.1/tcp/1"]', 'line 2: network.bootstrap has to be a list of multiaddrs that end in a peer id'],
    ['network = 1', 'line 1: network has to be a section'],
    ['[api]\nlisten = "0.0.0.0:7777"', 'line 2: api.listen has to be'],
    ['[api]\nlisten = "192.168.1.2:7777"', 'the API is never served to other machines'],
    ['[api]\nlisten = "127.0.0.1"', 'api.listen has to be'],
    ['[api]\nlisten = "127.0.0.1:0"', 'api.listen has to be'],
    ['[api]\nhosts = ["http://memory.example"]', 'line 2: api.hosts has to be a list of names'],
    ['[api]\norigins = ["*"]', 'line 2: api.origins has to be a list of origins'],
    ['[log]\nlevel = "loud"', 'line 2: log.level has to be one of debug, info, warn, error, silent'],
    ['[log.rooms]\nfeed = "info"', "there is no field 'log.rooms.feed'"],
    ['[network\n', 'config.toml, line 1, column'],
    ['[network]\nport = 1\nport = 2', 'config.toml, line 3'],
  ])('%j', (text, message) => {
    expect(refusal(text)).toContain(message)
  })

  test('and all of them are named at once', () => {
    expect(refusal('[network]\nport = 0\nmdns = 1\n[log]\nlevel = 1').split('\n')).toHaveLength(3)
  })

  test('whatever bytes the file holds, the outcome is a configuration or a refusal', () => {
    const lines = fc.constantFrom(
      '[network]',
      '[log]',
      '[log.rooms]',
      'port = 1',
      'level = "info"',
      'listen = []',
      'mdns',
      '= 3',
      '[[network]]',
      'network.port = 2',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(lines, fc.string()), { maxLength: 6 }), (parts) => {
        expect(refusal(parts.join('\n'))).not.toBe('')
      }),
    )
  })
})

describe('the environment', () => {
  test('overrides fields of every type', () => {
    const configuration = parseConfiguration('[network]\nport = 1', '', {
      SELFSAME_NETWORK_PORT: '31000',
      SELFSAME_NETWORK_MDNS: 'false',
      SELFSAME_NETWORK_LISTEN: 'loopback, /ip4/192.0.2.1/tcp/1',
      SELFSAME_NETWORK_BOOTSTRAP: '',
      SELFSAME_LOG_ROOMS_NETWORK: 'debug',
      SELFSAME_HOME: '/somewhere',
      HOME: '/elsewhere',
    })
    expect(configuration.network).toEqual({
      port: 31_000,
      mdns: false,
      listen: ['loopback', '/ip4/192.0.2.1/tcp/1'],
      bootstrap: [],
      announce: [],
    })
    expect(configuration.log.rooms).toEqual({ network: 'debug' })
  })

  test('is named where its value is wrong', () => {
    expect(refusal('', { SELFSAME_NETWORK_PORT: 'many' })).toBe(
      'SELFSAME_NETWORK_PORT: network.port has to be a whole number from 1 to 65535',
    )
    expect(refusal('', { SELFSAME_NETWORK_MDNS: 'maybe' })).toContain('true or false')
  })

  test('is refused where it names no field of a section', () => {
    expect(refusal('', { SELFSAME_NETWORK_PROT: '1' })).toBe(
      'the environment variable SELFSAME_NETWORK_PROT is not known; did you mean SELFSAME_NETWORK_PORT?',
    )
  })

  test('has a name of its own for every field', () => {
    const names = [...configurationFields.keys()].map(environmentName)
    expect(new Set(names).size).toBe(names.length)
  })
})

describe('the nearest name', () => {
  test('is found across one slip of any sort', () => {
    const known = ['port', 'listen', 'bootstrap', 'announce']
    const slip = fc.constantFrom(...known).chain((name) =>
      fc.tuple(fc.constant(name), fc.nat(name.length - 1), fc.constantFrom('drop', 'double', 'swap', 'change')).map(([word, at, kind]) => {
        const [before, letter, after] = [word.slice(0, at), word.slice(at, at + 1), word.slice(at + 1)]
        const slipped = {
          drop: before + after,
          double: before + letter + letter + after,
          swap: before + after.slice(0, 1) + letter + after.slice(1),
          change: `${before}0${after}`,
        }
        return [word, slipped[kind]] as const
      }),
    )
    fc.assert(
      fc.property(slip, ([word, slipped]) => {
        expect(nearestName(slipped, known)).toBe(word)
      }),
    )
  })

  test('is none where nothing is near', () => {
    expect(nearestName('colour', ['port', 'listen'])).toBeUndefined()
    expect(nearestName('x', ['a', 'b'])).toBeUndefined()
  })
})
