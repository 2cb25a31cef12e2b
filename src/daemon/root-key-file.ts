/**
 * The file in which the agent's root key leaves a machine: sealed with a passphrase, and telling whoever finds it what it is.
 * `docs/STORAGE.md` has the format as a table. Pure: knows no home and no disk.
 *
 * It carries the genesis record, whose hash is the agent id and which names the root key. So whether the right key came out of
 * it can be checked wherever the agent's id is known, also where the memory was lost.
 */
import { createCipheriv, createDecipheriv, scryptSync } from 'node:crypto'
import { crc32 } from 'node:zlib'
import Type from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { SelfsameError, bytesToId, idToBytes, ok, refuse, signingKeyOf } from '../core/index.ts'
import type { Random, Result, SigningKey } from '../core/index.ts'
import { decodeRecord } from '../membership/index.ts'
import type { Genesis } from '../membership/index.ts'

/** A root key with the record that makes it one. */
export interface RootKey {
  readonly key: SigningKey
  readonly genesis: Genesis
}

/** A file that was read and not opened: only the key itself is secret. */
export interface SealedRootKey {
  readonly genesis: Genesis
  /** Gives the key. It takes some tenths of a second, so that guessing takes long. */
  open(passphrase: string): Result<RootKey>
}

/** Work of one guess, as scrypt's N: 128 MiB and some 0.4 s on a machine of 2026. Twice as much costs an attacker, and us, twice as much. */
const scryptN = 2 ** 17
/** scrypt's block size and parallelism: what its author recommends. Only N is ever raised. */
const scryptShape = { r: 8, p: 1 } as const
/** What is accepted when reading: less is nothing that this project wrote, more than 1 GiB could exhaust the machine. */
const scryptNMin = 2 ** 14
const scryptNMax = 2 ** 20
const saltBytes = 16
const nonceBytes = 12
const tagBytes = 16
const seedBytes = 32
/** UTF-16 units. A shorter passphrase falls to anyone who gets the file. */
const passphraseLengthMin = 8
/** UTF-16 units; a file of ours has about 1,000. */
const textLengthMax = 16_384

function hexadecimal(bytes: number) {
  return Type.String({ pattern: `^[0-9a-f]{${bytes * 2}}$` })
}

const exact = { additionalProperties: false }
const header = {
  about: Type.String({ maxLength: 1_024 }),
  format: Type.Literal('selfsame-root-key-1'),
  genesis: Type.String({ pattern: '^([0-9a-f]{2}){1,4096}$' }),
  scrypt: Type.Object(
    {
      N: Type.Integer({ minimum: scryptNMin, maximum: scryptNMax }),
      r: Type.Literal(scryptShape.r),
      p: Type.Literal(scryptShape.p),
      salt: hexadecimal(saltBytes),
    },
    exact,
  ),
  nonce: hexadecimal(nonceBytes),
}
type Header = Static<ReturnType<typeof Type.Object<typeof header>>>

const fileShape = Compile(Type.Object({ ...header, sealed: hexadecimal(seedBytes + tagBytes), checksum: hexadecimal(4) }, exact))

/** The text of a file with the key in it. Throws `invalid-request` for a passphrase that is too short. `N`: scrypt's work, a power of two. */
export function sealRootKey({ key, genesis }: RootKey, passphrase: string, random: Random, N: number = scryptN): string {
  if (passphrase.length < passphraseLengthMin) {
    throw new SelfsameError(
      'invalid-request',
      `the passphrase is too short: take at least ${passphraseLengthMin} characters, better some words`,
    )
  }
  const head: Header = {
    about:
      `The root key of the agent ${genesis.name} (selfsame), sealed with a passphrase. Keep it off the machines that the agent runs on. ` +
      'Who has the file and the passphrase decides who belongs to the agent. To use it on one of its instances: selfsame key import FILE',
    format: 'selfsame-root-key-1',
    genesis: Buffer.from(genesis.bytes).toString('hex'),
    scrypt: { N, ...scryptShape, salt: bytesToId(random.bytes(saltBytes)) },
    nonce: bytesToId(random.bytes(nonceBytes)),
  }
  const cipher = createCipheriv('aes-256-gcm', keyOf(head, passphrase), idToBytes(head.nonce))
  cipher.setAAD(bytesOf(head))
  const sealed = Buffer.concat([cipher.update(key.seed), cipher.final(), cipher.getAuthTag()]).toString('hex')
  return `${JSON.stringify({ ...head, sealed, checksum: checksumOf(head, sealed) }, null, 2)}\n`
}

/** Reads a file as far as that goes without the passphrase. The reason of a refusal is for a person. */
export function readSealedRootKey(text: string): Result<SealedRootKey> {
  const value = text.length <= textLengthMax ? parseJson(text) : undefined
  if (!fileShape.Check(value))
    return refuse(isNewer(value) ? 'it was written by a newer selfsame: use that one' : 'it is not a root key file, or it is damaged')
  const { about, format, genesis: record, scrypt, nonce, sealed, checksum } = value
  const head: Header = { about, format, genesis: record, scrypt, nonce }
  if (!Number.isInteger(Math.log2(scrypt.N)) || checksum !== checksumOf(head, sealed))
    return refuse('it is damaged: take another copy of it')
  const genesis = decodeRecord(idToBytes(record))
  if (!genesis.ok || genesis.value.kind !== 'genesis') return refuse('it names no agent: it was not written by selfsame')
  const found = genesis.value
  return ok({ genesis: found, open: (passphrase) => unseal(head, found, sealed, passphrase) })
}

function unseal(head: Header, genesis: Genesis, sealed: string, passphrase: string): Result<RootKey> {
  const bytes = idToBytes(sealed)
  const decipher = createDecipheriv('aes-256-gcm', keyOf(head, passphrase), idToBytes(head.nonce), { authTagLength: tagBytes })
  decipher.setAAD(bytesOf(head))
  decipher.setAuthTag(bytes.subarray(seedBytes))
  const seed = decipher.update(bytes.subarray(0, seedBytes))
  try {
    decipher.final()
  } catch {
    return refuse('the passphrase is not the one that it was sealed with')
  }
  const key = signingKeyOf(new Uint8Array(seed))
  return key.publicKey === genesis.key ? ok({ key, genesis }) : refuse('it holds another key than the root key of its agent')
}

/** One passphrase is one key, however the keyboard spells it: composed and decomposed characters are the same. */
function keyOf({ scrypt: { salt, ...work } }: Header, passphrase: string): Buffer {
  const bytes = Buffer.from(passphrase.normalize('NFKC'))
  return scryptSync(bytes, idToBytes(salt), 32, { ...work, maxmem: 256 * work.N * work.r })
}

/** What is authenticated beside the key: every other field, in the order in which the format lists them. */
function bytesOf({ about, format, genesis, nonce, scrypt: { N, r, p, salt } }: Header): Uint8Array {
  return Buffer.from(JSON.stringify([about, format, genesis, [N, r, p, salt], nonce]))
}

/** Tells damage from a wrong passphrase; it protects nothing. */
function checksumOf(head: Header, sealed: string): string {
  return crc32(sealed, crc32(bytesOf(head)))
    .toString(16)
    .padStart(8, '0')
}

function isNewer(value: unknown): boolean {
  const format = typeof value === 'object' && value !== null && 'format' in value ? value.format : undefined
  return typeof format === 'string' && /^selfsame-root-key-\d+$/.test(format) && format !== 'selfsame-root-key-1'
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
