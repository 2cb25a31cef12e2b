import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { masked, secretsIn } from '../../../src/daemon/secret-patterns.ts'

/** Made up here, and put together so that no scanner takes this file for a leak. */
const secrets: readonly [string, string][] = [
  ['AWS access key', ['AKIA', 'IOSFODNN7EXAMPLE'].join('')],
  ['GitHub token', ['ghp_', 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8'].join('')],
  ['GitHub token', ['github_pat_', '11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ'].join('')],
  ['GitLab token', ['glpat-', 'xYz0123456789-abcdEF'].join('')],
  ['API key (sk-...)', ['sk-', 'ant-api03-', 'a1B2c3D4e5F6g7H8i9J0k1L2m3'].join('')],
  ['API key (sk-...)', ['sk-', 'proj-', 'a1B2c3D4e5F6g7H8i9J0k1L2m3'].join('')],
  ['API key (sk-...)', ['sk-', 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6'].join('')],
  ['Slack token', ['xoxb-', '123456789012-abcdefABCDEF'].join('')],
  ['Google API key', ['AIza', 'SyA1234567890abcdefghijklmnopqrstuv'].join('')],
  ['Stripe key', ['sk_live_', 'a1B2c3D4e5F6g7H8'].join('')],
  ['JSON web token', ['eyJ', 'hbGciOiJIUzI1NiJ9', '.eyJ', 'zdWIiOiIxMjM0NSJ9', '.', 'dBjftJeZ4CVPmB92K27u'].join('')],
  ['private key', '-----BEGIN OPENSSH PRIVATE KEY-----'],
  ['private key', '-----BEGIN PRIVATE KEY-----'],
  ['selfsame token', ['selfsame-token-', 'abcdefghijklmnopqrstuvwxyz0123456789_-ABCDE'].join('')],
  ['password', 'password=correct-horse9'],
  ['password', '"api_key": "8f14e45fceea167a"'],
  ['password', "DB_PASSWORD='s3cr3t!!x'".slice(3)],
]

describe('secrets', () => {
  test.each(secrets)('knows a %s', (kind, text) => {
    expect(secretsIn(`it is ${text} there`).map((secret) => secret.kind)).toEqual([kind])
  })

  test.each([
    'The password is written on the fridge.',
    'password: ask Ada about it',
    'password=********',
    'password = ${DB_PASSWORD}',
    'api_key: <your key>',
    'client_secret=changeme1',
    'I use sk-learn-contrib-something-quite-long-indeed for it',
    'the task-list-of-things-to-be-done-tomorrow2 is long',
    '4bf92f3577b34da6a3ce929d0e0e4736',
    '123e4567-e89b-12d3-a456-426614174000',
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
    '-----BEGIN CERTIFICATE-----',
    '-----BEGIN PUBLIC KEY-----',
    'AKIAPOLLO is a village',
    'https://example.org/eyJust/a.path',
  ])('lets %j be', (text) => {
    expect(secretsIn(text)).toEqual([])
  })

  test('shows no more than four characters of one, wherever it stands', () => {
    const words = fc.string({ unit: fc.constantFrom('a', 'B', '7', ' ', '\n', '-', ':', '"', 'é'), maxLength: 30 })
    fc.assert(
      fc.property(words, fc.constantFrom(...secrets), words, (before, [, secret], after) => {
        const shown = masked(`${before} ${secret} ${after}`)
        for (let start = 0; start + 6 <= secret.length; start += 1) {
          const piece = secret.slice(start, start + 6)
          if (!before.includes(piece) && !after.includes(piece)) expect(shown).not.toContain(piece)
        }
      }),
    )
  })
})
