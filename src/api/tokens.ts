/**
 * The tokens of a home: made, listed, revoked, recognised. A token is shown once, when it is made; what is kept is its hash, its
 * name and what it allows. Where the text of it all lies, and that it lies there safely, is the matter of the shelf.
 */
import { timingSafeEqual } from 'node:crypto'
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import { hashOf, idToBytes, SelfsameError } from '../core/index.ts'
import type { Clock, Random } from '../core/index.ts'
import { tokenInput } from './schemas.ts'
import type { CreatedToken, Token, TokenInput } from './schemas.ts'
import { createScope } from './scope.ts'
import type { Scope } from './scope.ts'

/** Where the tokens are kept. */
export interface TokenShelf {
  /** What was last written; undefined where nothing ever was. */
  read(): string | undefined
  /** Durable when it returns; after a failure or a crash there is the text before or this one. */
  write(text: string): void
}

/** A token that was recognised. */
export interface Grant {
  readonly name: string
  readonly scope: Scope
  /** False once the token has expired or was revoked: what goes on for long asks again. */
  isValid(): boolean
}

export interface Tokens {
  /** Throws `invalid-request` where the name is taken or there are too many. Durable when it returns. */
  create(input: TokenInput): CreatedToken
  /** In the order of creation. An expired one stays listed until the next is made. */
  list(): readonly Token[]
  /** Durable when it returns. Throws `not-found`. */
  revoke(name: string): void
  /** What the text of a token allows; undefined for what is no valid token. */
  recognise(token: string): Grant | undefined
}

export interface TokensOptions {
  readonly shelf: TokenShelf
  readonly clock: Clock
  readonly random: Random
}

const prefix = 'selfsame-token-'
/** Bytes of a token's secret: 256 bits cannot be guessed, so that a fast hash is enough. */
const secretBytes = 32
const form = new RegExp(`^${prefix}([A-Za-z0-9_-]{43})$`)
/** Tokens of one home: every request with a token is compared with all of them, which takes some tens of microseconds. */
const tokensMax = 256

const kept = Type.Object({
  version: Type.Literal(1),
  tokens: Type.Array(
    Type.Object({
      name: tokenInput.properties.name,
      hash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
      allow: tokenInput.properties.allow,
      created: Type.Integer(),
      expires: Type.Union([Type.Integer(), Type.Null()]),
    }),
  ),
})
type Row = Type.Static<typeof kept>['tokens'][number]

interface Held {
  readonly row: Row
  readonly hash: Uint8Array
  readonly grant: Grant
}

const keptFile = Compile(kept)

/** Opens the tokens that the shelf holds. Throws `invalid-configuration` where they are damaged. */
export function openTokens({ shelf, clock, random }: TokensOptions): Tokens {
  let held: readonly Held[] = parseKept(shelf.read()).map(hold)

  function hold(row: Row): Held {
    const grant: Grant = {
      name: row.name,
      scope: createScope(row.allow),
      isValid: () => isCurrent(row) && held.some((other) => other.grant === grant),
    }
    return { row, hash: idToBytes(row.hash), grant }
  }

  function isCurrent({ expires }: Row): boolean {
    return expires === null || clock.now() < expires
  }

  /** What is in force is what is on the shelf: where it cannot be written, nothing changes. */
  function keep(next: readonly Held[]): void {
    shelf.write(`${JSON.stringify({ version: 1, tokens: next.map(({ row }) => row) })}\n`)
    held = next
  }

  return {
    create({ name, allow, expiresSeconds }) {
      const current = held.filter(({ row }) => isCurrent(row))
      if (current.some(({ row }) => row.name === name))
        throw new SelfsameError('invalid-request', `there is a token '${name}' already: choose another name, or revoke it first`)
      if (current.length >= tokensMax) throw new SelfsameError('invalid-request', `there are ${tokensMax} tokens already: revoke one first`)
      const secret = random.bytes(secretBytes)
      const created = clock.now()
      const expires = expiresSeconds === undefined ? null : created + expiresSeconds * 1_000
      const row: Row = { name, hash: Buffer.from(hashOfSecret(secret)).toString('hex'), allow: [...allow], created, expires }
      keep([...current, hold(row)])
      return { token: `${prefix}${Buffer.from(secret).toString('base64url')}`, ...rowToToken(row) }
    },

    list: () => held.map(({ row }) => rowToToken(row)),

    revoke(name) {
      const next = held.filter(({ row }) => row.name !== name)
      if (next.length === held.length) throw new SelfsameError('not-found', `there is no token '${name}': see selfsame token list`)
      keep(next)
    },

    recognise(token) {
      const [, secret] = form.exec(token) ?? []
      if (secret === undefined) return undefined
      const hash = hashOfSecret(Buffer.from(secret, 'base64url'))
      // All of them are compared, whichever fits: the time tells nothing.
      const [found] = held.filter((each) => timingSafeEqual(each.hash, hash))
      return found?.grant.isValid() === true ? found.grant : undefined
    },
  }
}

function hashOfSecret(secret: Uint8Array): Uint8Array {
  return hashOf('selfsame/token/1', secret)
}

function rowToToken({ name, allow, created, expires }: Row): Token {
  return { name, allow, created: new Date(created).toISOString(), expires: expires === null ? null : new Date(expires).toISOString() }
}

function parseKept(text: string | undefined): readonly Row[] {
  if (text === undefined) return []
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = undefined
  }
  if (!keptFile.Check(value)) {
    throw new SelfsameError(
      'invalid-configuration',
      "the file of the home's tokens is damaged: restore it, or delete it and make them anew",
    )
  }
  return value.tokens
}
